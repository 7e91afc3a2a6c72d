"""Postgres for every process: pools, named queries, and one place where driver errors become ours.

SQL lives in .sql files as named queries (`-- name --`, a line of purpose, the statement); Python passes parameters.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

import asyncpg

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
    PooledConnection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    # The stubs are generic, the classes are not.
    Connection = asyncpg.Connection
    PooledConnection = asyncpg.pool.PoolConnectionProxy
    Pool = asyncpg.Pool

CONNECT_TIMEOUT_S: Final = 10
IDLE_IN_TRANSACTION_S: Final = 10
# What a driver raises when the database is away, as opposed to when a statement is wrong.
DATABASE_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    # What asyncpg says when the server vanished between two messages of one exchange.
    asyncpg.InternalClientError,
    asyncpg.TooManyConnectionsError,
    # Dropped, and perhaps being restored.
    asyncpg.InvalidCatalogNameError,
)

_NAME = re.compile(r"^-- ([a-z][a-z0-9_]*) --$", re.MULTILINE)


@cache
def named_queries(path: Path) -> dict[str, str]:
    """Load the named queries of one .sql file: name -> statement without its comments."""
    pieces = _NAME.split(path.read_text(encoding="utf-8"))
    queries: dict[str, str] = {}
    for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
        lines = [line for line in text.splitlines() if not line.startswith("--")]
        queries[name] = "\n".join(lines).strip().rstrip(";")
    return queries


async def create_pool(
    dsn: str,
    *,
    role: str,
    size: int,
    application: str,
    lock_timeout_s: int = 0,
    on_connect: Callable[[Connection], Awaitable[None]] | None = None,
) -> Pool:
    """Open a pool whose connections take on `role` and refuse to work without durable commits.

    `lock_timeout_s` 0 waits for locks as long as it takes. `on_connect` runs on every new connection and may refuse it.
    Raises ConfigurationError if fsync is off.
    """

    async def prepare(connection: Connection) -> None:
        await connection.execute(f'SET ROLE "{role}"')
        await check_durability(connection)
        if on_connect is not None:
            await on_connect(connection)

    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=60,
        init=prepare,
        # `RESET ALL` between uses would also undo the role.
        reset=_keep_role,
        server_settings={
            "application_name": application,
            # A stalled process must not keep the heads locked: the server ends its transaction, another takes over.
            "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S}s",
            "lock_timeout": f"{lock_timeout_s}s",
        },
    )


async def _keep_role(connection: Connection) -> None:
    """Nothing to reset: every setting we make is SET LOCAL."""


async def check_durability(connection: Connection) -> None:
    """Raise ConfigurationError unless a commit on this connection survives a power cut."""
    for setting, refused in (("fsync", {"off"}), ("full_page_writes", {"off"}), ("synchronous_commit", {"off"})):
        if await connection.fetchval("SELECT current_setting($1)", setting) in refused:
            raise ConfigurationError(f"Postgres runs with {setting}=off: turn it on, or accepted consents can be lost")


@asynccontextmanager
async def controller_transaction(
    pool: Pool, controller: int, *, subjects: Collection[UUID] | None = None, readonly: bool = True
) -> AsyncIterator[PooledConnection]:
    """A transaction that sees one controller only (row-level security); the wall nothing crosses.

    With `subjects` the second wall stands too: of what is personal only what is theirs, of nobody if there is none.
    """
    # '' is no wall; none at all is the empty array, behind which nobody is.
    scope = "" if subjects is None else "{" + ",".join(str(subject) for subject in subjects) + "}"
    async with pool.acquire() as connection, connection.transaction(readonly=readonly):
        await connection.execute(
            "SELECT set_config('sayso.controller', $1, true), set_config('sayso.subjects', $2, true)",
            str(controller),
            scope,
        )
        yield connection
