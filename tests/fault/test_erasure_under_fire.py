"""Twenty people erased while two ledgers record, and the ledgers, Postgres and the broker are killed with -9.

At the end nothing of the erased is left, late copies of what they did were dropped, what they did later and what
everybody else did is recorded exactly once, and every count and number fits (fsck).
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from deploy.kafka.topics import create_topics, load_topics
from schemas.errors import StreamUnavailable
from services.keys import event_mac
from services.ledger.fsck.check import check
from services.ledger.migrate import migrate
from services.postgres import DATABASE_AWAY, create_pool
from services.stream.address import make_publisher
from services.stream.protocol import Message, Publisher
from services.suppression import Suppression
from tests.support.databases import Database, run_sql
from tests.support.deployment import Deployment, consent_event
from tests.support.kafka import KillableKafka
from tests.support.postgres import KillablePostgres
from tests.support.processes import ServiceProcess
from tests.support.wait import until

pytestmark = pytest.mark.fault

Victim = ServiceProcess | KillablePostgres | KillableKafka

PEOPLE = 50
ERASED = 20
WAVES = 4
ROLES = Path(__file__).resolve().parents[2] / "deploy" / "postgres" / "roles.sql"


class Load:
    """Publishes until it is durable, whatever is down meanwhile."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def publish(self, messages: Sequence[Message]) -> None:
        async def durable() -> bool:
            try:
                await self._publisher.publish(list(messages))
            except (StreamUnavailable, *DATABASE_AWAY):
                return False
            return True

        await until(durable, deadline_s=60, poll_s=0.1, what="the messages are durable")


def person(number: int) -> str:
    return f"person-{number}"


def wave(deployment: Deployment, number: int) -> list[Message]:
    """An old act of everybody, ten of them with the same id as in the wave before: late copies."""
    events = [consent_event(number * PEOPLE + n, subject=person(n)) for n in range(PEOPLE)]
    again = [consent_event((number - 1) * PEOPLE + n, subject=person(n)) for n in range(10 if number else 0)]
    return [deployment.seal(event) for event in (*events, *again)]


async def grown(deployment: Deployment, size: int) -> bool:
    return await deployment.size() >= size


def kill_and_start(victim: Victim) -> None:
    victim.kill9()
    victim.start()


async def subjects(deployment: Deployment) -> dict[int, UUID]:
    """Everybody's subject; waits until all are there."""
    found: dict[int, UUID] = {}

    async def all_there() -> bool:
        try:
            for n in range(PEOPLE):
                subject = await deployment.subject_of(person(n))
                if subject is not None:
                    found[n] = subject
        except DATABASE_AWAY:
            return False
        return len(found) == PEOPLE

    await until(all_there, deadline_s=30, poll_s=0.2, what="everybody has a subject")
    return found


async def made_database(server: KillablePostgres) -> Database:
    run_sql(server.dsn(), ROLES.read_text(), "GRANT CREATE ON DATABASE postgres TO sayso_owner")
    run_sql(server.dsn(), "GRANT ALL ON SCHEMA public TO sayso_owner")
    database = Database(server, "postgres")
    await migrate(database.dsn())
    return database


