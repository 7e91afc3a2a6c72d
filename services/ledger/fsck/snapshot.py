"""Every read of fsck by name, on one connection inside one read-only snapshot. Nothing here decides anything."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

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


class Snapshot:
    """Reads of one moment."""

    def __init__(self, connection: Connection) -> None:
        """Use `Snapshot.of`, which opens the transaction."""
        self._connection = connection
        # Entries and tiles are read by the ledger's own statements.
        self.store = Store(connection)

    @classmethod
    @asynccontextmanager
    async def of(cls, connection: Connection) -> AsyncIterator["Snapshot"]:
        """A snapshot that lasts as long as the block; it holds no lock that stops a writer."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield cls(connection)

    async def _fetch(self, statement: str, *args: Any) -> list[Row]:
        return await self._connection.fetch(statement, *args)

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

    async def checkpoints(self, log: SeenLog, low: int, high: int) -> list[Row]:
        """size, root, note of those with low < size <= high."""
        return await self._fetch(_SQL["checkpoints"], log.controller, log.log, low, high)

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

    async def identifiers_of(self, controller: int, subjects: Collection[UUID]) -> list[Row]:
        """subject, identifier."""
        return await self._fetch(_SQL["identifiers_of"], controller, list(subjects))

    async def stray_state(self, controller: int) -> list[UUID]:
        """Subjects with state that do not exist."""
        return [row["subject"] for row in await self._fetch(_SQL["stray_state"], controller)]

    async def stray_identifiers(self, controller: int) -> list[UUID]:
        """Subjects with identifiers that do not exist."""
        return [row["subject"] for row in await self._fetch(_SQL["stray_identifiers"], controller)]
