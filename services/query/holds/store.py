"""The statements about holds, on one connection that sees one controller; the caller owns the transaction."""

from pathlib import Path
from typing import Any, Final
from uuid import UUID

from services.postgres import PooledConnection, named_queries
from services.query.store import Row

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "holds.sql")


class HoldStore:
    """By name; nothing here decides anything."""

    def __init__(self, connection: PooledConnection, controller: int) -> None:
        self._connection = connection
        self.controller = controller

    async def _rows(self, query: str, *arguments: Any) -> list[Row]:
        return await self._connection.fetch(_QUERIES[query], self.controller, *arguments)

    async def _row(self, query: str, *arguments: Any) -> Row | None:
        return await self._connection.fetchrow(_QUERIES[query], self.controller, *arguments)

    async def site(self) -> Row | None:
        """site, log."""
        return await self._row("site_of_hold")

    async def hold(self, hold: UUID) -> Row | None:
        """All columns, stands, held_erasures."""
        return await self._row("hold", hold)

    async def holds(self, subject: UUID | None, most: int, *, ended: bool) -> list[Row]:
        """The same of many; those that stand no more only with `ended`."""
        return await self._rows("holds", subject, ended, most)

    async def held_by_grant(self, grant: UUID) -> set[UUID | None]:
        """Whom; None is everybody."""
        rows = await self._rows("held_by_grant", grant)
        return {None if row["subject"] is None else UUID(int=row["subject"].int) for row in rows}

    async def grant(self, grant: UUID) -> Row | None:
        """grant_id, case_reference, subjects (None: everybody)."""
        return await self._row("grant_to_preserve", grant)
