"""The demo's cast as typed values, read from cast.yaml; a mistake is a ConfigurationError that names its place."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import ConfigurationError
from schemas.events import Decision, Identifier, Name, Text, VisitorKey
from schemas.parties import ControllerDetails
from schemas.visitors import visitor_id

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


class Browser(_Closed):
    """Somebody whom the sites know by the key on the device alone."""

    visitorkey: VisitorKey


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

    version: Text
    controller: CastController
    log: Name
    log_host: Text
    sites: Annotated[list[CastSite], Field(min_length=1)]
    people: dict[Name, Identifier | Browser]
    events: Annotated[list[Act], Field(min_length=1)]
    expect: list[Expectation]
    shown: Name
    proved: Name

    def identifier(self, who: str) -> Identifier:
        """By which a person stands in the log."""
        person = self.people[who]
        if isinstance(person, Identifier):
            return person
        return Identifier(type="cookie", value=visitor_id(person.visitorkey))

    def proof(self, who: str) -> dict[str, str]:
        """What a browser sends beside an event to show that the number is its own."""
        person = self.people[who]
        return {} if isinstance(person, Identifier) else {"visitorkey": person.visitorkey}


def load_cast() -> Cast:
    """Raises ConfigurationError."""
    try:
        return Cast.model_validate(yaml.safe_load((FOLDER / "cast.yaml").read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(str(step) for step in first["loc"])
        raise ConfigurationError(f"the demo's cast.yaml is not valid at /{place}: {first['msg']}") from None
