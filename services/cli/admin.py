"""The operator's connection: as role sayso_owner, which sees every controller and owns the schema.

Driver errors become sentences here, so that a command fails with one line that says what to do.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import asyncpg

from schemas.errors import ConfigurationError
from services.ledger import migrate as migrations
from services.postgres import CONNECT_TIMEOUT_S, DATABASE_AWAY, Connection, named_queries

QUERIES: Final = named_queries(Path(__file__).parent / "sql" / "queries.sql")
ADMIN_URL: Final = "SAYSO_ADMIN_DATABASE_URL"
SERVICE_URL: Final = "SAYSO_DATABASE_URL"


def admin_dsn() -> str:
    """Where the operator's commands connect to. Raises ConfigurationError if neither setting is there."""
    dsn = os.environ.get(ADMIN_URL) or os.environ.get(SERVICE_URL)
    if not dsn:
        raise ConfigurationError(f"set {ADMIN_URL}; for the database of `sayso up`, type:  . .sayso/sayso.env")
    return dsn


async def migrate(progress: Callable[[str], None]) -> list[str]:
    """Apply the missing migrations; their names. Raises ConfigurationError."""
    with _sentences():
        return await migrations.migrate(admin_dsn(), progress)


@asynccontextmanager
async def connect(dsn: str | None = None) -> AsyncIterator[Connection]:
    """One connection as sayso_owner to `dsn`, by default the configured one. Raises ConfigurationError."""
    with _sentences():
        connection = await asyncpg.connect(dsn or admin_dsn(), timeout=CONNECT_TIMEOUT_S)
        try:
            await connection.execute("SET ROLE sayso_owner")
            yield connection
        finally:
            await connection.close()


@contextmanager
def _sentences() -> Iterator[None]:
    """Driver errors that an operator can do something about, as ConfigurationError."""
    try:
        yield
    except asyncpg.UndefinedTableError:
        raise ConfigurationError("the database has no schema yet: run `sayso migrate`") from None
    except (asyncpg.InvalidParameterValueError, asyncpg.UndefinedObjectError):
        raise ConfigurationError("the roles are missing: run deploy/postgres/roles.sql once as a superuser") from None
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigurationError(
            "this login may not act as the owner: as a superuser, GRANT sayso_owner to it"
        ) from None
    except asyncpg.ClientConfigurationError:
        raise ConfigurationError(f"{ADMIN_URL} is not a Postgres address: postgresql://LOGIN@HOST/DATABASE") from None
    except (*DATABASE_AWAY, asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise ConfigurationError(
            f"the database does not let us in ({type(error).__name__}): check {ADMIN_URL}"
        ) from None
