"""The statements about downstream systems, behind the wall of one controller; the caller owns the transaction."""

from pathlib import Path
from typing import Any, Final
from uuid import UUID

from services.postgres import Pool, PooledConnection, named_queries
from services.query.store import Row

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "downstreams.sql")


async def find_trigger(pool: Pool, trigger: UUID) -> Row | None:
    """controller, controller_name, system, secret_number of a trigger of any controller."""
    return await pool.fetchrow(_QUERIES["find_trigger"], trigger)


class DownstreamStore:
    """By name; nothing here decides anything."""

    def __init__(self, connection: PooledConnection, controller: int) -> None:
        self._connection = connection
        self.controller = controller

    async def rows(self, query: str, *arguments: Any) -> list[Row]:
        return await self._connection.fetch(_QUERIES[query], self.controller, *arguments)

    async def row(self, query: str, *arguments: Any) -> Row | None:
        return await self._connection.fetchrow(_QUERIES[query], self.controller, *arguments)

    async def execute(self, query: str, *arguments: Any) -> int:
        """How many rows it touched."""
        status = await self._connection.execute(_QUERIES[query], self.controller, *arguments)
        return int(status.rpartition(" ")[2])
