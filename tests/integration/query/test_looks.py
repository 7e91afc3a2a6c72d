"""The access log: durable before anything is shown, whole for the DPO, without names for the person looked at."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from pydantic import SecretStr

from services.capabilities import Capabilities
from services.keys import read_secret
from services.query.settings import QuerySettings
from tests.integration.query.conftest import Caller, serving
from tests.integration.query.roles import EMAIL, ERASURE, GONE, NOWHERE, posted
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.rows import Controller, World
from tests.support.wait import until

pytestmark = pytest.mark.integration


async def looks_in_the_inbox(world: World) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(who, what.access) of every look that was published."""
    return [
        (orjson.loads(body.parts.who), what["access"])
        for what, body, _ in await world.messages()
        if what["type"] == "access.read"
    ]


async def look(caller: Caller, path: str, *, why: str | None = None, **params: Any) -> httpx2.Response:
    headers: dict[str, Any] = {"authorization": f"Bearer {caller.key}"}
    if why is not None:
        headers["sayso-why"] = why.encode()
    return await caller.client.get(path, params=params, headers=headers)


# --- what is noted, and when ---


async def test_every_look_says_who_looked_at_whom_at_what_and_why(
    world: World, shop: Controller, dpo: Caller, with_role: Any
) -> None:
    subject, record = await posted(shop)
    privacy, regulator = await with_role(shop, "privacy"), await with_role(shop, "auditor")
    path = f"/v1/subjects/{subject}"
    asked: tuple[tuple[Caller, str, dict[str, str], str], ...] = (
        (dpo, f"{path}/history", {}, "history"),
        (privacy, f"{path}/consents", {}, "consents"),
        (regulator, f"{path}/status", {"purpose": "chat-history"}, "status"),
        (dpo, f"/v1/events/{record.event}/proof", {}, "proof"),
        (privacy, f"/v1/events/{record.event}/receipt", {}, "receipt"),
        (regulator, f"{path}/proof", {}, "bundle"),
    )
    for caller, where, params, _ in asked:
        assert (await look(caller, where, why="réclamation n° 7", **params)).status_code == 200, where
    found = await dpo.lookup("email", EMAIL)
    assert found.status_code == 200
    noted = await looks_in_the_inbox(world)
    assert [access["look"] for _, access in noted] == [*(what for *_, what in asked), "lookup"]
    assert {who["subject"] for who, _ in noted} == {subject}
    for (who, access), (caller, *_) in zip(noted, asked, strict=False):
        name = caller.key.rpartition("_")[0]
        assert who["viewer"] == {"role": access["role"], "name": name}
        of_a_case = access["role"] == "auditor"
        assert access["why"] == ("CNIL-2026-0042" if of_a_case else "réclamation n° 7")
        assert ({"grant", "case"} <= set(access)) == of_a_case
    assert noted[-1][1]["why"] == "not stated"


async def test_machines_leave_no_look_and_neither_does_who_is_not_there(
    world: World, shop: Controller, dpo: Caller, with_role: Any
) -> None:
    subject, record = await posted(shop)
    site = await with_role(shop, "site")
    for path, params in (
        (f"/v1/subjects/{subject}/consents", {}),
        (f"/v1/subjects/{subject}/status", {"purpose": "chat-history"}),
        (f"/v1/events/{record.event}/receipt", {}),
    ):
        assert (await site.get(path, **params)).status_code == 200
    assert (await site.lookup("email", EMAIL)).status_code == 200
    for path in (f"/v1/subjects/{NOWHERE}/history", f"/v1/events/{NOWHERE}/proof"):
        assert (await dpo.get(path)).status_code == 404
    assert (await dpo.lookup("email", "nobody@example.com")).status_code == 404
    assert await looks_in_the_inbox(world) == []


async def test_a_look_at_somebody_erased_names_nobody(world: World, shop: Controller, dpo: Caller) -> None:
    await posted(shop)
    for path in ("history", "consents"):
        assert "erased_at" in await dpo.ask(f"/v1/subjects/{GONE}/{path}")
    noted = await looks_in_the_inbox(world)
    assert [(set(who), access["look"]) for who, access in noted] == [({"viewer"}, "history"), ({"viewer"}, "consents")]
    # What is kept of somebody erased is looked at under nobody's name either.
    headers = {"authorization": f"Bearer {dpo.key}"}
    body = {"identifier": {"type": "email", "value": EMAIL}}
    assert (await dpo.client.post("/v1/minimal-proofs/search", json=body, headers=headers)).status_code == 200
    who, access = (await looks_in_the_inbox(world))[-1]
    assert (set(who), access["look"], access["proofs"]) == ({"viewer"}, "minimal-proofs", 1)
    assert (await dpo.get(f"/v1/erasures/{ERASURE}")).status_code == 200


