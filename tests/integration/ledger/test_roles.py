"""What each database role may do: nobody rewrites records, ingest and query see one controller at a time."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from services.postgres import controller_transaction, create_pool
from tests.support.databases import Database, run_sql
from tests.support.deployment import Deployment, consent_event

pytestmark = pytest.mark.integration

DENIED = asyncpg.InsufficientPrivilegeError

REWRITES = [
    "UPDATE records SET entry = 'x'",
    "DELETE FROM records",
    "TRUNCATE records",
    "UPDATE checkpoints SET note = 'x'",
    "DELETE FROM checkpoints",
    "DELETE FROM notices",
    "UPDATE notices SET content = 'x'",
    "DELETE FROM tiles",
    "TRUNCATE tiles",
    "UPDATE payloads SET what = 'x'",
    "UPDATE subjects SET subject = subject",
    "UPDATE cosignatures SET line = 'x'",
    "DELETE FROM timestamps",
    "UPDATE log_keys SET vkey = 'x'",
    "DELETE FROM erasures",
    "UPDATE erased_parts SET who = 0",
    "UPDATE logs SET origin = 'x'",
    "DELETE FROM dedupe",
]


OWNER_REWRITES = [
    "UPDATE records SET entry = 'x'",
    "DELETE FROM records",
    "TRUNCATE records CASCADE",
    "DELETE FROM checkpoints",
    "UPDATE tiles SET hashes = substr(hashes, 1, 32)",
    "UPDATE tiles SET hashes = set_byte(hashes, 0, 0) || set_byte(hashes, 1, 0)",
    "DELETE FROM tiles",
]


@pytest.fixture
async def recorded(database: Database, tmp_path: Path) -> Deployment:
    """A deployment with three records."""
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(3))
        await deployment.recorded(3)
    return deployment


@pytest.mark.parametrize("role", ["sayso_ledger", "sayso_ingest", "sayso_query"])
async def test_no_service_role_rewrites_history(recorded: Deployment, role: str) -> None:
    connection = await recorded.connect()
    try:
        await connection.execute(f"SET ROLE {role}")
        for statement in REWRITES:
            with pytest.raises(DENIED):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_triggers_refuse_even_the_owner(recorded: Deployment) -> None:
    connection = await recorded.connect()
    try:
        for statement in OWNER_REWRITES:
            with pytest.raises(DENIED, match=r"append-only|only grow"):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_an_unset_controller_sees_nothing_and_another_sees_its_own(recorded: Deployment) -> None:
    await asyncio.to_thread(
        run_sql,
        recorded.database.dsn(),
        "INSERT INTO controllers (name, legal_name, contact) VALUES ('other', 'Other', 'dpo@other.example')",
    )
    (other,) = await recorded.fetch("SELECT controller FROM controllers WHERE name = 'other'")
    tables = [
        "records",
        "payloads",
        "subjects",
        "identifiers",
        "dedupe",
        "consent_state",
        "tiles",
        "checkpoints",
        "logs",
    ]
    pool = await create_pool(recorded.database.dsn(), role="sayso_query", size=1, application="test")
    try:
        for table in tables:
            count = f"SELECT count(*) FROM {table}"
            assert await pool.fetchval(count) == 0
            async with controller_transaction(pool, other["controller"]) as connection:
                assert await connection.fetchval(count) == 0
            async with controller_transaction(pool, recorded.controller) as connection:
                assert await connection.fetchval(count) > 0
    finally:
        await pool.close()


async def test_ingest_cannot_write_another_controllers_inbox_nor_read_payloads(recorded: Deployment) -> None:
    insert = (
        "INSERT INTO inbox (controller, log, event_id, site, epoch, value)"
        " VALUES ($1, 'l', gen_random_uuid(), 's', '', '')"
    )
    pool = await create_pool(recorded.database.dsn(), role="sayso_ingest", size=1, application="test")
    try:
        with pytest.raises(DENIED, match="row-level security"):
            async with controller_transaction(pool, recorded.controller, readonly=False) as connection:
                await connection.execute(insert, recorded.controller + 1)
        for table in ("payloads", "records", "subjects", "identifiers", "site_keys", "access_keys"):
            with pytest.raises(DENIED):
                await pool.fetchval(f"SELECT count(*) FROM {table}")
    finally:
        await pool.close()
