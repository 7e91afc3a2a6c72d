"""Every read of query. One request is one read-only transaction that sees one controller only.

Invariant: nothing but access keys and public log names is looked up outside a controller's transaction.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg

from services.postgres import controller_transaction, named_queries
from services.query.links import Act, Scope

if TYPE_CHECKING:
    from services.postgres import Pool, PooledConnection

Row = asyncpg.Record
_FOLDER: Final = Path(__file__).parent / "sql"
_FILES: Final = ("queries.sql", "links.sql", "restrictions.sql")
_QUERIES: Final = {name: query for file in _FILES for name, query in named_queries(_FOLDER / file).items()}


class Store:
    """The pool, as the role sayso_query."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def access_key(self, access_key: str) -> Row | None:
        """controller, controller_name, role, secret_sha256, expires_at, sites, grant_id; None of a revoked key."""
        return await self._pool.fetchrow(_QUERIES["find_access_key"], access_key)

    async def grant_in_force(self, controller: int, grant: UUID, key: str) -> Row | None:
        """The row of a grant that has begun, has not ended and was not revoked, as `key` was not (Caller.key)."""
        async with controller_transaction(self._pool, controller) as connection:
            return await connection.fetchrow(_QUERIES["grant_in_force"], controller, grant, key)

    async def server_key(self, name: str) -> Row | None:
        """site_name, secret_sha256 of a server key that is not revoked."""
        return await self._pool.fetchrow(_QUERIES["find_site_key"], name)

    async def log(self, name: str) -> Row | None:
        """controller, log, origin, vkey."""
        return await self._pool.fetchrow(_QUERIES["find_log"], name)

    async def site_place(self, name: str) -> Row | None:
        """controller, controller_name, site_name, origins; None of an erased controller."""
        return await self._pool.fetchrow(_QUERIES["find_site_place"], name)

    async def publishers(self) -> list[Row]:
        """service, public_key of every process that may publish, the same for all controllers."""
        return await self._pool.fetch(_QUERIES["publishers"])

    async def ready(self) -> None:
        await self._pool.fetchval(_QUERIES["ready"])

    @asynccontextmanager
    async def reading(self, controller: int, subjects: Collection[UUID] | None = None) -> "AsyncIterator[Reader]":
        """One read-only transaction behind the wall of one controller, and of a grant's subjects if it names any."""
        async with controller_transaction(self._pool, controller, subjects=subjects) as connection:
            yield Reader(connection, controller)


