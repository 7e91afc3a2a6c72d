"""20,000 events over HTTP and real Kafka while everything is killed with -9: each accepted event is recorded once.

Method: the load comes in as many portions as there are kills; in the middle of each portion one victim dies and is
started again. A portion is sent again, with the same ids, until every event of it was accepted (202).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx2
import orjson
import pytest

from deploy.kafka.node import free_port
from deploy.kafka.topics import create_topics, load_topics
from schemas.topics import EVENTS_TOPIC
from services.ledger.migrate import migrate
from tests.support.chain_check import assert_one_clean_chain
from tests.support.databases import Database, run_sql
from tests.support.deployment import Deployment, consent_event
from tests.support.kafka import KillableKafka
from tests.support.postgres import KillablePostgres
from tests.support.processes import ServiceProcess
from tests.support.wait import until

pytestmark = pytest.mark.fault

EVENTS = 20_000
ROUNDS = 5
PORTION = EVENTS // (4 * ROUNDS)
BATCH = 50
ROLES = Path(__file__).resolve().parents[2] / "deploy" / "postgres" / "roles.sql"


class Load:
    """Posts events until each was accepted; `accepted` holds their numbers, `answers` counts the statuses."""

    def __init__(self, port: int, key: str) -> None:
        self._url = f"http://127.0.0.1:{port}/v1/events"
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/cloudevents-batch+json"}
        self.accepted: set[int] = set()
        self.answers: Counter[str] = Counter()

    async def post_until_accepted(self, numbers: range) -> None:
        async with httpx2.AsyncClient(timeout=20) as client:
            waiting = [numbers[first : first + BATCH] for first in range(0, len(numbers), BATCH)]
            for batch in waiting:
                await until(self._poster(client, batch), deadline_s=90, poll_s=0.1, what="a batch is accepted")

    def is_past(self, number: int, posting: "asyncio.Task[None]") -> bool:
        """Whether more than `number` events were accepted, or nothing more will be."""
        return len(self.accepted) > number or posting.done()

    def _poster(self, client: httpx2.AsyncClient, batch: range) -> Callable[[], Awaitable[bool]]:
        notice = {"sha256": "ab" * 32, "language": "en"}
        body = orjson.dumps([consent_event(n, subject=f"v-{n % 3000}", notice=notice) for n in batch])

        async def accepted() -> bool:
            try:
                answer = await client.post(self._url, content=body, headers=self._headers)
            except httpx2.HTTPError as error:
                self.answers[type(error).__name__] += 1
                return False
            self.answers[str(answer.status_code)] += 1
            if answer.status_code != 202:
                return False
            assert {item["status"] for item in answer.json()["events"]} == {"accepted"}
            self.accepted.update(batch)
            return True

        return accepted


@pytest.mark.timeout(420)
async def test_no_accepted_event_is_lost_or_doubled(
    killable_postgres: KillablePostgres, killable_kafka: KillableKafka, tmp_path: Path
) -> None:
    run_sql(killable_postgres.dsn(), ROLES.read_text(), "GRANT CREATE ON DATABASE postgres TO sayso_owner")
    run_sql(killable_postgres.dsn(), "GRANT ALL ON SCHEMA public TO sayso_owner")
    database = Database(killable_postgres, "postgres")
    await migrate(database.dsn())
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    await create_topics(killable_kafka.bootstrap, load_topics())
    port, stream = free_port(), {"SAYSO_STREAM": f"kafka://{killable_kafka.bootstrap}"}
    ledger = ServiceProcess("ledger", deployment.ledger_environment(**stream), tmp_path / "ledger.log")
    ingest = ServiceProcess("ingest", deployment.ingest_environment(port, **stream), tmp_path / "ingest.log")

    def kill_and_start(victim: ServiceProcess | KillableKafka | KillablePostgres) -> None:
        victim.kill9()
        victim.start()

    victims = (ledger, killable_kafka, killable_postgres, ingest)
    load = Load(port, await deployment.add_server_key())
    try:
        ledger.start()
        await deployment.recorded(0)
        ingest.start()
        for number, victim in enumerate(victims * ROUNDS):
            portion = range(number * PORTION, (number + 1) * PORTION)
            posting = asyncio.create_task(load.post_until_accepted(portion))
            await until(
                partial(load.is_past, number * PORTION + PORTION // 3, posting), deadline_s=90, what="load is under way"
            )
            await asyncio.to_thread(kill_and_start, victim)
            await posting
        assert len(load.accepted) == EVENTS
        await deployment.recorded(EVENTS, deadline_s=120)
        await deployment.drained()
    finally:
        for service in (ingest, ledger):
            service.stop()
    assert await deployment.fetch("SELECT reason FROM dead_letters") == []
    assert await deployment.fetch("SELECT FROM positions WHERE topic = $1", EVENTS_TOPIC) != []
    await assert_one_clean_chain(deployment, EVENTS)
