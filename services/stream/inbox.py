"""The inbox: a stream inside Postgres, without positions. The embedded default, and where ingest goes without Kafka.

Publishing inserts rows and commits them with fsync; the ledger deletes what it records in the recording transaction.
Invariant: a row is passed over only while this reader holds it in flight, never because a later one was seen, so a
publisher that commits late with a lower number loses nothing.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncpg

from schemas.errors import StreamUnavailable
from services.postgres import DATABASE_AWAY, Pool, PooledConnection, controller_transaction, named_queries
from services.stream.gathering import Chunk, GatheringPublisher, Lane
from services.stream.protocol import INBOX, Batch, Copy, Message, Received

PUBLISH_TIMEOUT_S: Final = 2.0
# One transaction; what more there is goes into the next.
BATCH_MESSAGES_MAX: Final = 1000
# How soon an idle reader looks again.
POLL_S: Final = 0.025
QUERIES: Final = named_queries(Path(__file__).parent / "sql" / "queries.sql")
# Besides a server that does not answer: one that cannot write now (full disk, shutting down, a promoted replica).
CANNOT_WRITE: Final = (
    *DATABASE_AWAY,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
)


class InboxPublisher(GatheringPublisher[list[Message]]):
    """The Publisher over the inbox table; one transaction a controller, as row-level security asks."""

    def __init__(self, pool: Pool, *, timeout_s: float = PUBLISH_TIMEOUT_S) -> None:
        super().__init__(timeout_s=timeout_s)
        self._pool = pool

    @property
    def transport(self) -> str:
        return INBOX

    async def start(self) -> None:
        await _answer(self._pool)

    async def stop(self) -> None:
        """The pool stays open: it is the caller's."""
        await self._finish(self._timeout_s)

    def _lane_of(self, message: Message) -> int:
        return message.controller

    def _pack(self, lane: Lane) -> tuple[list[Message], list[Chunk]]:
        packed: list[Message] = []

        def fits(message: Message) -> bool:
            if len(packed) == BATCH_MESSAGES_MAX:
                return False
            packed.append(message)
            return True

        return packed, lane.take(fits)

    async def _send(self, lane: int, packed: list[Message]) -> Sequence[int]:
        columns = (
            [message.log for message in packed],
            [message.event_id for message in packed],
            [message.site for message in packed],
            [message.epoch for message in packed],
            [message.value for message in packed],
        )
        try:
            async with controller_transaction(self._pool, lane, readonly=False) as connection:
                rows = await connection.fetch(QUERIES["put_into_inbox"], lane, *columns)
        except CANNOT_WRITE as error:
            raise StreamUnavailable(f"inbox: Postgres cannot store the events now ({type(error).__name__})") from error
        # Numbers were drawn in the order of the arrays; in which order RETURNING lists them is not promised.
        return sorted(row["seq"] for row in rows)


class InboxSource:
    """The Source over the inbox table. Any number of ledgers may read; each row is claimed by one.

    `_ahead` holds the numbers that reads handed out and no claim has taken; `_claimed` those of the last claim, whose
    transaction may still be open: a read must not hand out either again. Both are touched by the event loop only.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._ahead: set[int] = set()
        self._claimed: set[int] = set()

    async def start(self) -> None:
        await _answer(self._pool)

    async def read(self, most: int, wait_s: float) -> Batch | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while True:
            try:
                rows = await self._pool.fetch(QUERIES["read_inbox"], most, [*self._ahead, *self._claimed])
            except CANNOT_WRITE as error:
                raise StreamUnavailable(f"inbox: Postgres does not answer ({type(error).__name__})") from error
            if rows:
                self._ahead.update(row["seq"] for row in rows)
                return Batch([_received_of(row) for row in rows], {})
            left = deadline - loop.time()
            if left <= 0:
                return None
            await asyncio.sleep(min(POLL_S, left))

    async def claim(self, connection: PooledConnection, batch: Batch) -> Sequence[Received]:
        """Also ends the claim before it: transactions of one ledger follow each other."""
        copies = [received.copy for received in batch.received]
        rows = await connection.fetch(
            QUERIES["claim_inbox"], [copy.partition for copy in copies], [copy.seq for copy in copies]
        )
        taken = {row["seq"] for row in rows}
        # What another reader holds is ours again if it rolls back, so it leaves `_ahead` as well.
        self._ahead.difference_update(copy.seq for copy in copies)
        self._claimed = taken
        return [received for received in batch.received if received.copy.seq in taken]

    async def rewind(self) -> None:
        self._ahead.clear()
        self._claimed.clear()

    async def stop(self) -> None:
        """Rows are given back by forgetting them; the pool is the caller's."""
        await self.rewind()


def _received_of(row: asyncpg.Record) -> Received:
    controller, seq = row["controller"], row["seq"]
    message = Message(controller, row["log"], str(row["event_id"]), row["site"], row["epoch"], row["value"])
    return Received(Copy(INBOX, controller, seq), message)


async def _answer(pool: Pool) -> None:
    """Raise StreamUnavailable unless Postgres answers."""
    try:
        await pool.fetchval("SELECT 1")
    except CANNOT_WRITE as error:
        raise StreamUnavailable(f"inbox: Postgres does not answer ({type(error).__name__})") from error
