"""One person by several subjects: what stands for an account and for a device, at any moment; whose records appear.

Hypothesis draws sign-ins, sign-outs and answers of few people at colliding moments; the slow reference is held against
the service on real Postgres, now (its projection) and at moments (its fold). More cases: tests/unit/query/test_links.py.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.record import format_time
from services.keys import event_mac
from tests.integration.query.conftest import Caller
from tests.integration.query.test_decisions import DENIAL, GRANT, consents, day, event, status
from tests.support.linked_reference import PEOPLE, PUBLISHED, Reference, Said, Sign, answers, days, signs
from tests.support.linking import leave_link, link_event
from tests.support.rows import Controller, Person, World, notice_content

pytestmark = pytest.mark.integration

numbers = count(1)


async def leave(shop: Controller, notices: dict[str, str], told: list[Sign], said: list[Said]) -> dict[str, Person]:
    """Everything recorded, of people of this story alone."""
    salt = next(numbers)
    people = {name: await shop.person(kind, f"{name}-{salt}") for name, kind in PEOPLE.items()}
    for sign in told:
        linked = link_event(next(numbers), sign.weak, sign.strong, time=format_time(day(sign.time)), state=sign.state)
        await leave_link(shop, people[sign.weak], people[sign.strong], linked, day(sign.received))
    for d in said:
        decision = {"purpose": d.purpose, "legal_basis": d.basis, "decision": d.decision}
        changes = {} if d.notice is None else {"notice": {"sha256": notices[d.notice], "language": "fr"}}
        posted = event(d.number, day(d.time), decision, **changes)
        await shop.record(people[d.who], posted, day(d.received), marks=["unconfirmed"] if d.unconfirmed else [])
    return people


def named(shop: Controller, said: list[Said]) -> list[Said]:
    """With event numbers of their own."""
    found = []
    for d in said:
        number = next(numbers)
        name = event_mac(shop.world.event_id_key, shop.name, event(number, day(0))["id"])
        found.append(Said(**{**d.__dict__, "number": number, "name": name}))
    return found


@pytest.fixture
async def notices(shop: Controller) -> dict[str, str]:
    made = {}
    for version, (published, scopes) in PUBLISHED.items():
        purposes = [
            {"purpose": p, "title": p, "description": p, "legal_basis": "consent", "services": [], "scope": scope}
            for p, scope in scopes.items()
        ]
        made[version] = await shop.notice(notice_content(version=version, purposes=purposes), day(published))
    return made


@given(st.lists(signs, max_size=6), st.lists(answers, min_size=1, max_size=7), days, days)
# Without shrinking: a failure here should be looked for among the pure cases.
@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
async def test_what_stands_is_what_the_rule_says(
    dpo: Caller, shop: Controller, notices: dict[str, str], told: list[Sign], said: list[Said], at: int, known_at: int
) -> None:
    said = named(shop, said)
    people = await leave(shop, notices, told, said)
    whose = {str(person.subject): name for name, person in people.items()}
    for name, person in people.items():
        now = await consents(dpo, person)
        assert now == await consents(dpo, person, at=datetime.now(UTC)), name
        for found, moment in (
            (now, (100.0, 100.0)),
            (await consents(dpo, person, at=day(at), known_at=day(known_at)), (at, known_at)),
        ):
            rule = Reference(told, said, *moment)
            expected = {}
            for purpose in "pq":
                for basis in ("consent", "legitimate_interest"):
                    stands = rule.stands(name, purpose, basis)
                    if stands is not None:
                        expected[purpose, basis] = event(stands[0].number, day(0))["id"], stands[1]
            shown = {
                (d["purpose"], d["legal_basis"]): (d["event"], whose[d["through"]] if "through" in d else name)
                for d in found
            }
            assert shown == expected, (name, moment)
