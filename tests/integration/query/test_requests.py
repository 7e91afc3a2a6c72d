"""Requests from a letter, a visitor and a site's server to their answers, over a real ledger and a real query."""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from pypdf import PdfReader

from schemas.durations import Duration
from schemas.record import format_time
from services.capabilities import Capabilities
from services.cli import registry
from services.deadlines import Counting, due_on
from services.keys import ControllerKeys, read_secret
from services.keys.file_provider import FileProvider
from services.ledger.erasure.housekeeping import House
from services.ledger.high_water import HighWater
from services.ledger.rebuild import rebuild
from services.ledger.rights.reminders import remind
from services.postgres import create_pool
from services.query.requests.person_file import SOURCES
from services.suppression import Suppression
from tests.integration.query.conftest import serving
from tests.integration.visitors.conftest import query_settings
from tests.support.databases import SchemaTemplate, drop_database
from tests.support.deployment import Deployment, consent_event, fresh_uuid
from tests.support.wait import until

pytestmark = pytest.mark.integration

TODAY = datetime.now(UTC).date()
PROMISED = Counting(promise=Duration(0, 30))
TERMS = {
    "promise": "P30D",
    "authority": {"name": "CNIL", "url": "https://www.cnil.fr"},
    "remedy": "You may go to court (Art. 79 GDPR).",
}
GRANTED = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent"}
TOLERATED = {"purpose": "statistics", "decision": "not_objected", "legal_basis": "legitimate_interest"}


class Office:
    """Where requests are worked on: one controller with everything that runs, and its people's keys."""

    def __init__(self, deployment: Deployment, client: httpx2.AsyncClient, keys: dict[str, str]) -> None:
        self.deployment, self.client, self.keys = deployment, client, keys
        self.turned_back: list[UUID] = []

    async def call(self, method: str, path: str, body: Any = None, *, role: str = "privacy", **more: Any) -> Any:
        headers = {"authorization": f"Bearer {self.keys[role]}", **more}
        return await self.client.request(method, path, json=body, headers=headers)

    async def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, role: str = "privacy") -> Any:
        answer = await self.call(method, path, body, role=role)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def letter(self, asked_for: str, status: int = 201, **members: Any) -> Any:
        body = {"asked_for": asked_for, "channel": "post", "received_on": TODAY.isoformat(), **members}
        return await self.ask("POST", "/v1/requests", body, status=status)

    async def step(self, request: dict[str, Any], name: str, status: int = 200, /, **body: Any) -> Any:
        return await self.ask("POST", f"/v1/requests/{request['request']}/{name}", body, status=status)

    async def turn_back(self, request: dict[str, Any], change: str) -> None:
        """As if it had begun days ago; no record says so."""
        self.turned_back.append(UUID(request["request"]))
        await self.deployment.fetch(f"UPDATE requests SET {change} WHERE request = $1", self.turned_back[-1])

    async def person(self, *decisions: dict[str, Any], **data: Any) -> dict[str, str]:
        """Somebody with one recorded consent; the identifier."""
        identifier = {"type": "email", "value": f"{fresh_uuid()}@example.com"}
        await self.post(identifier, decisions=list(decisions or [GRANTED]), **data)
        return identifier

    async def post(self, identifier: dict[str, str] | None, **members: Any) -> str:
        """An event as ingest passes it on; its id, once it is recorded."""
        event = consent_event(1, id=fresh_uuid(), time=format_time(datetime.now(UTC)), **members)
        event["data"]["subject"] = {"identifiers": [identifier]}
        if identifier is None:
            del event["data"]["subject"]
        if event["type"] == "request.received":
            del event["data"]["decisions"]
        await self.deployment.publish([self.deployment.seal(event)])
        await self.deployment.drained()
        return str(event["id"])

    async def subject(self, identifier: dict[str, str]) -> str:
        found = await self.ask("POST", "/v1/subjects/lookup", {"identifier": identifier})
        return str(found["subject"])

    async def consents(self, identifier: dict[str, str]) -> dict[str, str]:
        answer = await self.ask("GET", f"/v1/subjects/{await self.subject(identifier)}/consents")
        return {one["purpose"]: one["decision"] for one in answer["decisions"]}

    async def types(self, identifier: dict[str, str]) -> list[str]:
        answer = await self.ask("GET", f"/v1/subjects/{await self.subject(identifier)}/history")
        return [record["parts"]["what"]["type"] for record in answer["records"]]


