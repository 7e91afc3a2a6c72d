"""Arranging downstream systems, and dead letters; over rows alone, without a ledger."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.integration.query.conftest import Caller
from tests.support.downstream import public_key
from tests.support.rows import Controller, World

pytestmark = pytest.mark.integration

HOOK = {"kind": "webhook", "tells": ["triggers"], "url": "https://shop.example/hook", "sealed_to": public_key()}
REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"url": "http://shop.example/hook"}, "/url"),
    ({"url": "https://user:pass@shop.example/"}, "/url"),
    ({"url": "https://shop.example/#part"}, "/url"),
    ({"url": "ftp://127.0.0.1/"}, "/url"),
    ({"url": "https://shop.example:99999/"}, "/url"),
    ({"url": "https:///nowhere"}, "/url"),
    ({"url": None}, ""),
    ({"sealed_to": None}, ""),
    ({"sealed_to": {**public_key(), "d": "AAAA"}}, "/sealed_to"),
    ({"sealed_to": {**public_key(), "y": "AAAA"}}, "/sealed_to"),
    ({"sealed_to": {"kty": "oct", "k": "AAAA"}}, "/sealed_to"),
    ({"services": ["no-such-service"]}, "/services/0"),
    ({"answer_days": 0}, "/answer_days"),
    ({"kind": "task"}, ""),
    ({"kind": "kafka", "url": None}, "/kind"),
    ({"tells": ["triggers", "triggers"]}, ""),
)


@pytest.fixture
async def admin(client: httpx2.AsyncClient, shop: Controller, world: World) -> Caller:
    world.keys.create_webhook_key(shop.name)
    return Caller(client, await shop.access_key("admin"))


async def put(caller: Caller, body: Any, system: str = "crm") -> httpx2.Response:
    headers = {"authorization": f"Bearer {caller.key}"}
    return await caller.client.put(f"/v1/downstreams/{system}", json=body, headers=headers)


async def post(caller: Caller, path: str) -> httpx2.Response:
    return await caller.client.post(path, headers={"authorization": f"Bearer {caller.key}"})


async def test_a_system_that_could_not_be_told_is_refused(admin: Caller) -> None:
    for changes, pointer in REFUSED:
        body = {name: value for name, value in {**HOOK, **changes}.items() if value is not None}
        answer = await put(admin, body)
        assert answer.status_code == 422, changes
        assert answer.json().get("pointer", "") == pointer, (changes, answer.text)
    assert (await put(admin, HOOK, "No Name")).status_code == 422
    assert (await admin.ask("/v1/downstreams"))["downstreams"] == []


async def test_what_is_stated_is_shown_without_its_secret(admin: Caller) -> None:
    for url in ("http://127.0.0.1:9/hook", "http://[::1]/hook", "http://localhost/hook"):
        assert (await put(admin, {**HOOK, "url": url})).is_success, url
    chosen = {**HOOK, "services": ["chatra"], "answer_days": 7, "tells": ["triggers", "records"]}
    assert (await put(admin, chosen)).status_code == 200
    shown = await admin.ask("/v1/downstreams/crm")
    assert {name: shown[name] for name in chosen} == chosen
    assert "secret" not in shown
    assert (await admin.ask("/v1/downstreams"))["downstreams"] == [shown]


async def test_a_secret_is_another_each_time_and_after_a_removal(admin: Caller) -> None:
    secrets = [(await put(admin, HOOK)).json()["secret"]]
    secrets.append((await post(admin, "/v1/downstreams/crm/secret")).json()["secret"])
    headers = {"authorization": f"Bearer {admin.key}"}
    assert (await admin.client.delete("/v1/downstreams/crm", headers=headers)).status_code == 204
    assert (await admin.client.delete("/v1/downstreams/crm", headers=headers)).status_code == 404
    assert (await post(admin, "/v1/downstreams/crm/secret")).status_code == 404
    secrets.append((await put(admin, HOOK)).json()["secret"])
    assert len(set(secrets)) == 3
    await put(admin, {"kind": "task", "tells": ["triggers"]}, "archive")
    assert (await post(admin, "/v1/downstreams/archive/secret")).status_code == 404


async def test_without_a_ledger_there_is_no_key_for_secrets_yet(client: httpx2.AsyncClient, shop: Controller) -> None:
    answer = await put(Caller(client, await shop.access_key("admin")), HOOK)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/keys-away")


async def test_a_dead_letter_is_sent_again_by_hand(admin: Caller, shop: Controller) -> None:
    await put(admin, HOOK)
    dead, waiting = uuid4(), uuid4()
    for delivery, dead_at in ((dead, datetime.now(UTC)), (waiting, None)):
        await shop.world.execute(
            "INSERT INTO deliveries (controller, delivery, system, kind, body, made_at, next_at, dead_at)"
            " VALUES ($1, $2, 'crm', 'records', '{}', now(), now(), $3)",
            shop.controller,
            delivery,
            dead_at,
        )
    (letter,) = (await admin.ask("/v1/deliveries", dead="true"))["deliveries"]
    assert (letter["delivery"], letter["state"], letter["kind"]) == (str(dead), "dead", "records")
    assert (await post(admin, f"/v1/deliveries/{dead}/again")).status_code == 202
    assert (await post(admin, f"/v1/deliveries/{dead}/again")).status_code == 202
    assert (await post(admin, f"/v1/deliveries/{uuid4()}/again")).status_code == 404
    shown = (await admin.ask("/v1/deliveries"))["deliveries"]
    assert {one["delivery"] for one in shown} == {str(dead), str(waiting)}
    first = await admin.ask("/v1/deliveries", limit=1)
    rest = await admin.ask("/v1/deliveries", limit=1, after=first["next"])
    assert [*first["deliveries"], *rest["deliveries"]] == shown
    assert "next" not in rest
