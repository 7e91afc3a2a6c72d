"""Unmodified third-party clients accept a mirrored log from a plain static server, with Postgres killed."""

import asyncio
from pathlib import Path

import pytest

from services.cli.publish.run import run_publish
from services.ledger.migrate import migrate
from tests.conftest import ROLES
from tests.interop.third_party import check_with_third_party_clients
from tests.support.databases import SchemaTemplate, run_sql
from tests.support.log_files import served
from tests.support.postgres import KillablePostgres
from tests.support.rows import World

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

# Empty; a partial tile; its full tile with a second level; three tiles; and one with a third level.
SIZES = (0, 255, 256, 600, 70_000)


async def test_third_party_clients_accept_a_mirror_without_us(
    killable_postgres: KillablePostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sql(killable_postgres.dsn(), ROLES.read_text())
    database = SchemaTemplate(killable_postgres, migrate, owner="sayso_owner").clone()
    monkeypatch.setenv("SAYSO_DATABASE_URL", database.dsn())
    shop = await World(database, tmp_path / "keys").controller("shop")
    mirrors = tmp_path / "mirrors"
    for size in SIZES:
        await shop.fill(size - len(shop.entries))
        if size:
            await shop.publish()
        # One mirror that grows with the log, and a copy made at once of every smaller size.
        for name in ("grown", f"at-{size}")[: 1 if size == SIZES[-1] else 2]:
            await run_publish("shop", str(mirrors / name), follow=False)
    killable_postgres.kill9()
    with served(mirrors) as url:
        for size in SIZES[:-1]:
            report = await asyncio.to_thread(
                check_with_third_party_clients, f"{url}/at-{size}", shop.origin, shop.vkey, size
            )
            assert "all tiles and entries verified" in report
        await asyncio.to_thread(check_with_third_party_clients, f"{url}/grown", shop.origin, shop.vkey, SIZES[-1])
