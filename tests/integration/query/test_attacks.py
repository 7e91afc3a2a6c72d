"""What a hostile site operator, a curious employee, a regulator, an erased person try on query, and do not get."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import orjson
import pytest

from schemas.archive import read_archive
from schemas.bundle import verify_bundle
from schemas.canonical import canonical_json
from schemas.event_types import entry_class
from schemas.record import Parts, format_time
from schemas.rights_errors import LookNotRecorded
from services.capabilities import Capabilities
from services.keys import read_secret
from services.query.requests.requests import OPEN_MAX
from services.stream.waiting import Waiting
from tests.integration.query.conftest import serving, settings_of
from tests.integration.query.roles import NOWHERE, posted
from tests.integration.query.test_access import by_session, in_process
from tests.support.deployment import BASE_TIME
from tests.support.downstream import public_key
from tests.support.rows import Controller, Person, World

pytestmark = pytest.mark.integration


# Fixed: the names of tests are made of it, and every worker must make the same.
NOBODYS = "0b9c7d4e-2f51-4c1e-9a63-6d0c2f1b7a10"


def cursor_of(time: str) -> str:
    return base64.urlsafe_b64encode(f"{time} {NOBODYS}".encode()).decode()


async def send(
    client: httpx2.AsyncClient, key: str, method: str, path: str, body: Any = None, **headers: str
) -> httpx2.Response:
    return await client.request(method, path, json=body, headers={"authorization": f"Bearer {key}", **headers})


FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"
CASE = {"case_reference": "CNIL-2026-0042", "authority": "CNIL", "ends_at": "2099-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("role", "method", "path", "body"),
    [
        ("admin", "DELETE", "/v1/keys/a%00b", None),
        ("admin", "POST", "/v1/keys/%00/rotate", None),
        ("dpo", "POST", "/v1/minimal-proofs/%00/0/release", {"reason": "a claim was raised"}),
        ("dpo", "POST", "/v1/grants", {**CASE, "ends_at": LAST}),
        ("dpo", "POST", "/v1/grants", {**CASE, "records_from": FIRST}),
        ("dpo", "POST", "/v1/grants", {**CASE, "confidential_until": LAST}),
        ("dpo", "GET", f"/v1/exports?cursor={cursor_of('0001-01-01')}", None),
        ("dpo", "GET", f"/v1/exports?cursor={cursor_of('9999-12-31T23:59:59.999999-14:00')}", None),
        ("dpo", "GET", f"/v1/exports?cursor={cursor_of('0001-01-01T00:00:00+14:00')}", None),
        ("admin", "GET", "/v1/figures?until=0001-01-05", None),
        ("admin", "GET", "/v1/figures?from=0001-01-01&until=9999-12-31", None),
        ("admin", "POST", "/v1/keys", {"role": "site", "label": "x", "expires_at": LAST}),
        ("privacy", "GET", f"/v1/subjects/{NOBODYS}/status?purpose=chat&at={LAST}&known_at={FIRST}", None),
    ],
)
async def test_nothing_at_the_edge_of_a_type_makes_the_service_fail(
    client: httpx2.AsyncClient, shop: Controller, role: str, method: str, path: str, body: Any
) -> None:
    response = await send(client, await shop.access_key(role), method, path, body)
    assert response.status_code < 500, response.text


# --- what a record says to whom ---


async def keep(shop: Controller, person: Person, kind: str, context: dict[str, Any], **what: Any) -> str:
    """A record of the controller's own, as query has it made; its event."""
    event = str(uuid4())
    at = format_time(BASE_TIME)
    said = {"v": 1, "id": event, "site": shop.site_name, "type": kind, "time": at, "received_at": at, **what}
    said |= {"posted_by": "server", "words": "unverified"}
    parts = Parts(b"{}", canonical_json(said), canonical_json(context))
    await shop.append(person, parts, event, entry_class(kind), BASE_TIME)
    return event


STEP = {"request": {"request": str(uuid4()), "nth": 1}}
ADDRESS = "eve@home.example"


async def test_a_person_reads_no_colleagues_name_in_the_own_history(
    world: World, client: httpx2.AsyncClient, shop: Controller
) -> None:
    person = await shop.person("cookie", "v-eve")
    by = f"person:{uuid4()}"
    await keep(shop, person, "request.answered", {"by": by, "said": "Here it is."}, **STEP)
    claims = {"site": shop.site_name, "type": "cookie", "value": "v-eve", "exp": 2**40}
    token = Capabilities(read_secret(world.directory / "capabilities.key")).seal("visitor", claims)
    history = await send(client, token, "GET", "/v1/me/history")
    assert (history.status_code, by in history.text, "Here it is." in history.text) == (200, False, True)


