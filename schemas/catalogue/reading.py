"""Reads the catalogue's files. One that breaks the model stops the process that reads it (ConfigurationError): a wrong
catalogue would turn wrong notices into accepted ones.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import ValidationError

from schemas.catalogue.service import Service
from schemas.catalogue.usual import PurposeSet, UsualPurpose
from schemas.errors import ConfigurationError

DIRECTORY: Final = Path(__file__).parent
PURPOSES_DIRECTORY: Final = DIRECTORY / "purposes"

M = TypeVar("M", Service, PurposeSet)


def read_yaml(path: Path) -> Any:
    """One YAML or JSON file. Raises ConfigurationError that says where it cannot be read."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        raise ConfigurationError(f"the catalogue file {path.name} cannot be read as YAML{place}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"the catalogue file {path.name} cannot be read ({type(error).__name__})") from None


def fault_of(error: ValidationError) -> tuple[str, str]:
    """A JSON pointer to the first fault of a file, and what is wrong there."""
    first = error.errors(include_url=False, include_input=False)[0]
    return "/" + "/".join(str(step) for step in first["loc"]), first["msg"]


def _load(path: Path, model: type[M]) -> M:
    try:
        return model.model_validate(read_yaml(path))
    except ValidationError as error:
        place, wrong = fault_of(error)
        raise ConfigurationError(f"the catalogue file {path.name} is not valid at {place}: {wrong}") from None


def load_service(path: Path) -> Service:
    """Read one service file, named after its service. Raises ConfigurationError."""
    service = _load(path, Service)
    if path.stem != service.service:
        raise ConfigurationError(f"the catalogue file {path.name} must be named after its service")
    return service


def load_purposes(path: Path) -> PurposeSet:
    """Read one set of usual purposes. Raises ConfigurationError."""
    return _load(path, PurposeSet)


@cache
def services() -> Mapping[str, Service]:
    """Every service of the catalogue by its name. Raises ConfigurationError."""
    return {path.stem: load_service(path) for path in sorted(DIRECTORY.glob("*.yaml"))}


@cache
def usual_purposes() -> Mapping[str, UsualPurpose]:
    """Every usual purpose by its name, over all sets. Raises ConfigurationError."""
    sets = [load_purposes(path) for path in sorted(PURPOSES_DIRECTORY.glob("*.yaml"))]
    return {purpose.purpose: purpose for one in sets for purpose in one.purposes}


@cache
def catalogue_services() -> frozenset[str]:
    """The names a decision may give under `services` besides those of the site's own notices."""
    return frozenset(services())
