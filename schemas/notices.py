"""The notice: the exact words, purposes, services and language put in front of the subject, named by their SHA-256.

Invariant: a notice is its canonical bytes. Change one of them and it is another notice with another name.
"""

import hashlib
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.canonical import canonical_json, read_strict
from schemas.durations import DurationText
from schemas.errors import InvalidValue
from schemas.events import Language, LegalBasis, Name, Sha256, Text, Time

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
    # How long an answer stands before it is asked for again, in whole days or as a duration (P6M).
    valid_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    valid_for: DurationText | None = None

    @property
    def validity(self) -> str | None:
        """How long an answer stands, as a duration; None: until it is changed."""
        return self.valid_for if self.valid_days is None else f"P{self.valid_days}D"

    @model_validator(mode="after")
    def _one_validity(self) -> Self:
        if self.valid_days is not None and self.valid_for is not None:
            raise ValueError("say valid_days or valid_for, not both")
        return self


class NoticeController(_Closed):
    """Who decides why the data is processed, as the subject was told."""

    name: Text
    contact: Text


class NoticeAuthority(_Closed):
    """Where to complain (GDPR Art. 13(2)(d))."""

    name: Text
    url: Text | None = None


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
    # From when on it is shown; until then the version before is.
    effective_at: Time | None = None
    authority: NoticeAuthority | None = None
    # The youngest age at which one may agree alone (GDPR Art. 8).
    minimum_age: Annotated[int, Field(ge=13, le=21)] | None = None
    # Every language of this version, and the one that stands in for those it has not.
    languages: Annotated[list[Language], Field(min_length=1, max_length=64)] | None = None
    fallback_language: Language | None = None
    # JSON pointers to words that are not in `language` but in `fallback_language`: nobody translated them.
    untranslated: Annotated[list[Text], Field(max_length=512)] | None = None
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
