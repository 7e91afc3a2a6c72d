"""What goes by itself when its time is up: dead letters, dockets, tombstones, minimal proofs, old epochs' keys.

Invariant: a controller key is destroyed only when nothing living is wrapped under it and no backup that was made while
something was is kept any longer. From then on no backup brings an erased person back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from schemas.record import PART_NAMES
from services.keys import EPOCH_S, ControllerKeys, key_epoch
from services.ledger.appending import Appending, LogClosed, LogNotOpen
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.subject import log_of
from services.ledger.erasure.suppressing import end_suppressions
from services.ledger.high_water import HighWater
from services.ledger.opening import ERASED
from services.ledger.own_records import own_record
from services.ledger.store import Row, Store
from services.observability import get_logger
from services.postgres import Pool
from services.suppression import Suppression

REWRAP_AT_ONCE: Final = 500

_log = get_logger()


@dataclass(frozen=True, slots=True)
class House:
    """What there is to keep, and how long a backup of the database is kept."""

    pool: Pool
    keys: ControllerKeys
    event_id_key: bytes
    high_water: HighWater
    suppression: Suppression
    backup_window: timedelta


async def keep_house(house: House, now: datetime) -> int:
    """One round; how many things went. `now` is given so that a test can move the clock."""
    async with house.pool.acquire() as connection:
        erasures = ErasureStore(connection)
        gone = await Store(connection).expire_dead_letters()
        gone += await erasures.close_dockets_at_limit(now)
        gone += await erasures.expire_tombstones(now)
        gone += await end_suppressions(connection, now)
        living, erased = await erasures.living_controllers(), await erasures.erased_controllers()
    gone += await _end_minimal_proofs(house, now)
    for name in erased:
        # A crash between an erased controller's commit and this left its keys.
        await asyncio.to_thread(house.keys.destroy_controller, name)
    for controller, name in living:
        await _rewrap(house, (controller, name), now)
        gone += await _destroy_epochs(house, (controller, name), now)
    gone += await asyncio.to_thread(house.suppression.forget, now - house.backup_window - timedelta(seconds=EPOCH_S))
    return gone


async def _end_minimal_proofs(house: House, now: datetime) -> int:
    """Delete those whose time is up, and say so in their logs."""
    async with house.pool.acquire() as connection:
        controllers = await ErasureStore(connection).controllers_with_due_proofs(now)
    ended = 0
    for controller in controllers:
        try:
            ended += await _end_minimal_proofs_of(house, controller, now)
        except (LogNotOpen, LogClosed):
            # A successor log is about to begin: the next round finds it.
            continue
    return ended


async def _end_minimal_proofs_of(house: House, controller: int, now: datetime) -> int:
    """1. Lock the heads, as whoever erases does; 2. delete; 3. say so."""
    async with house.pool.acquire() as connection, connection.transaction():
        erasures = ErasureStore(connection)
        logs = {row["log"]: log_of(row) for row in await erasures.open_logs(controller)}
        appending = Appending(connection, house.keys, {}, house.high_water.sizes(), announce=False)
        await appending.lock_heads(logs.values())
        gone = await erasures.end_minimal_proofs(controller, now)
        records = []
        for row in gone:
            if row["log"] not in logs:
                continue
            counts = dict.fromkeys(PART_NAMES, 0) | {"what": row["what"]}
            stated = {"erasure": {"scope": "minimal-proofs", "ground": "time"}}
            log = logs[row["log"]]
            records.append(own_record(log, house.event_id_key, ERASED, stated, now, erased=counts))
        if records:
            await appending.write(records)
        return sum(row["what"] for row in gone)


async def _rewrap(house: House, owner: tuple[int, str], now: datetime) -> None:
    """Wrap the keys of the living under the key of the present epoch, some a transaction."""
    controller, name = owner
    epoch = key_epoch(now.timestamp())
    # Of an epoch whose key is destroyed (a dump older than the backup window) nothing can be wrapped anew.
    older = [known for known in await asyncio.to_thread(house.keys.epochs, name) if known < epoch]
    async with house.pool.acquire() as connection, connection.transaction():
        erasures = ErasureStore(connection)
        dockets = await erasures.dockets_to_rewrap(controller, older)
        for row, wrapped in zip(dockets, _wrap_anew(house, name, epoch, dockets), strict=True):
            await erasures.rewrap_docket(controller, epoch, row["docket"], wrapped)
    after: UUID | None = None
    while True:
        async with house.pool.acquire() as connection, connection.transaction():
            erasures = ErasureStore(connection)
            subjects = await erasures.subjects_to_rewrap(controller, older, after, REWRAP_AT_ONCE)
            if not subjects:
                return
            after = subjects[-1]["subject"]
            await erasures.rewrap_subjects(
                controller, epoch, [row["subject"] for row in subjects], _wrap_anew(house, name, epoch, subjects)
            )


def _wrap_anew(house: House, name: str, epoch: int, rows: Sequence[Row]) -> list[bytes]:
    fresh = house.keys.create_wrapping_key(name, epoch)
    return [
        aes_key_wrap(fresh, aes_key_unwrap(house.keys.wrapping_key(name, row["key_epoch"]), row["wrapped_key"]))
        for row in rows
    ]


async def _destroy_epochs(house: House, owner: tuple[int, str], now: datetime) -> int:
    """Destroy the keys of past epochs that have wrapped nothing for as long as a backup is kept."""
    controller, name = owner
    destroyed = 0
    for epoch in await asyncio.to_thread(house.keys.epochs, name):
        if epoch >= key_epoch(now.timestamp()):
            continue
        async with house.pool.acquire() as connection:
            in_use = epoch in await ErasureStore(connection).epochs_in_use(controller)
        # The last backup that needs this key is from before it was first seen unused.
        unused = await asyncio.to_thread(house.keys.unused_since, name, epoch, now, in_use=in_use)
        if unused is None or unused + house.backup_window > now:
            continue
        await asyncio.to_thread(house.keys.destroy_wrapping_key, name, epoch)
        _log.info("Destroyed the controller key of an old epoch.", count=1)
        destroyed += 1
    return destroyed
