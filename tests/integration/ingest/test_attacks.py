"""Attacks by name, each with the answer that docs/ingest.md states, on real Postgres and a real ledger.

Invariant: nothing of any of them changes what is recorded of another person.
"""

from base64 import urlsafe_b64encode
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
        assert "index" not in (await made_shop.post(copied, prefer="wait=20")).json()
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
        # Also where an export had no time for it, and wrote the first one there is.
        dated = {"time": "0001-01-01T00:00:00Z", "capture": {"mechanism": "import"}}
        theirs = event_now(1, type="consent.refused", decisions=DENIAL, **dated)
        theirs["data"]["subject"] = person
        assert (await made_shop.post_server(theirs, prefer="wait=20")).status_code == 201
        state = await made_shop.deployment.state()
        forged = event_now(2, decisions=GRANT)
        forged["data"]["subject"] = person
        assert (await made_shop.post(forged, prefer="wait=20")).status_code == 202
        await made_shop.deployment.drained()
        assert await made_shop.deployment.size() == 2
        assert await made_shop.deployment.state() == state


async def test_nobody_learns_of_an_erasure_by_waiting(made_shop: Shop) -> None:
    """An act from before an erasure is dropped: a stranger's answer, and a page's, is that of any other."""
    deployment = made_shop.deployment
    async with made_shop.running(), deployment.ledger():
        theirs = event_now(1, type="consent.refused", decisions=DENIAL)
        theirs["data"]["subject"] = {"identifiers": [{"type": "email", "value": "someone@mail.example"}]}
        assert (await made_shop.post_server(theirs, prefer="wait=20")).status_code == 201
        assert (await made_shop.post(visitor_event(2), prefer="wait=20")).status_code == 201
        people = (
            await deployment.subject_of("someone@mail.example", "email"),
            await deployment.subject_of(visitor_id(VISITOR_KEY)),
        )
        await deployment.publish([deployment.seal_erasure(subject) for subject in people if subject is not None])
        await deployment.drained()
        size = await deployment.size()
        answers = []
        for number, value in ((3, "someone@mail.example"), (4, "nobody@mail.example")):
            event = event_now(number, type="consent.withdrawn", decisions=DENIAL, time=ago(2))
            event["data"]["subject"] = {"identifiers": [{"type": "email", "value": value}]}
            answer = await made_shop.post(event, prefer="wait=20")
            answers.append((answer.status_code, {**answer.json(), "id": ""}, answer.headers.get("preference-applied")))
        assert answers[0] == answers[1] == (202, {"id": "", "status": "accepted"}, "wait=20")
        # The erased browser itself gets what it gets for every act.
        own = await made_shop.post(visitor_event(5, time=ago(2)), prefer="wait=20")
        assert (own.status_code, own.json()["status"], "capability" in own.json()) == (202, "accepted", True)
        await deployment.drained()
        assert await deployment.size() == size + 1


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


async def test_names_that_can_be_nobodys(shop: Shop) -> None:
    """Names that strangers think up: what Postgres cannot hold, what is long, what has many fields. Never a 500."""
    for name in ("%00", "a%00b", "A" * 40, "x" * 5000, "%C3%A9", ".."):
        for path in (f"/v1/notices/{name}?language=fr", f"/v1/sites/{name}/services", f"/v1/sites/{name}/policy"):
            assert (await shop.client.get(path)).status_code == 404, path
    many = "&".join(f"f{number}=1" for number in range(30))
    answer = await shop.client.post(f"/v1/events?key={BROWSER_KEY}&{many}", json=visitor_event())
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/missing-key")
    headers = {"origin": ORIGIN, "authorization": f"Bearer {BROWSER_KEY}"}
    body = {"consents": {"chat-history": True}}
    answer = await shop.client.post(f"/v1/drop-in/klaro?{many}", json=body, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-parameter")


async def test_an_identity_that_names_no_key(shop: Shop) -> None:
    """What stands in it is asked of nobody, and costs the events beside it nothing."""
    events = []
    for number, name in enumerate(("sk_\x00", "sk_" + "a" * 300, "sk_" + "Z" * 24)):
        payload = urlsafe_b64encode(orjson.dumps({"key": name})).decode().rstrip("=")
        events.append(visitor_event(number) | {"identity": f"id_{payload}.AAAA"})
    answer = await shop.post(events)
    assert [result["status"] for result in answer.json()["events"]] == ["accepted"] * 3
    assert [what.get("marks") for what in await whats(shop)] == [None] * 3


async def test_no_route_is_open_by_another_method(shop: Shop) -> None:
    for path in ("/v1/drop-in/klaro", f"/v1/privacy-managers/{BROWSER_KEY}/submit"):
        assert (await shop.client.get(path, headers={"origin": ORIGIN})).status_code == 405
    assert SITE not in (await shop.client.post("/v1/drop-in/other")).text
