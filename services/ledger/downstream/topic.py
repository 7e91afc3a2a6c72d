"""Triggers on Kafka: topic sayso.triggers.v1, CloudEvents in binary mode, sealed to the system; the key is its name.

Invariant: a trigger counts as taken only once the broker acknowledged it.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.topics import (
    HEADER_ID,
    HEADER_SOURCE,
    HEADER_SPECVERSION,
    HEADER_TYPE,
    SPECVERSION,
    TRIGGERS_TOPIC,
)
from services.ledger.downstream.webhooks import Attempt, Ended

SEND_S_MAX: Final = 10.0


class TopicMessage(NamedTuple):
    """One CloudEvent: its id, source, type and data."""

    event_id: UUID
    source: str
    event_type: str
    data: bytes


class TriggersTopic:
    """Publishes; connects when there is something to publish, and anew after a failure."""

    def __init__(self, bootstrap: str | None) -> None:
        """`bootstrap` is host:port[,host:port]; None: this deployment has no broker, and every attempt fails."""
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        # Several systems' messages may be due at once; one of them connects.
        self._connecting = asyncio.Lock()

    async def publish(self, system: str, messages: Sequence[TopicMessage]) -> list[Attempt]:
        """Publish the messages of one system, in order; how each ended."""
        try:
            async with asyncio.timeout(SEND_S_MAX):
                producer = await self._connected()
                sent = [
                    await producer.send(TRIGGERS_TOPIC, m.data, key=system.encode(), headers=_headers(m))
                    for m in messages
                ]
                await asyncio.gather(*sent)
        except (KafkaError, OSError, TimeoutError):
            await self.stop()
            return [Attempt(Ended.AWAY)] * len(messages)
        return [Attempt(Ended.TAKEN)] * len(messages)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._bootstrap is None:
                raise ConnectionError("this deployment has no broker")
            if self._producer is None:
                producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True)
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def stop(self) -> None:
        """Close; the next `publish` connects again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()


def _headers(message: TopicMessage) -> list[tuple[str, bytes]]:
    return [
        (HEADER_ID, str(message.event_id).encode()),
        (HEADER_SOURCE, message.source.encode()),
        (HEADER_SPECVERSION, SPECVERSION.encode()),
        (HEADER_TYPE, message.event_type.encode()),
        ("content-type", b"application/json"),
    ]