async def test_a_regulator_is_shown_no_address_and_no_word_of_a_request(
    client: httpx2.AsyncClient, shop: Controller
) -> None:
    """`who` is kept back: where to answer, and what somebody wrote, is who by another name."""
    person = await shop.person("cookie", "v-eve")
    context = {"reply_to": {"channel": "email", "address": ADDRESS}, "note": "I am Eve."}
    event = await keep(shop, person, "request.received", context, request={"right": "access"})
    await shop.publish()
    key = await shop.access_key("auditor")
    history = await send(client, key, "GET", f"/v1/subjects/{person.subject}/history")
    assert (history.status_code, event in history.text, "I am Eve" in history.text or ADDRESS in history.text) == (
        200, True, False,
    )  # fmt: skip
    for path in (f"/v1/events/{event}/proof", f"/v1/events/{event}/proof?disclose=what,context"):
        proof = await send(client, key, "GET", path)
        disclosed = verify_bundle(proof.content, vkey=shop.vkey, origin=shop.origin).disclosed
        assert set(disclosed) == {"what"}, path
    for path in (f"/v1/events/{event}/proof", f"/v1/subjects/{person.subject}/proof"):
        bundle = await send(client, key, "GET", path, accept="application/zip")
        files = read_archive(bundle.content)
        assert not [name for name, content in files.items() if b"I am Eve" in content or ADDRESS.encode() in content]
    own = await send(client, await shop.access_key("dpo"), "GET", f"/v1/subjects/{person.subject}/history")
    assert ADDRESS in own.text


async def test_a_regulator_is_not_told_of_another_authoritys_confidential_hold(
    client: httpx2.AsyncClient, shop: Controller
) -> None:
    person = await shop.person("cookie", "v-eve")
    grant = await shop.grant()
    hold = {"hold": str(uuid4()), "ground": "order", "case_reference": "SECRET-1", "confidential": True}
    theirs = await keep(shop, person, "hold.placed", {"reason": "raid"}, hold={**hold, "grant": str(uuid4())})
    own = await keep(shop, person, "hold.placed", {"reason": "letter"}, hold={**hold, "grant": str(grant)})
    await shop.publish()
    key = await shop.access_key("auditor", grant=grant)
    history = await send(client, key, "GET", f"/v1/subjects/{person.subject}/history")
    assert [record["event"] for record in history.json()["records"]] == [own]
    nothing = (await send(client, key, "GET", f"/v1/events/{NOWHERE}/proof")).text
    for accept in ("application/json", "application/zip"):
        proof = await send(client, key, "GET", f"/v1/events/{theirs}/proof", accept=accept)
        assert (proof.status_code, proof.text) == (404, nothing)
    bundle = await send(client, key, "GET", f"/v1/subjects/{person.subject}/proof", accept="application/zip")
    assert theirs not in read_archive(bundle.content)["report.json"].decode()


# --- two people ---


async def approval_asked_by(shop: Controller, key: str) -> str:
    approval = uuid4()
    await shop.world.execute(
        "INSERT INTO approvals (controller, approval, act, target, asked_by, reason, not_before)"
        " VALUES ($1, $2, 'mass-erasure', '{}', $3, 'a site closes', 'infinity')",
        shop.controller,
        approval,
        key,
    )
    return str(approval)


async def invited_twice(shop: Controller) -> list[str]:
    """Somebody who was removed and invited again: two people of one identity, the second of whom may sign in."""
    people = [uuid4(), uuid4()]
    for nth, person in enumerate(people):
        await shop.world.execute(
            "INSERT INTO people (controller, person, issuer, subject_sha256, name, role, removed_at)"
            " VALUES ($1, $2, 'https://id.example', $3, 'Ada', 'privacy', $4)",
            shop.controller,
            person,
            bytes(32),
            None if nth else BASE_TIME,
        )
    return [f"person:{person}" for person in people]


async def test_a_key_in_the_place_of_another_is_no_second_person(client: httpx2.AsyncClient, shop: Controller) -> None:
    admin, first = await shop.access_key("admin"), await shop.access_key("privacy")
    rotated = await send(client, admin, "POST", f"/v1/keys/{first.rpartition('_')[0]}/rotate")
    again = await send(client, admin, "POST", f"/v1/keys/{rotated.json()['key']}/rotate")
    keys = [first, rotated.json()["secret"], again.json()["secret"]]
    for asks in keys:
        for decides in keys:
            approval = await approval_asked_by(shop, asks.rpartition("_")[0])
            answer = await send(client, decides, "POST", f"/v1/approvals/{approval}", {"verdict": "approved"})
            assert (answer.status_code, answer.json()["type"]) == (409, "/problems/second-person-needed")
    approval = await approval_asked_by(shop, first.rpartition("_")[0])
    other = await shop.access_key("privacy")
    answer = await send(client, other, "POST", f"/v1/approvals/{approval}", {"verdict": "approved"})
    assert (answer.status_code, answer.json()["state"]) == (200, "approved")


