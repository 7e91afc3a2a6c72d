"""Acting as a ledger outside its process: what `sayso controller erase`, `sayso restore-check` and the like stand on.

Invariant: the same checks as a ledger's own: nothing is appended to a database that lacks what was signed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from schemas.errors import ConfigurationError
from services.keys import ControllerKeys, open_provider, read_secret
from services.ledger.erasure.subject import Eraser, Terms
from services.ledger.high_water import HighWater
from services.ledger.settings import LedgerSettings
from services.ledger.store import Store
from services.postgres import DATABASE_AWAY, Connection, Pool, create_pool
from services.suppression import DatabaseNotReplayed, Suppression

_ROLE = "sayso_ledger"


@dataclass(frozen=True, slots=True)
class Acting:
    """What a ledger has to work with."""

    pool: Pool
    keys: ControllerKeys
    high_water: HighWater
    suppression: Suppression
    eraser: Eraser


def make_eraser(settings: LedgerSettings, keys: ControllerKeys, event_id_key: bytes) -> tuple[Suppression, Eraser]:
    """The suppression file of these settings, and an eraser that writes to it."""
    suppression = Suppression(settings.suppression_dir)
    terms = Terms(timedelta(days=settings.tombstone_days), timedelta(days=settings.docket_days))
    return suppression, Eraser(keys, event_id_key, suppression, terms)


@asynccontextmanager
async def acting(settings: LedgerSettings, *, appends: bool = True) -> AsyncIterator[Acting]:
    """Open what a ledger opens. With `appends` the database must contain everything that was signed and erased.

    Raises ConfigurationError, LedgerHalted.
    """
    keys = ControllerKeys(settings.controller_key_dir, open_provider(settings))
    suppression, eraser = make_eraser(settings, keys, read_secret(settings.event_id_key_file))
    high_water = HighWater(settings.high_water_dir)
    suppression.create()

    async def check(connection: Connection) -> None:
        if appends:
            await suppression.check(connection)
            await high_water.check(Store(connection))

    try:
        pool = await create_pool(
            settings.database_url.get_secret_value(), role=_ROLE, size=2, application="sayso-command", on_connect=check
        )
    except DatabaseNotReplayed:
        raise
    except DATABASE_AWAY as error:
        raise ConfigurationError(f"the database does not answer ({type(error).__name__}): start it first") from None
    async with pool:
        yield Acting(pool, keys, high_water, suppression, eraser)
