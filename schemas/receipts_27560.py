"""The receipt of ISO/IEC TS 27560:2023, as a model and as it is filled. Pure.

Field names and obligations are the standard's as the W3C DPV guide lists them (clauses in the docstrings); terms are
those of DPV. A mandatory field is a required member, so a value that nobody has stated refuses the receipt.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from schemas.durations import Duration
from schemas.errors import NoConsentStated
from schemas.events import Name, Sha256, Time, Uuid, parse_time
from schemas.notices import PersonalData
from schemas.parties import ControllerDetails
from schemas.receipts import (
    Closed,
    Filled,
    PurposeStated,
    ReceiptProof,
    Source,
    Stated,
    collection_method,
    consent_type,
    finished,
    jurisdiction,
    present,
    purpose_stated,
)
from schemas.receipts_verify import ISO_27560, consent_states
from schemas.record import Words

# The decision stands until the subject decides anew.
UNTIL_EVENT: Final = "dpv:UntilEventDuration"


class PrivacyNotice(Closed):
    """6.3.4.1, the words that were shown; `words` says how sure that is."""

    sha256: Sha256
    notice_id: Name
    version: Filled
    title: Filled
    policy_url: Filled | None = None
    words: Words


class PiiInformation(Closed):
    """6.3.5, one kind of personal data."""

    pii_type: Filled
    pii_optional: bool | None = None
    sensitive_pii_category: Filled | None = None
    special_pii_category: Filled | None = None


class ReceiptPurpose(Closed):
    """6.3.4.3 and what is processed for it. `stated_by`: who stated the values that a notice may leave out."""

    purpose: Filled
    purpose_id: Name
    purpose_type: Filled | None = None
    lawful_basis: Literal["dpv:Consent"]
    pii_information: Annotated[list[PiiInformation], Field(min_length=1)]
    storage_locations: Annotated[list[Filled], Field(min_length=1)]
    retention_period: Filled
    # An empty list says that nobody else receives the data.
    recipient_third_parties: list[Filled]
    service: list[Filled] | None = None
    stated_by: dict[Name, Source]


class AuthorityParty(Closed):
    """6.3.4.22, the supervisory authority."""

    party_name: Filled
    party_url: Filled | None = None


class Processing(Closed):
    """6.3.4, what was consented to."""

    privacy_notice: PrivacyNotice
    language: Filled
    purposes: Annotated[list[ReceiptPurpose], Field(min_length=1)]
    # References to `party_id`.
    pii_controllers: Annotated[list[Filled], Field(min_length=1)]
    collection_method: Filled | None = None
    jurisdiction: Filled
    withdrawal_method: Filled
    privacy_rights: list[Filled] | None = None
    authority_party: AuthorityParty | None = None


class PartyAddress(Closed):
    """A postal address."""

    street: Filled
    locality: Filled
    country: Filled
    region: Filled | None = None
    postal_code: Filled | None = None
    post_office_box: Filled | None = None


class Party(Closed):
    """6.3.6."""

    party_id: Filled
    party_address: PartyAddress
    party_email: Filled | None = None
    party_url: Filled | None = None
    party_phone: Filled | None = None
    party_name: Filled
    party_role: Literal["dpv:DataController"]
    party_contact: Filled
    party_type: Filled


class ConsentEvent(Closed):
    """6.3.7, one decision about one purpose."""

    purpose_id: Name
    event_time: Time
    # ISO 8601 duration or interval; dpv:UntilEventDuration: until the subject decides anew.
    validity_duration: Filled
    entity_id: Filled
    event_type: Literal["dpv:ExplicitlyExpressedConsent", "dpv:ExpressedConsent", "dpv:ImpliedConsent", "dpv:Consent"]
    event_state: Literal[
        "dpv:ConsentRequested",
        "dpv:ConsentGiven",
        "dpv:RenewedConsentGiven",
        "dpv:ConsentRefused",
        "dpv:ConsentWithdrawn",
        "dpv:ConsentExpired",
        "dpv:ConsentInvalidated",
    ]


class Receipt27560(Closed):
    """One consent receipt that repeats the fields of its consent record (6.3), and the proof of that record."""

    schema_version: Literal["ISO/IEC TS 27560:2023"]
    record_id: Uuid
    receipt_id: Uuid
    pii_principal_id: Filled
    processing: Processing
    parties: Annotated[list[Party], Field(min_length=1)]
    events: Annotated[list[ConsentEvent], Field(min_length=1)]
    proof: ReceiptProof


def receipt_27560(stated: Stated) -> Receipt27560:
    """The receipt. Raises NoConsentStated, or ReceiptIncomplete with a pointer to a field that has no value."""
    states = consent_states(stated.what)
    if not states:
        raise NoConsentStated
    names = dict.fromkeys(name for name, _ in states)
    content = {
        "schema_version": ISO_27560,
        "record_id": stated.bundle.event,
        "pii_principal_id": stated.principal,
        "processing": _processing(stated, [_purpose(purpose_stated(stated, name)) for name in names]),
        "parties": [] if stated.controller is None else [_party(stated.controller)],
        "events": [_event(stated, name, state) for name, state in states],
    }
    return finished(Receipt27560, "receipt_id", content, stated.bundle)


def _processing(stated: Stated, purposes: list[dict[str, Any]]) -> dict[str, Any]:
    notice, details = stated.notice, stated.controller
    shown = None
    if notice is not None:
        shown = present(
            sha256=stated.notice_sha256,
            notice_id=notice.notice_id,
            version=notice.version,
            title=notice.title,
            policy_url=notice.policy_url,
            words=stated.words,
        )
    authority = None
    if details is not None and details.authority is not None:
        authority = present(party_name=details.authority.name, party_url=details.authority.url)
    return present(
        privacy_notice=shown,
        language=None if notice is None else notice.language,
        purposes=purposes,
        pii_controllers=[] if details is None else [details.party_id],
        collection_method=collection_method(stated.what),
        jurisdiction=jurisdiction(stated),
        withdrawal_method=None if notice is None else notice.withdrawal,
        privacy_rights=None if details is None else details.privacy_rights,
        authority_party=authority,
    )


def _purpose(purpose: PurposeStated) -> dict[str, Any]:
    filled = {
        "pii_information": purpose.personal_data,
        "storage_locations": purpose.storage_locations,
        "retention_period": purpose.retention,
        "recipient_third_parties": purpose.recipients,
    }
    values: dict[str, Any] = {name: found[1] for name, found in filled.items() if found is not None}
    if "pii_information" in values:
        values["pii_information"] = [_pii(data) for data in values["pii_information"]]
    return {
        **present(purpose=purpose.title, purpose_type=purpose.purpose_type, service=purpose.service_names or None),
        "purpose_id": purpose.purpose_id,
        "lawful_basis": "dpv:Consent",
        **values,
        "stated_by": {name: found[0] for name, found in filled.items() if found is not None},
    }


def _pii(data: PersonalData) -> dict[str, Any]:
    return present(
        pii_type=data.type,
        pii_optional=data.optional,
        sensitive_pii_category=data.sensitive_category,
        special_pii_category=data.special_category,
    )


def _party(details: ControllerDetails) -> dict[str, Any]:
    return present(
        party_id=details.party_id,
        party_address=details.address.model_dump(exclude_none=True),
        party_email=details.email,
        party_url=details.url,
        party_phone=details.phone,
        party_name=details.name,
        party_role="dpv:DataController",
        party_contact=details.contact,
        party_type=details.party_type,
    )


def _event(stated: Stated, purpose_id: str, state: str) -> dict[str, Any]:
    return present(
        purpose_id=purpose_id,
        event_time=stated.what["time"],
        validity_duration=_validity(stated, purpose_id, state),
        entity_id=_entity(stated),
        event_type=consent_type(stated.what),
        event_state=state,
    )


def _validity(stated: Stated, purpose_id: str, state: str) -> str:
    """The earlier of what the event states and what the notice promised; without either, until the next decision."""
    if state not in {"dpv:ConsentGiven", "dpv:RenewedConsentGiven"}:
        return UNTIL_EVENT
    asked = stated.asked(purpose_id)
    validity = None if asked is None else asked.validity
    until = stated.what.get("valid_until")
    began = stated.what["time"]
    if until is not None and (
        validity is None or parse_time(until) < Duration.parse(validity).after(parse_time(began))
    ):
        return f"{began}/{until}"
    return UNTIL_EVENT if validity is None else validity


def _entity(stated: Stated) -> str | None:
    """Who acted, by an id of this receipt; an expiry and an invalidation are the controller's acts."""
    of_controller = stated.what["type"] in {"consent.expired", "consent.invalidated"}
    entity = stated.what.get("actor", {}).get("entity", "operator" if of_controller else "subject")
    if entity == "operator":
        return None if stated.controller is None else stated.controller.party_id
    return stated.principal if entity == "subject" else f"{entity} of {stated.principal}"