@pytest.fixture(scope="module")
async def office(schema_template: SchemaTemplate, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    """One for all tests of this module; each has people of its own."""
    database = schema_template.clone()
    deployment = Deployment(database, tmp_path_factory.mktemp("office"))
    await deployment.create()
    connection = await deployment.connect()
    try:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM logs WHERE kind = 'access')"):
            await registry.open_access_log(connection, "shop", "log.example")
    finally:
        await connection.close()
    keys = {role: await deployment.add_access_key(role) for role in ("privacy", "dpo", "admin", "site")}
    async with (
        deployment.ledger(),
        serving(query_settings(deployment)) as address,
        httpx2.AsyncClient(base_url=address, timeout=30) as client,
    ):

        async def open_everywhere() -> bool:
            rows = await deployment.fetch("SELECT FROM log_heads WHERE signed_size IS NOT NULL")
            return len(rows) >= 2

        await until(open_everywhere, what="the logs are open")
        made = Office(deployment, client, keys)
        await made.ask("PUT", "/v1/terms", TERMS, role="admin", status=201)
        yield made
    drop_database(database)


# --- intake ---


async def test_a_letter_of_somebody_known(office: Office) -> None:
    eve = await office.person()
    request = await office.letter("access", identifier=eve, note="She writes in French.")
    due = due_on(TODAY, PROMISED)
    assert request["state"] == "received"
    assert (request["received_on"], request["due_on"]) == (TODAY.isoformat(), due.isoformat())
    assert (request["subject"], request["overdue"]) == (await office.subject(eve), False)
    (step,) = request["steps"]
    assert (step["type"], step["right"], step["channel"], step["note"]) == (
        "request.received",
        "access",
        "post",
        "She writes in French.",
    )
    assert await office.types(eve) == ["consent.given", "request.received"]
    assert request in [
        {**one, "steps": request["steps"]} for one in (await office.ask("GET", "/v1/requests"))["requests"]
    ]


async def test_a_letter_of_somebody_new_makes_a_subject(office: Office) -> None:
    new = {"type": "email", "value": f"{fresh_uuid()}@example.com"}
    request = await office.letter("erasure", identifier=new)
    assert request["subject"] == await office.subject(new)


async def test_a_cookie_only_visitor_is_found_by_the_number_of_a_receipt(office: Office) -> None:
    """Art. 11(2): nothing else leads from a letter to a browser."""
    cookie = {"type": "cookie", "value": f"v-{fresh_uuid()}"}
    event = await office.post(cookie)
    request = await office.letter("access", receipt=event)
    assert request["subject"] == await office.subject(cookie)
    await office.letter("access", receipt=fresh_uuid(), status=404)
    # A refusal that names nobody is nobody's.
    nobodys = await office.post(None, type="consent.refused", decisions=[{**GRANTED, "decision": "denied"}])
    await office.letter("access", receipt=nobodys, status=404)


async def test_of_somebody_unknown_nothing_personal_is_kept(office: Office) -> None:
    request = await office.letter("access")
    assert "subject" not in request
    await office.letter("access", note="It is about Eve.", status=422)
    answered = await office.step(request, "answer")
    assert (answered["state"], answered["steps"][-1]["outcome"]) == ("answered", "nothing_found")


async def test_a_sites_server_posts_a_request(office: Office) -> None:
    """Through ingest, which knows no holidays: the ledger counts the days."""
    eve = await office.person()
    number = await office.post(eve, type="request.received", request={"right": "access", "channel": "form"})
    request = await office.ask("GET", f"/v1/requests/{number}")
    due = due_on(TODAY, PROMISED)
    assert (request["subject"], request["due_on"]) == (await office.subject(eve), due.isoformat())
    assert request["known"] is False
    signed_in = {"entity": "subject", "auth": "session"}
    number = await office.post(eve, type="request.received", request={"right": "access"}, actor=signed_in)
    assert (await office.ask("GET", f"/v1/requests/{number}"))["known"] is True


async def test_a_site_posts_the_number_of_a_receipt(office: Office) -> None:
    cookie = {"type": "cookie", "value": f"v-{fresh_uuid()}"}
    receipt = await office.post(cookie)
    number = await office.post(None, type="request.received", request={"right": "withdrawal", "receipt": receipt})
    request = await office.ask("GET", f"/v1/requests/{number}")
    assert request["subject"] == await office.subject(cookie)
    await office.step(request, "answer")
    assert await office.consents(cookie) == {"chat-history": "denied", "chat-proactive": "denied"}


