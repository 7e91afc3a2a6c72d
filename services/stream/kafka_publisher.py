"""Publishing to Kafka: acks=all, idempotent, not compressed (sealed bytes do not), a batch a partition at a time.

Concurrent calls are gathered (services.stream.gathering). aiokafka retries an idempotent batch for ever; a caller is
told StreamUnavailable after `timeout_s` all the same, and the batch may still arrive: the ledger's dedupe settles it.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from schemas.errors import ConfigurationError, StreamUnavailable
from schemas.topics import EVENTS_TOPIC
from services.stream.gathering import Chunk, GatheringPublisher, Lane
from services.stream.kafka_client import CONNECTION_FAILED, REQUEST_TIMEOUT_MS, close_producer, require_topic
from services.stream.kafka_messages import headers_of, key_of
from services.stream.protocol import Copy, Message

PUBLISH_TIMEOUT_S: Final = 2.0
CONNECT_TIMEOUT_S: Final = 5.0
RECONNECT_S: Final = 1.0
# One batch. Below the broker's default max.message.bytes (1 MiB); an event is at most 64 KiB before sealing.
BATCH_BYTES_MAX: Final = 512 * 1024
# Partitions of logs are remembered; the names come from our own key tables, so this only bounds the table.
LOGS_REMEMBERED: Final = 65536

_log = logging.getLogger(__name__)


class KafkaPublisher(GatheringPublisher[Any]):
    """The Publisher over Kafka. Reconnects by itself, for ever, once start() was called."""

    def __init__(self, bootstrap: str, *, topic: str = EVENTS_TOPIC, timeout_s: float = PUBLISH_TIMEOUT_S) -> None:
        super().__init__(timeout_s=timeout_s)
        self._bootstrap = bootstrap
        self._topic = topic
        # None while not connected; a producer that failed once is never used again, because its sequence has a hole.
        self._producer: AIOKafkaProducer | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._partitions: list[int] = []
        self._partition_of_log: dict[str, int] = {}

    @property
    def transport(self) -> str:
        return self._topic

    @property
    def connected(self) -> bool:
        return self._producer is not None

    async def start(self) -> None:
        """As the protocol says; also raises ConfigurationError if the topic does not exist."""
        if self._producer is not None:
            return
        if self._reconnecting is not None:
            raise StreamUnavailable("kafka: not connected yet; connecting goes on in the background")
        try:
            self._producer = await self._connect()
        except StreamUnavailable:
            self._reconnecting = asyncio.create_task(self._reconnect(None))
            raise

    async def publish(self, messages: Sequence[Message]) -> list[Copy]:
        if self._producer is None:
            raise StreamUnavailable("kafka: not connected; send the same events again later")
        return await super().publish(messages)

    async def stop(self) -> None:
        await self._finish(self._timeout_s)
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)
            self._reconnecting = None
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer)

    def _lane_of(self, message: Message) -> int:
        partition = self._partition_of_log.get(message.log)
        if partition is None:
            if len(self._partition_of_log) >= LOGS_REMEMBERED:
                self._partition_of_log.clear()
            partition = DefaultPartitioner()(key_of(message.log), self._partitions, self._partitions)
            self._partition_of_log[message.log] = partition
        return partition

    def _pack(self, lane: Lane) -> tuple[Any, list[Chunk]]:
        assert self._producer is not None, "a retired producer leaves no chunks"
        builder = self._producer.create_batch()
        append = builder.append

        def fits(message: Message) -> bool:
            key, headers = key_of(message.log), headers_of(message)
            return append(timestamp=None, key=key, value=message.value, headers=headers) is not None

        return builder, lane.take(fits)

    async def _send(self, lane: int, packed: Any) -> Sequence[int]:
        producer = self._producer
        if producer is None:
            raise StreamUnavailable("kafka: not connected; send the same events again later")
        try:
            written = await (await producer.send_batch(packed, self._topic, partition=lane))
            self._learn_partitions(await producer.partitions_for(self._topic))
        except KafkaError as error:
            self._retire(producer, error)
            raise StreamUnavailable(f"kafka: the broker refused a batch ({type(error).__name__})") from error
        if written.offset < 0:
            # The broker knows the batch but no longer where it put it.
            raise StreamUnavailable("kafka: acknowledged without a place")
        return range(written.offset, written.offset + packed.record_count())

    def _learn_partitions(self, partitions: set[int]) -> None:
        if len(partitions) != len(self._partitions):
            self._partitions = sorted(partitions)
            self._partition_of_log.clear()

    async def _connect(self) -> AIOKafkaProducer:
        """One attempt. Raises StreamUnavailable, or ConfigurationError without the topic."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await producer.start()
                require_topic(self._topic, (await producer.client.fetch_all_metadata()).topics())
                self._learn_partitions(await producer.partitions_for(self._topic))
        except BaseException as error:
            await close_producer(producer)
            if isinstance(error, CONNECTION_FAILED):
                raise StreamUnavailable(f"kafka: cannot connect to {self._bootstrap}") from error
            raise
        return producer

    def _retire(self, producer: AIOKafkaProducer, error: KafkaError) -> None:
        """Never use this producer again; refuse what waits and connect anew."""
        if self._producer is not producer:
            return
        _log.warning("kafka producer retired after %s; connecting again", type(error).__name__)
        self._producer = None
        self._refuse("the connection failed; send the same events again")
        self._reconnecting = asyncio.create_task(self._reconnect(producer))

    async def _reconnect(self, old: AIOKafkaProducer | None) -> None:
        if old is not None:
            await close_producer(old)
        while self._producer is None:
            try:
                self._producer = await self._connect()
            except (StreamUnavailable, ConfigurationError) as error:
                _log.warning("%s; next attempt in %g s", error, RECONNECT_S)
                await asyncio.sleep(RECONNECT_S)
        self._reconnecting = None
