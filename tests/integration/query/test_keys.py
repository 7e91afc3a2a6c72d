"""Access keys over HTTP: made, limited to sites, replaced, revoked, ended; and nothing beyond the own controller."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from schemas.record import format_time
from tests.integration.query.conftest import Caller
from tests.support.deployment import BASE_TIME, consent_event
from tests.support.rows import Controller, World, notice_content

pytestmark = pytest.mark.integration

OTHER_SITE = "outlet.example"


@pytest.fixture
async def admin(client: httpx2.AsyncClient, shop: Controller) -> Caller:
    return Caller(client, await shop.access_key("admin"))


async def post(caller: Caller, path: str, body: Any = None, **headers: str) -> httpx2.Response:
    headers |= {"authorization": f"Bearer {caller.key}"}
    return await caller.client.post(path, json=body, headers=headers)


async def made(admin: Caller, role: str, **members: Any) -> dict[str, Any]:
    response = await post(admin, "/v1/keys", {"role": role, "label": "the mailer", **members})
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def opens(client: httpx2.AsyncClient, key: str) -> bool:
    """Whether a key is in force; if not, it looks like one that never was."""
    response = await client.get("/v1/session", headers={"authorization": f"Bearer {key}"})
    if not response.is_success:
        assert (response.status_code, response.json()["type"]) == (401, "/problems/wrong-key")
    return response.is_success


async def test_a_key_is_made_once_and_named_ever_after(admin: Caller, world: World, shop: Controller) -> None:
    before = datetime.now(UTC)
    answer = await made(admin, "site")
    assert answer["secret"].startswith(f"{answer['key']}_")
    assert await opens(admin.client, answer["secret"])
    year = before + timedelta(days=365)
    assert format_time(year) <= answer["expires_at"] <= format_time(year + timedelta(minutes=1))
    (listed,) = [one for one in (await admin.ask("/v1/keys"))["keys"] if one["key"] == answer["key"]]
    assert listed | {"created_at": None} == {
        "key": answer["key"],
        "role": "site",
        "label": "the mailer",
        "sites": None,
        "replaces": None,
        "created_at": None,
        "expires_at": answer["expires_at"],
        "revoked_at": None,
    }
    # What is kept of the secret does not lead back to it.
    secret = answer["secret"].rpartition("_")[2]
    assert secret not in await world.execute("SELECT string_agg(k::text, ' ') FROM access_keys k")
    assert answer["key"] in await world.execute("SELECT string_agg(k::text, ' ') FROM access_keys k")
    assert shop.name == "shop"


async def test_making_and_ending_keys_is_noted_with_who_and_why(admin: Caller, shop: Controller) -> None:
    """An administrator could make a key that opens what it may not see itself: the access log says so."""
    response = await post(admin, "/v1/keys", {"role": "dpo", "label": "x"}, **{"sayso-why": "for the new DPO"})
    key = response.json()["key"]
    headers = {"authorization": f"Bearer {admin.key}"}
    assert (await admin.client.delete(f"/v1/keys/{key}", headers=headers)).status_code == 204
    noted = [what for what, _, row in await shop.world.messages() if row["log"] == "shop-access"]
    assert [(what["type"], what["access"]) for what in noted] == [
        ("access.granted", {"role": "admin", "why": "for the new DPO", "to": key, "opens": "dpo"}),
        ("access.revoked", {"role": "admin", "why": "not stated", "to": key, "opens": "dpo"}),
    ]


async def test_no_key_where_it_cannot_be_noted(admin: Caller, world: World) -> None:
    await world.execute("UPDATE publishers SET revoked_at = now()")
    count = await world.execute("SELECT count(*) FROM access_keys")
    assert (await post(admin, "/v1/keys", {"role": "dpo", "label": "x"})).status_code == 503
    assert await world.execute("SELECT count(*) FROM access_keys") == count


async def test_a_key_ends(admin: Caller, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = format_time(datetime.now(UTC) + timedelta(hours=1))
    key = (await made(admin, "privacy", expires_at=soon))["secret"]
    assert await opens(admin.client, key)
    # It is in the process's memory now; its end is kept to all the same.
    real = datetime
    later = type("Later", (datetime,), {"now": classmethod(lambda _cls, tz: real.now(tz) + timedelta(hours=1))})
    monkeypatch.setattr("services.query.auth.datetime", later)
    assert not await opens(admin.client, key)
    monkeypatch.undo()
    await world.execute("UPDATE access_keys SET expires_at = now() WHERE role = 'admin'")
    monkeypatch.setattr("services.query.auth.KEY_CACHE_S", 0)
    assert not await opens(admin.client, admin.key)


async def test_rotation_gives_the_same_under_a_new_name(admin: Caller, world: World, shop: Controller) -> None:
    end = format_time(datetime.now(UTC) + timedelta(days=100))
    old = await made(admin, "site", expires_at=end, sites=[shop.site_name])
    response = await post(admin, f"/v1/keys/{old['key']}/rotate?overlap_hours=2")
    assert response.status_code == 201, response.text
    new = response.json()
    assert (new["replaces"], new["role"]) == (old["key"], "site")
    assert await opens(admin.client, old["secret"])
    assert await opens(admin.client, new["secret"])
    rows = {one["key"]: one for one in (await admin.ask("/v1/keys"))["keys"]}
    assert rows[new["key"]]["sites"] == [shop.site_name]
    assert (
        rows[old["key"]]["expires_at"] == new["replaced_ends_at"] < format_time(datetime.now(UTC) + timedelta(hours=2))
    )
    # As long as the one before was made for.
    assert abs(days_left(new["expires_at"]) - 100) < 0.01
    # A second one, because the answer was lost; the end of the first is not put off by it, and 0 hours is at once.
    again = await post(admin, f"/v1/keys/{old['key']}/rotate?overlap_hours=100")
    assert again.json()["replaced_ends_at"] == new["replaced_ends_at"]
    assert (await post(admin, f"/v1/keys/{old['key']}/rotate?overlap_hours=0")).status_code == 201
    assert not await opens(admin.client, old["secret"])
    assert (await post(admin, f"/v1/keys/{old['key']}/rotate")).status_code == 404
    assert (await post(admin, f"/v1/keys/{new['key']}/rotate?overlap_hours=169")).status_code == 422


def days_left(end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.now(UTC)) / timedelta(days=1)


async def test_a_revoked_key_is_out(admin: Caller) -> None:
    key = await made(admin, "dpo")
    assert await opens(admin.client, key["secret"])
    headers = {"authorization": f"Bearer {admin.key}"}
    assert (await admin.client.delete(f"/v1/keys/{key['key']}", headers=headers)).status_code == 204
    assert not await opens(admin.client, key["secret"])
    for method, path in (("DELETE", f"/v1/keys/{key['key']}"), ("POST", f"/v1/keys/{key['key']}/rotate")):
        assert (await admin.client.request(method, path, headers=headers)).status_code == 404


async def test_other_controllers_and_regulators_keys_are_not_there(
    admin: Caller, world: World, shop: Controller
) -> None:
    """An administrator that replaced a regulator's key would hold one; even that there is one may be confidential."""
    other = await world.controller("other")
    names = [key.rpartition("_")[0] for key in (await other.access_key("dpo"), await shop.access_key("auditor"))]
    headers = {"authorization": f"Bearer {admin.key}"}
    for name in (*names, "ak_nobody", admin.key):
        for method, path in (("DELETE", f"/v1/keys/{name}"), ("POST", f"/v1/keys/{name}/rotate")):
            response = await admin.client.request(method, path, headers=headers)
            assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found"), (name, method)
    assert not set(names) & {one["key"] for one in (await admin.ask("/v1/keys"))["keys"]}
    assert (await post(admin, "/v1/keys", {"role": "auditor", "label": "x"})).status_code == 422


