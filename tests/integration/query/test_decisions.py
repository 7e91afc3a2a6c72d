"""What stands, at any moment: the projection, the fold over records, validity with its reasons, history."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from schemas.record import format_time
from tests.integration.query.conftest import Caller
from tests.support.deployment import BASE_TIME, consent_event
from tests.support.rows import Controller, Person, World, notice_content

pytestmark = pytest.mark.integration

GRANT = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent", "services": ["chatra"]}
DENIAL = GRANT | {"decision": "denied"}
PROFILING = {"purpose": "scoring", "decision": "not_objected", "legal_basis": "legitimate_interest"}


def day(number: float) -> datetime:
    return BASE_TIME + timedelta(days=number)


def event(number: int, time: datetime, *decisions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return consent_event(number, time=format_time(time), decisions=list(decisions or [GRANT]), **changes)


async def status(caller: Caller, person: Person, purpose: str = "chat-history", **moment: datetime) -> dict[str, Any]:
    moments = {name: format_time(value) for name, value in moment.items()}
    return await caller.ask(f"/v1/subjects/{person.subject}/status", purpose=purpose, **moments)


async def consents(caller: Caller, person: Person, **moment: datetime) -> list[dict[str, Any]]:
    moments = {name: format_time(value) for name, value in moment.items()}
    answer = await caller.ask(f"/v1/subjects/{person.subject}/consents", **moments)
    decisions: list[dict[str, Any]] = answer["decisions"]
    return decisions


@pytest.fixture
async def notice(shop: Controller) -> str:
    return await shop.notice(notice_content(), day(-10))


async def granted(shop: Controller, notice: str | None, number: int = 1, **changes: Any) -> Person:
    """A person with one grant on day 0, received a second later."""
    person = await shop.person()
    if notice is not None:
        changes["notice"] = {"sha256": notice, "language": "fr"}
    await shop.record(person, event(number, day(0), **changes), day(0) + timedelta(seconds=1))
    return person


async def test_a_standing_consent_shows_its_record(dpo: Caller, shop: Controller, notice: str) -> None:
    await shop.fill(2)
    person = await granted(shop, notice)
    (answer,) = await consents(dpo, person)
    assert answer == {
        "purpose": "chat-history",
        "legal_basis": "consent",
        "decision": "granted",
        "valid": True,
        "reasons": [],
        "decided_at": "2026-11-01T09:00:00.000000Z",
        "received_at": "2026-11-01T09:00:01.000000Z",
        "expires_at": format_time(day(180)),
        "log": "shop",
        "index": 2,
        "event": consent_event(1)["id"],
        "type": "consent.given",
        "time": "2026-11-01T09:00:00.000000Z",
        "site": "shop.example",
        "posted_by": "server",
        "words": "unverified",
        "marks": [],
        "notice": {"sha256": notice, "language": "fr", "notice_id": "chat", "notice_version": "1"},
        "services": ["chatra"],
    }
    said = await status(dpo, person)
    assert (said["valid"], said["reasons"], said["decision"]) == (True, [], "granted")


async def test_at_and_known_at_are_two_questions(dpo: Caller, shop: Controller, notice: str) -> None:
    """A grant of day 0 arrives on day 2, a withdrawal of day 3 arrives on day 5."""
    person = await shop.person()
    words = {"sha256": notice, "language": "fr"}
    await shop.record(person, event(1, day(0), notice=words), day(2))
    await shop.record(person, event(2, day(3), DENIAL, type="consent.withdrawn"), day(5))
    for at, known_at, decision in [
        (day(1), day(1), None),  # true, and nobody could know
        (day(1), day(2), "granted"),
        (day(4), day(4), "granted"),
        (day(4), day(9), "granted"),  # a denial ranks when it was received
        (day(5), day(9), "denied"),
        (day(9), day(4), "granted"),
        (day(-1), day(9), None),
    ]:
        said = await status(dpo, person, at=at, known_at=known_at)
        assert (said["decision"], said["valid"]) == (decision, decision == "granted"), (at, known_at)
    assert (await status(dpo, person))["reasons"] == ["withdrawn"]
    assert (await status(dpo, person, known_at=day(4)))["decision"] == "granted"
    assert (await status(dpo, person, at=day(1)))["decision"] == "granted"


async def test_the_projection_and_the_fold_agree(dpo: Caller, shop: Controller, notice: str) -> None:
    """Whatever the order of arrival, the state now is the fold at now."""
    words = {"sha256": notice, "language": "fr"}
    person = await shop.person()
    arrivals: list[tuple[float, dict[str, Any], float]] = [
        (3, GRANT, 9),
        (1, DENIAL, 1),
        (2, GRANT, 8),
        (7, PROFILING, 7),
        (5, DENIAL, 6),
        (6.5, GRANT, 6.5),
    ]
    for number, (time, decision, received) in enumerate(arrivals):
        await shop.record(person, event(number, day(time), decision, notice=words), day(received))
        assert await consents(dpo, person) == await consents(dpo, person, at=datetime.now(UTC))
    assert [answer["index"] for answer in await consents(dpo, person)] == [5, 3]


async def test_the_earliest_copy_ranks(dpo: Caller, shop: Controller, world: World, notice: str) -> None:
    """The record's own received_at is that of the copy that came first to the ledger, not to us."""
    person = await granted(shop, notice)
    await world.execute("UPDATE dedupe SET received_at = $1", day(-1))
    (answer,) = await consents(dpo, person, known_at=day(-1))
    assert answer["received_at"] == answer["decided_at"] == format_time(day(-1))
    assert await consents(dpo, person, known_at=day(-2)) == []


