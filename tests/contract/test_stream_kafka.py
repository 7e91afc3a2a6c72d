"""What Kafka alone must show: positions that do not fit, offsets with gaps, records of strangers, partitions by log."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from deploy.kafka.node import free_port
from schemas.errors import ConfigurationError, PositionInvalid, PositionMoved, StreamUnavailable
from schemas.topics import HEADER_EPOCH, HEADER_ID, HEADER_SOURCE, HEADER_SPECVERSION, HEADER_TYPE
from services.stream.kafka_messages import headers_of, key_of
from services.stream.kafka_publisher import KafkaPublisher
from services.stream.kafka_source import KafkaSource
from services.stream.protocol import Message, Received
from tests.contract.streams import KAFKA, Rig, ids, message, messages, open_rig
from tests.support.databases import Database, run_sql
from tests.support.kafka import KafkaServer, make_topic
from tests.support.wait import until

pytestmark = [pytest.mark.contract, pytest.mark.kafka]

# murmur2 as in the Java client: 2 partitions, and these logs fall on different ones.
LOG_OF_PARTITION = {0: "log-b", 1: "log-a"}


@pytest.fixture
async def rig(kafka_server: KafkaServer, database: Database) -> AsyncIterator[Rig]:
    topic = make_topic(kafka_server.bootstrap, partitions=2)
    async with open_rig(KAFKA, kafka_server.bootstrap, topic, database) as rig:
        yield rig


async def begin(rig: Rig) -> tuple[KafkaPublisher, dict[int, list[Message]]]:
    """Five messages on each partition, recorded by a source that has stopped; five more that nobody read."""
    publisher = await rig.publisher()
    assert isinstance(publisher, KafkaPublisher)
    for log in LOG_OF_PARTITION.values():
        await publisher.publish(messages(5, log=log))
    source = await rig.source()
    while await rig.ledger.fetchval("SELECT count(*) FROM recorded") < 10:
        await rig.record(source)
    await source.stop()
    more = {partition: messages(5, log=log) for partition, log in LOG_OF_PARTITION.items()}
    for partition, sent in more.items():
        copies = await publisher.publish(sent)
        assert {copy.partition for copy in copies} == {partition}
    return publisher, more


async def stopped_source(rig: Rig, *, advice: str) -> KafkaSource:
    """A source whose first reads meet a position it must refuse."""
    source = rig.kafka_source()
    await source.start()
    with pytest.raises(PositionInvalid, match=advice):
        await record_forever(rig, source)
    return source


async def record_forever(rig: Rig, source: KafkaSource) -> None:
    async with asyncio.timeout(20):
        while True:
            await rig.record(source)


async def positions(rig: Rig) -> dict[int, int]:
    rows = await rig.ledger.fetch("SELECT partition, next_offset FROM positions WHERE topic = $1", rig.topic)
    return {row["partition"]: row["next_offset"] for row in rows}


@pytest.mark.parametrize("how", ["ahead of the topic", "behind its oldest message"])
async def test_a_position_out_of_range_stops_its_partition_alone(rig: Rig, how: str) -> None:
    _, more = await begin(rig)
    if how == "ahead of the topic":
        run_sql(rig.database.dsn(), "UPDATE positions SET next_offset = 1000 WHERE partition = 0")
    else:
        admin = AIOKafkaAdminClient(bootstrap_servers=rig.bootstrap)
        await admin.start()
        await admin.delete_records({TopicPartition(rig.topic, 0): RecordsToDelete(before_offset=8)})
        await admin.close()
    source = await stopped_source(rig, advice="delete this partition's row from positions")
    await rig.drain(source, ids(more[1]))
    assert list(source.stopped) == [0]
    assert source.partitions == {1}
    assert not set(ids(more[0])) & set(await rig.recorded())
    assert (await positions(rig))[1] == 10


async def test_the_advice_mends_a_stopped_partition(rig: Rig) -> None:
    _, more = await begin(rig)
    run_sql(rig.database.dsn(), "UPDATE positions SET next_offset = 1000 WHERE partition = 0")
    source = await stopped_source(rig, advice="restart the ledger")
    await source.stop()
    run_sql(rig.database.dsn(), "DELETE FROM positions WHERE partition = 0")
    again = rig.kafka_source()
    await again.start()
    await rig.drain(again, [*ids(more[0]), *ids(more[1])])
    assert not again.stopped
    assert await positions(rig) == {0: 10, 1: 10}


async def test_a_position_of_another_cluster_stops_its_partition_alone(rig: Rig) -> None:
    _, more = await begin(rig)
    run_sql(rig.database.dsn(), "UPDATE positions SET cluster = 'another' WHERE partition = 1")
    source = await stopped_source(rig, advice="belongs to another Kafka cluster")
    await rig.drain(source, ids(more[0]))
    assert list(source.stopped) == [1]
    assert not set(ids(more[1])) & set(await rig.recorded())


async def test_a_position_that_changes_cluster_under_a_batch_is_refused(rig: Rig) -> None:
    await begin(rig)
    source = rig.kafka_source()
    batch = await source.read(100, 10)
    assert batch is not None
    run_sql(rig.database.dsn(), "UPDATE positions SET cluster = 'another'")
    async with rig.ledger.acquire() as connection, connection.transaction():
        with pytest.raises(PositionInvalid):
            await source.claim(connection, batch)


async def test_a_second_ledger_never_moves_a_position_back(rig: Rig) -> None:
    """A ledger stalled in the middle of a batch loses it to the other, whole."""
    await begin(rig)
    stalled, other = rig.kafka_source(), rig.kafka_source()
    batch = await stalled.read(3, 10)
    assert batch is not None
    await stalled.stop()
    while await positions(rig) != {0: 10, 1: 10}:
        await rig.record(other)
    async with rig.ledger.acquire() as connection, connection.transaction():
        with pytest.raises(PositionMoved):
            await stalled.claim(connection, batch)
    assert await positions(rig) == {0: 10, 1: 10}


async def test_two_ledgers_that_begin_a_partition_at_once_do_not_both_record(rig: Rig) -> None:
    publisher = await rig.publisher()
    await publisher.publish(messages(5))
    one = rig.kafka_source()
    first = await one.read(100, 10)
    assert first is not None
    await one.stop()
    two = rig.kafka_source()
    second = await two.read(100, 10)
    assert second is not None
    # Both know of no row. The second waits for the first to commit, and then must not record.
    async with rig.ledger.acquire() as connection, rig.ledger.acquire() as other:
        winner = connection.transaction()
        await winner.start()
        await one.claim(connection, first)
        loser = other.transaction()
        await loser.start()
        claiming = asyncio.create_task(two.claim(other, second))

        async def waits() -> bool:
            return bool(await rig.ledger.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await until(waits, what="the second ledger waits for the first")
        await winner.commit()
        with pytest.raises(PositionMoved):
            await claiming
        await loser.rollback()
    assert list((await positions(rig)).values()) == [5]


async def test_a_later_batch_cannot_be_claimed_before_an_earlier_one(rig: Rig) -> None:
    """Neither with a position nor before the partition's first."""
    publisher, source = await rig.publisher(), rig.kafka_source()
    for _ in range(2):
        await publisher.publish(messages(6))
        assert await source.read(3, 10) is not None
        later = await source.read(3, 10)
        assert later is not None
        async with rig.ledger.acquire() as connection, connection.transaction():
            with pytest.raises(PositionMoved):
                await source.claim(connection, later)
        await source.rewind()
        assert len(await rig.record(source, wait_s=5)) == 6


