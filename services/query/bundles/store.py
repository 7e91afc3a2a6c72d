"""The statements of proof bundles, on one connection that sees one controller; the caller owns the transaction."""

from pathlib import Path
from typing import Any, Final
from uuid import UUID

from services.postgres import PooledConnection, named_queries
from services.query.store import Row

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "bundles.sql")


class BundleStore:
    """By name; nothing here decides anything. Records come with log_number, log, origin, index, entry and payload."""

    def __init__(self, connection: PooledConnection, controller: int) -> None:
        self._connection = connection
        self._controller = controller

    async def _rows(self, query: str, *arguments: Any) -> list[Row]:
        return await self._connection.fetch(_QUERIES[query], self._controller, *arguments)

    async def _row(self, query: str, *arguments: Any) -> Row | None:
        return await self._connection.fetchrow(_QUERIES[query], self._controller, *arguments)

    async def event(self, event: bytes, *, looks: bool) -> Row | None:
        """A record of the access log only with `looks`."""
        return await self._row("bundle_event", event, looks)

    async def records(self, subject: UUID, after: tuple[int, int], most: int) -> list[Row]:
        return await self._rows("bundle_records", subject, *after, most)

    async def declarations(self, number: int) -> list[Row]:
        return await self._rows("declarations", number)

    async def covering_sizes(self, log: int, index: int) -> Row | None:
        """published, stamped (None if no timestamp covers it), has_authorities, wished; None before it is published."""
        return await self._row("covering_sizes", log, index)

    async def wish_timestamp(self, log: int, size: int) -> None:
        await self._rows("wish_timestamp", log, size)

    async def checkpoint_at(self, log: int, size: int) -> Row | None:
        """note, cosignatures."""
        return await self._row("checkpoint_at", log, size)

    async def cosigners(self, log: int, size: int) -> list[Row]:
        """witness, cosigned_at."""
        return await self._rows("cosigners", log, size)

    async def timestamps_at(self, log: int, size: int) -> list[Row]:
        """authority, response, nonce, gen_time."""
        return await self._rows("timestamps_at", log, size)

    async def controller(self) -> Row:
        """name, legal_name, contact."""
        row = await self._row("bundle_controller")
        if row is None:
            raise RuntimeError("the caller's controller has no row")
        return row
