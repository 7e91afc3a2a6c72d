"""A child's consent, a guardian's, and at majority the person's own; anybody reports a child, and decides nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from schemas.record import format_time
from tests.integration.visitors.conftest import DENIAL, GRANT, Browser, House, person
from tests.support.wait import until

pytestmark = pytest.mark.integration

SAYS_NOTHING: dict[str, Any] = {"decisions": None, "notice": None, "capture": None}


def guardian() -> dict[str, Any]:
    """What a site says of a guardian whom it has asked."""
    asked = format_time(datetime.now(UTC) - timedelta(minutes=5))
    by = {"identifier": person(), "authorised_at": asked}
    return {"guardian": by, "actor": {"entity": "guardian", "auth": "session"}}


async def status(house: House, child: dict[str, str]) -> dict[str, Any]:
    found = (await house.dpo.lookup(child["type"], child["value"])).json()
    return await house.dpo.ask(f"/v1/subjects/{found['subject']}/status", purpose="chat-history")


async def test_unknown_is_not_under_and_a_child_alone_agrees_to_nothing(house: House) -> None:
    unknown, child, grown = person(), person(), person()
    await house.act_of_server(unknown)
    await house.act_of_server(child, age={"over": False})
    await house.act_of_server(grown, age={"over": True})
    assert await house.standing(unknown) == (True, [])
    assert await house.standing(child) == (False, ["under_age"])
    assert await house.standing(grown) == (True, [])
    (what,) = await house.whats(child)
    # Over or under, and of what: nobody's age.
    assert what["age"] == {"over": False, "minimum": 16}


async def test_the_country_and_the_notice_say_which_age(house: House) -> None:
    french, american = person(), person()
    await house.act_of_server(french, age={"over": True}, context={"country": "FR"})
    await house.act_of_server(american, age={"over": True}, context={"country": "US"})
    ages = [(await house.whats(one))[0]["age"]["minimum"] for one in (french, american)]
    assert ages == [15, 16]
    shown = await house.shop.client.get("/v1/notices/shop.example", params={"language": "fr"})
    assert shown.json()["minimum_age"] == 16


async def test_what_becomes_known_later_ends_what_a_child_agreed_to(house: House) -> None:
    child = person()
    await house.act_of_server(child)
    before = datetime.now(UTC)
    await house.act_of_server(child, type="age.stated", age={"over": False}, **SAYS_NOTHING)
    assert await house.standing(child) == (False, ["under_age"])
    found = (await house.dpo.lookup(child["type"], child["value"])).json()
    past = {"purpose": "chat-history", "known_at": format_time(before)}
    assert (await house.dpo.ask(f"/v1/subjects/{found['subject']}/status", **past))["valid"] is True
    await house.act_of_server(child, type="age.stated", age={"over": True}, **SAYS_NOTHING)
    assert await house.standing(child) == (True, [])


async def test_a_guardian_agrees_and_at_majority_the_person_confirms(house: House) -> None:
    child = person()
    await house.act_of_server(child, age={"over": False})
    await house.act_of_server(child, **guardian())
    assert await house.standing(child) == (True, [])
    assert "to_confirm" not in await status(house, child)
    what = (await house.whats(child))[-1]
    # That there was a guardian is part of the decision; who it was is not.
    assert "guardian_authorised_at" in what
    assert "@example.com" not in str(what)
    await house.act_of_server(child, type="age.stated", age={"over": True}, **SAYS_NOTHING)
    answer = await status(house, child)
    assert (answer["valid"], answer["to_confirm"]) == (True, True)
    await house.act_of_server(child, age={"over": True})
    answer = await status(house, child)
    assert answer["valid"] is True
    assert "to_confirm" not in answer


async def test_a_child_withdraws_what_a_guardian_gave(house: House) -> None:
    child = person()
    await house.act_of_server(child, **guardian())
    await house.act_of_server(child, type="consent.withdrawn", decisions=[DENIAL], age={"over": False})
    assert await house.standing(child) == (False, ["withdrawn"])


async def test_a_guardian_who_was_not_asked_is_none(house: House) -> None:
    child = person()
    unasked = {**guardian(), "guardian": {"identifier": person()}}
    await house.act_of_server(child, age={"over": False}, **unasked)
    assert await house.standing(child) == (False, ["under_age"])
    nobody: dict[str, Any] = {"actor": {"entity": "guardian"}}
    refused = await house.shop.post_server(house.event(child, **nobody))
    assert refused.json()["type"] == "/problems/contradictory-event"


async def test_a_page_makes_nobody_anothers_guardian_or_child(house: House) -> None:
    """A stranger's word about an address changes nothing: neither a grant as its guardian, nor that it is a child's."""
    someone = person()
    await house.act_of_server(someone)
    browser = Browser()
    await house.act(browser.cookie, someone, visitorkey=browser.key, age={"over": False})
    assert await house.standing(someone) == (True, [])
    child = person()
    await house.act_of_server(child, age={"over": False})
    await house.act(child, **guardian())
    assert await house.standing(child) == (False, ["under_age"])
    refused = await house.shop.post(house.event(someone, type="age.stated", age={"over": False}, **SAYS_NOTHING))
    assert refused.json()["type"] == "/problems/type-not-allowed"


async def report(house: House, **body: Any) -> httpx2.Response:
    return await house.shop.client.post("/v1/reports", json={"site": "shop.example", "about": "child", **body})


async def test_anybody_reports_a_child_and_decides_nothing(house: House) -> None:
    child = person()
    await house.act_of_server(child)
    answer = await report(house, identifier=child, text="She is eleven.", reply_to="a.neighbour@example.net")
    assert answer.status_code == 202, answer.text
    assert answer.headers["access-control-allow-origin"] == "*"
    await house.shop.deployment.drained()
    request = (await house.whats(child))[-1]
    assert (request["id"], request["type"]) == (answer.json()["request"], "request.received")
    assert request["request"] == {"right": "erasure", "channel": "form", "about": "child"}
    assert request["marks"] == ["unconfirmed"]
    assert await house.standing(child) == (True, [])
    # What was said about her is hers: erased with her, never in the decision.
    assert "eleven" not in str(request)
    await a_report_is_worked_on(house, child, answer.json()["request"])


async def a_report_is_worked_on(house: House, child: dict[str, str], request: str) -> None:
    """As any request: seen with what was said, answered by an erasure that tells whoever reported it."""
    key = await house.shop.deployment.add_access_key("privacy")
    privacy = {"authorization": f"Bearer {key}"}
    listed = (await house.query.get("/v1/requests", headers=privacy)).json()["requests"]
    (found,) = [one for one in listed if one["request"] == request]
    assert (found["about"], found["asked_for"], found["known"], found["state"]) == (
        "child",
        "erasure",
        False,
        "received",
    )
    view = (await house.query.get(f"/v1/requests/{request}", headers=privacy)).json()
    assert view["steps"][0]["ext"] == {"text": "She is eleven.", "reporter": "a.neighbour@example.net"}
    # The person's own file and history name nobody who reported them.
    letter = {"asked_for": "access", "channel": "post", "received_on": view["received_on"], "identifier": child}
    access = (await house.query.post("/v1/requests", json=letter, headers=privacy)).json()["request"]
    file = (await house.query.get(f"/v1/requests/{access}/file", headers=privacy)).text
    assert "She is eleven." in file
    assert "neighbour" not in file
    path = f"/v1/requests/{request}/answer"
    answered = (await house.query.post(path, json={"ground": "17(1)(f)"}, headers=privacy)).json()
    assert (answered["state"], answered["about"]) == ("answered", "child")
    assert answered["reply_to"] == {"address": "a.neighbour@example.net"}
    assert (await house.dpo.lookup(child["type"], child["value"])).status_code == 404


async def test_a_child_is_found_by_the_receipt_that_a_report_names(house: House) -> None:
    child = person()
    receipt = (await house.act_of_server(child)).json()["id"]
    request = (await report(house, receipt=receipt)).json()["request"]
    await house.shop.deployment.drained()
    privacy = {"authorization": f"Bearer {await house.shop.deployment.add_access_key('privacy')}"}
    path = f"/v1/requests/{request}/answer"
    answered = (await house.query.post(path, json={"ground": "17(1)(f)"}, headers=privacy)).json()
    assert (answered["state"], answered["steps"][-1]["outcome"]) == ("answered", "done")
    assert (await house.dpo.lookup(child["type"], child["value"])).status_code == 404


async def test_a_report_without_a_name_is_recorded_too(house: House) -> None:
    answer = await report(house, text="A child of the chess club writes there.")
    assert answer.status_code == 202

    async def proven() -> bool:
        return (await house.dpo.get(f"/v1/events/{answer.json()['request']}/proof")).status_code == 200

    await until(proven, what="the report stands in the log")


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        ({"site": "nobody.example"}, 404, "not-found"),
        ({"about": "adult"}, 422, "invalid-parameter"),
        ({"identifier": {"type": "email"}}, 422, "invalid-parameter"),
        ({"text": "x" * 513}, 422, "invalid-parameter"),
    ],
)
async def test_reports_that_are_refused(house: House, body: dict[str, Any], status: int, problem: str) -> None:
    answer = await report(house, **body)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")


async def test_who_was_told_is_recorded(house: House) -> None:
    reader = person()
    await house.act_of_server(reader, decisions=[GRANT])
    told = {**SAYS_NOTHING, "notice": house.notice, "told": {"channel": "email"}}
    await house.act_of_server(reader, type="notice.told", **told)
    what = (await house.whats(reader))[-1]
    assert (what["type"], what["told"], what["notice"]["sha256"]) == (
        "notice.told",
        {"channel": "email"},
        house.notice["sha256"],
    )