async def test_gaps_between_offsets_are_stepped_over(rig: Rig) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=rig.bootstrap, transactional_id=rig.topic)
    await producer.start()
    sent = messages(3)
    for one in sent:
        # Each transaction ends with a marker that takes an offset.
        async with producer.transaction():
            await producer.send_and_wait(rig.topic, one.value, key_of(one.log), 0, headers=headers_of(one))
    await producer.stop()
    source = await rig.source()
    received = await rig.drain(source, ids(sent))
    assert [one.copy.seq for one in received] == [0, 2, 4]
    assert await positions(rig) == {0: 5}


class BadName(str):
    """A header name whose bytes are not UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


GOOD = dict(headers_of(message()))


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [header for header in GOOD.items() if header[0] != HEADER_EPOCH],
        [*GOOD.items(), (HEADER_ID, GOOD[HEADER_ID])],
        [*{**GOOD, HEADER_ID: b"not a uuid"}.items()],
        [*{**GOOD, HEADER_ID: None}.items()],
        [*{**GOOD, HEADER_SOURCE: b"shop.example"}.items()],
        [*{**GOOD, HEADER_SOURCE: b"/sites/\xff"}.items()],
        [*{**GOOD, HEADER_SOURCE: b"/sites/a\0"}.items()],
        [*{**GOOD, HEADER_SPECVERSION: b"0.3"}.items()],
        [*{**GOOD, HEADER_TYPE: b"consent.given"}.items()],
    ],
)
async def test_a_record_with_wrong_headers_is_handed_out_raw(rig: Rig, headers: list[tuple[str, bytes | None]]) -> None:
    received = await read_between_good_ones(rig, b"log-a", b"sealed", headers)
    assert received.message is None
    assert received.raw.startswith(b"key: log-a\n")
    assert received.raw.endswith(b"\n\nsealed")
    assert all(name.encode() in received.raw for name, _ in headers)


@pytest.mark.parametrize(
    ("key", "value"), [(None, b"sealed"), (b"\xff", b"sealed"), (b"", b"sealed"), (b"log-a", None)]
)
async def test_a_record_without_key_or_value_is_handed_out_raw(
    rig: Rig, key: bytes | None, value: bytes | None
) -> None:
    received = await read_between_good_ones(rig, key, value, [*GOOD.items()])
    assert received.message is None
    assert GOOD[HEADER_ID] in received.raw


async def read_between_good_ones(
    rig: Rig, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> Received:
    publisher, source = await rig.publisher(), await rig.source()
    log = LOG_OF_PARTITION[0]
    before, after = messages(1, log=log), messages(1, log=log)
    await publisher.publish(before)
    producer = AIOKafkaProducer(bootstrap_servers=rig.bootstrap)
    await producer.start()
    await producer.send_and_wait(rig.topic, value, key, 0, headers=headers)
    await producer.stop()
    await publisher.publish(after)
    received = await rig.drain(source, ids([*before, *after]))
    [bad] = [one for one in received if one.copy.seq == 1]
    assert [one.copy.seq for one in received] == [0, 1, 2]
    return bad


async def publish_undecodable(rig: Rig, inside: list[Message]) -> None:
    """One batch of a stranger's on partition 0, the second record of which has a header name that is not UTF-8."""
    producer = AIOKafkaProducer(bootstrap_servers=rig.bootstrap)
    await producer.start()
    batch = producer.create_batch()
    batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 100_000)
    for at, one in enumerate(inside):
        headers = [*headers_of(one), (BadName("x"), b"")] if at == 1 else headers_of(one)
        batch.append(timestamp=None, key=key_of(one.log), value=one.value, headers=headers)
    await (await producer.send_batch(batch, rig.topic, partition=0))
    await producer.stop()


