"""`rebuild` on real Postgres: wrecked state comes back exactly, also while a ledger records."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.ledger.fsck.check import check
from services.ledger.rebuild import SUBJECTS_A_TRANSACTION, rebuild
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.sample_log import DENIED, SampleLog
from tests.support.wait import until

pytestmark = pytest.mark.integration

WRECKS = {
    "emptied": "DELETE FROM consent_state",
    "every other row gone": "DELETE FROM consent_state WHERE get_byte(event, 15) % 2 = 0",
    "turned": "UPDATE consent_state SET decision = 'granted', rank = now() + interval '1 year'",
    "of nobody": "UPDATE consent_state SET subject = gen_random_uuid()",
    "of a stand-in": "INSERT INTO consent_state SELECT controller, subject, 'p', 'consent', 'granted', now(), 'x'"
    " FROM subjects WHERE log IS NOT NULL",
}


async def rows(deployment: Deployment) -> list[tuple[Any, ...]]:
    found = await deployment.fetch("SELECT * FROM consent_state")
    return sorted(tuple(row) for row in found)


async def test_wrecked_state_is_projected_again(database: Database, tmp_path: Path) -> None:
    sample = SampleLog(database, tmp_path)
    await sample.record()
    deployment = sample.deployment
    before = await rows(deployment)
    ((subjects,),) = await deployment.fetch("SELECT count(*) FROM subjects")
    for name, wreck in WRECKS.items():
        await deployment.fetch(wreck)
        assert await rows(deployment) != before, name
        told: list[tuple[str, int, int]] = []
        assert await rebuild(deployment.settings(), progress=lambda *step: told.append(step)) == subjects
        assert await rows(deployment) == before, name
        assert told[-1] == ("shop: state", subjects, subjects)


async def test_rebuilding_beside_a_recording_ledger_loses_no_decision(database: Database, tmp_path: Path) -> None:
    """The ledger keeps deciding for the subjects that are being projected, and nothing of either is lost."""
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    subjects = 3 * SUBJECTS_A_TRANSACTION
    recording = asyncio.Event()
    done = asyncio.Event()

    async def record() -> int:
        number = subjects
        while not done.is_set():
            wave = range(number, number + 40)
            events = [
                consent_event(n, subject=f"v-{n % subjects}", type="consent.withdrawn", decisions=DENIED)
                if n % 3
                else consent_event(n, subject=f"v-{n % subjects}")
                for n in wave
            ]
            await deployment.publish(deployment.seal(event) for event in events)
            recording.set()
            number += 40
        return number

    async with deployment.ledger(batch_events_max=25):
        await deployment.publish(deployment.seal(consent_event(n, subject=f"v-{n}")) for n in range(subjects))
        await deployment.recorded(subjects)
        task = asyncio.create_task(record())
        await recording.wait()
        for _ in range(5):
            before = await deployment.size()
            await deployment.fetch("UPDATE consent_state SET decision = 'granted' WHERE get_byte(event, 15) % 2 = 0")
            assert await rebuild(deployment.settings(), progress=lambda *_: None) == subjects
        assert await deployment.size() > before, "nothing was recorded beside the rebuild"
        done.set()
        await deployment.recorded(await task)
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.findings == []


async def test_a_subject_that_is_being_recorded_to_is_waited_for(database: Database, tmp_path: Path) -> None:
    """A recorder in the middle of a batch holds its subjects; a projection that did not wait would lose its answers."""
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(3))
        await deployment.recorded(3)

    async def waits() -> bool:
        return bool(
            await deployment.fetch(
                "SELECT FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'sayso-rebuild' AND wait_event_type = 'Lock'"
            )
        )

    recorder = await deployment.connect()
    try:
        async with recorder.transaction():
            await recorder.execute("SELECT FROM subjects ORDER BY subject LIMIT 1 FOR KEY SHARE")
            task = asyncio.create_task(rebuild(deployment.settings(), progress=lambda *_: None))
            await until(waits, what="the rebuild waits for the subject")
            assert not task.done()
        assert await task == 3
    finally:
        await recorder.close()
