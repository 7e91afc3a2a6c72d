"""An erasure beside everything else that touches the same person: other logs, projection, a second erasure, a replay,
logs that are closed meanwhile, and a database that was away. No dead end, and nobody comes back.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.ledger import batch
from services.ledger import subjects as subjects_module
from services.ledger.acting import acting
from services.ledger.erasure import controller as controller_erasure
from services.ledger.erasure import subject as erasure
from services.ledger.erasure.replaying import replay
from services.ledger.fsck.check import check
from services.ledger.rebuild import rebuild
from services.ledger.successor import succeed
from services.suppression import Suppression
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.wait import until

pytestmark = pytest.mark.integration

ROUNDS = 12


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


async def fits(deployment: Deployment) -> None:
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings


async def subject_of(deployment: Deployment, value: str) -> UUID:
    subject = await deployment.subject_of(value)
    assert subject is not None
    return subject


def leave_a_line(deployment: Deployment, subject: UUID) -> None:
    """As a ledger does that is killed, some minutes ago, before its erasure commits."""
    Suppression(deployment.settings().suppression_dir).append(
        controller="shop",
        subject=subject,
        identifiers=(),
        erased_at=datetime.now(UTC) - timedelta(minutes=5),
        event=None,
        ground="17(1)(b)",
        after=0,
    )


async def met(deployment: Deployment, value: str) -> UUID:
    """Wait until the subject is there."""

    async def there() -> bool:
        return await deployment.subject_of(value) is not None

    await until(there, what="the subject is there")
    return await subject_of(deployment, value)


async def gone(deployment: Deployment, subject: UUID) -> None:
    async def there() -> bool:
        return not await deployment.fetch("SELECT FROM subjects WHERE subject = $1", subject)

    await until(there, what="the subject is erased")


async def test_recording_elsewhere_projection_and_a_second_erasure_at_the_same_time(deployment: Deployment) -> None:
    connection = await deployment.connect()
    await deployment.add_log(connection, "blog", "blog.example")
    await connection.close()
    asked = []
    # Two ledgers, so that the two logs are recorded to side by side, in batches small enough to meet.
    async with deployment.ledger(batch_events_max=3), deployment.ledger(batch_events_max=3):
        await deployment.recorded(0)
        for n in range(ROUNDS):
            number = 10 * n
            await deployment.publish([deployment.seal(consent_event(number, subject=f"gone-{n}"))])
            subject = await met(deployment, f"gone-{n}")
            asked.append(subject)
            other = [
                deployment.seal(
                    consent_event(number + k, subject=f"gone-{n}", source="/sites/blog.example"), log="blog"
                )
                for k in range(1, 5)
            ]
            # The same event once more, received earlier, has its state projected again.
            earlier = deployment.seal(
                consent_event(number, subject=f"gone-{n}"), received_at=datetime(2026, 11, 1, 9, tzinfo=UTC)
            )
            asked_for = {"erasure": {"subject": str(subject), "ground": "17(1)(a)"}}
            again = deployment.seal_asked("subject.erased", asked_for, log="blog", site="blog.example")
            async with asyncio.TaskGroup() as group:
                group.create_task(deployment.publish([*other, earlier]))
                group.create_task(deployment.publish([deployment.seal_erasure(subject)]))
                group.create_task(deployment.publish([again]))
                if n % 4 == 0:
                    group.create_task(rebuild(deployment.settings(), progress=lambda *_: None))
        await deployment.drained()
        for subject in asked:
            await gone(deployment, subject)

        async def stated() -> bool:
            return not await deployment.fetch("SELECT FROM erased_parts WHERE declared_index IS NULL") and not (
                await deployment.fetch("SELECT FROM log_heads WHERE signed_size <> size")
            )

        await until(stated, what="every count is stated and signed")
    rows = await deployment.fetch("SELECT subject FROM erasures ORDER BY number")
    assert sorted(row["subject"] for row in rows) == sorted(asked)
    assert not await deployment.fetch("SELECT FROM identifiers")
    assert not await deployment.fetch("SELECT FROM dead_letters")
    await fits(deployment)


async def test_whoever_is_erased_by_a_replay_between_two_looks_does_not_come_back(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay holds no heads: it may commit at any point of a recording transaction."""
    real = subjects_module.resolve
    replayed: list[tuple[int, bool]] = []

    async def resolve(store: Any, keys: Any, log: Any, events: Any) -> Any:
        if any(opened.identifiers for opened in events) and subjects and not replayed:
            leave_a_line(deployment, subjects[0])
            async with acting(deployment.settings(), appends=False) as ledger, ledger.pool.acquire() as connection:
                replayed.extend(await replay(connection, ledger.suppression, ledger.eraser, in_flight=timedelta(0)))
        return await real(store, keys, log, events)

    monkeypatch.setattr(batch, "resolve", resolve)
    subjects: list[UUID] = []
    async with deployment.ledger() as ledger:
        early = datetime.now(UTC) - timedelta(days=1)
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"), received_at=early)])
        await deployment.recorded(1)
        subjects.append(await subject_of(deployment, "gone"))
        # Behind the erasure's time stays only what was done after it.
        await deployment.publish([deployment.seal(consent_event(2, subject="gone"), received_at=early)])
        await deployment.drained()
        await deployment.recorded(2)
        assert ledger.metrics.dropped._value.get() == 1
    assert replayed == [(1, True)]
    assert await deployment.subject_of("gone") is None
    await fits(deployment)


async def test_a_database_that_was_away_while_it_erased_is_made_good_by_the_ledger_that_runs(
    deployment: Deployment,
) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        await deployment.recorded(1)
        subject = await subject_of(deployment, "gone")
        leave_a_line(deployment, subject)
        await deployment.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'sayso-ledger'"
        )
        await gone(deployment, subject)
        await deployment.recorded(2)
        await deployment.publish([deployment.seal(consent_event(2, subject="new"))])
        await deployment.recorded(3)
    await fits(deployment)


