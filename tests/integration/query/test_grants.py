"""Grants of regulators: what one shows and what it hides, exactly, and that it ends when it is ended."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from schemas.archive import read_archive
from schemas.bundle import verify_bundle
from tests.integration.query.conftest import Caller
from tests.integration.query.roles import NOWHERE
from tests.integration.query.test_scope_wall import answers
from tests.support.deployment import BASE_TIME, consent_event
from tests.support.rows import Controller, Person, Recorded, World

pytestmark = pytest.mark.integration

DAY = timedelta(days=1)
CASE = {"case_reference": "CNIL-2026-0042", "authority": "CNIL"}
GRANTED = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent", "services": ["chatra"]}
WITHDRAWN = {"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}
OTHER_PURPOSE = {"purpose": "newsletter", "decision": "granted", "legal_basis": "consent"}


async def post(caller: Caller, path: str, body: Any = None) -> httpx2.Response:
    headers = {"authorization": f"Bearer {caller.key}", "sayso-why": "letter of 3 November"}
    return await caller.client.post(path, json=body, headers=headers)


def later(days: float = 1) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def made(dpo: Caller, **changes: Any) -> tuple[Caller, dict[str, Any]]:
    """A regulator with a new grant, and the grant as it was shown."""
    response = await post(dpo, "/v1/grants", {**CASE, "ends_at": later(), **changes})
    assert response.status_code == 201, response.text
    shown = response.json()
    assert response.headers["location"] == f"/v1/grants/{shown['grant']}"
    return Caller(dpo.client, shown.pop("key")), shown


async def decide(
    shop: Controller, person: Person, number: int, received_at: datetime, *decisions: dict[str, Any]
) -> Recorded:
    event = consent_event(number, decisions=list(decisions))
    event["time"] = received_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return await shop.record(person, event, received_at)


@pytest.fixture
async def life(shop: Controller) -> tuple[Person, list[Recorded]]:
    """A person who said five things: before the case's time, two in it, one about something else, and one after it."""
    person = await shop.person("email", "eve@example.com")
    records = [
        await decide(shop, person, 1, BASE_TIME, WITHDRAWN),
        await decide(shop, person, 2, BASE_TIME + 2 * DAY, GRANTED),
        await decide(shop, person, 3, BASE_TIME + 3 * DAY, GRANTED, OTHER_PURPOSE),
        await decide(shop, person, 4, BASE_TIME + 4 * DAY, OTHER_PURPOSE),
        await decide(shop, person, 5, BASE_TIME + 9 * DAY, WITHDRAWN),
    ]
    await shop.describe()
    await shop.publish()
    return person, records


async def test_a_grant_shows_its_purposes_and_its_time_and_nothing_else(
    dpo: Caller, life: tuple[Person, list[Recorded]], shop: Controller
) -> None:
    person, records = life
    regulator, _ = await made(
        dpo,
        subjects=[str(person.subject)],
        purposes=["chat-history"],
        records_from="2026-11-02T00:00:00Z",
        records_until="2026-11-06T00:00:00Z",
    )
    history = await regulator.ask(f"/v1/subjects/{person.subject}/history")
    assert [one["event"] for one in history["records"]] == [records[1].event, records[2].event]
    assert all("who" not in one["parts"] for one in history["records"])
    # As it stood at the end of the case's time, when nothing was withdrawn: and the answer says of when it is.
    consents = await regulator.ask(f"/v1/subjects/{person.subject}/consents")
    assert consents["at"] == consents["known_at"] == "2026-11-06T00:00:00.000000Z"
    assert [(one["purpose"], one["decision"]) for one in consents["decisions"]] == [("chat-history", "granted")]
    status = await regulator.ask(f"/v1/subjects/{person.subject}/status", purpose="chat-history")
    assert (status["decision"], status["event"]) == ("granted", records[2].event)
    # The proof of a chosen record shows its whole decision part, and the grant says so.
    proof = await regulator.get(f"/v1/events/{records[2].event}/proof")
    disclosed = verify_bundle(proof.content, vkey=shop.vkey, origin=shop.origin).disclosed
    assert (set(disclosed), b"newsletter" in disclosed["what"][1]) == ({"what", "context"}, True)
    assert "whole" in (await regulator.ask("/v1/grants/own"))["proofs_show"]
    headers = {"authorization": f"Bearer {regulator.key}", "accept": "application/zip"}
    bundle = await regulator.client.get(f"/v1/subjects/{person.subject}/proof", headers=headers)
    report = read_archive(bundle.content)["report.json"].decode()
    assert [record.event in report for record in records] == [False, True, True, False, False]
    assert '"complete": false' in report or '"complete":false' in report

    nowhere = (await regulator.get(f"/v1/events/{NOWHERE}/proof")).text
    for hidden in (records[0], records[3], records[4]):
        for path in ("proof", "receipt"):
            response = await regulator.get(f"/v1/events/{hidden.event}/{path}")
            assert (response.status_code, response.text) == (404, nowhere), path
        zipped = await regulator.client.get(f"/v1/events/{hidden.event}/proof", headers=headers)
        assert (zipped.status_code, zipped.text) == (404, nowhere)
    for purpose in ("newsletter", "nothing-has-this-name"):
        response = await regulator.get(f"/v1/subjects/{person.subject}/status", purpose=purpose)
        assert (response.status_code, response.text) == (404, nowhere), purpose


