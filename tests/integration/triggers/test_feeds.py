"""The feed of changes to webhook systems: each record once, in a second, nothing personal; and after a pause."""

import asyncio
import json
import time
from statistics import median
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from standardwebhooks import Webhook

from deploy.kafka.topics import create_topics, load_topics
from schemas.topics import RECORDS_TOPIC
from services.ledger import feeds
from services.ledger.feeds import Feeds
from services.postgres import create_pool
from tests.support.deployment import Deployment, consent_event, fresh_uuid
from tests.support.downstream import add_system, keys_of, secret_of
from tests.support.kafka import KafkaServer
from tests.support.receiver import Receiver
from tests.support.wait import until

pytestmark = pytest.mark.integration

SECOND = 1.0
GRANT = {"purpose": "p", "decision": "granted", "legal_basis": "consent"}


def told(receiver: Receiver, system: str = "later") -> list[dict[str, Any]]:
    """Every record that came, in the order of the messages."""
    messages = [json.loads(message["body"]) for message in receiver.received(system)]
    return [record for message in messages for record in message["data"]["records"]]


async def follow(deployment: Deployment, receiver: Receiver, system: str = "later") -> None:
    """A system that is told of records, from now on."""
    await add_system(deployment, system, tells=["records"], url=f"{receiver.address}/{system}")

    async def begun() -> bool:
        return bool(await deployment.fetch("SELECT FROM feeds WHERE system = $1", system))

    await until(begun, what="the feed begins")


async def test_each_record_is_told_within_a_second(deployment: Deployment, receiver: Receiver) -> None:
    """From the moment that it is recorded, with its place and its subject, to who can check the signature."""
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
        await follow(deployment, receiver)
        ids, waited = [], []
        for number in range(5):
            event = consent_event(number, subject=f"v-{number % 2}") | {"id": fresh_uuid()}
            ids.append(event["id"])
            await deployment.publish([deployment.seal(event)])

            async def is_recorded(size: int = number + 2) -> bool:
                return await deployment.size() == size

            await until(is_recorded, what="it is recorded", poll_s=0.005)
            began = time.monotonic()
            await until(lambda: len(told(receiver)) > number, what="it is told", poll_s=0.01)
            waited.append(time.monotonic() - began)
        records = told(receiver)
    assert [(record["id"], record["index"], record["class"]) for record in records] == [
        (event, index, "consent") for index, event in enumerate(ids, 1)
    ]
    assert median(waited) < SECOND
    subjects = [str(await deployment.subject_of(f"v-{number % 2}")) for number in range(5)]
    assert [record["subject"] for record in records] == subjects
    (first, *_) = receiver.received("later")
    assert "v-0" not in first["body"]
    body = Webhook(secret_of(deployment, "later")).verify(first["body"], first["headers"])
    assert (body["type"], body["source"], body["data"]["log"]) == (
        "sayso.records.v1",
        "/logs/shop",
        "log.example/logs/shop",
    )
    assert first["headers"]["webhook-id"] == body["id"]


async def test_the_version_changes_with_the_state(deployment: Deployment, receiver: Receiver) -> None:
    """And with nothing else; an erasure is nobody's record."""
    denial = consent_event(3, subject="v", type="consent.refused", decisions=[GRANT | {"decision": "denied"}])
    served = consent_event(2, subject="v", type="notice.served")
    del served["data"]["decisions"]
    events = [
        consent_event(1, subject="v", decisions=[GRANT]),
        served,
        denial | {"time": "2026-11-02T09:00:00Z"},
    ]
    async with deployment.ledger():
        await deployment.recorded(0)
        await follow(deployment, receiver)
        for number, event in enumerate(events, 1):
            await deployment.publish([deployment.seal(event)])
            await until(lambda: len(told(receiver)) == number, what="it is told")
        subject = await deployment.subject_of("v")
        assert subject is not None
        await deployment.publish([deployment.seal_erasure(subject)])
        await until(lambda: len(told(receiver)) == 4, what="it is told")
    first, same, other, erasure = told(receiver)
    assert first["state"] == same["state"] != other["state"]
    assert (erasure["class"], "subject" in erasure) == ("erasure", False)


