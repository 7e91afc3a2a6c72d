"""What every transport promises (services.stream.protocol), on a real Kafka and a real Postgres.

Servers killed with -9 and cables cut are in tests/fault/test_stream_faults.py; what only one transport has, in
test_stream_kafka.py and test_stream_inbox.py.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from services.stream.protocol import INBOX, Source
from tests.contract.streams import KAFKA, Rig, ids, message, messages, open_rig
from tests.support.databases import Database
from tests.support.kafka import KafkaServer, make_topic

pytestmark = pytest.mark.contract


@pytest.fixture(params=[pytest.param(KAFKA, marks=pytest.mark.kafka), INBOX])
async def rig(request: pytest.FixtureRequest, kafka_server: KafkaServer, database: Database) -> AsyncIterator[Rig]:
    topic = make_topic(kafka_server.bootstrap, partitions=3)
    async with open_rig(request.param, kafka_server.bootstrap, topic, database) as rig:
        yield rig


class TestStream:
    """One class over both implementations."""

    async def test_what_is_published_is_read_with_its_copy(self, rig: Rig) -> None:
        publisher, source = await rig.publisher(), await rig.source()
        sent = [*messages(5), *messages(3, controller=2, log="log-b")]
        copies = await publisher.publish(sent)
        received = await rig.drain(source, ids(sent))
        by_copy = {one.copy: one.message for one in received}
        assert len(by_copy) == len(received) == len(sent)
        for one, copy in zip(sent, copies, strict=True):
            got = by_copy[copy]
            assert got is not None
            assert (got.log, got.event_id, got.site, got.epoch, got.value) == (
                one.log,
                one.event_id,
                one.site,
                one.epoch,
                one.value,
            )

    async def test_nothing_to_publish_is_nothing_done(self, rig: Rig) -> None:
        publisher = await rig.publisher()
        assert await publisher.publish([]) == []

    async def test_concurrent_calls_get_their_own_copies(self, rig: Rig) -> None:
        publisher, source = await rig.publisher(), await rig.source()
        calls = [messages(1 + n % 4, controller=1 + n % 3, log=f"log-{n % 3}") for n in range(150)]
        answers = await asyncio.gather(*(publisher.publish(call) for call in calls))
        sent = [one for call in calls for one in call]
        copies = [copy for answer in answers for copy in answer]
        assert len(set(copies)) == len(copies) == len(sent)
        received = {one.copy: one.message for one in await rig.drain(source, ids(sent))}
        assert [got and got.event_id for got in map(received.get, copies)] == ids(sent)
        assert set((await rig.recorded()).values()) == {1}

    async def test_a_call_larger_than_a_batch_is_answered_when_all_of_it_is_there(self, rig: Rig) -> None:
        publisher, source = await rig.publisher(), await rig.source()
        sent = [message(size=60_000) for _ in range(40)] + messages(1200)
        copies = await publisher.publish(sent)
        assert len(set(copies)) == len(sent)
        await rig.drain(source, ids(sent))
        assert set((await rig.recorded()).values()) == {1}

    async def test_a_rolled_back_batch_comes_again_and_a_committed_one_never(self, rig: Rig) -> None:
        publisher, source = await rig.publisher(), await rig.source()
        sent = messages(10)
        await publisher.publish(sent)
        batch = await source.read(100, 5)
        assert batch is not None
        with contextlib.suppress(ZeroDivisionError):
            async with rig.ledger.acquire() as connection, connection.transaction():
                assert len(await source.claim(connection, batch)) == len(batch.received)
                raise ZeroDivisionError
        await source.rewind()
        again = await rig.drain(source, ids(sent))
        assert sorted(one.message.event_id for one in again if one.message) == sorted(ids(sent))
        await source.rewind()
        assert await source.read(100, 0.5) is None
        fresh = await rig.source()
        assert await fresh.read(100, 0.5) is None

    async def test_reading_ahead_gives_nothing_twice(self, rig: Rig) -> None:
        publisher, source = await rig.publisher(), await rig.source()
        sent = messages(40)
        await publisher.publish(sent)
        first = await source.read(10, 5)
        second = await source.read(10, 5)
        assert first is not None
        assert second is not None
        async with rig.ledger.acquire() as connection, connection.transaction():
            await source.claim(connection, first)
            # Not committed yet: a third read must not see the first batch again.
            third = await source.read(10, 5)
            assert third is not None
        async with rig.ledger.acquire() as connection, connection.transaction():
            await source.claim(connection, second)
            fourth = await source.read(100, 5)
            assert fourth is not None
        seqs = [one.copy for batch in (first, second, third, fourth) for one in batch.received]
        assert len(set(seqs)) == len(seqs)
        async with rig.ledger.acquire() as connection, connection.transaction():
            assert len(await source.claim(connection, third)) == 10
        async with rig.ledger.acquire() as connection, connection.transaction():
            await source.claim(connection, fourth)
        assert len(seqs) == len(sent)
        assert await source.read(100, 0.2) is None

    async def test_what_was_read_and_not_claimed_is_the_next_ledgers(self, rig: Rig) -> None:
        publisher, source = await rig.publisher(), await rig.source()
        sent = messages(10)
        await publisher.publish(sent)
        assert await source.read(100, 5) is not None
        await source.stop()
        await rig.drain(await rig.source(), ids(sent))
        assert set((await rig.recorded()).values()) == {1}

    async def test_what_was_read_ahead_comes_again_after_a_rewind(self, rig: Rig) -> None:
        publisher, source = await rig.publisher(), await rig.source()
        sent = messages(20)
        await publisher.publish(sent)
        assert await source.read(7, 5) is not None
        assert await source.read(7, 5) is not None
        await source.rewind()
        await rig.drain(source, ids(sent))
        assert set((await rig.recorded()).values()) == {1}

    async def test_a_read_that_waits_over_a_rewind_gives_what_is_valid_after_it(self, rig: Rig) -> None:
        publisher, source = await rig.publisher(), await rig.source()
        sent = messages(5)
        await publisher.publish(sent)
        assert await source.read(100, 5) is not None
        waiting = asyncio.create_task(source.read(100, 5))
        # Let the read reach its wait before the ground moves.
        await asyncio.sleep(0)
        await source.rewind()
        batch = await waiting
        assert batch is not None
        assert sorted(one.message.event_id for one in batch.received if one.message) == sorted(ids(sent))

    async def test_two_readers_share_and_take_over(self, rig: Rig) -> None:
        publisher = await rig.publisher()
        logs = [f"log-{n}" for n in range(12)]
        sent = [message(log=log) for log in logs for _ in range(30)]
        await publisher.publish(sent[:120])
        first = await rig.source()
        for _ in range(3):
            await rig.record(first, most=10)
        second = await rig.source()
        stop = asyncio.Event()
        shares = {first: 0, second: 0}

        async def ledger(source: Source) -> None:
            while not stop.is_set():
                shares[source] += len(await rig.record(source, most=10, wait_s=0.1))

        workers = [asyncio.create_task(ledger(source)) for source in (first, second)]
        for start in range(120, 300, 20):
            await publisher.publish(sent[start : start + 20])
        async with asyncio.timeout(25):
            # Both work at the same time, and all that was sent until now is recorded.
            while len(await rig.recorded()) < 300 or not all(shares.values()):
                await publisher.publish(sent[300:310])
                sent[300:310] = [message(log=log) for log in logs[:10]]
                await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*workers)
        await first.stop()
        await publisher.publish(sent[310:])
        await rig.drain(second, [*ids(sent[:300]), *ids(sent[310:])])
        assert set((await rig.recorded()).values()) == {1}
