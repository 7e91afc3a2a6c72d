"""What retention rules take of one person at one moment: records and rules in, parts that go out. Pure.

Invariant: nothing older speaks again because something newer went. A `what` goes only together with every older answer
to the same question, and what stands stays until it is over.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, NamedTuple

from schemas.event_types import entry_class
from schemas.events import PERMISSIVE
from schemas.ranking import Decided, latest
from schemas.record import PartName
from schemas.retention import TELLS, Ruling

Place = tuple[int, int]
# Whether a record may lose more than its circumstances: what others are projected from (requests, holds, links,
# corrections) is evidence of its own, and goes with the person.
_CLASSES: Final = frozenset({"consent", "notice"})
_ACTS_OF_PEOPLE: Final = ("identity.", "account.")
_REMAINS: Final = frozenset({"correction", "notice.told", "notice.changed"})


class Fact(NamedTuple):
    """What matters here of one record whose `what` is there.

    `decided`: its answers as they rank; none where a correction undid them. `purposes`: all that it decides.
    `expires`: by purpose, when a grant in it runs out by itself. `remains`: it says more of the person than its
    decisions, which nothing else says.
    """

    place: Place
    event: bytes
    type: str
    received_at: datetime
    parts: frozenset[PartName]
    purposes: frozenset[str] = frozenset()
    decided: Sequence[Decided] = ()
    is_unconfirmed: bool = False
    remains: bool = False
    expires: Mapping[str, datetime] = {}
    market: str | None = None


class Begun(NamedTuple):
    """When a period began, and the dedupe name of the event that began it."""

    at: datetime
    event: bytes


class Clearing(NamedTuple):
    """One part of one record that goes, by the first rule in the order of names that takes it."""

    place: Place
    part: PartName
    rule: str
    event: bytes


class Telling(NamedTuple):
    """Downstream systems are told to erase or anonymise: for a purpose, '' for everything, because of an event."""

    rule: str
    purpose: str
    cause: bytes
    action: Literal["erase", "anonymise"]


@dataclass(slots=True)
class Plan:
    """What goes. `erase`: the whole person, by this rule; then nothing else is said."""

    clear: list[Clearing] = field(default_factory=list)
    tell: list[Telling] = field(default_factory=list)
    erase: str | None = None


def plan(
    facts: Sequence[Fact],
    rulings: Iterable[Ruling],
    deleted: Begun | None,
    now: datetime,
    *,
    may_erase: bool = True,
) -> Plan:
    """What goes of one person at `now`; `deleted`: when the account was, unless it was restored since.

    Without `may_erase` only parts go: somebody would be erased with this person who has a ground to stay.

    1. When each purpose was withdrawn or ran out; 2. the whole person; 3. parts by themselves; 4. whom to tell.
    """
    weighing = _Weighing(facts, sorted(rulings, key=lambda ruling: ruling.name), deleted, now)
    found = Plan(erase=weighing.whole() if may_erase else None)
    if found.erase is None:
        found.clear = weighing.parts()
        found.tell = list(weighing.tellings())
    return found


def withdrawals(facts: Iterable[Fact]) -> dict[str, Begun]:
    """Purpose -> since when no answer to it permits anything, because the person ended what they had permitted.

    Unconfirmed answers delete nothing, and a refusal of what was never permitted ends nothing.
    """
    return {
        purpose: max(ends)
        for purpose, standing in _by_purpose(facts).items()
        if len(ends := [end for decided, fact, before in standing if (end := _ended(decided, fact, is_later=before))])
        == len(standing)
    }


def expiries(facts: Iterable[Fact], now: datetime) -> dict[str, Begun]:
    """Purpose -> since when every answer to it has run out."""
    return {
        purpose: max(ends)
        for purpose, standing in _by_purpose(facts).items()
        if len(ends := [end for decided, fact, _ in standing if (end := _ran_out(decided, fact, now))]) == len(standing)
    }


def _by_purpose(facts: Iterable[Fact]) -> dict[str, list[tuple[Decided, Fact, bool]]]:
    """By purpose: each answer that stands, its record, and whether something was permitted before it."""
    by_event = {fact.event: fact for fact in facts}
    answers = [decided for fact in by_event.values() for decided in fact.decided]
    permitted: dict[tuple[str, str], list[Decided]] = {}
    for decided in answers:
        if decided.decision in PERMISSIVE and not by_event[decided.event].is_unconfirmed:
            permitted.setdefault((decided.purpose, decided.legal_basis), []).append(decided)
    found: dict[str, list[tuple[Decided, Fact, bool]]] = {}
    for key, decided in latest(answers).items():
        before = any(one.order < decided.order for one in permitted.get(key, ()))
        found.setdefault(decided.purpose, []).append((decided, by_event[decided.event], before))
    return found


def _ended(decided: Decided, fact: Fact, *, is_later: bool) -> Begun | None:
    """When a permission ended by this answer; `is_later`: something was permitted before it."""
    if decided.decision in PERMISSIVE or fact.is_unconfirmed or fact.type in {"consent.expired", "consent.invalidated"}:
        return None
    says_so = fact.type == "consent.withdrawn" or decided.decision == "objected"
    return Begun(decided.rank, fact.event) if is_later or says_so else None


def _ran_out(decided: Decided, fact: Fact, now: datetime) -> Begun | None:
    if decided.decision not in PERMISSIVE:
        return Begun(decided.rank, fact.event) if fact.type == "consent.expired" and not fact.is_unconfirmed else None
    end = fact.expires.get(decided.purpose)
    return Begun(end, fact.event) if end is not None and end <= now else None


class _Weighing:
    """One person's records against the rules."""

    def __init__(self, facts: Sequence[Fact], rulings: Sequence[Ruling], deleted: Begun | None, now: datetime) -> None:
        self._facts = facts
        self._rulings = rulings
        self._now = now
        self._deleted = deleted
        self._moments = {"withdrawn": withdrawals(facts), "expired": expiries(facts, now)}
        self._last = max((fact.received_at for fact in facts), default=None)
        self._standing = {decided.event for decided in latest(d for fact in facts for d in fact.decided).values()}

    def whole(self) -> str | None:
        """The rule by which the person goes: it takes every purpose, and nothing is kept."""
        erasing = [ruling for ruling in self._rulings if ruling.then == "erase-subject"]
        purposes = {purpose for fact in self._facts for purpose in fact.purposes}
        if any(self._kept(fact, None) for fact in self._facts):
            return None
        # A rule for all takes them whatever they decided; rules for purposes must together take each one.
        for ruling in erasing:
            if ruling.purposes is None and self._is_due_for_all(ruling, purposes):
                return ruling.name
        takers = [self._taker(erasing, purpose) for purpose in purposes]
        named = [taker for taker in takers if taker is not None]
        return min(named) if named and len(named) == len(takers) else None

    def _is_due_for_all(self, ruling: Ruling, purposes: Collection[str]) -> bool:
        if ruling.begins in {"account-deleted", "received"}:
            return bool(self._facts) and self._is_due(ruling, None, None)
        return bool(purposes) and all(self._is_due(ruling, None, purpose) for purpose in purposes)

    def _taker(self, erasing: Iterable[Ruling], purpose: str) -> str | None:
        names = (r.name for r in erasing if r.covers(purpose, None) and self._is_due(r, None, purpose))
        return next(names, None)

    def parts(self) -> list[Clearing]:
        """Parts that go by themselves. A `what` takes the rest of its record with it: it is all that they serve."""
        going = {fact.place: rule for fact in self._facts if (rule := self._released(fact, "what")) is not None}
        going = self._without_older(going)
        clear = []
        for fact in self._facts:
            for part in sorted(fact.parts):
                rule = going.get(fact.place) or (None if part == "what" else self._released(fact, part))
                if rule is not None:
                    clear.append(Clearing(fact.place, part, rule, fact.event))
        return clear

    def _without_older(self, going: Mapping[Place, str]) -> dict[Place, str]:
        """Those that go without leaving an older answer to speak in their place."""
        left = dict(going)
        lowest: dict[tuple[str, str], tuple[datetime, bool, bytes]] = {}
        # From the oldest on: whatever stays holds back what is newer, and that again what is newer still.
        answers = sorted(((d, fact) for fact in self._facts for d in fact.decided), key=lambda one: one[0].order)
        is_settled = False
        while not is_settled:
            is_settled = True
            lowest.clear()
            for decided, fact in answers:
                key = decided.purpose, decided.legal_basis
                if fact.place not in left:
                    lowest.setdefault(key, decided.order)
                elif lowest.get(key, decided.order) < decided.order:
                    del left[fact.place]
                    is_settled = False
        return left

    def _released(self, fact: Fact, part: PartName) -> str | None:
        """The first rule that takes a part: every purpose in it has one, and no law keeps it."""
        if not _may_lose(fact, part):
            return None
        takers = []
        for purpose in fact.purposes or {None}:
            taker = next((r.name for r in self._rulings if self._takes(r, fact, part, purpose)), None)
            if taker is None:
                return None
            takers.append(taker)
        return None if self._kept(fact, None if part == "what" else part) else min(takers)

    def _takes(self, ruling: Ruling, fact: Fact, part: PartName, purpose: str | None) -> bool:
        if ruling.then not in {"clear-part", "erase-subject"} or not ruling.covers(purpose, part):
            return False
        if ruling.begins == "received" and (ruling.then == "erase-subject" or self._stands(fact, part)):
            # Age alone takes nothing that still stands; and a person who was seen since is not gone.
            return False
        return self._is_due(ruling, fact, purpose)

    def _stands(self, fact: Fact, part: PartName) -> bool:
        return part == "what" and fact.event in self._standing

    def _begin(self, ruling: Ruling, fact: Fact | None, purpose: str | None) -> datetime | None:
        """When the rule's period began for a record's purpose; without a record, for the person."""
        if ruling.begins == "received":
            return self._last if fact is None else fact.received_at
        if ruling.begins == "account-deleted":
            return None if self._deleted is None else self._deleted.at
        begun = None if purpose is None else self._moments[ruling.begins].get(purpose)
        return None if begun is None else begun.at

    def _is_due(self, ruling: Ruling, fact: Fact | None, purpose: str | None) -> bool:
        begin = self._begin(ruling, fact, purpose)
        return begin is not None and ruling.after.after(begin) <= self._now

    def _kept(self, fact: Fact, part: PartName | None) -> bool:
        """Whether a law keeps a part of a record, or any part. What has not begun has not ended."""
        for ruling in self._rulings:
            if ruling.then != "keep":
                continue
            for purpose in fact.purposes or {None}:
                begin = self._begin(ruling, fact, purpose)
                is_over = begin is not None and ruling.kept_until(begin, fact.market) <= self._now
                if ruling.covers(purpose, part) and not is_over:
                    return True
        return False

    def tellings(self) -> Iterator[Telling]:
        """What downstream systems are to be told: once for an event, a rule and a purpose that nothing keeps."""
        kept = {purpose for fact in self._facts for purpose in fact.purposes if self._is_purpose_kept(fact, purpose)}
        for ruling in self._rulings:
            action = TELLS.get(ruling.then)
            if action is None or ruling.begins == "received":
                continue
            if ruling.begins == "account-deleted":
                if self._deleted is not None and self._is_due(ruling, None, None):
                    for purpose in sorted({""} if ruling.purposes is None else ruling.purposes):
                        if purpose not in kept:
                            yield Telling(ruling.name, purpose, self._deleted.event, action)
                continue
            for purpose, begun in sorted(self._moments[ruling.begins].items()):
                if ruling.covers(purpose, None) and purpose not in kept and self._is_due(ruling, None, purpose):
                    yield Telling(ruling.name, purpose, begun.event, action)

    def _is_purpose_kept(self, fact: Fact, purpose: str) -> bool:
        return self._kept(fact._replace(purposes=frozenset({purpose})), None)


def _may_lose(fact: Fact, part: PartName) -> bool:
    if part not in fact.parts:
        return False
    kind = entry_class(fact.type)
    if part == "context":
        return kind in _CLASSES or fact.type.startswith(_ACTS_OF_PEOPLE)
    return kind in _CLASSES and fact.type not in _REMAINS and not fact.remains