async def test_what_was_decided_before_the_cases_time_is_not_said_to_be_never_asked(
    dpo: Caller, life: tuple[Person, list[Recorded]]
) -> None:
    person, _ = life
    path = f"/v1/subjects/{person.subject}"
    regulator, _ = await made(dpo, records_from="2026-11-12T00:00:00Z")
    assert (await regulator.ask(f"{path}/consents"))["decisions"] == []
    assert (await regulator.get(f"{path}/status", purpose="chat-history")).status_code == 404
    assert (await regulator.ask(f"{path}/history"))["records"] == []
    assert (await regulator.ask(f"{path}/status", purpose="never-heard-of"))["reasons"] == ["never_asked"]


async def test_pages_of_a_grant_end_where_its_records_do(
    dpo: Caller, life: tuple[Person, list[Recorded]], monkeypatch: pytest.MonkeyPatch
) -> None:
    person, records = life
    regulator, _ = await made(dpo, purposes=["newsletter"])
    for reads in (1, 20):
        monkeypatch.setattr("services.query.decisions.READS_A_PAGE", reads)
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = await regulator.ask(f"/v1/subjects/{person.subject}/history", limit=1, **cursor)
            found += [one["event"] for one in page["records"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert found == [records[2].event, records[3].event], reads


async def test_a_person_outside_a_grant_is_nobody(
    dpo: Caller, shop: Controller, life: tuple[Person, list[Recorded]]
) -> None:
    inside = await shop.person("cookie", "v-inside")
    person, records = life
    regulator, _ = await made(dpo, subjects=[str(inside.subject)])
    for (path, params), (nowhere, _) in zip(
        answers(person.subject, records[1].event), answers(NOWHERE, NOWHERE), strict=True
    ):
        seen, missing = await regulator.get(path, **params), await regulator.get(nowhere, **params)
        assert (seen.status_code, seen.text) == (404, missing.text), path


async def test_whose_records_are_shown_with_a_subjects_come_along(
    world: World, dpo: Caller, shop: Controller, life: tuple[Person, list[Recorded]]
) -> None:
    person, _ = life
    device, shared = await shop.person("cookie", "v-phone"), await shop.person("cookie", "v-tablet")
    somebody = await shop.person("email", "bob@example.com")
    event = await decide(shop, device, 6, BASE_TIME + 5 * DAY, GRANTED)
    for nth, (weak, strong) in enumerate(((device, person), (shared, person), (shared, somebody))):
        await world.execute(
            "INSERT INTO links (controller, event, nth, strong, weak, state, acted_at) SELECT $1, event, $2, $3, $4,"
            " 'linked', $5 FROM dedupe LIMIT 1",
            shop.controller,
            nth,
            strong.subject,
            weak.subject,
            BASE_TIME,
        )
    regulator, shown = await made(dpo, subjects=[str(person.subject)])
    assert set(shown["subjects"]) == {str(person.subject), str(device.subject)}
    history = await regulator.ask(f"/v1/subjects/{person.subject}/history")
    assert event.event in [one["event"] for one in history["records"]]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"ends_at": "2026-01-01T00:00:00Z"}, "/ends_at"),
        ({"begins_at": "2099-01-01T00:00:00Z"}, "/ends_at"),
        ({"records_from": "2026-02-01T00:00:00Z", "records_until": "2026-01-01T00:00:00Z"}, "/records_until"),
        ({"subjects": []}, "/subjects"),
        ({"subjects": [NOWHERE]}, "/subjects"),
        ({"purposes": []}, "/purposes"),
        ({"case_reference": ""}, "/case_reference"),
        ({"surprise": 1}, ""),
    ],
)
async def test_a_grant_that_cannot_be_is_refused(dpo: Caller, changes: dict[str, Any], pointer: str) -> None:
    response = await post(dpo, "/v1/grants", {**CASE, "ends_at": later(), **changes})
    assert (response.status_code, response.json().get("pointer")) == (422, pointer), response.text
    assert (await dpo.ask("/v1/grants"))["grants"] == []


