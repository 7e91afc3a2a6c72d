"""The consent receipt of the Kantara Initiative, version 1.1.0 (2018-02-20), as a model and as it is filled. Pure.

It knows consents given and nothing else, so it states those purposes of an event alone; a refusal has no such receipt.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from schemas.errors import NoConsentStated
from schemas.events import Uuid
from schemas.parties import ControllerDetails
from schemas.receipts import (
    Closed,
    ConsentType,
    Filled,
    PurposeStated,
    ReceiptProof,
    Stated,
    collection_method,
    consent_type,
    finished,
    jurisdiction,
    present,
    purpose_stated,
)
from schemas.receipts_verify import KANTARA_1_1, granted_purposes, timestamp_of

# What was not shown to be either is left out, and so refuses the receipt.
_CONSENT_TYPES: Final[dict[ConsentType, str]] = {
    "dpv:ExplicitlyExpressedConsent": "EXPLICIT",
    "dpv:ExpressedConsent": "EXPLICIT",
    "dpv:ImpliedConsent": "IMPLICIT",
}


class _Camel(Closed):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class KantaraAddress(_Camel):
    """A postal address."""

    street_address: Filled
    address_country: Filled
    address_locality: Filled
    address_region: Filled | None = None
    post_office_box_number: Filled | None = None
    postal_code: Filled | None = None


class KantaraController(_Camel):
    """Who decides why the data is processed."""

    pii_controller: Filled
    contact: Filled
    address: KantaraAddress
    email: Filled
    phone: Filled
    pii_controller_url: Filled | None = None


class KantaraPurpose(_Camel):
    """One purpose that consent is given to. The first category is the purpose's name in the notice."""

    purpose: Filled
    purpose_category: Annotated[list[Filled], Field(min_length=1)]
    consent_type: Literal["EXPLICIT", "IMPLICIT"]
    pii_category: Annotated[list[Filled], Field(min_length=1)]
    termination: Filled
    third_party_disclosure: bool
    third_party_name: Filled | None = None

    @model_validator(mode="after")
    def _third_parties_have_a_name(self) -> Self:
        if self.third_party_disclosure and self.third_party_name is None:
            raise ValueError("thirdPartyName is missing")
        return self


class KantaraService(_Camel):
    """The site that asked."""

    service: Filled
    purposes: Annotated[list[KantaraPurpose], Field(min_length=1)]


class ReceiptKantara(_Camel):
    """One consent receipt, and the proof of the record that it is of."""

    version: Literal["KI-CR-v1.1.0"]
    jurisdiction: Filled
    # Seconds since 1970, UTC.
    consent_timestamp: int
    collection_method: Filled
    consent_receipt_id: Annotated[Uuid, Field(alias="consentReceiptID")]
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = None
    pii_principal_id: Filled
    pii_controllers: Annotated[list[KantaraController], Field(min_length=1)]
    policy_url: Filled
    services: Annotated[list[KantaraService], Field(min_length=1)]
    sensitive: bool
    spi_cat: Annotated[list[Filled], Field(min_length=1)] | None = None
    proof: ReceiptProof

    @model_validator(mode="after")
    def _sensitive_data_has_categories(self) -> Self:
        if self.sensitive and self.spi_cat is None:
            raise ValueError("spiCat is missing")
        return self


def receipt_kantara(stated: Stated) -> ReceiptKantara:
    """The receipt. Raises NoConsentStated, or ReceiptIncomplete with a pointer to a field that has no value."""
    names = granted_purposes(stated.what)
    if not names:
        raise NoConsentStated
    purposes = [purpose_stated(stated, name) for name in names]
    notice, details = stated.notice, stated.controller
    urls = (None if notice is None else notice.policy_url, None if details is None else details.policy_url)
    content = present(
        version=KANTARA_1_1,
        jurisdiction=jurisdiction(stated),
        consentTimestamp=timestamp_of(stated.what),
        collectionMethod=collection_method(stated.what),
        language=None if notice is None else _two_letters(notice.language),
        piiPrincipalId=stated.principal,
        piiControllers=[] if details is None else [_controller(details)],
        policyUrl=next((url for url in urls if url is not None), None),
        services=[{"service": stated.what["site"], "purposes": [_purpose(stated, purpose) for purpose in purposes]}],
        **_sensitivity(purposes),
    )
    return finished(ReceiptKantara, "consentReceiptID", content, stated.bundle)


def _two_letters(language: str) -> str | None:
    """The ISO 639-1 code of a language tag, None for a language without one."""
    primary = language.partition("-")[0]
    return primary if len(primary) == 2 else None


def _controller(details: ControllerDetails) -> dict[str, Any]:
    address = details.address
    return present(
        piiController=details.name,
        contact=details.contact,
        address=present(
            streetAddress=address.street,
            addressCountry=address.country,
            addressLocality=address.locality,
            addressRegion=address.region,
            postOfficeBoxNumber=address.post_office_box,
            postalCode=address.postal_code,
        ),
        email=details.email,
        phone=details.phone,
        piiControllerUrl=details.url,
    )


def _purpose(stated: Stated, purpose: PurposeStated) -> dict[str, Any]:
    recipients = None if purpose.recipients is None else purpose.recipients[1]
    pii = None if purpose.personal_data is None else [data.type for data in purpose.personal_data[1]]
    return present(
        purpose=purpose.title,
        purposeCategory=[purpose.purpose_id, *([] if purpose.purpose_type is None else [purpose.purpose_type])],
        consentType=_CONSENT_TYPES.get(consent_type(stated.what)),
        piiCategory=pii,
        termination=None if stated.notice is None else stated.notice.withdrawal,
        thirdPartyDisclosure=None if recipients is None else bool(recipients),
        thirdPartyName=", ".join(recipients) if recipients else None,
    )


def _sensitivity(purposes: Sequence[PurposeStated]) -> dict[str, Any]:
    """Whether any of the data is sensitive. The catalogue does not say so of what it lists: then nobody states it."""
    found = [purpose.personal_data for purpose in purposes if purpose.personal_data is not None]
    if len(found) < len(purposes) or any(source == "catalogue" for source, _ in found):
        return {}
    kinds = [kind for _, data in found for one in data for kind in (one.sensitive_category, one.special_category)]
    categories = list(dict.fromkeys(kind for kind in kinds if kind is not None))
    return present(sensitive=bool(categories), spiCat=categories or None)
