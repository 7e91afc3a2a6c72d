"""What the ledger announces on sayso.records.v1: every recorded event's id and place, and nothing of a person."""

import asyncio
import json
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from deploy.kafka.topics import create_topics, load_topics
from schemas.topics import RECORDS_TOPIC
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event, fresh_uuid
from tests.support.kafka import KafkaServer
from tests.support.wait import until

pytestmark = [pytest.mark.integration, pytest.mark.kafka]


async def test_recorded_events_are_announced_with_their_places(
    database: Database, kafka_server: KafkaServer, topic: str, tmp_path: Path
) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    await create_topics(kafka_server.bootstrap, load_topics())
    ids = [fresh_uuid() for _ in range(3)]
    consumer = AIOKafkaConsumer(RECORDS_TOPIC, bootstrap_servers=kafka_server.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with deployment.ledger(stream=f"kafka://{kafka_server.bootstrap}", events_topic=topic):
            events = [consent_event(n, subject="v-secret") | {"id": name} for n, name in enumerate(ids)]
            await deployment.publish(deployment.seal(event) for event in events)
            await deployment.recorded(3)
            announced: dict[str, int] = {}
            # The broker is shared with other tests: only these ids are ours.
            async with asyncio.timeout(30):
                while len(announced) < len(ids):
                    record = await consumer.getone()
                    value = json.loads(record.value)
                    ours = {event["id"]: event["index"] for event in value["events"] if event["id"] in ids}
                    if ours:
                        assert (record.key, value["log"]) == (b"shop", "log.example/logs/shop")
                        assert b"v-secret" not in record.value
                        announced |= ours

            async def emptied() -> bool:
                return await deployment.fetch("SELECT FROM outbox") == []

            await until(emptied, what="what was announced leaves the outbox")
    finally:
        await consumer.stop()
    assert sorted(announced.values()) == [0, 1, 2]