async def test_nothing_is_recorded_for_a_controller_that_is_erased_beside_the_ledger(deployment: Deployment) -> None:
    async with deployment.ledger() as running:
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
        async with acting(deployment.settings()) as ledger:
            await controller_erasure.erase_controller(
                ledger.pool, ledger.keys, ledger.high_water, ledger.suppression, ledger.eraser, "shop"
            )
        # What this ledger knows of the logs is from before, for half a minute.
        await deployment.publish([deployment.seal(consent_event(2))])
        await deployment.drained()
        assert running.metrics.set_aside.labels("controller-erased")._value.get() == 1
        await deployment.recorded(2)
    for table in ("subjects", "payloads", "identifiers", "consent_state", "dead_letters"):
        assert not await deployment.fetch(f"SELECT FROM {table}"), table
    assert await deployment.size() == 2
    await fits(deployment)


async def test_a_controller_is_erased_while_its_events_are_claimed(deployment: Deployment) -> None:
    """A recorder holds the inbox rows and waits for the heads that the erasure holds: no circle."""
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
    await deployment.publish([deployment.seal(consent_event(2)), deployment.seal(consent_event(3))])
    recorder = await deployment.connect()
    try:
        async with acting(deployment.settings()) as ledger, recorder.transaction():
            await recorder.execute("DELETE FROM inbox WHERE seq = (SELECT min(seq) FROM inbox)")
            number = await asyncio.wait_for(
                controller_erasure.erase_controller(
                    ledger.pool, ledger.keys, ledger.high_water, ledger.suppression, ledger.eraser, "shop"
                ),
                10,
            )
            assert number == 1
    finally:
        await recorder.close()
    assert not await deployment.fetch("SELECT FROM inbox")


async def test_a_controller_erasure_that_a_rebuild_gets_in_the_way_of_tries_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
    real, calls = erasure.append_declarations, []

    async def append_declarations(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise asyncpg.DeadlockDetectedError
        await real(*args)

    monkeypatch.setattr(controller_erasure, "append_declarations", append_declarations)
    async with acting(deployment.settings()) as ledger:
        assert (
            await controller_erasure.erase_controller(
                ledger.pool, ledger.keys, ledger.high_water, ledger.suppression, ledger.eraser, "shop"
            )
            == 1
        )
    assert len(Suppression(deployment.settings().suppression_dir).read()) == 1
    async with deployment.ledger():
        await deployment.recorded(2)
    await fits(deployment)


async def test_a_ledger_that_runs_follows_a_log_to_its_successor(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
        async with acting(deployment.settings(), appends=False) as ledger, ledger.pool.acquire() as connection:
            await succeed(connection, ledger.high_water, "shop", "shop-2", "log.example/logs/shop-2", None)
        await deployment.publish([deployment.seal(consent_event(2))])
        await deployment.recorded(2, log="shop-2")
    assert await deployment.size() == 1
    await fits(deployment)


async def test_a_log_is_closed_only_when_nobody_is_recording_to_it(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
    recorder = await deployment.connect()
    try:
        async with acting(deployment.settings(), appends=False) as ledger, ledger.pool.acquire() as connection:
            async with recorder.transaction():
                await recorder.execute("SELECT FROM log_heads FOR UPDATE")
                succeeding = asyncio.create_task(
                    succeed(connection, ledger.high_water, "shop", "shop-2", "log.example/logs/shop-2", None)
                )

                async def waits() -> bool:
                    return bool(await deployment.fetch("SELECT FROM pg_locks WHERE NOT granted"))

                await until(waits, what="the successor waits for the head")
                assert not await deployment.fetch("SELECT FROM logs WHERE closed_at IS NOT NULL")
            assert (await succeeding).size == 1
    finally:
        await recorder.close()
    assert await deployment.fetch("SELECT FROM logs WHERE closed_at IS NOT NULL")


async def test_a_controller_with_a_successor_log_and_unstated_counts_is_erased_and_all_of_it_is_stated(
    deployment: Deployment,
) -> None:
    async with deployment.ledger():
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(3))
        await deployment.recorded(3)
    async with acting(deployment.settings(), appends=False) as ledger, ledger.pool.acquire() as connection:
        await succeed(connection, ledger.high_water, "shop", "shop-2", "log.example/logs/shop-2", None)
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(3))])
        await deployment.recorded(2, log="shop-2")
    # Applied, and no ledger has stated it yet.
    leave_a_line(deployment, await subject_of(deployment, "v-1"))
    async with acting(deployment.settings(), appends=False) as ledger:
        async with ledger.pool.acquire() as connection:
            assert await replay(connection, ledger.suppression, ledger.eraser, in_flight=timedelta(0)) == [(1, True)]
        await controller_erasure.erase_controller(
            ledger.pool, ledger.keys, ledger.high_water, ledger.suppression, ledger.eraser, "shop"
        )
    assert not await deployment.fetch("SELECT FROM erased_parts WHERE declared_index IS NULL")
    rows = await deployment.fetch(
        "SELECT l.name, e.number, e.who, e.what, e.context FROM erased_parts e JOIN logs l USING (controller, log)"
        " ORDER BY e.number, e.log"
    )
    # In the successor log: its first entry, one consent, and the three entries that state counts.
    assert [tuple(row) for row in rows] == [("shop", 1, 1, 1, 1), ("shop", 2, 2, 2, 2), ("shop-2", 2, 5, 5, 5)]
    async with deployment.ledger():
        await deployment.recorded(5, log="shop-2")
    await fits(deployment)
