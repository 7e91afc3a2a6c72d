"""The statements about cosignatures, by name (sql/witnesses.sql). Nothing here decides anything.

A witness is known here by its key: the name in its signature lines and the key id, never by its name in a policy file.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from schemas.note import VerifierKey
from services.ledger.store import Row
from services.postgres import Connection, PooledConnection, named_queries

SQL: Final = Path(__file__).parents[1] / "sql" / "witnesses.sql"

# controller and log
LogId = tuple[int, int]


class WitnessStore:
    """Statements on one connection; those that say which witnesses cosigned give places in `keys`, from 0."""

    def __init__(self, connection: "Connection | PooledConnection", keys: Sequence[VerifierKey]) -> None:
        """`connection` has the role sayso_ledger."""
        self._connection = connection
        self._sql = named_queries(SQL)
        self._keys = [key.name for key in keys], [key.key_id for key in keys]

    async def _fetch(self, name: str, *args: Any) -> list[Row]:
        return await self._connection.fetch(self._sql[name], *args)

    async def uncosigned_logs(self) -> list[tuple[Row, set[int]]]:
        """controller, log, name, origin, size of the last checkpoint; and who has cosigned it."""
        rows = await self._fetch("uncosigned_logs", *self._keys)
        return [(row, {nth - 1 for nth in row["cosigned"]}) for row in rows]

    async def submission(self, log: LogId, size: int, key: VerifierKey) -> Row | None:
        """note, signed_at, cosigned."""
        return await self._connection.fetchrow(self._sql["submission"], *log, size, key.name, key.key_id)

    async def cosigned_size(self, log: LogId, key: VerifierKey) -> int:
        """The largest size that the key has cosigned; 0 if none."""
        rows = await self._fetch("cosigned_size", *log, key.name, key.key_id)
        return int(rows[0]["size"]) if rows else 0

    async def add_cosignature(self, log: LogId, size: int, key: VerifierKey, line: str, cosigned_at: int) -> None:
        """Keep a verified line; `cosigned_at` is the time it states, Unix seconds."""
        moment = datetime.fromtimestamp(cosigned_at, UTC)
        await self._connection.execute(self._sql["add_cosignature"], *log, size, key.name, key.key_id, line, moment)

    async def cosigners(self, log: LogId, size: int) -> set[int]:
        """Who has cosigned one checkpoint."""
        return {row["nth"] - 1 for row in await self._fetch("cosigners", *log, size, *self._keys)}

    async def held_logs(self) -> list[Row]:
        """controller, log, origin, size of those whose last checkpoint is not shown."""
        return await self._fetch("held_logs")

    async def held_sizes(self, log: LogId) -> list[tuple[int, set[int]]]:
        """Cosigned sizes above the one shown, the largest first, and who cosigned them."""
        rows = await self._fetch("held_sizes", *log, *self._keys)
        return [(row["size"], {nth - 1 for nth in row["cosigned"]}) for row in rows]