async def test_a_record_that_cannot_be_decoded_stops_nothing(rig: Rig) -> None:
    publisher, source = await rig.publisher(), await rig.source()
    before, inside, after = (messages(3, log=LOG_OF_PARTITION[0]) for _ in range(3))
    await publisher.publish(before)
    await publish_undecodable(rig, inside)
    await publisher.publish(after)
    received = await rig.drain(source, ids([*before, inside[0], *after]))
    assert [one.copy.seq for one in received] == list(range(9))
    # The rest of the stranger's batch cannot be reached; ours before and after it can.
    assert [one.message is None for one in received] == [False] * 4 + [True] * 2 + [False] * 3
    assert await positions(rig) == {0: 9}


async def test_a_record_that_cannot_be_decoded_takes_nothing_of_other_partitions_along(
    kafka_server: KafkaServer, database: Database
) -> None:
    """Partitions are handed out in random order; aiokafka forgets those before the one it stumbles over."""
    topic = make_topic(kafka_server.bootstrap, partitions=10)
    async with open_rig(KAFKA, kafka_server.bootstrap, topic, database) as rig:
        await publish_undecodable(rig, messages(2))
        publisher = await rig.publisher()
        sent = [message(log=f"log-{n}") for n in range(60)]
        copies = await publisher.publish(sent)
        assert len({copy.partition for copy in copies}) > 7
        await rig.drain(await rig.source(), ids(sent))
        assert {count for event_id, count in (await rig.recorded()).items() if event_id} == {1}


async def test_a_log_has_the_partition_every_kafka_client_gives_it(rig: Rig) -> None:
    """murmur2 of the key; the names are test vectors of the Java client."""
    publisher = await rig.publisher()
    partition_of = {"abc": 1, "21": 0, "foobar": 0, "a-little-bit-long-string": 0, "a-little-bit-longer-string": 1}
    copies = await publisher.publish([message(log=log) for log in [*partition_of] * 3])
    assert [copy.partition for copy in copies] == [*partition_of.values()] * 3


async def test_a_refused_batch_is_told_and_the_next_one_goes_through(
    kafka_server: KafkaServer, database: Database
) -> None:
    """The producer's sequence has a hole then: it must be replaced, or everything after it would be refused too."""
    topic = make_topic(kafka_server.bootstrap, config={"max.message.bytes": "4000"})
    async with open_rig(KAFKA, kafka_server.bootstrap, topic, database) as rig:
        publisher, source = await rig.publisher(), await rig.source()
        await publisher.publish(messages(1))
        with pytest.raises(StreamUnavailable, match="refused"):
            await publisher.publish([message(size=10_000)])
        assert isinstance(publisher, KafkaPublisher)
        await until(lambda: publisher.connected, what="the publisher connects again")
        sent = messages(3)
        await publisher.publish(sent)
        await rig.drain(source, ids(sent))


async def test_a_missing_topic_is_a_matter_of_configuration(rig: Rig) -> None:
    publisher = KafkaPublisher(rig.bootstrap, topic="no.such.topic")
    with pytest.raises(ConfigurationError, match="create it with deploy/kafka/topics"):
        await publisher.start()
    source = KafkaSource(rig.bootstrap, topic="no.such.topic", group=rig.group, pool=rig.ledger)
    with pytest.raises(ConfigurationError, match="create it with deploy/kafka/topics"):
        await source.start()


async def test_a_broker_that_is_not_there_is_unavailable(rig: Rig) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    publisher = KafkaPublisher(nobody, topic=rig.topic)
    with pytest.raises(StreamUnavailable):
        await publisher.start()
    with pytest.raises(StreamUnavailable):
        await publisher.publish(messages(1))
    await publisher.stop()
    source = KafkaSource(nobody, topic=rig.topic, group=rig.group, pool=rig.ledger)
    with pytest.raises(StreamUnavailable):
        await source.read(10, 1)
    await source.stop()
