"""One batch, one transaction: the numbered steps of the design (section 3, Ledger).

Two ledgers on one log may take turns; never a fork, a duplicate, or a position moved back. The locks, in this order:
position or inbox rows, heads by (controller, log), subjects by id.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from schemas.errors import LedgerHalted
from schemas.ranking import Decided, decided_by
from schemas.topics import RECORDS_TOPIC, DeadLetterReason
from services.keys import ControllerKeys, content_mac
from services.ledger.chain import Chained, Head, chain
from services.ledger.opening import Opened, SetAside
from services.ledger.projection import project
from services.ledger.registry import Log
from services.ledger.rows import state_row
from services.ledger.store import Row, Store
from services.ledger.subjects import Resolved, SubjectKey, SubjectVanished, resolve, unwrap
from services.ledger.tree import TreeEdge, edge_tiles
from services.ledger.writes import Writes
from services.postgres import PooledConnection
from services.stream.protocol import Batch, Source

LogId = tuple[int, int]

# Events chained before the connection gets a turn to send what is written already.
CHAIN_AT_ONCE: Final = 64

# Errors after which the same batch is simply done again: another writer was faster, and now its rows can be seen.
DO_AGAIN: Final = (
    SubjectVanished,
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)
# Errors that one event's content may cause; the batch is then done again event by event to find it.
POISON: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)


class LogNotOpen(Exception):
    """A message for a log that has no head yet; open the logs and do the batch again."""


@dataclass(slots=True)
class Counts:
    """What one committed batch did."""

    recorded: int = 0
    duplicates: int = 0
    set_aside: list[DeadLetterReason] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Edge:
    """A cached tree edge with the root that the head must have for it to be used."""

    edge: TreeEdge
    root: bytes


class Recording:
    """One recording transaction; made anew for each attempt, so that nothing of a rolled-back one is left."""

    def __init__(
        self,
        connection: PooledConnection,
        keys: ControllerKeys,
        event_id_key: bytes,
        edges: Mapping[LogId, Edge],
        signed_sizes: Mapping[str, int],
        *,
        announce: bool,
    ) -> None:
        """`edges` are cached from committed batches; `signed_sizes` is the high-water mark by origin."""
        self._connection = connection
        self._store = Store(connection)
        self._keys = keys
        self._event_id_key = event_id_key
        self._signed_sizes = signed_sizes
        self._announce = announce
        self._heads: dict[LogId, Head] = {}
        self.edges: dict[LogId, Edge] = dict(edges)
        self.counts = Counts()

    async def run(self, source: Source, batch: Batch, outcome: Sequence[Opened | SetAside], *, careful: bool) -> None:
        """Steps (2) to (7); step (1), reading and opening, ran ahead.

        With `careful`, each event is recorded under a savepoint of its own and set aside if the database refuses it.
        """
        async with self._connection.transaction():
            # (2) Take the batch and the heads. A position that moved, or rows another ledger deleted, end it here.
            taken = {received.copy for received in await source.claim(self._connection, batch)}
            ours = [o for o in outcome if o.received.copy in taken]
            events = [o for o in ours if isinstance(o, Opened)]
            await self._lock_heads(events)
            if careful:
                for opened in events:
                    await self._record_carefully(opened)
            else:
                await self._record(events)
            for aside in ours:
                if isinstance(aside, SetAside):
                    await self._set_aside(aside)
            # (7) Commit. A crash before: nothing happened, the batch is read again. A crash after: recorded, and the
            # position or the deleted inbox rows say so; the checkpoint follows from whichever ledger runs next.

    async def _lock_heads(self, events: Sequence[Opened]) -> None:
        logs = {(o.log.controller, o.log.log): o.log for o in events}
        if not logs:
            return
        for row in await self._store.lock_heads(sorted(logs)):
            key = row["controller"], row["log"]
            if row["size"] < self._signed_sizes.get(logs[key].origin, 0):
                raise LedgerHalted(
                    f"log {logs[key].name} has {row['size']} records, but more were signed: the database was restored "
                    "or failed over to a lagging copy; see docs/operations.md, 'The ledger halted'"
                )
            self._heads[key] = Head(row["size"], row["prev"], row["recorded_at"])
            cached = self.edges.get(key)
            # The fence: somebody else appended since, so what we remember of the tree is void.
            if cached is None or cached.edge.size != row["size"] or cached.root != row["root"]:
                self.edges[key] = await self._load_edge(key, row)
        if len(self._heads) < len(logs):
            raise LogNotOpen

    async def _load_edge(self, key: LogId, head: Row) -> Edge:
        wanted = [(level, tile) for level, tile, _ in edge_tiles(head["size"])]
        edge = TreeEdge.from_tiles(head["size"], await self._store.tiles(*key, wanted))
        if edge.root() != head["root"]:
            raise LedgerHalted("the stored tiles do not make the root in the head of a log: run sayso fsck")
        return Edge(edge, head["root"])

    async def _record_carefully(self, opened: Opened) -> None:
        edges, heads = dict(self.edges), dict(self._heads)
        counts = Counts(self.counts.recorded, self.counts.duplicates, list(self.counts.set_aside))
        try:
            async with self._connection.transaction():
                await self._record([opened])
        except POISON:
            self.edges, self._heads, self.counts = edges, heads, counts
            reason = DeadLetterReason.PARTS_INVALID
            await self._set_aside(SetAside(opened.received, reason, opened.log.controller, opened.event))

    async def _record(self, events: Sequence[Opened]) -> None:
        by_controller = sorted(events, key=lambda o: o.log.controller)
        for _, group in groupby(by_controller, key=lambda o: o.log.controller):
            await self._record_for_controller(list(group))

    async def _record_for_controller(self, events: list[Opened]) -> None:
        log = events[0].log
        # (3) Drop what is already recorded; same id with other content goes to the dead letters.
        fresh, to_project = await self._drop_known(log, events)
        # (4) Resolve subjects, lock them, make keys.
        resolved = await resolve(self._store, self._keys, log, fresh)
        async with Writes() as writes:
            writes.put(lambda: self._store.copy_subjects(resolved.new_subjects))
            writes.put(lambda: self._store.copy_identifiers(resolved.new_identifiers))
            # (5) and (6) Build and write, log by log: the chain is the log's, the subjects are the controller's.
            by_log = sorted(fresh, key=lambda o: o.log.log)
            for _, group in groupby(by_log, key=lambda o: o.log.log):
                await self._append(list(group), resolved, writes)
            self._write_state(log.controller, fresh, resolved, writes)
        for subject in sorted(to_project):
            await project(self._store, self._keys, self._event_id_key, (log.controller, log.controller_name), subject)

    async def _drop_known(self, log: Log, events: Sequence[Opened]) -> tuple[list[Opened], set[UUID]]:
        """Return the events that are new, and the subjects whose state an earlier copy changes."""
        first: dict[bytes, Opened] = {}
        for opened in events:
            standing = first.setdefault(opened.event, opened)
            if standing is opened:
                continue
            if standing.content != opened.content:
                await self._conflict(opened)
                continue
            self.counts.duplicates += 1
            if opened.received_at < standing.received_at:
                standing.received_at = opened.received_at
                standing.decided = decided_by(standing.what, standing.received_at, standing.event)
        to_project = set()
        for row in await self._store.known_events(log.controller, list(first)):
            opened = first.pop(row["event"])
            if row["content"] is not None and row["subject"] is not None:
                subject: UUID = row["subject"]
                if not await self._same_content(log, row, opened):
                    await self._conflict(opened)
                    continue
                if opened.received_at < row["received_at"]:
                    await self._store.earlier_copy(log.controller, opened.event, opened.received_at)
                    to_project.add(subject)
            # Without content the person was erased: the id is remembered, what it said is not.
            self.counts.duplicates += 1
        return list(first.values()), to_project

    async def _same_content(self, log: Log, known: Row, opened: Opened) -> bool:
        key = await self._store.subject_key(log.controller, known["subject"])
        if key is None:
            raise SubjectVanished
        remembered: bytes = known["content"]
        return content_mac(unwrap(self._keys, log.controller_name, key), opened.content) == remembered

    async def _conflict(self, opened: Opened) -> None:
        reason = DeadLetterReason.ID_CONFLICT
        await self._set_aside(
            SetAside(opened.received, reason, opened.log.controller, opened.event, opened.identifiers)
        )

    async def _append(self, events: list[Opened], resolved: Resolved, writes: Writes) -> None:
        log, store = events[0].log, self._store
        key = log.controller, log.log
        standing, now = self._heads[key], datetime.now(UTC)
        chained = Chained(Head(standing.size, standing.prev, standing.recorded_at))
        for start in range(0, len(events), CHAIN_AT_ONCE):
            # Let the writes go on.
            await asyncio.sleep(0)
            chain(log, chained, [(o, resolved.of(o)) for o in events[start : start + CHAIN_AT_ONCE]], now)
        appended = self.edges[key].edge.append(chained.leaves)
        head = chained.head
        writes.put(lambda: store.copy_records(chained.records))
        writes.put(lambda: store.copy_payloads(chained.payloads))
        writes.put(lambda: store.copy_dedupe(chained.dedupe))
        moved = head.size, appended.root, head.prev, head.recorded_at
        announcement = (RECORDS_TOPIC, log.name, _places(log, standing.size, events)) if self._announce else None
        writes.put(lambda: store.append(key, moved, appended.tiles, announcement))
        await asyncio.sleep(0)
        self._heads[key] = head
        self.edges[key] = Edge(appended.edge, appended.root)
        self.counts.recorded += len(events)

    def _write_state(self, controller: int, events: Sequence[Opened], resolved: Resolved, writes: Writes) -> None:
        """Fold this batch's answers, then COPY those of new subjects and put the others against what stands."""
        folded: dict[tuple[bytes, str, str], tuple[SubjectKey, Decided]] = {}
        for opened in events:
            if opened.identifier is None:
                continue
            subject = resolved.of(opened)
            for answer in opened.decided:
                key = subject.subject, answer.purpose, answer.legal_basis
                standing = folded.get(key)
                if standing is None or answer.order > standing[1].order:
                    folded[key] = subject, answer
        rows: list[bytes] = []
        known: list[tuple[bytes, Decided]] = []
        for subject, answer in folded.values():
            if subject.is_new:
                texts = answer.purpose, answer.legal_basis, answer.decision
                rows.append(state_row(controller, subject.subject, texts, answer.rank, answer.event))
            else:
                known.append((subject.subject, answer))
        writes.put(lambda: self._store.copy_state(rows))
        if known:
            known.sort(key=lambda item: (item[0], item[1].purpose, item[1].legal_basis))
            writes.put(lambda: self._store.write_state(controller, known))

    async def _set_aside(self, aside: SetAside) -> None:
        copy, message = aside.received.copy, aside.received.message
        log = site = epoch = None
        value = aside.received.raw
        if message is not None:
            log, site, epoch, value = message.log, message.site, message.epoch, message.value
        await self._store.set_aside(
            (
                aside.controller,
                aside.reason,
                copy.transport,
                copy.partition,
                copy.seq,
                log,
                site,
                aside.event,
                list(aside.identifiers),
                epoch,
                value,
            )
        )
        self.counts.set_aside.append(aside.reason)


def _places(log: Log, first: int, events: Sequence[Opened]) -> bytes:
    """The message on sayso.records.v1: which event went where."""
    places = [{"id": opened.what["id"], "index": index} for index, opened in enumerate(events, first)]
    return orjson.dumps({"log": log.origin, "events": places})
