"""What a consent receipt is filled from, and who states each value; the forms are receipts_27560 and receipts_kantara.

Pure. Invariant: a value is what the subject was shown, else what the controller or the catalogue states, and the
receipt says which; where nobody states a mandatory one there is no receipt. None is ever made up.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.bundle import Bundle
from schemas.canonical import canonical_json
from schemas.catalogue import Service, said
from schemas.errors import ReceiptIncomplete
from schemas.notices import NoticeContent, NoticePurpose, PersonalData, PurposeFacts
from schemas.parties import ControllerDetails
from schemas.receipts_verify import RECEIPT_FORMAT
from schemas.record import Words

Filled = Annotated[str, Field(min_length=1)]
Source = Literal["notice", "controller", "catalogue"]
ConsentType = Literal["dpv:ExplicitlyExpressedConsent", "dpv:ExpressedConsent", "dpv:ImpliedConsent", "dpv:Consent"]
T = TypeVar("T")
# Acts by which a person expresses consent; what came by another way may have happened without one.
EXPRESSIVE: Final = frozenset({"button", "toggle", "form", "paper"})


class Closed(BaseModel):
    """A part of a receipt: no other members, no other types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ReceiptLog(Closed):
    """The log that holds the record, as the maker of the receipt states it."""

    origin: Filled
    vkey: Filled


class ReceiptProof(Closed):
    """The proof of the record that the receipt is of: its `extra` holds the entry and the disclosed parts."""

    format: Literal["sayso-receipt/v1"]
    log: ReceiptLog
    tlog_proof: Filled


M = TypeVar("M", bound=Closed)


@dataclass(frozen=True, slots=True)
class Stated:
    """Everything a receipt is filled from.

    bundle: the proof of the record, with the part `what` disclosed. what: that part. principal: the subject's random
    id, or a name of this one record where it has no subject. notice: what was shown, None if its words are not known;
    notice_sha256: the hash that the event names. words: how sure that is. controller: None if nobody described it.
    """

    bundle: Bundle
    what: Mapping[str, Any]
    principal: str
    notice: NoticeContent | None
    notice_sha256: str | None
    words: Words
    controller: ControllerDetails | None
    catalogue: Mapping[str, Service]

    def asked(self, purpose_id: str) -> NoticePurpose | None:
        """The purpose as the notice put it, None if the notice does not name it or is not known."""
        purposes = () if self.notice is None else self.notice.purposes
        return next((purpose for purpose in purposes if purpose.purpose == purpose_id), None)


@dataclass(frozen=True, slots=True)
class PurposeStated:
    """What is stated of one purpose, each value that a notice may leave out with its source; None: nobody states it."""

    purpose_id: str
    title: str | None
    purpose_type: str | None
    service_names: Sequence[str]
    personal_data: tuple[Source, Sequence[PersonalData]] | None
    retention: tuple[Source, str] | None
    recipients: tuple[Source, list[str]] | None
    storage_locations: tuple[Source, list[str]] | None


def purpose_stated(stated: Stated, purpose_id: str) -> PurposeStated:
    """What is stated of a purpose: 1. by the notice that was shown; 2. by the controller for this purpose; 3. by the
    catalogue for the services named; 4. by the controller for all purposes.
    """
    asked, details = stated.asked(purpose_id), stated.controller
    own = None if details is None else details.purposes.get(purpose_id)
    facts: list[tuple[Source, PurposeFacts]] = []
    if asked is not None:
        facts.append(("notice", asked))
    if own is not None:
        facts.append(("controller", own))
    named = _services(stated.what, purpose_id, asked)
    known = [stated.catalogue[name] for name in named if name in stated.catalogue]
    # What the catalogue says of some of the services must not pass for all of them.
    services = known if len(known) == len(named) else []
    language = "en" if stated.notice is None else stated.notice.language
    types = [fact.purpose_type for _, fact in facts if fact.purpose_type is not None]
    return PurposeStated(
        purpose_id=purpose_id,
        title=None if asked is None else asked.title,
        purpose_type=types[0] if types else None,
        service_names=[stated.catalogue[name].name if name in stated.catalogue else name for name in named],
        personal_data=_first(
            *((source, fact.personal_data) for source, fact in facts),
            ("catalogue", _collected(services, language)),
        ),
        retention=_first(
            *((source, fact.retention) for source, fact in facts),
            ("controller", None if details is None else details.retention),
        ),
        recipients=_first(
            *((source, fact.recipients) for source, fact in facts),
            # A notice that names no service for a purpose says that no third party serves it.
            ("notice", [] if asked is not None and not named else None),
            ("catalogue", [_operator(service) for service in services] or None),
        ),
        storage_locations=_first(
            *((source, fact.storage_locations) for source, fact in facts),
            ("catalogue", _hosted(services, language)),
            ("controller", None if details is None else details.storage_locations),
        ),
    )


