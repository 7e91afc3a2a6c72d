"""Two ledgers on one log, one of them stalled in the middle of its work: never a fork, a duplicate or a step back.

Goal: fencing. Method: two real processes on real Kafka, one stopped with SIGSTOP again and again while events flow;
positions are watched all the time; at the end the whole log is recomputed from raw rows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deploy.kafka.topics import create_topics, load_topics
from services.postgres import create_pool
from services.stream.address import make_publisher
from tests.support.chain_check import assert_one_clean_chain
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.kafka import KafkaServer, make_topic
from tests.support.processes import ServiceProcess
from tests.support.wait import until

pytestmark = pytest.mark.fault

EVENTS = 3000
STALLS = 4


class PositionWatch:
    """Polls the stored positions and fails the test if one ever moves back."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._highest: dict[tuple[str, int], int] = {}
        self.moves = 0

    async def run(self) -> None:
        connection = await self._deployment.connect()
        try:
            while True:
                for row in await connection.fetch("SELECT topic, partition, next_offset FROM positions"):
                    key = row["topic"], row["partition"]
                    assert row["next_offset"] >= self._highest.get(key, 0), "a position moved back"
                    self.moves += row["next_offset"] > self._highest.get(key, 0)
                    self._highest[key] = row["next_offset"]
                await asyncio.sleep(0.01)  # polling, not waiting: the watch runs until it is cancelled
        finally:
            await connection.close()


async def publish_steadily(deployment: Deployment, stream: str, topic: str) -> None:
    """EVENTS events in small groups, each group durable before the next."""
    pool = await create_pool(deployment.database.dsn(), role="sayso_ingest", size=2, application="test-ingest")
    publisher = make_publisher(stream, pool=pool, topic=topic)
    try:
        await publisher.start()
        for first in range(0, EVENTS, 25):
            group = [consent_event(n, subject=f"v-{n % 200}") for n in range(first, first + 25)]
            await publisher.publish([deployment.seal(event) for event in group])
    finally:
        await publisher.stop()
        await pool.close()


@pytest.mark.timeout(180)
async def test_a_stalled_ledger_never_forks_the_log(
    database: Database, kafka_server: KafkaServer, tmp_path: Path
) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    topic = await asyncio.to_thread(make_topic, kafka_server.bootstrap, partitions=3)
    await create_topics(kafka_server.bootstrap, load_topics())
    stream = f"kafka://{kafka_server.bootstrap}"
    environment = deployment.ledger_environment(
        SAYSO_STREAM=stream, SAYSO_EVENTS_TOPIC=topic, SAYSO_BATCH_EVENTS_MAX="40"
    )
    ledgers = [ServiceProcess("ledger", environment, tmp_path / f"ledger-{n}.log") for n in range(2)]
    watch = PositionWatch(deployment)
    watching = asyncio.create_task(watch.run())
    try:
        for ledger in ledgers:
            ledger.start()
        await deployment.recorded(0)
        publishing = asyncio.create_task(publish_steadily(deployment, stream, topic))
        for round_number in range(STALLS):
            victim, other = ledgers[round_number % 2], ledgers[1 - round_number % 2]
            before = await deployment.size()
            victim.stall()
            # The other one takes over: at the latest when the server ends the stalled transaction.
            await until(_grown(deployment, before, EVENTS), deadline_s=40, what="the other ledger goes on")
            victim.resume()
            assert other.alive
        await publishing
        await deployment.recorded(EVENTS, deadline_s=60)
        assert not watching.done() or watching.exception() is None
        assert watch.moves > STALLS
    finally:
        watching.cancel()
        for ledger in ledgers:
            ledger.resume()
            ledger.stop()
    await assert_one_clean_chain(deployment, EVENTS)


def _grown(deployment: Deployment, before: int, enough: int) -> Callable[[], Awaitable[bool]]:
    async def grown() -> bool:
        size = await deployment.size()
        return size > before or size >= enough

    return grown
