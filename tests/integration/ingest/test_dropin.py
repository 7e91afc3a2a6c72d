"""The drop-ins on a running ingest: taken, limited, proven and recorded once, like any other act of a page."""

from typing import Any
from urllib.parse import quote

import orjson
import pytest

from schemas.visitors import visitor_id
from services.ingest.dropin.acts import visitor_key
from tests.integration.ingest.conftest import BROWSER_KEY, ORIGIN, Shop

pytestmark = pytest.mark.integration

CONSENT_ID = "7f3c2a5e-9d1b-4c7e-8a36-1f2e3d4c5b6a"
LOGGED = {
    "consentId": CONSENT_ID,
    "acceptType": "custom",
    "acceptedCategories": ["necessary", "analytics"],
    "rejectedCategories": ["ads"],
}
MAP = quote(orjson.dumps({"analytics": "chat-history", "ads": "chat-proactive"}))
KLARO = {"consent_data": {"consents": {"chat-history": True, "chat-proactive": False}, "type": "save"}}


async def post(shop: Shop, path: str, body: Any, content_type: str = "application/json") -> Any:
    headers = {"origin": ORIGIN, "content-type": content_type}
    return await shop.client.post(path, content=orjson.dumps(body), headers=headers)


async def whats(shop: Shop) -> list[dict[str, Any]]:
    return [orjson.loads(message.what) for message in await shop.inbox()]


async def test_cookieconsent(shop: Shop) -> None:
    answer = await post(shop, f"/v1/drop-in/cookieconsent?key={BROWSER_KEY}&map={MAP}", LOGGED)
    assert answer.status_code == 202
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    # The page may show the visitor's choices with it.
    assert answer.json()["capability"].startswith("cap_")
    (message,) = await shop.inbox()
    what, who = orjson.loads(message.what), orjson.loads(message.body.parts.who)
    assert (what["type"], what["words"], what["posted_by"], "marks" in what) == (
        "consent.given",
        "unverified",
        "browser",
        False,
    )
    number = visitor_id(visitor_key("/sites/shop.example", CONSENT_ID))
    assert who == {"identifiers": [{"type": "cookie", "value": number}]}
    said = b"".join(message.body.parts)
    assert CONSENT_ID.encode() not in said
    assert b"vk_" not in said


async def test_its_preflight(shop: Shop) -> None:
    """The docs of cookieconsent post application/json, which a browser asks about first."""
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    answer = await shop.client.options(f"/v1/drop-in/cookieconsent?key={BROWSER_KEY}", headers=asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("path", [f"/v1/drop-in/klaro?key={BROWSER_KEY}", f"/v1/privacy-managers/{BROWSER_KEY}/submit"])
async def test_klaro(shop: Shop, path: str) -> None:
    answer = await post(shop, path, KLARO, "text/plain;charset=UTF-8")
    assert answer.status_code == 202
    # Klaro parses what it gets as JSON.
    assert answer.json()["status"] == "accepted"
    (what,) = await whats(shop)
    assert [(d["purpose"], d["decision"]) for d in what["decisions"]] == [
        ("chat-history", "granted"),
        ("chat-proactive", "denied"),
    ]


async def test_a_serving_is_counted_and_not_recorded(shop: Shop) -> None:
    shown = {"consent_data": {"consents": {}, "changes": {}, "type": "show"}}
    answer = await post(shop, f"/v1/drop-in/klaro?key={BROWSER_KEY}", shown, "text/plain;charset=UTF-8")
    assert (answer.status_code, answer.json()) == (202, {"status": "counted"})
    assert await shop.inbox() == []
    assert 'sayso_ingest_events_total{outcome="served"}' in (await shop.client.get("/metrics")).text


async def test_an_unknown_name_is_refused(shop: Shop) -> None:
    answer = await post(shop, f"/v1/drop-in/cookieconsent?key={BROWSER_KEY}", LOGGED)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unknown-purpose")
    assert "analytics" not in answer.text
    assert await shop.inbox() == []


@pytest.mark.parametrize(
    ("path", "headers", "status", "problem"),
    [
        ("", {"origin": ORIGIN}, 401, "missing-key"),
        ("?key=pk_" + "x" * 24, {"origin": ORIGIN}, 401, "wrong-key"),
        (f"?key={BROWSER_KEY}", {"origin": "https://attacker.example"}, 403, "origin-not-allowed"),
        (f"?key={BROWSER_KEY}", {"origin": ORIGIN, "content-type": "text/html"}, 415, "unsupported-media-type"),
        (f"?key={BROWSER_KEY}&map=x", {"origin": ORIGIN}, 422, "invalid-parameter"),
    ],
)
async def test_who_may_not(shop: Shop, path: str, headers: dict[str, str], status: int, problem: str) -> None:
    answer = await shop.client.post(
        f"/v1/drop-in/cookieconsent{path}",
        content=orjson.dumps(LOGGED),
        headers={"content-type": "text/plain"} | headers,
    )
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert await shop.inbox() == []


async def test_one_visitors_choice_is_recorded_once_and_the_next_one_counts(made_shop: Shop) -> None:
    path = f"/v1/drop-in/cookieconsent?key={BROWSER_KEY}&map={MAP}"
    async with made_shop.running(), made_shop.deployment.ledger():
        timed = LOGGED | {"lastConsentTimestamp": "2026-11-21T10:00:00.000Z"}
        for _ in range(3):
            assert (await post(made_shop, path, timed)).status_code == 202
        await made_shop.deployment.drained()
        await made_shop.deployment.recorded(1)
        assert await made_shop.deployment.size() == 1
        refused = {"acceptType": "necessary", "acceptedCategories": ["necessary"], "rejectedCategories": ["analytics"]}
        later = {"consentId": CONSENT_ID, "lastConsentTimestamp": "2026-11-21T11:00:00.000Z", **refused}
        assert (await post(made_shop, path, later)).status_code == 202
        await made_shop.deployment.recorded(2)
        rows = await made_shop.deployment.fetch(
            "SELECT decision FROM consent_state WHERE purpose = 'chat-history' AND legal_basis = 'consent'"
        )
        assert [row["decision"] for row in rows] == ["denied"]
        subjects = await made_shop.deployment.fetch("SELECT DISTINCT subject FROM identifiers")
        assert len(subjects) == 1
