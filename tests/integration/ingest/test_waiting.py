"""Prefer: wait=N against a real ledger: the place, a conflict, or 202 when the time is over."""

import asyncio

import pytest

from schemas.limits import WAIT_S_MAX
from tests.integration.ingest.conftest import Shop, event_now, visitor_event

pytestmark = pytest.mark.integration


async def test_a_waiting_caller_gets_the_place(made_shop: Shop) -> None:
    async with made_shop.running(), made_shop.deployment.ledger():
        answers = await asyncio.gather(*(made_shop.post(visitor_event(n), prefer="wait=20") for n in range(5)))
        assert [answer.status_code for answer in answers] == [201] * 5
        assert all(answer.headers["preference-applied"] == "wait=20" for answer in answers)
        said = [answer.json() for answer in answers]
        assert [one["id"] for one in said] == [event_now(n)["id"] for n in range(5)]
        assert {one["status"] for one in said} == {"recorded"}
        assert sorted(one["index"] for one in said) == list(range(5))
        assert {one["log"] for one in said} == {"shop"}

        again = await made_shop.post(visitor_event(3, time=event_now(3)["time"]), prefer="respond-async, wait=20")
        assert again.status_code in {201, 409}  # 409 when the clock's second went on between the two


async def test_a_reused_id_is_a_conflict_for_who_waits(made_shop: Shop) -> None:
    async with made_shop.running(), made_shop.deployment.ledger():
        first = visitor_event(1)
        assert (await made_shop.post(first, prefer="wait=20")).status_code == 201
        same = await made_shop.post(first, prefer="wait=20")
        assert (same.status_code, same.json()["index"]) == (201, 0)
        other = visitor_event(1, context={"page": "/somebody-else"}, time=first["time"])
        conflict = await made_shop.post(other, prefer="wait=20")
        assert (conflict.status_code, conflict.json()["type"]) == (409, "/problems/id-conflict")
        assert "somebody-else" not in conflict.text
        batch = await made_shop.post([other, visitor_event(2)], prefer="wait=20")
        assert batch.status_code == 202
        refused, recorded = batch.json()["events"]
        assert (refused["status"], refused["problem"]["status"]) == ("refused", 409)
        assert (recorded["status"], recorded["index"]) == ("recorded", 1)
        # Who does not wait is told that it is durable, which it is: among the dead letters.
        assert (await made_shop.post(other)).status_code == 202
        await made_shop.deployment.recorded(2)


async def test_without_a_ledger_the_wait_ends_with_accepted(shop: Shop) -> None:
    answer = await shop.post(visitor_event(), prefer="wait=1")
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    assert answer.headers["preference-applied"] == "wait=1"
    assert len(await shop.inbox()) == 1


@pytest.mark.parametrize("prefer", ["wait=0", "wait=soon", "return=minimal", "wait", "wait=-1"])
async def test_a_preference_that_is_none_is_ignored(shop: Shop, prefer: str) -> None:
    answer = await shop.post(event_now(), prefer=prefer)
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


def test_nobody_waits_longer_than_the_limit() -> None:
    from services.stream.waiting import preferred_wait

    assert preferred_wait("wait=999999") == WAIT_S_MAX
    assert preferred_wait('handling=lenient; x=1, Wait = "7"') == 7
