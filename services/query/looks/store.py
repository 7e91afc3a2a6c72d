"""The statements about looks, on one connection that sees one controller; the caller owns the transaction."""

from pathlib import Path
from typing import Any, Final
from uuid import UUID

from services.postgres import PooledConnection, named_queries
from services.query.store import Row

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "looks.sql")


class LookStore:
    """By name; nothing here decides anything."""

    def __init__(self, connection: PooledConnection, controller: int) -> None:
        self._connection = connection
        self._controller = controller

    async def _rows(self, query: str, *arguments: Any) -> list[Row]:
        return await self._connection.fetch(_QUERIES[query], self._controller, *arguments)

    async def access_place(self) -> Row | None:
        """site, log."""
        return await self._connection.fetchrow(_QUERIES["access_place"], self._controller)

    async def person_of_event(self, event: bytes) -> UUID | None:
        rows = await self._rows("person_of_event", event)
        return UUID(int=rows[0]["subject"].int) if rows else None

    async def looks_at(self, subject: UUID, after: tuple[int, int], most: int) -> list[Row]:
        """log_number, origin, index, nonce, what."""
        return await self._rows("looks_at", subject, *after, most)

    async def access_records(self, after: tuple[int, int], most: int) -> list[Row]:
        """log_number, log, origin, index, entry, nonce, who, what, wrapped_key, key_epoch, subject."""
        return await self._rows("access_records", *after, most)
