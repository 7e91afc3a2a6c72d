"""A connection for fsck: as the ledger, to a database of this version's schema, or the reason why not."""

from typing import Final

import asyncpg

from schemas.errors import ConfigurationError
from services.ledger.migrate import pending
from services.ledger.settings import LedgerSettings
from services.postgres import CONNECT_TIMEOUT_S, DATABASE_AWAY, Connection

_ROLE: Final = "sayso_ledger"


async def connect(settings: LedgerSettings) -> Connection:
    """Raises ConfigurationError."""
    try:
        connection = await asyncpg.connect(settings.database_url.get_secret_value(), timeout=CONNECT_TIMEOUT_S)
    except DATABASE_AWAY as error:
        raise ConfigurationError(f"the database does not answer ({type(error).__name__}): start it first") from None
    try:
        await connection.execute(f'SET ROLE "{_ROLE}"')
        missing = await pending(connection)
    except asyncpg.PostgresError as error:
        await connection.close()
        raise ConfigurationError(f"this login may not act as {_ROLE} ({type(error).__name__})") from None
    if missing:
        await connection.close()
        raise ConfigurationError(f"the database lacks {len(missing)} migrations: run sayso migrate")
    return connection


def gone_away(error: BaseException) -> ConfigurationError:
    """What to say when the database went away in the middle."""
    return ConfigurationError(
        f"the database went away ({type(error).__name__}): start it and run fsck again; with --resume it goes on"
    )
