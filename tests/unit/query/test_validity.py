"""The fold over records at a moment, and which version of a notice asks again; pure, many cases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import PERMISSIVE
from schemas.ranking import decided_by
from schemas.record import format_time
from services.query.decisions import fold
from services.query.validity import Match, Notice, Notices

START = datetime(2026, 11, 1, tzinfo=UTC)
hours = st.integers(0, 12).map(lambda n: START + timedelta(hours=n))


@st.composite
def whats(draw: st.DrawFn) -> tuple[dict[str, Any], datetime]:
    basis = draw(st.sampled_from(["consent", "legitimate_interest"]))
    words = ["granted", "denied"] if basis == "consent" else ["objected", "not_objected"]
    purpose = draw(st.sampled_from(["chat", "scoring"]))
    decision = {"purpose": purpose, "legal_basis": basis, "decision": draw(st.sampled_from(words))}
    what: dict[str, Any] = {
        "id": str(draw(st.integers())),
        "type": "consent.given",
        "time": format_time(draw(hours)),
        "posted_by": draw(st.sampled_from(["browser", "server"])),
        "decisions": [decision],
    }
    if draw(st.booleans()):
        what["capture"] = {"mechanism": "import"}
    return what, draw(hours)


records = st.lists(whats(), max_size=8).map(lambda found: {bytes([n]) * 16: what for n, what in enumerate(found)})


@pytest.mark.property
@given(records, hours, hours)
def test_nothing_later_counts_and_nothing_higher_is_passed_over(
    known: dict[bytes, tuple[dict[str, Any], datetime]], at: datetime, known_at: datetime
) -> None:
    standing = fold(known, at, known_at)
    counted = [
        d
        for event, (what, received_at) in known.items()
        for d in decided_by(what, received_at, event)
        if received_at <= known_at and d.rank <= at
    ]
    keys = [(d.purpose, d.legal_basis) for d in standing]
    assert keys == sorted({(d.purpose, d.legal_basis) for d in counted})
    for answer in standing:
        assert answer in counted
        rivals = [d for d in counted if (d.purpose, d.legal_basis) == (answer.purpose, answer.legal_basis)]
        assert all(
            (d.rank, d.decision not in PERMISSIVE) <= (answer.rank, answer.decision not in PERMISSIVE) for d in rivals
        )


@pytest.mark.property
@given(records, hours, st.randoms())
def test_the_order_of_arrival_is_nothing(
    known: dict[bytes, tuple[dict[str, Any], datetime]], at: datetime, random: Any
) -> None:
    shuffled = list(known.items())
    random.shuffle(shuffled)
    assert fold(dict(shuffled), at, at) == fold(known, at, at)


@pytest.mark.property
@given(records, hours, hours)
def test_a_record_received_later_changes_nothing_earlier(
    known: dict[bytes, tuple[dict[str, Any], datetime]], at: datetime, known_at: datetime
) -> None:
    after = known_at + timedelta(seconds=1)
    later = {event[::-1] + b"later": (what, after) for event, (what, _) in known.items()}
    assert fold(known | later, at, known_at) == fold(known, at, known_at)


# --- notices ------------------------------------------------------------------------------------------------


def notice(version: str, published: int, *, asks_again: bool = False, **changes: Any) -> Notice:
    fields: dict[str, Any] = {
        "notice": version.encode().ljust(32, b"."),
        "site": "shop",
        "notice_id": "chat",
        "version": version,
        "asks_again": asks_again,
        "published_at": START + timedelta(hours=published),
        "in_force_at": START + timedelta(hours=published),
        "validity": {},
    }
    return Notice(**(fields | changes))


def notices(*published: Notice, matches: tuple[Match, ...] = (), at: int = 12, known_at: int = 12) -> Notices:
    return Notices(published, matches, START + timedelta(hours=at), START + timedelta(hours=known_at))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("others", "asked_again"),
    [
        ([], False),
        ([notice("2", 2)], False),
        ([notice("2", 2, asks_again=True)], True),
        ([notice("2", 1, asks_again=True)], False),  # published together: neither is later
        ([notice("2", 2, asks_again=True, site="other")], False),
        ([notice("2", 2, asks_again=True, notice_id="other")], False),
        ([notice("1", 2, asks_again=True, notice=b"en")], False),  # a translation of the same version
        ([notice("0", 0), notice("0", 5, asks_again=True, notice=b"en")], False),  # of the version before
        ([notice("2", 2), notice("2", 5, asks_again=True, notice=b"en")], True),
        ([notice("2", 13, asks_again=True)], False),
    ],
)
def test_which_notice_asks_again(others: list[Notice], asked_again: bool) -> None:
    first = notice("1", 1)
    assert notices(first, *others).asked_again_after(first) is asked_again


@pytest.mark.unit
def test_at_and_known_at_of_a_notice_are_two_things() -> None:
    first, second = notice("1", 1), notice("2", 5, asks_again=True)
    for at, known_at, expected in [(4, 12, False), (5, 12, True), (12, 4, False), (12, 5, True)]:
        assert notices(first, second, at=at, known_at=known_at).asked_again_after(first) is expected


@pytest.mark.unit
def test_a_hash_stands_for_its_own_sites_notice_first() -> None:
    elsewhere, here = notice("1", 0, site="blog"), notice("1", 3)
    assert notices(elsewhere, here).standing_for(here.notice, "shop") == here
    assert notices(elsewhere, here).standing_for(here.notice, "third") == elsewhere
    assert notices(elsewhere, here, known_at=2).standing_for(here.notice, "shop") == elsewhere
    assert notices(here).standing_for(b"?" * 32, "shop") is None
    match = Match(b"?" * 32, here.notice, START + timedelta(hours=6))
    assert notices(here, matches=(match,)).standing_for(b"?" * 32, "shop") == here
    assert notices(here, matches=(match,), known_at=5).standing_for(b"?" * 32, "shop") is None
