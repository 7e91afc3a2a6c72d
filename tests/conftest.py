"""Fixtures every test may ask for: real servers, a database and a topic of one's own.

Invariant: no SAYSO_* setting of the machine reaches a test, but for SAYSO_TEST_*.
"""

import os

for _name in [name for name in os.environ if name.startswith("SAYSO_") and not name.startswith("SAYSO_TEST_")]:
    # Before anything of ours is imported: settings read the environment.
    del os.environ[_name]

# ruff: noqa: E402 - the imports below must see the scrubbed environment
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import Database, SchemaTemplate, create_database, drop_database, run_sql
from tests.support.go_programs import begin_building, remove_builds, share_builds
from tests.support.kafka import KafkaServer, KillableKafka, make_topic, own_kafka, shared_kafka
from tests.support.postgres import KillablePostgres, PostgresServer, own_postgres, shared_postgres
from tests.support.tsa import TimestampAuthority

ROLES = Path(__file__).resolve().parents[1] / "deploy" / "postgres" / "roles.sql"


def pytest_configure(config: pytest.Config) -> None:
    """With -n, the processes that run tests share the Go programs of the one that hands them out."""
    if not hasattr(config, "workerinput"):
        share_builds()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin with what takes longest and needs nobody: a run of the interop tests needs every Go program."""
    is_first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    if is_first and any("interop" in item.keywords for item in session.items) and not session.config.option.collectonly:
        begin_building()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        remove_builds()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's Postgres. Never kill it: `killable_postgres` is for that."""
    server, end = shared_postgres()
    yield server
    end()


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[Database]:
    """A database of this test's own with nothing in it."""
    database = create_database(postgres_server)
    yield database
    drop_database(database)


@pytest.fixture(scope="session")
def schema_template(postgres_server: PostgresServer) -> Iterator[SchemaTemplate]:
    """The schema as an operator makes it: the roles once, a database of their owner's, the migrations."""
    from services.ledger.migrate import migrate

    run_sql(postgres_server.dsn(), ROLES.read_text())
    template = SchemaTemplate(postgres_server, migrate, owner="sayso_owner")
    yield template
    template.close()


@pytest.fixture
def database(schema_template: SchemaTemplate) -> Iterator[Database]:
    """A database of this test's own with the schema and no rows."""
    database = schema_template.clone()
    yield database
    drop_database(database)


@pytest.fixture
def killable_postgres() -> Iterator[KillablePostgres]:
    """A started Postgres of this test's own."""
    server, end = own_postgres()
    yield server
    end()


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    """The session's broker. Never kill it: `killable_kafka` is for that."""
    server, end = shared_kafka()
    yield server
    end()


@pytest.fixture
def topic(kafka_server: KafkaServer) -> str:
    """A topic of this test's own, with one partition."""
    return make_topic(kafka_server.bootstrap)


@pytest.fixture
def killable_kafka() -> Iterator[KillableKafka]:
    """A started broker of this test's own."""
    broker, end = own_kafka()
    yield broker
    end()


@pytest.fixture(scope="session")
def timestamp_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimestampAuthority]:
    """The session's timestamp authority, served over HTTP. Make one of your own to have it misbehave."""
    with TimestampAuthority(tmp_path_factory.mktemp("timestamp-authority")).served() as authority:
        yield authority
