"""Bulk checks: the same answers as `status` gives one by one, in order, and one record in the access log.

Hypothesis draws the people (signed in and out, with ages, at colliding moments); the service answers both ways.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.record import format_time
from services.keys import identifier_mac
from tests.integration.query.conftest import Caller
from tests.integration.query.test_decisions import DENIAL, day, event, granted
from tests.integration.query.test_linked import leave, named, notices  # noqa: F401 - a fixture
from tests.support.erased_rows import leave_erasure
from tests.support.linked_reference import PEOPLE, Said, Sign, answers, days, signs
from tests.support.rows import Controller, World, notice_content

pytestmark = pytest.mark.integration

PURPOSE = "chat-history"


async def posted(caller: Caller, lines: Iterable[dict[str, Any]], **asked: Any) -> httpx2.Response:
    body = "".join(json.dumps(line) + "\n" for line in lines)
    return await caller.client.post(
        "/v1/checks",
        params={"purpose": PURPOSE, **asked},
        content=body,
        headers={"authorization": f"Bearer {caller.key}", "sayso-why": "a mailing"},
    )


async def checked(
    caller: Caller, lines: list[dict[str, Any]], **asked: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The answers without their numbers, and the summary."""
    response = await posted(caller, lines, **asked)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    *found, summary = [json.loads(line) for line in response.text.splitlines()]
    assert [answer.pop("line") for answer in found] == list(range(1, len(lines) + 1))
    return found, summary


def of(*subjects: UUID) -> list[dict[str, Any]]:
    return [{"subject": str(subject)} for subject in subjects]


async def access_records(world: World) -> list[dict[str, Any]]:
    return [what for what, *_ in await world.messages() if what["type"].startswith("access.")]


@given(st.lists(signs, max_size=6), st.lists(answers, min_size=1, max_size=7), days, days, st.booleans())
@settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
async def test_each_answer_is_that_of_status(
    dpo: Caller,
    shop: Controller,
    notices: dict[str, str],  # noqa: F811 - a fixture
    told: list[Sign],
    said: list[Said],
    at: int,
    known_at: int,
    is_over: bool,
) -> None:
    people = await leave(shop, notices, told, named(shop, said))
    for person in people.values():
        await shop.world.execute(
            "INSERT INTO ages (controller, subject, event, is_over, stated_at) VALUES ($1, $2, $3, $4, $5)",
            shop.controller,
            person.subject,
            uuid4().bytes,
            is_over,
            day(at),
        )
    subjects = [person.subject for person in people.values()]
    moments: dict[str, str] = {"at": format_time(day(at)), "known_at": format_time(day(known_at))}
    for purpose in ("p", "q"):
        for moment in ({}, moments):
            found, _ = await checked(dpo, of(*subjects), purpose=purpose, **moment)
            for subject, answer in zip(subjects, found, strict=True):
                one = await dpo.ask(f"/v1/subjects/{subject}/status", purpose=purpose, **moment)
                assert answer == {name: one[name] for name in answer}, (purpose, moment, PEOPLE)
                assert {"valid", "reasons", "decision"} <= set(answer)


async def test_subjects_identifiers_the_erased_and_strangers_in_one_list(
    dpo: Caller, shop: Controller, world: World
) -> None:
    """In the order posted, in several chunks; one record, with the count and nobody's name."""
    notice = await shop.notice(notice_content(), datetime.now(UTC) - timedelta(days=10))
    now = datetime.now(UTC) - timedelta(days=1)
    ann = await shop.person("email", "ann@shop.example")
    await shop.record(ann, event(1, now, notice={"sha256": notice, "language": "fr"}), now)
    bob = await shop.person("email", "bob@shop.example")
    await shop.record(bob, event(2, now, DENIAL, type="consent.withdrawn"), now)
    gone = await shop.person()
    await shop.record(gone, event(3, now), now)
    await leave_erasure(shop, gone, now)
    lines = [
        {"identifier": {"type": "email", "value": "ann@shop.example"}},
        *of(gone.subject, bob.subject, uuid4()),
        {"identifier": {"type": "email", "value": "nobody@shop.example"}},
    ]
    found, summary = await checked(dpo, lines * 250)
    assert found[:5] == [
        {"valid": True, "reasons": [], "decision": "granted", "legal_basis": "consent"},
        {"valid": False, "reasons": ["erased"], "decision": None},
        {"valid": False, "reasons": ["withdrawn"], "decision": "denied", "legal_basis": "consent"},
        {"valid": False, "reasons": ["never_asked"], "decision": None},
        {"valid": False, "reasons": ["never_asked"], "decision": None},
    ]
    assert found == found[:5] * 250
    assert (summary["checked"], summary["valid"], summary["purpose"]) == (1250, 250, PURPOSE)
    (record,) = await access_records(world)
    assert record["access"] == {"role": "dpo", "why": "a mailing", "purpose": PURPOSE, "count": 1250}


