"""Erasure of a whole controller: every person in it, its keys, and its right to post; its logs stay and still verify.

Invariant: as for a subject. The line in the suppression file is durable first; one transaction deletes and says so in
every log; then the key files are destroyed. Any step may be repeated after a crash.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

import asyncpg

from schemas.errors import ConfigurationError
from services.keys import ControllerKeys
from services.ledger.appending import Appending, LogClosed, LogNotOpen
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.subject import Eraser, append_declarations, log_of
from services.ledger.high_water import HighWater
from services.ledger.rights.holds import has_standing_hold
from services.postgres import Pool
from services.suppression import Suppression

GROUND: Final = "controller"
ATTEMPTS_MAX: Final = 10


async def erase_controller(
    pool: Pool, keys: ControllerKeys, high_water: HighWater, suppression: Suppression, eraser: Eraser, name: str
) -> int:
    """Erase the controller called `name`; the number of the erasure. Raises ConfigurationError if there is none.

    1. Lock the heads of all its logs; 2. say what older erasures have deleted; 3. the line; 4. count, and say so in
    every log; 5. delete; 6. commit; 7. destroy its keys. A crash before (6) leaves a line, which a ledger applies; one
    after it leaves keys that the ledger's housekeeping destroys.
    """
    for _ in range(ATTEMPTS_MAX):
        try:
            number = await _erase(pool, keys, high_water, suppression, eraser, name)
        except LogNotOpen:
            raise ConfigurationError("a successor log has not begun: start the ledger once, then try again") from None
        except (LogClosed, asyncpg.DeadlockDetectedError):
            # A log was closed just now, or somebody had locked a row that we delete and wanted one that we held.
            continue
        await asyncio.to_thread(keys.destroy_controller, name)
        return number
    raise ConfigurationError(f"other writers got in the way {ATTEMPTS_MAX} times: stop the ledgers, then try again")


async def _erase(
    pool: Pool, keys: ControllerKeys, high_water: HighWater, suppression: Suppression, eraser: Eraser, name: str
) -> int:
    """Steps (1) to (6)."""
    async with pool.acquire() as connection, connection.transaction():
        erasures = ErasureStore(connection)
        row = await erasures.controller(name)
        if row is None or row["erased_at"] is not None:
            raise ConfigurationError(
                f"there is no controller {name} with anything to erase: see `sayso controller list`"
            )
        controller = row["controller"]
        if await erasures.has_unopened_successor(controller):
            # It has to state what a log before it lost, and cannot yet.
            raise LogNotOpen
        appending = Appending(connection, keys, {}, high_water.sizes(), announce=False)
        await appending.lock_heads([log_of(row) for row in await erasures.open_logs(controller)])
        if await has_standing_hold(connection, controller, datetime.now(UTC)):
            raise ConfigurationError(f"data of {name} is held by law: release the holds first, or let them expire")
        await append_declarations(
            appending, erasures, await eraser.records(erasures, controller, None, appending.heads)
        )
        line = await asyncio.to_thread(
            suppression.append,
            controller=name,
            subject=None,
            identifiers=(),
            erased_at=datetime.now(UTC),
            event=None,
            ground=GROUND,
            after=await erasures.last_number(),
        )
        await erasures.write_erasure(controller, line.number, None, None, line.ground, line.erased_at)
        await erasures.count_controller(controller, line.number)
        await append_declarations(
            appending, erasures, await eraser.records(erasures, controller, None, appending.heads)
        )
        await eraser.delete_controller(erasures, controller, line)
        return line.number
