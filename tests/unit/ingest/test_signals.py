"""Signals of an event: decoded where they can be, compared with the decisions, never a reason to refuse."""

from typing import Any

import pytest

from schemas.canonical import canonical_json
from services.ingest.signals import read_signals

pytestmark = pytest.mark.unit

# Written by @iabtechlabtcf/core 1.5.21: purposes 1 and 3 consented to, 7 not objected to, special feature 1.
TCF = "CQd3RAAQd3RAABkAEBENBjFoAKAAAAIAAAqIAAAAAAAA"


def data(*decisions: tuple[str, str, str], **signals: str) -> dict[str, Any]:
    made = [{"purpose": purpose, "legal_basis": basis, "decision": said} for purpose, basis, said in decisions]
    return {"decisions": made, "signals": signals}


def test_what_the_string_says() -> None:
    decoded = read_signals(data(tcf=TCF)).decoded["tcf"]
    assert (decoded["purposes"], decoded["purposes_li"], decoded["special_features"]) == ([1, 3], [7], [1])


@pytest.mark.parametrize(
    ("decision", "differs"),
    [
        (("tcf-1", "consent", "granted"), False),
        (("tcf-2", "consent", "granted"), True),
        (("tcf-2", "consent", "denied"), False),
        (("tcf-3", "consent", "denied"), True),
        (("tcf-7", "legitimate_interest", "not_objected"), False),
        (("tcf-7", "legitimate_interest", "objected"), True),
        (("tcf-8", "legitimate_interest", "objected"), False),
        (("tcf-sf-1", "consent", "granted"), False),
        (("tcf-sf-2", "consent", "granted"), True),
        (("tcf-x", "consent", "granted"), False),
        (("marketing", "consent", "granted"), False),
    ],
)
def test_a_decision_that_is_not_in_the_string_is_marked(decision: tuple[str, str, str], differs: bool) -> None:
    assert read_signals(data(decision, tcf=TCF)).marks == (["signal-differs"] if differs else [])


def test_a_string_that_only_names_much_is_not_written_down_at_length() -> None:
    """A header names thousands of sections in a range of a few characters, and each takes more bytes than it cost."""
    # Type 3, version 1, one range: from 88 on, 16,000 sections (Fibonacci coding).
    header = "DBAB1WFCiw"
    for hostile in ({"gpp": f"{header}{'~' * 16_000}"}, {"tcf": f"{TCF}{'.A' * 8_000}"}):
        read = read_signals(data(**hostile))
        assert read.marks == ["signal-unreadable"]
        assert len(canonical_json(read.decoded)) < 1000


def test_what_cannot_be_read_is_marked_and_costs_the_other_nothing() -> None:
    both = read_signals(data(tcf=TCF, gpp="no such thing"))
    assert both.marks == ["signal-unreadable"]
    assert set(both.decoded) == {"tcf"}
    assert read_signals(data()) == ({}, [])
