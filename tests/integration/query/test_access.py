"""Who may ask what: every role at every route with every kind of credential, the wall between controllers, the silence
of answers and logs about what is not the caller's.
"""

import io
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import structlog
from starlette.types import Receive, Scope, Send

from services.keys import secret_digest
from services.observability import configure_logging
from services.postgres import controller_transaction, create_pool
from services.query.app import create_app
from services.query.sign_in.sessions import CSRF_HEADER, csrf_of
from services.query.store import Store
from tests.integration.query.conftest import Caller, serving, settings_of
from tests.integration.query.roles import (
    EMAIL,
    MATRIX,
    NOWHERE,
    OPERATIONS,
    ROLES,
    SUCCEEDS,
    SYSTEMS,
    VISITORS,
    Ids,
    ids_of,
    posted,
    request_of,
)
from tests.support.deployment import BASE_TIME, consent_event
from tests.support.rows import Controller, World, notice_content

pytestmark = pytest.mark.integration

ORIGIN = "http://query.example"
SIGNING_IN = ("privacy", "dpo", "auditor", "admin")
PAST = datetime(2026, 1, 1, tzinfo=UTC)
FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Credential:
    """What a request shows, and whose it is; `refused` is the problem that it always meets, None if it is in force."""

    what: str
    role: str
    headers: dict[str, str] = field(repr=False)
    refused: str | None = None