async def test_a_visitor_asks_with_the_capability(office: Office) -> None:
    cookie = {"type": "cookie", "value": f"v-{fresh_uuid()}"}
    await office.post(cookie)
    sealed = Capabilities(read_secret(office.deployment.keys / "capabilities.key"))
    in_an_hour = int(datetime.now(UTC).timestamp()) + 3600
    token = sealed.seal("visitor", {"site": "shop.example", **cookie, "exp": in_an_hour})
    headers = {"authorization": f"Bearer {token}"}
    made = await office.client.post("/v1/me/requests", json={"asked_for": "portability"}, headers=headers)
    assert made.status_code == 201, made.text
    request = made.json()
    assert request["known"] is True
    # Who asked is known: nobody may ask for more.
    await office.step(request, "identity", 409, method="question", doubt="The name is new to us.")
    answered = await office.step(request, "answer")
    listed = (await office.client.get("/v1/me/requests", headers=headers)).json()["requests"]
    assert [one["state"] for one in listed] == ["answered"]
    assert "by" in answered["steps"][-1]
    assert "by" not in str(listed[0]["steps"][-1].keys())
    assert (await office.client.get("/v1/me/requests")).status_code == 401


# --- identity ---


async def test_doubt_is_raised_at_once_and_stops_the_clock(office: Office) -> None:
    eve = await office.person()
    doubt = {"method": "reply_from_known_address", "doubt": "The letter has another name."}
    received = TODAY - timedelta(days=3)
    request = await office.letter("access", identifier=eve, doubt=doubt, received_on=received.isoformat())
    assert (request["state"], request["paused_on"]) == ("identity", TODAY.isoformat())
    assert request["steps"][1]["method"] == "reply_from_known_address"
    await office.step(request, "answer", 409)
    file = await office.call("GET", f"/v1/requests/{request['request']}/file")
    assert file.status_code == 409
    shown = await office.step(request, "verified", method="reply_from_known_address", outcome="shown")
    assert (shown["state"], shown["paused_days"], shown["steps"][-1]["outcome"]) == ("working", 0, "shown")
    # Once only.
    await office.step(request, "identity", 409, method="question", doubt="Again?")


async def test_doubt_comes_first_or_never(office: Office) -> None:
    eve = await office.person()
    request = await office.letter("access", identifier=eve)
    await office.step(request, "pause", ground="which_data", why="Which of your accounts?")
    await office.step(request, "resume")
    await office.step(request, "identity", 409, method="question", doubt="Only now.")


async def test_late_doubt_is_not_doubt(office: Office) -> None:
    """By the end of the working day after it was recorded."""
    eve = await office.person()
    request = await office.letter("access", identifier=eve)
    await office.turn_back(request, "received_at = received_at - interval '5 days'")
    await office.step(request, "identity", 409, method="question", doubt="Only now.")


@pytest.mark.parametrize("text", ["data:image/png;base64," + "iVBORw0KGgo" * 20, "x" * 200])
async def test_no_copy_of_an_identity_card_finds_a_place(office: Office, text: str) -> None:
    eve = await office.person()
    request = await office.letter("access", identifier=eve)
    await office.step(request, "identity", 422, method="question", doubt=text)
    await office.step(request, "identity", 422, method="copy_of_id", doubt="The name.")
    await office.step(request, "identity", 422, method="question", doubt="The name.", attachment="cGFzc3BvcnQ=")
    await office.letter("access", identifier=eve, note=text, status=422)


# --- the clock ---


async def test_paused_days_are_added(office: Office) -> None:
    eve = await office.person()
    received = TODAY - timedelta(days=10)
    request = await office.letter("access", identifier=eve, received_on=received.isoformat())
    await office.step(request, "pause", ground="their_wish", why="Away until Monday.")
    await office.turn_back(request, "paused_on = paused_on - 6")
    await office.step(request, "answer", 409)
    await office.step(request, "resume", 409, on=(TODAY + timedelta(days=1)).isoformat())
    await office.step(request, "resume", 409, on=(TODAY - timedelta(days=7)).isoformat())
    again = await office.step(request, "resume", on=(TODAY - timedelta(days=1)).isoformat())
    due = due_on(received, PROMISED, paused_days=5)
    assert (again["paused_days"], again["due_on"]) == (5, due.isoformat())


