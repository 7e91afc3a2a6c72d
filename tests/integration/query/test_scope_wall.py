"""The second wall around a regulator's grant: row-level security shows nobody else, whatever the statement says.

It holds against a mistake in our statements and against the first wall (services.query.grants.scope) being gone. Who
may run statements of their own as sayso_query can name another scope, as they can another controller.
"""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest

from services.postgres import Pool, controller_transaction, create_pool
from tests.integration.query.roles import NOWHERE
from tests.support.deployment import BASE_TIME, consent_event
from tests.support.rows import Controller, Person, Recorded, World

pytestmark = pytest.mark.integration

# Rows of one subject; of `links` its weaker side.
OF_SUBJECTS = (
    *("subjects", "identifiers", "payloads", "consent_state", "requests", "restrictions", "erasures", "holds"),
    *("triggers", "account_deletions", "ages"),
)
# Rows of people that do not say whose they are.
OF_NOBODY = (
    *("dockets", "minimal_proofs", "dead_letters", "tombstones", "suppressed_objections", "held_erasures"),
    *("request_steps", "approvals", "deliveries", "exports", "people", "sessions", "access_keys"),
)
ROWS = """
INSERT INTO requests (controller, request, asked_for, state, subject, site, received_on, received_at, due_on, steps)
VALUES ($1, $3, 'access', 'received', $2, 'shop.example', now(), now(), now(), 1);
INSERT INTO restrictions (controller, subject, since, event) VALUES ($1, $2, now(), uuid_send($3));
INSERT INTO erasures (controller, number, subject, ground, erased_at)
SELECT $1, count(*) + 1, $2, '17(1)(b)', now() FROM erasures;
INSERT INTO holds (controller, hold, event, subject, ground, case_reference, placed_at, review_on, expires_at)
VALUES ($1, $3, uuid_send($3), $2, 'order', 'x', now(), now(), now());
INSERT INTO triggers (controller, trigger, subject, system, action, cause, made_at, due_at)
VALUES ($1, $3, $2, 'crm', 'erase', $3::text, now(), now());
INSERT INTO account_deletions (controller, subject, event, deleted_at) VALUES ($1, $2, uuid_send($3), now());
INSERT INTO ages (controller, subject, event, is_over, stated_at) VALUES ($1, $2, uuid_send($3), true, now());
"""


@pytest.fixture
async def pool(world: World) -> AsyncIterator[Pool]:
    """One connection, so that what a transaction leaves behind would meet the next."""
    made = await create_pool(world.database.dsn(), role="sayso_query", size=1, application="test")
    try:
        yield made
    finally:
        await made.close()


async def settle(shop: Controller, number: int) -> tuple[Person, Recorded]:
    """A person with a row in every table that a scope walls."""
    person = await shop.person("email", f"p{number}@example.com")
    record = await shop.record(person, consent_event(number), BASE_TIME)
    connection = await shop.world.connect()
    try:
        for statement in ROWS.strip().split(";\n"):
            # Not each names them all.
            values = f"WITH v AS (SELECT $1::integer, $2::uuid, $3::uuid) {statement.rstrip(';')}"
            await connection.execute(values, shop.controller, person.subject, uuid4())
    finally:
        await connection.close()
    return person, record


