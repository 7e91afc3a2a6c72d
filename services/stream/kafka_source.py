"""Reading Kafka for the ledger: a consumer group shares the partitions, Postgres says where each of them goes on.

Nothing is ever committed to Kafka. `positions` moves in the recording transaction, so a message is recorded exactly
when its offset is passed. A position out of range or of another cluster stops its partition until an operator decides.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from schemas.errors import PositionInvalid, PositionMoved, StreamUnavailable
from schemas.topics import EVENTS_TOPIC
from services.postgres import DATABASE_AWAY, Pool, PooledConnection
from services.stream.inbox import QUERIES
from services.stream.kafka_client import CONNECTION_FAILED, close_consumer, cluster_id, require_topic
from services.stream.kafka_messages import received_of
from services.stream.protocol import Batch, Copy, Received

LEDGER_GROUP: Final = "sayso.ledger"
CONNECT_TIMEOUT_S: Final = 10.0
# A ledger that died gives its partitions back after this.
SESSION_TIMEOUT_MS: Final = 6000
HEARTBEAT_MS: Final = 1500
# Longer than a rebalance may take, or joining the group would time out while another member is waited for.
REQUEST_TIMEOUT_MS: Final = 15000
# The topic's max.message.bytes: no batch is larger.
FETCH_BYTES_MAX: Final = 2 * 1024 * 1024
# A read waits in slices, so that it soon sees a rewind or a rebalance.
SLICE_S: Final = 0.2
# While messages of one partition wait to be handed out, aiokafka asks the broker for the others alone, and asks nothing
# else until that is answered: this is how long a busy partition may then have to wait for an idle one.
FETCH_WAIT_MS: Final = 50
GRACE_S: Final = 0.05
CAREFUL_POLL_S: Final = 0.01

_log = logging.getLogger(__name__)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Marks every position as unknown; the next read seeks. Nothing here may wait: it runs inside the coordinator."""

    def __init__(self, source: "KafkaSource") -> None:
        self._source = source

    def on_partitions_revoked(self, _revoked: set[TopicPartition]) -> None:
        self._source.forget_positions()

    def on_partitions_assigned(self, _assigned: set[TopicPartition]) -> None:
        self._source.forget_positions()


