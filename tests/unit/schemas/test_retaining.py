"""The retention engine by example: the cases that its rules were made for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.durations import Duration
from schemas.ranking import Decided
from schemas.record import PART_NAMES
from schemas.retaining import Begun, Fact, plan
from schemas.retention import RetentionRule, Ruling, resolve

pytestmark = pytest.mark.unit

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=100)


def fact(day: int, purposes: dict[str, str], kind: str = "consent.given", **changes: Any) -> Fact:
    event, at = bytes([day]) * 16, START + timedelta(days=day)
    decided = [Decided(purpose, "consent", decision, at, event) for purpose, decision in purposes.items()]
    return Fact((1, day), event, kind, at, frozenset(PART_NAMES), frozenset(purposes), decided)._replace(**changes)


def ruling(begins: Any, *purposes: str, then: Any = "clear-part", days: int = 10, **changes: Any) -> Ruling:
    values: dict[str, Any] = {"part": None, "until": {}} | changes
    return Ruling("rule", begins, then, frozenset(purposes) or None, values["part"], Duration(0, days), values["until"])


def gone(facts: list[Fact], *rulings: Ruling) -> set[int]:
    """The days of the records that lose their `what`."""
    return {clearing.place[1] for clearing in plan(facts, rulings, None, NOW).clear if clearing.part == "what"}


def test_a_withdrawal_does_not_go_before_the_grant_that_it_overrules() -> None:
    both = fact(1, {"news": "granted", "chat": "granted"})
    withdrawn = fact(2, {"news": "denied"}, "consent.withdrawn")
    # Chat keeps the first one, that keeps the second, and that a third.
    assert gone([both, withdrawn, fact(3, {"news": "denied"})], ruling("withdrawn", "news")) == set()
    assert gone([fact(1, {"news": "granted"}), withdrawn], ruling("withdrawn", "news")) == {1, 2}
    assert gone([both, withdrawn], ruling("withdrawn", "news"), ruling("received", "chat")) == set()


def test_who_ended_nothing_withdrew_nothing() -> None:
    rule = ruling("withdrawn", "news")
    assert gone([fact(1, {"news": "denied"}, "consent.refused")], rule) == set()
    assert gone([fact(1, {"news": "granted"}), fact(2, {"news": "denied"}, "consent.refused")], rule) == {1, 2}
    assert gone([fact(1, {"news": "granted"}), fact(95, {"news": "denied"}, "consent.withdrawn")], rule) == set()
    unconfirmed = fact(2, {"news": "denied"}, "consent.withdrawn", is_unconfirmed=True)
    assert gone([fact(1, {"news": "granted"}), unconfirmed], rule) == set()
    again = fact(3, {"news": "granted"})
    assert gone([fact(1, {"news": "granted"}), fact(2, {"news": "denied"}, "consent.withdrawn"), again], rule) == set()


def test_age_takes_what_was_overruled_and_circumstances() -> None:
    facts = [fact(1, {"news": "denied"}), fact(2, {"news": "granted"})]
    assert gone(facts, ruling("received")) == {1}
    clear = plan(facts, [ruling("received", part="context")], None, NOW).clear
    assert {(one.place[1], one.part) for one in clear} == {(1, "context"), (2, "context")}


def test_a_market_that_is_forgotten_has_the_longest_period() -> None:
    until = {"DE": Duration(120, 0), "*": Duration(0, 1)}
    keep = Ruling("keep", "received", "keep", frozenset({"bill"}), None, Duration(0, 0), until)
    facts = [fact(1, {"bill": "denied"}, market="FR"), fact(2, {"bill": "granted"}, market="FR")]
    assert gone(facts, ruling("received"), keep) == {1}
    assert gone([one._replace(market="DE") for one in facts], ruling("received"), keep) == set()
    assert gone([one._replace(market=None) for one in facts], ruling("received"), keep) == set()


def test_a_person_goes_whole_once_every_purpose_is_taken() -> None:
    news, chat = fact(1, {"news": "denied"}, "consent.withdrawn"), fact(2, {"chat": "denied"}, "consent.withdrawn")
    served = fact(3, {}, "notice.served")
    rules = [ruling("withdrawn", "news", then="erase-subject")]
    assert plan([news, served], rules, None, NOW).erase == "rule"
    partly = plan([news, chat, served], rules, None, NOW)
    assert (partly.erase, {one.place[1] for one in partly.clear}) == (None, {1})
    assert [(one.purpose, one.cause) for one in partly.tell] == [("news", news.event)]
    assert plan([news, chat], [ruling("withdrawn", then="erase-subject")], None, NOW).erase == "rule"
    deleted = Begun(START, b"d" * 16)
    by_account = [ruling("account-deleted", then="erase-subject", days=101)]
    assert plan([news], by_account, deleted, NOW).erase is None
    assert plan([news], by_account, deleted, NOW + timedelta(days=1)).erase == "rule"
    assert plan([news], by_account, deleted, NOW + timedelta(days=1), may_erase=False).erase is None


def test_a_category_stands_for_the_purposes_that_use_it_and_never_for_all() -> None:
    stated = {"applies_to": {"category": "E-mail address"}, "begins": "received", "after": "P1D", "then": "clear-part"}
    rule = RetentionRule.model_validate({**stated, "told": "It goes."})
    assert resolve("rule", rule, {"E-mail address": frozenset({"news"})}).purposes == frozenset({"news"})
    nothing = resolve("rule", rule, {})
    assert nothing.purposes == frozenset()
    assert not nothing.covers("news", None)
    with pytest.raises(ValidationError):
        RetentionRule.model_validate({**stated, "told": "It goes.", "after": "P0M"})
