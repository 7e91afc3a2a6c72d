"""Every read of fsck by name, on one connection inside one read-only snapshot. Nothing here decides anything.

Reads may be asked for at the same time: they take turns.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

from schemas.tiles import TILE_WIDTH
from services.ledger.store import Row, Store
from services.postgres import Connection, named_queries

_SQL: Final = named_queries(Path(__file__).parents[1] / "sql" / "fsck.sql")
ROWS_AT_A_TIME: Final = 1000


@dataclass(frozen=True, slots=True)
class SeenLog:
    """A log and its head as the snapshot has them; the head's columns are None if there is no head."""

    controller: int
    controller_name: str
    log: int
    name: str
    origin: str
    vkey: str | None
    size: int | None
    root: bytes | None
    prev: bytes | None
    recorded_at: datetime | None
    signed_size: int | None
    published_size: int | None
    closed_at: datetime | None
    # A successor log: the origin of the log it follows, and that log's last known size and root.
    follows_origin: str | None
    follows_size: int | None
    follows_root: bytes | None


class Signed(NamedTuple):
    """One row of checkpoints."""

    size: int
    root: bytes
    note: str


class Chunk(NamedTuple):
    """A run of a log. `lines`: the entries, joined by newlines; `first` and `last`: the least and greatest index."""

    records: int
    first: int | None
    last: int | None
    lines: bytes
    tiles: dict[tuple[int, int], bytes]
    checkpoints: list[Signed]


