"""The same events in any order of arrival, in any batches, with repeated copies: the same state.

Method: hypothesis draws events about few subjects and purposes with colliding times; the slow reference folds them
with `latest`; the ledger's own path is held against it on real Postgres in two orders.
"""

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.kafka.topics import create_topics, load_topics
from schemas.events import PERMISSIVE
from schemas.ranking import Decided, latest
from services.stream.kafka_publisher import KafkaPublisher
from services.stream.protocol import Copy, Message
from tests.support.databases import SchemaTemplate, drop_database
from tests.support.deployment import BASE_TIME, Deployment, consent_event
from tests.support.kafka import KafkaServer
from tests.support.wait import until

pytestmark = pytest.mark.property

DECISIONS = st.sampled_from([("granted", "consent"), ("denied", "consent"), ("objected", "legitimate_interest")])


@st.composite
def decided(draw: st.DrawFn) -> Decided:
    """One answer, with ranks and names that often collide."""
    decision, basis = draw(DECISIONS)
    minute = draw(st.integers(0, 3))
    event = draw(st.binary(min_size=1, max_size=1))
    return Decided(draw(st.sampled_from("pq")), basis, decision, BASE_TIME + timedelta(minutes=minute), event)


def reference(answers: list[Decided], purpose: str, basis: str) -> Decided | None:
    """The rule in words: the highest rank; among equals the more protective; among equals the greater name."""
    about = [a for a in answers if (a.purpose, a.legal_basis) == (purpose, basis)]
    if not about:
        return None
    top = max(a.rank for a in about)
    about = [a for a in about if a.rank == top]
    protective = [a for a in about if a.decision not in PERMISSIVE]
    return max(protective or about, key=lambda a: a.event)


@given(st.lists(decided(), max_size=12), st.randoms(use_true_random=False))
def test_the_fold_does_not_depend_on_order(answers: list[Decided], shuffler: random.Random) -> None:
    # One event gives one answer to one purpose: drop what could not occur.
    unique = list({(a.event, a.purpose, a.legal_basis): a for a in answers}.values())
    shuffled = list(unique)
    shuffler.shuffle(shuffled)
    state = latest(shuffled)
    assert state == latest(unique)
    for (purpose, basis), answer in state.items():
        assert answer == reference(unique, purpose, basis)


def copies(seed: int) -> list[tuple[dict[str, Any], int]]:
    """(event, seconds after BASE_TIME at which this copy was received): 60 events, some in two or three copies."""
    chance = random.Random(seed)
    drawn = []
    for number in range(60):
        decision, basis = chance.choice(
            [
                ("granted", "consent"),
                ("denied", "consent"),
                ("not_objected", "legitimate_interest"),
                ("objected", "legitimate_interest"),
            ]
        )
        event = consent_event(
            number,
            subject=f"v-{chance.randrange(6)}",
            time=f"2026-11-01T09:0{chance.randrange(6)}:00Z",
            decisions=[{"purpose": chance.choice("pq"), "decision": decision, "legal_basis": basis}],
        )
        drawn += [(event, chance.randrange(600)) for _ in range(chance.choice([1, 1, 2, 3]))]
    return drawn


@dataclass(frozen=True)
class ViaKafka:
    """Every copy goes over Kafka, or with `halved` every second group over the inbox."""

    bootstrap: str
    topic: str
    halved: bool

    def ledger_settings(self) -> dict[str, str]:
        return {"stream": f"kafka://{self.bootstrap}", "events_topic": self.topic}


async def state_after(
    template: SchemaTemplate,
    directory: Path,
    order: list[tuple[dict[str, Any], int]],
    group: int,
    via: ViaKafka | None = None,
) -> set[tuple[Any, ...]]:
    """Record the copies in this order, in groups that become batches of their own or not, as it happens."""
    database = await asyncio.to_thread(template.clone)
    try:
        deployment = Deployment(database, directory, keys=directory.parent / "keys")
        await deployment.create()
        sent: list[Copy] = []
        async with deployment.ledger(batch_events_max=group, **({} if via is None else via.ledger_settings())):
            for number, first in enumerate(range(0, len(order), group)):
                messages = [
                    deployment.seal(event, received_at=BASE_TIME + timedelta(seconds=seconds))
                    for event, seconds in order[first : first + group]
                ]
                if via is None or (via.halved and number % 2):
                    await deployment.publish(messages)
                else:
                    sent += await _publish_to_kafka(via, messages)
            await deployment.recorded(60)
            # Copies behind the last new event are still on their way.
            await deployment.drained()
            await until(partial(_passed, deployment, sent), deadline_s=30, what="every copy is passed")
        assert await deployment.fetch("SELECT reason FROM dead_letters") == []
        return await deployment.state()
    finally:
        await asyncio.to_thread(drop_database, database)


async def _publish_to_kafka(via: ViaKafka, messages: list[Message]) -> list[Copy]:
    publisher = KafkaPublisher(via.bootstrap, topic=via.topic)
    try:
        await publisher.start()
        return await publisher.publish(messages)
    finally:
        await publisher.stop()


async def _passed(deployment: Deployment, sent: list[Copy]) -> bool:
    rows = await deployment.fetch("SELECT topic, partition, next_offset FROM positions")
    positions = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    return all(positions.get((copy.transport, copy.partition), 0) > copy.seq for copy in sent)


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_ledger_reaches_the_same_state_in_any_order(
    schema_template: SchemaTemplate, tmp_path: Path, seed: int
) -> None:
    arrived = copies(seed)
    expected = await state_after(schema_template, tmp_path / "a", arrived, 200)
    for number, group in enumerate((7, 1)):
        shuffled = list(arrived)
        random.Random(seed * 10 + number).shuffle(shuffled)
        assert await state_after(schema_template, tmp_path / f"b{number}", shuffled, group) == expected


@pytest.mark.kafka
@pytest.mark.parametrize("halved", [False, True], ids=["Kafka", "Kafka and inbox"])
async def test_the_transport_does_not_change_the_state(
    schema_template: SchemaTemplate, kafka_server: KafkaServer, topic: str, tmp_path: Path, *, halved: bool
) -> None:
    await create_topics(kafka_server.bootstrap, load_topics())
    arrived = copies(3)
    expected = await state_after(schema_template, tmp_path / "inbox", arrived, 200)
    random.Random(3).shuffle(arrived)
    via = ViaKafka(kafka_server.bootstrap, topic, halved=halved)
    assert await state_after(schema_template, tmp_path / "kafka", arrived, 11, via) == expected
