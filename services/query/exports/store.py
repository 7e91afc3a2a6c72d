"""The statements of exports, each in a transaction of its own that sees one controller."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from services.postgres import Pool, controller_transaction, named_queries
from services.query.store import Row

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "exports.sql")


class ExportStore:
    """By name; nothing here decides anything. A write answers whether it found the row as it must be."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def _rows(self, query: str, controller: int, *arguments: Any) -> list[Row]:
        async with controller_transaction(self._pool, controller) as connection:
            return await connection.fetch(_QUERIES[query], controller, *arguments)

    async def _row(self, query: str, controller: int, *arguments: Any) -> Row | None:
        async with controller_transaction(self._pool, controller) as connection:
            return await connection.fetchrow(_QUERIES[query], controller, *arguments)

    async def _write(self, query: str, controller: int, *arguments: Any) -> Row | None:
        async with controller_transaction(self._pool, controller, readonly=False) as connection:
            return await connection.fetchrow(_QUERIES[query], controller, *arguments)

    async def waiting(self, silent_s: float) -> list[Row]:
        """controller, controller_name, export of every controller."""
        return await self._pool.fetch(_QUERIES["waiting_exports"], silent_s)

    async def insert(
        self, controller: int, export: UUID, content: bytes, asked_by: str, records_of: int, expires_at: datetime
    ) -> None:
        await self._write("insert_export", controller, export, content, asked_by, records_of, expires_at)

    async def export(self, controller: int, export: UUID) -> Row | None:
        return await self._row("export", controller, export)

    async def is_there(self, controller: int, name: str) -> bool:
        """Whether nobody has ended the key or removed the person of this name (Caller.key)."""
        row = await self._row("is_there", controller, name)
        return row is not None and bool(row[0])

    async def page(self, controller: int, before: tuple[datetime | None, UUID | None], most: int) -> list[Row]:
        return await self._rows("exports_page", controller, *before, most)

    async def claim(self, controller: int, export: UUID, worker: UUID, silent_s: float) -> Row | None:
        """content, progress, asked_by, asked_at; None when somebody else has it."""
        return await self._write("claim_export", controller, export, worker, silent_s)

    async def beat(self, controller: int, export: UUID, worker: UUID) -> bool:
        return await self._write("beat", controller, export, worker) is not None

    async def commit(self, controller: int, export: UUID, worker: UUID, progress: bytes, records: int) -> bool:
        return await self._write("commit_progress", controller, export, worker, progress, records) is not None

    async def finish(self, controller: int, export: UUID, worker: UUID, progress: bytes, expires_at: datetime) -> bool:
        return await self._write("finish_export", controller, export, worker, progress, expires_at) is not None

    async def fail(self, controller: int, export: UUID, worker: UUID, failure: str) -> bool:
        return await self._write("fail_export", controller, export, worker, failure) is not None

    async def release(self, controller: int, export: UUID, worker: UUID) -> None:
        await self._write("release_export", controller, export, worker)

    async def cancel(self, controller: int, export: UUID) -> bool:
        return await self._write("cancel_export", controller, export) is not None

    async def resume(self, controller: int, export: UUID, expires_at: datetime) -> bool:
        return await self._write("resume_export", controller, export, expires_at) is not None

    async def expire(self, controller: int) -> frozenset[UUID]:
        """Those whose files stay, after the others were marked."""
        await self._write("expire_exports", controller)
        return frozenset(UUID(int=row["export"].int) for row in await self._rows("kept_exports", controller))

    async def granted_scope(self, controller: int, grant: UUID) -> Row | None:
        """subjects, purposes, records_from, records_until."""
        return await self._row("granted_scope", controller, grant)

    async def known_subjects(self, controller: int, subjects: Sequence[UUID]) -> int:
        row = await self._row("known_subjects", controller, subjects)
        return 0 if row is None else int(row[0])

    async def places_of(self, controller: int, subjects: Sequence[UUID]) -> int:
        row = await self._row("places_of_subjects", controller, subjects)
        return 0 if row is None else int(row[0])

    async def logs(self, controller: int) -> list[Row]:
        """log_number, log, origin, published, size."""
        return await self._rows("exported_logs", controller)

    async def entry(self, controller: int, log: int, index: int) -> bytes | None:
        row = await self._row("entry_at", controller, log, index)
        return None if row is None else bytes(row["entry"])

    async def rows(
        self, controller: int, log: int, span: tuple[int, int], most: int, subjects: Sequence[UUID] | None
    ) -> list[Row]:
        """Records from the first place of `span` on, before its second."""
        if subjects is None:
            return await self._rows("export_rows", controller, log, *span, most)
        return await self._rows("export_rows_of_subjects", controller, log, *span, most, subjects)

    async def subjects(self, controller: int, after: UUID, named: Sequence[UUID] | None, most: int) -> list[UUID]:
        found = await self._rows("export_subjects", controller, after, named, most)
        return [UUID(int=row["subject"].int) for row in found]