class Reader:
    """Reads of one controller inside one transaction."""

    def __init__(self, connection: "PooledConnection", controller: int) -> None:
        self._connection = connection
        self.controller = controller

    async def _rows(self, query: str, *arguments: Any) -> list[Row]:
        return await self._connection.fetch(_QUERIES[query], self.controller, *arguments)

    async def _row(self, query: str, *arguments: Any) -> Row | None:
        return await self._connection.fetchrow(_QUERIES[query], self.controller, *arguments)

    async def rows(self, statement: str, *arguments: Any) -> list[Row]:
        """Of a statement whose first parameter is the controller."""
        return await self._connection.fetch(statement, self.controller, *arguments)

    async def has_identifiers(self) -> bool:
        row = await self._row("identifiers_exist")
        return row is not None and bool(row[0])

    async def subject_of_identifier(self, identifier: bytes) -> UUID | None:
        row = await self._row("subject_of_identifier", identifier)
        return None if row is None else UUID(int=row["subject"].int)

    async def subject(self, subject: UUID) -> Row | None:
        """wrapped_key, key_epoch, lost."""
        return await self._row("subject", subject)

    async def age(self, subject: UUID, known_at: datetime) -> Row | None:
        """is_over, stated_at: the latest that was said by then."""
        return await self._row("age", subject, known_at)

    async def subject_of_event(self, event: bytes) -> UUID | None:
        row = await self._row("subject_of_event", event)
        return None if row is None else UUID(int=row["subject"].int)

    async def erased_at(self, subject: UUID) -> datetime | None:
        """When the subject was erased, None if it was not."""
        row = await self._row("erased_at", subject)
        return None if row is None else row["erased_at"]

    async def state(self, subject: UUID) -> list[Row]:
        """purpose, legal_basis, decision, rank, event, received_at, log, origin, index, nonce, what."""
        return await self._rows("state", subject)

    async def subjects(self, subjects: Sequence[UUID]) -> dict[UUID, Row]:
        """By id: wrapped_key, key_epoch, lost, of those that are there."""
        return {row["subject"]: row for row in await self._rows("subjects", subjects)}

    async def decision_parts(self, subjects: Sequence[UUID]) -> list[Row]:
        """subject, log, origin, index, nonce, what."""
        return await self._rows("decision_parts", subjects)

    async def link_acts(self, subject: UUID) -> list[Act]:
        """Everything that links a subject to others, from either side."""
        return [Act(*row) for row in await self._rows("link_acts", subject)]

    async def linked_only_to(self, subject: UUID) -> list[UUID]:
        """Whose records are shown with a subject's."""
        return [row["weak"] for row in await self._rows("linked_only_to", subject)]

    async def scopes(self, sites: Sequence[str], notices: Sequence[bytes]) -> list[Scope]:
        """Of the purposes of notices of some sites, and of some notices."""
        return [Scope(*row) for row in await self._rows("scopes", sites, notices)]

    async def restrictions(self, subjects: Collection[UUID], at: datetime, known_at: datetime) -> frozenset[str]:
        """Purposes of which the processing was restricted for any of them; '' is every purpose."""
        rows = await self._rows("restrictions", list(subjects), at, known_at)
        return frozenset(row["purpose"] for row in rows)

    async def has_suppressions(self) -> bool:
        row = await self._row("suppressions_exist")
        return row is not None and bool(row[0])

    async def suppressed_objections(self, names: Sequence[bytes], purpose: str, at: datetime) -> list[Row]:
        """legal_basis, objected_at, expires_at."""
        return await self._rows("suppressed_objections", names, purpose, at)

    async def identifying_parts(self, subject: UUID, most: int) -> list[Row]:
        """origin, index, nonce, who."""
        return await self._rows("identifying_parts", subject, most)

    async def received(self, events: Sequence[bytes]) -> dict[bytes, Any]:
        """Event name -> received_at, for events that still have one."""
        return {row["event"]: row["received_at"] for row in await self._rows("received", events)}

    async def history(self, subjects: Sequence[UUID], after: tuple[int, int], most: int) -> list[Row]:
        """subject, log_number, log, origin, index, nonce, who, what, context, entry, published."""
        return await self._rows("history", subjects, *after, most)

    async def matches(self, shown: Sequence[bytes]) -> list[Row]:
        """shown, notice, matched_at."""
        return await self._rows("matches", shown)

    async def notices(self, sites: Sequence[str], notices: Sequence[bytes]) -> list[Row]:
        """site, notice, published_at, notice_id, version, asks_again, in_force_at, expiring, validity."""
        return await self._rows("notices", sites, notices)

    async def event(self, event: bytes, *, looks: bool = False) -> Row | None:
        """log_number, origin, vkey, index, entry, nonce, the three parts and digests, wrapped_key, key_epoch, subject.

        A record of the access log only with `looks`.
        """
        return await self._row("event", event, looks)

    async def notice_content(self, notice: bytes) -> bytes | None:
        row = await self._row("notice_content", notice)
        return None if row is None else bytes(row["content"])

    async def receipt_facts(self, origin: str, index: int) -> Row | None:
        """Details of the controller; subject, NULL where the record has none."""
        return await self._row("receipt_facts", origin, index)

    async def last_checkpoint(self, log: int) -> Row | None:
        """size, note."""
        return await self._row("last_checkpoint", log)

    async def log_keys(self, log: int) -> list[Row]:
        """number, vkey, statement, made_at, ends_at, in the order of their numbers."""
        return await self._rows("log_keys", log)

    async def tiles(self, log: int, wanted: Sequence[tuple[int, int, int]]) -> dict[tuple[int, int, int], bytes]:
        """(level, tile, width) -> that many hashes, for the tiles that exist."""
        levels, numbers, widths = zip(*wanted, strict=True)
        rows = await self._rows("tiles", log, levels, numbers, widths)
        return {(row["level"], row["tile"], row["width"]): row["hashes"] for row in rows}

    async def entries(self, log: int, first: int, end: int) -> list[bytes]:
        """The entries with first <= index < end that exist."""
        return [row["entry"] for row in await self._rows("entries", log, first, end)]
