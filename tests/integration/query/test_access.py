"""Who may ask what: every role at every route, the wall between controllers, wrong keys, silence of the logs."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
import structlog

from schemas.notices import notice_bytes, notice_hash
from services.observability import configure_logging
from services.postgres import controller_transaction, create_pool
from services.query.store import Store
from tests.integration.query.conftest import ROLES, Caller, serving, settings_of
from tests.support.deployment import BASE_TIME, consent_event
from tests.support.erased_rows import keep_minimal_proof, leave_erasure
from tests.support.rows import Controller, Recorded, World, notice_content
from tests.unit.schemas.test_notice_making import source

pytestmark = pytest.mark.integration

ANY = frozenset(ROLES)
# Every route and who opens it; None is everybody. A route that is missing here fails a test.
MATRIX: dict[str, frozenset[str] | None] = {
    "POST /v1/subjects/lookup": frozenset({"reader", "dpo", "admin"}),
    "GET /v1/subjects/{subject}/consents": ANY,
    "GET /v1/subjects/{subject}/status": ANY,
    "GET /v1/subjects/{subject}/history": frozenset({"dpo", "auditor", "admin"}),
    "GET /v1/events/{event}/proof": ANY,
    "GET /v1/events/{event}/receipt": ANY,
    "GET /.well-known/jwks.json": None,
    "POST /v1/subjects/{subject}/erasure": frozenset({"dpo", "admin"}),
    "GET /v1/erasures/{erasure}": frozenset({"dpo", "admin"}),
    "GET /v1/erasures/{erasure}/certificate": frozenset({"dpo", "admin"}),
    "GET /v1/subjects/{subject}/proof": frozenset({"dpo", "auditor", "admin"}),
    "POST /v1/dockets/{number}/close": frozenset({"dpo", "admin"}),
    "POST /v1/minimal-proofs/search": frozenset({"dpo", "admin"}),
    "POST /v1/minimal-proofs/{log}/{index}/release": frozenset({"dpo", "admin"}),
    "POST /v1/sites/{site}/notices": frozenset({"dpo", "admin"}),
    "GET /v1/sites/{site}/notices": frozenset({"dpo", "auditor", "admin"}),
    "POST /v1/notice-matches": frozenset({"dpo", "admin"}),
    "PUT /v1/catalogue/{service}": frozenset({"dpo", "admin"}),
    "GET /v1/catalogue": frozenset({"dpo", "admin"}),
    "POST /v1/catalogue/{service}/steps": frozenset({"dpo", "admin"}),
    "GET /v1/catalogue/steps": frozenset({"dpo", "admin"}),
    "GET /logs/{log}/checkpoint": None,
    "GET /logs/{log}/vkey": None,
    "GET /logs/{log}/{path}": None,
    "GET /v1/logs/{log}/consistency": None,
    "GET /keys": None,
}
# They answer every controller, each of its own catalogue alone (test_catalogue.py).
OF_THE_CALLER = {route for route in MATRIX if " /v1/catalogue" in route}
# A visitor's capability opens these (tests/integration/visitors); no key does.
VISITORS = {"GET /v1/me/choices", "GET /v1/me/history", "GET /v1/me/events/{event}/receipt"}
OPERATIONS = {"GET /health/live", "GET /health/ready", "GET /metrics"}
EMAIL = "eve@example.com"
GONE = UUID("9a3c1f60-5f43-4a8e-9d5b-6f2f3c1f0b11")
ERASURE = "01930f5e-7c1e-7b1a-9c55-0000000000ee"
BODIES: dict[str, Any] = {
    "POST /v1/subjects/lookup": {"identifier": {"type": "email", "value": EMAIL}},
    "POST /v1/subjects/{subject}/erasure": {"ground": "17(1)(b)"},
    "POST /v1/sites/{site}/notices": source(),
    "POST /v1/notice-matches": {"shown": "ab" * 32, "notice": notice_hash(notice_bytes(notice_content())).hex()},
    "PUT /v1/catalogue/{service}": {"risk": "low"},
    "POST /v1/catalogue/{service}/steps": {"step": "agreement-signed", "done_on": "2026-01-05"},
    "POST /v1/minimal-proofs/search": {"identifier": {"type": "email", "value": EMAIL}},
    "POST /v1/minimal-proofs/{log}/{index}/release": {"reason": "a claim was raised"},
}


async def posted(controller: Controller) -> tuple[str, Recorded]:
    """A subject with one published consent, and what is left of another who was erased."""
    other = await controller.person("cookie", "v-gone")
    gone = await controller.record(other, consent_event(2), BASE_TIME)
    await leave_erasure(controller, other, BASE_TIME, event=ERASURE, docket=None, subject=GONE)
    await keep_minimal_proof(controller, ("email", EMAIL), [gone], datetime.now(UTC) + timedelta(days=1))
    notice = await controller.notice(notice_content(), BASE_TIME)
    person = await controller.person("email", EMAIL)
    granted = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent"}
    event = consent_event(1, notice={"sha256": notice, "language": "fr"}, decisions=[granted])
    record = await controller.record(person, event, BASE_TIME + timedelta(seconds=1), notice=notice)
    await controller.describe()
    await controller.publish()
    return str(person.subject), record


async def request(
    client: httpx2.AsyncClient, key: str | None, route: str, subject: str, record: Recorded, log: str
) -> httpx2.Response:
    """A request that the route answers with success if the key opens it."""
    method, path = route.split()
    subject = str(GONE) if path.endswith("/erasure") else subject
    names = {"site": f"{log}.example", "erasure": ERASURE, "number": 1, "index": 0, "path": "tile/entries/000.p/1"}
    path = path.format(subject=subject, event=record.event, log=log, service="chatra", **names)
    params = {"purpose": "chat-history"} if path.endswith("/status") else {"log": log} if path == "/keys" else {}
    params = {"from": "0", "to": "1"} if path.endswith("/consistency") else params
    body = BODIES.get(route)
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return await client.request(method, path, params=params, json=body, headers=headers)


async def test_every_route_at_every_role(client: httpx2.AsyncClient, shop: Controller) -> None:
    subject, record = await posted(shop)
    for route, roles in MATRIX.items():
        for role in ROLES:
            response = await request(client, await shop.access_key(role), route, subject, record, shop.name)
            allowed = roles is None or role in roles
            assert response.is_success == allowed, (route, role, response.text)
            assert allowed or response.status_code == 403, (route, role, response.text)
        without = await request(client, None, route, subject, record, shop.name)
        assert without.status_code == (200 if roles is None else 401), route
    for route in VISITORS:
        for key in (None, *[await shop.access_key(role) for role in ROLES]):
            response = await request(client, key, route, subject, record, shop.name)
            assert response.json()["type"] == "/problems/capability-not-valid", route


async def test_the_description_names_the_roles(client: httpx2.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()["paths"]
    routes = {f"{method.upper()} {path}": methods[method] for path, methods in described.items() for method in methods}
    assert set(routes) == set(MATRIX) | VISITORS | OPERATIONS
    for route in VISITORS:
        assert (routes[route]["x-roles"], "security" in routes[route]) == (["visitor"], True)
    for route, roles in MATRIX.items():
        assert set(routes[route]["x-roles"]) == (roles or set()), route
        assert ("Roles: " in routes[route]["description"]) == (roles is not None)
        assert ("security" in routes[route]) == (roles is not None)


@pytest.mark.parametrize("route", sorted(route for route in MATRIX.keys() - OF_THE_CALLER if MATRIX[route] is not None))
async def test_another_controllers_key_sees_nothing(
    client: httpx2.AsyncClient, world: World, shop: Controller, route: str
) -> None:
    subject, record = await posted(shop)
    other = await world.controller("other")
    await other.record(await other.person("email", "someone-else@example.com"), consent_event(2), BASE_TIME)
    for role in ROLES:
        response = await request(client, await other.access_key(role), route, subject, record, shop.name)
        assert response.status_code in {403, 404}, (route, role)


async def test_a_notice_of_another_controller_is_no_notice(
    world: World, shop: Controller, with_role: Callable[..., Any]
) -> None:
    """The same hash published by somebody else neither makes a grant valid nor comes into a proof."""
    other = await world.controller("other")
    notice = await other.notice(notice_content(), BASE_TIME)
    person = await shop.person()
    event = consent_event(1, notice={"sha256": notice, "language": "fr"})
    record = await shop.record(person, event, BASE_TIME, notice=notice)
    await shop.publish()
    caller = await with_role(shop, "dpo")
    answer = await caller.ask(f"/v1/subjects/{person.subject}/status", purpose="chat-history")
    assert answer["reasons"] == ["words_unverified"]
    assert "notice" not in await caller.ask(f"/v1/events/{record.event}/proof")


async def test_the_wall_holds_below_the_code(world: World, shop: Controller) -> None:
    """Row-level security: with another controller set, or none, every table is empty whatever the statement says."""
    await posted(shop)
    other = await world.controller("other")
    pool = await create_pool(world.database.dsn(), role="sayso_query", size=1, application="test")
    tables = ("controllers", "logs", "sites", "notices", "records", "tiles", "checkpoints", "subjects", "payloads")
    try:
        for table in (*tables, "identifiers", "dedupe", "consent_state", "log_heads", "notice_matches"):
            own = "controller = $1 AND" if table != "notice_matches" else ""
            count = f"SELECT count(*) FROM {table} WHERE {own} true"
            arguments = [shop.controller] if own else []
            assert await pool.fetchval(count, *arguments) == 0, table
            async with controller_transaction(pool, other.controller) as connection:
                assert await connection.fetchval(count, *arguments) == 0, table
            async with controller_transaction(pool, shop.controller) as connection:
                assert await connection.fetchval(count, *arguments) > 0 or table == "notice_matches", table
        async with Store(pool).reading(other.controller) as reader:
            assert await reader.last_checkpoint(shop.log) is None
    finally:
        await pool.close()


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (None, "missing-key"),
        ("Bearer", "wrong-key"),
        ("Basic {key}", "wrong-key"),
        ("Bearer {key}x", "wrong-key"),
        ("Bearer ak_unknown_secret", "wrong-key"),
        ("Bearer sk_unknown_secret", "wrong-key"),
        ("Bearer ak_{key}", "wrong-key"),
    ],
)
async def test_keys_that_open_nothing(
    client: httpx2.AsyncClient, shop: Controller, header: str | None, problem: str
) -> None:
    key = await shop.access_key("dpo")
    headers = {} if header is None else {"authorization": header.format(key=key)}
    response = await client.get(f"/v1/subjects/{'0' * 32}/consents", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["type"] == f"/problems/{problem}"
    assert key not in response.text


async def test_a_revoked_key_opens_nothing_once_the_cache_is_old(
    client: httpx2.AsyncClient, world: World, shop: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, _ = await posted(shop)
    headers = {"authorization": f"Bearer {await shop.access_key('reader')}"}
    path = f"/v1/subjects/{subject}/consents"
    assert (await client.get(path, headers=headers)).status_code == 200
    await world.execute("UPDATE access_keys SET revoked_at = now()")
    assert (await client.get(path, headers=headers)).status_code == 200
    monkeypatch.setattr("services.query.auth.KEY_CACHE_S", 0)
    assert (await client.get(path, headers=headers)).status_code == 401


@contextmanager
def captured_lines() -> Iterator[io.StringIO]:
    """Everything the process logs, at the most talkative level."""
    lines = io.StringIO()
    configure_logging("query", level=10)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(lines), cache_logger_on_first_use=False)
    try:
        yield lines
    finally:
        structlog.reset_defaults()


async def test_logs_hold_nothing_of_a_person(
    world: World, shop: Controller, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    subject, record = await posted(shop)
    key = await shop.access_key("dpo")
    with captured_lines() as lines:
        async with serving(settings_of(world)) as address, httpx2.AsyncClient(base_url=address) as client:
            for route in MATRIX:
                await request(client, key, route, subject, record, shop.name)
            # A payload that does not open is the one thing here that is logged.
            await world.execute("UPDATE payloads SET what = set_byte(what, 3, get_byte(what, 3) # 1)")
            broken = await request(client, key, "GET /v1/subjects/{subject}/consents", subject, record, shop.name)
            assert broken.status_code == 500
    logged = lines.getvalue() + caplog.text + "".join(capfd.readouterr())
    assert "unforeseen error" in logged
    for word in (EMAIL, subject, record.event, key, "chat-history"):
        assert word not in logged


async def test_answers_never_repeat_what_was_posted(client: httpx2.AsyncClient, shop: Controller) -> None:
    key = await shop.access_key("dpo")
    headers = {"authorization": f"Bearer {key}"}
    for body in (
        {"identifier": {"type": "shoe-size", "value": EMAIL}},
        {"identifier": {"type": "email", "value": EMAIL, EMAIL: 1}},
        {"identifier": {"type": "email"}, EMAIL: EMAIL},
        [EMAIL],
    ):
        response = await client.post("/v1/subjects/lookup", json=body, headers=headers)
        assert (response.status_code, EMAIL in response.text) == (422, False), body
        assert response.headers["content-type"] == "application/problem+json"
    doubled = b'{"identifier": {"type": "email", "value": "a", "value": "b"}}'
    response = await client.post("/v1/subjects/lookup", content=doubled, headers=headers)
    assert json.loads(response.content)["type"] == "/problems/duplicate-key"


async def test_lookup(client: httpx2.AsyncClient, shop: Controller) -> None:
    caller = Caller(client, await shop.access_key("reader"))
    assert (await caller.lookup("email", EMAIL)).status_code == 404  # no identifier key yet
    subject, _ = await posted(shop)
    found = await caller.lookup("email", " EVE@example.com")
    assert (found.status_code, found.json()) == (200, {"subject": subject})
    assert (await caller.lookup("account", EMAIL)).status_code == 404