async def test_never_asked(dpo: Caller, shop: Controller, notice: str) -> None:
    person = await granted(shop, notice)
    said = await status(dpo, person, "chat-proactive")
    assert (said["valid"], said["reasons"], said["decision"]) == (False, ["never_asked"], None)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("consent.refused", "denied"), ("consent.withdrawn", "withdrawn"), ("consent.expired", "expired")],
)
async def test_a_denial_says_how(dpo: Caller, shop: Controller, notice: str, kind: str, reason: str) -> None:
    person = await granted(shop, notice)
    await shop.record(person, event(2, day(1), DENIAL, type=kind), day(1))
    said = await status(dpo, person)
    assert (said["valid"], said["reasons"], said["type"]) == (False, [reason], kind)


async def test_expiry_by_the_event_and_by_the_notice(dpo: Caller, shop: Controller, notice: str) -> None:
    by_event = await granted(shop, notice, valid_until=format_time(day(30)))
    by_notice = await granted(shop, notice, 2)
    for person, end in ((by_event, day(30)), (by_notice, day(180))):
        assert (await status(dpo, person, at=end - timedelta(microseconds=1)))["valid"] is True
        said = await status(dpo, person, at=end)
        assert (said["reasons"], said["expires_at"]) == (["expired"], format_time(end))


async def test_words_nobody_knows(dpo: Caller, shop: Controller, notice: str) -> None:
    unknown = "ab" * 32
    strange, silent = await granted(shop, unknown), await granted(shop, None, 2)
    for person in (strange, silent):
        assert (await status(dpo, person))["reasons"] == ["words_unverified"]
    await shop.match(unknown, notice, day(3))
    said = await status(dpo, strange, at=day(4))
    assert (said["valid"], said["words"], said["expires_at"]) == (True, "matched", format_time(day(180)))
    assert (await status(dpo, strange, at=day(4), known_at=day(2)))["reasons"] == ["words_unverified"]
    assert (await status(dpo, silent, at=day(4)))["reasons"] == ["words_unverified"]


async def test_a_notice_published_later_makes_the_words_known(dpo: Caller, shop: Controller, notice: str) -> None:
    later = notice_content(version="2")
    shown = await shop.notice(later, day(5))
    person = await granted(shop, shown)
    assert (await status(dpo, person, known_at=day(4)))["reasons"] == ["words_unverified"]
    assert (await status(dpo, person, at=day(6)))["valid"] is True


async def test_a_notice_that_asks_again(dpo: Caller, shop: Controller, notice: str) -> None:
    person = await granted(shop, notice)
    await shop.notice(notice_content(version="2"), day(10))
    await shop.notice(notice_content(notice_id="cookies", version="9", asks_again=True), day(11))
    assert (await status(dpo, person, at=day(12)))["valid"] is True
    second = await shop.notice(notice_content(version="3", asks_again=True), day(20))
    assert (await status(dpo, person, at=day(19)))["valid"] is True
    assert (await status(dpo, person, at=day(20)))["reasons"] == ["notice_changed"]
    assert (await status(dpo, person, at=day(20), known_at=day(19)))["valid"] is True
    # A late translation of the version that was answered is not a later version.
    renewed = await granted(shop, second, 2)
    await shop.notice(notice_content(version="3", asks_again=True, language="en"), day(30))
    assert (await status(dpo, renewed, at=day(31)))["valid"] is True


async def test_double_opt_in(dpo: Caller, shop: Controller, notice: str) -> None:
    asked = {"requested_at": format_time(day(0))}
    open_, confirmed = await granted(shop, notice, double_opt_in=asked), None
    assert (await status(dpo, open_))["reasons"] == ["unconfirmed"]
    confirmed = await granted(shop, notice, 2, double_opt_in=asked | {"confirmed_at": format_time(day(1))})
    assert (await status(dpo, confirmed))["valid"] is True
    assert (await status(dpo, confirmed, at=day(0.5)))["reasons"] == ["unconfirmed"]


async def test_all_reasons_are_told(dpo: Caller, shop: Controller) -> None:
    person = await granted(
        shop, None, valid_until=format_time(day(2)), double_opt_in={"requested_at": format_time(day(0))}
    )
    assert (await status(dpo, person, at=day(3)))["reasons"] == ["expired", "words_unverified", "unconfirmed"]


