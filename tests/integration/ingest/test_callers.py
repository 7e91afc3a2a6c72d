"""Who may post: keys, where they may stand, origins, preflight, and what each kind of key may say."""

from typing import Any

import pytest

from services.keys import secret_digest
from tests.integration.ingest.conftest import (
    APP_KEY,
    BEARER,
    BROWSER_KEY,
    ORIGIN,
    SECRET,
    SERVER_KEY,
    SITE,
    Shop,
    event_now,
)

pytestmark = pytest.mark.integration

REFUSAL = [{"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}]
ATTACKER = "https://shop.example.attacker.example"


@pytest.mark.parametrize(
    ("query", "headers", "status", "problem"),
    [
        ("", {}, 401, "missing-key"),
        ("?key=", {}, 401, "missing-key"),
        ("?kex=pk_x", {}, 401, "missing-key"),
        ("", {"authorization": "Basic c2hvcDp4"}, 401, "missing-key"),
        # A server key in a URL is not even looked at.
        (f"?key={SERVER_KEY}_{SECRET}", {}, 401, "missing-key"),
        ("?key=pk_short", {"origin": ORIGIN}, 401, "wrong-key"),
        (f"?key={'pk_' + 'x' * 24}", {"origin": ORIGIN}, 401, "wrong-key"),
        (f"?key={BROWSER_KEY}%00", {"origin": ORIGIN}, 401, "wrong-key"),
        ("", {"authorization": f"Bearer {SERVER_KEY}_{SECRET[:-1]}T"}, 401, "wrong-key"),
        ("", {"authorization": f"Bearer {SERVER_KEY}"}, 401, "wrong-key"),
        ("", {"authorization": f"Bearer {BROWSER_KEY}_{SECRET}"}, 401, "wrong-key"),
        ("", {"authorization": f"Bearer sk_{'x' * 24}_{SECRET}"}, 401, "wrong-key"),
        # A wrong server key is not saved by a right publishable one.
        (f"?key={BROWSER_KEY}", {"authorization": "Bearer nonsense", "origin": ORIGIN}, 401, "wrong-key"),
        (f"?key={BROWSER_KEY}", {"origin": ATTACKER}, 403, "origin-not-allowed"),
        (f"?key={BROWSER_KEY}", {"origin": "null"}, 403, "origin-not-allowed"),
        (f"?key={BROWSER_KEY}", {"origin": ORIGIN.upper()}, 403, "origin-not-allowed"),
        (f"?key={BROWSER_KEY}", {"sec-fetch-site": "cross-site"}, 403, "origin-not-allowed"),
        # A page's key is for pages, and pages have an origin.
        (f"?key={BROWSER_KEY}", {}, 403, "origin-not-allowed"),
        ("", {"authorization": f"Bearer {BROWSER_KEY}"}, 403, "origin-not-allowed"),
        # Ingest's own origin is one like any other: it must be in the list.
        (f"?key={BROWSER_KEY}", {"sec-fetch-site": "same-origin"}, 403, "origin-not-allowed"),
        (f"?key={BROWSER_KEY}", {"sec-fetch-site": "same-site", "host": "shop.example"}, 403, "origin-not-allowed"),
        # An app's key does not work in other people's pages.
        (f"?key={APP_KEY}", {"origin": ATTACKER}, 403, "origin-not-allowed"),
        (f"?key={APP_KEY}", {"origin": "null"}, 403, "origin-not-allowed"),
        (f"?key={APP_KEY}", {"sec-fetch-site": "cross-site"}, 403, "origin-not-allowed"),
        ("", {"authorization": f"Bearer {APP_KEY}_{SECRET}"}, 401, "wrong-key"),
        ("?key=app_short", {}, 401, "wrong-key"),
    ],
)
async def test_who_may_not_post(
    shop: Shop, capsys: pytest.CaptureFixture[str], query: str, headers: dict[str, str], status: int, problem: str
) -> None:
    answer = await shop.client.post(f"/v1/events{query}", json=event_now(), headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert "access-control-allow-origin" not in answer.headers
    said = answer.text + capsys.readouterr().out
    for secret in (SECRET, "attacker", BROWSER_KEY, SERVER_KEY, APP_KEY):
        assert secret not in said
    assert await shop.inbox() == []


@pytest.mark.parametrize(
    ("query", "headers", "reads"),
    [
        (f"?key={BROWSER_KEY}", {"origin": ORIGIN}, ORIGIN),
        (f"?source=beacon&key={BROWSER_KEY}", {"origin": ORIGIN, "sec-fetch-site": "same-site"}, ORIGIN),
        # A page that ingest's own host serves, without Origin and with the one of a page that hides it.
        (f"?key={BROWSER_KEY}", {"sec-fetch-site": "same-origin", "host": "shop.example"}, None),
        (f"?key={BROWSER_KEY}", {"origin": "null", "sec-fetch-site": "same-origin", "host": "shop.example"}, "null"),
        # An app, and an app's page of an origin that the site allows.
        (f"?key={APP_KEY}", {}, None),
        ("", {"authorization": f"Bearer {APP_KEY}"}, None),
        (f"?key={APP_KEY}", {"origin": ORIGIN, "sec-fetch-site": "cross-site"}, ORIGIN),
        ("", {"authorization": f"Bearer {BROWSER_KEY}", "origin": ORIGIN}, ORIGIN),
        ("", {"authorization": BEARER}, None),
        ("", {"authorization": BEARER.replace("Bearer", "bearer")}, None),
        # A server key is bound to no origin, and no page may read its answer.
        ("", {"authorization": BEARER, "origin": ATTACKER}, None),
    ],
)
async def test_who_may_post(shop: Shop, query: str, headers: dict[str, str], reads: str | None) -> None:
    answer = await shop.client.post(f"/v1/events{query}", json=event_now(), headers=headers)
    assert answer.status_code == 202
    assert answer.headers.get("access-control-allow-origin") == reads
    assert "access-control-allow-credentials" not in answer.headers
    assert (answer.headers.get("vary") == "origin") == (reads is not None)


async def test_a_page_may_read_its_problem(shop: Shop) -> None:
    answer = await shop.post({})
    assert answer.status_code == 422
    assert answer.headers["access-control-allow-origin"] == ORIGIN


async def test_preflight(shop: Shop) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    path = f"/v1/events?key={BROWSER_KEY}"
    allowed = await shop.client.options(path, headers=asked | {"origin": ORIGIN})
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert allowed.headers["access-control-allow-headers"] == "content-type, prefer"
    assert allowed.headers["vary"] == "origin"
    assert "access-control-allow-credentials" not in allowed.headers
    for refused in (
        await shop.client.options(path, headers=asked | {"origin": ATTACKER}),
        await shop.client.options("/v1/events", headers=asked | {"origin": ORIGIN}),
    ):
        assert refused.status_code in {401, 403}
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("changes", "browser", "server"),
    [
        ({"type": "consent.withdrawn", "decisions": REFUSAL}, 202, 202),
        ({"type": "consent.observed", "decisions": REFUSAL}, 202, 202),
        ({"type": "notice.served"}, 202, 202),
        ({"type": "signal.gpc", "signals": {"gpc": True}}, 202, 202),
        ({"type": "consent.expired", "decisions": REFUSAL}, 403, 202),
        ({"type": "consent.invalidated", "decisions": REFUSAL}, 403, 202),
        ({"type": "request.received", "request": {"right": "access"}}, 403, 202),
        ({"type": "request.answered"}, 403, 403),
        ({"type": "subject.erased"}, 403, 403),
        ({"type": "hold.placed"}, 403, 403),
        ({"type": "access.read"}, 403, 403),
        # The schema wants no decisions in it, and looks first.
        ({"type": "correction"}, 422, 422),
        ({"subject": {"identifiers": [{"type": "installation", "value": "i-1"}]}}, 202, 202),
        # Taken, and unconfirmed where a browser says it (tests/integration/ingest/test_proving.py).
        ({"subject": {"identifiers": [{"type": "email", "value": "a@b.example"}]}}, 202, 202),
        ({"subject": {"identifiers": [{"type": "phone", "value": "+33"}]}}, 202, 202),
        ({"subject": {"identifiers": [{"type": "cookie", "value": "v"}, {"type": "account", "value": "7"}]}}, 202, 202),
        ({"guardian": {"identifier": {"type": "email", "value": "a@b.example"}}}, 202, 202),
    ],
)
async def test_what_each_key_may_say(shop: Shop, changes: dict[str, Any], browser: int, server: int) -> None:
    event = event_now()
    if "subject" in changes:
        event["data"]["subject"] = changes["subject"]
    event["type"] = changes.get("type", event["type"])
    event["data"] |= {name: value for name, value in changes.items() if name not in {"type", "subject"}}
    assert (await shop.post(event)).status_code == browser
    assert (await shop.post_server(event)).status_code == server


async def test_a_revoked_key_is_unknown(shop: Shop) -> None:
    revoked = "pk_" + "r" * 24
    await shop.deployment.fetch(
        "INSERT INTO site_keys (controller, site_key, site, kind, revoked_at)"
        " SELECT controller, $1, site, 'pk', now() FROM sites WHERE name = $2 RETURNING 1",
        revoked,
        SITE,
    )
    answer = await shop.client.post(f"/v1/events?key={revoked}", json=event_now(), headers={"origin": ORIGIN})
    assert answer.json()["type"] == "/problems/wrong-key"


async def test_another_controllers_key_writes_behind_its_own_wall(shop: Shop) -> None:
    key, secret = "sk_" + "o" * 24, "O" * 43
    await shop.deployment.fetch(
        "WITH c AS (INSERT INTO controllers (name, legal_name, contact) VALUES ('other', 'Other', 'x') RETURNING *),"
        " l AS (INSERT INTO logs (controller, name, origin) SELECT controller, 'other', 'log.example/logs/other' FROM c"
        " RETURNING *),"
        " s AS (INSERT INTO sites (controller, name, log) SELECT controller, 'other.example', log FROM l RETURNING *)"
        " INSERT INTO site_keys (controller, site_key, site, kind, secret_sha256)"
        " SELECT controller, $1, site, 'sk', $2 FROM s RETURNING 1",
        key,
        secret_digest(secret),
    )
    headers = {"authorization": f"Bearer {key}_{secret}"}
    # The purposes of shop.example are not the purposes of other.example.
    theirs = event_now(source="/sites/other.example")
    answer = await shop.client.post("/v1/events", json=theirs, headers=headers)
    assert answer.json()["type"] == "/problems/unknown-purpose"
    served = event_now(source="/sites/other.example", type="notice.served")
    del served["data"]["decisions"]
    assert (await shop.client.post("/v1/events", json=served, headers=headers)).status_code == 202
    assert (await shop.client.post("/v1/events", json=event_now(), headers=headers)).status_code == 422
    rows = await shop.deployment.fetch("SELECT c.name FROM inbox JOIN controllers c USING (controller)")
    assert [row["name"] for row in rows] == ["other"]