async def test_somebody_who_was_invited_again_is_no_second_person(world: World, shop: Controller) -> None:
    before, now = await invited_twice(shop)
    approval = await approval_asked_by(shop, before)
    async with in_process(world) as client:
        again = await by_session(shop, "privacy", "again")
        person = await shop.world.execute(
            "UPDATE sessions SET person = $2 WHERE controller = $1 RETURNING person",
            shop.controller,
            UUID(now.removeprefix("person:")),
        )
        assert f"person:{person}" == now
        body = {"verdict": "approved"}
        answer = await client.post(f"/v1/approvals/{approval}", json=body, headers=again.headers)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/second-person-needed")


async def test_a_minimal_proof_is_not_released_by_one_holders_two_keys(
    client: httpx2.AsyncClient, shop: Controller
) -> None:
    await posted(shop)
    admin, first = await shop.access_key("admin"), await shop.access_key("dpo")
    rotated = (await send(client, admin, "POST", f"/v1/keys/{first.rpartition('_')[0]}/rotate")).json()["secret"]
    path, body = f"/v1/minimal-proofs/{shop.name}/0/release", {"reason": "a claim was raised"}
    assert (await send(client, first, "POST", path, body)).status_code == 202
    assert (await send(client, rotated, "POST", path, body)).status_code == 409
    assert (await send(client, await shop.access_key("privacy"), "POST", path, body)).status_code == 200


# --- what leaves a record ---


async def noted(world: World) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(type, who, what.access) of every record for the access log, in order."""
    return [
        (what["type"], orjson.loads(body.parts.who), what["access"])
        for what, body, _ in await world.messages()
        if "access" in what
    ]


async def test_whoever_arranges_where_personal_data_goes_is_noted(
    world: World, client: httpx2.AsyncClient, shop: Controller
) -> None:
    """An administrator sees nobody's data, and could have all of it sent to a system of their own."""
    world.keys.create_webhook_key(shop.name)
    admin = await shop.access_key("admin")
    hook = {"kind": "webhook", "tells": ["triggers"], "url": "https://a.example/", "sealed_to": public_key()}
    for method, path, body, status in (
        ("PUT", "/v1/downstreams/crm", hook, 201),
        ("PUT", "/v1/downstreams/crm", {**hook, "url": "https://b.example/"}, 200),
        ("POST", "/v1/downstreams/crm/secret", None, 201),
        ("DELETE", "/v1/downstreams/crm", None, 204),
        ("DELETE", "/v1/downstreams/crm", None, 404),
        ("PUT", "/v1/downstreams/crm", {**hook, "url": "http://b.example/"}, 422),
    ):
        answer = await send(client, admin, method, path, body, **{"sayso-why": "ticket 7"})
        assert answer.status_code == status, answer.text
    found = [(kind, access["to"], access["why"]) for kind, _, access in await noted(world)]
    assert found == [
        ("access.granted", "system:crm", "ticket 7"),
        ("access.granted", "system:crm", "ticket 7"),
        ("access.granted", "system:crm", "ticket 7"),
        ("access.revoked", "system:crm", "ticket 7"),
    ]


async def test_a_task_about_somebody_is_a_look_at_them_and_one_that_shows_nobody_is_none(
    world: World, client: httpx2.AsyncClient, shop: Controller
) -> None:
    person = await shop.person("cookie", "v-eve")
    await shop.world.execute(
        "INSERT INTO downstreams (controller, system, kind, tells) VALUES ($1, 'paper', 'task', '{triggers}')",
        shop.controller,
    )
    tasks = [uuid4(), uuid4()]
    for task, answered_at in zip(tasks, (None, BASE_TIME), strict=True):
        await shop.world.execute(
            "INSERT INTO triggers (controller, trigger, subject, system, action, cause, made_at, due_at, answered_at,"
            " outcome) VALUES ($1, $2, $3, 'paper', 'restrict', $4, now(), now() + interval '1 day', $5, $6)",
            shop.controller,
            task,
            person.subject,
            str(task),
            answered_at,
            None if answered_at is None else "done",
        )
    privacy = await shop.access_key("privacy")
    shown = [(await send(client, privacy, "GET", f"/v1/tasks/{task}")).json() for task in tasks]
    assert [one.get("subject") for one in shown] == [str(person.subject), None]
    assert [(who.get("subject"), access["look"]) for _, who, access in await noted(world)] == [
        (str(person.subject), "task")
    ]


