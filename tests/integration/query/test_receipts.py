"""Receipts over HTTP on a real Postgres: whom they show what, for which events there is one, and what they lack."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import joserfc.jwk
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jws

from schemas.bundle import parse_bundle
from schemas.errors import ConfigurationError, ProofError
from schemas.receipts_verify import read_jwks, verify_receipt
from services.query.app import create_app
from tests.integration.query.conftest import Caller, settings_of
from tests.support.deployment import BASE_TIME, consent_event
from tests.support.receipts import shown_notice
from tests.support.rows import Controller, Person, Recorded, World

pytestmark = pytest.mark.integration

RECEIVED = BASE_TIME + timedelta(seconds=2)
GRANT = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent"}
DENIAL = {"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}


async def recorded(
    shop: Controller,
    person: Person | None = None,
    *,
    number: int = 1,
    known: bool = True,
    without: tuple[str, ...] = (),
    **changes: Any,
) -> Recorded:
    """One event of the cookie v-1, by default a consent to a published notice; its controller is described."""
    notice = await shop.notice(shown_notice(version=str(number)), BASE_TIME) if known else "ab" * 32
    person = await shop.person("cookie", "v-1") if person is None else person
    shown = {"notice": {"sha256": notice, "language": "fr"}, "context": {"country": "FR"}}
    event = consent_event(number, **(shown | changes))
    event["data"] = {name: value for name, value in event["data"].items() if name not in without}
    record = await shop.record(person, event, RECEIVED, notice=notice if known else None, words="rendered")
    await shop.publish()
    await shop.describe()
    return record


def receipt_path(record: Recorded) -> str:
    return f"/v1/events/{record.event}/receipt"


async def claims_of(caller: Caller, record: Recorded, vkey: str, **params: str) -> dict[str, Any]:
    """The claims of a receipt that must verify under the published keys."""
    response = await caller.get(receipt_path(record), **params)
    assert response.status_code == 200, response.text
    keys = read_jwks((await caller.client.get("/.well-known/jwks.json")).content)
    return verify_receipt(response.text, keys, vkey=vkey)


async def test_joserfc_and_pyjwt_verify_it(dpo: Caller, shop: Controller) -> None:
    record = await recorded(shop)
    response = await dpo.get(receipt_path(record))
    assert (response.headers["content-type"], response.headers["vary"]) == ("application/jose", "accept")
    published = await dpo.client.get("/.well-known/jwks.json")
    assert published.headers["content-type"] == "application/jwk-set+json"
    (key,) = published.json()["keys"]
    assert (key["alg"], key["use"], "d" in key) == ("EdDSA", "sig", False)
    decoded = jwt.decode_complete(response.text, jwt.PyJWK(key), algorithms=["EdDSA"])
    assert decoded["header"] == {"alg": "EdDSA", "kid": key["kid"], "typ": "sayso-receipt+jwt"}
    with pytest.warns(match="RFC 9864"):
        opened = jws.deserialize_compact(response.text, joserfc.jwk.OKPKey.import_key(key), algorithms=["EdDSA"])
    assert opened.payload is not None
    assert json.loads(opened.payload) == decoded["payload"]
    assert decoded["payload"]["record_id"] == record.event


async def test_as_json_with_its_claims(dpo: Caller, shop: Controller) -> None:
    record = await recorded(shop)
    headers = {"authorization": f"Bearer {dpo.key}"}
    response = await dpo.client.get(receipt_path(record), headers=headers | {"accept": "application/json"})
    assert response.headers["content-type"] == "application/json"
    assert response.json()["claims"] == await claims_of(dpo, record, shop.vkey)
    assert response.json()["receipt"] == (await dpo.get(receipt_path(record))).text
    refused = await dpo.client.get(receipt_path(record), headers=headers | {"accept": "image/png"})
    assert refused.status_code == 406


@pytest.mark.parametrize("form", ["iso27560", "kantara"])
async def test_both_forms(dpo: Caller, shop: Controller, form: str) -> None:
    claims = await claims_of(dpo, await recorded(shop), shop.vkey, format=form)
    assert ("schema_version" in claims, "version" in claims) == (form == "iso27560", form == "kantara")
    assert (await dpo.get("/v1/events/01930f5e-7c1e-7b1a-9c55-000000000001/receipt", format="pdf")).status_code == 422


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("consent.refused", "dpv:ConsentRefused"),
        ("consent.withdrawn", "dpv:ConsentWithdrawn"),
        ("consent.expired", "dpv:ConsentExpired"),
    ],
)
async def test_refusals_and_withdrawals_have_one_too(dpo: Caller, shop: Controller, kind: str, state: str) -> None:
    record = await recorded(shop, type=kind, decisions=[DENIAL])
    claims = await claims_of(dpo, record, shop.vkey)
    assert [event["event_state"] for event in claims["events"]] == [state]
    kantara = await dpo.get(receipt_path(record), format="kantara")
    assert (kantara.status_code, kantara.json()["type"]) == (409, "/problems/no-consent-stated")


async def test_other_events_have_none(dpo: Caller, shop: Controller) -> None:
    record = await recorded(shop, type="notice.served", without=("decisions",))
    response = await dpo.get(receipt_path(record))
    assert (response.status_code, response.json()["type"]) == (409, "/problems/no-consent-stated")


async def test_a_refusal_of_nobody(dpo: Caller, shop: Controller) -> None:
    stand_in = await shop.stand_in()
    record = await recorded(shop, stand_in, type="consent.refused", decisions=[DENIAL], without=("subject",))
    claims = await claims_of(dpo, record, shop.vkey)
    ref = json.loads(record.entry)["ref"]
    assert claims["pii_principal_id"] == f"nobody:{ref}"
    assert str(stand_in.subject) not in json.dumps(claims)


@pytest.mark.parametrize(
    ("role", "parts"),
    [("site", {"what"}), ("auditor", {"what"}), ("dpo", {"who", "what"}), ("privacy", {"who", "what"})],
)
async def test_a_role_is_shown_its_parts(
    shop: Controller, with_role: Callable[..., Any], role: str, parts: set[str]
) -> None:
    record = await recorded(shop)
    claims = await claims_of(await with_role(shop, role), record, shop.vkey)
    proof = parse_bundle(claims["proof"]["tlog_proof"].encode())
    assert set(proof.disclosed) == parts
    assert ('"v-1"' in str(proof.disclosed)) == ("who" in parts)


async def test_parts_by_name(shop: Controller, dpo: Caller, with_role: Callable[..., Any]) -> None:
    record = await recorded(shop)
    claims = await claims_of(dpo, record, shop.vkey, disclose="context")
    assert set(parse_bundle(claims["proof"]["tlog_proof"].encode()).disclosed) == {"what", "context"}
    site = await with_role(shop, "site")
    assert (await site.get(receipt_path(record), disclose="who")).status_code == 403


async def test_another_controller_sees_nothing(world: World, shop: Controller, with_role: Callable[..., Any]) -> None:
    record = await recorded(shop)
    stranger = await with_role(await world.controller("other"), "privacy")
    assert (await stranger.get(receipt_path(record))).status_code == 404


async def test_unknown_words_are_matched_first(dpo: Caller, shop: Controller) -> None:
    record = await recorded(shop, known=False)
    refused = await dpo.get(receipt_path(record))
    assert (refused.status_code, refused.json()["pointer"]) == (409, "/processing/privacy_notice")
    assert "sayso notice match" in refused.json()["detail"]
    notice = await shop.notice(shown_notice(version="late"), BASE_TIME)
    await shop.match("ab" * 32, notice, BASE_TIME)
    claims = await claims_of(dpo, record, shop.vkey)
    assert claims["processing"]["privacy_notice"]["sha256"] == "ab" * 32
    assert claims["processing"]["privacy_notice"]["version"] == "late"


async def test_a_controller_that_nobody_described(dpo: Caller, shop: Controller, world: World) -> None:
    record = await recorded(shop)
    await world.execute("UPDATE controllers SET details = NULL")
    response = await dpo.get(receipt_path(record))
    assert (response.status_code, response.json()["type"]) == (409, "/problems/receipt-incomplete")
    assert "sayso controller describe" in response.json()["detail"]


async def test_the_same_receipt_is_the_same_bytes(dpo: Caller, shop: Controller) -> None:
    record = await recorded(shop)
    first = (await dpo.get(receipt_path(record))).text
    assert (await dpo.get(receipt_path(record))).text == first
    before = await claims_of(dpo, record, shop.vkey)
    await shop.fill(3)
    await shop.publish()
    # The proof grows with the log; what the receipt says, and its id, do not change.
    after = await claims_of(dpo, record, shop.vkey)
    assert before.pop("proof") != after.pop("proof")
    assert before == after
    await shop.describe(retention="P30D")
    assert (await claims_of(dpo, record, shop.vkey))["receipt_id"] != after["receipt_id"]


async def test_a_deleted_decision_leaves_no_receipt(dpo: Caller, shop: Controller, world: World) -> None:
    record = await recorded(shop)
    digest = parse_bundle((await dpo.get(f"/v1/events/{record.event}/proof", disclose="who")).content).digests["what"]
    await world.execute("UPDATE payloads SET what = NULL, what_digest = $2 WHERE index = $1", record.index, digest)
    assert (await dpo.get(receipt_path(record))).status_code == 404


async def test_not_published_yet(dpo: Caller, shop: Controller) -> None:
    record = await shop.record(await shop.person(), consent_event(1), RECEIVED)
    await shop.publish(sign=False)
    assert (await dpo.get(receipt_path(record))).status_code == 503


async def test_the_largest_event_fits_other_libraries(dpo: Caller, shop: Controller) -> None:
    services = [f"service-{number:03}-{'x' * 50}" for number in range(128)]
    decisions = [{**GRANT, "services": services} for _ in range(7)]
    record = await recorded(shop, decisions=decisions, number=2)
    record_bytes = sum(map(len, record.parts))
    assert 56_000 < record_bytes < 65_536
    await shop.describe(
        purposes={
            "chat-history": {"personal_data": [{"type": "Messages"}], "recipients": [], "storage_locations": ["Lille"]}
        }
    )
    response = await dpo.get(receipt_path(record))
    key = joserfc.jwk.OKPKey.import_key((await dpo.client.get("/.well-known/jwks.json")).json()["keys"][0])
    with pytest.warns(match="RFC 9864"):
        jws.deserialize_compact(response.text, key, algorithms=["EdDSA"])


async def test_every_damaged_receipt_is_refused(dpo: Caller, shop: Controller, client: httpx2.AsyncClient) -> None:
    receipt = (await dpo.get(receipt_path(await recorded(shop)))).text
    keys = read_jwks((await client.get("/.well-known/jwks.json")).content)
    public = {kid: Ed25519PublicKey.from_public_bytes(raw) for kid, raw in keys.items()}
    for position in range(0, len(receipt), 61):
        damaged = receipt[:position] + ("A" if receipt[position] != "A" else "B") + receipt[position + 1 :]
        with pytest.raises(ProofError):
            verify_receipt(damaged, keys, vkey=shop.vkey)
        with pytest.raises(jwt.InvalidTokenError):
            jwt.decode(damaged, next(iter(public.values())), algorithms=["EdDSA"])


def test_it_does_not_start_without_its_key(world: World) -> None:
    (world.directory / "query" / "receipts.key").unlink()
    with pytest.raises(ConfigurationError, match=r"receipts\.key"):
        create_app(settings_of(world))
