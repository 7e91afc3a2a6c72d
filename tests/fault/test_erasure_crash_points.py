"""One erasure, cut off after each of its statements, around the fsync of its line, and after its commit: in the end it
is one erasure, every count is stated once, and nothing of the person is left.

Method: the session of the erasing transaction is torn off after its n-th statement, for n = 1, 2, ... until an erasure
has no n-th statement; each time another subject is erased by the same running ledger, which has to find its way.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.ledger import recorder
from services.ledger.batch import Recording
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.subject import Eraser
from services.ledger.fsck.check import check
from services.ledger.store import Store
from services.suppression import Suppression
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.wait import until

pytestmark = pytest.mark.fault

POINTS_MAX = 60
RULE = (
    "INSERT INTO minimal_proof_rules (controller, purpose, ground, keep_days)"
    " VALUES ($1, 'chat-history', '17(3)(e)', 100) RETURNING 1"
)


class Cut:
    """Tears off the session after the statement with the number `at`, counted from where an erasure begins."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: int | None = None
        self._counted: int | None = None
        monkeypatch.setattr(Eraser, "erase", self._beginning(Eraser.erase))
        for owner, name in ((Store, "_fetch"), (Store, "_row"), (Store, "_execute"), (Store, "_copy")):
            monkeypatch.setattr(owner, name, self._counting(getattr(owner, name)))
        for name in ("_fetch", "_execute"):
            monkeypatch.setattr(ErasureStore, name, self._counting(getattr(ErasureStore, name)))

    def _beginning(self, real: Callable[..., Any]) -> Callable[..., Any]:
        async def erase(eraser: Eraser, erasures: ErasureStore, *args: Any) -> Any:
            if self.at is not None:
                self._counted, self._connection = 0, erasures._connection
            return await real(eraser, erasures, *args)

        return erase

    def _counting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        async def statement(store: Any, *args: Any, **named: Any) -> Any:
            answer = await real(store, *args, **named)
            if self._counted is not None and store._connection is self._connection:
                self._counted += 1
                if self._counted == self.at:
                    self.at = self._counted = None
                    store._connection.terminate()
                    raise ConnectionResetError(errno.ECONNRESET, "torn off by the test")
            return answer

        return statement


@pytest.fixture
async def deployment(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setattr(recorder, "PAUSE_S", 0.02)
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    connection = await deployment.connect()
    await deployment.add_log(connection, "blog", "blog.example")
    await connection.close()
    await deployment.fetch(RULE, deployment.controller)
    return deployment


async def record(deployment: Deployment, count: int) -> list[UUID]:
    """So many subjects, each with a record in each of the two logs."""
    names = [f"gone-{n}" for n in range(count)]
    shop = [deployment.seal(consent_event(2 * n, subject=name)) for n, name in enumerate(names)]
    source = "/sites/blog.example"
    blog = [
        deployment.seal(consent_event(2 * n + 1, subject=name, source=source), log="blog")
        for n, name in enumerate(names)
    ]
    await deployment.publish([*shop, *blog])
    await deployment.recorded(count)
    await deployment.recorded(count, log="blog")
    found = [await deployment.subject_of(name) for name in names]
    return [subject for subject in found if subject is not None]


async def erase(deployment: Deployment, subject: UUID) -> None:
    await deployment.publish([deployment.seal_erasure(subject)])

    async def applied() -> bool:
        return bool(await deployment.fetch("SELECT FROM erasures WHERE subject = $1", subject))

    await until(applied, what="the erasure is applied")


async def assert_erased_once(deployment: Deployment, subjects: list[UUID]) -> None:
    """Each one is gone; one line, one row and one entry a log for each; all of it fits."""
    for table in ("subjects", "identifiers", "consent_state", "payloads"):
        assert not await deployment.fetch(f"SELECT FROM {table} WHERE subject = ANY ($1)", subjects), table
    lines = Suppression(deployment.settings().suppression_dir).read()
    rows = await deployment.fetch("SELECT number, subject FROM erasures ORDER BY number")
    assert [(line.number, line.subject) for line in lines] == [tuple(row) for row in rows]
    assert [line.number for line in lines] == list(range(1, len(subjects) + 1))
    assert sorted(row["subject"] for row in rows) == sorted(subjects)
    places = await deployment.fetch("SELECT declared_log, declared_index FROM erased_parts")
    assert len({tuple(row) for row in places}) == len(places) == 2 * len(subjects)
    (entries,) = await deployment.fetch("SELECT count(*) FROM records WHERE position('\"erased\"'::bytea IN entry) > 0")
    assert entries["count"] == 2 * len(subjects)
    assert not await deployment.fetch("SELECT FROM dead_letters")
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings


async def test_torn_off_after_every_statement(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Cut(monkeypatch)
    async with deployment.ledger():
        subjects = await record(deployment, POINTS_MAX)
        points = 0
        for subject in subjects:
            cut.at = points + 1
            await erase(deployment, subject)
            if cut.at is not None:
                break
            points += 1
        cut.at = None
        done = points + 1
        await deployment.recorded(POINTS_MAX + done)
        await deployment.recorded(POINTS_MAX + done, log="blog")
    # Fewer would mean that the test looks past the statements, more that POINTS_MAX is too small.
    assert 20 < points < POINTS_MAX - 1
    await assert_erased_once(deployment, subjects[:done])


async def test_the_line_cannot_be_written_and_the_commit_goes_unheard(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing: list[str] = []
    real_append, real_fsync, real_run = Suppression.append, os.fsync, Recording.run

    def fail_once(where: str) -> None:
        if where in failing:
            failing.remove(where)
            raise OSError(errno.EIO, "made up by the test")

    def append(suppression: Suppression, **named: Any) -> Any:
        fail_once("before the line")
        line = real_append(suppression, **named)
        fail_once("behind the line")
        return line

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "suppression.jsonl":
            fail_once("before the fsync")
        real_fsync(descriptor)

    async def run(recording: Recording, *args: Any, **named: Any) -> None:
        await real_run(recording, *args, **named)
        if recording.counts.erasures:
            fail_once("behind the commit")

    monkeypatch.setattr(Suppression, "append", append)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Recording, "run", run)
    points = ("before the line", "before the fsync", "behind the line", "behind the commit")
    async with deployment.ledger():
        subjects = await record(deployment, len(points))
        for point, subject in zip(points, subjects, strict=True):
            failing.append(point)
            await erase(deployment, subject)
            assert not failing, point
        await deployment.recorded(2 * len(points))
        await deployment.recorded(2 * len(points), log="blog")
    await assert_erased_once(deployment, subjects)
