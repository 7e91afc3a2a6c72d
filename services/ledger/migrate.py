"""Bring a database to the current schema: numbered SQL files, forward only, under an advisory lock and timeouts.

Invariant: a file that was applied never changes; one that did is refused, because two databases would then differ.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from schemas.errors import ConfigurationError
from services.postgres import Connection, named_queries

MIGRATIONS: Final = Path(__file__).parent / "sql" / "migrations"
POSTGRES_OLDEST: Final = 15_00_00
POSTGRES_NEWEST: Final = 18_99_99
_QUERIES: Final = Path(__file__).parent / "sql" / "migrate.sql"
_NAME: Final = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


class Migration(NamedTuple):
    """One numbered file."""

    version: int
    name: str
    sql: str
    sha256: bytes


def migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """The files in order. Raises ConfigurationError on a gap or a name outside the grammar."""
    found: list[Migration] = []
    for path in sorted(directory.iterdir()):
        match = _NAME.match(path.name)
        if match is None or int(match[1]) != len(found) + 1:
            raise ConfigurationError(f"migration {path.name} is not the next number of the form 0001_name.sql")
        text = path.read_text(encoding="utf-8")
        found.append(Migration(len(found) + 1, path.name, text, hashlib.sha256(text.encode()).digest()))
    return found


async def migrate(dsn: str, progress: Callable[[str], None] = lambda _: None) -> list[str]:
    """Apply what is missing and return the names applied. Raises ConfigurationError.

    1. Take the advisory lock; 2. compare what was applied with the files; 3. apply each missing file in its own
    transaction. A crash between files leaves whole files applied; the next run goes on from there.
    """
    queries = named_queries(_QUERIES)
    connection = await asyncpg.connect(dsn)
    try:
        await _check_server(connection)
        await connection.execute(queries["take_lock"])
        await connection.execute("SET ROLE sayso_owner")
        await connection.execute(queries["set_timeouts"])
        await connection.execute(queries["create_table"])
        applied = {row["version"]: row["sha256"] for row in await connection.fetch(queries["applied"])}
        done = []
        for migration in migrations():
            if migration.version in applied:
                if applied[migration.version] != migration.sha256:
                    raise ConfigurationError(f"{migration.name} differs from what this database was built with")
                continue
            progress(migration.name)
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(queries["record"], migration.version, migration.sha256)
            done.append(migration.name)
        return done
    finally:
        await connection.close()


async def _check_server(connection: Connection) -> None:
    version = connection.get_server_version()
    number = version.major * 10_000 + version.minor
    if not POSTGRES_OLDEST <= number <= POSTGRES_NEWEST:
        raise ConfigurationError(f"Postgres {version.major} is not supported: use 15 to 18")
    if not await connection.fetchval(named_queries(_QUERIES)["roles_exist"]):
        raise ConfigurationError("the roles are missing: run deploy/postgres/roles.sql once as a superuser")


async def pending(connection: Connection) -> list[str]:
    """Names of files that this database still needs."""
    queries = named_queries(_QUERIES)
    if not await connection.fetchval(queries["table_exists"]):
        return [migration.name for migration in migrations()]
    applied = {row["version"] for row in await connection.fetch(queries["applied"])}
    return [migration.name for migration in migrations() if migration.version not in applied]
