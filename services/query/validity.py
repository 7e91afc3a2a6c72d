"""valid(purpose, subject, at, known_at): does a consent stand, and if not, why (design, State). Pure.

Reads only what was known at `known_at`; docs/decisions/0004 says when the words make a grant invalid.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from schemas.durations import Duration
from schemas.events import parse_time
from schemas.ranking import LOWEST, Decided, is_act_unseen, is_unconfirmed, made_at

# What a restriction of everything names in the place of a purpose.
EVERY_PURPOSE: Final = ""
Reason = Literal[
    "never_asked",
    "denied",
    "withdrawn",
    "expired",
    "objected",
    "notice_changed",
    "words_unverified",
    "unconfirmed",
    "act_not_seen",
    "suspended",
    "under_age",
    "restricted",
    "other_legal_basis",
    "erased",
]


@dataclass(frozen=True, slots=True)
class Answer:
    """A deciding answer and its evidence. `what` is None once the record's decision part was deleted.

    `through`: the linked subject that decided, None for the one that was asked about.
    """

    decided: Decided
    log: str
    index: int
    received_at: datetime | None
    what: Mapping[str, Any] | None
    through: UUID | None = None

    @property
    def decided_at(self) -> datetime:
        """When it was decided; of a grant that counts for nothing, when it was made."""
        if self.decided.rank > LOWEST or self.what is None or self.received_at is None:
            return self.decided.rank
        return made_at(self.what, self.received_at)


@dataclass(frozen=True, slots=True)
class Notice:
    """What matters here of one published notice; `validity` by purpose, for purposes whose answers expire.

    It is shown from `in_force_at` on: its publication, or the later day that it names itself.
    """

    notice: bytes
    site: str
    notice_id: str
    version: str
    asks_again: bool
    published_at: datetime
    in_force_at: datetime
    validity: Mapping[str, Duration]


@dataclass(frozen=True, slots=True)
class Match:
    """A DPO's statement, made at `matched_at`, that the hash `shown` stands for the published `notice`."""

    shown: bytes
    notice: bytes
    matched_at: datetime


class Notices:
    """The notices and matches of one controller as they were known at one moment."""

    def __init__(self, notices: Iterable[Notice], matches: Iterable[Match], at: datetime, known_at: datetime) -> None:
        self._published = [n for n in notices if n.published_at <= known_at]
        self._matched = {m.shown: m.notice for m in matches if m.matched_at <= known_at}
        self._at = at

    def standing_for(self, shown: bytes, site: str) -> Notice | None:
        """The published notice that a hash names, itself or by a match; the site's own publication first."""
        wanted = self._matched.get(shown, shown)
        found = [n for n in self._published if n.notice == wanted]
        return min(found, key=lambda n: (n.site != site, n.published_at), default=None)

    def is_match(self, shown: bytes) -> bool:
        return shown in self._matched

    def asked_again_after(self, shown: Notice) -> bool:
        """Whether a later version of the notice at its site says that earlier answers no longer count.

        A version begins when its first language is published, so that a late translation is not a later version.
        """
        family = [n for n in self._published if (n.site, n.notice_id) == (shown.site, shown.notice_id)]
        began: dict[str, datetime] = {}
        for n in family:
            began[n.version] = min(n.published_at, began.get(n.version, n.published_at))
        return any(
            n.asks_again and n.in_force_at <= self._at and began[n.version] > began[shown.version] for n in family
        )


@dataclass(frozen=True, slots=True)
class AgeStated:
    """The latest that a site said of somebody's age: over or under what was asked for, and when that came."""

    is_over: bool
    stated_at: datetime


@dataclass(frozen=True, slots=True)
class Judgement:
    """Yes or no with its reasons; `words` is how sure we are of the words, `expires_at` when a grant ends by itself.

    `to_confirm`: a guardian agreed for a child who is old enough now, and may confirm it or not (EDPB 05/2020, 149).
    """

    valid: bool
    reasons: Sequence[Reason]
    words: str | None = None
    expires_at: datetime | None = None
    to_confirm: bool = False


