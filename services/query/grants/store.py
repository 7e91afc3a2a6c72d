"""The statements about grants, on one connection that sees one controller; the caller owns the transaction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from services.postgres import PooledConnection, named_queries
from services.query.store import Row

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "grants.sql")


class GrantStore:
    """By name; nothing here decides anything."""

    def __init__(self, connection: PooledConnection, controller: int) -> None:
        self._connection = connection
        self._controller = controller

    async def _rows(self, query: str, *arguments: Any) -> list[Row]:
        return await self._connection.fetch(_QUERIES[query], self._controller, *arguments)

    async def known_subjects(self, subjects: Sequence[UUID]) -> set[UUID]:
        return {UUID(int=row["subject"].int) for row in await self._rows("known_subjects", subjects)}

    async def shown_with(self, subjects: Sequence[UUID]) -> set[UUID]:
        return {UUID(int=row["weak"].int) for row in await self._rows("shown_with", subjects)}

    async def put_grant(self, *columns: Any) -> None:
        """In the order of the statement, from grant_id on."""
        await self._rows("put_grant", *columns)

    async def put_key(self, grant: UUID, access_key: str, secret_sha256: bytes) -> None:
        await self._rows("put_key", grant, access_key, secret_sha256)

    async def end_keys(self, grant: UUID) -> list[str]:
        return [row["access_key"] for row in await self._rows("end_keys", grant)]

    async def revoke(self, grant: UUID, by: str) -> None:
        await self._rows("revoke", grant, by)

    async def grant(self, grant: UUID) -> Row | None:
        """Every column, and keys."""
        rows = await self._rows("grant", grant)
        return rows[0] if rows else None

    async def grants(self) -> list[Row]:
        """As `grant`, of all."""
        return await self._rows("grants")