async def test_a_scope_hides_everybody_else_in_every_table(shop: Controller, pool: Pool) -> None:
    (mine, _), (other, _) = await settle(shop, 1), await settle(shop, 2)
    async with controller_transaction(pool, shop.controller, subjects=[mine.subject]) as connection:
        for table in OF_SUBJECTS:
            found = {row["subject"] for row in await connection.fetch(f"SELECT subject FROM {table}")}
            assert found == {mine.subject}, table
        assert await connection.fetchval("SELECT count(*) FROM payloads WHERE subject = $1", other.subject) == 0
        joined = "SELECT count(*) FROM dedupe d JOIN payloads p ON p.log = d.log AND p.index = d.index"
        assert await connection.fetchval(joined) == 1
        # A condition of ours is not run on a hidden row: nothing shows by the error that it would raise.
        probe = "SELECT 1 / (CASE WHEN subject = $1 THEN 0 ELSE 1 END) FROM payloads"
        assert [row[0] for row in await connection.fetch(probe, other.subject)] == [1]
    # The next transaction on the same connection is somebody else's.
    async with controller_transaction(pool, shop.controller) as connection:
        assert await connection.fetchval("SELECT count(DISTINCT subject) FROM payloads") == 2
    async with controller_transaction(pool, shop.controller, subjects=[]) as connection:
        for table in OF_SUBJECTS:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_what_does_not_say_whose_it_is_is_hidden_whole(world: World, shop: Controller, pool: Pool) -> None:
    (mine, _), (other, _) = await settle(shop, 1), await settle(shop, 2)
    stranger = uuid4()
    for strong, weak in ((mine.subject, stranger), (stranger, mine.subject), (other.subject, stranger)):
        await world.execute(
            "INSERT INTO links (controller, event, nth, strong, weak, state, acted_at)"
            " VALUES ($1, uuid_send($2), 0, $3, $4, 'linked', now())",
            shop.controller,
            uuid4(),
            strong,
            weak,
        )
    await world.execute(
        "INSERT INTO dead_letters (controller, reason, transport, partition, seq, value)"
        " VALUES ($1, 'id-conflict', 'inbox', 0, 1, '')",
        shop.controller,
    )
    await shop.access_key("dpo")
    async with controller_transaction(pool, shop.controller, subjects=[mine.subject]) as connection:
        links = await connection.fetch("SELECT strong, weak FROM links")
        assert {mine.subject} < {side for row in links for side in row} <= {mine.subject, stranger}
        for table in ("dead_letters", "access_keys"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    async with controller_transaction(pool, shop.controller) as connection:
        assert await connection.fetchval("SELECT count(*) FROM links") == 3
        assert await connection.fetchval("SELECT count(*) FROM dead_letters") == 1


async def test_every_table_that_names_a_subject_has_the_wall(world: World) -> None:
    """Also one that somebody adds one day."""
    connection = await world.connect()
    try:
        columns = await connection.fetch(
            "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name = 'subject' AND udt_name = 'uuid'"
        )
        policies = await connection.fetch(
            "SELECT tablename FROM pg_policies WHERE policyname = 'in_scope' AND permissive = 'RESTRICTIVE'"
        )
    finally:
        await connection.close()
    walled = {row["tablename"] for row in policies}
    assert {row["table_name"] for row in columns} <= walled
    assert set(OF_SUBJECTS) | set(OF_NOBODY) | {"links"} <= walled


ATTACKS = (
    "SET row_security = off; SELECT * FROM payloads",
    "ALTER TABLE payloads DISABLE ROW LEVEL SECURITY",
    "DROP POLICY in_scope ON payloads",
    "CREATE OR REPLACE FUNCTION is_in_scope(wanted uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "UPDATE payloads SET subject = subject",
    "COPY payloads TO '/tmp/payloads'",
    "SET ROLE sayso_owner",
    "SET ROLE sayso_ledger",
)


async def test_the_wall_is_not_the_services_to_take_down(world: World, shop: Controller) -> None:
    """As the service's own login would try: it has the role sayso_query and nothing above it."""
    (mine, _), _ = await settle(shop, 1), await settle(shop, 2)
    login = f"attacker_{uuid4().hex[:8]}"
    await world.execute(f"CREATE ROLE {login} LOGIN IN ROLE sayso_query")
    connection = await world.connect()
    try:
        await connection.execute(f"SET SESSION AUTHORIZATION {login}")
        await connection.execute("SELECT set_config('sayso.controller', $1, false)", str(shop.controller))
        await connection.execute("SELECT set_config('sayso.subjects', $1, false)", f"{{{mine.subject}}}")
        for attack in ATTACKS:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(attack)
            await connection.execute("RESET row_security")
            assert await connection.fetchval("SELECT count(*) FROM payloads") == 1, attack
    finally:
        await connection.close()
        await world.execute(f"DROP ROLE {login}")


def answers(subject: UUID | str, event: str) -> list[tuple[str, dict[str, str]]]:
    """Everything that a regulator may ask about a person."""
    return [
        (f"/v1/subjects/{subject}/consents", {}),
        (f"/v1/subjects/{subject}/consents", {"at": "2026-11-02T00:00:00Z"}),
        (f"/v1/subjects/{subject}/status", {"purpose": "chat-history"}),
        (f"/v1/subjects/{subject}/history", {}),
        (f"/v1/subjects/{subject}/proof", {}),
        (f"/v1/events/{event}/proof", {}),
        (f"/v1/events/{event}/receipt", {}),
    ]


@pytest.mark.parametrize("gone", ["neither", "first", "second"])
async def test_each_wall_holds_with_the_other_gone(
    world: World, client: httpx2.AsyncClient, shop: Controller, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    inside, outside = await shop.person("email", "in@example.com"), await shop.person("email", "out@example.com")
    shown = await shop.record(inside, consent_event(1), BASE_TIME)
    hidden = await shop.record(outside, consent_event(2), BASE_TIME)
    await shop.describe()
    await shop.publish()

    def nothing(*_: Any) -> None:
        return None

    for module in ("decisions", "proofs", "bundles.bundles") if gone == "first" else ():
        monkeypatch.setattr(f"services.query.{module}.require_subject", nothing)
    for table in (*OF_SUBJECTS, *OF_NOBODY, "links") if gone == "second" else ():
        await world.execute(f"DROP POLICY in_scope ON {table}")
    key = await shop.access_key("auditor", grant=await shop.grant(subjects=[inside.subject]))
    headers = {"authorization": f"Bearer {key}"}
    for accept in ("application/json", "application/zip"):
        headers["accept"] = f"{accept}, */*;q=0.1"
        asked = zip(answers(outside.subject, hidden.event), answers(NOWHERE, NOWHERE), strict=True)
        for (path, params), (nowhere, _) in asked:
            response = await client.get(path, params=params, headers=headers)
            missing = await client.get(nowhere, params=params, headers=headers)
            assert (response.status_code, response.text) == (404, missing.text), path
        for path, params in answers(inside.subject, shown.event)[:-1]:
            assert (await client.get(path, params=params, headers=headers)).status_code == 200, path
