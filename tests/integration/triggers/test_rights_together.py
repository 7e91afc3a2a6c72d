"""What one right leads to elsewhere: a request to an erasure, its triggers and its docket; a restriction to systems
that are told when it is over; a withdrawal, after its grace, to those that hold the data.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx2
import orjson
import pytest

from schemas.archive import read_archive
from schemas.bundle_check import Pins, verify_archive
from schemas.record import format_time, read_entry
from services.ledger.rebuild import rebuild
from services.postgres import controller_transaction, create_pool
from services.query.auth import Caller
from services.query.downstreams.store import DownstreamStore
from services.query.erasure.dockets import docket_content
from tests.integration.ingest.conftest import Shop, event_now
from tests.integration.query.conftest import serving
from tests.integration.triggers.conftest import Engine
from tests.integration.triggers.test_answers import webhook
from tests.support.deployment import Deployment, consent_event, fresh_uuid
from tests.support.downstream import keys_of, opened, query_settings
from tests.support.many_erasures import post_signed
from tests.support.receiver import Receiver
from tests.support.retaining import Retaining, rule
from tests.support.wait import until

pytestmark = pytest.mark.integration

TODAY = datetime.now(UTC).date().isoformat()
REPLY_TO = {"channel": "post", "address": "Eve, 1 High Street"}
MakeEngine = Callable[..., AbstractAsyncContextManager[Engine]]


class House(NamedTuple):
    """A running ledger and query, and the keys of the controller's people."""

    deployment: Deployment
    client: httpx2.AsyncClient
    keys: dict[str, str]

    async def call(self, role: str, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        headers = {"authorization": f"Bearer {self.keys[role]}"}
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def person(self) -> dict[str, str]:
        """Somebody who has consented; the identifier."""
        known = {"type": "email", "value": f"{fresh_uuid()}@example.com"}
        event = consent_event(1, id=fresh_uuid(), time=format_time(datetime.now(UTC)))
        event["data"]["subject"] = {"identifiers": [known]}
        await self.deployment.publish([self.deployment.seal(event)])
        await self.deployment.drained()
        return known

    async def letter(self, asked_for: str, **members: Any) -> str:
        body = {"asked_for": asked_for, "channel": "post", "received_on": TODAY, **members}
        return str((await self.call("privacy", "POST", "/v1/requests", body, 201))["request"])

    async def step(self, request: str, name: str, status: int = 200, /, **body: Any) -> Any:
        return await self.call("privacy", "POST", f"/v1/requests/{request}/{name}", body, status)

    async def view(self, request: str) -> Any:
        return await self.call("privacy", "GET", f"/v1/requests/{request}")

    async def hold(self, subject: str, **changes: Any) -> Any:
        body = {"subject": subject, "ground": "17(3)(e)", "case_reference": "R 12/26", "reason": "A claim."}
        later = datetime.now(UTC) + timedelta(days=30)
        body |= {"review_on": later.date().isoformat(), "expires_at": format_time(later), **changes}
        return (await self.call("privacy", "POST", "/v1/holds", body, 201))["holds"][0]


@pytest.fixture
async def house(deployment: Deployment) -> AsyncIterator[House]:
    keys = {role: await deployment.add_access_key(role) for role in ("admin", "privacy", "dpo")}
    async with (
        deployment.ledger(),
        serving(query_settings(deployment)) as address,
        httpx2.AsyncClient(base_url=address, timeout=30) as client,
    ):
        made = House(deployment, client, keys)
        await until(lambda: has_keys(deployment), what="the ledger has made its keys and opened its logs")
        yield made


async def has_keys(deployment: Deployment) -> bool:
    rows = await deployment.fetch("SELECT FROM log_heads WHERE signed_size IS NOT NULL")
    return len(rows) == 2 and (deployment.keys / "controllers" / "shop" / "webhooks.key").exists()


async def test_a_letter_becomes_an_erasure_that_is_answered_everywhere_told_and_certified(
    house: House, receiver: Receiver
) -> None:
    made = await house.call("admin", "PUT", "/v1/downstreams/crm", webhook(receiver, "later"), 201)
    human = {"kind": "task", "tells": ["triggers"], "instructions": "Look in the paper archive."}
    await house.call("admin", "PUT", "/v1/downstreams/archive", human, 201)
    eve = await house.person()
    doubt = {"method": "call_back", "doubt": "The letter is not signed."}
    request = await house.letter("erasure", identifier=eve, reply_to=REPLY_TO, doubt=doubt)
    await house.step(request, "verified", method="call_back", outcome="shown")
    answered = await house.step(request, "answer", ground="17(1)(b)")
    # The letter is gone with the person; who answers it finds the address where the docket holds it.
    assert (answered["state"], answered["docket"], answered["reply_to"]) == ("answered", 1, REPLY_TO)
    assert "reply_to" not in answered["steps"][0]
    assert (answered["steps"][-1]["docket"], answered["steps"][-1]["outcome"]) == (1, "done")
    erasure = answered["steps"][-1]["erasure"]
    docket = await in_docket(house.deployment, 1)
    assert [step["step"] for step in docket["history"]] == [
        "request.received",
        "request.identity",
        "request.verified",
        "asked",
    ]
    triggers = {row["system"]: str(row["trigger"]) for row in await house.deployment.fetch("SELECT * FROM triggers")}

    async def taken() -> bool:
        return bool(receiver.received("later"))

    await until(taken, what="the webhook has come")
    sealed = orjson.loads(receiver.received("later")[0]["body"])["data"]["sealed"]
    assert opened(sealed) == {"identifiers": [eve], "docket": 1}
    assert (await post_signed(house.client, made["secret"], triggers["crm"], {"outcome": "done"})).status_code == 200
    refusal = {"outcome": "refused", "reason": "A law says to keep it."}
    await house.call("privacy", "POST", f"/v1/tasks/{triggers['archive']}/answer", refusal)
    said = await house.call("privacy", "GET", f"/v1/erasures/{erasure}")
    # Everybody has answered; the person was not told yet.
    assert (said["all_answered"], said["docket"]["state"]) == (True, "open")
    told = await house.step(request, "told", channel="post")
    assert (told["steps"][-1]["docket"], "reply_to" in told) == (1, False)
    said = await house.call("privacy", "GET", f"/v1/erasures/{erasure}")
    assert (said["docket"]["state"], said["docket"]["outcome"]) == ("closed", "answered")
    await certified(house, erasure, eve["value"])


async def in_docket(deployment: Deployment, number: int) -> Any:
    """What an open docket holds."""
    pool = await create_pool(deployment.database.dsn(), role="sayso_query", size=1, application="test")
    caller = Caller(deployment.controller, "shop", "privacy", "ak_test")
    async with pool, controller_transaction(pool, deployment.controller) as connection:
        store = DownstreamStore(connection, deployment.controller)
        return await docket_content(store, keys_of(deployment), caller, number)


async def certified(house: House, erasure: str, secret: str) -> None:
    """The certificate says who was told and what they answered, and names nobody."""
    headers = {"authorization": f"Bearer {house.keys['privacy']}", "accept": "application/zip"}
    found: list[bytes] = []

    async def published() -> bool:
        answer = await house.client.get(f"/v1/erasures/{erasure}/certificate", headers=headers)
        if answer.status_code == 200:
            found.append(answer.content)
        return bool(found)

    await until(published, what="the erasure is published")
    verify_archive(found[0], Pins())
    claims = orjson.loads(read_archive(found[0])["report.json"])["erasure"]
    assert {one["system"]: one["outcome"] for one in claims["told"]} == {"crm": "done", "archive": "refused"}
    assert (claims["all_answered"], claims["only_copy"], claims["docket"]["outcome"]) == (True, None, "answered")
    assert secret not in orjson.dumps(claims).decode()


async def test_a_restriction_is_told_and_when_it_is_over_and_a_rebuild_tells_nobody(
    house: House, receiver: Receiver
) -> None:
    await house.call("admin", "PUT", "/v1/downstreams/crm", webhook(receiver, "good"), 201)
    strange = {**webhook(receiver, "later"), "services": ["chaport"]}
    await house.call("admin", "PUT", "/v1/downstreams/other", strange, 201)
    eve = await house.person()
    first, second = [await house.letter("restriction", identifier=eve) for _ in range(2)]
    only = [{"purpose": "chat-history"}]
    await house.step(first, "answer", purposes=only, restriction="18(1)(a)")
    await house.step(second, "answer", purposes=only)
    # Who came later did not have to restrict, so there is nothing to end there.
    await house.call("admin", "PUT", "/v1/downstreams/newer", {"kind": "task", "tells": ["triggers"]}, 201)
    await told_in_order(house.deployment, receiver, ["restrict"] * 2)
    over = {"why": "The data were right.", "told_on": TODAY}
    await house.step(first, "lift", **over)
    # The other request restricts it still.
    await house.step(second, "lift", **over)
    await told_in_order(house.deployment, receiver, ["restrict"] * 2 + ["unrestrict"])
    message = orjson.loads(receiver.received("good")[-1]["body"])
    assert (message["type"], message["data"]["purpose"]) == ("trigger.unrestrict", "chat-history")
    assert opened(message["data"]["sealed"]) == {"identifiers": [eve]}
    assert receiver.received("later") == []
    file = await house.call("privacy", "GET", f"/v1/requests/{await house.letter('access', identifier=eve)}/file")
    assert [(one["system"], one["services"]) for one in file["recipients"]] == [
        ("crm", []),
        ("newer", []),
        ("other", ["chaport"]),
    ]
    assert [(one["system"], one["action"], one["outcome"]) for one in file["told_to"]] == [
        ("crm", "restrict", "done"),
        ("crm", "restrict", "done"),
        ("crm", "unrestrict", "done"),
    ]
    before = await house.deployment.fetch("SELECT * FROM triggers ORDER BY trigger")
    await rebuild(house.deployment.settings(), progress=lambda *_: None)
    assert await house.deployment.fetch("SELECT * FROM triggers ORDER BY trigger") == before
    assert await house.deployment.fetch("SELECT FROM deliveries") == []


async def told_in_order(deployment: Deployment, receiver: Receiver, actions: list[str]) -> None:
    """All that is to be told was, and answered; what turned out to concern no system is gone."""

    async def settled() -> bool:
        return not await deployment.fetch("SELECT FROM triggers WHERE answered_at IS NULL")

    await until(settled, what="every trigger is answered")
    assert [orjson.loads(one["body"])["data"]["action"] for one in receiver.received("good")] == actions


async def test_a_hold_that_comes_while_a_request_is_worked_on_shows_with_it(house: House) -> None:
    eve = await house.person()
    request = await house.letter("erasure", identifier=eve)
    assert "holds" not in await house.view(request)
    subject = (await house.view(request))["subject"]
    told = await house.hold(subject)
    secret = await house.hold(subject, confidential=True)
    shown = await house.view(request)
    assert {one["hold"]: one["confidential"] for one in shown["holds"]} == {told["hold"]: False, secret["hold"]: True}
    waiting = await house.step(request, "answer", 202, ground="17(1)(b)")
    assert (waiting["state"], waiting["asked"]["state"]) == ("received", "held")
    # The person reads of the one that is not confidential, and never of a colleague's reason.
    access = await house.letter("access", identifier=eve)
    file = await house.call("privacy", "GET", f"/v1/requests/{access}/file")
    holds = {one["request"]: one.get("holds") for one in file["requests"]}
    assert holds == {request: [{"ground": "17(3)(e)", "until": told["expires_at"]}], access: None}
    assert secret["hold"] not in str(file)


async def test_who_is_held_and_restricted_objects_and_takes_back_all_the_same(house: House) -> None:
    eve = await house.person()
    restriction = await house.letter("restriction", identifier=eve)
    subject = (await house.step(restriction, "answer"))["subject"]
    await house.hold(subject)
    objection = await house.letter("objection", identifier=eve)
    await house.step(objection, "answer", purposes=[{"purpose": "statistics"}])
    withdrawal = await house.letter("withdrawal", identifier=eve)
    assert (await house.step(withdrawal, "answer"))["steps"][-1]["purposes"] == ["chat-history"]
    found = await house.call("privacy", "GET", f"/v1/subjects/{subject}/consents")
    said = {one["purpose"]: (one["decision"], one["valid"]) for one in found["decisions"]}
    assert said["chat-history"] == ("denied", False)
    assert said["statistics"] == ("objected", False)
    status = await house.call("privacy", "GET", f"/v1/subjects/{subject}/status?purpose=chat-history")
    assert {"withdrawn", "restricted"} <= set(status["reasons"])


async def test_a_withdrawal_reaches_the_systems_once_its_grace_is_over_and_a_new_grant_cancels_it(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    """From the event that a site posts to the answer in the log, by a rule of 90 days and a clock that is moved."""
    shop = Shop(deployment)
    await shop.open()
    retaining = Retaining(deployment)
    await retaining.stop_ledgers()
    admin = {"authorization": f"Bearer {await deployment.add_access_key('admin')}"}
    gone, back = [{"type": "email", "value": f"{name}@example.com"} for name in ("gone", "back")]
    stated = rule("erase-subject", "withdrawn", "P90D")
    async with (
        shop.running(),
        serving(query_settings(deployment)) as address,
        httpx2.AsyncClient(base_url=address, timeout=30) as client,
        deployment.ledger(),
    ):
        await until(lambda: has_keys(deployment), what="the ledger has made its keys and opened its logs")
        crm = await client.put("/v1/downstreams/crm", json=webhook(receiver, "good"), headers=admin)
        put = await client.put("/v1/retention/rules/withdrawn", json=stated, headers=admin)
        assert (crm.status_code, put.status_code) == (201, 201)
        for known, decisions in ((gone, ["granted", "denied"]), (back, ["granted", "denied", "granted"])):
            for decision in decisions:
                await post(shop, known, decision)
        now = datetime.now(UTC)
        assert (await retaining.run(now + timedelta(days=89)))["erased"] == {}
        assert (await retaining.run(now + timedelta(days=91)))["erased"] == {"withdrawn": 1}
    assert await deployment.subject_of(gone["value"], "email") is None
    assert await deployment.subject_of(back["value"], "email") is not None
    async with engine() as running:
        running.clock.forward(days=91)
        await running.round()
    (message,) = [orjson.loads(one["body"])["data"] for one in receiver.received("good")]
    assert opened(message["sealed"]) == {"identifiers": [gone], "docket": 1}
    (row,) = await deployment.fetch("SELECT action, outcome, docket FROM triggers")
    assert tuple(row) == ("erase", "done", 1)
    # Nobody asked, so nobody has to be told, and the answers close the docket.
    (docket,) = await deployment.fetch("SELECT sealed, outcome FROM dockets")
    assert tuple(docket) == (None, "answered")
    (event,) = await deployment.fetch("SELECT entry FROM records ORDER BY log, index DESC LIMIT 1")
    assert read_entry(event["entry"])["class"] == "request"


async def post(shop: Shop, known: dict[str, str], decision: str) -> None:
    """What a site's server posts of somebody, recorded."""
    kind = "consent.given" if decision == "granted" else "consent.withdrawn"
    event = event_now(1, id=fresh_uuid(), type=kind, time=format_time(datetime.now(UTC)))
    event["data"]["subject"] = {"identifiers": [known]}
    event["data"]["decisions"] = [{"purpose": "chat-history", "decision": decision, "legal_basis": "consent"}]
    answer = await shop.post_server(event, prefer="wait=20")
    assert answer.status_code == 201, answer.text


async def test_what_a_rule_has_told_already_is_waited_for_by_the_erasure_that_comes_after_it(house: House) -> None:
    await house.call("admin", "PUT", "/v1/downstreams/archive", {"kind": "task", "tells": ["triggers"]}, 201)
    stated = rule("trigger-anonymise", "withdrawn", "P0D", purposes=["chat-history"])
    await house.call("admin", "PUT", "/v1/retention/rules/chat", stated, 201)
    eve = await house.person()
    withdrawal = await house.letter("withdrawal", identifier=eve)
    await house.step(withdrawal, "answer")
    await Retaining(house.deployment).run(datetime.now(UTC) + timedelta(seconds=1))
    request = await house.letter("erasure", identifier=eve)
    await house.step(request, "answer", ground="17(1)(b)")
    tasks = (await house.call("privacy", "GET", "/v1/tasks"))["tasks"]
    assert {(one["action"], one.get("purpose"), one["docket"]) for one in tasks} == {
        ("anonymise", "chat-history", 1),
        ("erase", None, 1),
    }
    await house.step(request, "told", channel="email")
    for task in tasks:
        (docket,) = await house.deployment.fetch("SELECT told_at, closed_at FROM dockets")
        assert (docket["told_at"] is None, docket["closed_at"]) == (False, None)
        assert (await house.call("privacy", "GET", f"/v1/tasks/{task['trigger']}"))["identifiers"] == [eve]
        await house.call("privacy", "POST", f"/v1/tasks/{task['trigger']}/answer", {"outcome": "done"})
    (docket,) = await house.deployment.fetch("SELECT outcome FROM dockets")
    assert docket["outcome"] == "answered"
