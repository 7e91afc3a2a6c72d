"""A ledger whose process is silent in the middle of its transaction does not keep the others out.

Goal: the locks come free within seconds in both ways a session can hang: idle, and waiting for rows of a COPY, which
no timeout of Postgres ends. Method: a session that looks like a ledger's takes the head and then says nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from services.ledger.recorder import APPLICATION, STALLED_S
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event

pytestmark = pytest.mark.fault

RELEASED_S = 3 * STALLED_S


@asynccontextmanager
async def silent_ledger(deployment: Deployment, *, in_copy: bool) -> AsyncIterator[None]:
    """Hold the head of the log; with `in_copy`, Postgres waits for rows that never come."""
    connection = await asyncpg.connect(
        deployment.database.dsn(),
        server_settings={"application_name": APPLICATION, "idle_in_transaction_session_timeout": f"{STALLED_S}s"},
    )
    copying, never = asyncio.Event(), asyncio.Event()

    async def no_rows() -> AsyncIterator[bytes]:
        copying.set()
        await never.wait()
        yield b""

    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT FROM log_heads FOR UPDATE")
    copy = None
    if in_copy:
        copy = asyncio.create_task(connection.copy_to_table("records", source=no_rows()))
        await copying.wait()
    try:
        yield
    finally:
        never.set()
        if copy is not None:
            await asyncio.gather(copy, return_exceptions=True)
        connection.terminate()


@pytest.mark.timeout(90)
@pytest.mark.parametrize("in_copy", [True, False], ids=["in a COPY", "idle"])
async def test_the_other_ledger_goes_on(database: Database, tmp_path: Path, *, in_copy: bool) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        await deployment.recorded(0)
        async with silent_ledger(deployment, in_copy=in_copy):
            await deployment.publish([deployment.seal(consent_event(1))])
            await deployment.recorded(1, deadline_s=RELEASED_S)
