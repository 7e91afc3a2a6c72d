"""Databases inside a test server: one schema template a session, cloned for each test, dropped after.

Everything here is synchronous and runs its SQL on a thread of its own, so it may be called inside a running event loop.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import asyncpg

# Puts the schema into an empty database; gets that database's superuser DSN. What it answers is not looked at.
ApplySchema = Callable[[str], Awaitable[object]]
T = TypeVar("T")
CONNECT_TIMEOUT_S = 5


class HasDsn(Protocol):
    """Any server of tests.support.postgres."""

    def dsn(self, dbname: str = "postgres", user: str | None = None, *, port: int | None = None) -> str: ...


@dataclass(frozen=True)
class Database:
    """One test's database."""

    server: HasDsn
    name: str

    def dsn(self, user: str | None = None, *, port: int | None = None) -> str:
        """Its DSN as `user` (None: the superuser), on another `port` if a proxy stands before the server."""
        return self.server.dsn(self.name, user, port=port)


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a thread with an event loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def run_sql(dsn: str, *statements: str) -> None:
    """Run statements one by one, outside a transaction."""
    run_blocking(_run_sql(dsn, statements))


async def _run_sql(dsn: str, statements: tuple[str, ...]) -> None:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def create_database(server: HasDsn, *, template: str = "template1", owner: str | None = None) -> Database:
    """A new database with a name of its own, empty unless a template says otherwise."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    owned = "" if owner is None else f'OWNER "{owner}"'
    run_sql(server.dsn(), f'CREATE DATABASE "{name}" TEMPLATE "{template}" {owned}')
    return Database(server, name)


def drop_database(database: Database) -> None:
    """Drop it, whoever is still connected."""
    run_sql(database.server.dsn(), f'DROP DATABASE IF EXISTS "{database.name}" WITH (FORCE)')


class SchemaTemplate:
    """A database that holds the schema and nothing else, and the clones made of it."""

    def __init__(self, server: HasDsn, apply_schema: ApplySchema, *, owner: str | None = None) -> None:
        self._server = server
        self._owner = owner
        self._template = create_database(server, owner=owner)

        async def apply() -> None:
            await apply_schema(self._template.dsn())

        run_blocking(apply())

    def clone(self) -> Database:
        """A new database with the schema in it."""
        return create_database(self._server, template=self._template.name, owner=self._owner)

    def close(self) -> None:
        """Drop the template; the clones are their owners' to drop."""
        drop_database(self._template)