def judge(answer: Answer, notices: Notices, at: datetime, age: AgeStated | None = None) -> Judgement:
    """Judge one deciding answer. `age` is what is known of the person's; unknown is not under.

    1. Without its evidence nothing stands; 2. only consent can be given; 3. a denial is a decision of its own;
    4. a grant must name words that are known, that nothing replaced since, be confirmed, not be over, and not be a
    child's alone.
    """
    what, decided = answer.what, answer.decided
    if what is None:
        return Judgement(valid=False, reasons=["erased"])
    shown = bytes.fromhex(what["notice"]["sha256"]) if "notice" in what else None
    notice = None if shown is None else notices.standing_for(shown, what["site"])
    words: str = what["words"]
    if words == "unverified" and shown is not None and notice is not None and notices.is_match(shown):
        words = "matched"
    if decided.legal_basis != "consent":
        objected: list[Reason] = ["objected"] if decided.decision == "objected" else []
        return Judgement(valid=False, reasons=["other_legal_basis", *objected], words=words)
    if decided.decision != "granted":
        return Judgement(valid=False, reasons=[_denial(what)], words=words)
    reasons: list[Reason] = []
    expires_at = _expiry(answer, what, notice)
    if expires_at is not None and at >= expires_at:
        reasons.append("expired")
    if notice is None:
        reasons.append("words_unverified")
    elif notices.asked_again_after(notice):
        reasons.append("notice_changed")
    if is_act_unseen(what):
        reasons.append("act_not_seen")
    if is_unconfirmed(what) or not _is_confirmed(what, at):
        reasons.append("unconfirmed")
    if _is_childs(what, age):
        reasons.append("under_age")
    to_confirm = _is_guardians(what) and age is not None and age.is_over
    return Judgement(not reasons, reasons, words, expires_at, to_confirm)


def under_restriction(judgement: Judgement, purpose: str, restricted: Collection[str]) -> Judgement:
    """A judgement about a purpose while the processing of some is restricted (GDPR Art. 18); '' is every purpose."""
    if purpose not in restricted and EVERY_PURPOSE not in restricted:
        return judgement
    return replace(judgement, valid=False, reasons=[*judgement.reasons, "restricted"])


def _is_guardians(what: Mapping[str, Any]) -> bool:
    """Whether a guardian gave this answer and is known to have been asked (GDPR Art. 8(2))."""
    return what.get("actor", {}).get("entity") == "guardian" and "guardian_authorised_at" in what


def _is_childs(what: Mapping[str, Any], age: AgeStated | None) -> bool:
    """Whether somebody too young gave it alone: by what was said then, or by what became known later."""
    if _is_guardians(what):
        return False
    stated = what.get("age")
    return (stated is not None and not stated["over"]) or (age is not None and not age.is_over)


def _denial(what: Mapping[str, Any]) -> Reason:
    if is_unconfirmed(what):
        # In force until the site undoes it, and no reason to delete anything.
        return "suspended"
    reasons: dict[str, Reason] = {"consent.withdrawn": "withdrawn", "consent.expired": "expired"}
    return reasons.get(what["type"], "denied")


def _expiry(answer: Answer, what: Mapping[str, Any], notice: Notice | None) -> datetime | None:
    """The earlier of what the event states and what the notice promised, counted from the moment that ranks."""
    ends = []
    if "valid_until" in what:
        ends.append(parse_time(what["valid_until"]))
    if notice is not None and answer.decided.purpose in notice.validity:
        ends.append(notice.validity[answer.decided.purpose].after(answer.decided_at))
    return min(ends, default=None)


def _is_confirmed(what: Mapping[str, Any], at: datetime) -> bool:
    if "double_opt_in" not in what:
        return True
    confirmed = what["double_opt_in"].get("confirmed_at")
    return confirmed is not None and parse_time(confirmed) <= at
