"""The demo's cast as typed values, read from cast.yaml; a mistake is a ConfigurationError that names its place."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import ConfigurationError
from schemas.events import Decision, Identifier, Name, Text
from schemas.parties import ControllerDetails

FOLDER: Final = Path(__file__).parent


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CastController(_Closed):
    name: Name
    legal_name: Text
    contact: Text
    details: ControllerDetails


class CastSite(_Closed):
    name: Name
    origin: Text
    notices: Annotated[list[Text], Field(min_length=1)]


class Act(_Closed):
    """One event, as its site would post it."""

    name: Name
    site: Name
    by: Literal["browser", "server"]
    language: Text
    who: Name | None
    type: Text
    decisions: dict[Name, Decision]
    capture: dict[str, Any]
    context: dict[str, Any] | None = None


class Expectation(_Closed):
    """What the answers must say about one person and purpose."""

    who: Name
    purpose: Name
    valid: bool
    reasons: list[Text]


class Cast(_Closed):
    """Everything that the demo sets up, plays and checks."""

    controller: CastController
    log: Name
    log_host: Text
    sites: Annotated[list[CastSite], Field(min_length=1)]
    people: dict[Name, Identifier]
    events: Annotated[list[Act], Field(min_length=1)]
    expect: list[Expectation]
    shown: Name
    proved: Name


def load_cast() -> Cast:
    """Raises ConfigurationError."""
    try:
        return Cast.model_validate(yaml.safe_load((FOLDER / "cast.yaml").read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(str(step) for step in first["loc"])
        raise ConfigurationError(f"the demo's cast.yaml is not valid at /{place}: {first['msg']}") from None