async def test_which_data_is_asked_of_those_who_want_to_see_them_alone(office: Office) -> None:
    """Recital 63."""
    eve = await office.person()
    request = await office.letter("objection", identifier=eve)
    await office.step(request, "pause", 409, ground="which_data", why="Which of them?")


async def test_one_extension_told_within_the_first_month(office: Office) -> None:
    eve = await office.person()
    request = await office.letter("access", identifier=eve)
    words: dict[str, Any] = {
        "reason": "complex",
        "why": "There are records of nine years.",
        "told_on": TODAY.isoformat(),
    }
    longer = await office.step(request, "extend", **words)
    due = due_on(TODAY, Counting(), is_extended=True)
    assert (longer["extended"], longer["due_on"]) == (True, due.isoformat())
    await office.step(request, "extend", 409, **words)
    told = await office.step(request, "told", channel="email")
    assert told["steps"][-1]["channel"] == "email"


async def test_too_late_to_extend_or_to_pause(office: Office) -> None:
    eve = await office.person()
    received = TODAY - timedelta(days=60)
    request = await office.letter("access", identifier=eve, received_on=received.isoformat())
    assert request["overdue"] is True
    on_time: dict[str, Any] = {
        "reason": "many",
        "why": "You asked ten times.",
        "told_on": (received + timedelta(days=3)).isoformat(),
    }
    await office.step(request, "extend", 409, **on_time)
    await office.step(request, "pause", 409, ground="their_wish", why="Away.")
    listed = (await office.ask("GET", "/v1/requests?overdue=true", role="dpo"))["requests"]
    assert [one["overdue"] for one in listed] == [True] * len(listed)
    assert request["request"] in [one["request"] for one in listed]
    for day in (TODAY + timedelta(days=2), TODAY - timedelta(days=4000)):
        await office.letter("access", received_on=day.isoformat(), status=422)
    await office.step(request, "answer")


async def test_what_is_due_soon_is_listed(office: Office) -> None:
    soon = await office.letter("access", identifier=await office.person())
    await office.turn_back(soon, "due_on = (now() AT TIME ZONE 'UTC')::date + 3")

    async def listed(days: int) -> bool:
        found = (await office.ask("GET", f"/v1/requests?due_within={days}&limit=500"))["requests"]
        return soon["request"] in [one["request"] for one in found]

    assert [await listed(days) for days in (3, 4, 20)] == [False, True, True]


async def test_reminders_come_once_each(office: Office) -> None:
    eve = await office.person()
    request = await office.letter("access", identifier=eve)
    deployment = office.deployment
    settings = deployment.settings()
    pool = await create_pool(deployment.database.dsn(), role="sayso_ledger", size=1, application="test")
    keys = ControllerKeys(settings.controller_key_dir, FileProvider(deployment.keys / "root.key"))
    high_water, suppression = HighWater(settings.high_water_dir), Suppression(settings.suppression_dir)
    house = House(pool, keys, deployment.event_id_key, high_water, suppression, timedelta(days=30))
    due = date.fromisoformat(request["due_on"])

    async def at(day: date) -> list[str]:
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        await remind(house, noon)
        await remind(house, noon)
        view = await office.ask("GET", f"/v1/requests/{request['request']}")
        return [step["reminder"] for step in view["steps"][1:]]

    try:
        assert await at(due - timedelta(days=8)) == []
        assert await at(due - timedelta(days=7)) == ["7_days"]
        assert await at(due - timedelta(days=3)) == ["7_days"]
        assert await at(due - timedelta(days=2)) == ["7_days", "2_days"]
        assert await at(due) == ["7_days", "2_days"]
        assert await at(due + timedelta(days=1)) == ["7_days", "2_days", "overdue"]
        assert await remind(house, datetime(due.year, due.month, due.day, tzinfo=UTC) + timedelta(days=2)) >= 1
    finally:
        await pool.close()


# --- answers ---


