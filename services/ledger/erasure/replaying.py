"""After a restore: apply the erasures of the suppression file that the database lacks. Only deletes.

Invariant: nothing opens a restored database before every line is applied. What is deleted here is stated by entries
later (declaring.py): by the same log if it goes on, by its successor if it cannot.
"""

import asyncio
from datetime import timedelta

import asyncpg

from schemas.errors import ConfigurationError
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.subject import Eraser
from services.ledger.store import Store
from services.postgres import Connection, PooledConnection
from services.suppression import ENDS_TOO_EARLY, DatabaseNotReplayed, Suppression


async def replay(
    connection: Connection | PooledConnection, suppression: Suppression, eraser: Eraser, *, in_flight: timedelta
) -> list[tuple[int, bool]]:
    """Apply the missing lines older than `in_flight`; (number, whether there was something to delete) of each.

    `connection` has the role sayso_ledger. Each line is a transaction of its own: a crash leaves whole lines applied,
    and the next call goes on. Raises ConfigurationError if the file itself lacks what the database has, and
    DatabaseNotReplayed if a line could not be applied now.
    """
    lines = await asyncio.to_thread(suppression.read)
    last = max((line.number for line in lines), default=0)
    if await ErasureStore(connection).last_number() > last:
        raise ConfigurationError(ENDS_TOO_EARLY)
    applied = []
    for line in await suppression.missing(connection, in_flight=in_flight):
        erasures = ErasureStore(connection)
        owner = await erasures.controller(line.controller)
        if owner is None:
            continue
        try:
            async with connection.transaction():
                there = await eraser.apply(erasures, Store(connection), owner["controller"], line)
        except asyncpg.UniqueViolationError:
            # Another ledger has applied it meanwhile.
            continue
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.ReadOnlySQLTransactionError):
            raise DatabaseNotReplayed(
                "an erasure that this database lacks cannot be applied now: another writer holds its rows, or it is a "
                "replica; try again, or open the primary"
            ) from None
        applied.append((line.number, there))
    return applied
