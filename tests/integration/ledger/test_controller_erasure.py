"""Erasure of a whole controller: nothing personal is left, its logs still verify, its neighbour is untouched."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigurationError
from schemas.record import read_entry
from services.ledger.acting import Acting, acting
from services.ledger.erasure import controller as controller_erasure
from services.ledger.erasure.housekeeping import House, keep_house
from services.ledger.fsck.check import check
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.wait import until

pytestmark = pytest.mark.integration


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(3))
        await deployment.recorded(3)
    return deployment


async def erase(ledger: Acting) -> int:
    return await controller_erasure.erase_controller(
        ledger.pool, ledger.keys, ledger.high_water, ledger.suppression, ledger.eraser, "shop"
    )


async def signed(deployment: Deployment) -> None:
    async def there() -> bool:
        return not await deployment.fetch("SELECT FROM log_heads WHERE signed_size <> size")

    await until(there, what="the last entry is signed")


async def fits(deployment: Deployment) -> None:
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings


async def test_nothing_personal_is_left_and_the_log_still_verifies(deployment: Deployment) -> None:
    await deployment.fetch(
        "WITH somebody AS (INSERT INTO people (controller, person, issuer, subject_sha256, name, role)"
        " VALUES ($1, gen_random_uuid(), 'https://id.example', sha256('sub'), 'Ann Other', 'dpo') RETURNING person),"
        " granted AS (INSERT INTO grants (controller, grant_id, case_reference, authority, subjects, ends_at, made_by)"
        " VALUES ($1, gen_random_uuid(), 'case-1', 'CNIL', ARRAY[gen_random_uuid()], now() + '1 day', 'me'))"
        " INSERT INTO sessions (controller, session, person, expires_at)"
        " SELECT $1, sha256('x'), person, now() FROM somebody",
        deployment.controller,
    )
    async with acting(deployment.settings()) as ledger:
        assert await erase(ledger) == 1
        with pytest.raises(ConfigurationError, match="anything to erase"):
            await erase(ledger)
    personal = ("subjects", "payloads", "identifiers", "consent_state", "dead_letters", "tombstones", "inbox")
    for table in (*personal, "people", "sessions", "grants"):
        assert not await deployment.fetch(f"SELECT FROM {table}"), table
    assert not await deployment.fetch("SELECT FROM dedupe WHERE content IS NOT NULL")
    assert not list((deployment.keys / "controllers" / "shop").glob("*.key"))
    rows = await deployment.fetch("SELECT entry FROM records ORDER BY index")
    assert read_entry(rows[3]["entry"])["erased"] == {"who": 4, "what": 4, "context": 4}
    async with deployment.ledger() as running:
        # Events on their way are counted and leave nothing, not even a dead letter.
        await deployment.publish([deployment.seal(consent_event(9))])
        await deployment.drained()
        await signed(deployment)
        assert running.metrics.set_aside.labels("controller-erased")._value.get() == 1
    assert not await deployment.fetch("SELECT FROM dead_letters")
    assert await deployment.size() == 4
    await fits(deployment)


async def test_a_crash_before_the_keys_are_destroyed_is_made_good(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acting(deployment.settings()) as ledger:
        real = ledger.keys.destroy_controller

        def crash(name: str) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(ledger.keys, "destroy_controller", crash)
        with pytest.raises(KeyboardInterrupt):
            await erase(ledger)
        monkeypatch.setattr(ledger.keys, "destroy_controller", real)
        assert list((deployment.keys / "controllers" / "shop").glob("*.key"))
        house = House(
            ledger.pool,
            ledger.keys,
            deployment.event_id_key,
            ledger.high_water,
            ledger.suppression,
            deployment.settings().backup_window,
        )
        await keep_house(house, datetime.now(UTC))
    assert not list((deployment.keys / "controllers" / "shop").glob("*.key"))


async def test_minimal_proofs_dockets_and_tombstones_end_by_themselves(deployment: Deployment) -> None:
    await deployment.fetch(
        "INSERT INTO minimal_proof_rules (controller, purpose, ground, keep_days)"
        " VALUES ($1, 'chat-history', '17(3)(e)', 100) RETURNING 1",
        deployment.controller,
    )
    async with deployment.ledger():
        subject = await deployment.subject_of("v-1")
        assert subject is not None
        await deployment.publish([deployment.seal_erasure(subject)])
        await deployment.recorded(4)

    async def left(table: str, condition: str = "true") -> list[Any]:
        return await deployment.fetch(f"SELECT FROM {table} WHERE {condition}")

    async with acting(deployment.settings()) as ledger:
        house = House(
            ledger.pool,
            ledger.keys,
            deployment.event_id_key,
            ledger.high_water,
            ledger.suppression,
            deployment.settings().backup_window,
        )
        now = datetime.now(UTC)
        await keep_house(house, now + timedelta(days=29))
        assert await left("dockets", "sealed IS NOT NULL")
        await keep_house(house, now + timedelta(days=31))
        assert await left("dockets", "sealed IS NULL AND outcome = 'limit'")
        assert await left("tombstones")
        await keep_house(house, now + timedelta(days=61))
        assert not await left("tombstones")
        assert await left("minimal_proofs")
        await keep_house(house, now + timedelta(days=101))
        assert not await left("minimal_proofs")
    async with deployment.ledger():
        await signed(deployment)
    rows = await deployment.fetch("SELECT entry FROM records ORDER BY index")
    assert [read_entry(row["entry"]).get("erased") for row in rows[3:]] == [
        {"who": 1, "what": 0, "context": 1},
        {"who": 0, "what": 1, "context": 0},
    ]
    await fits(deployment)
