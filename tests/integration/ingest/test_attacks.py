"""Attacks by name, each with the answer that docs/ingest.md states, on real Postgres and a real ledger.

Invariant: nothing of any of them changes what is recorded of another person.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from schemas.visitors import visitor_id
from tests.integration.ingest.conftest import (
    APP_KEY,
    BROWSER_KEY,
    ORIGIN,
    SITE,
    VISITOR_KEY,
    Shop,
    event_now,
    visitor_event,
)

pytestmark = pytest.mark.integration

ATTACKER = "https://attacker.example"
DENIAL = [{"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}]
OBJECTION = [{"purpose": "chat-history", "decision": "objected", "legal_basis": "legitimate_interest"}]
GRANT = [{"purpose": "chat-history", "decision": "granted", "legal_basis": "consent"}]


def ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def whats(shop: Shop) -> list[dict[str, Any]]:
    return [orjson.loads(message.what) for message in await shop.inbox()]


async def test_forged_origin(shop: Shop) -> None:
    """A page can only send the origin it has; it is refused, and may not even read why."""
    for origin in (ATTACKER, f"{ORIGIN}.attacker.example", "null", ORIGIN.replace("https", "http")):
        answer = await shop.client.post(
            f"/v1/events?key={BROWSER_KEY}", json=visitor_event(), headers={"origin": origin}
        )
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/origin-not-allowed")
        assert "access-control-allow-origin" not in answer.headers
    assert await shop.inbox() == []


async def test_an_origin_that_a_program_forges_speaks_for_nobody(shop: Shop) -> None:
    """A program writes any header it likes; what it says of a visitor whose key it lacks is unconfirmed."""
    forged = event_now(subject=visitor_id(VISITOR_KEY))
    assert (await shop.post(forged)).status_code == 202
    (what,) = await whats(shop)
    assert what["marks"] == ["unconfirmed"]


async def test_a_stolen_publishable_key_on_another_site(shop: Shop) -> None:
    for headers in ({"origin": ATTACKER, "sec-fetch-site": "cross-site"}, {"sec-fetch-site": "cross-site"}, {}):
        answer = await shop.client.post(f"/v1/events?key={BROWSER_KEY}", json=visitor_event(), headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/origin-not-allowed")
        beacon = await shop.client.post(
            f"/v1/drop-in/klaro?key={BROWSER_KEY}", json={"consents": {"chat-history": True}}, headers=headers
        )
        assert beacon.status_code == 403
    # Nor does it speak for another site from its own pages.
    answer = await shop.post(visitor_event(source="/sites/other.example"))
    assert answer.json()["type"] == "/problems/wrong-source"
    assert await shop.inbox() == []


async def test_a_stolen_app_key_in_a_page(shop: Shop) -> None:
    answer = await shop.client.post(f"/v1/events?key={APP_KEY}", json=visitor_event(), headers={"origin": ATTACKER})
    assert answer.status_code == 403
    assert await shop.inbox() == []


async def test_replayed_body(made_shop: Shop) -> None:
    """The same id with the same content is taken again and recorded once, whoever sends it."""
    async with made_shop.running(), made_shop.deployment.ledger():
        body = visitor_event()
        first = await made_shop.post(body, prefer="wait=20")
        assert (first.status_code, first.json()["index"]) == (201, 0)
        state = await made_shop.deployment.state()
        for _ in range(3):
            again = await made_shop.post(body, prefer="wait=20")
            assert (again.status_code, again.json()["index"]) == (201, 0)
        # From a program that copied it off the wire, without what proved the visitor.
        copied = {name: value for name, value in body.items() if name != "visitorkey"}
        assert (await made_shop.post(copied, prefer="wait=20")).json()["index"] == 0
        await made_shop.deployment.drained()
        assert await made_shop.deployment.size() == 1
        assert await made_shop.deployment.state() == state


async def test_altered_replay(made_shop: Shop) -> None:
    """The same id with other content: a conflict for who waits, a dead letter for who does not; the record stays."""
    async with made_shop.running(), made_shop.deployment.ledger():
        body = visitor_event(time=ago(0))
        assert (await made_shop.post(body, prefer="wait=20")).status_code == 201
        state = await made_shop.deployment.state()
        for altered in (
            body | {"type": "consent.refused", "data": body["data"] | {"decisions": DENIAL}},
            body | {"time": ago(1)},
            body | {"data": body["data"] | {"context": {"page": "/elsewhere"}}},
        ):
            answer = await made_shop.post(altered, prefer="wait=20")
            assert (answer.status_code, answer.json()["type"]) == (409, "/problems/id-conflict")
            assert (await made_shop.post(altered)).status_code == 202
        await made_shop.deployment.drained()
        assert await made_shop.deployment.size() == 1
        assert await made_shop.deployment.state() == state
        reasons = await made_shop.deployment.fetch("SELECT DISTINCT reason FROM dead_letters")
        assert [row["reason"] for row in reasons] == ["id-conflict"]


async def test_someone_elses_email_with_a_publishable_key(made_shop: Shop) -> None:
    """A grant for somebody else changes nothing while that person has said something."""
    person = {"identifiers": [{"type": "email", "value": "someone@mail.example"}]}
    async with made_shop.running(), made_shop.deployment.ledger():
        theirs = event_now(1, type="consent.refused", decisions=DENIAL)
        theirs["data"]["subject"] = person
        assert (await made_shop.post_server(theirs, prefer="wait=20")).status_code == 201
        state = await made_shop.deployment.state()
        forged = event_now(2, decisions=GRANT)
        forged["data"]["subject"] = person
        assert (await made_shop.post(forged, prefer="wait=20")).status_code == 201
        assert await made_shop.deployment.state() == state


async def test_someone_elses_capability(shop: Shop) -> None:
    """A capability speaks for the number it was sealed to: another's number stays unconfirmed."""
    capability = (await shop.post(visitor_event())).json()["capability"]
    others = event_now(2, subject=visitor_id("vk_" + "x" * 43)) | {"capability": capability}
    assert (await shop.post(others)).status_code == 202
    own = event_now(3, subject=visitor_id(VISITOR_KEY)) | {"capability": capability}
    assert (await shop.post(own)).status_code == 202
    marks = {what["id"]: what.get("marks") for what in await whats(shop)}
    assert (marks[others["id"]], marks[own["id"]]) == (["unconfirmed"], None)


