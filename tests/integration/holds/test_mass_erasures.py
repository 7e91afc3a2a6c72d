"""Many erasures: one person alone asks for so many a day and no more; for the rest two people and a delay."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import httpx2
import pytest

from deploy.kafka.node import free_port
from services.postgres import create_pool
from services.query.asking import Asking
from services.query.auth import Caller
from services.query.erasure.mass import MassErasures
from tests.integration.holds.conftest import GROUND, House
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.processes import ServiceProcess
from tests.support.wait import until

pytestmark = pytest.mark.integration

MANY = 80


def many_body(subjects: list[UUID], **changes: Any) -> dict[str, Any]:
    return {**GROUND, "subjects": [str(one) for one in subjects], "reason": "the newsletter is closed", **changes}


async def come(house: House, approval: str) -> None:
    """The delay of an approval is over."""
    await house.rows("UPDATE approvals SET not_before = now() WHERE approval = $1", UUID(approval))


async def test_one_person_alone_asks_for_so_many_a_day(house: House) -> None:
    await house.rows("DELETE FROM erasure_asks")
    await house.state_terms(mass_erasure={"above": 3})
    try:
        people = [await house.person() for _ in range(4)]
        for one in people[:3]:
            assert (await house.erase(one))["state"] == "erased"
        path = f"/v1/subjects/{people[3]}/erasure"
        for _ in range(2):
            answer = await house.ask("privacy-2", "POST", path, GROUND)
            assert (answer.status_code, answer.json()["type"]) == (409, "/problems/too-many-erasures")
        # Asking again for one that is counted is no other one; and tomorrow is another day.
        assert (await house.erase(people[0]))["state"] == "erased"
        await house.rows("UPDATE erasure_asks SET asked_at = now() - interval '25 hours' WHERE subject = $1", people[0])
        assert (await house.erase(people[3]))["state"] == "erased"
    finally:
        await house.state_terms()


async def test_asks_at_the_same_moment_are_counted_one_by_one(house: House) -> None:
    await house.rows("DELETE FROM erasure_asks")
    await house.state_terms(mass_erasure={"above": 2})
    try:
        people = [await house.person() for _ in range(6)]
        paths = [f"/v1/subjects/{one}/erasure" for one in people]
        answers = await asyncio.gather(*(house.ask("privacy", "POST", path, GROUND) for path in paths))
        assert sorted(answer.status_code for answer in answers) == [202, 202, 409, 409, 409, 409]
    finally:
        await house.state_terms()


async def test_two_people_and_a_delay_for_many(house: House) -> None:
    people = [await house.person() for _ in range(3)]
    held = await house.place(subject=people[0])
    answer = await house.ask("privacy", "POST", "/v1/erasures", many_body(people))
    assert answer.status_code == 202
    asked = answer.json()
    path = f"/v1/approvals/{asked['approval']}"
    assert answer.headers["location"] == path
    assert (asked["state"], asked["about"]["subjects"]) == ("asked", 3)
    assert asked["progress"] == {"subjects": 3, "waiting": 3, "erased": 0, "held": 0}
    # The same people again are the same ask.
    again = await house.said("privacy", "POST", "/v1/erasures", many_body(people[::-1]))
    assert again["approval"] == asked["approval"]
    # It is no DPO's to decide, nor the asker's.
    assert (await house.ask("dpo", "POST", path, {"verdict": "approved"})).status_code == 403
    assert (await house.ask("privacy", "POST", path, {"verdict": "approved"})).status_code == 409
    approved = await house.said("privacy-2", "POST", path, {"verdict": "approved"})
    assert (approved["state"], approved["progress"]["waiting"]) == ("approved", 3)
    await come(house, asked["approval"])

    async def done() -> bool:
        found = await house.said("dpo", "GET", path)
        return bool(found["state"] == "done" and found["progress"]["erased"] + found["progress"]["held"] == 3)

    await until(done, what="the erasures are done")
    assert (await house.said("dpo", "GET", path))["progress"] == {"subjects": 3, "waiting": 0, "erased": 2, "held": 1}
    left = await house.rows("SELECT subject FROM subjects WHERE subject = ANY($1)", people)
    assert [row["subject"] for row in left] == [people[0]]
    await house.release(held["hold"])


@pytest.mark.parametrize("who", ["privacy", "dpo"])
async def test_what_was_approved_can_be_stopped_until_it_is_done(house: House, who: str) -> None:
    eve = await house.person()
    asked = await house.said("privacy", "POST", "/v1/erasures", many_body([eve]))
    path = f"/v1/approvals/{asked['approval']}"
    await house.said("privacy-2", "POST", path, {"verdict": "approved"})
    stopped = await house.said(who, "POST", path, {"verdict": "refused", "reason": "the wrong list"})
    assert stopped["state"] == "refused"
    await come(house, asked["approval"])
    late = await house.ask("privacy-2", "POST", path, {"verdict": "approved"})
    assert (late.status_code, late.json()["type"]) == (409, "/problems/approval-decided")
    assert await house.rows("SELECT FROM subjects WHERE subject = $1", eve)
    # Whoever is at it already sees it before the next of them.
    caller = Caller(house.deployment.controller, "shop", "privacy", "")
    async with await create_pool(
        house.deployment.database.dsn(), role="sayso_query", size=2, application="test"
    ) as pool:
        nowhere = MassErasures(pool, cast("Asking", None), house.deployment.event_id_key)
        await nowhere.do(caller, UUID(asked["approval"]))
    assert (await house.said("dpo", "GET", path))["state"] == "refused"


async def test_nobody_of_another_controller_is_among_them(house: House) -> None:
    eve = await house.person()
    answer = await house.ask("privacy", "POST", "/v1/erasures", many_body([eve, uuid4()]))
    assert answer.status_code == 404
    assert not await house.rows("SELECT FROM erasure_asks WHERE subject = $1", eve)


@asynccontextmanager
async def query_process(deployment: Deployment) -> AsyncIterator[tuple[ServiceProcess, httpx2.AsyncClient]]:
    port = free_port()
    process = ServiceProcess("query", deployment.query_environment(port), deployment.directory / "query.log")
    process.start()
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield process, client
    finally:
        process.stop()


async def is_ready(process: ServiceProcess, client: httpx2.AsyncClient) -> bool:
    assert process.alive, process.log.read_text(encoding="utf-8")
    try:
        return (await client.get("/health/ready")).is_success
    except httpx2.TransportError:
        return False


async def test_a_process_killed_in_the_middle_leaves_nobody_out(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    keys = [await deployment.add_access_key("privacy") for _ in range(2)]
    async with deployment.ledger(), query_process(deployment) as (process, client):
        await until(lambda: is_ready(process, client), what="query is ready", deadline_s=30)
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(MANY))
        await deployment.recorded(MANY)
        rows = await deployment.fetch("SELECT subject FROM subjects WHERE log IS NULL")
        body = many_body([UUID(int=row["subject"].int) for row in rows])
        asked = await client.post("/v1/erasures", json=body, headers={"authorization": f"Bearer {keys[0]}"})
        path = f"/v1/approvals/{asked.json()['approval']}"
        verdict = {"verdict": "approved"}
        decided = await client.post(path, json=verdict, headers={"authorization": f"Bearer {keys[1]}"})
        assert decided.is_success, decided.text

        async def asked_for() -> int:
            (row,) = await deployment.fetch("SELECT count(*) FROM erasure_asks WHERE asked_at IS NOT NULL")
            return int(row["count"])

        connection = await deployment.connect()
        try:
            # The last is held fast: the others of its transaction are published, and not noted when the process dies.
            async with connection.transaction():
                await connection.execute("SELECT FROM erasure_asks ORDER BY subject DESC LIMIT 1 FOR UPDATE")
                await deployment.fetch("UPDATE approvals SET not_before = now()")

                async def is_stuck() -> bool:
                    waits = await deployment.fetch(
                        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%erasure_asks%'"
                        " AND datname = current_database()"
                    )
                    return bool(waits) and await asked_for() > 0

                await until(is_stuck, what="the process waits in the middle")
                process.kill9()
            assert 0 < await asked_for() < MANY
        finally:
            await connection.close()
        process.start()

        async def done() -> bool:
            rows = await deployment.fetch("SELECT FROM approvals WHERE done_at IS NOT NULL")
            left = await deployment.fetch("SELECT FROM subjects WHERE log IS NULL")
            return bool(rows) and not left

        await until(done, what="everybody is erased", deadline_s=40)
        erased = await deployment.fetch("SELECT count(*) AS n, count(DISTINCT subject) AS people FROM erasures")
        assert tuple(erased[0]) == (MANY, MANY)
