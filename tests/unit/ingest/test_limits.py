"""The limits of one process: what is counted for whom, when to come back, and memory that stays bounded."""

from dataclasses import replace

import pytest

from schemas.errors import TooManyRequests
from services.ingest import limits
from services.ingest.auth import Caller
from services.ingest.limits import Limits, LocalBuckets, Rule, Rules
from tests.unit.ingest.test_accept import CALLER

pytestmark = pytest.mark.unit

NONE = Rule(0, 1)
PAGE = replace(CALLER, kind="pk", key=b"pk_one")
HERE, THERE = b"h" * 16, b"t" * 16


def of(**rules: Rule) -> Limits:
    return Limits(Rules(**({"key": NONE, "network": NONE, "unconfirmed": NONE, "server": NONE} | rules)))


async def passed(each: Limits, caller: Caller, network: bytes, tries: int = 20) -> int:
    """How many of several single events are admitted at once."""
    count = 0
    for _ in range(tries):
        try:
            await each.admit(caller, network, 1)
        except TooManyRequests:
            continue
        count += 1
    return count


async def test_a_key_is_limited_in_each_network() -> None:
    each = of(key=Rule(0.01, 5))
    assert [await passed(each, PAGE, network) for network in (HERE, THERE)] == [5, 5]
    assert await passed(each, replace(PAGE, key=b"pk_two"), HERE) == 5


async def test_a_network_is_limited_over_all_keys() -> None:
    each = of(network=Rule(0.01, 7))
    assert await passed(each, PAGE, HERE, tries=5) == 5
    assert await passed(each, replace(PAGE, kind="app", key=b"app_two"), HERE) == 2
    assert await passed(each, PAGE, THERE) == 7


async def test_a_server_key_is_limited_by_itself_wherever_it_is() -> None:
    server = replace(CALLER, key=b"sk_one")
    assert await passed(of(key=Rule(1, 1), network=Rule(1, 1)), server, HERE) == 20
    each = of(server=Rule(0.01, 5))
    assert [await passed(each, server, network) for network in (HERE, THERE)] == [5, 0]


async def test_what_is_refused_costs_nothing() -> None:
    each = of(key=Rule(0.01, 5))
    with pytest.raises(TooManyRequests):
        await each.admit(PAGE, HERE, 6)
    assert await passed(each, PAGE, HERE) == 5


async def test_it_says_when_to_come_back() -> None:
    each = of(key=Rule(0.5, 2))
    await each.admit(PAGE, HERE, 2)
    with pytest.raises(TooManyRequests) as refusal:
        await each.admit(PAGE, HERE, 2)
    assert refusal.value.retry_after_s == 4


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUCKETS_MAX", 100)
    buckets, rule = LocalBuckets(), Rule(0.01, 1)
    for number in range(1000):
        assert await buckets.take([(b"%d" % number, rule)], 1) == 0.0
    assert len(buckets._full_at) + len(buckets._older) <= 200
    # A flood of other networks does not free the one that has just been stopped.
    assert await buckets.take([(b"999", rule)], 1) > 0.0
