"""With Kafka or Postgres away: accepted means durable all the same, and what cannot be made durable is a 503."""

from pathlib import Path

import aiokafka
import pytest

from services.ledger.migrate import migrate
from tests.conftest import ROLES
from tests.integration.ingest.conftest import BROWSER_KEY, ORIGIN, Shop, event_now
from tests.support.databases import SchemaTemplate, run_sql
from tests.support.deployment import Deployment
from tests.support.kafka import KafkaServer
from tests.support.postgres import KillablePostgres
from tests.support.wait import until

pytestmark = pytest.mark.integration

NOBODY_LISTENS = "kafka://127.0.0.1:9"


@pytest.fixture
async def mortal_shop(killable_postgres: KillablePostgres, tmp_path: Path) -> Shop:
    """A shop on a Postgres of its own; ingest is not running."""
    run_sql(killable_postgres.dsn(), ROLES.read_text())
    template = SchemaTemplate(killable_postgres, migrate, owner="sayso_owner")
    shop = Shop(Deployment(template.clone(), tmp_path))
    await shop.create()
    return shop


async def offsets(bootstrap: str, topic: str) -> int:
    """Messages in the topic's only partition."""
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partition = aiokafka.TopicPartition(topic, 0)
        return int((await consumer.end_offsets([partition]))[partition])
    finally:
        await consumer.stop()


async def test_without_kafka_events_go_to_the_inbox(made_shop: Shop) -> None:
    async with made_shop.running(stream=NOBODY_LISTENS):
        answers = [await made_shop.post(event_now(n)) for n in range(3)]
        assert [answer.status_code for answer in answers] == [202] * 3
        ready = await made_shop.client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["dependencies"]["kafka"] != "ok"
        assert "sayso_ingest_diverted 3.0" in (await made_shop.client.get("/metrics")).text
    assert len(await made_shop.inbox()) == 3


async def test_without_postgres_and_kafka_nothing_is_acknowledged(
    mortal_shop: Shop, killable_postgres: KillablePostgres
) -> None:
    async with mortal_shop.running():
        accepted = [event_now(n) for n in range(3)]
        assert [(await mortal_shop.post(event)).status_code for event in accepted] == [202] * 3
        killable_postgres.kill9()
        lost = await mortal_shop.post(event_now(7))
        assert (lost.status_code, lost.json()["type"]) == (503, "/problems/stream-away")
        assert int(lost.headers["retry-after"]) > 0
        batch = await mortal_shop.post([event_now(8), {}])
        assert (batch.status_code, batch.json()["type"]) == (503, "/problems/stream-away")
        assert (await mortal_shop.client.get("/health/ready")).status_code == 503
        killable_postgres.restart()

        async def taken() -> bool:
            return (await mortal_shop.post(event_now(9))).status_code == 202

        await until(taken, what="ingest takes events again")
        kept = {message.event_id for message in await mortal_shop.inbox()}
        assert kept >= {event["id"] for event in accepted} | {event_now(9)["id"]}


@pytest.mark.kafka
async def test_without_postgres_events_go_on_to_kafka(
    mortal_shop: Shop, killable_postgres: KillablePostgres, kafka_server: KafkaServer, topic: str
) -> None:
    async with mortal_shop.running(stream=f"kafka://{kafka_server.bootstrap}", events_topic=topic):
        assert (await mortal_shop.post(event_now(1))).status_code == 202
        killable_postgres.kill9()
        assert [(await mortal_shop.post(event_now(n))).status_code for n in range(2, 5)] == [202] * 3
        # A key nobody has shown before cannot be looked up: come back later, rather than: wrong.
        unknown = BROWSER_KEY.replace("b", "c")
        stranger = await mortal_shop.client.post(
            f"/v1/events?key={unknown}", json=event_now(5), headers={"origin": ORIGIN}
        )
        assert (stranger.status_code, stranger.json()["type"]) == (503, "/problems/database-away")
        assert int(stranger.headers["retry-after"]) > 0
        # So is a purpose that may have been published meanwhile.
        unsure = event_now(6, decisions=[{"purpose": "newer", "decision": "denied", "legal_basis": "consent"}])
        mixed = await mortal_shop.post([unsure, event_now(7)])
        assert [event["status"] for event in mixed.json()["events"]] == ["refused", "accepted"]
        assert mixed.json()["events"][0]["problem"]["type"] == "/problems/database-away"
        assert await offsets(kafka_server.bootstrap, topic) == 5
        ready = await mortal_shop.client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["dependencies"]["postgres"] != "ok"
