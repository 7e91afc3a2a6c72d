"""What becomes of triggers: sent, answered, overdue; each is a record in the controller's log and a change of its row.

Invariant: with an answer goes what the system found the person by, and with the last one, once the person was told, the
docket. Locks in this order: the log's head, dockets, triggers, deliveries.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from services.keys import ControllerKeys
from services.ledger.appending import Appending, Edge, LogClosed, LogId, LogNotOpen
from services.ledger.downstream.triggers import QUERIES, trigger_members
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.subject import log_of
from services.ledger.high_water import HighWater
from services.ledger.opening import Opened
from services.ledger.own_records import own_record
from services.ledger.registry import Log
from services.ledger.store import Row
from services.ledger.subjects import SubjectVanished
from services.postgres import Connection, Pool, PooledConnection

SENT: Final = "trigger.sent"
ANSWERED: Final = "trigger.answered"
OVERDUE: Final = "overdue"
# What `note` may raise when others write at the same time; it is simply done again.
BUSY: Final = (
    LogNotOpen,
    LogClosed,
    SubjectVanished,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.UniqueViolationError,
)


class Failed(NamedTuple):
    """A delivery that was not taken: when to try again, what it answered, since when it is given up."""

    delivery: UUID
    next_at: datetime
    status: int | None
    dead_at: datetime | None


class Said(NamedTuple):
    """An outcome with its reason; besides what systems answer, `overdue`."""

    outcome: str
    reason: str | None


@dataclass(slots=True)
class Noted:
    """What came of some deliveries of one controller."""

    # Ids of deliveries that were taken.
    taken: list[UUID] = field(default_factory=list)
    # Triggers that were taken, and what was answered at once.
    sent: list[UUID] = field(default_factory=list)
    said: dict[UUID, Said] = field(default_factory=dict)
    failed: list[Failed] = field(default_factory=list)


@dataclass(slots=True)
class Noting:
    """Writes down what came of deliveries, as one ledger process."""

    pool: Pool
    keys: ControllerKeys
    event_id_key: bytes
    high_water: HighWater
    announce: bool
    # Of committed transactions; only a cache, checked against the head each time.
    edges: dict[LogId, Edge] = field(default_factory=dict)

    async def note(self, controller: int, noted: Noted, now: datetime) -> None:
        """One transaction. Raises LedgerHalted, and what stands in BUSY.

        1. Lock the head of the log that says so; 2. lock the dockets and triggers; 3. append a record for each that is
        news; 4. change the rows; 5. close dockets; 6. commit. A crash before leaves the deliveries leased: they are
        sent again, under the same ids.
        """
        triggers = sorted({*noted.sent, *noted.said})
        async with self.pool.acquire() as connection, connection.transaction():
            if triggers:
                await self._note_triggers(connection, controller, triggers, noted, now)
            if noted.taken:
                await connection.execute(QUERIES["taken"], controller, noted.taken, now)
            for failed in noted.failed:
                await connection.execute(QUERIES["failed"], controller, *failed)

    async def _note_triggers(
        self, connection: PooledConnection, controller: int, triggers: Sequence[UUID], noted: Noted, now: datetime
    ) -> None:
        appending = Appending(connection, self.keys, self.edges, self.high_water.sizes(), announce=self.announce)
        log = await _log_of_triggers(connection, controller)
        if log is not None:
            await appending.lock_heads([log])
        rows, dockets = await _lock(connection, controller, triggers)
        records = [] if log is None else [r for row in rows for r in self._news(log, row, noted, now)]
        if records:
            await appending.write(records)
        await connection.execute(QUERIES["sent"], controller, noted.sent, now)
        for trigger, said in noted.said.items():
            await connection.execute(QUERIES["answer"], controller, trigger, now, said.outcome, said.reason)
        await ErasureStore(connection).close_answered_dockets(controller, dockets, now)
        self.edges = appending.edges

    def _news(self, log: Log, row: Row, noted: Noted, now: datetime) -> list[Opened]:
        """The records about one trigger, as it stands behind its lock."""
        found = []
        about = trigger_members(row)
        if row["trigger"] in noted.sent and row["sent_at"] is None:
            found.append(own_record(log, self.event_id_key, SENT, {"trigger": about}, now))
        said = noted.said.get(row["trigger"])
        if said is not None and _is_news(row, said):
            stated = about | {"outcome": said.outcome} | ({} if said.reason is None else {"reason": said.reason})
            found.append(own_record(log, self.event_id_key, ANSWERED, {"trigger": stated}, now))
        return found


async def answer_trigger(
    connection: Connection | PooledConnection, controller: int, trigger: UUID, said: Said, now: datetime
) -> None:
    """Apply an answer that is recorded already, in the caller's transaction; a second answer changes nothing."""
    _, dockets = await _lock(connection, controller, [trigger])
    await connection.execute(QUERIES["answer"], controller, trigger, now, said.outcome, said.reason)
    await ErasureStore(connection).close_answered_dockets(controller, dockets, now)


def _is_news(row: Row, said: Said) -> bool:
    """The first answer counts; one after it was overdue is better than none."""
    return row["answered_at"] is None or (row["outcome"] == OVERDUE and said.outcome != OVERDUE)


async def _lock(
    connection: Connection | PooledConnection, controller: int, triggers: Sequence[UUID]
) -> tuple[list[Row], list[int]]:
    """The triggers as they stand, and their dockets; of two answers about one docket one waits for the other."""
    dockets = [row["docket"] for row in await connection.fetch(QUERIES["dockets_of"], controller, triggers)]
    await connection.fetch(QUERIES["lock_dockets"], controller, dockets)
    return await connection.fetch(QUERIES["lock_triggers"], controller, triggers), dockets


async def _log_of_triggers(connection: PooledConnection, controller: int) -> Log | None:
    """None while the controller has no log that takes records: then the rows alone say it."""
    row = await connection.fetchrow(QUERIES["log_for_triggers"], controller)
    return None if row is None else log_of(row)
