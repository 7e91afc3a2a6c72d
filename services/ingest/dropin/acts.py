"""An act that a banner posted in its own words -> the event that says the same in ours.

The banner's consent id is known to one browser and its site only, so it serves as the visitor's secret: recorded is the
number made of it (schemas.visitors), never the id itself. A posted time makes the event's id, so that the same act
posted twice is recorded once.
"""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel, Field, ValidationError

from schemas.errors import InvalidParameter, MissingField
from schemas.limits import TEXT_CHARS_MAX
from schemas.record import format_time
from schemas.visitors import visitor_id
from services.http import pointer_of, schema_names
from services.ingest.dropin.mapping import Target, Targets, targets_of

# Long enough not to be guessed: UUIDs, and what random generators write.
ConsentId = Annotated[str, Field(pattern=r"^[\x21-\x7e]{20,128}$")]
Key = Annotated[str, Field(min_length=1, max_length=128)]
Action = Literal["accept_all", "reject_all", "save"]

_KEY_DOMAIN: Final = "sayso/drop-in/visitor/v1\n"
_ID_DOMAIN: Final = "sayso/drop-in/event/v1\n"
_UUID_BYTES: Final = 16
_UUID_VERSION: Final = 8  # RFC 9562, 5.8: made of what the maker chose
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

M = TypeVar("M", bound=BaseModel)


class Answer(NamedTuple):
    """One answer under a name of the banner's configuration, for some services or for all."""

    key: str
    granted: bool
    services: Sequence[str] = ()


class Act(NamedTuple):
    """What a banner posted. `at`: when the visitor acted, if it says so."""

    answers: Sequence[Answer]
    # The member to name when nothing is left to record.
    pointer: str
    consent_id: str | None = None
    at: str | None = None
    action: Action | None = None
    page: str | None = None
    # Nobody saw the visitor act: a script saved it.
    observed: bool = False
    # What the banner's names mean where the page's map says nothing.
    usual: Mapping[str, tuple[Target, ...]] = {}


def validated(model: type[M], value: Any) -> M:
    """The posted value as `model`. Raises InvalidParameter with a pointer into what was posted."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        loc = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
        raise InvalidParameter(pointer_of(loc, schema_names(model.model_json_schema()))) from None


def event_of(act: Act, mapped: Targets, source: str, now_us: int) -> dict[str, Any]:
    """The CloudEvent. Raises MissingField where nothing is left to decide, UnknownPurpose.

    1. Answers become decisions; 2. whether anything was granted makes the type; 3. the consent id makes the visitor;
    4. id and time are the act's own where it has a time, else those of its receipt.
    """
    decisions = _decisions(act, {**act.usual, **mapped})
    if not decisions:
        raise MissingField(act.pointer)
    granted = any(decision["decision"] == "granted" for decision in decisions)
    data: dict[str, Any] = {"decisions": decisions, "capture": {"mechanism": "api"}}
    if act.action is not None:
        data["capture"]["action"] = act.action
    if act.page:
        data["context"] = {"page": act.page[:TEXT_CHARS_MAX]}
    event = {
        "specversion": "1.0",
        "id": _event_id(act, source),
        "source": source,
        "type": "consent.observed" if act.observed else "consent.given" if granted else "consent.refused",
        "time": format_time(_EPOCH + timedelta(microseconds=now_us)) if act.at is None else act.at,
        "data": data,
    }
    if act.consent_id is not None:
        key = event["visitorkey"] = visitor_key(source, act.consent_id)
        data["subject"] = {"identifiers": [{"type": "cookie", "value": visitor_id(key)}]}
    return event


def visitor_key(source: str, consent_id: str) -> str:
    """The visitor key that a banner's consent id stands for at one site; at another it is another visitor."""
    digest = hashlib.sha256(f"{_KEY_DOMAIN}{source}\n{consent_id}".encode()).digest()
    return "vk_" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _decisions(act: Act, mapped: Targets) -> list[dict[str, Any]]:
    """One decision for each purpose, basis and set of services; granted only if every answer to it says so."""
    found: dict[tuple[str, str, tuple[str, ...]], bool] = {}
    for answer in act.answers:
        for target in targets_of(answer.key, mapped):
            services = tuple(target.services or (service.lower() for service in answer.services))
            place = (target.purpose, target.legal_basis, services)
            found[place] = found.get(place, True) and answer.granted
    return [_decision(*place, granted=granted) for place, granted in found.items()]


def _decision(purpose: str, legal_basis: str, services: Sequence[str], *, granted: bool) -> dict[str, Any]:
    if legal_basis == "consent":
        said = "granted" if granted else "denied"
    else:
        said = "not_objected" if granted else "objected"
    decision: dict[str, Any] = {"purpose": purpose, "decision": said, "legal_basis": legal_basis}
    return decision | ({"services": list(services)} if services else {})


def _event_id(act: Act, source: str) -> str:
    raw = os.urandom(_UUID_BYTES)
    if act.consent_id is not None and act.at is not None:
        raw = hashlib.sha256(f"{_ID_DOMAIN}{source}\n{act.consent_id}\n{act.at}".encode()).digest()[:_UUID_BYTES]
    number = int.from_bytes(raw)
    number = number & ~(0xF << 76) | _UUID_VERSION << 76
    return str(UUID(int=number & ~(0x3 << 62) | 0x2 << 62))