def _services(what: Mapping[str, Any], purpose_id: str, asked: NoticePurpose | None) -> list[str]:
    """The services that the decision names, else those that the notice does."""
    for decision in what["decisions"]:
        if decision["purpose"] == purpose_id and decision["legal_basis"] == "consent" and "services" in decision:
            named: list[str] = decision["services"]
            return named
    return [] if asked is None else asked.services


def _collected(services: Sequence[Service], language: str) -> list[PersonalData] | None:
    """What the services collect, each kind once; None unless the catalogue says it of every one of them."""
    if any(not service.data for service in services):
        return None
    kinds = (said(collected.what, language)[0] for service in services for collected in service.data or [])
    return [PersonalData(type=kind) for kind in dict.fromkeys(kinds)] or None


def _operator(service: Service) -> str:
    """The operator as far as the catalogue knows it: a service is a recipient by its own name if nobody names one."""
    if service.operator is None:
        return service.name
    name = service.operator.name or service.name
    return name if service.operator.country is None else f"{name} ({service.operator.country})"


def _hosted(services: Sequence[Service], language: str) -> list[str] | None:
    """Where the services keep data; None unless the catalogue says it of every one of them."""
    found: list[str] = []
    for hosting in (service.hosting for service in services):
        if hosting is None:
            return None
        facts = ["/".join(hosting.regions or []), hosting.provider or ""]
        place = ", ".join(fact for fact in facts if fact)
        if not place and hosting.location is not None:
            place = said(hosting.location, language)[0]
        if not place:
            return None
        found.append(place)
    return found or None


def _first(*candidates: tuple[Source, T | None]) -> tuple[Source, T] | None:
    """The first candidate with a value, and who states it."""
    for source, value in candidates:
        if value is not None:
            return source, value
    return None


def jurisdiction(stated: Stated) -> str | None:
    """As the event states it, else the notice, else the controller."""
    candidates = (
        stated.what.get("jurisdiction"),
        None if stated.notice is None else stated.notice.jurisdiction,
        None if stated.controller is None else stated.controller.jurisdiction,
    )
    return next((found for found in candidates if found is not None), None)


def collection_method(what: Mapping[str, Any]) -> str:
    """How the decision was collected, in the words of the event model; without a capture, who posted it."""
    capture = what.get("capture")
    if capture is None:
        return f"posted by the {what['posted_by']}"
    # A form is a mechanism and an element.
    return ", ".join(dict.fromkeys(capture[name] for name in ("mechanism", "element", "action") if name in capture))


def consent_type(what: Mapping[str, Any]) -> ConsentType:
    """The kind of consent that the event shows (27560, 6.3.7.4); the general term where it shows none."""
    capture = what.get("capture", {})
    if capture.get("explicit") is True:
        return "dpv:ExplicitlyExpressedConsent"
    if what.get("consent_model") == "opt-out":
        return "dpv:ImpliedConsent"
    return "dpv:ExpressedConsent" if capture.get("mechanism") in EXPRESSIVE else "dpv:Consent"


def present(**members: Any) -> dict[str, Any]:
    """The members that have a value: what is left out is what the model then misses."""
    return {name: value for name, value in members.items() if value is not None}


def finished(model: type[M], id_name: str, content: dict[str, Any], bundle: Bundle) -> M:
    """The receipt with its id and its proof. Raises ReceiptIncomplete naming the first field without a value.

    The id is made of what the receipt says, so that the same words have the same id whenever they are asked for; the
    proof is left out of it, because the log grows. The notice's words are left out of the proof: the receipt names
    their hash.
    """
    kept = replace(bundle, notice=None)
    said = b"sayso/receipt/v1\n%b\n%d\n%b" % (kept.origin.encode(), kept.index, canonical_json(content))
    log = {"origin": kept.origin, "vkey": kept.vkey}
    proof = {"format": RECEIPT_FORMAT, "log": log, "tlog_proof": kept.tlog_proof()}
    try:
        return model.model_validate({**content, id_name: _uuid(hashlib.sha256(said).digest()), "proof": proof})
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise ReceiptIncomplete("".join(f"/{step}" for step in first["loc"])) from None


def _uuid(digest: bytes) -> str:
    """In the spelling of version 4, which Kantara asks for; the bits come from a hash and not from chance."""
    raw = bytearray(digest[:16])
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
