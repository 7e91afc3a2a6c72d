"""Dumps of a test's database, played by database templates: a copy that later takes the database's place."""

from tests.support.databases import Database, run_sql


def take_dump(database: Database) -> str:
    """Keep the database as it is now under another name."""
    dump = f"{database.name}_dump"
    run_sql(
        database.server.dsn(),
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'",
        f'CREATE DATABASE "{dump}" TEMPLATE "{database.name}"',
    )
    return dump


def restore(database: Database, dump: str) -> None:
    """Put the kept state where the database was; whoever is connected loses the connection, as in real life."""
    run_sql(
        database.server.dsn(),
        f'DROP DATABASE "{database.name}" WITH (FORCE)',
        f'CREATE DATABASE "{database.name}" TEMPLATE "{dump}"',
        f'DROP DATABASE "{dump}"',
    )
