"""A backup from before an erasure that took a device along: the replay erases both again, and leaves the shared one."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from services.ledger.acting import acting
from services.ledger.erasure.replaying import replay
from services.ledger.fsck.check import check
from services.ledger.rebuild import rebuild
from services.ledger.successor import succeed
from services.suppression import Suppression
from tests.fault.test_restored_after_erasure import entries, make_older
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.dumps import restore, take_dump
from tests.support.linking import link_event, links

pytestmark = pytest.mark.fault


async def test_the_replay_erases_whom_the_erasure_took_along(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    story = [
        *(consent_event(n, subject=subject) for n, subject in enumerate(("phone", "tablet"))),
        link_event(2, "phone", "ann", minute=1),
        link_event(3, "tablet", "ann", minute=1),
        link_event(4, "tablet", "bob", minute=2),
    ]
    async with deployment.ledger():
        await deployment.publish(deployment.seal(event) for event in story)
        await deployment.recorded(5)
    dump = await asyncio.to_thread(take_dump, deployment.database)
    ann = await deployment.subject_of("ann", "account")
    tablet = await deployment.subject_of("tablet")
    assert ann is not None
    async with deployment.ledger():
        await deployment.publish([deployment.seal_erasure(ann)])
        await deployment.recorded(7)
    make_older(deployment, timedelta(hours=1))
    await asyncio.to_thread(restore, deployment.database, dump)
    assert await deployment.subject_of("phone") is not None
    suppression = Suppression(deployment.settings().suppression_dir)
    async with acting(deployment.settings(), appends=False) as ledger, ledger.pool.acquire() as connection:
        done = await replay(connection, suppression, ledger.eraser, in_flight=timedelta(0))
        assert done == [(1, True), (2, True)]
        await succeed(connection, ledger.high_water, "shop", "shop-2", "log.example/logs/shop-2", None)
    async with deployment.ledger():
        await deployment.recorded(3, log="shop-2")
    stated = [entry["erased"] for entry in await entries(deployment, "shop-2") if "erased" in entry]
    assert stated == [{"who": n, "what": n, "context": n} for n in (1, 2)]
    assert await deployment.subject_of("ann", "account") is None
    assert await deployment.subject_of("phone") is None
    assert await deployment.subject_of("tablet") == tablet
    for _ in range(2):
        assert {row[:3] for row in await links(deployment)} == {(4, "tablet", "bob")}
        (row,) = await deployment.fetch("SELECT is_shared FROM subjects WHERE subject = $1", tablet)
        assert row["is_shared"]
        report = await check(deployment.settings(), progress=lambda *_: None)
        assert report.clean, report.findings
        await rebuild(deployment.settings(), progress=lambda *_: None)
