"""A retention run under two ledgers that are killed in the middle of it: each part goes once and is stated once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.record import read_entry
from tests.support.databases import Database
from tests.support.deployment import Deployment
from tests.support.processes import ServiceProcess
from tests.support.retaining import Retaining, decided
from tests.support.wait import until

pytestmark = [pytest.mark.integration, pytest.mark.fault]

PEOPLE = 300
LATER = datetime.now(UTC) + timedelta(days=100)


async def test_two_ledgers_are_killed_and_nothing_goes_twice_or_unsaid(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    retaining = Retaining(deployment)
    await retaining.stop_ledgers()
    await retaining.state("logs", then="clear-part", part="context")
    await retaining.state("news", then="erase-subject", begins="withdrawn", purposes=["news"])
    for number in range(PEOPLE):
        retaining.happens(0, f"v-{number}", decided("news", "granted"), decided("chat", "granted"))
        retaining.happens(1, f"v-{number}", decided("chat", "granted"))
    for number in range(5):
        retaining.happens(1, f"gone-{number}", decided("news", "denied"), type="consent.withdrawn")
    async with deployment.ledger():
        await retaining.settle()
    ledgers = [
        ServiceProcess("ledger", deployment.ledger_environment(), tmp_path / f"{name}.log") for name in ("one", "two")
    ]
    run = await retaining.ask(LATER)

    async def parts_cleared() -> int:
        (row,) = await deployment.fetch("SELECT cleared FROM retention_runs WHERE run = $1", run)
        return int(row["cleared"])

    async def is_done() -> bool:
        return bool(
            await deployment.fetch("SELECT FROM retention_runs WHERE run = $1 AND finished_at IS NOT NULL", run)
        )

    async def has_gone_on(since: int) -> bool:
        return await parts_cleared() > since or await is_done()

    try:
        kills = 0
        while not await is_done():
            for ledger in ledgers:
                if not ledger.alive:
                    ledger.start()
            since = await parts_cleared()
            await until(lambda: has_gone_on(since), deadline_s=60, poll_s=0.01, what="the run goes on")
            if kills < 2 and not await is_done():
                ledgers[kills].kill9()
                kills += 1
        assert kills == 2
    finally:
        for ledger in ledgers:
            ledger.stop()
    counts = await retaining.counts(run)
    assert counts["parts"] == {"logs": {"context": 2 * PEOPLE}}
    assert counts["erased"] == {"news": 5}
    (row,) = await deployment.fetch("SELECT count(*) AS n FROM payloads WHERE context IS NULL")
    assert row["n"] == 2 * PEOPLE
    rows = await deployment.fetch("SELECT entry FROM records")
    stated = [read_entry(row["entry"]).get("erased", {}).get("context", 0) for row in rows]
    assert sum(stated) == 2 * PEOPLE + 5
    await retaining.fits()