async def test_what_a_key_may_not_be(admin: Caller, world: World) -> None:
    await world.controller("other")
    now = datetime.now(UTC)
    for members, pointer in (
        ({"expires_at": format_time(now - timedelta(seconds=1))}, "/expires_at"),
        ({"expires_at": format_time(now + timedelta(days=731))}, "/expires_at"),
        ({"sites": ["other.example"]}, "/sites"),
        ({"sites": ["nowhere.example"]}, "/sites"),
        ({"sites": ["shop.access"]}, "/sites"),
        ({"sites": []}, "/sites"),
        ({"role": "dpo", "sites": ["shop.example"]}, "/sites"),
        ({"role": "reader"}, "/role"),
        ({"label": ""}, "/label"),
    ):
        response = await post(admin, "/v1/keys", {"role": "site", "label": "x", **members})
        assert (response.status_code, response.json()["pointer"]) == (422, pointer), members


async def test_a_key_for_some_sites_answers_from_their_records_alone(
    admin: Caller, world: World, shop: Controller, with_role: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a yes that another site gave, nor one that another site took back: as if nobody had asked."""
    await world.execute(
        "INSERT INTO sites (controller, name, log) VALUES ($1, $2, $3)", shop.controller, OTHER_SITE, shop.log
    )
    notice = {"sha256": await shop.notice(notice_content(), BASE_TIME), "language": "fr"}
    here, both, there = [await shop.person("cookie", name) for name in ("v-here", "v-both", "v-there")]
    deny = [{"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}]
    own, records = shop.site_name, []
    withdrawn: dict[str, Any] = {"type": "consent.withdrawn", "decisions": deny}
    acts = [(here, own, {}), (both, own, {}), (both, OTHER_SITE, withdrawn), (there, OTHER_SITE, {})]
    for n, (person, site, changes) in enumerate(acts, start=1):
        moment = BASE_TIME + timedelta(minutes=n)
        monkeypatch.setattr(shop, "site_name", site)
        event = consent_event(n, time=format_time(moment), notice=notice, **changes)
        records.append(await shop.record(person, event, moment, words="rendered"))
    monkeypatch.setattr(shop, "site_name", own)
    await shop.publish()
    mine = Caller(admin.client, (await made(admin, "site", sites=[shop.site_name]))["secret"])
    theirs = Caller(admin.client, (await made(admin, "site", sites=[OTHER_SITE]))["secret"])
    whole = await with_role(shop, "site")

    async def said(caller: Caller, subject: Any) -> Any:
        response = await caller.get(f"/v1/subjects/{subject}/status", purpose="chat-history")
        return (response.json()["valid"], response.json()["reasons"]) if response.is_success else response.status_code

    asked = [here.subject, both.subject, there.subject, GONE]
    assert [await said(whole, one) for one in asked] == [(True, []), (False, ["withdrawn"]), (True, []), 404]
    assert [await said(mine, one) for one in asked] == [(True, []), (False, ["never_asked"]), 404, 404]
    assert [await said(theirs, one) for one in asked] == [404, (False, ["withdrawn"]), (True, []), 404]
    shown = (await mine.ask(f"/v1/subjects/{both.subject}/consents"))["decisions"]
    assert [answer["purpose"] for answer in shown] == ["chat-proactive"]
    assert [(await mine.lookup("cookie", name)).status_code for name in ("v-here", "v-both", "v-there")] == [
        200,
        200,
        404,
    ]
    proofs = [(await mine.get(f"/v1/events/{record.event}/proof")).status_code for record in records]
    assert proofs == [200, 200, 404, 404]


GONE = "9a3c1f60-5f43-4a8e-9d5b-6f2f3c1f0b12"
