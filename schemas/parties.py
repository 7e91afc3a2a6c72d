"""What the operator says of a controller, for receipts (ISO/IEC TS 27560, 6.3.6; GDPR Art. 13(1)(a), (2)(d)).

Kept as canonical JSON beside the controller. It may change: whatever a subject was told stands in the notice, and a
receipt says of each value whether the notice, the catalogue or this states it.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.canonical import canonical_json, read_strict
from schemas.errors import InvalidValue
from schemas.events import Name, Text
from schemas.notices import PurposeFacts, Term, Texts

Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=512)]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=320)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Address(_Closed):
    """A postal address; `country` is an ISO 3166-1 code of two letters."""

    street: Text
    locality: Text
    country: Country
    region: Text | None = None
    postal_code: Text | None = None
    post_office_box: Text | None = None


class Authority(_Closed):
    """The supervisory authority that a subject may complain to."""

    name: Text
    url: Url | None = None


class ControllerDetails(_Closed):
    """The controller as a party, and what holds for its purposes where their notices do not say it."""

    # Not Literal[1]: that would also take true and 1.0, which equal it in Python.
    v: Annotated[int, Field(ge=1, le=1)]
    # A number or address that names it outside of Sayso: a company register's, a LEI, a URL.
    party_id: Text
    name: Text
    party_type: Term
    address: Address
    contact: Text
    email: Email | None = None
    phone: Text | None = None
    url: Url | None = None
    policy_url: Url | None = None
    jurisdiction: Text | None = None
    authority: Authority | None = None
    privacy_rights: Texts | None = None
    storage_locations: Texts | None = None
    retention: Text | None = None
    purposes: Annotated[dict[Name, PurposeFacts], Field(max_length=128)] = {}


def details_bytes(value: Any) -> bytes:
    """Validate a controller's details and return their canonical bytes. Raises InvalidValue, or ControlCharacter."""
    try:
        ControllerDetails.model_validate(value)
    except ValidationError as error:
        raise InvalidValue("/" + "/".join(str(step) for step in error.errors(include_input=False)[0]["loc"])) from None
    canonical = canonical_json(value)
    read_strict(canonical)
    return canonical
