"""One batch, one transaction: the numbered steps of the design (section 3, Ledger).

Two ledgers on one log may take turns; never a fork, a duplicate, or a position moved back. The locks, in this order:
position or inbox rows, heads by (controller, log), subjects by id.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Final
from uuid import UUID

import asyncpg

from schemas.events import parse_time
from schemas.ranking import Decided, corrected_by, decided_by, is_unconfirmed
from schemas.topics import DeadLetterReason
from services.keys import ControllerKeys, content_mac
from services.ledger.acts import project_acts
from services.ledger.appending import Appending, Edge, LogId
from services.ledger.erasure.dockets import told_docket
from services.ledger.erasure.holding import Held
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.subject import Eraser, append_declarations, log_of
from services.ledger.figures import Figure, figures_of, put_figures
from services.ledger.links import put_links
from services.ledger.opening import ERASED, Opened, SetAside
from services.ledger.projection import project
from services.ledger.registry import Log
from services.ledger.rows import state_row
from services.ledger.store import Row
from services.ledger.subjects import Resolved, SubjectKey, SubjectVanished, resolve, unwrap
from services.ledger.writes import Writes
from services.postgres import PooledConnection
from services.stream.protocol import Batch, Source

# Errors after which the same batch is simply done again: another writer was faster, and now its rows can be seen.
DO_AGAIN: Final = (
    SubjectVanished,
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)
# Errors that one event's content may cause; the batch is then done again event by event to find it.
POISON: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)


@dataclass(slots=True)
class Counts:
    """What one committed batch did."""

    recorded: int = 0
    duplicates: int = 0
    # Events from before the erasure of somebody they name.
    dropped: int = 0
    erasures: int = 0
    # Erasures that a hold stopped.
    held: int = 0
    set_aside: list[DeadLetterReason] = field(default_factory=list)
    figures: Counter[Figure] = field(default_factory=Counter)


class Recording:
    """One recording transaction; made anew for each attempt, so that nothing of a rolled-back one is left."""

    def __init__(
        self,
        connection: PooledConnection,
        keys: ControllerKeys,
        event_id_key: bytes,
        edges: Mapping[LogId, Edge],
        signed_sizes: Mapping[str, int],
        eraser: Eraser,
        *,
        announce: bool,
    ) -> None:
        """`edges` are cached from committed batches; `signed_sizes` is the high-water mark by origin."""
        self._connection = connection
        self._appending = Appending(connection, keys, edges, signed_sizes, announce=announce)
        self._store = self._appending.store
        self._erasures = ErasureStore(connection)
        self._keys = keys
        self._event_id_key = event_id_key
        self._eraser = eraser
        self.counts = Counts()

    @property
    def edges(self) -> dict[LogId, Edge]:
        """The tree edges behind what this transaction appended; to be remembered once it is committed."""
        return self._appending.edges

    async def run(self, source: Source, batch: Batch, outcome: Sequence[Opened | SetAside], *, careful: bool) -> None:
        """Steps (2) to (7); step (1), reading and opening, ran ahead.

        With `careful`, each event is recorded under a savepoint of its own and set aside if the database refuses it.
        """
        async with self._connection.transaction():
            # (2) Take the batch and the heads. A position that moved, or rows another ledger deleted, end it here.
            taken = {received.copy for received in await source.claim(self._connection, batch)}
            ours = [o for o in outcome if o.received.copy in taken]
            events = [o for o in ours if isinstance(o, Opened)]
            await self._lock_heads(ours)
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

    async def _lock_heads(self, ours: Sequence[Opened | SetAside]) -> None:
        events = [o for o in ours if isinstance(o, Opened)]
        logs = {(o.log.controller, o.log.log): o.log for o in events}
        # A dead letter that names somebody waits for an erasure just as a record does.
        logs |= {(o.log.controller, o.log.log): o.log for o in ours if o.identifiers and o.log is not None}
        for controller in {o.log.controller for o in events if o.what["type"] == ERASED}:
            # A subject may have records in any log of the controller, and each of them will say what it lost.
            for row in await self._erasures.open_logs(controller):
                logs.setdefault((controller, row["log"]), log_of(row))
        await self._appending.lock_heads(logs.values())

    async def _record_carefully(self, opened: Opened) -> None:
        appending = self._appending
        edges, heads = dict(appending.edges), dict(appending.heads)
        counts = replace(self.counts, set_aside=list(self.counts.set_aside), figures=self.counts.figures.copy())
        try:
            async with self._connection.transaction():
                await self._record([opened])
        except POISON:
            appending.edges, appending.heads, self.counts = edges, heads, counts
            reason = DeadLetterReason.PARTS_INVALID
            await self._set_aside(_aside(opened, reason))

    async def _record(self, events: Sequence[Opened]) -> None:
        by_controller = sorted(events, key=lambda o: o.log.controller)
        for _, group in groupby(by_controller, key=lambda o: o.log.controller):
            await self._record_for_controller(list(group))

    async def _record_for_controller(self, events: list[Opened]) -> None:
        log = events[0].log
        # (3) Drop what is already recorded; same id with other content goes to the dead letters.
        fresh, to_project = await self._drop_known(log, events)
        asks = [o for o in fresh if o.what["type"] == ERASED]
        # (4) Resolve subjects, lock them, make keys.
        events_to_record, resolved = await self._resolve(log, [o for o in fresh if o.what["type"] != ERASED])
        async with Writes() as writes:
            self._appending.put_subjects(resolved, writes)
            # (5) and (6) Build and write.
            await self._appending.put_appends(events_to_record, resolved, writes)
            self._write_state(log.controller, events_to_record, resolved, writes)
            put_links(self._store, log.controller, events_to_record, resolved, writes)
            figures = figures_of(events_to_record)
            put_figures(self._store, log.controller, figures, writes)
        self.counts.figures.update(figures)
        self.counts.recorded += len(events_to_record)
        await project_acts(self._connection, log, events_to_record, resolved)
        for opened in await self._corrections(log, events_to_record, resolved):
            to_project.add(UUID(bytes=resolved.of(opened).subject))
        for opened in events_to_record:
            if (docket := told_docket(opened.what)) is not None:
                await self._erasures.told(log.controller, docket, opened.received_at)
        for ask in asks:
            await self._erase(ask)
        for subject in sorted(to_project):
            await project(self._store, self._keys, self._event_id_key, (log.controller, log.controller_name), subject)

    async def _corrections(self, log: Log, events: Sequence[Opened], resolved: Resolved) -> list[Opened]:
        """New records that change what others of their subject count for, or that one before them undoes.

        Looked for behind the subject's lock: a correction is either seen here, or sees the event it undoes.
        """
        corrections = [o for o in events if resolved.is_somebodys(o) and corrected_by(o.what) is not None]
        doubtful = {o.event: o for o in events if o.identifier is not None and o.decided and is_unconfirmed(o.what)}
        undone = await self._store.corrected_events(log.controller, list(doubtful)) if doubtful else set()
        return [*corrections, *(doubtful[event] for event in sorted(undone))]

    async def _resolve(self, log: Log, events: list[Opened]) -> tuple[list[Opened], Resolved]:
        """The events that are not too late, and their subjects. Raises SubjectVanished.

        Tombstones are looked at behind the subjects: of somebody who is erased meanwhile, by a replay that holds no
        heads, either the subject cannot be locked or the tombstone is seen.
        """
        while True:
            resolved = await resolve(self._store, self._keys, log, events)
            on_time = await self._drop_erased(log, events)
            if len(on_time) == len(events):
                return events, resolved
            events = on_time

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
        await self._set_aside(_aside(opened, DeadLetterReason.ID_CONFLICT))

    async def _drop_erased(self, log: Log, events: list[Opened]) -> list[Opened]:
        """Leave out acts from before the erasure of somebody they name: late, replayed and restored copies."""
        names = {name for opened in events for name in opened.identifiers}
        buried = await self._erasures.tombstones(log.controller, list(names)) if names else {}
        if not buried:
            return events
        late = {
            opened.event
            for opened in events
            for name in opened.identifiers
            if name in buried and _acted_at(opened) <= buried[name]
        }
        await self._erasures.name_dropped(log.controller, sorted(late), log.log)
        self.counts.dropped += len(late)
        return [opened for opened in events if opened.event not in late]

    async def _erase(self, ask: Opened) -> None:
        """Erase a subject; each log that held parts of it gets a record that says how many."""
        declarations = await self._eraser.erase(self._erasures, self._store, ask, self._appending.heads)
        if isinstance(declarations, Held):
            await self._say_held(declarations)
            return
        if not declarations:
            # Erased already, or never there: the same ask twice does no harm.
            await self._erasures.name_dropped(ask.log.controller, [ask.event], ask.log.log)
            self.counts.duplicates += 1
            return
        await append_declarations(self._appending, self._erasures, declarations)
        self.counts.recorded += len(declarations)
        self.counts.erasures += 1

    async def _say_held(self, held: Held) -> None:
        """A hold stopped an erasure: that stands in the log in its place."""
        resolved = await self._appending.write([held.record])
        await project_acts(self._connection, held.record.log, [held.record], resolved)
        self.counts.recorded += 1
        self.counts.held += 1

    def _write_state(self, controller: int, events: Sequence[Opened], resolved: Resolved, writes: Writes) -> None:
        """Fold this batch's answers, then COPY those of new subjects and put the others against what stands."""
        folded: dict[tuple[bytes, str, str], tuple[SubjectKey, Decided]] = {}
        for opened in events:
            if not resolved.is_somebodys(opened):
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

    async def _is_late(self, aside: SetAside) -> bool:
        """Whether it is from before the erasure of somebody it names: not even a dead letter is kept of it."""
        if not aside.identifiers or aside.log is None or aside.acted_at is None:
            return False
        buried = await self._erasures.tombstones(aside.log.controller, list(aside.identifiers))
        return any(aside.acted_at <= erased_at for erased_at in buried.values())

    async def _set_aside(self, aside: SetAside) -> None:
        if await self._is_late(aside):
            self.counts.dropped += 1
            return
        self.counts.set_aside.append(aside.reason)
        if aside.reason == DeadLetterReason.CONTROLLER_ERASED:
            return
        copy, message = aside.received.copy, aside.received.message
        log = site = epoch = None
        value = aside.received.raw
        if message is not None:
            log, site, epoch, value = message.log, message.site, message.epoch, message.value
        await self._store.set_aside(
            (
                0 if aside.log is None else aside.log.controller,
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


def _acted_at(opened: Opened) -> datetime:
    """When it was done, as an erasure sees it: a clock that is ahead does not save an act from before."""
    return min(parse_time(opened.what["time"]), opened.received_at)


def _aside(opened: Opened, reason: DeadLetterReason) -> SetAside:
    return SetAside(opened.received, reason, opened.log, opened.event, opened.identifiers, _acted_at(opened))
