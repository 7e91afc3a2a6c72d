"""The test servers keep what they promise, whichever path they come by; every other test leans on this."""

import asyncio
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from deploy.kafka.topics import load_topics
from schemas.topics import EVENTS_TOPIC, RECORDS_TOPIC, TRIGGERS_TOPIC
from tests.support.databases import Database, SchemaTemplate, drop_database
from tests.support.kafka import KafkaServer, KillableKafka, make_topic
from tests.support.postgres import KillablePostgres, PostgresServer
from tests.support.proxy import CableProxy
from tests.support.wait import until

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.contract


async def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none", enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    await consumer.start()
    try:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        return [(await asyncio.wait_for(consumer.getone(), 20)).value or b"" for _ in range(count)]
    finally:
        await consumer.stop()


async def test_postgres_answers_and_keeps_fsync(postgres_server: PostgresServer, empty_database: Database) -> None:
    connection = await asyncpg.connect(empty_database.dsn())
    try:
        settings = [await connection.fetchval(f"SHOW {name}") for name in ("fsync", "full_page_writes")]
        await connection.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (41), (1)")
        assert await connection.fetchval("SELECT sum(n) FROM t") == 42
    finally:
        await connection.close()
    assert settings == ["on", "on"]
    print(f"postgres: {postgres_server.kind}")


async def test_a_role_logs_in_without_a_password(postgres_server: PostgresServer, empty_database: Database) -> None:
    connection = await asyncpg.connect(empty_database.dsn())
    await connection.execute("DROP ROLE IF EXISTS smoke_role")
    await connection.execute("CREATE ROLE smoke_role LOGIN")
    try:
        other = await asyncpg.connect(empty_database.dsn("smoke_role"))
        assert await other.fetchval("SELECT current_user") == "smoke_role"
        await other.close()
    finally:
        await connection.execute("DROP ROLE smoke_role")
        await connection.close()


async def test_each_clone_starts_from_the_template(postgres_server: PostgresServer) -> None:
    async def apply(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE t (n int)")
        await connection.close()

    template = SchemaTemplate(postgres_server, apply)
    first, second = template.clone(), template.clone()
    try:
        connection = await asyncpg.connect(first.dsn())
        await connection.execute("INSERT INTO t VALUES (1)")
        await connection.close()
        connection = await asyncpg.connect(second.dsn())
        assert await connection.fetchval("SELECT count(*) FROM t") == 0
        # Left open on purpose: a test that fails in the middle must not keep its database from being dropped.
        drop_database(second)
        connection.terminate()
    finally:
        drop_database(first)
        template.close()


async def test_postgres_survives_a_kill(killable_postgres: KillablePostgres) -> None:
    connection = await asyncpg.connect(killable_postgres.dsn())
    await connection.execute("CREATE TABLE t (n int)")
    await connection.execute("INSERT INTO t VALUES (7)")
    await asyncio.to_thread(killable_postgres.kill9)
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await asyncpg.connect(killable_postgres.dsn(), timeout=2)
    connection.terminate()
    await asyncio.to_thread(killable_postgres.restart)
    connection = await asyncpg.connect(killable_postgres.dsn())
    assert await connection.fetchval("SELECT n FROM t") == 7
    await connection.close()


@pytest.mark.kafka
async def test_kafka_carries_a_message(kafka_server: KafkaServer, topic: str) -> None:
    await produce(kafka_server.bootstrap, topic, b"first", b"second")
    assert await consume(kafka_server.bootstrap, topic, 2) == [b"first", b"second"]
    print(f"kafka: {kafka_server.kind}")


@pytest.mark.kafka
async def test_kafka_makes_no_topic_by_itself(kafka_server: KafkaServer) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap, request_timeout_ms=1000)
    await producer.start()
    with pytest.raises((KafkaError, TimeoutError)):
        await asyncio.wait_for(producer.send_and_wait("test.never-made", b"x"), 5)
    await producer.stop()


@pytest.mark.kafka
async def test_kafka_survives_a_kill(killable_kafka: KillableKafka) -> None:
    topic = make_topic(killable_kafka.bootstrap)
    await produce(killable_kafka.bootstrap, topic, b"kept")
    await asyncio.to_thread(killable_kafka.kill9)
    await asyncio.to_thread(killable_kafka.restart)
    await produce(killable_kafka.bootstrap, topic, b"after")
    assert await consume(killable_kafka.bootstrap, topic, 2) == [b"kept", b"after"]


@pytest.mark.kafka
async def test_a_client_behind_the_proxy_feels_the_cable(killable_kafka: KillableKafka) -> None:
    topic = make_topic(killable_kafka.bootstrap)
    async with CableProxy(killable_kafka.proxy_target, port=killable_kafka.proxy_port) as proxy:
        producer = AIOKafkaProducer(
            bootstrap_servers=f"{proxy.host}:{proxy.port}", acks="all", enable_idempotence=True, retry_backoff_ms=50
        )
        await producer.start()
        await producer.send_and_wait(topic, b"whole")
        await proxy.cut()
        sent = asyncio.ensure_future(producer.send_and_wait(topic, b"cut"))
        # Who does not pass the proxy goes on, so it is the cable that holds the other one.
        await produce(killable_kafka.bootstrap, topic, b"direct")
        assert not sent.done()
        await proxy.resume()
        await asyncio.wait_for(sent, 20)
        await producer.stop()
    assert await consume(killable_kafka.bootstrap, topic, 3) == [b"whole", b"direct", b"cut"]


async def test_the_proxy_stalls_and_resumes(postgres_server: PostgresServer) -> None:
    async with CableProxy((postgres_server.host, postgres_server.port)) as proxy:
        dsn = postgres_server.dsn(port=proxy.port)
        connection = await asyncpg.connect(dsn)
        await proxy.stall()
        answer = asyncio.ensure_future(connection.fetchval("SELECT 1"))
        done, _ = await asyncio.wait([answer], timeout=0.3)
        assert not done
        await proxy.resume()
        assert await asyncio.wait_for(answer, 5) == 1
        await proxy.cut()
        await until(connection.is_closed, what="the client sees the cut")
        with pytest.raises((ConnectionRefusedError, ConnectionResetError)):
            await asyncpg.connect(dsn, timeout=2)


def test_the_topics_file_names_every_topic() -> None:
    topics = {topic.name: topic for topic in load_topics()}
    assert topics.keys() == {EVENTS_TOPIC, RECORDS_TOPIC, TRIGGERS_TOPIC}
    assert {topic.config["min.insync.replicas"] for topic in topics.values()} == {"2"}


@pytest.mark.kafka
def test_the_topics_script_creates_them_once(killable_kafka: KillableKafka) -> None:
    command = [sys.executable, "deploy/kafka/topics.py", "--bootstrap", killable_kafka.bootstrap, "--replication", "1"]
    first, second = (
        subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert sorted(first.split()) == sorted([EVENTS_TOPIC, RECORDS_TOPIC, TRIGGERS_TOPIC])
    assert second == "all topics are there\n"
