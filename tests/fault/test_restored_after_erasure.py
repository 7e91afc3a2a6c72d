"""A backup from before an erasure: nobody opens it before the erasure was applied again, and in time nobody can.

The dumps are real ones (tests.support.dumps); clocks are moved by giving the housekeeping another time.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from schemas.errors import ConfigurationError, LedgerHalted
from schemas.record import read_entry
from services.keys import EPOCH_S, ControllerKeys, key_epoch
from services.keys.file_provider import FileProvider
from services.ledger.acting import Acting, acting
from services.ledger.erasure.housekeeping import House, keep_house
from services.ledger.erasure.replaying import replay
from services.ledger.fsck.check import check
from services.ledger.service import LedgerService
from services.ledger.subjects import unwrap
from services.ledger.successor import succeed
from services.postgres import create_pool
from services.suppression import DatabaseNotReplayed, Suppression
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.dumps import restore, take_dump
from tests.support.wait import until

pytestmark = pytest.mark.fault


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


async def erase(deployment: Deployment, value: str) -> UUID:
    """Erase a subject through a running ledger."""
    subject = await deployment.subject_of(value)
    assert subject is not None
    before = await deployment.size()
    await deployment.publish([deployment.seal_erasure(subject)])
    await deployment.recorded(before + 1)
    return subject


def make_older(deployment: Deployment, by: timedelta) -> None:
    """Move the lines of the suppression file into the past: an erasure that is really over."""
    path = deployment.settings().suppression_dir / "suppression.jsonl"
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    for line in lines:
        line["erased_at"] = (datetime.fromisoformat(line["erased_at"]) - by).isoformat()
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


@asynccontextmanager
async def as_ledger(deployment: Deployment, *, appends: bool) -> AsyncIterator[Acting]:
    async with acting(deployment.settings(), appends=appends) as ledger:
        yield ledger


async def entries(deployment: Deployment, log: str) -> list[dict[str, Any]]:
    rows = await deployment.fetch(
        "SELECT entry FROM records JOIN logs USING (controller, log) WHERE name = $1 ORDER BY index", log
    )
    return [read_entry(row["entry"]) for row in rows]


async def fits(deployment: Deployment) -> None:
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings


async def restored_from_before(deployment: Deployment) -> UUID:
    """A database restored from before the erasure of `gone`, which a checkpoint was published after."""
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(n, subject=s)) for n, s in ((1, "gone"), (2, "stays"))])
        await deployment.recorded(2)
    dump = await asyncio.to_thread(take_dump, deployment.database)
    async with deployment.ledger():
        subject = await erase(deployment, "gone")
    make_older(deployment, timedelta(hours=1))
    await asyncio.to_thread(restore, deployment.database, dump)
    return subject


async def test_nobody_opens_it_before_the_file_is_replayed_and_a_successor_goes_on(deployment: Deployment) -> None:
    gone = await restored_from_before(deployment)
    suppression = Suppression(deployment.settings().suppression_dir)
    for role in ("sayso_ingest", "sayso_query"):
        with pytest.raises(DatabaseNotReplayed, match="run sayso restore-check"):
            _ = await create_pool(
                deployment.database.dsn(), role=role, size=1, application="test", on_connect=suppression.check
            )
    assert await deployment.subject_of("gone") == gone
    async with as_ledger(deployment, appends=False) as ledger, ledger.pool.acquire() as connection:
        assert await replay(connection, suppression, ledger.eraser, in_flight=timedelta(0)) == [(1, True)]
        assert await replay(connection, suppression, ledger.eraser, in_flight=timedelta(0)) == []
    assert await deployment.subject_of("gone") is None
    assert not await deployment.fetch("SELECT FROM payloads WHERE subject = $1", gone)
    pool = await create_pool(
        deployment.database.dsn(), role="sayso_query", size=1, application="test", on_connect=suppression.check
    )
    await pool.close()
    # What was signed is not all there: the ledger goes on saying so, and says how to go on.
    halted = LedgerService(deployment.settings())
    running = asyncio.create_task(halted.run())
    await until(lambda: halted.halted is not None, what="the ledger halts")
    halted.stop()
    await running
    with pytest.raises(LedgerHalted):
        async with as_ledger(deployment, appends=True):
            pass
    async with as_ledger(deployment, appends=False) as ledger, ledger.pool.acquire() as connection:
        for _ in range(2):  # given again after a crash, it changes nothing
            last = await succeed(connection, ledger.high_water, "shop", "shop-2", "log.example/logs/shop-2", None)
    assert last.size == 3
    # Sealed to the log before: recorded by its successor, after the two entries that it begins with.
    await deployment.publish([deployment.seal(consent_event(9, subject="new"))])
    async with deployment.ledger():
        await deployment.recorded(3, log="shop-2")
    first, second, third = await entries(deployment, "shop-2")
    assert first["follows"] == {"log": "log.example/logs/shop", "size": 3, "root": last.root.hex()}
    assert (first["class"], second["class"], third["class"]) == ("system", "erasure", "consent")
    assert second["erased"] == {"who": 1, "what": 1, "context": 1}
    assert await deployment.size("shop") == 2
    assert not await deployment.fetch(
        "SELECT FROM checkpoints JOIN logs USING (controller, log) WHERE size = 3 AND name = 'shop'"
    )
    await fits(deployment)


async def test_a_line_whose_erasure_never_committed_is_applied_and_stated(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        await deployment.recorded(1)
        gone = await deployment.subject_of("gone")
    suppression = Suppression(deployment.settings().suppression_dir)
    suppression.append(
        controller="shop",
        subject=gone,
        identifiers=(),
        erased_at=datetime.now(UTC) - timedelta(minutes=5),
        event=None,
        ground="17(1)(b)",
        after=0,
    )
    async with deployment.ledger():
        await deployment.recorded(2)
    assert await deployment.subject_of("gone") is None
    assert (await entries(deployment, "shop"))[1]["erased"] == {"who": 1, "what": 1, "context": 1}
    await fits(deployment)


async def test_a_lost_suppression_file_is_never_invented_anew(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        await deployment.recorded(1)
        await erase(deployment, "gone")
    (deployment.settings().suppression_dir / "suppression.jsonl").unlink()
    with pytest.raises(ConfigurationError, match="ends before the last erasure"):
        await LedgerService(deployment.settings()).run()


def house_of(ledger: Acting, deployment: Deployment) -> House:
    window = deployment.settings().backup_window
    return House(ledger.pool, ledger.keys, deployment.event_id_key, ledger.high_water, ledger.suppression, window)


async def test_after_the_backup_window_no_key_opens_the_dump(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(n, subject=s)) for n, s in ((1, "gone"), (2, "stays"))])
        await deployment.recorded(2)
    subject = await deployment.subject_of("gone")
    (old,) = await deployment.fetch("SELECT wrapped_key, key_epoch FROM subjects WHERE subject = $1", subject)
    async with deployment.ledger():
        await erase(deployment, "gone")
    epoch = key_epoch(time.time())
    next_epoch = datetime.fromtimestamp((epoch + 1) * EPOCH_S, UTC) + timedelta(hours=1)
    window = deployment.settings().backup_window

    def keys() -> ControllerKeys:
        return ControllerKeys(deployment.keys / "controllers", FileProvider(deployment.keys / "root.key"))

    async with as_ledger(deployment, appends=True) as ledger:
        house = house_of(ledger, deployment)
        # Re-wrapped in the first round of the next epoch; the old key stays as long as a backup that needs it.
        await keep_house(house, next_epoch)
        assert keys().epochs("shop") == [epoch, epoch + 1]
        assert unwrap(keys(), "shop", old)
        await keep_house(house, next_epoch + window - timedelta(hours=2))
        assert unwrap(keys(), "shop", old)
        await keep_house(house, next_epoch + window + timedelta(hours=1))
    # The row is what a dump from before the erasure has: the provider holds nothing any more that opens it.
    assert epoch not in keys().epochs("shop")
    with pytest.raises(ConfigurationError):
        unwrap(keys(), "shop", old)
    for row in await deployment.fetch("SELECT wrapped_key, key_epoch FROM subjects"):
        assert unwrap(keys(), "shop", row)
    # With nothing left to fear from a backup, the line may go; the last one stays for its number.
    assert [line.number for line in Suppression(deployment.settings().suppression_dir).read()] == [1]
    await fits(deployment)


async def test_an_epoch_in_use_is_never_destroyed(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="stays"))])
        await deployment.recorded(1)
    subject = await deployment.subject_of("stays")
    connection = await deployment.connect()
    try:
        async with as_ledger(deployment, appends=True) as ledger:
            house = house_of(ledger, deployment)
            # A recorder holds the row: it is passed over, and so is the key that it needs.
            async with connection.transaction():
                await connection.execute("SELECT FROM subjects WHERE subject = $1 FOR UPDATE", subject)
                await keep_house(house, datetime.now(UTC) + timedelta(days=400))
            epoch = key_epoch(time.time())
            assert epoch in ledger.keys.epochs("shop")
            await keep_house(house, datetime.now(UTC) + timedelta(days=401))
            await keep_house(house, datetime.now(UTC) + timedelta(days=500))
            assert epoch not in ledger.keys.epochs("shop")
    finally:
        await connection.close()
    await fits(deployment)
