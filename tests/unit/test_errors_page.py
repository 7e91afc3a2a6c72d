"""docs/errors.md says exactly what the code says: problems, event types, marks, dead letters."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from schemas.errors import ContradictoryEvent, Problem
from schemas.event_types import BROWSER_TYPES, SERVER_TYPES, EventType
from schemas.record import Mark
from schemas.rights_errors import problem_types
from schemas.topics import DeadLetterReason
from services.ingest import lookups
from services.ingest.accept import check_schema
from services.ingest.reading import Readable

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of every table below a heading, without head and rule."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_every_problem_is_listed_as_it_is_answered() -> None:
    # The page has an order of its own: by what a caller can do, not by module.
    assert sorted(rows("Problem types")) == sorted(
        [problem.slug, str(problem.status), problem.title, problem.advice] for problem in problem_types()
    )


def test_problem_types_are_unlike() -> None:
    assert len({problem.slug for problem in problem_types()}) == len(problem_types())
    for problem in problem_types():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", problem.slug)
        assert 400 <= problem.status < 600
        assert problem.advice.endswith(".")
    # Only what can be repaired by waiting is a 503.
    assert {p.slug for p in problem_types() if p.status == 503} == {
        "not-published-yet",
        "stream-away",
        "database-away",
        "keys-away",
        "look-not-recorded",
        "sign-in-away",
        # Another process behind the same balancer may have a place for them.
        "exports-not-set-up",
    }


def test_every_event_type_is_listed() -> None:
    who = {kind: said for kind, said, _, _ in rows("What each event type needs")}
    assert list(who) == list(get_args(EventType))
    for kind, said in who.items():
        expected = "browser, server" if kind in BROWSER_TYPES else "server" if kind in SERVER_TYPES else "the service"
        assert said == expected, kind


GRANT = {"purpose": "chat", "decision": "granted", "legal_basis": "consent"}
DENIAL = GRANT | {"decision": "denied"}
TWO = [{"type": "cookie", "value": "a"}, {"type": "account", "value": "b"}]
# What a row's third cell asks for, as data.
NEEDS: dict[str, dict[str, Any]] = {
    "nothing more": {},
    "decisions": {"decisions": [DENIAL]},
    "signals.gpc": {"signals": {"gpc": True}},
    "request": {"request": {"right": "access"}},
    "two identifiers, and what proves them": {"subject": {"identifiers": TWO}},
    "subject": {"subject": {"identifiers": TWO}},
    "subject`, `age": {"subject": {"identifiers": TWO}, "age": {"over": True}},
    "subject`, `notice": {"subject": {"identifiers": TWO}, "notice": {"sha256": "0" * 64, "language": "de"}},
    "subject`, `supersedes": {
        "subject": {"identifiers": TWO},
        "supersedes": "01930f5e-7c1e-7b1a-9c55-000000000002",
    },
}


def problem_of(kind: str, data: dict[str, Any]) -> Problem | None:
    event = {
        "specversion": "1.0",
        "id": "01930f5e-7c1e-7b1a-9c55-000000000001",
        "source": "/sites/shop.example",
        "type": kind,
        "time": "2026-11-01T09:00:00Z",
        "data": data,
    }
    try:
        check_schema(Readable(event, b""))
    except Problem as problem:
        return problem
    return None


@pytest.mark.parametrize("row", rows("What each event type needs"), ids=lambda row: row[0])
def test_what_an_event_type_needs_is_what_the_model_asks(row: list[str]) -> None:
    kind, _, needs, forbidden = row
    data = NEEDS[needs.strip("`")]
    assert problem_of(kind, data) is None
    if data:
        assert isinstance(problem_of(kind, {}), ContradictoryEvent)
    granted = problem_of(kind, data | {"decisions": [GRANT]})
    assert isinstance(granted, ContradictoryEvent) == (forbidden in {"a grant", "decisions"})


def test_every_mark_is_listed() -> None:
    assert [mark for mark, _ in rows("Marks")] == list(get_args(Mark))


def test_every_dead_letter_reason_is_listed() -> None:
    assert [reason for reason, _, _ in rows("Dead letters")] == [str(reason) for reason in DeadLetterReason]


def test_stated_times_are_the_codes() -> None:
    assert f"at most {lookups.STALE_S / 60:g} minutes" in PAGE
    assert f"within {lookups.TRUST_S:g} seconds" in PAGE