class Snapshot:
    """Reads of one moment."""

    def __init__(self, connection: Connection) -> None:
        """Use `Snapshot.of`, which opens the transaction."""
        self._connection = connection
        self._turn = asyncio.Lock()
        self._store = Store(connection)

    @classmethod
    @asynccontextmanager
    async def of(cls, connection: Connection) -> AsyncIterator["Snapshot"]:
        """A snapshot that lasts as long as the block; it holds no lock that stops a writer."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield cls(connection)

    async def _fetch(self, statement: str, *args: Any) -> list[Row]:
        async with self._turn:
            return await self._connection.fetch(statement, *args)

    async def entries(self, log: SeenLog, first: int, end: int) -> list[Row]:
        """index, entry of [first, end)."""
        async with self._turn:
            return await self._store.entries(log.controller, log.log, first, end)

    async def tiles(self, log: SeenLog, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """The tiles named by (level, tile) that exist."""
        async with self._turn:
            return await self._store.tiles(log.controller, log.log, wanted)

    async def chunk(self, log: SeenLog, first: int, end: int) -> Chunk:
        """Entries and checkpoints' sizes of [first, end) and (first, end], and the level-0 tiles that hold them."""
        tiles = first // TILE_WIDTH, -(-end // TILE_WIDTH)
        (row,) = await self._fetch(_SQL["chunk"], log.controller, log.log, first, end, *tiles)
        hashes = {(0, number): tile for number, tile in zip(row["numbers"] or (), row["hashes"] or (), strict=True)}
        signed = zip(row["sizes"] or (), row["roots"] or (), row["notes"] or (), strict=True)
        return Chunk(
            row["records"], row["first"], row["last"], row["lines"] or b"", hashes, [Signed(*one) for one in signed]
        )

    async def log(self, controller: int, log: int) -> SeenLog | None:
        """None if the log is gone."""
        rows = await self._fetch(_SQL["log"], controller, log)
        return SeenLog(**dict(rows[0])) if rows else None

    async def ends(self, log: SeenLog) -> Row:
        """first_record, last_record, last_tile, last_width; each None if there is none."""
        (row,) = await self._fetch(_SQL["ends"], log.controller, log.log)
        return row

    async def tiles_outside(self, log: SeenLog, tiles: Sequence[int]) -> list[Row]:
        """level, tile of stored tiles beyond `tiles`, the number of tiles that each level may have."""
        return await self._fetch(_SQL["tiles_outside"], log.controller, log.log, list(range(len(tiles))), tiles)

    async def checkpoints(self, log: SeenLog, low: int, high: int) -> list[Signed]:
        """Those with low < size <= high."""
        return [Signed(*row) for row in await self._fetch(_SQL["checkpoints"], log.controller, log.log, low, high)]

    async def largest_checkpoint(self, log: SeenLog) -> int | None:
        """Its size."""
        (row,) = await self._fetch(_SQL["largest_checkpoint"], log.controller, log.log)
        size: int | None = row["size"]
        return size

    async def high_water_id(self) -> UUID | None:
        """The id of the directory that the database is bound to."""
        rows = await self._fetch(_SQL["high_water_id"])
        return UUID(int=rows[0]["high_water_id"].int) if rows else None

    async def payloads(self, log: SeenLog, first: int, end: int) -> dict[int, Row]:
        """By index: subject, nonce, the three parts and their stored digests."""
        rows = await self._fetch(_SQL["payloads"], log.controller, log.log, first, end)
        return {row["index"]: row for row in rows}

    async def payloads_outside(self, log: SeenLog, end: int) -> list[int]:
        """Indexes below 0 or from `end` on."""
        return [row["index"] for row in await self._fetch(_SQL["payloads_outside"], log.controller, log.log, end)]

    async def subject_keys(self, controller: int, subjects: Collection[UUID]) -> list[Row]:
        """subject, wrapped_key, key_epoch."""
        return await self._fetch(_SQL["subject_keys"], controller, list(subjects))

    async def dedupe_of(self, controller: int, events: Collection[bytes]) -> dict[bytes, Row]:
        """By event: log, index, is_erased, received_at."""
        rows = await self._fetch(_SQL["dedupe_of"], controller, list(events))
        return {row["event"]: row for row in rows}

    async def dedupe_disagrees(self, log: SeenLog) -> list[Row]:
        """index, no_record, names."""
        return await self._fetch(_SQL["dedupe_disagrees"], log.controller, log.log)

    async def sites(self, controller: int) -> frozenset[str]:
        """Names."""
        return frozenset(row["name"] for row in await self._fetch(_SQL["sites"], controller))

    async def notices(self, controller: int) -> list[Row]:
        """notice, site, language, content."""
        return await self._fetch(_SQL["notices"], controller)

    async def notice_matches(self, controller: int) -> list[Row]:
        """shown, is_published."""
        return await self._fetch(_SQL["notice_matches"], controller)

    async def known_notices(self, controller: int) -> frozenset[str]:
        """Hashes in hex that an entry may name."""
        published = [row["notice"].hex() for row in await self.notices(controller)]
        return frozenset([*published, *(row["shown"].hex() for row in await self.notice_matches(controller))])

    async def count_subjects(self, controller: int) -> int:
        """Stand-ins included."""
        (row,) = await self._fetch(_SQL["count_subjects"], controller)
        return int(row["subjects"])

    async def subject_page(self, controller: int, after: UUID | None, most: int) -> list[Row]:
        """subject, wrapped_key, key_epoch, log."""
        return await self._fetch(_SQL["subject_page"], controller, after, most)

    async def subject_parts(self, controller: int, subjects: Collection[UUID]) -> AsyncIterator[list[Row]]:
        """subject, index, nonce, who, what, origin; some rows at a time, because one subject may have many records."""
        cursor = await self._connection.cursor(_SQL["subject_parts"], controller, list(subjects))
        while rows := await cursor.fetch(ROWS_AT_A_TIME):
            yield rows

    async def state_of(self, controller: int, subjects: Collection[UUID]) -> list[Row]:
        """subject, purpose, legal_basis, decision, rank, event."""
        return await self._fetch(_SQL["state_of"], controller, list(subjects))

    async def ages_of(self, controller: int, subjects: Collection[UUID]) -> list[Row]:
        """subject, event, is_over, stated_at."""
        return await self._fetch(_SQL["ages_of"], controller, list(subjects))

    async def identifiers_of(self, controller: int, subjects: Collection[UUID]) -> list[Row]:
        """subject, identifier."""
        return await self._fetch(_SQL["identifiers_of"], controller, list(subjects))

    async def stray_state(self, controller: int) -> list[UUID]:
        """Subjects with state that do not exist."""
        return [row["subject"] for row in await self._fetch(_SQL["stray_state"], controller)]

    async def stray_identifiers(self, controller: int) -> list[UUID]:
        """Subjects with identifiers that do not exist."""
        return [row["subject"] for row in await self._fetch(_SQL["stray_identifiers"], controller)]

    async def links_of(self, controller: int, subjects: Collection[UUID]) -> list[Row]:
        """event, nth, strong, weak, state, acted_at of links to these stronger subjects."""
        return await self._fetch(_SQL["links_of"], controller, list(subjects))

    async def linked_weak(self, controller: int, subjects: Collection[UUID]) -> set[UUID]:
        """Which of these are linked to somebody."""
        return {row["weak"] for row in await self._fetch(_SQL["linked_weak"], controller, list(subjects))}

    async def named_subjects(self, controller: int, names: Collection[bytes]) -> dict[bytes, UUID]:
        """By identifier name: whom it leads to."""
        async with self._turn:
            led_to = await self._store.named_subjects(controller, list(names))
        return {name: subject for name, (subject, _) in led_to.items()}

    async def has_erased(self, controller: int) -> bool:
        """Whether any subject was."""
        (row,) = await self._fetch(_SQL["has_erased"], controller)
        return bool(row["has_erased"])

    async def stray_links(self, controller: int) -> list[UUID]:
        """Stronger subjects of links that do not exist."""
        return [row["strong"] for row in await self._fetch(_SQL["stray_links"], controller)]

    async def dedupe_remembers(self, log: SeenLog) -> list[Row]:
        """event, index, has_content, has_time of events that it knows more or less of than it may."""
        return await self._fetch(_SQL["dedupe_remembers"], log.controller, log.log)

    # --- erasure ---

    async def stated_parts(self, log: SeenLog) -> dict[int, Row]:
        """By index of this log's entries: who, what, context, numbers that erased_parts says the entry states."""
        rows = await self._fetch(_SQL["stated_parts"], log.controller, log.log)
        return {row["index"]: row for row in rows if row["index"] is not None}

    async def erased_parts(self, log: SeenLog) -> list[Row]:
        """number, who, what, context, declared_log, declared_index of what was deleted of this log."""
        return await self._fetch(_SQL["erased_parts"], log.controller, log.log)

    async def minimal_proofs(self, log: SeenLog, first: int, end: int) -> dict[int, Row]:
        """By index: nonce, what, who_digest, context_digest, has_erasure."""
        rows = await self._fetch(_SQL["minimal_proofs"], log.controller, log.log, first, end)
        return {row["index"]: row for row in rows}

    async def minimal_proofs_outside(self, log: SeenLog, end: int) -> list[int]:
        """Indexes below 0 or from `end` on."""
        return [row["index"] for row in await self._fetch(_SQL["minimal_proofs_outside"], log.controller, log.log, end)]

    async def payload_basis(self, controller: int) -> list[int | None]:
        """What, besides the records, payloads are checked against, in numbers."""
        (row,) = await self._fetch(_SQL["payload_basis"], controller)
        return list(row)

    async def erased_and_there(self, controller: int) -> list[Row]:
        """number, subject, found_in (a table) of erased subjects that are still there."""
        return await self._fetch(_SQL["erased_and_there"], controller)

    async def is_erased(self, controller: int) -> bool:
        """Whether the whole controller was."""
        rows = await self._fetch(_SQL["controller"], controller)
        return bool(rows) and rows[0]["erased_at"] is not None

    async def rows_of_an_erased_controller(self, controller: int) -> list[str]:
        """Tables that still hold something of anybody."""
        return [row["found_in"] for row in await self._fetch(_SQL["rows_of_an_erased_controller"], controller)]

    async def erasures_without(self, controller: int) -> list[Row]:
        """found_in (a table), number of rows whose erasure does not exist."""
        return await self._fetch(_SQL["erasures_without"], controller)

    async def of_nobody(self, controller: int) -> list[Row]:
        """found_in (a table), subject of rows about somebody who neither exists nor was erased."""
        return await self._fetch(_SQL["of_nobody"], controller)

    async def triggers_odd(self, controller: int) -> list[Row]:
        """trigger, is_answered of those that keep what they must not, or are open behind a closed docket."""
        return await self._fetch(_SQL["triggers_odd"], controller)

    async def dockets(self, controller: int) -> list[Row]:
        """docket, sealed, wrapped_key, key_epoch of the open ones."""
        return await self._fetch(_SQL["dockets"], controller)

    async def tombstones_odd(self, controller: int) -> list[bytes]:
        """Names whose tombstone ends before it begins."""
        return [row["identifier"] for row in await self._fetch(_SQL["tombstones_odd"], controller)]

    async def buried(self, controller: int, subjects: Collection[UUID]) -> dict[UUID, datetime]:
        """Of those with a tombstone on one of their identifiers, until when acts count for nothing."""
        rows = await self._fetch(_SQL["buried"], controller, list(subjects))
        return {row["subject"]: row["erased_at"] for row in rows}

    async def erasure_numbers(self) -> list[Row]:
        """Number, the controller's name, subject, event, ground, erased_at."""
        return await self._fetch(_SQL["erasure_numbers"])

    # --- from outside ---

    async def log_keys(self, log: SeenLog) -> list[Row]:
        """number, vkey, reference, statement, made_at, ends_at, in order."""
        return await self._fetch(_SQL["log_keys"], log.controller, log.log)

    async def cosignatures(self, log: SeenLog) -> AsyncIterator[list[Row]]:
        """size, witness, key_id, line, cosigned_at, note; some rows at a time."""
        cursor = await self._connection.cursor(_SQL["cosignatures"], log.controller, log.log)
        while rows := await cursor.fetch(ROWS_AT_A_TIME):
            yield rows

    async def timestamps(self, log: SeenLog) -> AsyncIterator[list[Row]]:
        """size, seq, authority, response, nonce, gen_time, verified_by, note; some rows at a time."""
        cursor = await self._connection.cursor(_SQL["timestamps"], log.controller, log.log)
        while rows := await cursor.fetch(ROWS_AT_A_TIME):
            yield rows

    async def wishes_for_nothing(self, log: SeenLog) -> list[int]:
        """Sizes without a checkpoint."""
        return [row["size"] for row in await self._fetch(_SQL["wishes_for_nothing"], log.controller, log.log)]

    async def evidence_basis(self, log: SeenLog) -> list[int]:
        """How many keys, cosignatures and timestamps there are."""
        (row,) = await self._fetch(_SQL["evidence_basis"], log.controller, log.log)
        return list(row)

    async def heads_of(self, controller: int) -> list[list[Any]]:
        """log, size, root in hex."""
        rows = await self._fetch(_SQL["heads_of"], controller)
        return [[row["log"], row["size"], row["root"].hex()] for row in rows]

    async def positions(self) -> list[Row]:
        """topic, partition, cluster, next_offset."""
        return await self._fetch(_SQL["positions"])
