"""The notice: the exact words, purposes, services and language put in front of the subject, named by their SHA-256.

Invariant: a notice is its canonical bytes. Change one of them and it is another notice with another name.
"""

import hashlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.canonical import canonical_json, read_strict
from schemas.errors import InvalidValue
from schemas.events import Language, LegalBasis, Name, Sha256, Text

NoticeText = Annotated[str, Field(min_length=1, max_length=32 * 1024)]
# One line: canonical JSON holds no control characters, and HTML needs no line breaks.
Html = Annotated[str, Field(min_length=1, max_length=64 * 1024)]
# A term of a vocabulary, as dpv:ServiceProvision.
Term = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*:[A-Za-z][A-Za-z0-9-]*$", max_length=128)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=64)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PersonalData(_Closed):
    """One kind of personal data. The categories name what of it is sensitive, or special under GDPR Art. 9."""

    type: Text
    optional: bool | None = None
    sensitive_category: Text | None = None
    special_category: Text | None = None


class PurposeFacts(_Closed):
    """What a receipt says of a purpose besides its words (ISO/IEC TS 27560, 6.3.4 and 6.3.5); absent: not stated."""

    purpose_type: Term | None = None
    personal_data: Annotated[list[PersonalData], Field(min_length=1, max_length=64)] | None = None
    retention: Text | None = None
    # An empty list says that nobody else receives the data.
    recipients: Annotated[list[Text], Field(max_length=64)] | None = None
    storage_locations: Texts | None = None


class NoticePurpose(PurposeFacts):
    """One thing that is asked for, in the words of the notice's language."""

    purpose: Name
    title: Text
    description: NoticeText
    legal_basis: LegalBasis
    services: Annotated[list[Name], Field(max_length=128)]
    scope: Literal["device", "account"] = "device"
    # Whole days until the answer expires and is asked for again.
    valid_days: Annotated[int, Field(ge=1, le=3650)] | None = None


class NoticeController(_Closed):
    """Who decides why the data is processed, as the subject was told."""

    name: Text
    contact: Text


class NoticeContent(_Closed):
    """Everything that was shown."""

    # Not Literal[1]: that would also take true and 1.0, which equal it in Python.
    v: Annotated[int, Field(ge=1, le=1)]
    notice_id: Name
    version: Text
    language: Language
    title: Text
    text: NoticeText
    controller: NoticeController
    purposes: Annotated[list[NoticePurpose], Field(min_length=1, max_length=128)]
    withdrawal: Text
    policy_url: Text | None = None
    # True if answers to the version before no longer count: consent must be asked for again (EDPB 05/2020, 110).
    asks_again: bool = False
    jurisdiction: Text | None = None
    # The exact HTML that was drawn.
    html: Html | None = None
    # SHA-256 of the code that showed it (CNIL 2020-092, proof of consent).
    ui_sha256: Sha256 | None = None


def notice_bytes(value: Any) -> bytes:
    """Validate a notice and return its canonical bytes. Raises InvalidValue."""
    try:
        NoticeContent.model_validate(value)
    except ValidationError as error:
        raise InvalidValue("/" + "/".join(str(step) for step in error.errors(include_input=False)[0]["loc"])) from None
    canonical = canonical_json(value)
    read_strict(canonical)
    return canonical


def notice_hash(content: bytes) -> bytes:
    """The notice's name, 32 bytes."""
    return hashlib.sha256(content).digest()
