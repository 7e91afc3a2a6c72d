"""What the inbox alone must show: publishers that commit late, and readers that see the same rows."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from services.postgres import controller_transaction
from services.stream.inbox import QUERIES
from services.stream.protocol import INBOX
from tests.contract.streams import Rig, ids, messages, open_rig
from tests.support.databases import Database

pytestmark = pytest.mark.contract


@pytest.fixture
async def rig(database: Database) -> AsyncIterator[Rig]:
    async with open_rig(INBOX, "", "", database) as rig:
        yield rig


async def test_a_publisher_that_commits_after_a_later_one_is_not_passed_over(rig: Rig) -> None:
    publisher, source = await rig.publisher(), await rig.source()
    [late], early = messages(1), messages(5)
    async with controller_transaction(rig.ingest, 1, readonly=False) as connection:
        columns = [late.log], [late.event_id], [late.site], [late.epoch], [late.value]
        seq = await connection.fetchval(QUERIES["put_into_inbox"], 1, *columns)
        copies = await publisher.publish(early)
        assert seq < min(copy.seq for copy in copies)
        await rig.drain(source, ids(early))
        # Read ahead as well, past the number that is still to come.
        more = messages(2)
        await publisher.publish(more)
        ahead = await source.read(100, 5)
        assert ahead is not None
    batch = await source.read(100, 5)
    assert batch is not None
    assert [one.copy.seq for one in batch.received] == [seq]


async def test_a_row_claimed_by_another_ledger_is_skipped_and_comes_back_if_it_rolls_back(rig: Rig) -> None:
    publisher = await rig.publisher()
    one, two = await rig.source(), await rig.source()
    sent = messages(10)
    await publisher.publish(sent)
    first, second = await one.read(6, 5), await two.read(10, 5)
    assert first is not None
    assert second is not None
    with contextlib.suppress(ZeroDivisionError):
        async with rig.ledger.acquire() as connection, connection.transaction():
            assert len(await one.claim(connection, first)) == 6
            # Must not wait for the lock.
            async with asyncio.timeout(3), rig.ledger.acquire() as other, other.transaction():
                assert len(await two.claim(other, second)) == 4
            raise ZeroDivisionError
    batch = await two.read(10, 5)
    assert batch is not None
    assert sorted(one.message.event_id for one in batch.received if one.message) == sorted(ids(sent)[:6])


async def test_one_gathered_group_holds_several_controllers(rig: Rig) -> None:
    publisher, source = await rig.publisher(), await rig.source()
    groups = [messages(3, controller=controller, log=f"log-{controller}") for controller in (7, 8, 9)]
    answers = await asyncio.gather(*(publisher.publish(group) for group in groups))
    assert [{copy.partition for copy in answer} for answer in answers] == [{7}, {8}, {9}]
    received = await rig.drain(source, [one.event_id for group in groups for one in group])
    assert {one.message.controller for one in received if one.message} == {7, 8, 9}
    assert all(one.message and one.message.controller == one.copy.partition for one in received)
