"""The same events in any order of arrival, in any batches, with repeated copies: the same state.

Method: hypothesis draws events about few subjects and purposes with colliding times; the slow reference folds them
with `latest`; the ledger's own path is held against it on real Postgres in two orders.
"""

import asyncio
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import PERMISSIVE
from schemas.ranking import Decided, latest
from tests.support.databases import SchemaTemplate, drop_database
from tests.support.deployment import BASE_TIME, Deployment, consent_event

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


async def state_after(
    template: SchemaTemplate, directory: Path, order: list[tuple[dict[str, Any], int]], group: int
) -> set[tuple[Any, ...]]:
    """Record the copies in this order, in groups that become batches of their own or not, as it happens."""
    database = await asyncio.to_thread(template.clone)
    try:
        deployment = Deployment(database, directory, keys=directory.parent / "keys")
        await deployment.create()
        async with deployment.ledger(batch_events_max=group):
            for first in range(0, len(order), group):
                await deployment.publish(
                    deployment.seal(event, received_at=BASE_TIME + timedelta(seconds=seconds))
                    for event, seconds in order[first : first + group]
                )
            await deployment.recorded(60)
            # Copies behind the last new event are still on their way.
            await deployment.drained()
        assert await deployment.fetch("SELECT reason FROM dead_letters") == []
        return await deployment.state()
    finally:
        await asyncio.to_thread(drop_database, database)


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
