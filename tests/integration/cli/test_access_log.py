"""The log that says who looked: made with a controller's first log, named by doctor where it lacks, and no site's."""

import os
from pathlib import Path

import pytest

import services.ledger
from schemas.errors import ConfigurationError
from services.cli import doctor, registry
from services.cli.admin import connect
from services.postgres import named_queries
from tests.integration.cli.test_commands import Run, fetch, run, site
from tests.support.databases import Database

__all__ = ("run", "site")

pytestmark = pytest.mark.integration

SUCCEED = named_queries(Path(services.ledger.__file__).parent / "sql" / "successor.sql")["succeed"]


async def test_it_comes_with_the_first_log_and_takes_no_site(run: Run, site: str, database: Database) -> None:
    """`run` and `site` are the fixtures of the other commands."""
    logs = await fetch(database, "SELECT name, origin, kind FROM logs ORDER BY log")
    assert [tuple(log) for log in logs] == [
        ("acme", "proof.acme.example/logs/acme", "consent"),
        ("acme-access", "proof.acme.example/logs/acme-access", "access"),
    ]
    done = run("controller", "open-access-log", "acme", "--log-host", "proof.acme.example")
    assert (done.returncode, "already" in done.stderr) == (os.EX_CONFIG, True)
    async with connect(database.dsn()) as connection:
        host = "proof.acme.example"
        await registry.create_site(connection, "b.acme.example", "acme", log="acme-b", log_host=host, origins=[])
        assert await fetch(database, "SELECT FROM logs WHERE kind = 'access' OFFSET 1") == []
        # Its place is no site: nothing can be posted to it, shown at it, or put beside it.
        with pytest.raises(ConfigurationError, match=r"no site acme\.access"):
            await registry.create_site_key(connection, "acme.access", "sk")
        with pytest.raises(ConfigurationError, match=r"no site acme\.access"):
            await registry.allow_origin(connection, "acme.access", "https://x.example")
        with pytest.raises(ConfigurationError, match="exists already"):
            await registry.create_site(connection, "c.example", "acme", log="acme-access", log_host=host, origins=[])
        assert await connection.fetchval("SELECT count(*) FROM sites") == 3


async def test_a_controller_from_before_is_told_to_make_it(database: Database) -> None:
    async with connect(database.dsn()) as connection:
        await registry.create_controller(connection, "acme", "Acme SA", "dpo@acme.example")
        assert await doctor.access_logs(connection) == [], "it has no log at all yet"
        await registry.create_site(connection, "a.example", "acme", log="acme", log_host="h.example:81", origins=[])
        await connection.execute("DELETE FROM sites WHERE name = 'acme.access'")
        await connection.execute("DELETE FROM logs WHERE kind = 'access'")
        (finding,) = await doctor.access_logs(connection)
        assert "sayso controller open-access-log acme" in finding.line()
        # `sayso up` makes it by itself, where the controller's first log is.
        await registry.open_missing_access_logs(connection)
        assert await doctor.access_logs(connection) == []
        origin = await connection.fetchval("SELECT origin FROM logs WHERE kind = 'access'")
        assert origin == "h.example:81/logs/acme-access"


async def test_a_name_that_is_taken_can_be_another(database: Database) -> None:
    async with connect(database.dsn()) as connection:
        for name in ("acme", "acme-access"):
            await registry.create_controller(connection, name, name, "dpo@acme.example")
        await registry.create_site(
            connection, "a.example", "acme-access", log="acme-access", log_host="h.example", origins=[]
        )
        with pytest.raises(ConfigurationError, match="open-access-log acme --log-host HOST --log NAME"):
            await registry.create_site(connection, "b.example", "acme", log="acme", log_host="h.example", origins=[])
        assert await registry.open_access_log(connection, "acme", "h.example", "acme-looks") == "acme-looks"
        await registry.create_site(connection, "b.example", "acme", log="acme", log_host="h.example", origins=[])


async def test_its_successor_is_one_as_well(database: Database) -> None:
    """By the statement that `sayso log succeed` runs."""
    async with connect(database.dsn()) as connection:
        await registry.create_controller(connection, "acme", "Acme SA", "dpo@acme.example")
        site = await registry.create_site(connection, "a.example", "acme", log="acme", log_host="h.example", origins=[])
        log = await connection.fetchval("SELECT log FROM logs WHERE kind = 'access'")
        await connection.execute(SUCCEED, site.controller, log, "acme-access-2", "h.example/logs/2", 0, bytes(32))
        rows = await connection.fetch("SELECT name, kind, closed_at IS NULL AS is_open FROM logs ORDER BY log")
        assert [tuple(row) for row in rows] == [
            ("acme", "consent", True),
            ("acme-access", "access", False),
            ("acme-access-2", "access", True),
        ]
        place = "SELECT l.name FROM sites s JOIN logs l USING (controller, log) WHERE s.name = 'acme.access'"
        assert await connection.fetchval(place) == "acme-access-2"
