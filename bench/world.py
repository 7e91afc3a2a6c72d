"""The real parts: one Kafka node, one Postgres, and for each measurement a fresh deployment with its services.

Rows and keys are made as tests/support makes them; the services run as `python -m services.NAME` with real settings.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg

from bench.children import REPOSITORY, Child
from bench.machine import Tree
from bench.workload import PURPOSES, SITE, Events, Notice, seal
from deploy.kafka.node import KafkaNode, free_port, resolve_jars
from deploy.kafka.topics import TopicSettings, create_topics, load_topics
from schemas.notices import notice_bytes, notice_hash
from schemas.topics import EVENTS_TOPIC
from services.ingest.notices import NoticeTokens
from services.keys import make_secret, signing_key
from services.ledger.migrate import migrate
from services.stream.kafka_publisher import KafkaPublisher
from tests.support import postgres
from tests.support.databases import Database, SchemaTemplate, drop_database, run_sql
from tests.support.deployment import Deployment
from tests.support.rows import notice_content

ROLES: Final = REPOSITORY / "deploy" / "postgres" / "roles.sql"
SITE_KEY: Final = "pk_" + "b" * 24
ORIGIN: Final = "https://shop.example"
# A small server instead of a test's tiny one; durability stays as it is. Commit times are what row 4 reads.
SERVER_SETTINGS: Final = {"shared_buffers": "256MB", "max_wal_size": "4GB", "track_commit_timestamp": "on"}
SEALED_AT_ONCE: Final = 500
_WITHOUT_END: Final = ("PER_S", "BURST", "NETWORK_PER_S", "NETWORK_BURST", "UNCONFIRMED_PER_S", "UNCONFIRMED_BURST")


class World:
    """Servers that live as long as the run; `topic_of` and `deployment` give each measurement its own."""

    def __init__(self, directory: Path, kafka: KafkaNode, server: postgres.PostgresCluster) -> None:
        self.directory = directory
        self.kafka = kafka
        self.server = server
        run_sql(server.dsn(), ROLES.read_text(encoding="utf-8"))
        self._template = SchemaTemplate(server, migrate, owner="sayso_owner")
        self.keys = directory / "deployment"

    @property
    def postgres(self) -> Tree:
        assert self.server.pid is not None
        return Tree(self.server.pid)

    def versions(self) -> dict[str, str]:
        """Of the servers."""
        (jar,) = resolve_jars().glob("kafka-clients-*.jar")
        return {"kafka": jar.stem.removeprefix("kafka-clients-"), "postgres": asyncio.run(_version(self.server.dsn()))}

    @contextmanager
    def database(self) -> Iterator[Database]:
        """A fresh database with the schema."""
        database = self._template.clone()
        try:
            yield database
        finally:
            drop_database(database)

    @contextmanager
    def deployment(self) -> Iterator["BenchDeployment"]:
        """A fresh database with a controller, a log, a site, its key and its notice; the key files are shared."""
        with self.database() as database:
            deployment = BenchDeployment(database, self)
            asyncio.run(deployment.create_all())
            yield deployment

    async def make_topic(self) -> str:
        """A new topic with the settings of deploy/kafka/topics.yaml."""
        (events,) = (topic for topic in load_topics() if topic.name == EVENTS_TOPIC)
        name = f"bench.{time.monotonic_ns()}"
        await create_topics(self.kafka.bootstrap, [TopicSettings(name, events.partitions, events.config)])
        return name


async def _version(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()


@contextmanager
def running_world() -> Iterator[World]:
    """Start Kafka and Postgres in a folder of their own; stop both and remove it."""
    # mkdtemp makes 0700, which an unprivileged Postgres could not enter; its cluster makes a folder of its own.
    directory = Path(tempfile.mkdtemp(prefix="sayso-bench-"))
    postgres.SETTINGS.update(SERVER_SETTINGS)
    server = postgres.PostgresCluster()
    try:
        with KafkaNode(directory / "kafka") as kafka:
            asyncio.run(create_topics(kafka.bootstrap, load_topics()))
            server.start()
            yield World(directory, kafka, server)
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


class BenchDeployment(Deployment):
    """One controller in a fresh database, and its services as processes."""

    def __init__(self, database: Database, world: World) -> None:
        super().__init__(database, world.keys)
        make_secret(self.keys / "ingest" / "notices.key")
        make_secret(self.keys / "capabilities.key")
        self.world = world
        self.notice: Notice

    async def create_all(self) -> None:
        """Everything an operator sets up before the services start."""
        await self.create()
        purpose = notice_content()["purposes"][0]
        content = notice_bytes(notice_content(purposes=[purpose | {"purpose": name} for name in PURPOSES]))
        sha256 = notice_hash(content)
        connection = await self.connect()
        try:
            await connection.execute(
                "INSERT INTO sealing_keys (sealing_key, public_key) VALUES (substr(sha256($1), 1, 8), $1)",
                self.sealing_public.public_bytes_raw(),
            )
            await connection.execute("UPDATE sites SET origins = $1", [ORIGIN])
            await connection.execute(
                "INSERT INTO site_keys (controller, site_key, site, kind) SELECT controller, $1, site, 'pk' FROM sites",
                SITE_KEY,
            )
            await connection.execute(
                "INSERT INTO notices (controller, notice, site, language, content)"
                " SELECT controller, $1, site, 'fr', $2 FROM sites",
                sha256,
                content,
            )
        finally:
            await connection.close()
        tokens = NoticeTokens(signing_key(self.keys / "ingest" / "notices.key"))
        self.notice = Notice(sha256.hex(), tokens.issue(SITE, sha256.hex(), int(time.time())).token)

    def ledger_process(self, topic: str) -> Child:
        """A ledger on a topic; it has a high-water directory of its own, as the database is a new one."""
        environment = self.ledger_environment(
            SAYSO_STREAM=f"kafka://{self.world.kafka.bootstrap}",
            SAYSO_EVENTS_TOPIC=topic,
            SAYSO_HIGH_WATER_DIR=str(self.world.directory / f"high-water-{self.database.name}"),
        )
        # Its default: how often it signs is part of what it costs.
        del environment["SAYSO_CHECKPOINT_INTERVAL_MS"]
        return Child("services.ledger", self.world.directory, environment=environment)

    @contextmanager
    def ingest(self, topic: str) -> Iterator[tuple[Child, int]]:
        """A running ingest and its port."""
        port = free_port()
        environment = {
            "SAYSO_DATABASE_URL": self.database.dsn(),
            "SAYSO_STREAM": f"kafka://{self.world.kafka.bootstrap}",
            "SAYSO_EVENTS_TOPIC": topic,
            "SAYSO_EVENT_ID_KEY_FILE": str(self.keys / "event-ids.key"),
            "SAYSO_EPOCH_KEY_FILE": str(self.keys / "ingest" / "epochs.key"),
            "SAYSO_CAPABILITY_KEY_FILE": str(self.keys / "capabilities.key"),
            "SAYSO_NOTICE_KEY_FILE": str(self.keys / "ingest" / "notices.key"),
            "SAYSO_SUPPRESSION_DIR": str(self.directory / "suppression"),
            "SAYSO_INGEST_PORT": str(port),
            # The limits are asked at every request, and stop none of the load, which has one address.
            **{f"SAYSO_RATE_LIMIT_{name}": "1000000" for name in _WITHOUT_END},
        }
        with Child("services.ingest", self.world.directory, environment=environment) as child:
            # uvicorn listens once the application has started.
            child.listens(port)
            yield child, port

    async def fill(self, topic: str, events: Events, count: int) -> None:
        """Put sealed messages into a topic, as ingest would."""
        publisher = KafkaPublisher(self.world.kafka.bootstrap, topic=topic, timeout_s=30)
        await publisher.start()
        try:
            for start in range(0, count, SEALED_AT_ONCE):
                most = min(SEALED_AT_ONCE, count - start)
                now_us = time.time_ns() // 1000
                await publisher.publish([seal(next(events), self.epoch, self.controller, now_us) for _ in range(most)])
        finally:
            await publisher.stop()
