"""Proofs over HTTP: what they hold, whom they disclose what, and that they verify offline."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from schemas.bundle import parse_bundle, verify_bundle
from schemas.errors import ProofError
from schemas.verify import verify_file
from tests.integration.query.conftest import Caller
from tests.support.deployment import BASE_TIME, consent_event
from tests.support.rows import Controller, Recorded, World, notice_content

pytestmark = pytest.mark.integration
RECEIVED = BASE_TIME + timedelta(seconds=2)


async def recorded_consent(shop: Controller, *, fill: int = 0) -> Recorded:
    """One consent to a published French notice, with `fill` other records before it; published."""
    await shop.fill(fill)
    notice = await shop.notice(notice_content(), BASE_TIME)
    person = await shop.person("email", "eve@example.com")
    event = consent_event(
        1, notice={"sha256": notice, "language": "fr"}, context={"country": "FR"}, source=f"/sites/{shop.site_name}"
    )
    record = await shop.record(person, event, RECEIVED, notice=notice, words="rendered")
    await shop.publish()
    return record


def proof_path(record: Recorded) -> str:
    return f"/v1/events/{record.event}/proof"


@pytest.mark.parametrize("fill", [0, 1, 255, 256, 599])
async def test_a_proof_verifies_under_the_published_key(dpo: Caller, shop: Controller, fill: int) -> None:
    record = await recorded_consent(shop, fill=fill)
    response = await dpo.get(proof_path(record))
    assert response.headers["content-type"] == "application/json"
    bundle = verify_bundle(response.content, vkey=shop.vkey)
    assert (bundle.event, bundle.index, bundle.entry) == (record.event, fill, record.entry)
    assert set(bundle.disclosed) == {"who", "what", "context"}
    assert b"eve@" not in bundle.entry
    assert bundle.notice is not None


@pytest.mark.parametrize("accept", ["text/plain", "application/vnd.c2sp.tlog-proof"])
async def test_the_tlog_proof_says_the_same(dpo: Caller, shop: Controller, accept: str, tmp_path: Path) -> None:
    record = await recorded_consent(shop, fill=3)
    response = await dpo.client.get(
        proof_path(record), headers={"authorization": f"Bearer {dpo.key}", "accept": accept}
    )
    assert response.headers["content-type"].partition(";")[0] == accept
    (tmp_path / "one.tlog-proof").write_bytes(response.content)
    steps = verify_file(tmp_path / "one.tlog-proof", shop.vkey)
    assert {step.outcome for step in steps} == {"ok"}
    as_json = await dpo.get(proof_path(record))
    assert parse_bundle(response.content) == parse_bundle(as_json.content)


async def test_no_acceptable_form(dpo: Caller, shop: Controller) -> None:
    record = await recorded_consent(shop)
    response = await dpo.client.get(
        proof_path(record), headers={"authorization": f"Bearer {dpo.key}", "accept": "image/png"}
    )
    assert response.status_code == 406


@pytest.mark.parametrize(
    ("role", "parts"), [("site", {"what"}), ("auditor", {"what", "context"}), ("privacy", {"who", "what", "context"})]
)
async def test_a_role_discloses_its_parts_and_no_more(
    shop: Controller, with_role: Callable[..., Any], role: str, parts: set[str]
) -> None:
    record = await recorded_consent(shop)
    caller = await with_role(shop, role)
    bundle = verify_bundle((await caller.get(proof_path(record))).content, vkey=shop.vkey)
    assert set(bundle.disclosed) == parts
    for name in {"who", "what", "context"} - parts:
        refused = await caller.get(proof_path(record), disclose=f"what,{name}")
        assert refused.status_code == 403
        assert refused.json()["type"] == "/problems/role-not-allowed"


async def test_fewer_parts_on_request(dpo: Caller, shop: Controller) -> None:
    record = await recorded_consent(shop)
    response = await dpo.get(proof_path(record), disclose="context")
    steps: list[Any] = []
    bundle = verify_bundle(response.content, vkey=shop.vkey, done=steps.append)
    assert set(bundle.disclosed) == {"context"}
    assert steps[6].outcome == "remark"
    assert b"eve@example.com" not in response.content
    assert (await dpo.get(proof_path(record), disclose="everything")).status_code == 422


async def test_not_published_yet(dpo: Caller, shop: Controller) -> None:
    person = await shop.person()
    record = await shop.record(person, consent_event(1), RECEIVED)
    await shop.publish(sign=False)
    response = await dpo.get(proof_path(record))
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["type"] == "/problems/not-published-yet"
    await shop.publish()
    assert (await dpo.get(proof_path(record))).status_code == 200


async def test_a_proof_stops_at_the_published_size(dpo: Caller, shop: Controller) -> None:
    """Rows of tiles grow past the checkpoint; the proof must be that of the checkpoint."""
    record = await recorded_consent(shop, fill=254)
    await shop.fill(300)
    await shop.publish(sign=False)
    verify_bundle((await dpo.get(proof_path(record))).content, vkey=shop.vkey)


async def test_an_unknown_event(dpo: Caller) -> None:
    response = await dpo.get("/v1/events/01930f5e-7c1e-7b1a-9c55-0d7f1f0b9a11/proof")
    assert response.status_code == 404
    assert (await dpo.get("/v1/events/nonsense/proof")).status_code == 422


async def test_a_deleted_part_stays_as_its_digest(dpo: Caller, shop: Controller, world: World) -> None:
    record = await recorded_consent(shop)
    before = parse_bundle((await dpo.get(proof_path(record), disclose="what")).content)
    await world.execute(
        "UPDATE payloads SET context = NULL, context_digest = $2 WHERE index = $1",
        record.index,
        before.digests["context"],
    )
    bundle = verify_bundle((await dpo.get(proof_path(record))).content, vkey=shop.vkey)
    assert set(bundle.disclosed) == {"who", "what"}
    await world.execute("UPDATE payloads SET context_digest = NULL WHERE index = $1", record.index)
    assert (await dpo.get(proof_path(record))).status_code == 404


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE records SET entry = overlay(entry placing '\\x78' from 30)",
        "UPDATE tiles SET hashes = set_byte(hashes, 3, get_byte(hashes, 3) # 1)",
        "UPDATE checkpoints SET note = replace(note, '\n4\n', '\n5\n')",
        "UPDATE notices SET content = content || ' '",
    ],
)
async def test_tampering_with_rows_shows_in_the_proof(
    dpo: Caller, shop: Controller, world: World, tampering: str
) -> None:
    record = await recorded_consent(shop, fill=3)
    for table in ("records", "tiles", "checkpoints", "notices"):
        await world.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    await world.execute("ALTER TABLE notices DROP CONSTRAINT notices_check")
    await world.execute(tampering)
    response = await dpo.get(proof_path(record))
    if response.status_code == 200:
        with pytest.raises(ProofError):
            verify_bundle(response.content, vkey=shop.vkey)
    else:
        assert response.status_code == 500


async def test_a_changed_payload_is_not_served(dpo: Caller, shop: Controller, world: World) -> None:
    record = await recorded_consent(shop)
    await world.execute("UPDATE payloads SET who = set_byte(who, 3, get_byte(who, 3) # 1)")
    response = await dpo.get(proof_path(record))
    assert response.status_code == 500
    assert "who" not in response.text


async def tiles_used(client: httpx2.AsyncClient) -> dict[str, float]:
    """Tiles used so far, by where they came from."""
    lines = (await client.get("/metrics")).text.splitlines()
    return {
        line.split('"')[1]: float(line.split()[-1]) for line in lines if line.startswith("sayso_query_tiles_total{")
    }


async def test_a_proof_reads_at_most_five_tiles_and_each_once(
    shop: Controller, client: httpx2.AsyncClient, dpo: Caller
) -> None:
    record = await recorded_consent(shop, fill=599)
    await dpo.get(proof_path(record))
    used = await tiles_used(client)
    assert 1 <= used["database"] <= 5
    await dpo.get(proof_path(record))
    assert (await tiles_used(client))["database"] == used["database"]
