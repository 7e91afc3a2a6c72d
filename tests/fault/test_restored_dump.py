"""An old state of the database under a ledger that has signed more: it neither records nor signs, and says why.

Goal: never two roots for one size. Method: real dumps are played by database templates: a copy taken early takes the
place of the database, once under a running ledger and once between two runs.
"""

import asyncio
from pathlib import Path

import pytest

from schemas.errors import LedgerHalted
from services.ledger.high_water import HighWater
from services.ledger.service import LedgerService
from services.ledger.store import Store
from tests.support.databases import Database, run_sql
from tests.support.deployment import Deployment, consent_event
from tests.support.dumps import restore, take_dump
from tests.support.wait import until

pytestmark = pytest.mark.fault


async def test_a_dump_restored_under_a_running_ledger_halts_it(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(5))
        await deployment.recorded(5)
    dump = await asyncio.to_thread(take_dump, database)
    service = LedgerService(deployment.settings())
    running = asyncio.create_task(service.run())
    try:
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(5, 9))
        await deployment.recorded(9)
        await asyncio.to_thread(restore, database, dump)
        # Other events than before: recording them would give size 6 a second root.
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(50, 54))
        await until(lambda: service.halted is not None, what="the ledger halts", deadline_s=30)
        assert service.halted is not None
        assert "signed at size 9" in service.halted
        assert "5 records" in service.halted
        assert await deployment.size() == 5
        assert await deployment.fetch("SELECT FROM checkpoints WHERE size > 5") == []
        assert len(await deployment.fetch("SELECT FROM inbox")) == 4
    finally:
        service.stop()
        await running


async def test_a_rewritten_history_of_the_signed_size_is_refused(database: Database, tmp_path: Path) -> None:
    """Same size, other root: an old dump that somebody let grow again without the high-water directory."""
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
    dump = await asyncio.to_thread(take_dump, database)
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(2))])
        await deployment.recorded(2)
    high_water = tmp_path / "high-water"
    high_water.rename(tmp_path / "kept")
    await asyncio.to_thread(restore, database, dump)
    await asyncio.to_thread(
        run_sql,
        database.dsn(),
        "SET session_replication_role = replica",
        "DELETE FROM deployment",
        "UPDATE log_heads SET published_size = NULL, signed_size = NULL",
        "DELETE FROM checkpoints",
    )
    other = LedgerService(deployment.settings())
    running = asyncio.create_task(other.run())
    await deployment.publish([deployment.seal(consent_event(3))])
    await until(lambda: _size_is(deployment, 2), what="the other history is recorded", deadline_s=30)
    other.stop()
    await running
    connection = await deployment.connect()
    try:
        await connection.execute("UPDATE deployment SET high_water_id = $1", HighWater(tmp_path / "kept").id)
        with pytest.raises(LedgerHalted, match="another root at the signed size 2"):
            await HighWater(tmp_path / "kept").check(Store(connection))
    finally:
        await connection.close()


async def _size_is(deployment: Deployment, size: int) -> bool:
    return await deployment.size() == size


async def test_an_empty_database_beside_old_marks_is_refused(
    database: Database, empty_database: Database, tmp_path: Path
) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
    await deployment.fetch("DELETE FROM deployment")
    connection = await deployment.connect()
    try:
        with pytest.raises(LedgerHalted, match="do not belong together"):
            await HighWater(tmp_path / "high-water").check(Store(connection))
    finally:
        await connection.close()


async def test_a_ledger_with_a_high_water_directory_of_its_own_is_refused(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        await deployment.recorded(0)
    second = LedgerService(deployment.settings(high_water_dir=tmp_path / "not-shared"))
    running = asyncio.create_task(second.run())
    try:
        await until(lambda: second.halted is not None, what="the second ledger halts", deadline_s=30)
        assert second.halted is not None
        assert "several ledgers must share one directory" in second.halted
    finally:
        second.stop()
        await running