@pytest.mark.timeout(180)
async def test_nobody_comes_back_and_nobody_else_is_lost(
    killable_postgres: KillablePostgres, killable_kafka: KillableKafka, tmp_path: Path
) -> None:
    deployment = Deployment(await made_database(killable_postgres), tmp_path)
    await deployment.create()
    await create_topics(killable_kafka.bootstrap, load_topics())
    stream = f"kafka://{killable_kafka.bootstrap}"
    environment = deployment.ledger_environment(SAYSO_STREAM=stream, SAYSO_BATCH_EVENTS_MAX="20")
    ledgers = [ServiceProcess("ledger", environment, tmp_path / f"ledger-{n}.log") for n in range(2)]
    victims: tuple[Victim, ...] = (ledgers[0], killable_postgres, ledgers[1], killable_kafka)
    pool = await create_pool(deployment.database.dsn(), role="sayso_ingest", size=2, application="test-ingest")
    publisher = make_publisher(stream, pool=pool, topic="sayso.events.v1")
    choice = random.Random(20261122)
    try:
        for ledger in ledgers:
            ledger.start()
        await deployment.recorded(0)
        await publisher.start()
        load = Load(publisher)
        await load.publish(wave(deployment, 0))
        known = await subjects(deployment)
        chosen = choice.sample(range(PEOPLE), ERASED)
        for number, victim in enumerate(victims):
            asks = [deployment.seal_erasure(known[n]) for n in chosen[number::WAVES]]
            messages = [*wave(deployment, number + 1), *asks, *asks[:1]]
            choice.shuffle(messages)
            enough = await deployment.size() + choice.randrange(1, PEOPLE // 2)
            publishing = asyncio.create_task(load.publish(messages))
            await until(partial(grown, deployment, enough), poll_s=0.001, what="some of it is recorded")
            await asyncio.to_thread(kill_and_start, victim)
            await publishing
        await assert_all_erased(deployment, [known[n] for n in chosen])
        # What is late stays away; what an erased person does from now on is a new beginning.
        await load.publish(wave(deployment, WAVES))
        now = datetime.now(UTC) + timedelta(seconds=1)
        time = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        back = consent_event(9000, subject=person(chosen[0]), time=time)
        await load.publish(
            [deployment.seal(back, received_at=now), deployment.seal(consent_event(9001, subject="last"))]
        )
        await assert_recorded_once(deployment, set(chosen), back["id"])
    finally:
        for ledger in ledgers:
            ledger.stop()
        await publisher.stop()
        await pool.close()
    assert await deployment.subject_of(person(chosen[0])) not in {None, known[chosen[0]]}
    for n in chosen[1:]:
        assert await deployment.subject_of(person(n)) is None
    lines = Suppression(deployment.settings().suppression_dir).read()
    rows = await deployment.fetch("SELECT number, subject FROM erasures ORDER BY number")
    assert [(line.number, line.subject) for line in lines] == [tuple(row) for row in rows]
    assert len({line.number for line in lines}) == ERASED
    assert not await deployment.fetch("SELECT reason FROM dead_letters")
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings


async def assert_all_erased(deployment: Deployment, erased: list[UUID]) -> None:
    async def gone() -> bool:
        try:
            rows = await deployment.fetch("SELECT subject FROM erasures")
        except DATABASE_AWAY:
            return False
        return {row["subject"] for row in rows} == set(erased)

    await until(gone, deadline_s=60, poll_s=0.1, what="all erasures are applied")
    for table in ("subjects", "payloads", "identifiers", "consent_state"):
        assert not await deployment.fetch(f"SELECT FROM {table} WHERE subject = ANY ($1)", erased), table


async def assert_recorded_once(deployment: Deployment, chosen: set[int], back: str) -> None:
    """Every event is known by its name; those of the living have one payload each, the others none."""
    acts = [(number, number % PEOPLE) for number in range((WAVES + 1) * PEOPLE)]

    def names(ids: Sequence[str]) -> list[bytes]:
        return [event_mac(deployment.event_id_key, "shop", event_id) for event_id in ids]

    living = names([consent_event(number)["id"] for number, n in acts if n not in chosen] + [back])
    erased = names([consent_event(number)["id"] for number, n in acts if n in chosen])
    last = names([consent_event(9001)["id"]])

    async def passed() -> bool:
        rows = await deployment.fetch("SELECT FROM dedupe WHERE event = ANY ($1)", [*living, *erased, *last])
        return len(rows) == len(living) + len(erased) + 1

    await until(passed, deadline_s=60, poll_s=0.1, what="every event is passed")
    found = await deployment.fetch(
        "SELECT count(*) AS events, count(DISTINCT (d.log, d.index)) AS places, count(p.index) AS payloads"
        " FROM dedupe d LEFT JOIN payloads p USING (controller, log, index) WHERE d.event = ANY ($1)",
        living,
    )
    assert tuple(found[0]) == (len(living), len(living), len(living))
    assert not await deployment.fetch(
        "SELECT FROM dedupe d LEFT JOIN payloads p USING (controller, log, index)"
        " WHERE d.event = ANY ($1) AND (d.content IS NOT NULL OR d.received_at IS NOT NULL OR p.index IS NOT NULL)",
        erased,
    )

    async def signed() -> bool:
        return not await deployment.fetch("SELECT FROM log_heads WHERE signed_size <> size")

    await until(signed, what="everything is signed")
