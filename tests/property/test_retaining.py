"""The retention engine against a slow reference that says in quantifiers what the engine works out in one go."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.durations import Duration
from schemas.ranking import Decided
from schemas.record import PART_NAMES
from schemas.retaining import Begun, Fact, plan
from schemas.retention import Ruling

pytestmark = pytest.mark.property

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=20)
PURPOSES = ("billing", "marketing")
MARKETS = ("DE", "FR", None)
ACTS = ("consent.given", "consent.withdrawn", "consent.withdrawn", "consent.refused", "consent.expired")
OTHERS = ("notice.served", "identity.linked", "correction", "account.deleted", "request.received", "log.succeeded")

days = st.integers(0, 20).map(lambda n: START + timedelta(days=n))
# Short: most of what may go is due.
periods = st.sampled_from([0, 0, 1, 3, 9, 15]).map(lambda n: Duration(0, n))


@st.composite
def fact_lists(draw: st.DrawFn) -> list[Fact]:
    return [draw(facts(number)) for number in range(draw(st.integers(0, 5)))]


@st.composite
def facts(draw: st.DrawFn, number: int) -> Fact:
    event, received_at, kind = bytes([number]) * 16, draw(days), draw(st.sampled_from(ACTS * 3 + OTHERS))
    decided = []
    for purpose in draw(st.sets(st.sampled_from(PURPOSES))) if kind.startswith("consent") else ():
        basis = draw(st.sampled_from(["consent", "consent", "consent", "legitimate_interest"]))
        words = ["granted", "denied"] if basis == "consent" else ["objected", "not_objected"]
        decided.append(Decided(purpose, basis, draw(st.sampled_from(words)), draw(days), event))
    purposes = frozenset(d.purpose for d in decided)
    return Fact(
        place=(1, number),
        event=event,
        type=kind,
        received_at=received_at,
        parts=frozenset(draw(st.sampled_from([PART_NAMES, PART_NAMES, ("what",), ("what", "context")]))),
        purposes=purposes,
        # A correction undid them, now and then.
        decided=decided if draw(st.integers(0, 7)) else (),
        is_unconfirmed=draw(st.integers(0, 3)) == 0,
        remains=draw(st.integers(0, 4)) == 0,
        expires={purpose: draw(days) for purpose in purposes if draw(st.booleans())},
        market=draw(st.sampled_from(MARKETS)),
    )


@st.composite
def rulings(draw: st.DrawFn) -> list[Ruling]:
    found = []
    for name in "abcd"[: draw(st.integers(1, 4))]:
        then = draw(
            st.sampled_from(["clear-part"] * 4 + ["erase-subject", "trigger-erase", "trigger-anonymise", "keep"])
        )
        parts: list[Any] = [None, *PART_NAMES] if then in {"clear-part", "keep"} else [None]
        kinds = ["received", "withdrawn", "account-deleted", "expired"][then.startswith("trigger-") :]
        found.append(
            Ruling(
                name,
                draw(st.sampled_from(kinds)),
                then,  # type: ignore[arg-type]  # it is drawn from these words
                draw(st.sampled_from([None, None, *map(frozenset, ([], PURPOSES, PURPOSES[:1], PURPOSES[1:]))])),
                draw(st.sampled_from(parts)),
                draw(periods),
                {"DE": draw(periods), "*": draw(periods)} if then == "keep" else {},
            )
        )
    return found


deletions = st.none() | days.map(lambda at: Begun(at, b"d" * 16))


class Slow(NamedTuple):
    """The rules, said one by one."""

    facts: Sequence[Fact]
    rulings: Sequence[Ruling]
    deleted: Begun | None

    def standing(self, purpose: str | None = None) -> list[tuple[Decided, Fact]]:
        """Answers that no other answer to the same question outranks."""
        answers = [(d, f) for f in self.facts for d in f.decided]
        return [
            (d, f)
            for d, f in answers
            if purpose in {None, d.purpose} and not any(same(d, o) and o.order > d.order for o, _ in answers)
        ]

    def ended(self, purpose: str) -> Begun | None:
        moments = []
        for decided, fact in self.standing(purpose):
            protective = decided.decision in {"denied", "objected"}
            permitted = any(
                same(decided, d) and d.decision in {"granted", "not_objected"} and d.order < decided.order
                for f in self.facts
                if not f.is_unconfirmed
                for d in f.decided
            )
            said = fact.type == "consent.withdrawn" or decided.decision == "objected"
            if not protective or fact.is_unconfirmed or fact.type == "consent.expired" or not (said or permitted):
                return None
            moments.append(Begun(decided.rank, fact.event))
        return max(moments, default=None)

    def ran_out(self, purpose: str) -> Begun | None:
        moments = []
        for decided, fact in self.standing(purpose):
            if decided.decision in {"denied", "objected"}:
                if fact.type != "consent.expired" or fact.is_unconfirmed:
                    return None
                moments.append(Begun(decided.rank, fact.event))
            elif fact.expires.get(purpose, NOW + timedelta(days=1)) <= NOW:
                moments.append(Begun(fact.expires[purpose], fact.event))
            else:
                return None
        return max(moments, default=None)

    def begin(self, ruling: Ruling, fact: Fact | None, purpose: str | None) -> Begun | None:
        if ruling.begins == "account-deleted":
            return self.deleted
        if ruling.begins == "received":
            if fact is not None:
                return Begun(fact.received_at, b"")
            return max((Begun(f.received_at, b"") for f in self.facts), default=None)
        if purpose is None:
            return None
        return self.ended(purpose) if ruling.begins == "withdrawn" else self.ran_out(purpose)

    def due(self, ruling: Ruling, fact: Fact | None, purpose: str | None) -> bool:
        begin = self.begin(ruling, fact, purpose)
        return begin is not None and begin.at + timedelta(days=ruling.after.days) <= NOW

    def kept(self, fact: Fact, parts: Sequence[str], purposes: frozenset[str]) -> bool:
        for ruling in self.rulings:
            for purpose in purposes or {None}:
                if ruling.then != "keep" or (ruling.purposes is not None and purpose not in ruling.purposes):
                    continue
                begin = self.begin(ruling, fact, purpose)
                periods = ruling.until
                length = max(p.days for p in periods.values())
                if fact.market is not None:
                    length = periods["DE" if fact.market == "DE" else "*"].days
                over = begin is not None and begin.at + timedelta(days=length) <= NOW
                if not over and (ruling.part is None or ruling.part in parts):
                    return True
        return False

    def erased(self) -> set[str]:
        """Every rule that has a share in erasing the whole person."""
        erasing = [r for r in self.rulings if r.then == "erase-subject"]
        purposes = {p for f in self.facts for p in f.purposes}
        if any(self.kept(f, PART_NAMES, f.purposes) for f in self.facts):
            return set()
        takers = [{r.name for r in erasing if covers(r, p) and self.due(r, None, p)} for p in purposes]
        alone = {
            r.name
            for r in erasing
            if r.purposes is None and self.facts and r.begins in {"account-deleted", "received"}
            and self.due(r, None, None)
        }  # fmt: skip
        return alone | (set().union(*takers) if takers and all(takers) else set())

    def takers(self, fact: Fact, part: str) -> list[set[str]]:
        """By purpose of a record: the rules that take a part of it."""
        stands = part == "what" and any(f is fact for _, f in self.standing())
        return [
            {
                r.name
                for r in self.rulings
                if r.then in {"clear-part", "erase-subject"}
                and covers(r, purpose)
                and r.part in {None, part}
                and not (r.begins == "received" and (stands or r.then == "erase-subject"))
                and self.due(r, fact, purpose)
            }
            for purpose in fact.purposes or {None}
        ]

    def may_go(self, fact: Fact, part: str) -> bool:
        kind = fact.type.partition(".")[0]
        if part not in fact.parts or not all(self.takers(fact, part)):
            return False
        if self.kept(fact, PART_NAMES if part == "what" else [part], fact.purposes):
            return False
        if part == "context":
            return kind not in {"request", "log"}
        return kind in {"consent", "notice"} and not fact.remains

    def whats(self) -> set[bytes]:
        """The largest set of decision parts that may go without an older answer staying behind a newer one."""
        able = [f for f in self.facts if self.may_go(f, "what")]
        for size in range(len(able), 0, -1):
            for chosen in combinations(able, size):
                gone = {f.event for f in chosen}
                if not any(
                    same(d, o) and o.order < d.order and g.event not in gone
                    for f in chosen
                    for d in f.decided
                    for g in self.facts
                    for o in g.decided
                ):
                    return gone
        return set()

    def tellings(self) -> Iterator[tuple[str, str, bytes, str]]:
        for ruling in self.rulings:
            if (
                ruling.then not in {"trigger-erase", "trigger-anonymise", "erase-subject"}
                or ruling.begins == "received"
            ):
                continue
            named = {p for f in self.facts for d in f.decided for p in [d.purpose]}
            if ruling.begins == "account-deleted":
                named = {""} if ruling.purposes is None else set(ruling.purposes)
            for purpose in named:
                begin = self.begin(ruling, None, purpose)
                kept = any(purpose in f.purposes and self.kept(f, PART_NAMES, frozenset({purpose})) for f in self.facts)
                is_meant = ruling.begins == "account-deleted" or covers(ruling, purpose)
                if begin is not None and is_meant and not kept and self.due(ruling, None, purpose):
                    action = "anonymise" if ruling.then == "trigger-anonymise" else "erase"
                    yield ruling.name, purpose, begin.event, action


def same(one: Decided, other: Decided) -> bool:
    return (one.purpose, one.legal_basis) == (other.purpose, other.legal_basis)


def covers(ruling: Ruling, purpose: str | None) -> bool:
    return ruling.purposes is None or purpose in ruling.purposes


@settings(max_examples=200)
@given(fact_lists(), rulings(), deletions)
def test_what_goes_is_what_the_rules_say(facts: list[Fact], rules: list[Ruling], deleted: Begun | None) -> None:
    found, slow = plan(facts, rules, deleted, NOW), Slow(facts, rules, deleted)
    erased = slow.erased()
    if erased:
        assert found.erase in erased
        assert not found.clear
        assert not found.tell
        return
    assert found.erase is None
    gone = slow.whats()
    wanted = {
        (f.place, part)
        for f in facts
        for part in f.parts
        if f.event in gone or (part != "what" and slow.may_go(f, part))
    }
    assert {(c.place, c.part) for c in found.clear} == wanted
    assert len(found.clear) == len(wanted)
    by_place = {f.place: f for f in facts}
    for clearing in found.clear:
        fact = by_place[clearing.place]
        part = "what" if fact.event in gone else clearing.part
        assert clearing.rule in set().union(*slow.takers(fact, part))
    assert sorted(found.tell) == sorted(slow.tellings())


@settings(max_examples=60)
@given(fact_lists(), rulings(), deletions, st.randoms())
def test_neither_the_order_of_records_nor_that_of_rules_is_anything(
    facts: list[Fact], rules: list[Ruling], deleted: Begun | None, random: Any
) -> None:
    shuffled, turned = list(facts), list(rules)
    random.shuffle(shuffled)
    random.shuffle(turned)
    one, other = plan(facts, rules, deleted, NOW), plan(shuffled, turned, deleted, NOW)
    assert (one.erase, sorted(one.clear), sorted(one.tell)) == (other.erase, sorted(other.clear), sorted(other.tell))


@settings(max_examples=60)
@given(fact_lists(), rulings(), deletions)
def test_no_older_answer_speaks_again(facts: list[Fact], rules: list[Ruling], deleted: Begun | None) -> None:
    found = plan(facts, rules, deleted, NOW)
    gone = {clearing.place for clearing in found.clear if clearing.part == "what"}
    before = {(d.purpose, d.legal_basis): d for d, _ in Slow(facts, [], None).standing()}
    left = [fact for fact in facts if fact.place not in gone]
    for decided, _ in Slow(left, [], None).standing():
        assert before[decided.purpose, decided.legal_basis] == decided
    # And once it went, the same rules take nothing more.
    again = [f._replace(parts=f.parts - {c.part for c in found.clear if c.place == f.place}) for f in left]
    assert found.erase is not None or not {c.part for c in plan(again, rules, deleted, NOW).clear} & {"context", "who"}