async def test_only_a_few_messages_wait_for_a_system_that_is_away(
    deployment: Deployment, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is the queue; what comes later comes whole, each record once."""
    monkeypatch.setattr(feeds, "RECORDS_A_MESSAGE", 4)
    monkeypatch.setattr(feeds, "MESSAGES_MAX", 2)
    receiver.stop()
    async with deployment.ledger():
        await deployment.recorded(0)
        await follow(deployment, receiver)
        await deployment.publish(deployment.seal(consent_event(number)) for number in range(30))
        await deployment.recorded(30)

        async def waiting() -> list[int]:
            return [row["n"] for row in await deployment.fetch("SELECT count(*) AS n FROM deliveries")]

        async def both_wait() -> bool:
            return await waiting() == [2]

        await until(both_wait, what="two messages wait")
        receiver.start()
        await deployment.fetch("UPDATE deliveries SET next_at = now()")
        await until(lambda: len(told(receiver)) >= 30, what="all is told")
        assert (await waiting())[0] <= 2
    assert sorted(record["index"] for record in told(receiver)) == list(range(30))


async def test_two_ledgers_tell_each_record_once(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish(deployment.seal(consent_event(number)) for number in range(10))
        await deployment.recorded(10)
    await add_system(deployment, "nowhere", tells=["records"], url="http://127.0.0.1:9/nowhere")
    await deployment.fetch(
        "INSERT INTO feeds SELECT controller, 'nowhere', log, 0 FROM logs WHERE controller = $1", deployment.controller
    )
    pool = await create_pool(deployment.database.dsn(), role="sayso_ledger", size=4, application="test-feeds")
    now = (await deployment.fetch("SELECT now() AS now"))[0]["now"]
    try:
        both = [Feeds(pool, keys_of(deployment)) for _ in range(2)]
        done = await asyncio.gather(*(one.work(now) for one in both))
        assert sum(done) in {1, 2}
        rows = await deployment.fetch("SELECT body FROM deliveries")
    finally:
        await pool.close()
    found = [record["index"] for row in rows for record in json.loads(row["body"])["data"]["records"]]
    assert found == list(range(10))


async def test_whoever_is_told_no_more_is_forgotten(deployment: Deployment, receiver: Receiver) -> None:
    async with deployment.ledger():
        await deployment.recorded(0)
        await follow(deployment, receiver)
        await deployment.fetch("UPDATE downstreams SET removed_at = now()")

        async def forgotten() -> bool:
            return await deployment.fetch("SELECT FROM feeds") == []

        await until(forgotten, what="the cursor goes")


@pytest.mark.kafka
async def test_the_topic_is_as_fast(deployment: Deployment, kafka_server: KafkaServer, topic: str) -> None:
    """sayso.records.v1 says within a second what was recorded."""
    await create_topics(kafka_server.bootstrap, load_topics())
    consumer = AIOKafkaConsumer(RECORDS_TOPIC, bootstrap_servers=kafka_server.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    waited = []
    try:
        async with deployment.ledger(stream=f"kafka://{kafka_server.bootstrap}", events_topic=topic):
            for number in range(3):
                event = consent_event(number) | {"id": fresh_uuid()}
                await deployment.publish([deployment.seal(event)])

                async def is_recorded(size: int = number + 1) -> bool:
                    return await deployment.size() == size

                await until(is_recorded, what="it is recorded", poll_s=0.005)
                began = time.monotonic()
                async with asyncio.timeout(30):
                    while event["id"].encode() not in (await consumer.getone()).value:
                        pass
                waited.append(time.monotonic() - began)
    finally:
        await consumer.stop()
    assert median(waited) < SECOND
