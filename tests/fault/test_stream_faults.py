"""Servers killed with -9 and cables cut or stalled under a stream: nothing accepted is lost, nothing comes twice.

The servers are this module's own. A minute's outage is shortened by shortening the breaker's window with it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.errors import StreamUnavailable
from services.ledger.migrate import migrate
from services.stream.fallback import BreakerState, FallbackPublisher
from services.stream.gathering import HELD_BYTES_MAX
from services.stream.inbox import InboxPublisher, InboxSource
from services.stream.kafka_publisher import KafkaPublisher
from services.stream.protocol import INBOX, Copy, Message, Publisher
from tests.contract.streams import AWAY, KAFKA, Rig, ids, message, messages, open_rig
from tests.support.databases import SchemaTemplate, drop_database, run_sql
from tests.support.kafka import KillableKafka, make_topic, own_kafka
from tests.support.postgres import KillablePostgres, own_postgres
from tests.support.proxy import CableProxy
from tests.support.wait import until

pytestmark = [pytest.mark.fault, pytest.mark.kafka]

ROLES = Path(__file__).resolve().parents[2] / "deploy" / "postgres" / "roles.sql"


@dataclass
class Servers:
    kafka: KillableKafka
    postgres: KillablePostgres
    template: SchemaTemplate

    def of(self, transport: str) -> KillableKafka | KillablePostgres:
        return self.postgres if transport == INBOX else self.kafka


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    kafka, end_kafka = own_kafka()
    postgres, end_postgres = own_postgres()
    run_sql(postgres.dsn(), ROLES.read_text())
    yield Servers(kafka, postgres, SchemaTemplate(postgres, migrate, owner="sayso_owner"))
    end_postgres()
    end_kafka()


@pytest.fixture
async def rig(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Rig]:
    topic = make_topic(servers.kafka.bootstrap, partitions=2)
    database = servers.template.clone()
    async with open_rig(request.param, servers.kafka.bootstrap, topic, database) as rig:
        yield rig
    drop_database(database)


@pytest.fixture
async def cable(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[tuple[Rig, CableProxy]]:
    """A rig whose server lies behind a cable."""
    topic = make_topic(servers.kafka.bootstrap, partitions=2)
    database = servers.template.clone()
    kafka, postgres = servers.kafka, servers.postgres
    if request.param == INBOX:
        async with (
            CableProxy((postgres.host, postgres.port)) as proxy,
            open_rig(INBOX, "", "", database, port=proxy.port) as rig,
        ):
            yield rig, proxy
            await proxy.resume()
    else:
        async with (
            CableProxy(kafka.proxy_target, port=kafka.proxy_port) as proxy,
            open_rig(KAFKA, f"127.0.0.1:{kafka.proxy_port}", topic, database) as rig,
        ):
            yield rig, proxy
            await proxy.resume()
    drop_database(database)


async def publish_stubbornly(publisher: Publisher, one: Message, *, deadline_s: float = 40) -> bool:
    """Send until it is accepted, as a sender does that was told 503. True if the first attempt was accepted."""
    deadline = time.monotonic() + deadline_s
    first = True
    while True:
        try:
            await publisher.publish([one])
        except StreamUnavailable:
            assert time.monotonic() < deadline, "never accepted"
            first = False
            await asyncio.sleep(0.1)
        else:
            return first


over_both = pytest.mark.parametrize("rig", [KAFKA, INBOX], indirect=True)
over_both_cables = pytest.mark.parametrize("cable", [KAFKA, INBOX], indirect=True)


@over_both
async def test_what_was_accepted_survives_a_kill_right_after(rig: Rig, servers: Servers) -> None:
    publisher = await rig.publisher()
    sent = messages(50)
    await publisher.publish(sent)
    servers.of(rig.transport).kill9()
    await asyncio.to_thread(servers.of(rig.transport).restart)
    await rig.drain(await rig.source(), ids(sent), deadline_s=30)
    assert set((await rig.recorded()).values()) == {1}


@over_both
async def test_a_server_killed_under_load_loses_nothing_accepted(rig: Rig, servers: Servers) -> None:
    publisher, source = await rig.publisher(), await rig.source()
    sent: list[Message] = []
    at_once: dict[str, bool] = {}
    stop = asyncio.Event()

    async def sender(log: str) -> None:
        while not stop.is_set():
            one = message(log=log)
            sent.append(one)
            at_once[one.event_id] = await publish_stubbornly(publisher, one)

    async def ledger() -> None:
        while not stop.is_set():
            try:
                await rig.record(source, wait_s=0.1)
            except AWAY:
                await source.rewind()
                await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(sender(f"log-{n}")) for n in range(6)] + [asyncio.create_task(ledger())]
    server = servers.of(rig.transport)
    await until(lambda: len(at_once) > 200, what="200 events are accepted", deadline_s=20)
    await asyncio.to_thread(server.kill9)
    await asyncio.to_thread(server.restart)
    accepted = len(at_once)
    await until(lambda: len(at_once) > accepted + 200, what="it accepts events again", deadline_s=40)
    stop.set()
    await asyncio.gather(*tasks)
    await rig.drain(source, ids(sent), deadline_s=30)
    recorded = await rig.recorded()
    assert {recorded[event_id] for event_id, first in at_once.items() if first} == {1}


@over_both
async def test_postgres_killed_before_the_commit_gives_the_batch_again(rig: Rig, servers: Servers) -> None:
    publisher, source = await rig.publisher(), await rig.source()
    sent = messages(20)
    await publisher.publish(sent)
    batch = await source.read(100, 10)
    assert batch is not None
    with contextlib.suppress(*AWAY):
        async with rig.ledger.acquire() as connection, connection.transaction():
            assert len(await source.claim(connection, batch)) == len(batch.received)
            servers.postgres.kill9()
            # The postmaster is dead, but this connection's backend could still commit until it notices.
            await until(connection.is_closed, what="the backend ends")
    await asyncio.to_thread(servers.postgres.restart)
    await source.rewind()
    await rig.drain(source, ids(sent), deadline_s=30)
    assert set((await rig.recorded()).values()) == {1}


@over_both_cables
@pytest.mark.parametrize("how", ["stall", "cut"])
async def test_a_broken_cable_is_told_in_time_and_mends(cable: tuple[Rig, CableProxy], how: str) -> None:
    rig, proxy = cable
    publisher, source = await rig.publisher(), await rig.source()
    before, doubtful, after = messages(5), messages(5), messages(5)
    await publisher.publish(before)
    await rig.drain(source, ids(before))
    await (proxy.stall() if how == "stall" else proxy.cut())
    began = time.monotonic()
    with pytest.raises(StreamUnavailable):
        await publisher.publish(doubtful)
    assert time.monotonic() - began < 3
    await proxy.resume()
    for one in after:
        await publish_stubbornly(publisher, one)
    await rig.drain(source, ids(after), deadline_s=40)
    recorded = await rig.recorded()
    assert {recorded[event_id] for event_id in ids(before)} == {1}
    assert set(recorded) <= {*ids(before), *ids(doubtful), *ids(after)}


@over_both_cables
async def test_what_waits_is_bounded(cable: tuple[Rig, CableProxy]) -> None:
    rig, proxy = cable
    publisher = await rig.publisher()
    await publisher.publish(messages(1))
    await proxy.stall()
    large = [message(size=60_000) for _ in range(16)]
    calls = [asyncio.create_task(publisher.publish(large)) for _ in range(HELD_BYTES_MAX // 960_000 + 10)]
    refused, _ = await asyncio.wait(calls, timeout=1)
    assert 5 <= len(refused) < 20, "what is too much is refused at once, the rest waits"
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, StreamUnavailable) for answer in answers)
    await proxy.resume()
    await publish_stubbornly(publisher, message())


@pytest.mark.parametrize("cable", [KAFKA], indirect=True)
async def test_stopping_does_not_wait_for_a_broker_that_is_away(cable: tuple[Rig, CableProxy]) -> None:
    rig, proxy = cable
    publisher, source = await rig.publisher(), await rig.source()
    await publisher.publish(messages(1))
    await proxy.stall()
    doubtful = asyncio.create_task(publisher.publish(messages(1)))
    await asyncio.wait([doubtful], timeout=0.1)
    async with asyncio.timeout(25):
        await asyncio.gather(publisher.stop(), source.stop())
    with pytest.raises(StreamUnavailable):
        await doubtful


def with_fallback(rig: Rig, *, open_s: float) -> FallbackPublisher:
    kafka = KafkaPublisher(rig.bootstrap, topic=rig.topic)
    publisher = FallbackPublisher(kafka, InboxPublisher(rig.ingest), open_s=open_s)
    rig.made.append(publisher)
    return publisher


def state_of(publisher: FallbackPublisher) -> str:
    """A string, so that mypy does not take the state for settled after the first assertion."""
    return publisher.state


async def timed(publisher: Publisher, one: Message) -> tuple[Copy, float]:
    began = time.monotonic()
    [copy] = await publisher.publish([one])
    return copy, time.monotonic() - began


@pytest.mark.parametrize("rig", [KAFKA], indirect=True)
async def test_a_broker_away_for_a_while_costs_nothing_but_copies(rig: Rig, servers: Servers) -> None:
    publisher = with_fallback(rig, open_s=1.0)
    await publisher.start()
    sent = messages(1)
    copy, _ = await timed(publisher, sent[0])
    assert copy.transport == rig.topic
    servers.kafka.kill9()
    for slowest in (2.8, 0.5, 0.5):
        sent.append(message())
        copy, took = await timed(publisher, sent[-1])
        assert copy.transport == INBOX
        assert took < slowest
    assert (state_of(publisher), publisher.diverted) == (BreakerState.OPEN, 3)
    # While it is away, one call in each window waits for it in vain and is diverted all the same.
    away_until = time.monotonic() + 3
    while time.monotonic() < away_until:
        sent.append(message())
        copy, took = await timed(publisher, sent[-1])
        assert (copy.transport, took < 2.8) == (INBOX, True)
        await asyncio.sleep(0.05)
    await asyncio.to_thread(servers.kafka.restart)

    async def back() -> bool:
        sent.append(message())
        return (await timed(publisher, sent[-1]))[0].transport == rig.topic

    await until(back, what="Kafka is used again", deadline_s=30)
    assert state_of(publisher) == BreakerState.CLOSED
    # Every ledger drains both.
    kafka, inbox = rig.kafka_source(), InboxSource(rig.ledger)

    async def all_recorded() -> bool:
        with contextlib.suppress(*AWAY):
            await rig.record(inbox, wait_s=0.1)
            await rig.record(kafka, wait_s=0.1)
        return set(ids(sent)) <= set(await rig.recorded())

    await until(all_recorded, what="all accepted events are recorded", deadline_s=30)
    recorded = await rig.recorded()
    assert recorded[sent[0].event_id] == recorded[sent[-1].event_id] == 1
    assert max(recorded.values()) <= 2


@pytest.mark.parametrize("cable", [KAFKA], indirect=True)
async def test_one_call_probes_while_the_others_go_to_the_inbox(cable: tuple[Rig, CableProxy]) -> None:
    rig, proxy = cable
    publisher = with_fallback(rig, open_s=0.3)
    await publisher.start()
    await proxy.stall()
    await publisher.publish(messages(1))
    assert state_of(publisher) == BreakerState.OPEN
    # The breaker's window is over when one call waits for Kafka again.
    probe = asyncio.create_task(timed(publisher, message()))
    while state_of(publisher) != BreakerState.HALF_OPEN:
        if probe.done():
            probe = asyncio.create_task(timed(publisher, message()))
        await asyncio.sleep(0.01)
    others = await asyncio.gather(*(timed(publisher, message()) for _ in range(10)))
    assert all(copy.transport == INBOX and took < 1 for copy, took in others)
    copy, took = await probe
    assert copy.transport == INBOX
    assert took > 1.5


@pytest.mark.parametrize("cable", [KAFKA], indirect=True)
async def test_a_probe_whose_caller_goes_away_lets_another_probe(cable: tuple[Rig, CableProxy]) -> None:
    rig, proxy = cable
    publisher = with_fallback(rig, open_s=0.1)
    await publisher.start()
    await proxy.stall()
    await publisher.publish(messages(1))
    probe = asyncio.create_task(publisher.publish(messages(1)))
    while state_of(publisher) != BreakerState.HALF_OPEN:
        if probe.done():
            probe = asyncio.create_task(publisher.publish(messages(1)))
        await asyncio.sleep(0.01)
    probe.cancel()
    await asyncio.wait([probe])
    await proxy.resume()

    async def back() -> bool:
        return (await timed(publisher, message()))[0].transport == rig.topic

    await until(back, what="Kafka is used again", deadline_s=20)


@pytest.mark.parametrize("rig", [KAFKA], indirect=True)
async def test_when_both_are_away_nothing_is_accepted(rig: Rig, servers: Servers) -> None:
    publisher = with_fallback(rig, open_s=1.0)
    await publisher.start()
    servers.kafka.kill9()
    servers.postgres.kill9()
    try:
        async with asyncio.timeout(6):
            with pytest.raises(StreamUnavailable):
                await publisher.publish(messages(1))
    finally:
        await asyncio.to_thread(servers.postgres.restart)
        await asyncio.to_thread(servers.kafka.restart)
    assert await publish_stubbornly(publisher, message(), deadline_s=20) in {True, False}
    # A process that starts while the broker is away serves from the inbox.
    servers.kafka.kill9()
    late = with_fallback(rig, open_s=60)
    try:
        await late.start()
        copy, took = await timed(late, message())
        assert (copy.transport, took < 1) == (INBOX, True)
    finally:
        await asyncio.to_thread(servers.kafka.restart)