async def test_an_erasure_outlives_its_person(office: Office) -> None:
    eve = await office.person()
    subject = await office.subject(eve)
    request = await office.letter("erasure", identifier=eve, note="Forget me.")
    await office.step(request, "answer", 422)
    answered = await office.step(request, "answer", ground="17(1)(b)")
    assert (answered["state"], "subject" in answered) == ("answered", False)
    number = answered["docket"]
    assert [step["type"] for step in answered["steps"]] == ["request.received", "request.answered"]
    # What came in is gone, but that it came is not.
    assert "note" not in answered["steps"][0]
    assert answered["steps"][1] | {"docket": number, "outcome": "done"} == answered["steps"][1]
    erasure = await office.ask("GET", f"/v1/erasures/{answered['steps'][1]['erasure']}")
    assert (erasure["number"], erasure["docket"]["state"]) == (number, "open")
    told = await office.step(request, "told", channel="post")
    assert told["steps"][-1]["docket"] == number
    rows = await office.deployment.fetch("SELECT subject, ground FROM erasures WHERE number = $1", number)
    assert [(str(row["subject"]), row["ground"]) for row in rows] == [(subject, "17(1)(b)")]
    assert await office.deployment.fetch("SELECT FROM payloads WHERE subject = $1", UUID(subject)) == []


async def test_an_erasure_of_one_who_was_found_by_a_receipt(office: Office) -> None:
    """The request's own record names nobody, so nothing but the ask leads from it to the erasure."""
    cookie = {"type": "cookie", "value": f"v-{fresh_uuid()}"}
    receipt = await office.post(cookie)
    number = await office.post(None, type="request.received", request={"right": "erasure", "receipt": receipt})
    answered = await office.step({"request": number}, "answer", ground="17(1)(b)")
    assert (answered["state"], answered["steps"][-1]["outcome"]) == ("answered", "done")
    assert answered["steps"][-1]["docket"] == answered["docket"] > 0
    told = await office.step({"request": number}, "told", channel="page")
    rows = await office.deployment.fetch("SELECT told_at FROM dockets WHERE docket = $1", told["docket"])
    assert rows[0]["told_at"] is not None


async def test_an_erasure_that_is_held_leaves_the_request_open(office: Office) -> None:
    eve = await office.person()
    request = await office.letter("erasure", identifier=eve)
    hold = {"subject": request["subject"], "ground": "17(3)(e)", "case_reference": "R 12/26", "reason": "A claim."}
    hold |= {"review_on": (TODAY + timedelta(days=30)).isoformat()}
    hold["expires_at"] = format_time(datetime.now(UTC) + timedelta(days=90))
    await office.ask("POST", "/v1/holds", hold, status=201)
    waiting = await office.step(request, "answer", 202, ground="17(1)(b)")
    assert (waiting["state"], waiting["asked"]["state"]) == ("received", "held")
    file = await office.letter("access", identifier=eve)
    held = (await office.call("GET", f"/v1/requests/{file['request']}/file")).json()["holds"]
    assert [one["ground"] for one in held] == ["17(3)(e)"]
    refused = await office.step(request, "refuse", ground="17(3)(e)", why="A claim is raised.")
    assert refused["state"] == "refused"


async def test_an_objection_and_a_withdrawal_take_effect(office: Office) -> None:
    eve = await office.person(GRANTED, TOLERATED)
    assert await office.consents(eve) == {"chat-history": "granted", "statistics": "not_objected"}
    objection = await office.letter("objection", identifier=eve)
    await office.step(objection, "answer", 422)
    await office.step(objection, "answer", purposes=[{"purpose": "statistics"}])
    withdrawal = await office.letter("withdrawal", identifier=eve)
    await office.step(withdrawal, "refuse", 409, ground="12(5)(b)", why="Too often.")
    answered = await office.step(withdrawal, "answer")
    assert answered["steps"][-1]["purposes"] == ["chat-history"]
    assert await office.consents(eve) == {"chat-history": "denied", "statistics": "objected"}


async def test_a_restriction_takes_effect(office: Office) -> None:
    eve = await office.person()
    request = await office.letter("restriction", identifier=eve)
    await office.step(request, "answer", purposes=[{"purpose": "chat-history"}])
    rows = await office.deployment.fetch(
        "SELECT purpose FROM restrictions WHERE subject = $1", UUID(await office.subject(eve))
    )
    assert [row["purpose"] for row in rows] == ["chat-history"]
    # Art. 18(3): the person is told before it ends.
    await office.step(request, "lift", 409, why="It was right.", told_on=(TODAY + timedelta(days=1)).isoformat())
    await office.step(request, "lift", why="The data were right.", told_on=TODAY.isoformat())
    standing = await office.deployment.fetch(
        "SELECT FROM restrictions WHERE subject = $1 AND lifted_at IS NULL", UUID(await office.subject(eve))
    )
    assert standing == []


