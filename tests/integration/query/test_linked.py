"""One person by several subjects: what stands for an account and for a device, at any moment; whose records appear.

Hypothesis draws sign-ins, sign-outs and answers of few people at colliding moments; the slow reference is held against
the service on real Postgres, now (its projection) and at moments (its fold). More: tests/unit/query/test_links.py.
"""

from datetime import UTC, datetime
from itertools import count

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.archive import read_archive
from schemas.bundle_check import Pins, verify_archive
from schemas.record import format_time
from services.keys import event_mac
from tests.integration.query.conftest import Caller
from tests.integration.query.test_decisions import DENIAL, consents, day, event, status
from tests.support.erased_rows import leave_erasure
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
    max_examples=6,
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


async def test_history_shows_whom_nobody_else_was_linked_to(dpo: Caller, shop: Controller, world: World) -> None:
    ann, bob, phone, tablet, lent = [await shop.person() for _ in range(5)]
    for weak, strong in ((phone, ann), (tablet, ann), (tablet, bob), (lent, ann)):
        signed_in = link_event(next(numbers), "x", "y", time=format_time(day(1)))
        await leave_link(shop, weak, strong, signed_in, day(1))
    # One that never was: a sign-out alone links nobody.
    await leave_link(shop, phone, bob, link_event(next(numbers), "x", "y", state="ended"), day(1))
    # And one of those that an erasure has left behind.
    await world.execute("UPDATE subjects SET is_shared = true WHERE subject = $1", lent.subject)
    for person in (phone, tablet, lent):
        await shop.record(person, event(next(numbers), day(0)), day(0))
    path = f"/v1/subjects/{ann.subject}/history"
    everything = (await dpo.ask(path))["records"]
    shown = [(record["index"], record.get("through")) for record in everything]
    assert shown == [(0, None), (1, None), (3, None), (5, str(phone.subject))]
    assert everything[-1]["parts"]["who"]["identifiers"]
    page = await dpo.ask(path, limit=3)
    assert (await dpo.ask(path, limit=3, cursor=page["next"]))["records"] == everything[3:]
    # The device's own history is its own, and that of a shared one nobody else's.
    for person in (phone, tablet, bob):
        records = (await dpo.ask(f"/v1/subjects/{person.subject}/history"))["records"]
        assert all("through" not in record for record in records)


async def test_answers_name_whom_they_came_through(dpo: Caller, shop: Controller, notices: dict[str, str]) -> None:
    ann, phone = await shop.person(), await shop.person()
    signed_in = link_event(next(numbers), "phone", "ann", time=format_time(day(1)))
    await leave_link(shop, phone, ann, signed_in, day(1))
    words = {"notice": {"sha256": notices["old"], "language": "fr"}}
    said = [{"purpose": purpose, "legal_basis": "consent", "decision": "granted"} for purpose in "pq"]
    await shop.record(ann, event(next(numbers), day(0), *said, **words), day(0))
    denied = [DENIAL | {"purpose": purpose} for purpose in "pq"]
    await shop.record(phone, event(next(numbers), day(2), *denied, type="consent.withdrawn", **words), day(2))
    # Purpose p is the device's, q the account's.
    for person, purpose, decision, through in (
        (ann, "p", "denied", phone),
        (ann, "q", "granted", None),
        (phone, "p", "denied", None),
        (phone, "q", "granted", ann),
    ):
        answer = await status(dpo, person, purpose, known_at=day(2))
        assert answer["decision"] == decision, (purpose, answer)
        assert answer.get("through") == (None if through is None else str(through.subject))


async def test_a_certificate_counts_whom_the_erasure_took_along(dpo: Caller, shop: Controller, world: World) -> None:
    phone, ann = await shop.person(), await shop.person("account", "ann")
    await shop.record(phone, event(next(numbers), day(0)), day(0))
    for _ in range(2):
        await shop.record(ann, event(next(numbers), day(0)), day(0))
    along = await leave_erasure(shop, phone, day(1), number=1, docket=None)
    asked = await leave_erasure(shop, ann, day(1), number=2)
    # The device was erased with her, by one ask.
    await world.execute("UPDATE erasures SET event = (SELECT event FROM erasures WHERE number = 2) WHERE number = 1")
    await shop.publish()
    made = await dpo.get(f"/v1/erasures/{asked}/certificate")
    assert made.status_code == 200, made.text
    certified = orjson.loads(read_archive(made.content)["report.json"])["erasure"]
    assert (certified["number"], certified["subject"]) == (2, str(ann.subject))
    assert [log["what"] for log in certified["logs"]] == [1, 2]
    assert len({log["declared"]["index"] for log in certified["logs"]}) == 2
    # Auditors add up the same.
    assert len(verify_archive(made.content, Pins(vkeys=[shop.vkey]))) == 2
    assert (await dpo.get(f"/v1/erasures/{along}/certificate")).status_code == 404
