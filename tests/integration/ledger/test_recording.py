"""Recording on real Postgres through the inbox: places, chain, dedupe, dead letters, state, checkpoints.

Each test runs a whole ledger in this process and looks into the database as the superuser.
"""

from datetime import timedelta
from pathlib import Path

import pytest

from schemas.checkpoint import open_checkpoint
from schemas.merkle import leaf_hash, root_of
from schemas.note import parse_verifier_key
from schemas.record import NO_PREVIOUS, read_entry
from tests.support.databases import Database
from tests.support.deployment import BASE_TIME, Deployment, consent_event

pytestmark = pytest.mark.integration


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    """A deployment whose ledger is not running yet."""
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


async def test_an_empty_log_has_a_signed_checkpoint_of_size_zero(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.recorded(0)
    rows = await deployment.fetch(
        "SELECT c.note, l.vkey, l.origin FROM checkpoints c JOIN logs l USING (controller, log)"
    )
    assert len(rows) == 1
    assert open_checkpoint(rows[0]["note"], rows[0]["origin"], [parse_verifier_key(rows[0]["vkey"])]).size == 0


async def test_events_become_a_chain_a_tree_and_a_checkpoint(deployment: Deployment) -> None:
    async with deployment.ledger(batch_events_max=100):
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(300))
        await deployment.recorded(300)
    records = await deployment.fetch("SELECT index, entry FROM records ORDER BY index")
    assert [row["index"] for row in records] == list(range(300))
    prev = NO_PREVIOUS
    for row in records:
        entry = read_entry(row["entry"])
        assert (entry["index"], entry["prev"], entry["log"]) == (row["index"], prev, "log.example/logs/shop")
        prev = leaf_hash(row["entry"]).hex()
    (checkpoint,) = await deployment.fetch("SELECT root, size FROM checkpoints ORDER BY size DESC LIMIT 1")
    assert checkpoint["size"] == 300
    assert checkpoint["root"] == root_of([leaf_hash(row["entry"]) for row in records])


async def test_the_same_id_with_the_same_content_is_recorded_once(deployment: Deployment) -> None:
    event = consent_event(7)
    async with deployment.ledger():
        await deployment.publish([deployment.seal(event), deployment.seal(event)])
        await deployment.publish([deployment.seal(event | {"traceparent": "00-1"}), deployment.seal(consent_event(8))])
        await deployment.recorded(2)
    assert await deployment.size() == 2
    assert await deployment.fetch("SELECT FROM dead_letters") == []


async def test_the_same_id_with_other_content_goes_to_the_dead_letters(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(7))])
        await deployment.recorded(1)
        (copy,) = await deployment.publish([deployment.seal(consent_event(7, jurisdiction="FR"))])
        await deployment.publish([deployment.seal(consent_event(8))])
        await deployment.recorded(2)
    rows = await deployment.fetch("SELECT reason, transport, partition, seq FROM dead_letters")
    assert [tuple(row) for row in rows] == [("id-conflict", *copy)]


async def test_an_earlier_copy_ranks_however_late_it_arrives(deployment: Deployment) -> None:
    denial = consent_event(
        1,
        subject="v",
        type="consent.withdrawn",
        decisions=[{"purpose": "p", "decision": "denied", "legal_basis": "consent"}],
    )
    grant = consent_event(
        2,
        subject="v",
        time="2026-11-01T10:00:00Z",
        decisions=[{"purpose": "p", "decision": "granted", "legal_basis": "consent"}],
    )
    async with deployment.ledger():
        await deployment.publish(
            [
                deployment.seal(denial, received_at=BASE_TIME + timedelta(hours=2)),
                deployment.seal(grant, received_at=BASE_TIME + timedelta(hours=1)),
            ]
        )
        await deployment.recorded(2)
        assert {row[3] for row in await deployment.state()} == {"denied"}
        await deployment.publish([deployment.seal(denial, received_at=BASE_TIME), deployment.seal(consent_event(3))])
        await deployment.recorded(3)
    decided = {row[1]: row[3] for row in await deployment.state()}
    assert decided["p"] == "granted"
