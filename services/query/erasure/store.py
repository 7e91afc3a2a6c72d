"""The statements about erasures, on one connection that sees one controller; the caller owns the transaction."""

from pathlib import Path
from typing import Any, Final
from uuid import UUID

from schemas.errors import StreamAway
from services.postgres import PooledConnection, named_queries
from services.query.asking import RETRY_AFTER_S, Site
from services.query.downstreams.store import DownstreamStore
from services.query.downstreams.triggers import told
from services.query.store import Row

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "erasures.sql")


def place_in(row: Row | None) -> Site:
    """Where an event goes, from a row (site, log). Raises StreamAway without one: no log takes records now."""
    if row is None:
        raise StreamAway(retry_after_s=RETRY_AFTER_S)
    return Site(row["site"], row["log"])


class ErasureStore:
    """By name; nothing here decides anything."""

    def __init__(self, connection: PooledConnection, controller: int) -> None:
        self._connection = connection
        self.controller = controller

    async def _rows(self, query: str, *arguments: Any) -> list[Row]:
        return await self._connection.fetch(_QUERIES[query], self.controller, *arguments)

    async def _row(self, query: str, *arguments: Any) -> Row | None:
        return await self._connection.fetchrow(_QUERIES[query], self.controller, *arguments)

    async def site_of_subject(self, subject: UUID) -> Row | None:
        """site, log."""
        return await self._row("site_of_subject", subject)

    async def site_of_erasure(self, number: int) -> Row | None:
        """site, log."""
        return await self._row("site_of_erasure", number)

    async def erasure_of_event(self, event: bytes) -> Row | None:
        """number, event, subject, ground, erased_at, applied_at."""
        return await self._row("erasure_of_event", event)

    async def erasure_of_subject(self, subject: UUID) -> Row | None:
        """number, event, subject, ground, erased_at, applied_at."""
        return await self._row("erasure_of_subject", subject)

    async def erased_logs(self, number: int) -> list[Row]:
        """log, origin, who, what, context, declared_log, _name, _origin, _vkey, _index (None before an entry does)."""
        return await self._rows("erased_logs", number)

    async def docket(self, number: int) -> Row | None:
        """docket, opened_at, limit_at, closed_at, outcome."""
        return await self._row("docket", number)

    async def told(self, number: int) -> list[dict[str, Any]]:
        """Per system: who was told, and what they answered."""
        return await told(DownstreamStore(self._connection, self.controller), number)

    async def kept(self, number: int) -> list[Row]:
        """ground, keep_until, proofs."""
        return await self._rows("kept", number)

    async def fate(self, event: bytes) -> Row | None:
        """reason, passed."""
        return await self._row("fate", event)

    async def held_erasure(self, event: bytes) -> Row | None:
        """held_at, expires_at (None once the subject is gone), stands."""
        return await self._row("held_erasure", event)

    async def record_at(self, log: int, index: int) -> Row | None:
        """origin, vkey, index, entry, nonce, the three parts and digests, wrapped_key, key_epoch."""
        return await self._row("record_at", log, index)

    async def owner(self) -> Row:
        """name, legal_name, contact."""
        (row,) = await self._rows("owner")
        return row

    async def has_minimal_proofs(self) -> bool:
        row = await self._row("minimal_proofs_exist")
        return row is not None and bool(row[0])

    async def minimal_proofs_of(self, identifier: bytes) -> list[Row]:
        """log, index, number, ground, keep_until, asked_by, reason, released_by, released_at."""
        return await self._rows("minimal_proofs_of", identifier)

    async def lock_minimal_proof(self, log: str, index: int) -> Row | None:
        """log_number, origin, vkey, index, entry, nonce, what, who_digest, context_digest, asked_by, released_by."""
        return await self._row("lock_minimal_proof", log, index)

    async def ask_for_release(self, log: int, index: int, key: str, reason: str) -> None:
        await self._rows("ask_for_release", log, index, key, reason)

    async def release(self, log: int, index: int, key: str) -> None:
        await self._rows("release", log, index, key)
