"""The loop of one source: read and open the next batch while the last one commits; record; go back when it did not.

Works at its own pace: a source that delivers faster waits. One recorder a source; the recorders of one process share
the tree edges, whose truth the head's row lock decides.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from schemas.errors import PositionInvalid, PositionMoved, StreamUnavailable
from services.keys import ControllerKeys
from services.ledger.appending import Edge, LogClosed, LogId, LogNotOpen
from services.ledger.batch import DO_AGAIN, POISON, Counts, Recording
from services.ledger.erasure.subject import Eraser
from services.ledger.high_water import HighWater
from services.ledger.metrics import LedgerMetrics
from services.ledger.opening import Opened, Opener, SetAside
from services.ledger.store import Store
from services.observability import describe, get_logger
from services.postgres import DATABASE_AWAY, Pool
from services.stream.protocol import Batch, Source

APPLICATION: Final = "sayso-ledger"
# How long a ledger may hold the heads without doing anything before another one ends its session.
STALLED_S: Final = 10
READ_WAIT_S: Final = 0.5
PAUSE_S: Final = 0.5
# Prepared batches that wait for the one in its transaction; one more is being prepared or waits for room.
AHEAD: Final = 1
ATTEMPTS_MAX: Final = 20

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch and what became of its messages when they were opened, in the same order."""

    batch: Batch
    outcome: Sequence[Opened | SetAside]


@dataclass(frozen=True, slots=True)
class Writing:
    """What every recorder of a process shares."""

    pool: Pool
    opener: Opener
    keys: ControllerKeys
    event_id_key: bytes
    open_logs: Callable[[], Awaitable[None]]
    high_water: HighWater
    eraser: Eraser
    metrics: LedgerMetrics
    edges: dict[LogId, Edge]
    batch_events_max: int
    announce: bool


class Recorder:
    """Records what one source delivers."""

    def __init__(self, source: Source, writing: Writing) -> None:
        """`source` is started; nobody else reads it."""
        self._source = source
        self._writing = writing

    async def run(self, stopping: Callable[[], bool]) -> None:
        """Record until `stopping`. Raises LedgerHalted.

        While one batch is in its transaction, the next ones are read and opened: that is most of the work of all.
        """
        while not stopping():
            ahead: asyncio.Queue[Prepared] = asyncio.Queue(AHEAD)
            preparing = asyncio.create_task(self._prepare_ahead(ahead))
            try:
                await self._record_all(ahead, preparing, stopping)
            finally:
                preparing.cancel()
                await asyncio.gather(preparing, return_exceptions=True)
            if not stopping():
                # One did not commit: what was read ahead is forgotten, and we start again from what the database says.
                await self._go_back()

    async def _record_all(
        self, ahead: "asyncio.Queue[Prepared]", preparing: "asyncio.Task[None]", stopping: Callable[[], bool]
    ) -> None:
        """Record what is prepared, until one does not commit."""
        while not stopping():
            if preparing.done():
                preparing.result()
            try:
                async with asyncio.timeout(READ_WAIT_S):
                    prepared = await ahead.get()
            except TimeoutError:
                continue
            ahead.task_done()
            recorded = await self._record(prepared)
            # An idle ledger must not hold the people of its last batch until the next one comes.
            del prepared
            if not recorded:
                return

    async def _prepare_ahead(self, ahead: "asyncio.Queue[Prepared]") -> None:
        """Prepare batch after batch, as long as there is room for them."""
        while True:
            prepared = await self._prepare()
            if prepared is None:
                continue
            is_all = len(prepared.batch.received) < self._writing.batch_events_max
            await ahead.put(prepared)
            del prepared  # as above
            if is_all:
                # All that there was: what comes meanwhile makes one batch, not several that wait for each other.
                await ahead.join()

    async def _prepare(self) -> Prepared | None:
        """Step (1) of the batch transaction: read, then open."""
        try:
            batch = await self._source.read(self._writing.batch_events_max, READ_WAIT_S)
            if batch is None:
                return None
            return Prepared(batch, await self._writing.opener.open_all(batch.received))
        except PositionInvalid as error:
            # That partition is stopped and shown as such; the others go on.
            _log.error("A partition is stopped: its position is not valid. See docs/operations.md.", **describe(error))
            self._writing.metrics.partitions_stopped.inc()
            return None
        except (StreamUnavailable, *DATABASE_AWAY) as error:
            _log.warning("The stream or the database is away; trying again.", **describe(error))
            await asyncio.sleep(PAUSE_S)
            return None

    async def _record(self, prepared: Prepared) -> bool:
        """Record one batch, again and again while other writers get in the way. False: go back and read again."""
        careful = False
        for attempt in range(ATTEMPTS_MAX):
            try:
                counts = await self._attempt(prepared, careful=careful)
            except PositionMoved:
                return False
            except LogNotOpen:
                await self._writing.open_logs()
            except LogClosed:
                # A successor took over, or the controller was erased, since the registry was read.
                await self._writing.opener.look_again()
                return False
            except DO_AGAIN as error:
                # A unique violation that stays is an event's own doing: find it under savepoints.
                careful = careful or (isinstance(error, asyncpg.UniqueViolationError) and attempt > ATTEMPTS_MAX // 2)
            except asyncpg.LockNotAvailableError:
                await self._end_stalled_writers()
            except POISON:
                careful = True
            except DATABASE_AWAY as error:
                _log.warning("The database went away in a batch; nothing of it was recorded.", **describe(error))
                await asyncio.sleep(PAUSE_S)
                return False
            else:
                self._writing.metrics.count(counts)
                return True
        return False

    async def _attempt(self, prepared: Prepared, *, careful: bool) -> Counts:
        writing = self._writing
        with writing.metrics.batch_seconds.time():
            async with writing.pool.acquire() as connection:
                recording = Recording(
                    connection,
                    writing.keys,
                    writing.event_id_key,
                    writing.edges,
                    writing.high_water.sizes(),
                    writing.eraser,
                    announce=writing.announce,
                )
                await recording.run(self._source, prepared.batch, prepared.outcome, careful=careful)
        # Only a committed batch's edges are remembered.
        writing.edges.update(recording.edges)
        return recording.counts

    async def _end_stalled_writers(self) -> None:
        """Another ledger has held our locks for STALLED_S: if its process is silent, end its sessions."""
        async with self._writing.pool.acquire() as connection:
            ended = await Store(connection).end_stalled_writers(APPLICATION, STALLED_S)
        _log.warning("Waited long for another ledger's locks; ended its silent sessions.", count=ended)

    async def _go_back(self) -> None:
        while True:
            try:
                await self._source.rewind()
            except (StreamUnavailable, *DATABASE_AWAY) as error:
                _log.warning("Cannot go back to the stored positions yet; trying again.", **describe(error))
                await asyncio.sleep(PAUSE_S)
            else:
                return
