"""The statements about acts of two people, on one connection that sees one controller; the caller owns it."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from services.postgres import Pool, PooledConnection, named_queries
from services.query.store import Row

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "approvals.sql")
# Of advisory locks, which have numbers only: the one under which asks for erasures are counted.
_COUNTING: Final = 0x5A50


async def due_approvals(pool: Pool) -> list[Row]:
    """controller, controller_name, approval, act; of every controller."""
    return await pool.fetch(_QUERIES["due_approvals"])


async def is_one_holder(connection: PooledConnection, controller: int, name: str, other: str) -> bool:
    """Whether two names (Caller.key) are of one holder, who is no two people."""
    return bool(await connection.fetchval(_QUERIES["is_one_holder"], controller, name, other))


class ApprovalStore:
    """By name; nothing here decides anything."""

    def __init__(self, connection: PooledConnection, controller: int) -> None:
        self._connection = connection
        self.controller = controller

    async def _rows(self, query: str, *arguments: Any) -> list[Row]:
        return await self._connection.fetch(_QUERIES[query], self.controller, *arguments)

    async def _value(self, query: str, *arguments: Any) -> Any:
        return await self._connection.fetchval(_QUERIES[query], self.controller, *arguments)

    async def ask(
        self, approval: UUID, act: str, target: bytes, asked_by: str, reason: str, not_before: datetime
    ) -> None:
        await self._rows("ask_approval", approval, act, target, asked_by, reason, not_before)

    async def asked_already(self, act: str, target: bytes) -> UUID | None:
        """The approval that waits or is being done."""
        found = await self._value("asked_already", act, target)
        return None if found is None else UUID(int=found.int)

    async def approval(self, approval: UUID) -> Row | None:
        """All columns."""
        rows = await self._rows("approval", approval)
        return rows[0] if rows else None

    async def lock(self, approval: UUID) -> Row | None:
        """The same, locked."""
        rows = await self._rows("lock_approval", approval)
        return rows[0] if rows else None

    async def approvals(self, most: int) -> list[Row]:
        """The same of the newest."""
        return await self._rows("approvals", most)

    async def decide(self, approval: UUID, decided_by: str, verdict: str, because: str | None) -> None:
        await self._rows("decide", approval, decided_by, verdict, because)

    async def done(self, approval: UUID) -> None:
        await self._rows("approval_done", approval)

    async def note_lone_ask(self, subject: UUID, most: int) -> bool:
        """Count one more ask of one person alone; False, and nothing is noted, if `most` others were asked for."""
        await self._rows("one_at_a_time", _COUNTING)
        await self._rows("forget_lone_asks")
        if await self._value("lone_asks", subject) >= most:
            return False
        await self._rows("note_lone_ask", subject)
        return True

    async def known_subjects(self, subjects: Sequence[UUID]) -> int:
        """How many of them there are, or were."""
        return int(await self._value("known_subjects", subjects))

    async def put_asks(self, approval: UUID, subjects: Sequence[UUID]) -> None:
        await self._rows("put_asks", approval, subjects)

    async def next_asks(self, approval: UUID, most: int) -> list[Row]:
        """ask, subject."""
        return await self._rows("next_asks", approval, most)

    async def note_asks(self, asks: Sequence[UUID], events: Sequence[bytes | None]) -> None:
        await self._rows("note_asks", asks, events)

    async def progress(self, approval: UUID) -> Row:
        """subjects, waiting, erased, held."""
        return (await self._rows("progress", approval))[0]

    async def terms(self) -> bytes | None:
        """As schemas.terms reads them."""
        content: bytes | None = await self._value("terms")
        return content