async def test_nothing_is_shown_that_could_not_be_noted(
    world: World, shop: Controller, dpo: Caller, with_role: Any
) -> None:
    subject, record = await posted(shop)
    site = await with_role(shop, "site")
    for breaking, mending in (
        ("UPDATE publishers SET revoked_at = now()", "UPDATE publishers SET revoked_at = NULL"),
        ("ALTER TABLE inbox RENAME TO no_inbox", "ALTER TABLE no_inbox RENAME TO inbox"),
    ):
        await world.execute(breaking)
        for path in (
            f"/v1/subjects/{subject}/history",
            f"/v1/subjects/{subject}/consents",
            f"/v1/subjects/{subject}/proof",
            f"/v1/events/{record.event}/proof",
            "/v1/access-log",
        ):
            refused = await dpo.get(path)
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/look-not-recorded"), path
            assert "retry-after" in refused.headers
        # Machines are answered all the same.
        assert (await site.get(f"/v1/subjects/{subject}/consents")).status_code == 200
        await world.execute(mending)
    assert (await dpo.get(f"/v1/subjects/{subject}/history")).status_code == 200


async def test_a_controller_without_an_access_log_shows_nobody(world: World, shop: Controller, dpo: Caller) -> None:
    subject, _ = await posted(shop)
    await world.execute("UPDATE logs SET closed_at = now() WHERE kind = 'access'")
    refused = await dpo.get(f"/v1/subjects/{subject}/history")
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/look-not-recorded")