async def test_a_grant_is_about_people_of_its_controller(world: World, dpo: Caller) -> None:
    """Of another's people it is said what is said of people who are nowhere."""
    other = await world.controller("other")
    theirs = await other.person("email", "eve@example.com")
    told = {
        (await post(dpo, "/v1/grants", {**CASE, "ends_at": later(), "subjects": [str(one)]})).text
        for one in (theirs.subject, uuid4())
    }
    assert len(told) == 1
    grant = await other.grant()
    for path in ("revoke", "key"):
        answer, nowhere = await post(dpo, f"/v1/grants/{grant}/{path}"), await post(dpo, f"/v1/grants/{NOWHERE}/{path}")
        assert (answer.status_code, answer.text) == (404, nowhere.text)


async def test_a_grant_is_over_when_it_is_revoked(
    world: World, dpo: Caller, life: tuple[Person, list[Recorded]]
) -> None:
    person, _ = life
    path = f"/v1/subjects/{person.subject}/history"
    regulator, shown = await made(dpo)
    assert (await regulator.get(path)).status_code == 200
    second = Caller(dpo.client, (await post(dpo, f"/v1/grants/{shown['grant']}/key")).json()["key"])
    assert [(await one.get(path)).status_code for one in (regulator, second)] == [401, 200]

    ended = await post(dpo, f"/v1/grants/{shown['grant']}/revoke")
    assert (ended.status_code, ended.json()["state"], ended.json()["keys"]) == (200, "revoked", [])
    assert (await second.get(path)).json()["type"] == "/problems/wrong-key"
    assert (await post(dpo, f"/v1/grants/{shown['grant']}/key")).status_code == 404
    (listed,) = (await dpo.ask("/v1/grants"))["grants"]
    name = dpo.key.rpartition("_")[0]
    assert (listed["state"], listed["made_by"], listed["case_reference"]) == ("revoked", name, CASE["case_reference"])
    types = [what["type"] for what, _, _ in await world.messages()]
    assert types == ["access.granted", "access.read", "access.granted", "access.read", "access.revoked"]
    granted = (await world.messages())[0][0]["access"]
    assert granted["why"] == "letter of 3 November"
    assert (granted["grant"], granted["case"]) == (shown["grant"], CASE["case_reference"])
    for _, body, row in await world.messages():
        assert (row["site"], row["log"]) == ("shop.access", "shop-access")
        assert str(person.subject).encode() not in body.parts.what


async def test_a_grant_ends_by_itself_and_begins_no_sooner(world: World, dpo: Caller) -> None:
    regulator, shown = await made(dpo, begins_at=later(0.5))
    assert shown["state"] == "not_begun"
    assert (await regulator.get("/v1/grants/own")).status_code == 401
    for column, state, status in (("begins_at = now()", "in_force", 200), ("ends_at = now()", "ended", 401)):
        await world.execute(f"UPDATE grants SET {column}")
        assert ((await dpo.ask("/v1/grants"))["grants"][0]["state"]) == state
        assert (await regulator.get("/v1/grants/own")).status_code == status
    assert (await post(dpo, f"/v1/grants/{shown['grant']}/key")).status_code == 404


async def test_without_its_record_there_is_no_grant_and_without_one_it_ends_all_the_same(
    world: World, dpo: Caller
) -> None:
    _, shown = await made(dpo)
    await world.execute("UPDATE publishers SET revoked_at = now()")
    refused = await post(dpo, "/v1/grants", {**CASE, "ends_at": later()})
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/look-not-recorded")
    ended = await post(dpo, f"/v1/grants/{shown['grant']}/revoke")
    assert ended.status_code == 503, "the caller is told to ask again, so that it is noted"
    assert [(one["grant"], one["state"]) for one in (await dpo.ask("/v1/grants"))["grants"]] == [
        (shown["grant"], "revoked")
    ]
    await world.execute("UPDATE publishers SET revoked_at = NULL")
    assert (await post(dpo, f"/v1/grants/{shown['grant']}/revoke")).status_code == 200


async def test_an_order_to_preserve_places_holds(
    world: World, dpo: Caller, life: tuple[Person, list[Recorded]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No ledger records them here.
    monkeypatch.setattr("services.query.holds.holds.RECORDED_S", 0)
    person, _ = life
    response = await post(
        dpo, "/v1/grants", {**CASE, "ends_at": later(), "subjects": [str(person.subject)], "preserve": True}
    )
    assert response.status_code == 201, response.text
    (hold,) = response.json()["holds"]
    (placed,) = [(what, body) for what, body, _ in await world.messages() if what["type"] == "hold.placed"]
    assert (placed[0]["hold"]["ground"], placed[0]["hold"]["grant"]) == ("order", response.json()["grant"])
    assert UUID(hold["hold"]) == UUID(placed[0]["hold"]["hold"])
    assert str(person.subject).encode() in placed[1].parts.who
