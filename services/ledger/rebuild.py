"""`sayso rebuild`: project state, links and acts of every subject anew from the records, while the ledger runs or not.

Invariant: each subject is locked while it is projected, in id order and a few a transaction, so that a recorder waits
for moments only and always finds the state whole. A crash leaves some subjects projected; run it again.
"""

from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg

from schemas.errors import ConfigurationError
from services.keys import ControllerKeys, open_provider, read_secret
from services.ledger.fsck.findings import Pace, Progress
from services.ledger.projection import project
from services.ledger.replaying_acts import replay_acts
from services.ledger.settings import LedgerSettings
from services.ledger.store import Store
from services.postgres import DATABASE_AWAY, Pool, create_pool, named_queries

SUBJECTS_A_TRANSACTION: Final = 16
_SQL: Final = named_queries(Path(__file__).parent / "sql" / "rebuild.sql")


async def rebuild(settings: LedgerSettings, *, progress: Progress) -> int:
    """Project consent_state, links and acts of every subject of every controller; return how many subjects.

    progress: called with (what, done, total) about once a second.
    Raises ConfigurationError, or ProofError if a payload does not open: then run fsck first.
    """
    keys = ControllerKeys(settings.controller_key_dir, open_provider(settings))
    event_id_key = read_secret(settings.event_id_key_file)
    try:
        pool = await create_pool(
            settings.database_url.get_secret_value(), role="sayso_ledger", size=1, application="sayso-rebuild"
        )
    except DATABASE_AWAY as error:
        raise ConfigurationError(f"the database does not answer ({type(error).__name__}): start it first") from None
    try:
        async with pool.acquire() as connection:
            owners = sorted({(row["controller"], row["controller_name"]) for row in await Store(connection).logs()})
        subjects = 0
        for owner in owners:
            subjects += await _rebuild_controller(pool, keys, event_id_key, owner, Pace(progress))
            await replay_acts(pool, keys, event_id_key, owner)
        return subjects
    finally:
        await pool.close()


async def _rebuild_controller(
    pool: Pool, keys: ControllerKeys, event_id_key: bytes, owner: tuple[int, str], pace: Pace
) -> int:
    """1. Drop state that is nobody's; 2. page by page in id order, one transaction each."""
    controller, name = owner
    async with pool.acquire() as connection:
        await connection.execute(_SQL["clear_strays"], controller)
        await connection.execute(_SQL["clear_stray_links"], controller)
        total: int = await connection.fetchval(_SQL["count_subjects_to_project"], controller)
    done = 0
    after: UUID | None = None
    while True:
        try:
            subjects = await _rebuild_page(pool, keys, event_id_key, owner, after)
        except asyncpg.DeadlockDetectedError:
            # A recorder held one of these subjects and wanted another; it has what it wanted, so begin the page again.
            continue
        if not subjects:
            return done
        after = subjects[-1]
        done += len(subjects)
        pace.step(f"{name}: state", done, total)


async def _rebuild_page(
    pool: Pool, keys: ControllerKeys, event_id_key: bytes, owner: tuple[int, str], after: UUID | None
) -> list[UUID]:
    """Project the next subjects after `after` in one transaction; return them."""
    async with pool.acquire() as connection, connection.transaction():
        store = Store(connection)
        subjects = await store.subjects_after(owner[0], after, SUBJECTS_A_TRANSACTION)
        for subject in subjects:
            await project(store, keys, event_id_key, owner, subject)
        return subjects
