"""Retention rules as a controller states them: what goes, how long after what, what a law keeps (docs/retention.md).

Invariant: a rule is its canonical bytes; stated once it is never changed, the latest statement of its name counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from schemas.canonical import canonical_json, read_strict
from schemas.durations import Duration
from schemas.events import Name, Text
from schemas.record import PartName

# From when on time is counted: the record came in; its consent was withdrawn; the account was deleted; consent ran out.
Begins = Literal["received", "withdrawn", "account-deleted", "expired"]
# clear-part: parts of records. erase-subject: the person, as by an erasure. trigger-erase and trigger-anonymise:
# downstream systems alone. keep: nothing goes before its time, on the ground of a law.
Then = Literal["clear-part", "erase-subject", "trigger-erase", "trigger-anonymise", "keep"]
# What downstream systems are told to do by a rule; what goes here goes there.
TELLS: Final[Mapping[Then, Literal["erase", "anonymise"]]] = {
    "erase-subject": "erase",
    "trigger-erase": "erase",
    "trigger-anonymise": "anonymise",
}
# GDPR Art. 17(3): a legal obligation, the public interest in archives, legal claims.
KeepGround = Literal["17(3)(b)", "17(3)(d)", "17(3)(e)"]
# Every market that a rule does not name, as a key of `until`.
OTHERWISE: Final = "*"
AT_ONCE: Final = "P0D"
Market = Annotated[str, Field(pattern=r"^([A-Z]{2}|\*)$")]


def duration_of(text: str) -> Duration:
    """`schemas.durations.Duration`, or nothing at all for P0D. Raises ValueError."""
    return Duration(0, 0) if text == AT_ONCE else Duration.parse(text)


def _is_a_period(text: str) -> str:
    duration_of(text)
    return text


Period = Annotated[str, Field(max_length=16), AfterValidator(_is_a_period)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AppliesTo(_Closed):
    """Which records and parts; nothing named is everything.

    `category`: a kind of personal data as notices name it (personal_data.type); stands for the purposes that use it.
    """

    purposes: Annotated[list[Name], Field(min_length=1, max_length=128)] | None = None
    part: PartName | None = None
    category: Text | None = None

    @model_validator(mode="after")
    def _one_way_to_name_purposes(self) -> Self:
        if self.purposes is not None and self.category is not None:
            raise ValueError("contradiction")
        return self


class RetentionRule(_Closed):
    """One written rule. `told` is the sentence that the person reads."""

    applies_to: AppliesTo
    begins: Begins
    then: Then
    told: Text
    # P0D is at once.
    after: Period | None = None
    ground: KeepGround | None = None
    # Of a rule that keeps: how long, by market (ISO 3166-1 alpha-2), with "*" for every other.
    until: Annotated[dict[Market, Period], Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _members_fit(self) -> Self:
        keeps = self.then == "keep"
        if keeps != (self.until is not None) or keeps != (self.ground is not None) or keeps == (self.after is not None):
            raise ValueError("contradiction")
        if self.until is not None and OTHERWISE not in self.until:
            raise ValueError("contradiction")
        if self.then in TELLS and self.applies_to.part is not None:
            raise ValueError("contradiction")
        if self.then in {"trigger-erase", "trigger-anonymise"} and self.begins == "received":
            # Nothing happened that a downstream system could be told of.
            raise ValueError("contradiction")
        return self

    def content(self) -> bytes:
        """Its canonical bytes."""
        return canonical_json(self.model_dump(mode="json", exclude_none=True))


@dataclass(frozen=True, slots=True)
class Ruling:
    """A rule with its category resolved, for the engine. `purposes` None: every one, and records without any."""

    name: str
    begins: Begins
    then: Then
    purposes: frozenset[str] | None
    part: PartName | None
    after: Duration
    until: Mapping[str, Duration]

    def covers(self, purpose: str | None, part: PartName | None) -> bool:
        """Whether it speaks of this purpose (None: of a record that has none) and, unless that is None, this part."""
        is_purpose = self.purposes is None or purpose in self.purposes
        return is_purpose and (part is None or self.part is None or self.part == part)

    def kept_until(self, begin: datetime, market: str | None) -> datetime:
        """The end of what a rule keeps. A market that is not known, or not any more, has the longest of all."""
        if market is None:
            return max(period.after(begin) for period in self.until.values())
        return self.until.get(market, self.until[OTHERWISE]).after(begin)


def read_rule(content: bytes) -> RetentionRule:
    """A rule from its `content`."""
    value, _ = read_strict(content)
    return RetentionRule.model_validate(value)


def resolve(name: str, rule: RetentionRule, categories: Mapping[str, frozenset[str]]) -> Ruling:
    """The rule as the engine takes it. A category that no notice names stands for no purpose, never for all."""
    purposes: frozenset[str] | None = None
    if rule.applies_to.category is not None:
        purposes = categories.get(rule.applies_to.category, frozenset())
    elif rule.applies_to.purposes is not None:
        purposes = frozenset(rule.applies_to.purposes)
    return Ruling(
        name=name,
        begins=rule.begins,
        then=rule.then,
        purposes=purposes,
        part=rule.applies_to.part,
        after=duration_of(rule.after or AT_ONCE),
        until={market: duration_of(period) for market, period in (rule.until or {}).items()},
    )
