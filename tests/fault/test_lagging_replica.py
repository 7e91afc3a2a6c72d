"""The primary dies and a replica that lags is promoted: two ledgers halt, and no size ever gets a second root.

Goal: a failover that loses signed records is noticed by every ledger. Method: a real streaming replica whose cable is
cut before the last records; two ledger processes follow the promoted replica through a proxy.
"""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from services.ledger.migrate import migrate
from tests.conftest import ROLES
from tests.support.databases import Database, create_database, run_sql
from tests.support.deployment import Deployment, consent_event
from tests.support.postgres import PostgresCluster
from tests.support.processes import ServiceProcess
from tests.support.proxy import CableProxy
from tests.support.replica import Replica
from tests.support.wait import until

pytestmark = pytest.mark.fault


class Behind:
    """A server as the ledgers see it: through a proxy that is pointed at another one after the failover."""

    def __init__(self, server: PostgresCluster, port: int) -> None:
        self.server = server
        self._port = port

    def dsn(self, dbname: str = "postgres", user: str | None = None, *, port: int | None = None) -> str:
        return self.server.dsn(dbname, user, port=port or self._port)


async def test_a_promoted_replica_that_lags_is_neither_recorded_to_nor_signed(tmp_path: Path) -> None:
    primary = PostgresCluster()
    await asyncio.to_thread(primary.start)
    try:
        run_sql(primary.dsn(), ROLES.read_text())
        database = create_database(primary, owner="sayso_owner")
        await migrate(database.dsn())
        async with CableProxy((primary.host, primary.port)) as feed, CableProxy((primary.host, primary.port)) as front:
            replica = Replica(primary, feed_port=feed.port)
            try:
                await asyncio.to_thread(replica.start)
                await _fail_over(Database(Behind(primary, front.port), database.name), (feed, front), replica, tmp_path)
            finally:
                await asyncio.to_thread(replica.destroy)
    finally:
        await asyncio.to_thread(primary.destroy)


async def _fail_over(
    database: Database, cables: tuple[CableProxy, CableProxy], replica: Replica, directory: Path
) -> None:
    feed, front = cables
    deployment = Deployment(database, directory)
    await deployment.create()
    environment = deployment.ledger_environment()
    ledgers = [ServiceProcess("ledger", environment, directory / f"ledger-{n}.log") for n in range(2)]
    try:
        for ledger in ledgers:
            ledger.start()
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(5))
        await deployment.recorded(5)
        await until(lambda: _has(replica, database.name, 5), what="the replica has caught up")
        await feed.cut()
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(5, 9))
        await deployment.recorded(9)
        signed = await deployment.fetch("SELECT size, root FROM checkpoints ORDER BY size")
        await front.cut()
        await asyncio.to_thread(replica.promote)
        front.target = (replica.host, replica.port)
        await front.resume()
        # Other events than before: recording them would give size 6 a second root.
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(50, 54))
        for ledger in ledgers:
            await until(lambda: _says_halted(ledger.log), deadline_s=40, what="the ledger halts")
            assert ledger.alive
        assert await deployment.size() == 5
        after = await deployment.fetch("SELECT size, root FROM checkpoints ORDER BY size")
        assert [tuple(row) for row in after] == [tuple(row) for row in signed if row["size"] <= 5]
        assert len(await deployment.fetch("SELECT FROM inbox")) == 4
    finally:
        for ledger in ledgers:
            ledger.stop()


async def _has(replica: Replica, database: str, size: int) -> bool:
    connection = await asyncpg.connect(replica.dsn(database))
    try:
        return bool(await connection.fetchval("SELECT max(size) FROM checkpoints") == size)
    finally:
        await connection.close()


def _says_halted(log: Path) -> bool:
    text = log.read_text(encoding="utf-8")
    return "The ledger has halted" in text and "was signed at size 9" in text