async def test_a_step_of_a_request_that_shows_the_request_is_a_look_at_it(
    world: World, shop: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(_self: Waiting, waiters: Sequence[object], _wait_s: int) -> list[None]:
        return [None for _ in waiters]

    # Nobody records here what is asked for.
    monkeypatch.setattr(Waiting, "settle", at_once)
    person, request = await shop.person("cookie", "v-eve"), uuid4()
    await shop.world.execute(
        "INSERT INTO requests (controller, request, asked_for, state, subject, site, received_on, received_at, due_on,"
        " steps) VALUES ($1, $2, 'access', 'working', $3, $4, now(), now(), now() + interval '30 days', 1)",
        shop.controller,
        request,
        person.subject,
        shop.site_name,
    )
    async with in_process(world) as client:
        privacy = await shop.access_key("privacy")
        step = await send(client, privacy, "POST", f"/v1/requests/{request}/withdraw", {})
        assert step.json()["subject"] == str(person.subject)
        ((_, who, access),) = await noted(world)
        assert (who.get("subject"), access["look"]) == (str(person.subject), "request")
        # What cannot be noted is not shown; the step itself stands.
        monkeypatch.setattr("services.query.looks.looks.Looks._place", nowhere)
        step = await send(client, privacy, "POST", f"/v1/requests/{request}/withdraw", {})
        assert step.json() == {"request": str(request), "state": "working"}


async def nowhere(_self: object, _caller: object) -> None:
    raise LookNotRecorded(retry_after_s=1)


# --- what is over ---


async def test_a_regulators_key_that_was_replaced_opens_nothing_in_any_process(
    world: World, client: httpx2.AsyncClient, shop: Controller
) -> None:
    """Another process than the one that replaced it keeps keys for a minute; a regulator's it asks about each time."""
    old = await shop.access_key("auditor")
    assert (await send(client, old, "GET", "/v1/grants/own")).status_code == 200
    await world.execute("UPDATE access_keys SET revoked_at = now() WHERE access_key = $1", old.rpartition("_")[0])
    assert (await send(client, old, "GET", "/v1/grants/own")).status_code == 401


async def test_the_links_of_who_left_open_nothing(world: World, shop: Controller, tmp_path: Path) -> None:
    """Somebody who was dismissed keeps the links that they made for themselves."""
    gone, stays, person = uuid4(), uuid4(), uuid4()
    for nth, one in enumerate((gone, stays)):
        await world.execute(
            "INSERT INTO people (controller, person, name, role, removed_at) VALUES ($1, $2, 'Ada', 'dpo', $3)",
            shop.controller,
            one,
            None if nth else BASE_TIME,
        )
    key = (await shop.access_key("dpo")).rpartition("_")[0]
    revoked = (await shop.access_key("dpo", revoked_at=BASE_TIME)).rpartition("_")[0]
    expired = (await shop.access_key("dpo", expires_at=BASE_TIME)).rpartition("_")[0]
    export = uuid4()
    await world.execute(
        "INSERT INTO exports (controller, export, content, asked_by, state, expires_at)"
        " VALUES ($1, $2, '{}', 'ak_x', 'done', now() + interval '1 day')",
        shop.controller,
        export,
    )
    sealing = Capabilities(read_secret(world.directory / "query" / "links.key"))
    found = {}
    settings = settings_of(world, export_dir=tmp_path / "exports")
    async with serving(settings) as address, httpx2.AsyncClient(base_url=address) as client:
        for by in (f"person:{gone}", f"person:{person}", revoked, f"person:{stays}", key, expired):
            claims = {"controller": shop.controller, "name": shop.name, "export": str(export), "by": by}
            token = sealing.seal("export", {**claims, "files": None, "exp": 2**33})
            found[by] = (await client.get(f"/v1/exports/download/{token}")).status_code
    assert list(found.values()) == [404, 404, 404, 200, 200, 200]


async def test_a_visitor_cannot_bury_the_office_under_requests(world: World, shop: Controller) -> None:
    person = await shop.person("cookie", "v-eve")
    for nth in range(OPEN_MAX):
        await shop.world.execute(
            "INSERT INTO requests (controller, request, asked_for, state, subject, site, received_on, received_at,"
            " due_on, steps) VALUES ($1, $2, 'access', 'received', $3, $4, now(), now(), now() + interval '9 days', 1)",
            shop.controller,
            UUID(int=nth),
            person.subject,
            shop.site_name,
        )
    claims = {"site": shop.site_name, "type": "cookie", "value": "v-eve", "exp": 2**33}
    token = Capabilities(read_secret(world.directory / "capabilities.key")).seal("visitor", claims)
    async with in_process(world) as client:
        answer = await send(client, token, "POST", "/v1/me/requests", {"asked_for": "access"})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/request-step-not-possible")
    assert await world.messages() == []