async def test_another_legal_basis_is_no_consent(dpo: Caller, shop: Controller, notice: str) -> None:
    person = await shop.person()
    words = {"sha256": notice, "language": "fr"}
    await shop.record(person, event(1, day(0), PROFILING, notice=words), day(0))
    said = await status(dpo, person, "scoring")
    assert (said["valid"], said["reasons"], said["decision"]) == (False, ["other_legal_basis"], "not_objected")
    await shop.record(person, event(2, day(1), PROFILING | {"decision": "objected"}), day(1))
    assert (await status(dpo, person, "scoring"))["reasons"] == ["other_legal_basis", "objected"]
    consent = PROFILING | {"decision": "granted", "legal_basis": "consent"}
    await shop.record(person, event(3, day(2), consent, notice=words), day(2))
    assert (await status(dpo, person, "scoring"))["valid"] is True


async def test_deleted_evidence_proves_nothing(dpo: Caller, shop: Controller, world: World, notice: str) -> None:
    person = await granted(shop, notice)
    await world.execute("UPDATE payloads SET what = NULL, what_digest = $1", bytes(32))
    assert (await status(dpo, person))["reasons"] == ["erased"]
    assert (await status(dpo, person, at=day(1)))["reasons"] == ["erased"]
    assert (await status(dpo, person, "other"))["reasons"] == ["erased"]
    (answer,) = await consents(dpo, person)
    assert (answer["decision"], answer["valid"], "event" in answer) == ("granted", False, False)


async def test_unknown_subjects_and_stand_ins_are_nobody(dpo: Caller, shop: Controller) -> None:
    stand_in = await shop.person(stand_in=True)
    for subject in (uuid4(), stand_in.subject):
        for route in ("consents", "history", "status?purpose=chat"):
            assert (
                await dpo.client.get(f"/v1/subjects/{subject}/{route}", headers={"authorization": f"Bearer {dpo.key}"})
            ).status_code == 404


async def test_history_page_by_page(dpo: Caller, shop: Controller, with_role: Callable[..., Any]) -> None:
    person = await shop.person("email", "eve@example.com")
    for number in range(7):
        await shop.fill(1)
        changes = {"subject": "v-eve", "context": {"country": "FR"}}
        await shop.record(person, event(number, day(number), **changes), day(number))
        if number == 4:
            await shop.publish()
    path = f"/v1/subjects/{person.subject}/history"
    pages, cursor = [], None
    while True:
        page = await dpo.ask(path, limit=3, **({} if cursor is None else {"cursor": cursor}))
        pages.append(page["records"])
        cursor = page["next"]
        if cursor is None:
            break
    assert [[record["index"] for record in page] for page in pages] == [[1, 3, 5], [7, 9, 11], [13]]
    everything = await dpo.ask(path)
    assert everything["records"] == [record for page in pages for record in page]
    first, last = everything["records"][0], everything["records"][-1]
    assert (first["state"], last["state"]) == ("published", "recorded")
    assert first["parts"]["who"]["identifiers"][0]["value"] == "v-eve"
    assert first["parts"]["context"] == {"country": "FR"}
    assert (first["event"], first["class"], first["deleted"]) == (consent_event(0)["id"], "consent", [])
    auditor = await with_role(shop, "auditor")
    seen = await auditor.get(path)
    assert "v-eve" not in seen.text
    assert set(seen.json()["records"][0]["parts"]) == {"what", "context"}


async def test_history_shows_what_was_deleted(dpo: Caller, shop: Controller, world: World, notice: str) -> None:
    person = await granted(shop, notice)
    await world.execute("UPDATE payloads SET context = NULL")
    (record,) = (await dpo.ask(f"/v1/subjects/{person.subject}/history"))["records"]
    assert (set(record["parts"]), record["deleted"]) == ({"who", "what"}, ["context"])


@pytest.mark.parametrize(
    ("route", "query", "pointer"),
    [
        ("consents", "at=yesterday", "/at"),
        ("consents", "at=2026-11-01T09:00:00%2B01:00", "/at"),
        ("consents", "known_at=2026-13-01T09:00:00Z", "/known_at"),
        ("consents", "knownat=2026-11-01T09:00:00Z", None),
        ("status", "", "/purpose"),
        ("status", "purpose=Chat%20History", "/purpose"),
        ("history", "limit=0", "/limit"),
        ("history", "limit=501", "/limit"),
        ("history", "cursor=AAAA", "/cursor"),
        ("history", "cursor=%FF", "/cursor"),
        ("history", "cursor=AAAAAQAAAAAAAAAD=", "/cursor"),
    ],
)
async def test_parameters_that_are_not_valid(
    dpo: Caller, shop: Controller, notice: str, route: str, query: str, pointer: str | None
) -> None:
    person = await granted(shop, notice)
    response = await dpo.client.get(
        f"/v1/subjects/{person.subject}/{route}?{query}", headers={"authorization": f"Bearer {dpo.key}"}
    )
    problem = response.json()
    assert (response.status_code, problem["type"]) == (422, "/problems/invalid-parameter")
    assert problem.get("pointer") in {pointer, "" if pointer is None else pointer}
    for value in ("yesterday", "Chat History", "knownat", "AAAA"):
        assert value not in response.text