class KafkaSource:
    """The Source over one topic. `stopped` says which partitions wait for an operator, and for what.

    `_next` holds, for each partition being read, the offset after the last message handed out; `_first` where a
    partition without a row was begun. Both are rebuilt from Postgres whenever `_sought` is False: after a rebalance, a
    rewind, or any error. One read at a time; claim and rewind may run while a read waits.
    """

    def __init__(self, bootstrap: str, *, pool: Pool, topic: str = EVENTS_TOPIC, group: str = LEDGER_GROUP) -> None:
        self._bootstrap = bootstrap
        self._pool = pool
        self._topic = topic
        self._group = group
        self._consumer: Any = None
        self._cluster = ""
        self._sought = False
        # Counts what made positions unknown, so that a seek sees whether it was overtaken.
        self._upsets = 0
        self._next: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._stopped: dict[int, str] = {}
        self._unreported: deque[str] = deque()
        # Set after a record that aiokafka cannot decode: read record by record until it is found.
        self._careful = False

    @property
    def stopped(self) -> Mapping[int, str]:
        """Partition -> what is wrong with its position and what to do."""
        return self._stopped

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions this source reads now."""
        return frozenset(self._next) if self._sought else frozenset()

    async def start(self) -> None:
        """As the protocol says; also raises ConfigurationError if the topic does not exist."""
        if self._consumer is not None:
            return
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await consumer.start()
                require_topic(self._topic, await consumer.topics())
        except BaseException as error:
            await close_consumer(consumer)
            if isinstance(error, CONNECTION_FAILED):
                raise StreamUnavailable(f"kafka: cannot connect to {self._bootstrap}") from error
            raise
        self.forget_positions()
        consumer.subscribe([self._topic], listener=_Rebalance(self))
        self._consumer = consumer

    async def read(self, most: int, wait_s: float) -> Batch | None:
        """As the protocol says. PositionInvalid is raised once for each partition that stops; the others go on."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while True:
            await self.start()
            try:
                if not self._sought:
                    await self._seek()
                if self._unreported:
                    raise PositionInvalid(self._unreported.popleft())
                received = await self._fetch(most, min(max(deadline - loop.time(), 0), SLICE_S))
            except CONNECTION_FAILED as error:
                await self._disconnect()
                raise StreamUnavailable(f"kafka: reading failed ({type(error).__name__})") from error
            if received:
                return self._batch(received)
            if loop.time() >= deadline and not self._unreported:
                return None

    async def claim(self, connection: PooledConnection, batch: Batch) -> Sequence[Received]:
        """As the protocol says; all of the batch or PositionMoved."""
        partitions = sorted(batch.spans)
        rows = await connection.fetch(QUERIES["lock_positions"], self._topic, partitions)
        known = {row["partition"]: row for row in rows}
        for partition in partitions:
            row = known.get(partition)
            begin = batch.spans[partition][0]
            if row is None and self._first.get(partition) == begin:
                continue
            if row is not None and row["cluster"] != self._cluster:
                raise PositionInvalid(_other_cluster(self._topic, partition))
            if row is None or row["next_offset"] != begin:
                raise PositionMoved(f"{self._topic}[{partition}]: another ledger recorded from here")
        advanced = [partition for partition in partitions if partition in known]
        if advanced:
            ends = [batch.spans[partition][1] for partition in advanced]
            await connection.execute(QUERIES["advance_positions"], self._topic, advanced, ends)
        begun = [partition for partition in partitions if partition not in known]
        if begun:
            ends = [batch.spans[partition][1] for partition in begun]
            inserted = await connection.fetch(QUERIES["insert_positions"], self._topic, self._cluster, begun, ends)
            if len(inserted) != len(begun):
                raise PositionMoved(f"{self._topic}: another ledger began a partition at the same time")
        return batch.received

    async def rewind(self) -> None:
        self.forget_positions()

    async def stop(self) -> None:
        await self._disconnect()

    def forget_positions(self) -> None:
        """What is in memory may be wrong: the next read asks Postgres and seeks."""
        self._sought = False
        self._upsets += 1

    async def _seek(self) -> None:
        """Put every assigned partition where Postgres says, or stop it.

        1. Read the cluster's id, the positions of what is assigned now, and where partitions without a row begin.
        2. If the assignment changed meanwhile, leave it to the next call.
        3. Seek without waiting for anything, so that no other task sees half of it.
        """
        consumer, upsets = self._consumer, self._upsets
        assigned = sorted(part.partition for part in consumer.assignment())
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            cluster = await cluster_id(self._bootstrap)
            known = await self._positions(assigned)
            new = [self._part(partition) for partition in assigned if partition not in known]
            begins = await consumer.beginning_offsets(new) if new else {}
        if upsets != self._upsets:
            return
        self._cluster = cluster
        self._next, self._first, self._stopped = {}, {}, {}
        for partition in assigned:
            part = self._part(partition)
            row = known.get(partition)
            if row is None:
                self._first[partition] = begins[part]
            elif row["cluster"] != self._cluster:
                self._stop_partition(partition, row["next_offset"], _other_cluster(self._topic, partition))
                continue
            self._next[partition] = begins[part] if row is None else row["next_offset"]
            consumer.seek(part, self._next[partition])
            consumer.resume(part)
        self._sought = True

    async def _positions(self, partitions: Sequence[int]) -> dict[int, asyncpg.Record]:
        try:
            rows = await self._pool.fetch(QUERIES["read_positions"], self._topic, partitions)
        except DATABASE_AWAY as error:
            raise StreamUnavailable(f"kafka: positions cannot be read ({type(error).__name__})") from error
        return {row["partition"]: row for row in rows}

    async def _fetch(self, most: int, wait_s: float) -> list[Received]:
        """What has arrived, or nothing after `wait_s`."""
        try:
            # aiokafka waits without a limit while a rebalance goes on.
            async with asyncio.timeout(wait_s + GRACE_S):
                if self._careful:
                    return await self._fetch_carefully(wait_s)
                fetched = await self._consumer.getmany(timeout_ms=int(wait_s * 1000), max_records=most)
        except TimeoutError:
            return []
        except NoOffsetForPartitionError:
            # Assigned a moment ago and not sought yet.
            self.forget_positions()
            return []
        except OffsetOutOfRangeError as error:
            self._out_of_range(error.args[0])
            return []
        except UnicodeDecodeError:
            # aiokafka has dropped what it read before that record: go back to what was handed out, then look closely.
            self._careful = True
            if self._sought:
                for partition, offset in self._next.items():
                    self._consumer.seek(self._part(partition), offset)
            return []
        if not self._sought:
            # The assignment changed while we waited: these may be another ledger's now.
            return []
        return [received_of(record) for records in fetched.values() for record in records]

    async def _fetch_carefully(self, wait_s: float) -> list[Received]:
        """One record, or the offset of the first that cannot be decoded as a message to set aside.

        A header name that is not UTF-8 stops aiokafka for all that follows in that producer's batch; each such offset
        is handed out as unreadable, so that the partition goes on after the batch.
        """
        deadline = asyncio.get_running_loop().time() + wait_s
        while self._sought and asyncio.get_running_loop().time() < deadline:
            for partition, offset in self._next.items():
                part = self._part(partition)
                try:
                    fetched = await self._consumer.getmany(part, max_records=1)
                except UnicodeDecodeError:
                    _log.warning("%s[%d]: offset %d cannot be decoded: set aside", self._topic, partition, offset)
                    self._careful = False
                    self._consumer.seek(part, offset + 1)
                    return [Received(Copy(self._topic, partition, offset), None)]
                if fetched:
                    return [received_of(record) for record in fetched[part]]
            await asyncio.sleep(CAREFUL_POLL_S)
        return []

    def _batch(self, received: Sequence[Received]) -> Batch:
        """Offsets may have gaps: a span ends after its last message, and the next one begins there."""
        spans: dict[int, tuple[int, int]] = {}
        for one in received:
            partition = one.copy.partition
            begin = spans[partition][0] if partition in spans else self._next[partition]
            spans[partition] = (begin, one.copy.seq + 1)
        for partition, (_, end) in spans.items():
            self._next[partition] = end
        return Batch(received, spans)

    def _out_of_range(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not self._sought:
            return
        for part, offset in offsets.items():
            if part.partition in self._next:
                why = (
                    f"{self._topic}[{part.partition}]: Kafka no longer has offset {offset}, where the ledger stopped. "
                    "Restore the topic, or delete this partition's row from positions to go on at its oldest message "
                    "and accept the gap; then restart the ledger (docs/operations.md)"
                )
                del self._next[part.partition]
                self._stop_partition(part.partition, offset, why)

    def _stop_partition(self, partition: int, offset: int, why: str) -> None:
        _log.error("partition stopped: %s", why)
        self._stopped[partition] = why
        self._unreported.append(why)
        # A position of its own keeps aiokafka from looking for one; paused, it is never fetched.
        self._consumer.seek(self._part(partition), offset)
        self._consumer.pause(self._part(partition))

    def _part(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)

    async def _disconnect(self) -> None:
        self.forget_positions()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close_consumer(consumer)


def _other_cluster(topic: str, partition: int) -> str:
    return (
        f"{topic}[{partition}]: the stored position belongs to another Kafka cluster. Point SAYSO_STREAM at the "
        "cluster it was recorded from, or, once that one is drained, delete this partition's row from positions to "
        "read the new one from its oldest message; then restart the ledger (docs/operations.md)"
    )
