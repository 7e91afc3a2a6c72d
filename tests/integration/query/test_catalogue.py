"""A controller's own catalogue over HTTP: services and overrides, dated steps, and the wall between controllers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx2
import pytest

from schemas.catalogue import services
from services.postgres import controller_transaction, create_pool
from tests.integration.query.conftest import Caller
from tests.support.deployment import BASE_TIME
from tests.support.rows import Controller, World, notice_content

pytestmark = pytest.mark.integration

MAP: dict[str, Any] = {"name": "Our map", "kind": {"fr": "Carte"}}


async def send(caller: Caller, method: str, path: str, body: Any) -> httpx2.Response:
    return await caller.client.request(method, path, json=body, headers={"authorization": f"Bearer {caller.key}"})


async def view(caller: Caller) -> dict[str, dict[str, Any]]:
    return {one["service"]: one for one in (await caller.ask("/v1/catalogue"))["services"]}


async def test_the_catalogue_holds_until_something_else_is_stated(privacy: Caller) -> None:
    found = await view(privacy)
    assert set(found) == set(services())
    assert {one["stated_by"] for one in found.values()} == {"catalogue"}
    assert found["chatra"]["content"] == services()["chatra"].model_dump(exclude_none=True)


async def test_an_override_replaces_members_and_the_latest_counts(privacy: Caller) -> None:
    first = await send(privacy, "PUT", "/v1/catalogue/chatra", {"risk": "high", "retention": {"en": "30 days"}})
    assert (first.status_code, first.json()) == (201, {"service": "chatra"})
    again = await send(privacy, "PUT", "/v1/catalogue/chatra", {"retention": {"en": "30 days"}, "risk": "high"})
    assert again.status_code == 200
    found = (await view(privacy))["chatra"]
    assert (found["stated_by"], found["overrides"]) == ("override", ["retention", "risk"])
    assert found["content"]["retention"] == {"en": "30 days"}
    assert found["content"]["cookies"][0]["name"] == "Chatra"
    assert (await send(privacy, "PUT", "/v1/catalogue/chatra", {"risk": "low"})).status_code == 201
    found = (await view(privacy))["chatra"]
    assert found["content"]["risk"] == "low"
    assert found["content"]["retention"] == services()["chatra"].retention
    body = {"risk": "high", "retention": {"en": "30 days"}}
    assert (await send(privacy, "PUT", "/v1/catalogue/chatra", body)).is_success
    assert (await view(privacy))["chatra"]["overrides"] == ["retention", "risk"]


async def test_a_service_of_ones_own(privacy: Caller) -> None:
    assert (await send(privacy, "PUT", "/v1/catalogue/map", MAP)).status_code == 201
    found = (await view(privacy))["map"]
    assert found["stated_by"] == "controller"
    assert "overrides" not in found
    assert found["content"] == MAP | {"service": "map"}


# path, body, where the fault is
NO_SERVICE: list[tuple[str, Any, str]] = [
    ("/v1/catalogue/map", {}, "/name"),
    ("/v1/catalogue/map", [], ""),
    ("/v1/catalogue/map", {"name": "x", "sercet": 1}, ""),
    ("/v1/catalogue/chatra", {"risk": "none"}, "/risk"),
    ("/v1/catalogue/chatra", {"service": "chaport"}, "/service"),
    ("/v1/catalogue/chatra", {"domains": ["https://x"]}, "/domains/0"),
    ("/v1/catalogue/chatra", {"withdrawal": {"secret-name": {}}}, "/withdrawal"),
    ("/v1/catalogue/chatra", {"uses": None}, ""),
    ("/v1/catalogue/Map", MAP, "/service"),
]


async def test_what_makes_no_service_is_refused_with_its_place(privacy: Caller) -> None:
    for path, body, pointer in NO_SERVICE:
        answer = await send(privacy, "PUT", path, body)
        problem = (answer.status_code, answer.json()["type"], answer.json()["pointer"])
        assert problem == (422, "/problems/invalid-parameter", pointer), body
        assert "secret" not in answer.text
        assert "sercet" not in answer.text
    assert "map" not in await view(privacy)


async def test_a_body_is_read_strictly(privacy: Caller) -> None:
    answer = await privacy.client.put(
        "/v1/catalogue/map",
        content=b'{"name":"a","name":"b"}',
        headers={"authorization": f"Bearer {privacy.key}"},
    )
    assert answer.json()["type"] == "/problems/duplicate-key"


async def test_steps_are_missing_then_done_then_due(privacy: Caller, shop: Controller) -> None:
    assert (await privacy.ask("/v1/catalogue/steps"))["steps"] == []
    await shop.notice(notice_content(), BASE_TIME)
    found = (await privacy.ask("/v1/catalogue/steps"))["steps"]
    assert {(one["service"], one["state"]) for one in found} == {("chatra", "missing")}
    today = datetime.now(UTC).date()
    long_ago = today - timedelta(days=400)
    note = {"note": "Signed by both, folder 7"}
    body = {"step": "agreement-signed", "done_on": long_ago.isoformat()} | note
    assert (await send(privacy, "POST", "/v1/catalogue/chatra/steps", body)).status_code == 201
    assert (await send(privacy, "POST", "/v1/catalogue/chatra/steps", body)).status_code == 200
    recent = {"step": "retention-set", "done_on": today.isoformat()}
    assert (await send(privacy, "POST", "/v1/catalogue/chatra/steps", recent)).status_code == 201
    steps = {one["step"]: one for one in (await privacy.ask("/v1/catalogue/steps"))["steps"]}
    signed = steps["agreement-signed"]
    assert (signed["state"], signed["done_on"], signed["note"]) == ("due", long_ago.isoformat(), note["note"])
    assert signed["due_on"][:4] == str(long_ago.year + 1)
    assert signed["what"]["de"].startswith("Den Vertrag")
    assert (steps["retention-set"]["state"], steps["transfer-assessed"]["state"]) == ("done", "missing")
    # Done anew: the latest day counts, whenever it was written down.
    assert (await send(privacy, "POST", "/v1/catalogue/chatra/steps", body | {"done_on": today.isoformat()})).is_success
    steps = {one["step"]: one for one in (await privacy.ask("/v1/catalogue/steps"))["steps"]}
    assert steps["agreement-signed"]["state"] == "done"


NO_STEP: list[tuple[str, dict[str, str], int, str | None]] = [
    ("unheard-of", {}, 404, None),
    ("chatra", {"step": "bribe-paid"}, 422, "/step"),
    ("crisp", {"step": "load-deferred"}, 422, "/step"),
    ("chatra", {"done_on": "2999-01-01"}, 422, "/done_on"),
    ("chatra", {"done_on": "2025-02-30"}, 422, "/done_on"),
    ("chatra", {"done_on": "2025-02-03T00:00:00Z"}, 422, "/done_on"),
    ("chatra", {"note": ""}, 422, "/note"),
    ("chatra", {"by": "me"}, 422, ""),
]


async def test_a_step_that_cannot_be_is_refused(privacy: Caller) -> None:
    for service, changes, status, pointer in NO_STEP:
        body = {"step": "agreement-signed", "done_on": "2026-01-05"} | changes
        answer = await send(privacy, "POST", f"/v1/catalogue/{service}/steps", body)
        assert (answer.status_code, answer.json().get("pointer")) == (status, pointer), changes


async def test_a_service_that_only_a_notice_knows_has_the_usual_steps(privacy: Caller, shop: Controller) -> None:
    purposes = [notice_content()["purposes"][0] | {"services": ["our-crm"]}]
    await shop.notice(notice_content(purposes=purposes), BASE_TIME)
    body = {"step": "agents-trained", "done_on": "2026-01-05"}
    assert (await send(privacy, "POST", "/v1/catalogue/our-crm/steps", body)).status_code == 201
    found = {one["step"]: one["service"] for one in (await privacy.ask("/v1/catalogue/steps"))["steps"]}
    assert found == dict.fromkeys(
        ("agreement-signed", "transfer-assessed", "agents-trained", "retention-set"), "our-crm"
    )


async def test_another_controller_sees_and_changes_nothing(
    world: World, privacy: Caller, with_role: Callable[..., Any]
) -> None:
    body = {"step": "agreement-signed", "done_on": "2026-01-05"}
    assert (await send(privacy, "PUT", "/v1/catalogue/chatra", {"risk": "high"})).status_code == 201
    assert (await send(privacy, "PUT", "/v1/catalogue/map", MAP)).status_code == 201
    assert (await send(privacy, "POST", "/v1/catalogue/chatra/steps", body)).status_code == 201
    other = await with_role(await world.controller("other"), "privacy")
    found = await view(other)
    assert "map" not in found
    assert found["chatra"]["content"]["risk"] == "medium"
    assert (await other.ask("/v1/catalogue/steps"))["steps"] == []
    assert (await send(other, "POST", "/v1/catalogue/map/steps", body)).status_code == 404
    assert (await send(other, "PUT", "/v1/catalogue/chatra", {"risk": "low"})).status_code == 201
    assert (await view(privacy))["chatra"]["content"]["risk"] == "high"


async def test_the_wall_holds_below_the_code(world: World, shop: Controller, privacy: Caller) -> None:
    """Row-level security: no row of another controller is read, and none can be written in its name."""
    assert (await send(privacy, "PUT", "/v1/catalogue/map", MAP)).status_code == 201
    other = await world.controller("other")
    pool = await create_pool(world.database.dsn(), role="sayso_query", size=1, application="test")
    async with pool:
        async with controller_transaction(pool, other.controller) as connection:
            assert await connection.fetch("SELECT service FROM catalogue_services") == []
        for table, columns, values in (
            ("catalogue_services", "service, content", "'map', ''"),
            ("compliance_steps", "service, step, done_on", "'map', 'x', '2026-01-01'"),
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                async with controller_transaction(pool, other.controller, readonly=False) as connection:
                    await connection.execute(
                        f"INSERT INTO {table} (controller, {columns}) VALUES ({shop.controller}, {values})"
                    )
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            async with controller_transaction(pool, shop.controller, readonly=False) as connection:
                await connection.execute("DELETE FROM catalogue_services")
