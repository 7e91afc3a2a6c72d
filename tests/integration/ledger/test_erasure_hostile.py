"""Erasure where something is damaged or sent by somebody without sense: it goes on, deletes all the same, and neither
stops the ledger nor leaves a dead letter of the erased.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from schemas.canonical import canonical_json
from schemas.record import Parts
from schemas.sealing import Epoch, SealedBody
from services.keys import signing_key
from services.ledger.acting import acting
from services.ledger.erasure.housekeeping import House, keep_house
from services.ledger.fsck.check import check
from services.stream.protocol import Message
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event, fresh_uuid
from tests.support.wait import until

pytestmark = pytest.mark.integration

RULE = (
    "INSERT INTO minimal_proof_rules (controller, purpose, ground, keep_days)"
    " VALUES ($1, 'chat-history', '17(3)(e)', 100) RETURNING 1"
)


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


async def erased(deployment: Deployment, count: int) -> None:
    async def there() -> bool:
        rows = await deployment.fetch("SELECT FROM erasures")
        return len(rows) >= count and not await deployment.fetch("SELECT FROM log_heads WHERE signed_size <> size")

    await until(there, what=f"{count} erasures are applied and signed")


@pytest.mark.parametrize(
    ("damage", "proofs"),
    [
        ("UPDATE payloads SET who = set_byte(who, 40, get_byte(who, 40) # 1) WHERE index = 0", 1),
        ("UPDATE payloads SET what = set_byte(what, 40, get_byte(what, 40) # 1) WHERE index = 0", 1),
        ("UPDATE payloads SET context = set_byte(context, 40, get_byte(context, 40) # 1) WHERE index = 0", 1),
        ("UPDATE payloads SET what = NULL, what_digest = decode(repeat('00', 32), 'hex') WHERE index = 0", 1),
        ("UPDATE subjects SET wrapped_key = decode(repeat('00', 40), 'hex')", 0),
    ],
)
async def test_what_was_damaged_before_goes_like_the_rest(deployment: Deployment, damage: str, proofs: int) -> None:
    await deployment.fetch(RULE, deployment.controller)
    async with deployment.ledger():
        await deployment.publish(deployment.seal(consent_event(n, subject="gone")) for n in range(2))
        await deployment.recorded(2)
        subject = await subject_of(deployment, "gone")
        await deployment.fetch(damage)
        await deployment.publish([deployment.seal_erasure(subject)])
        await erased(deployment, 1)
    assert not await deployment.fetch("SELECT FROM subjects WHERE log IS NULL")
    assert not await deployment.fetch("SELECT FROM payloads WHERE subject = $1", subject)
    # Only the erasure's own record is still known by its content.
    assert len(await deployment.fetch("SELECT FROM dedupe WHERE content IS NOT NULL OR received_at IS NOT NULL")) == 1
    assert len(await deployment.fetch("SELECT FROM minimal_proofs")) == proofs
    if "what = NULL" not in damage:  # that part was deleted behind our back, and stays so
        await fits(deployment)


def seal_raw(deployment: Deployment, who: Any, what: dict[str, Any], context: Any) -> Message:
    """A message of query with parts of any kind."""
    now = datetime.now(UTC)
    event_id, time = fresh_uuid(), now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    whole = {"v": 1, "id": event_id, "site": "shop.example", "time": time, "received_at": time}
    whole |= {"posted_by": "server", "words": "unverified", **what}
    parts = Parts(canonical_json(who), canonical_json(whole), canonical_json(context))
    epoch = Epoch(signing_key(deployment.keys / "query" / "epochs.key"), deployment.sealing_public, 0)
    body = SealedBody(int(now.timestamp()) * 1_000_000 + now.microsecond, bytes(32), parts)
    value = epoch.seal("shop", "shop.example", event_id, body)
    return Message(deployment.controller, "shop", event_id, "shop.example", epoch.header, value)


async def test_parts_that_are_no_objects_are_set_aside(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="stays"))])
        await deployment.recorded(1)
        subject = await subject_of(deployment, "stays")
        ask = {"type": "subject.erased", "erasure": {"subject": str(subject), "ground": "17(1)(b)"}}
        await deployment.publish([seal_raw(deployment, {}, ask, []), seal_raw(deployment, [], ask, {})])
        await deployment.drained()
        # The same with objects is an ask: nothing else was wrong with it.
        await deployment.publish([seal_raw(deployment, {}, ask, {})])
        await erased(deployment, 1)
    letters = await deployment.fetch("SELECT reason FROM dead_letters ORDER BY letter")
    assert [row["reason"] for row in letters] == ["parts-invalid", "parts-invalid"]


async def test_dead_letters_that_name_the_person_go_and_none_comes_later(deployment: Deployment) -> None:
    now = datetime.now(UTC)
    broken = consent_event(3, subject="gone")
    broken["data"]["decisions"][0]["decision"] = "perhaps"
    not_allowed = consent_event(4, subject="gone", type="access.read")
    conflict = consent_event(1, subject="gone", capture={"mechanism": "link"})
    async with deployment.ledger() as ledger:
        stays = consent_event(1, subject="stays")
        await deployment.publish([deployment.seal(stays), deployment.seal(consent_event(2, subject="gone"))])
        await deployment.recorded(2)
        named = [deployment.seal(event) for event in (broken, not_allowed, conflict)]
        of_others = [deployment.seal(consent_event(2, subject="stays"))]
        await deployment.publish([*named, *of_others])
        await deployment.drained()
        letters = await deployment.fetch("SELECT reason, cardinality(identifiers) FROM dead_letters ORDER BY letter")
        assert sorted(tuple(row) for row in letters) == [
            ("id-conflict", 1),
            ("id-conflict", 1),
            ("parts-invalid", 1),
            ("type-not-allowed", 1),
        ]
        await deployment.publish([deployment.seal_erasure(await subject_of(deployment, "gone"))])
        await erased(deployment, 1)
        assert len(await deployment.fetch("SELECT FROM dead_letters")) == 1
        # Once more: from before the erasure, so not even a dead letter.
        await deployment.publish(named)
        await deployment.drained()
        await until(lambda: ledger.metrics.dropped._value.get() == len(named), what="all three are dropped")
        assert len(await deployment.fetch("SELECT FROM dead_letters")) == 1
        # A later act with a mistake is a dead letter like anybody's.
        await deployment.publish([deployment.seal(broken, received_at=now + timedelta(minutes=1))])
        await deployment.drained()
        assert len(await deployment.fetch("SELECT FROM dead_letters")) == 2
    await fits(deployment)


async def test_what_is_wrapped_under_a_destroyed_key_does_not_stop_the_housekeeping(deployment: Deployment) -> None:
    """A dump older than the backup window, brought back against all advice: nobody in it can be read any more."""
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
    await deployment.fetch("UPDATE subjects SET key_epoch = 1")
    async with acting(deployment.settings()) as ledger:
        window = deployment.settings().backup_window
        house = House(ledger.pool, ledger.keys, deployment.event_id_key, ledger.high_water, ledger.suppression, window)
        await keep_house(house, datetime.now(UTC) + timedelta(days=40))
    assert await deployment.fetch("SELECT FROM subjects WHERE key_epoch = 1")
