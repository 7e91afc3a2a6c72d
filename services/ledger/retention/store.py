"""The statements of retention for one controller, on one connection of the role sayso_ledger."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from schemas.record import PART_NAMES, PartName
from schemas.retaining import Place
from services.ledger.store import Row
from services.postgres import Connection, PooledConnection, named_queries

SQL: Final = named_queries(Path(__file__).parents[1] / "sql" / "retention.sql")


class RetentionStore:
    """By name; nothing here decides anything. The caller owns the transaction."""

    def __init__(self, connection: Connection | PooledConnection, controller: int) -> None:
        """`connection` has the role sayso_ledger."""
        self._connection = connection
        self.controller = controller

    async def _fetch(self, name: str, *args: Any) -> list[Row]:
        return await self._connection.fetch(SQL[name], self.controller, *args)

    async def _execute(self, name: str, *args: Any) -> None:
        await self._connection.execute(SQL[name], self.controller, *args)

    async def claim_run(self, run: UUID) -> Row | None:
        """as_of, since, is_preview, progress, counts, cleared; None if it is done or another ledger is at it."""
        rows = await self._fetch("claim_run", run)
        return rows[0] if rows else None

    async def move_run(self, run: UUID, progress: bytes, counts: bytes | None, cleared: int) -> None:
        """In the transaction that did it."""
        await self._execute("move_run", run, progress, counts, cleared)

    async def finish_run(self, run: UUID, moment: datetime) -> None:
        """It is through; an empty one takes the place of those before it."""
        await self._execute("finish_run", run, moment)
        await self._execute("forget_empty_runs", run)

    async def rules(self, as_of: datetime) -> list[Row]:
        """rule, content (None: ended)."""
        return await self._fetch("rules_as_of", as_of)

    async def terms(self, as_of: datetime) -> bytes | None:
        """What the controller had stated."""
        rows = await self._fetch("terms_as_of", as_of)
        return bytes(rows[0]["content"]) if rows else None

    async def notices(self) -> list[Row]:
        """shown, content."""
        return await self._fetch("notices")

    async def logs(self) -> list[Row]:
        """log, name, origin, kind, heir, size; in the order of their numbers."""
        return await self._fetch("logs")

    async def entry(self, log: int, index: int) -> bytes:
        """One that is there."""
        (row,) = await self._fetch("entry", log, index)
        return bytes(row["entry"])

    async def aged_places(self, log: int, first: int, end: int, parts: Sequence[PartName], most: int) -> list[Row]:
        """index, subject, is_nobodys of records that have one of `parts`."""
        return await self._fetch("aged_places", log, first, end, *(name in parts for name in PART_NAMES), most)

    async def decided_subjects(
        self,
        after: UUID | None,
        purposes: Sequence[str] | None,
        decisions: Sequence[str],
        ranks: tuple[datetime, datetime],
        most: int,
    ) -> list[UUID]:
        """In id order; `ranks`: after the first, up to the second."""
        rows = await self._fetch("decided_subjects", after, purposes, decisions, *ranks, most)
        return [UUID(int=row["subject"].int) for row in rows]

    async def deleted_subjects(self, after: UUID | None, times: tuple[datetime, datetime], most: int) -> list[UUID]:
        """In id order; `times`: after the first, up to the second."""
        return [UUID(int=row["subject"].int) for row in await self._fetch("deleted_subjects", after, *times, most)]

    async def people(self, subjects: Sequence[UUID], *, lock: bool) -> list[Row]:
        """subject, wrapped_key, key_epoch, log (of a stand-in), event and deleted_at of a deleted account."""
        return await self._fetch("lock_people" if lock else "people", subjects)

    async def stopped(self, subjects: Sequence[UUID]) -> set[UUID]:
        """Those with an open request or a restriction."""
        return {row["subject"] for row in await self._fetch("stopped", subjects)}

    async def has_open_triggers(self, subject: UUID) -> bool:
        """Whether a downstream system still has to find this person by their records."""
        return bool((await self._fetch("has_open_triggers", subject))[0]["are_there"])

    async def subject_rows(self, subjects: Sequence[UUID]) -> list[Row]:
        """subject, log, index, origin, nonce, who, what, context."""
        return await self._fetch("subject_rows", subjects)

    async def rows_at(self, log: int, indexes: Sequence[int]) -> list[Row]:
        """The same of some records of one log."""
        return await self._fetch("rows_at", log, indexes)

    async def clear_parts(self, digests: Sequence[tuple[Place, dict[PartName, bytes]]]) -> None:
        """Delete parts, each with the digest that it leaves."""
        logs, indexes = zip(*(place for place, _ in digests), strict=True)
        columns = [[left.get(name) for _, left in digests] for name in PART_NAMES]
        await self._execute("clear_parts", logs, indexes, *columns)

    async def forget_events(self, events: Sequence[bytes]) -> None:
        """Leave only their names."""
        await self._execute("forget_events", events)

    async def declare_for(self, log: int, counts: Sequence[int], place: Place) -> None:
        """`place` is that of the entry that states the counts of the closed log."""
        await self._execute("declare_for", log, *counts, *place)
