"""What an operator types about erasure, through the console script's own entry, and what it says when it refuses."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from services.ledger.fsck.check import check
from services.suppression import Suppression
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.dumps import restore, take_dump

pytestmark = pytest.mark.integration

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


@pytest.fixture
def run(deployment: Deployment) -> Run:
    """Type a command with the ledger's settings."""

    def type_it(*words: str) -> subprocess.CompletedProcess[str]:
        environment = deployment.ledger_environment(SAYSO_ADMIN_DATABASE_URL=deployment.database.dsn())
        return subprocess.run(
            [sys.executable, "-m", "services.cli.main", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )

    return type_it


def refused(done: subprocess.CompletedProcess[str], said: str, code: int = os.EX_CONFIG) -> None:
    """One line on the error output that says what to do."""
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr


def make_older(deployment: Deployment) -> None:
    """An erasure that is really over: nobody waits for its commit any more."""
    path = deployment.settings().suppression_dir / "suppression.jsonl"
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    for line in lines:
        line["erased_at"] = (datetime.fromisoformat(line["erased_at"]) - timedelta(hours=1)).isoformat()
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


async def test_from_a_restored_dump_to_a_successor_log_that_fits(deployment: Deployment, run: Run) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(n, subject=s)) for n, s in ((1, "gone"), (2, "stays"))])
        await deployment.recorded(2)
    dump = await asyncio.to_thread(take_dump, deployment.database)
    async with deployment.ledger():
        subject = await deployment.subject_of("gone")
        assert subject is not None
        await deployment.publish([deployment.seal_erasure(subject)])
        await deployment.recorded(3)
    make_older(deployment)
    await asyncio.to_thread(restore, deployment.database, dump)

    refused(run("controller", "erase", "shop", "--confirm", "shop"), "run sayso restore-check")
    done = run("restore-check")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["erasure 1: deleted again", "1 erasures applied; services may open this database."],
    )
    assert await deployment.subject_of("gone") is None

    # What was signed is not all there.
    refused(run("controller", "erase", "shop", "--confirm", "shop"), "The ledger halted", code=1)
    refused(run("log", "succeed", "shop", "shop", "--log-host", "log.example"), "never used")
    note = deployment.directory / "note"
    note.write_text("not a checkpoint\n", encoding="utf-8")
    words = ("log", "succeed", "shop", "shop-2", "--log-host", "log.example")
    refused(run(*words, "--checkpoint", str(note)), "not one of this log")
    for _ in range(2):
        done = run(*words)
        assert done.returncode == 0, done.stderr
        assert "whose last known checkpoint has size 3" in done.stdout
    refused(run("controller", "erase", "shop", "--confirm", "shop"), "start the ledger once")
    async with deployment.ledger():
        await deployment.recorded(2, log="shop-2")
    done = run("fsck")
    assert done.returncode == 0, done.stdout
    assert "everything fits." in done.stdout


async def test_a_whole_controller(deployment: Deployment, run: Run) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        await deployment.recorded(1)
    refused(run("controller", "erase", "shop", "--confirm", "shops"), "nothing was erased")
    assert await deployment.subject_of("gone") is not None
    done = run("controller", "erase", "shop", "--confirm", "shop")
    assert done.returncode == 0, done.stderr
    assert "Controller shop was erased (number 1)" in done.stdout
    refused(run("controller", "erase", "shop", "--confirm", "shop"), "anything to erase")
    refused(run("log", "succeed", "shop", "shop-2", "--log-host", "log.example"), "there is no log shop")
    async with deployment.ledger():
        await deployment.recorded(2)
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings
    assert not list((deployment.keys / "controllers" / "shop").glob("*.key"))


async def test_without_the_file_or_the_database_each_command_says_what_to_do(deployment: Deployment, run: Run) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        await deployment.recorded(1)
    path = deployment.settings().suppression_dir / "suppression.jsonl"
    Suppression(path.parent).append(
        controller="shop",
        subject=None,
        identifiers=(),
        erased_at=datetime.now(UTC) - timedelta(hours=1),
        event=None,
        ground="controller",
        after=0,
    )
    # A controller erasure that was killed before its commit is finished by the same command.
    done = run("restore-check")
    assert done.stdout.startswith("erasure 1: deleted again"), done.stderr
    path.unlink()
    refused(run("restore-check"), "ends before the last erasure")