async def test_the_answer_waits_until_the_look_is_durable(world: World, shop: Controller, dpo: Caller) -> None:
    subject, _ = await posted(shop)
    connection = await world.connect()
    try:
        lock = connection.transaction()
        await lock.start()
        await connection.execute("LOCK TABLE inbox IN EXCLUSIVE MODE")
        answer = asyncio.create_task(dpo.get(f"/v1/subjects/{subject}/history"))

        async def is_waiting() -> bool:
            return bool(await world.execute("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await until(is_waiting, what="the look waits for the inbox")
        assert not answer.done()
        await lock.commit()
        assert (await answer).status_code == 200
    finally:
        await connection.close()
    assert len(await looks_in_the_inbox(world)) == 1


@pytest.mark.parametrize("stated", ["", "x" * 201, "line\x85"])
async def test_a_reason_is_a_short_line(dpo: Caller, shop: Controller, stated: str) -> None:
    subject, _ = await posted(shop)
    refused = await look(dpo, f"/v1/subjects/{subject}/history", why=stated)
    assert (refused.status_code, refused.json()["pointer"]) == (422, "/Sayso-Why")


# --- read back, with a ledger that records them ---


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    made = Deployment(database, tmp_path)
    await made.create()
    return made


@asynccontextmanager
async def house(deployment: Deployment) -> AsyncIterator[httpx2.AsyncClient]:
    keys = deployment.keys
    settings = QuerySettings(
        database_url=SecretStr(deployment.database.dsn()),
        root_key_file=keys / "root.key",
        event_id_key_file=keys / "event-ids.key",
        controller_key_dir=keys / "controllers",
        suppression_dir=deployment.directory / "suppression",
        query_epoch_key_file=keys / "query" / "epochs.key",
        capability_key_file=keys / "capabilities.key",
        receipt_key_file=keys / "query" / "receipts.key",
        link_key_file=keys / "query" / "links.key",
        query_pool_size=2,
    )
    async with (
        deployment.ledger(),
        serving(settings) as address,
        httpx2.AsyncClient(base_url=address, timeout=30) as client,
    ):
        yield client


async def regulator_of(dpo: Caller, **changes: Any) -> tuple[Caller, str]:
    body = {"case_reference": "CNIL-7", "authority": "CNIL", "ends_at": "2099-01-01T00:00:00Z", **changes}
    headers = {"authorization": f"Bearer {dpo.key}"}
    made = (await dpo.client.post("/v1/grants", json=body, headers=headers)).json()
    return Caller(dpo.client, made["key"]), made["grant"]


async def test_the_log_is_the_dpos_to_read_and_the_person_is_told_without_names(deployment: Deployment) -> None:
    async with house(deployment) as client:
        dpo = Caller(client, await deployment.add_access_key("dpo"))
        privacy = Caller(client, await deployment.add_access_key("privacy"))
        await deployment.publish([deployment.seal(consent_event(number)) for number in (1, 2)])
        await deployment.recorded(2)
        subject = await deployment.subject_of("v-1")
        path = f"/v1/subjects/{subject}/history"
        known, known_grant = await regulator_of(dpo)
        secret, _ = await regulator_of(dpo, case_reference="CNIL-8", confidential_until="2098-01-01T00:00:00Z")
        assert (await look(privacy, path, why="she called about her order")).status_code == 200
        for regulator in (known, secret):
            seen = await regulator.ask(path)
            assert [one["event"] for one in seen["records"]] == [consent_event(1)["id"]]
        await deployment.recorded(5, log="shop-access")

        # The DPO sees all of it, by whom and why; reading it is a look as well.
        page = await dpo.ask("/v1/access-log", limit=4)
        await deployment.recorded(6, log="shop-access")
        rest = await dpo.ask("/v1/access-log", cursor=page["next"])
        records = [*page["records"], *rest["records"]]
        assert [one["type"] for one in records[:5]] == ["access.granted"] * 2 + ["access.read"] * 3
        assert [one["access"].get("look") for one in records[5:]] == ["access-log"]
        assert [one.get("subject") for one in records] == [None, None, *[str(subject)] * 3, None]
        looked = records[2]
        assert (looked["access"]["why"], looked["access"]["role"]) == ("she called about her order", "privacy")
        assert looked["viewer"]["name"] == privacy.key.rpartition("_")[0]
        # A regulator sees its own case's records alone.
        own = (await known.ask("/v1/access-log"))["records"]
        assert [one["access"]["grant"] for one in own] == [known_grant] * 2
        # Which of the controller's people gave the grant, and why, is the controller's own.
        assert [one.get("viewer", {}).get("role") for one in own] == [None, "auditor"]
        assert ["why" in one["access"] for one in own] == [False, True]
        assert (await privacy.get("/v1/access-log")).status_code == 403

        # None of it is part of the person's own records.
        assert len((await dpo.ask(path))["records"]) == 1
        event = looked["event"]
        assert (await dpo.get(f"/v1/events/{event}/proof")).status_code == 200
        for caller in (known, privacy):
            assert (await caller.get(f"/v1/events/{event}/proof")).status_code == 404

        # The person: when, at what, in which role and for which case; nothing of one that is confidential still.
        mine = await client.get("/v1/me/looks", headers=capability(deployment, "v-1"))
        assert mine.status_code == 200, mine.text
        told = mine.json()["looks"]
        assert [(one["look"], one["role"], one.get("case")) for one in told][:2] == [
            ("history", "privacy", None),
            ("history", "auditor", "CNIL-7"),
        ]
        assert all(set(one) <= {"at", "look", "role", "case"} for one in told)
        for secret_word in ("CNIL-8", "she called", "ak_", str(subject)):
            assert secret_word not in mine.text
        other = await client.get("/v1/me/looks", headers=capability(deployment, "v-2"))
        assert other.json() == {"looks": [], "next": None}


async def test_a_persons_side_of_the_looks_is_erased_with_them(deployment: Deployment) -> None:
    """The log's own entries stay, and say how much is gone."""
    async with house(deployment) as client:
        dpo = Caller(client, await deployment.add_access_key("dpo"))
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
        subject = await deployment.subject_of("v-1")
        assert subject is not None
        for nth in range(2):
            assert len((await dpo.ask(f"/v1/subjects/{subject}/history"))["records"]) == 1
            await deployment.recorded(nth + 1, log="shop-access")
        await deployment.publish([deployment.seal_erasure(subject)])

        async def parts() -> list[Any]:
            return await deployment.fetch(
                "SELECT who, what FROM erased_parts JOIN logs USING (controller, log)"
                " WHERE kind = 'access' AND declared_index IS NOT NULL"
            )

        async def declared() -> bool:
            return bool(await parts())

        await until(declared, what="the access log says what it lost")
        after = (await dpo.ask("/v1/access-log"))["records"]
        assert [set(one) for one in after[:2]] == [{"log", "index", "class", "recorded_at"}] * 2
        assert str(subject) not in orjson.dumps(after).decode()
        assert [tuple(row) for row in await parts()] == [(2, 2)]


def capability(deployment: Deployment, value: str) -> dict[str, str]:
    claims = {"site": "shop.example", "type": "cookie", "value": value, "exp": int(time.time()) + 60}
    token = Capabilities(read_secret(deployment.keys / "capabilities.key")).seal("visitor", claims)
    return {"authorization": f"Bearer {token}"}