@pytest.mark.parametrize(
    ("days", "changes", "status"),
    [
        (31, {"decisions": GRANT}, 422),
        (31, {"decisions": GRANT, "type": "consent.renewed"}, 422),
        (4000, {"decisions": GRANT}, 422),
        (29, {"decisions": GRANT}, 202),
        # A denial is never turned away for a clock, alone or beside a grant.
        (31, {"decisions": DENIAL, "type": "consent.withdrawn"}, 202),
        (4000, {"decisions": OBJECTION, "type": "consent.refused"}, 202),
        (31, {"decisions": [*GRANT, *OBJECTION]}, 202),
        (31, {"type": "notice.served"}, 202),
    ],
)
async def test_an_old_grant(shop: Shop, days: int, changes: dict[str, Any], status: int) -> None:
    event = visitor_event(time=ago(days), **changes)
    answer = await shop.post(event)
    assert answer.status_code == status
    if status == 422:
        assert (answer.json()["type"], answer.json()["pointer"]) == ("/problems/act-too-old", "/time")
    # A server brings what happened long ago.
    del event["visitorkey"]
    assert (await shop.post_server(event)).status_code == 202


async def test_the_age_is_the_operators_choice(made_shop: Shop) -> None:
    async with made_shop.running(grant_age_days=2):
        assert (await made_shop.post(visitor_event(time=ago(3), decisions=GRANT))).status_code == 422
        assert (await made_shop.post(visitor_event(time=ago(1), decisions=GRANT))).status_code == 202


@pytest.mark.parametrize("path", ["/v1/events", "/v1/drop-in/klaro", "/v1/drop-in/cookieconsent"])
async def test_bodies_that_are_too_much(shop: Shop, path: str) -> None:
    """Every route that is posted to: too long, too deep, a name twice, no JSON."""
    for body, status, problem in (
        (b" " * (1024 * 1024 + 1), 413, "body-too-large"),
        (b'{"a":"' + b"x" * 70_000 + b'"}', 413, "event-too-large"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 422, "too-deep"),
        (b'{"consents":{"a":true,"a":false}}', 422, "duplicate-key"),
        (b"{", 422, "malformed-json"),
    ):
        headers = {"origin": ORIGIN, "content-type": "text/plain"}
        answer = await shop.client.post(f"{path}?key={BROWSER_KEY}", content=body, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert await shop.inbox() == []


async def test_no_route_is_open_by_another_method(shop: Shop) -> None:
    for path in ("/v1/drop-in/klaro", f"/v1/privacy-managers/{BROWSER_KEY}/submit"):
        assert (await shop.client.get(path, headers={"origin": ORIGIN})).status_code == 405
    assert SITE not in (await shop.client.post("/v1/drop-in/other")).text
