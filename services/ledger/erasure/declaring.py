"""What the ledger has to say by itself: how a successor log begins, and deleted parts that no entry states yet.

Invariant: a successor log's first entry names the last checkpoint of its predecessor that is known outside; its second
states what a replay after the restore deleted of that predecessor. Nothing else is recorded before.
"""

from datetime import UTC, datetime
from typing import Final

from schemas.errors import ConfigurationError
from services.keys import ControllerKeys
from services.ledger.appending import Appending, LogClosed
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.subject import Eraser, append_declarations, log_of
from services.ledger.high_water import HighWater
from services.ledger.opening import Opened
from services.ledger.own_records import own_record
from services.ledger.store import Row
from services.postgres import Pool

# The type in the payload of a successor log's first entry.
SUCCEEDED: Final = "log.succeeded"


class Declarations:
    """Makes those records; any ledger of a deployment may, the heads decide whose turn it is."""

    def __init__(
        self,
        pool: Pool,
        keys: ControllerKeys,
        event_id_key: bytes,
        high_water: HighWater,
        eraser: Eraser,
        *,
        announce: bool,
    ) -> None:
        """Like a recorder's."""
        self._pool = pool
        self._keys = keys
        self._event_id_key = event_id_key
        self._high_water = high_water
        self._eraser = eraser
        self._announce = announce

    async def make(self) -> int:
        """State what is to be stated; how many records that were. Raises LedgerHalted."""
        async with self._pool.acquire() as connection:
            controllers = await ErasureStore(connection).to_declare()
        made = 0
        for controller in controllers:
            try:
                made += await self._make(controller)
            except LogClosed:
                # A log was closed between our two looks: the next round finds its successor.
                continue
        return made

    async def _make(self, controller: int) -> int:
        """1. Lock the heads of all its logs; 2. begin successors; 3. state counts. One transaction."""
        async with self._pool.acquire() as connection, connection.transaction():
            erasures = ErasureStore(connection)
            appending = Appending(connection, self._keys, {}, self._high_water.sizes(), announce=self._announce)
            rows = await erasures.open_logs(controller)
            await appending.lock_heads([log_of(row) for row in rows], to_begin=True)
            to_begin = [row for row in rows if row["follows"] and appending.heads[controller, row["log"]].size == 0]
            for row in to_begin:
                await appending.write([self._beginning(row)])
            declarations = await self._eraser.records(erasures, controller, None, appending.heads)
            await append_declarations(appending, erasures, declarations)
            return len(to_begin) + len(declarations)

    def _beginning(self, row: Row) -> Opened:
        log = log_of(row)
        if not log.sites:
            raise ConfigurationError(f"the successor log {log.name} has no site: run sayso log succeed again")
        follows = {"log": row["followed"], "size": row["follows_size"], "root": row["follows_root"].hex()}
        return own_record(log, self._event_id_key, SUCCEEDED, {}, datetime.now(UTC), follows=follows)