async def test_a_rectification_says_what_was_done(office: Office) -> None:
    request = await office.letter("rectification", identifier=await office.person())
    await office.step(request, "answer", 422)
    answered = await office.step(request, "answer", said="The address is the new one now.")
    assert answered["steps"][-1]["said"] == "The address is the new one now."


async def test_a_refusal_names_the_authority_and_the_remedy(office: Office) -> None:
    request = await office.letter("erasure", identifier=await office.person())
    await office.step(request, "refuse", 409, ground="15(4)", why="A ground of another right.")
    words: dict[str, Any] = {"ground": "17(3)(b)", "why": "Invoices are kept for ten years."}
    refused = await office.step(request, "refuse", **words)
    said = refused["steps"][-1]
    assert (refused["state"], said["authority"], said["remedy"]) == ("refused", TERMS["authority"], TERMS["remedy"])
    assert (said["ground"], said["why"]) == ("17(3)(b)", words["why"])
    await office.step(request, "answer", 409, ground="17(1)(b)")
    await office.ask("PUT", "/v1/terms", {"promise": "P30D"}, role="admin", status=201)
    try:
        other = await office.letter("erasure", identifier=await office.person())
        missing = await office.step(other, "refuse", 409, **words)
        assert missing["type"] == "/problems/refusal-not-stated"
    finally:
        await office.ask("PUT", "/v1/terms", TERMS, role="admin", status=201)


async def test_somebody_takes_a_request_back(office: Office) -> None:
    request = await office.letter("access", identifier=await office.person())
    back = await office.step(request, "withdraw", note="By telephone.")
    assert (back["state"], back["steps"][-1]["note"]) == ("withdrawn", "By telephone.")
    await office.step(request, "answer", 409)


async def test_of_two_who_answer_at_once_one_is_too_late(office: Office) -> None:
    eve = await office.person()
    request = await office.letter("access", identifier=eve)
    first = office.call("POST", f"/v1/requests/{request['request']}/answer", {})
    second = office.call("POST", f"/v1/requests/{request['request']}/withdraw", {})
    answers = await asyncio.gather(first, second)
    assert sorted(one.status_code for one in answers) == [200, 409]
    view = await office.ask("GET", f"/v1/requests/{request['request']}")
    assert len(view["steps"]) == 2


async def test_a_step_counts_only_as_the_next_one(office: Office) -> None:
    """Whatever query published: what does not fit is a record and no step, and stops nothing."""
    request = await office.letter("access", identifier=await office.person())
    seal = office.deployment.seal_asked
    step = {"request": request["request"], "nth": 1, "on": TODAY.isoformat()}
    published = [seal("request.paused", {"request": step}), seal("request.resumed", {"request": step})]
    senseless: list[dict[str, Any]] = [{}, {"request": 1}, {"request": {**step, "nth": "x"}}, {"request": {"nth": 2}}]
    senseless.append({"request": {**step, "nth": 2, "paused_days": 10**12}})
    published += [seal("request.resumed", members) for members in senseless]
    # One after the other, so that their order is known.
    for message in published:
        await office.deployment.publish([message])
        await office.deployment.drained()
    view = await office.ask("GET", f"/v1/requests/{request['request']}")
    assert [one["type"] for one in view["steps"]] == ["request.received", "request.paused"]
    assert (view["state"], view["paused_on"]) == ("paused", TODAY.isoformat())
    assert await office.deployment.fetch("SELECT FROM dead_letters") == []


async def test_only_who_acts_acts(office: Office) -> None:
    request = await office.letter("access", identifier=await office.person())
    path = f"/v1/requests/{request['request']}"
    for role in ("dpo", "admin", "site"):
        assert (await office.call("POST", f"{path}/answer", {}, role=role)).status_code == 403
    assert (await office.call("GET", path, role="dpo")).status_code == 200
    assert (await office.call("GET", f"/v1/requests/{fresh_uuid()}")).status_code == 404
    assert (await office.call("POST", f"/v1/requests/{fresh_uuid()}/answer", {})).status_code == 404


# --- the file ---


