"""What counts when events of one person contradict each other: confirmed or not, seen or not, corrected or not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ranking import latest, linked_at, settled

pytestmark = pytest.mark.unit

START = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
Record = tuple[bytes, dict[str, Any], datetime]


def record(number: int, decision: str, *, hours: int = 0, **what: Any) -> Record:
    """An event made and received at `hours` after START."""
    at = START + timedelta(hours=hours)
    members = {
        "id": f"e{number}",
        "type": "consent.given" if decision == "granted" else "consent.withdrawn",
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "posted_by": "browser",
        "site": "shop.example",
        "decisions": [{"purpose": "marketing", "legal_basis": "consent", "decision": decision}],
    }
    return bytes([number]), members | what, at


def correction(number: int, of: int, *, hours: int, **what_else: Any) -> Record:
    members = {"type": "correction", "supersedes": f"e{of}", "posted_by": "server"} | what_else
    event, what, at = record(number, "denied", hours=hours, **members)
    del what["decisions"]
    return event, what, at


def winner(*records: Record) -> str | None:
    """The number of the event that decides."""
    state = latest(settled({event: (what, at) for event, what, at in records}))
    return f"e{state['marketing', 'consent'].event[0]}" if state else None


UNCONFIRMED = {"marks": ["unconfirmed"]}


@pytest.mark.parametrize(
    "nobody_stood_up",
    [
        UNCONFIRMED,
        {"type": "consent.observed"},
        {"double_opt_in": {"requested_at": "2026-11-01T09:00:00Z"}},
        # A serving, a signal and a link are no acts of consent, whatever stands beside them.
        {"type": "notice.served"},
        {"type": "signal.gpc"},
        {"type": "identity.linked"},
        {"type": "request.received"},
    ],
)
def test_a_grant_nobody_stood_up_for_is_shown_only_where_nothing_else_was_said(nobody_stood_up: dict[str, Any]) -> None:
    doubtful = record(2, "granted", hours=5, **nobody_stood_up)
    assert winner(doubtful) == "e2"
    assert winner(record(1, "denied"), doubtful) == "e1"
    assert winner(record(1, "granted"), doubtful) == "e1"
    confirmed = {"double_opt_in": {"requested_at": "2026-11-01T09:00:00Z", "confirmed_at": "2026-11-01T16:00:00Z"}}
    assert winner(record(1, "denied"), doubtful, record(3, "granted", hours=7, **confirmed)) == "e3"


def test_an_unconfirmed_withdrawal_suspends_until_the_site_undoes_it() -> None:
    grant, suspended = record(1, "granted"), record(2, "denied", hours=5, **UNCONFIRMED)
    assert winner(grant, suspended) == "e2"
    assert winner(grant, suspended, correction(3, of=2, hours=6)) == "e1"
    assert winner(grant, suspended, correction(3, of=2, hours=6, posted_by="browser")) == "e2"
    # Another site of the same controller does not know what was said here.
    assert winner(grant, suspended, correction(3, of=2, hours=6, site="blog.example")) == "e2"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "1900-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
@pytest.mark.parametrize("decision", ["granted", "denied"])
def test_a_grant_nobody_stood_up_for_is_below_what_an_export_dates_at_the_beginning(time: str, decision: str) -> None:
    imported = record(1, decision, time=time, posted_by="server", capture={"mechanism": "import"})
    assert winner(imported, record(2, "granted", hours=5, **UNCONFIRMED)) == "e1"


def test_a_correction_undoes_nothing_that_was_confirmed() -> None:
    assert winner(record(1, "granted"), record(2, "denied", hours=5), correction(3, of=2, hours=6)) == "e2"


def test_a_backdated_grant_gains_nothing_and_an_old_one_never_beats_a_newer_denial() -> None:
    denial = record(1, "denied", hours=3)
    queued, what, _ = record(2, "granted", hours=1)
    assert winner(denial, (queued, what, START + timedelta(hours=9))) == "e1"
    ahead = record(3, "granted", hours=900)[1]
    assert winner(denial, (b"\x03", ahead, START + timedelta(hours=2))) == "e1"


@given(
    st.lists(
        st.tuples(st.sampled_from(["granted", "denied"]), st.integers(0, 9), st.booleans(), st.booleans()), max_size=8
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_arrival_changes_nothing(acts: list[tuple[str, int, bool, bool]], random: Any) -> None:
    records = []
    for number, (decision, hours, doubtful, corrected) in enumerate(acts):
        records.append(record(number, decision, hours=hours, **(UNCONFIRMED if doubtful else {})))
        if corrected:
            records.append(correction(100 + number, of=number, hours=hours))
    expected = winner(*records)
    random.shuffle(records)
    assert winner(*records) == expected


@pytest.mark.parametrize(("posted_by", "earliest"), [("server", -900), ("browser", -2)])
def test_a_page_links_no_further_back_than_what_was_signed_for_it_can_be_old(posted_by: str, earliest: int) -> None:
    _, what, received_at = record(1, "granted")
    what |= {"type": "identity.linked", "posted_by": posted_by, "time": record(1, "granted", hours=-900)[1]["time"]}
    at = linked_at(what, received_at)
    assert received_at + timedelta(hours=earliest) <= at < received_at
    assert linked_at(what | {"time": record(1, "granted", hours=9)[1]["time"]}, received_at) == received_at
