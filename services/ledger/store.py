"""Every statement of the ledger, by name. Nothing here decides anything.

COPY puts in the rows that are new by construction; a row that turns out not to be (two ledgers, one controller, two
logs) raises asyncpg.UniqueViolationError, and the whole batch is done again with the other's rows in sight.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from schemas.ranking import Decided
from services.ledger.figures import Figure
from services.ledger.links import Act
from services.ledger.rows import copy_buffer
from services.postgres import Connection, PooledConnection, named_queries

SQL: Final = Path(__file__).parent / "sql" / "queries.sql"
LINKS_SQL: Final = SQL.parent / "links.sql"
FIGURES_SQL: Final = SQL.parent / "figures.sql"
Row = asyncpg.Record


class AgeSaid(NamedTuple):
    """What one record says of an age: its event's dedupe name, over or under, and when it came."""

    event: bytes
    is_over: bool
    stated_at: datetime


class Store:
    """The ledger's statements on one connection; the caller owns the transaction."""

    def __init__(self, connection: "Connection | PooledConnection") -> None:
        """`connection` has the role sayso_ledger."""
        self._connection = connection
        self._sql = {**named_queries(SQL), **named_queries(LINKS_SQL), **named_queries(FIGURES_SQL)}

    async def _fetch(self, name: str, *args: Any) -> list[Row]:
        return await self._connection.fetch(self._sql[name], *args)

    async def _row(self, name: str, *args: Any) -> Row | None:
        return await self._connection.fetchrow(self._sql[name], *args)

    async def _execute(self, name: str, *args: Any) -> int:
        """Run a statement; return how many rows it touched."""
        status = await self._connection.execute(self._sql[name], *args)
        return int(status.rpartition(" ")[2])

    # --- what the operator set up ---

    async def logs(self) -> list[Row]:
        """controller, controller_name, log, name, origin, vkey."""
        return await self._fetch("logs")

    async def sites(self) -> list[Row]:
        """controller, log, name."""
        return await self._fetch("sites")

    async def publishers(self) -> list[Row]:
        """publisher, public_key, types."""
        return await self._fetch("publishers")

    async def known_notices(self) -> list[Row]:
        """controller, notice."""
        return await self._fetch("known_notices")

    # --- recording ---

    async def lock_heads(self, logs: Sequence[tuple[int, int]]) -> list[Row]:
        """Lock and read the heads of these (controller, log); a log that is not open yet has no row."""
        return await self._fetch("lock_heads", [c for c, _ in logs], [log for _, log in logs])

    async def any_closed(self, logs: Sequence[tuple[int, int]]) -> bool:
        """Whether one of these (controller, log) takes no more records."""
        row = await self._row("any_closed", [c for c, _ in logs], [log for _, log in logs])
        return row is not None and bool(row["is_closed"])

    async def end_stalled_writers(self, application: str, seconds: int) -> int:
        """How many sessions of stalled ledgers were ended; in a transaction of its own."""
        async with self._connection.transaction():
            await self._connection.execute(self._sql["as_the_login"])
            row = await self._row("end_stalled_writers", application, seconds)
        return 0 if row is None else int(row["ended"])

    async def state_age(self, controller: int, subject: UUID, said: AgeSaid) -> None:
        """What a record says of somebody's age; the same record again changes nothing."""
        await self._execute("state_age", controller, subject, *said)

    async def clear_ages(self, controller: int, subject: UUID) -> None:
        """Before everything is said anew."""
        await self._execute("clear_ages", controller, subject)

    async def places_of(self, controller: int, events: Sequence[bytes]) -> list[Row]:
        """event, log, index of these events, in the order of their places."""
        return await self._fetch("places_of", controller, list(events))

    async def known_events(self, controller: int, events: Sequence[bytes]) -> list[Row]:
        """event, log, index, content, received_at, subject of those already recorded."""
        return await self._fetch("known_events", controller, events)

    async def known_identifiers(self, controller: int, identifiers: Sequence[bytes]) -> list[Row]:
        """identifier, subject."""
        return await self._fetch("known_identifiers", controller, identifiers)

    async def lock_subjects(self, controller: int, subjects: Sequence[UUID]) -> list[Row]:
        """subject, wrapped_key, key_epoch of those that still exist."""
        return await self._fetch("lock_subjects", controller, subjects)

    async def log_subject(self, controller: int, log: int) -> UUID | None:
        """The stand-in subject of a log."""
        row = await self._row("log_subject", controller, log)
        return None if row is None else UUID(int=row["subject"].int)

    async def copy_subjects(self, rows: Sequence[bytes]) -> None:
        """Rows of services.ledger.rows.subject_row."""
        await self._copy("subjects", ("controller", "subject", "wrapped_key", "key_epoch", "log"), rows)

    async def copy_identifiers(self, rows: Sequence[bytes]) -> None:
        """Rows of services.ledger.rows.identifier_row."""
        await self._copy("identifiers", ("controller", "identifier", "subject"), rows)

    async def copy_records(self, rows: Sequence[bytes]) -> None:
        """Rows of services.ledger.rows.record_row."""
        await self._copy("records", ("controller", "log", "index", "entry"), rows)

    async def copy_payloads(self, rows: Sequence[bytes]) -> None:
        """Rows of services.ledger.rows.payload_row."""
        columns = ("controller", "log", "index", "subject", "nonce", "who", "what", "context")
        await self._copy("payloads", columns, rows)

    async def copy_dedupe(self, rows: Sequence[bytes]) -> None:
        """Rows of services.ledger.rows.dedupe_row."""
        await self._copy("dedupe", ("controller", "event", "log", "index", "content", "received_at"), rows)

    async def copy_state(self, rows: Sequence[bytes]) -> None:
        """Rows of services.ledger.rows.state_row, of subjects without state."""
        columns = ("controller", "subject", "purpose", "legal_basis", "decision", "rank", "event")
        await self._copy("consent_state", columns, rows)

    async def _copy(self, table: str, columns: Sequence[str], rows: Sequence[bytes]) -> None:
        if not rows:
            return
        # A memoryview, because bytes would be taken for the path of a file.
        source: Any = memoryview(copy_buffer(rows))
        await self._connection.copy_to_table(table, source=source, columns=columns, format="binary")

    async def write_state(self, controller: int, state: Sequence[tuple[bytes, Decided]]) -> None:
        """Put each decision of a subject (the 16 bytes of its id) unless a higher one stands."""
        await self._execute(
            "write_state",
            controller,
            [subject.hex() for subject, _ in state],
            [d.purpose for _, d in state],
            [d.legal_basis for _, d in state],
            [d.decision for _, d in state],
            [d.rank for _, d in state],
            [d.event for _, d in state],
        )

    async def append(
        self,
        log: tuple[int, int],
        head: tuple[int, bytes, bytes, datetime],
        tiles: dict[tuple[int, int], bytes],
        announcement: tuple[str, str, bytes] | None,
    ) -> None:
        """Move the head of a log (controller, log) to size, root, prev, recorded_at.

        `tiles` is (level, tile) -> whole content so far; `announcement` is topic, key and value of what to publish.
        """
        levels, numbers = [level for level, _ in tiles], [tile for _, tile in tiles]
        topic, key, value = announcement or (None, None, None)
        await self._execute("append", *log, *head, levels, numbers, list(tiles.values()), topic, key, value)

    async def earlier_copy(self, controller: int, event: bytes, received_at: datetime) -> None:
        """Let the earliest copy rank."""
        await self._execute("earlier_copy", controller, event, received_at)

    async def set_aside(self, row: Sequence[Any]) -> None:
        """controller, reason, transport, partition, seq, log, site, event, identifiers, epoch, value."""
        await self._execute("set_aside", *row)

    async def expire_dead_letters(self) -> int:
        """How many were deleted."""
        return await self._execute("expire_dead_letters")

    # --- projection ---

    async def subject_payloads(self, controller: int, subject: UUID) -> list[Row]:
        """log, index, nonce, what, origin."""
        return await self._fetch("subject_payloads", controller, subject)

    async def received_times(self, controller: int, events: Sequence[bytes]) -> dict[bytes, datetime]:
        """Event name -> the received_at that ranks."""
        rows = await self._fetch("received_times", controller, events)
        return {row["event"]: row["received_at"] for row in rows}

    async def lock_subject(self, controller: int, subject: UUID) -> Row | None:
        """subject, wrapped_key, key_epoch, log (of a stand-in), locked for update."""
        return await self._row("lock_subject", controller, subject)

    async def subjects_after(self, controller: int, after: UUID | None, most: int) -> list[UUID]:
        """The next subject ids."""
        return [row["subject"] for row in await self._fetch("subjects_after", controller, after, most)]

    async def subject_key(self, controller: int, subject: UUID) -> Row | None:
        """wrapped_key, key_epoch."""
        return await self._row("subject_key", controller, subject)

    async def clear_state(self, controller: int, subject: UUID) -> None:
        """Delete one subject's projection."""
        await self._execute("clear_state", controller, subject)

    async def remember_corrected(self, controller: int, events: Sequence[bytes]) -> None:
        """Note the names of events that corrections undo."""
        await self._execute("remember_corrected", controller, events)

    async def corrected_events(self, controller: int, events: Sequence[bytes]) -> set[bytes]:
        """Those of these events that a correction undoes, whether or not they are recorded."""
        return {row["event"] for row in await self._fetch("corrected_events", controller, events)}

    # --- links ---

    async def write_links(self, controller: int, acts: Sequence[Act]) -> None:
        """Rows that are not there yet."""
        events, nths, strong, weak, states, times = zip(*acts, strict=True)
        await self._execute("write_links", controller, events, nths, strong, weak, states, times)

    async def void_links(self, controller: int, strong: UUID) -> set[tuple[bytes, int]]:
        """(event, nth) of those whose weaker subject was erased."""
        return {(row["event"], row["nth"]) for row in await self._fetch("void_links", controller, strong)}

    async def clear_links(self, controller: int, strong: UUID, but_events: Sequence[bytes]) -> None:
        """Delete the rows of one stronger subject, but for those of `but_events`."""
        await self._execute("clear_links", controller, strong, but_events)

    async def who_parts(
        self, controller: int, places: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], bytes | None]:
        """By place (log, index): the encrypted part, None if it was deleted."""
        logs, indexes = [log for log, _ in places], [index for _, index in places]
        rows = await self._fetch("who_parts", controller, logs, indexes)
        return {(row["log"], row["index"]): row["who"] for row in rows}

    async def named_subjects(
        self, controller: int, names: Sequence[bytes]
    ) -> dict[bytes, tuple[UUID, datetime | None]]:
        """By identifier name that leads to somebody: the subject, and until when acts count for nothing."""
        rows = await self._fetch("named_subjects", controller, names)
        return {row["identifier"]: (row["subject"], row["erased_at"]) for row in rows}

    # --- figures ---

    async def add_figures(self, controller: int, figures: "Sequence[tuple[Figure, int]]") -> None:
        """Add counts of acts to those that stand."""
        columns = zip(*((*figure, count) for figure, count in figures), strict=True)
        await self._execute("add_figures", controller, *(list(column) for column in columns))

    # --- logs, checkpoints and the high-water mark ---

    async def unopened_logs(self) -> list[Row]:
        """controller, controller_name, log, name, origin, vkey."""
        return await self._fetch("unopened_logs")

    async def publish_vkey(self, controller: int, log: int, vkey: str, reference: str) -> None:
        """Set once; a second ledger's attempt changes nothing. `reference` names the private key."""
        await self._execute("publish_vkey", controller, log, vkey, reference)

    async def vkey(self, controller: int, log: int) -> str | None:
        """The log's verifier key."""
        row = await self._row("vkey", controller, log)
        return None if row is None else str(row["vkey"])

    async def open_head(self, controller: int, log: int, root: bytes, prev: bytes) -> None:
        """The head of an empty log."""
        await self._execute("open_head", controller, log, root, prev)

    async def head(self, controller: int, log: int) -> Row | None:
        """size, root, prev, signed_size."""
        return await self._row("head", controller, log)

    async def head_by_origin(self, origin: str) -> Row | None:
        """controller, log, size."""
        return await self._row("head_by_origin", origin)

    async def heads_to_sign(self) -> list[Row]:
        """controller, log, name, origin, size, root, signed_size."""
        return await self._fetch("heads_to_sign")

    async def tiles(self, controller: int, log: int, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """The tiles named by (level, tile) that exist."""
        rows = await self._fetch("edge_tiles", controller, log, [level for level, _ in wanted], [t for _, t in wanted])
        return {(row["level"], row["tile"]): row["hashes"] for row in rows}

    async def entries(self, controller: int, log: int, first: int, end: int) -> list[Row]:
        """index, entry of [first, end)."""
        return await self._fetch("entries", controller, log, first, end)

    async def claim_signature(self, log: tuple[int, int], old: int | None, new: int, *, hold: bool) -> bool:
        """False if another ledger signed meanwhile. With `hold` the checkpoint is not shown yet."""
        return await self._execute("claim_signature", *log, old, new, hold) == 1

    async def show_checkpoint(self, controller: int, log: int, size: int) -> None:
        """Let a checkpoint that was held back be shown; never a smaller one than is."""
        await self._execute("show_checkpoint", controller, log, size)

    async def publish_checkpoint(self, controller: int, log: int, size: int, root: bytes, note: str) -> None:
        """Publish the signed note."""
        await self._execute("publish_checkpoint", controller, log, size, root, note)

    async def last_checkpoint(self, controller: int, log: int) -> Row | None:
        """size, root, note."""
        return await self._row("last_checkpoint", controller, log)

    async def high_water_id(self) -> UUID | None:
        """The high-water directory this database belongs to."""
        row = await self._row("high_water_id")
        return None if row is None else UUID(int=row["high_water_id"].int)

    async def adopt_high_water(self, high_water_id: UUID) -> None:
        """Only a database that has signed nothing may be bound."""
        await self._execute("adopt_high_water", high_water_id)

    async def signed_logs(self) -> dict[str, int]:
        """Origin -> size of the last checkpoint."""
        return {row["origin"]: row["signed_size"] for row in await self._fetch("signed_logs")}

    # --- outbox ---

    async def read_outbox(self, most: int) -> list[Row]:
        """controller, seq, topic, key, value; locked until the transaction ends."""
        return await self._fetch("read_outbox", most)

    async def empty_outbox(self, rows: Sequence[Row]) -> None:
        """Forget what was published."""
        await self._execute("empty_outbox", [row["controller"] for row in rows], [row["seq"] for row in rows])
