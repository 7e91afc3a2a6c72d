"""What the stream tests share: one transport on real servers, and a ledger in small that records what it claims."""

import asyncio
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from schemas.errors import PositionMoved, StreamUnavailable
from services.postgres import DATABASE_AWAY, Pool, create_pool
from services.stream.inbox import InboxPublisher, InboxSource
from services.stream.kafka_publisher import KafkaPublisher
from services.stream.kafka_source import KafkaSource
from services.stream.protocol import INBOX, Message, Publisher, Received, Source
from tests.support.databases import Database, run_sql
from tests.support.kafka import make_group

KAFKA = "kafka"
AWAY = (StreamUnavailable, *DATABASE_AWAY)
# Stands for the ledger's own tables: written in the transaction that claims.
RECORDED = (
    "CREATE TABLE recorded (event_id text, transport text, partition int, seq bigint)",
    "GRANT SELECT, INSERT ON recorded TO sayso_ledger",
)


def message(controller: int = 1, *, log: str = "log-a", size: int = 300) -> Message:
    return Message(controller, log, str(uuid.uuid4()), "shop.example", os.urandom(217), os.urandom(size))


def messages(count: int, controller: int = 1, *, log: str = "log-a") -> list[Message]:
    return [message(controller, log=log) for _ in range(count)]


def ids(sent: Iterable[Message]) -> list[str]:
    return [one.event_id for one in sent]


@dataclass
class Rig:
    """One transport with its servers' addresses; publishers and sources made here are stopped with it."""

    transport: str
    bootstrap: str
    topic: str
    database: Database
    ingest: Pool
    ledger: Pool
    group: str = field(default_factory=make_group)
    made: list[Publisher | Source] = field(default_factory=list)

    async def publisher(self) -> Publisher:
        publisher: Publisher
        if self.transport == INBOX:
            publisher = InboxPublisher(self.ingest)
        else:
            publisher = KafkaPublisher(self.bootstrap, topic=self.topic)
        self.made.append(publisher)
        await publisher.start()
        return publisher

    async def source(self) -> Source:
        source = InboxSource(self.ledger) if self.transport == INBOX else self.kafka_source()
        self.made.append(source)
        await source.start()
        return source

    def kafka_source(self) -> KafkaSource:
        source = KafkaSource(self.bootstrap, topic=self.topic, group=self.group, pool=self.ledger)
        self.made.append(source)
        return source

    async def record(self, source: Source, *, most: int = 100, wait_s: float = 0.5) -> list[Received]:
        """One batch, claimed and noted in one transaction; [] if there was none or another ledger was faster."""
        batch = await source.read(most, wait_s)
        if batch is None:
            return []
        try:
            async with self.ledger.acquire() as connection, connection.transaction():
                taken = await source.claim(connection, batch)
                await connection.executemany(
                    "INSERT INTO recorded VALUES ($1, $2, $3, $4)",
                    [(one.message and one.message.event_id, *one.copy) for one in taken],
                )
        except PositionMoved:
            await source.rewind()
            return []
        return list(taken)

    async def drain(self, source: Source, expected: Sequence[str], *, deadline_s: float = 20) -> list[Received]:
        """Record until every expected event is; then once more, to see whether anything comes twice.

        A server may be away meanwhile; the deadline decides whether it came back in time.
        """
        deadline = time.monotonic() + deadline_s
        taken: list[Received] = []
        missing = set(expected)
        while missing:
            assert time.monotonic() < deadline, f"{len(missing)} of {len(expected)} events were never recorded"
            try:
                taken += await self.record(source)
                missing = set(expected) - set(await self.recorded())
            except AWAY:
                await source.rewind()
                await asyncio.sleep(0.05)
        return taken + await self.record(source, wait_s=0.2)

    async def recorded(self) -> Counter[str]:
        """Event id -> how many times it was recorded."""
        rows = await self.ledger.fetch("SELECT event_id FROM recorded")
        return Counter(row["event_id"] for row in rows)

    async def close(self) -> None:
        for one in self.made:
            await asyncio.wait_for(one.stop(), 30)


@asynccontextmanager
async def open_rig(
    transport: str, bootstrap: str, topic: str, database: Database, *, port: int | None = None
) -> AsyncIterator[Rig]:
    """`port` leads ingest and ledger to Postgres through a proxy."""
    run_sql(database.dsn(), *RECORDED)
    ingest = await create_pool(database.dsn(port=port), role="sayso_ingest", size=4, application="test-ingest")
    ledger = await create_pool(database.dsn(port=port), role="sayso_ledger", size=4, application="test-ledger")
    rig = Rig(transport, bootstrap, topic, database, ingest, ledger)
    try:
        yield rig
    finally:
        await rig.close()
        # A killed server leaves nothing to close politely.
        ingest.terminate()
        ledger.terminate()