async def test_the_file_holds_everything_and_is_noted(office: Office) -> None:
    eve = await office.person(GRANTED, TOLERATED, context={"country": "FR", "page": "https://shop.example/"})
    request = await office.letter("access", identifier=eve, note="Everything, please.")
    looks = await office.deployment.fetch(
        "SELECT count(*) FROM records r JOIN logs l USING (log) WHERE l.kind = 'access'"
    )
    answer = await office.call("GET", f"/v1/requests/{request['request']}/file")
    assert answer.status_code == 200, answer.text
    file = answer.json()
    assert file["identifiers"] == {"known": [eve], "names": 1}
    assert [record["parts"]["what"]["type"] for record in file["records"]] == ["consent.given", "request.received"]
    assert file["records"][0]["parts"]["context"] == {"country": "FR", "page": "https://shop.example/"}
    assert file["records"][1]["parts"]["context"] == {"note": "Everything, please."}
    assert {one["purpose"] for one in file["decisions"]} == {"chat-history", "statistics"}
    assert [one["request"] for one in file["requests"]] == [request["request"]]
    assert office.keys["privacy"].split("_")[1] not in answer.text
    drawn = await office.call("GET", f"/v1/requests/{request['request']}/file", accept="application/pdf")
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(drawn.content)).pages)
    assert drawn.headers["content-type"] == "application/pdf"
    for word in (eve["value"], "Everything, please.", "chat-history", "FR"):
        assert word in text.replace("\n", ""), word

    async def noted() -> bool:
        rows = await office.deployment.fetch(
            "SELECT count(*) FROM records r JOIN logs l USING (log) WHERE l.kind = 'access'"
        )
        return bool(rows[0]["count"] >= looks[0]["count"] + 2)

    await until(noted, what="both looks are recorded")
    other = await office.letter("objection", identifier=eve)
    assert (await office.call("GET", f"/v1/requests/{other['request']}/file")).status_code == 409


def test_the_file_has_a_place_for_everything_that_an_erasure_clears() -> None:
    """Every table that the statements of erasures touch, and every table that has a column for a subject."""
    folder = Path(__file__).parents[3] / "services" / "ledger" / "sql"
    statements = re.split(r"^-- (\w+) --$", (folder / "erasure.sql").read_text(), flags=re.MULTILINE)
    named = dict(zip(statements[1::2], statements[2::2], strict=True))
    # What names nobody once the person is gone: the erasure's own number, its docket, what a rule keeps.
    outlive = {"erasures"}
    cleared = set()
    for name in ("delete_subject", "forget_events", "forget_places"):
        text = "\n".join(line for line in named[name].splitlines() if not line.strip().startswith("--"))
        cleared |= set(re.findall(r"(?:DELETE FROM|\bUPDATE) (\w+)", text))
    assert "payloads" in cleared
    tables = re.findall(
        r"^CREATE TABLE (\w+) \((.*?)^\)", (folder / "schema.sql").read_text(), re.MULTILINE | re.DOTALL
    )
    about = {table for table, columns in tables if re.search(r"^    subject uuid", columns, re.MULTILINE)}
    assert (cleared | about) - outlive <= set(SOURCES)


# --- terms ---


async def test_terms_are_stated_whole_and_kept(office: Office) -> None:
    before = await office.ask("GET", "/v1/terms")
    assert before["terms"]["promise"] == "P30D"
    await office.ask("PUT", "/v1/terms", TERMS, role="admin", status=200)
    refused = await office.ask("PUT", "/v1/terms", {"holidays": [{"country": "XX"}]}, role="admin", status=422)
    assert refused["pointer"] == "/holidays/0"
    await office.ask("PUT", "/v1/terms", {"time_zone": "Europe/Atlantis"}, role="admin", status=422)
    await office.ask("PUT", "/v1/terms", TERMS, role="privacy", status=403)
    assert await office.ask("GET", "/v1/terms") == before


# --- the same again from the records ---


async def test_a_rebuild_finds_every_request_where_it_stood(office: Office) -> None:
    """Of the living, the unknown and the erased alike."""
    deployment = office.deployment

    async def standing() -> list[Any]:
        rows = await deployment.fetch("SELECT * FROM requests ORDER BY request")
        rows += await deployment.fetch("SELECT * FROM request_steps ORDER BY request, nth")
        return [tuple(row) for row in rows if row["request"] not in office.turned_back]

    longer = await office.letter("access", identifier=await office.person())
    await office.step(longer, "extend", reason="many", why="Eleven requests.", told_on=TODAY.isoformat())
    before = await standing()
    assert len(before) > 4
    await rebuild(deployment.settings(), progress=lambda *_: None)
    assert await standing() == before