@asynccontextmanager
async def in_process(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """The service without a socket: thousands of requests in seconds."""
    app = create_app(settings_of(world, query_public_url=ORIGIN, query_pool_size=4))
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx2.ASGITransport(with_state)
        async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            yield client


async def by_key(
    controller: Controller, role: str, what: str, refused: str | None = None, **columns: Any
) -> Credential:
    key = await controller.access_key(role, **columns)
    return Credential(f"{what} key", role, {"authorization": f"Bearer {key}"}, refused)


async def by_session(
    controller: Controller, role: str, what: str, refused: str | None = None, **changes: Any
) -> Credential:
    """Somebody who has signed in (tests/integration/query/test_sign_in.py does it with a provider)."""
    person, cookie = uuid4(), secrets.token_urlsafe(32)
    grant = changes.get("grant") or (await controller.grant() if role == "auditor" else None)
    connection = await controller.world.connect()
    try:
        await connection.execute(
            "INSERT INTO people (controller, person, issuer, subject_sha256, name, role, grant_id, removed_at)"
            " VALUES ($1, $2, 'https://id.example', $3, 'Ada', $4, $5, $6)",
            controller.controller,
            person,
            secret_digest(cookie),
            role,
            grant,
            changes.get("removed_at"),
        )
        await connection.execute(
            "INSERT INTO sessions (controller, session, person, expires_at, ended_at) VALUES ($1, $2, $3, $4, $5)",
            controller.controller,
            secret_digest(cookie),
            person,
            changes.get("expires_at", datetime.now(UTC) + timedelta(hours=1)),
            changes.get("ended_at"),
        )
    finally:
        await connection.close()
    headers = {"cookie": f"sayso_session={cookie}", "origin": ORIGIN, CSRF_HEADER: csrf_of(cookie)}
    return Credential(f"{what} session", role, headers, refused)


async def in_force(controller: Controller, what: str) -> list[Credential]:
    """A key of each role, and a session of each that people have."""
    keys = [await by_key(controller, role, what) for role in ROLES]
    return keys + [await by_session(controller, role, what) for role in SIGNING_IN]


async def over(shop: Controller) -> list[Credential]:
    """What was good once, or will be, and is not now."""
    found = []
    for role in ROLES:
        found.append(await by_key(shop, role, "expired", "wrong-key", expires_at=PAST))
        found.append(await by_key(shop, role, "revoked", "wrong-key", revoked_at=PAST))
    for role in SIGNING_IN:
        found.append(await by_session(shop, role, "expired", "session-over", expires_at=PAST))
        found.append(await by_session(shop, role, "ended", "session-over", ended_at=PAST))
        found.append(await by_session(shop, role, "removed person's", "session-over", removed_at=PAST))
    for what, columns in (
        ("ended grant's", {"begins_at": PAST, "ends_at": PAST + timedelta(days=1)}),
        ("revoked grant's", {"revoked_at": PAST}),
        ("coming grant's", {"begins_at": FUTURE, "ends_at": FUTURE + timedelta(days=1)}),
    ):
        found.append(await by_key(shop, "auditor", what, "wrong-key", grant=await shop.grant(**columns)))
        found.append(await by_session(shop, "auditor", what, "wrong-key", grant=await shop.grant(**columns)))
    return found


def problem(response: httpx2.Response) -> str:
    kind: str = response.json()["type"]
    return kind.removeprefix("/problems/")


async def test_every_cell_of_the_table(world: World, shop: Controller) -> None:
    """Every route, at every role, by key and by session: opened exactly where the table says so."""
    ids = ids_of(shop, *await posted(shop))
    good, bad = await in_force(shop, "own"), await over(shop)
    async with in_process(world) as client:
        for route, roles in MATRIX.items():
            asked = request_of(route, ids)
            for shown in good:
                response = await client.request(**asked, headers=shown.headers)
                cell = (route, shown, response.status_code, response.text[:300])
                if roles is not None and shown.role not in roles:
                    assert (response.status_code, problem(response)) == (403, "role-not-allowed"), cell
                elif route in SUCCEEDS:
                    assert response.is_success, cell
                elif roles is not None:
                    assert response.status_code not in {401, 403}, cell
            if roles is None:
                continue
            for shown in bad:
                response = await client.request(**asked, headers=shown.headers)
                assert (response.status_code, problem(response)) == (401, shown.refused), (route, shown)
            nothing = await client.request(**asked)
            assert (nothing.status_code, problem(nothing)) == (401, "missing-key"), route
        for route in VISITORS:
            for shown in (Credential("no", "nobody", {}), *good):
                response = await client.request(**request_of(route, ids), headers=shown.headers)
                assert (response.status_code, problem(response)) == (401, "capability-not-valid"), (route, shown)
        for route in SYSTEMS:
            answers = {
                (response.status_code, response.content)
                for shown in (Credential("no", "nobody", {}), *good)
                for response in [await client.request(**request_of(route, ids), headers=shown.headers)]
            }
            assert {status for status, _ in answers} <= {401, 404}, route
            assert len(answers) == 1, route


async def test_the_description_names_the_roles(client: httpx2.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()["paths"]
    routes = {f"{method.upper()} {path}": methods[method] for path, methods in described.items() for method in methods}
    assert set(routes) == set(MATRIX) | VISITORS | SYSTEMS | OPERATIONS
    for route in VISITORS:
        assert (routes[route]["x-roles"], "security" in routes[route]) == (["subject"], True)
    for route in SYSTEMS:
        assert routes[route]["x-roles"] == ["system"]
    for route, roles in MATRIX.items():
        assert set(routes[route]["x-roles"]) == (roles or set()), route
        assert ("Roles: " in routes[route]["description"]) == (roles is not None)
        assert ("security" in routes[route]) == (roles is not None)


# What a path names besides a controller's own things: the catalogue's services, and names that the caller chooses.
CHOSEN = {"service", "system", "rule"}


def without(text: str, *names: str) -> str:
    """An answer but for the names that were asked for, which it may repeat."""
    for name in names:
        text = text.replace(name, "ID")
    return text


async def test_what_is_anothers_looks_like_what_is_not_there(world: World, shop: Controller) -> None:
    """Byte for byte: another controller's role learns of our ids what it learns of ids that are nobody's."""
    subject, record = await posted(shop)
    grant = str(await shop.grant())
    ours = Ids({**ids_of(shop, subject, record), "grant": grant, "key": "ak_" + "x" * 22})
    other = await world.controller("other")
    await other.record(await other.person("email", "someone-else@example.com"), consent_event(2), BASE_TIME)
    compared = 0
    async with in_process(world) as client:
        for shown in await in_force(other, "another's"):
            for route, roles in MATRIX.items():
                if roles is None or shown.role not in roles or not asks_for_something(route):
                    continue
                theirs, nobodys = request_of(route, ours), request_of(route, Ids())
                if theirs["json"] is not None and "identifier" in theirs["json"]:
                    nobodys["json"] = {"identifier": {"type": "email", "value": "nobody@example.com"}}
                seen = await client.request(**theirs, headers=shown.headers)
                nowhere = await client.request(**nobodys, headers=shown.headers)
                names = {subject, record.event, grant, NOWHERE}
                assert seen.status_code == nowhere.status_code, (route, shown, seen.text, nowhere.text)
                assert not seen.is_success, (route, shown)
                assert without(seen.text, *names) == without(nowhere.text, *names), (route, shown)
                # Each answer has a number of its own, and nothing else that tells one from another.
                differing = {k for k, _ in seen.headers.items() ^ nowhere.headers.items()}
                assert differing <= {"x-request-id"}, (route, shown)
                compared += 1
    assert compared > 60


def asks_for_something(route: str) -> bool:
    """Whether a route is about one thing that somebody has, by its path or by an identifier in its body."""
    named = {piece[1:-1] for piece in route.split("/") if piece.startswith("{")}
    return bool(named - CHOSEN) or route in {"POST /v1/subjects/lookup", "POST /v1/minimal-proofs/search"}


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
    headers = {"authorization": f"Bearer {await shop.access_key('site')}"}
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
            headers = {"authorization": f"Bearer {key}"}
            for route in MATRIX:
                await client.request(**request_of(route, ids_of(shop, subject, record)), headers=headers)
            # A payload that does not open is the one thing here that is logged.
            await world.execute("UPDATE payloads SET what = set_byte(what, 3, get_byte(what, 3) # 1)")
            broken = await client.get(f"/v1/subjects/{subject}/consents", headers=headers)
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
    caller = Caller(client, await shop.access_key("site"))
    assert (await caller.lookup("email", EMAIL)).status_code == 404  # no identifier key yet
    subject, _ = await posted(shop)
    found = await caller.lookup("email", " EVE@example.com")
    assert (found.status_code, found.json()) == (200, {"subject": subject})
    assert (await caller.lookup("account", EMAIL)).status_code == 404
