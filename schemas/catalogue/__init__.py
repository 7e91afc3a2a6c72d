"""The catalogue of third-party services and usual purposes, one YAML file each, in strict closed models.

It holds facts about operators, never about a site's visitors. A file that breaks the model stops the process that
reads it (ConfigurationError): a wrong catalogue would turn wrong notices into accepted ones.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import ConfigurationError
from schemas.events import LegalBasis, Name, Text
from schemas.notices import NoticeContent

DIRECTORY: Final = Path(__file__).parent
PURPOSES_DIRECTORY: Final = DIRECTORY / "purposes"

Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Domain = Annotated[str, Field(pattern=r"^([a-z0-9-]+\.)+[a-z]{2,}$")]
Sentences = Annotated[list[Text], Field(min_length=1)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Operator(_Closed):
    """The company behind a service."""

    name: Text
    country: Country
    place: Text


class Role(_Closed):
    """What the operator is under the GDPR, and for which data."""

    role: Literal["processor", "controller", "joint_controller"]
    covers: Text


class Hosting(_Closed):
    """Where the data lies."""

    regions: Annotated[list[Literal["EEA", "US", "other"]], Field(min_length=1)]
    provider: Text
    eu_only_region: bool


class Delivery(_Closed):
    """How the service gets into the page. `before_choice`: loading it stores something before anyone chose."""

    technique: Text
    before_choice: bool
    note: Text


class Days(_Closed):
    """A lifetime in whole days."""

    days: Annotated[int, Field(ge=1, le=3650)]


class Cookie(_Closed):
    """One cookie and the purpose it serves."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=128)]
    type: Literal["necessary", "functional", "analytics", "marketing"]
    party: Literal["first", "third"]
    duration: Literal["session"] | Days
    purpose: Name
    why: Text


class Storage(_Closed):
    """Browser storage other than cookies. `key` is absent where the operator does not name it."""

    area: Literal["local", "session", "indexed_db"]
    key: Text | None = None
    purpose: Name
    why: Text


class Collected(_Closed):
    """A kind of data, and when it is collected."""

    what: Text
    when: Text


class Use(_Closed):
    """What a site uses the service for, and the legal bases that can carry it."""

    purpose: Name
    legal_basis: Annotated[list[LegalBasis], Field(min_length=1)]
    article: Text
    why: Text


class Transfer(_Closed):
    """A transfer to a country outside the EEA and what allows it."""

    to: Country
    mechanisms: Annotated[list[Literal["scc", "dpf", "adequacy", "bcr"]], Field(min_length=1)]
    article: Text
    note: Text


class Withdrawal(_Closed):
    """What must be deleted when consent to one purpose ends (or an objection is made)."""

    cookies: list[Text]
    storage: bool = False
    at_the_operator: Text


class Dpia(_Closed):
    """When an impact assessment is advisable, and what it should look at."""

    recommended_when: Sentences
    points: Sentences


class Source(_Closed):
    """Where the facts were read."""

    title: Text
    publisher: Text
    year: Annotated[int, Field(ge=2018, le=2100)]


class Service(_Closed):
    """One third-party service."""

    service: Name
    name: Text
    kind: Text
    operator: Operator
    roles: Annotated[list[Role], Field(min_length=1)]
    category: Literal["necessary", "preferences", "statistics", "marketing"]
    risk: Literal["low", "medium", "high"]
    regulations: Sentences
    hosting: Hosting
    delivery: Delivery
    domains: Annotated[list[Domain], Field(min_length=1)]
    cookies: list[Cookie]
    storage: list[Storage]
    data: Annotated[list[Collected], Field(min_length=1)]
    uses: Annotated[list[Use], Field(min_length=1)]
    transfers: list[Transfer]
    sub_processors: list[Text]
    retention: Text
    withdrawal: dict[Name, Withdrawal]
    dpia: Dpia
    sources: Annotated[list[Source], Field(min_length=1)]

    @model_validator(mode="after")
    def _purposes_fit_together(self) -> Self:
        purposes = {use.purpose for use in self.uses}
        if set(self.withdrawal) != purposes:
            raise ValueError("withdrawal must name exactly the purposes of uses")
        stored = {cookie.purpose for cookie in self.cookies} | {entry.purpose for entry in self.storage}
        if not stored <= purposes:
            raise ValueError("a cookie or a storage entry serves a purpose that uses does not name")
        for purpose, withdrawal in self.withdrawal.items():
            # Nothing that a purpose stored may survive its withdrawal.
            if set(withdrawal.cookies) != {cookie.name for cookie in self.cookies if cookie.purpose == purpose}:
                raise ValueError("withdrawal must delete exactly the cookies of its purpose")
            if withdrawal.storage != any(entry.purpose == purpose for entry in self.storage):
                raise ValueError("withdrawal must say whether its purpose keeps browser storage")
        return self


class UsualPurpose(_Closed):
    """A purpose without a third-party service, its ground and how long its data is kept."""

    purpose: Name
    legal_basis: Annotated[list[LegalBasis], Field(min_length=1)]
    what: Text
    cookies: Literal["none", "strictly_necessary", "after_consent"]
    data: Sentences
    kept: Text
    kept_days_after: Annotated[int, Field(ge=0, le=3650)] | None = None


class PurposeSet(_Closed):
    """The usual purposes of one kind of controller."""

    set: Name
    age_minimum: Annotated[int, Field(ge=13, le=21)]
    answer_requests_within_days: Annotated[int, Field(ge=1, le=90)]
    purposes: Annotated[list[UsualPurpose], Field(min_length=1)]
    sources: Annotated[list[Source], Field(min_length=1)]


M = TypeVar("M", Service, PurposeSet)


def _load(path: Path, model: type[M]) -> M:
    try:
        value: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(str(step) for step in first["loc"])
        raise ConfigurationError(f"the catalogue file {path.name} is not valid at /{place}: {first['msg']}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"the catalogue file {path.name} cannot be read ({type(error).__name__})") from None


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


def doubts(notice: NoticeContent) -> list[str]:
    """Where a notice and the catalogue disagree, one sentence each; none of them forbids publishing it."""
    found: list[str] = []
    for asked in notice.purposes:
        usual = usual_purposes().get(asked.purpose)
        if usual is not None and asked.legal_basis not in usual.legal_basis:
            found.append(_other_basis(asked.purpose, asked.legal_basis, "this purpose", usual.legal_basis))
        for name in asked.services:
            service = services().get(name)
            if service is None:
                found.append(f"{asked.purpose}: the service {name} is not in the catalogue")
                continue
            use = next((use for use in service.uses if use.purpose == asked.purpose), None)
            if use is None:
                found.append(f"{asked.purpose}: the catalogue does not know this use of {service.name}")
            elif asked.legal_basis not in use.legal_basis:
                found.append(_other_basis(asked.purpose, asked.legal_basis, service.name, use.legal_basis))
    return found


def _other_basis(purpose: str, stated: str, of: str, known: Iterable[str]) -> str:
    return f"{purpose}: the notice rests on {stated}; for {of} the catalogue gives {' or '.join(known)}"
