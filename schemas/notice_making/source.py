"""The source of a notice: what is asked, stated once, and its words in each language.

`sayso notice publish` and the API take it; every notice that is made from it is immutable (schemas.notices).
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.durations import DurationText
from schemas.errors import NoticeNotValid
from schemas.events import Language, LegalBasis, Name, Sha256, Text, Time
from schemas.notices import NoticeAuthority, NoticeController, NoticeText, PurposeFacts

# What may differ from the version before. `words` are the texts; the rest is what they speak of.
ChangeKind = Literal["purpose", "service", "recipient", "legal_basis", "scope", "validity", "words"]
# Without a rule of the controller's own: what somebody agreed to without having been told of (EDPB 05/2020, 110).
ASKED_AGAIN: Final[list[ChangeKind]] = ["service", "recipient", "legal_basis", "scope"]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NoticeWords(_Closed):
    """What stands around the purposes, in one language."""

    title: Text | None = None
    text: NoticeText | None = None
    withdrawal: Text | None = None


class PurposeWords(_Closed):
    """What stands beside one purpose, in one language."""

    title: Text | None = None
    description: NoticeText | None = None


class SourcePurpose(PurposeFacts):
    """One thing that is asked for."""

    purpose: Name
    legal_basis: LegalBasis
    services: Annotated[list[Name], Field(max_length=128, default_factory=list)]
    scope: Literal["device", "account"] = "device"
    valid_for: DurationText | None = None
    texts: Annotated[dict[Language, PurposeWords], Field(min_length=1, max_length=64)]

    @property
    def validity(self) -> str | None:
        """How long an answer stands, as a duration; None: until it is changed."""
        return self.valid_for


class NoticeSource(_Closed):
    """One version of a notice in all its languages."""

    notice: Name
    version: Text
    # Stands in where a text or a whole language is missing; its own texts must be whole.
    fallback_language: Language
    controller: NoticeController
    authority: NoticeAuthority | None = None
    minimum_age: Annotated[int, Field(ge=13, le=21)] | None = None
    jurisdiction: Text | None = None
    effective_at: Time | None = None
    policy_url: Text | None = None
    ui_sha256: Sha256 | None = None
    # Which changes make earlier answers count no longer.
    ask_again_when: Annotated[list[ChangeKind], Field(default_factory=lambda: list(ASKED_AGAIN))]
    texts: Annotated[dict[Language, NoticeWords], Field(min_length=1, max_length=64)]
    purposes: Annotated[list[SourcePurpose], Field(min_length=1, max_length=128)]

    @model_validator(mode="after")
    def _fallback_is_whole(self) -> Self:
        words: list[NoticeWords | PurposeWords | None] = [self.texts.get(self.fallback_language)]
        words += [purpose.texts.get(self.fallback_language) for purpose in self.purposes]
        if any(one is None or None in one.model_dump().values() for one in words):
            raise ValueError("the fallback language must have every text")
        names = [purpose.purpose for purpose in self.purposes]
        if len(set(names)) < len(names):
            raise ValueError("a purpose stands twice")
        return self


def read_source(value: Any) -> NoticeSource:
    """Raises NoticeNotValid with the pointer of the member at fault; names that nobody knows are cut off it."""
    try:
        return NoticeSource.model_validate(value)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        steps = detail["loc"][:-1] if detail["type"] == "extra_forbidden" else detail["loc"]
        raise NoticeNotValid("".join(f"/{step}" for step in steps)) from None
