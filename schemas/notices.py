"""The notice: the exact words, purposes, services and language put in front of the subject, named by their SHA-256.

Invariant: a notice is its canonical bytes. Change one of them and it is another notice with another name.
"""

import hashlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.canonical import canonical_json, read_strict
from schemas.errors import InvalidValue
from schemas.events import Language, LegalBasis, Name, Text

NoticeText = Annotated[str, Field(min_length=1, max_length=32 * 1024)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NoticePurpose(_Closed):
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