async def test_an_objection_outlives_its_erasure(dpo: Caller, shop: Controller) -> None:
    """Of the erased person's identifier alone, while it is kept, for that purpose; a later consent counts again."""
    key = shop.world.keys.create_proof_key(shop.name)
    for value, until in (("ann@shop.example", 1), ("over@shop.example", -1), ("again@shop.example", 1)):
        await shop.world.execute(
            "INSERT INTO suppressed_objections (controller, identifier, purpose, legal_basis, objected_at, expires_at)"
            " VALUES ($1, $2, $3, 'legitimate_interest', $4, $5)",
            shop.controller,
            identifier_mac(key, "email", value),
            PURPOSE,
            day(0),
            datetime.now(UTC) + timedelta(days=until),
        )
    again = await shop.person("email", "again@shop.example")
    await shop.record(again, event(1, day(1), DENIAL), day(1))
    lines = [
        {"identifier": {"type": "email", "value": f"{name}@shop.example"}} for name in ("ann", "over", "again", "eve")
    ]
    found, _ = await checked(dpo, lines)
    assert [answer["reasons"] for answer in found] == [
        ["never_asked", "objected"],
        ["never_asked"],
        ["denied"],
        ["never_asked"],
    ]
    found, _ = await checked(dpo, lines[:1], purpose="scoring")
    assert found[0]["reasons"] == ["never_asked"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"subject": "ann@shop.example"}\n', "/1/subject"),
        (b'{"identifier": {"type": "email"}}', "/1/identifier/value"),
        (b'{"identifier": {"type": "email", "value": "a"}, "ann@shop.example": 1}', "/1"),
        (b"{}", "/1"),
        (b"[" * 100, "/1"),
        (b"x" * 10_000, "/1"),
        (b"x" * 10_000 + b"\n", "/1"),
    ],
)
async def test_a_line_that_cannot_be_read_is_named_and_nothing_is_shown(
    dpo: Caller, shop: Controller, world: World, body: bytes, pointer: str
) -> None:
    whole = json.dumps(of(shop_subject := uuid4())[0]).encode() + b"\n" + body
    response = await dpo.client.post(
        "/v1/checks", params={"purpose": PURPOSE}, content=whole, headers={"authorization": f"Bearer {dpo.key}"}
    )
    assert (response.status_code, response.json()["pointer"]) == (422, pointer)
    assert "ann@shop" not in response.text
    assert str(shop_subject) not in response.text
    assert await access_records(world) == []


async def test_without_its_record_nothing_is_shown(dpo: Caller, shop: Controller, world: World) -> None:
    person = await granted(shop, None)
    await world.execute("UPDATE publishers SET revoked_at = now()")
    response = await posted(dpo, of(person.subject))
    assert response.status_code == 503, response.text
    assert "valid" not in response.text


async def test_a_list_may_be_longer_than_other_bodies(dpo: Caller) -> None:
    """And is answered to a client that reads nothing before it has sent everything."""
    found, summary = await checked(dpo, of(*[uuid4()] * 25_000))
    assert summary["checked"] == len(found) == 25_000


async def test_a_site_may_check_and_an_auditor_may_not(
    with_role: Callable[[Controller, str], Any], shop: Controller, world: World
) -> None:
    found, _ = await checked(await with_role(shop, "site"), of(uuid4()))
    assert found[0]["valid"] is False
    assert [record["access"]["role"] for record in await access_records(world)] == ["site"]
    assert (await posted(await with_role(shop, "admin"), of(uuid4()))).status_code == 403
