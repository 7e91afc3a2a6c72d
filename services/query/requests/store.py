"""The statements about requests, on one connection that sees one controller; the caller owns the transaction."""

from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import Final
from uuid import UUID

from services.postgres import PooledConnection, named_queries
from services.query.store import Row

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "requests.sql")


class RequestStore:
    """By name; nothing here decides anything."""

    def __init__(self, connection: PooledConnection, controller: int) -> None:
        self._connection = connection
        self.controller = controller

    async def request(self, request: UUID) -> Row | None:
        return await self._connection.fetchrow(_QUERIES["request"], self.controller, request)

    async def requests(self, *, is_open: bool | None, due_before: date | None, most: int) -> list[Row]:
        """Those that are due first in front; `due_before` leaves out closed ones and those whose clock stands still."""
        return await self._connection.fetch(_QUERIES["requests"], self.controller, is_open, due_before, most)

    async def requests_of(self, subjects: Collection[UUID]) -> list[Row]:
        return await self._connection.fetch(_QUERIES["requests_of"], self.controller, list(subjects))

    async def holds_on(self, subjects: Collection[UUID]) -> list[Row]:
        """hold, ground, expires_at, is_confidential of holds that stand on any of them or on everybody."""
        return await self._connection.fetch(_QUERIES["holds_on"], self.controller, list(subjects))

    async def steps(self, request: UUID) -> list[Row]:
        """nth, event, type, at, due_on, log, index."""
        return await self._connection.fetch(_QUERIES["steps"], self.controller, request)

    async def has_step(self, request: UUID, event: bytes) -> bool:
        return bool(await self._connection.fetchval(_QUERIES["has_step"], self.controller, request, event))

    async def site_of_request(self, site: str) -> Row | None:
        """site, log."""
        return await self._connection.fetchrow(_QUERIES["site_of_request"], self.controller, site)

    async def person_of_event(self, event: bytes) -> UUID | None:
        """Whose record an event became; nobody's if it is its log's own."""
        found = await self._connection.fetchval(_QUERIES["person_of_event"], self.controller, event)
        return None if found is None else UUID(int=found.int)
