"""schema.sql is the truth, the numbered files are the path to it: both must reach the same database."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from schemas.errors import ConfigurationError
from services.ledger import migrate as module
from services.ledger.migrate import MIGRATIONS, migrate, migrations, pending
from tests.support.databases import Database, SchemaTemplate, create_database, drop_database, run_sql

pytestmark = pytest.mark.migration

SCHEMA = MIGRATIONS.parent / "schema.sql"

# Everything about the schema that a migration could get wrong, as text.
CATALOG = """
SELECT 'column', table_name, column_name, data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
    || ' ' || coalesce(is_identity, '') FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'function', proname, proowner::regrole::text,
    pg_get_functiondef(oid) || coalesce(array_to_string(proacl, ','), '')
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger
    WHERE NOT tgisinternal
UNION ALL SELECT 'policy', tablename, policyname, coalesce(qual, '') FROM pg_policies
UNION ALL SELECT 'security', relname, relrowsecurity::text,
    coalesce(array_to_string(ARRAY(SELECT unnest(relacl)::text ORDER BY 1), ','), '')
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
UNION ALL SELECT 'column grant', attrelid::regclass::text, attname, attacl::text FROM pg_attribute
    WHERE attacl IS NOT NULL AND attrelid::regclass::text !~ '^(pg_|information_schema)'
ORDER BY 1, 2, 3, 4
"""


async def catalog(dsn: str) -> list[tuple[str, ...]]:
    """The schema of a database, without the table that records the migrations."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(CATALOG)
    finally:
        await connection.close()
    return [tuple(row) for row in rows if row[1] != "schema_migrations"]


async def test_the_migrations_reach_the_schema(schema_template: SchemaTemplate, database: Database) -> None:
    direct = await asyncio.to_thread(create_database, database.server, owner="sayso_owner")
    try:
        await asyncio.to_thread(run_sql, direct.dsn(), f"SET ROLE sayso_owner; {SCHEMA.read_text(encoding='utf-8')}")
        expected = await catalog(direct.dsn())
        assert len(expected) > 100
        assert await catalog(database.dsn()) == expected
    finally:
        await asyncio.to_thread(drop_database, direct)


async def test_applying_twice_changes_nothing(database: Database) -> None:
    before = await catalog(database.dsn())
    assert await migrate(database.dsn()) == []
    assert await catalog(database.dsn()) == before
    connection = await asyncpg.connect(database.dsn())
    try:
        assert await pending(connection) == []
    finally:
        await connection.close()


async def test_two_runners_at_once_apply_each_file_once(schema_template: SchemaTemplate, database: Database) -> None:
    fresh = await asyncio.to_thread(create_database, database.server, owner="sayso_owner")
    try:
        applied = await asyncio.gather(migrate(fresh.dsn()), migrate(fresh.dsn()))
        assert sorted(applied, key=len) == [[], [m.name for m in migrations()]]
    finally:
        await asyncio.to_thread(drop_database, fresh)


async def test_a_changed_file_is_refused(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in MIGRATIONS.iterdir():
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8") + "\n-- edited", encoding="utf-8")
    edited = migrations(tmp_path)
    monkeypatch.setattr(module, "migrations", lambda: edited)
    with pytest.raises(ConfigurationError, match="differs"):
        await migrate(database.dsn())


def test_a_gap_or_a_name_outside_the_grammar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0002_second.sql").write_text("SELECT 1", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="next number"):
        migrations(tmp_path)
