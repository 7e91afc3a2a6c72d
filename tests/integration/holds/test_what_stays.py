"""What an erasure leaves of objections, who comes back after one, restrictions, and what a person is told of holds."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from schemas.notices import notice_bytes, notice_hash
from schemas.record import format_time
from services.capabilities import Capabilities
from services.keys import ControllerKeys, identifier_mac, read_secret
from services.keys.file_provider import FileProvider
from services.ledger.erasure.suppressing import end_suppressions
from services.ledger.rebuild import rebuild
from tests.integration.holds.conftest import GROUND, House, hold_body
from tests.support.linking import link_event
from tests.support.rows import notice_content
from tests.support.wait import until

pytestmark = pytest.mark.integration

OBJECTED = {"purpose": "profiling", "decision": "objected", "legal_basis": "legitimate_interest"}
GRANTED = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent"}


async def status(house: House, subject: UUID, purpose: str, **moment: datetime) -> dict[str, Any]:
    query = "".join(f"&{name}={format_time(at)}" for name, at in moment.items())
    return await house.said("dpo", "GET", f"/v1/subjects/{subject}/status?purpose={purpose}{query}")


# --- objections ---


async def test_an_objection_outlives_the_erasure_under_a_name_that_leads_nowhere(house: House) -> None:
    value = f"v-{uuid4().hex}"
    eve = await house.person(value, decisions=[OBJECTED, GRANTED])
    erased = await house.erase(eve)
    keys = ControllerKeys(house.deployment.keys / "controllers", FileProvider(house.deployment.keys / "root.key"))
    rows = await house.rows("SELECT * FROM suppressed_objections WHERE purpose = 'profiling'")
    assert [row["legal_basis"] for row in rows] == ["legitimate_interest"]
    assert rows[0]["identifier"] != identifier_mac(keys.identifier_key("shop"), "cookie", value)
    kept = rows[0]["expires_at"] - datetime.fromisoformat(erased["erased_at"])
    assert timedelta(days=3 * 365 - 1) < kept < timedelta(days=3 * 365 + 2)
    # Somebody else never objected; who comes back did, and is told nothing of who it was.
    other = await house.person()
    assert (await status(house, other, "profiling"))["reasons"] == ["never_asked"]
    back = await house.person(value, decisions=[GRANTED])
    assert back != eve
    said = await status(house, back, "profiling")
    assert (said["valid"], said["reasons"]) == (False, ["never_asked", "objected"])
    assert said["objected_before_erasure"]["legal_basis"] == "legitimate_interest"
    before = datetime.now(UTC) - timedelta(days=1)
    assert "objected_before_erasure" not in await status(house, back, "profiling", at=before)
    # What they say now counts before it.
    now = {**OBJECTED, "decision": "not_objected"}
    await house.posted(value, decisions=[now])
    assert (await status(house, back, "profiling"))["reasons"] == ["other_legal_basis"]
    connection = await house.deployment.connect()
    try:
        assert await end_suppressions(connection, datetime.now(UTC)) == 0
        assert await end_suppressions(connection, datetime.now(UTC) + timedelta(days=3 * 366)) == 1
    finally:
        await connection.close()
    assert not await house.rows("SELECT FROM suppressed_objections")


async def test_the_controller_says_how_long_and_linked_identifiers_are_kept_too(house: House) -> None:
    await house.state_terms(suppression="P30D")
    try:
        cookie, account = f"t-{uuid4().hex}", f"a-{uuid4().hex}"
        await house.person(cookie, decisions=[{**OBJECTED, "purpose": "ranking"}])
        link = link_event(1, cookie, account)
        link["id"] = str(uuid4())
        await house.deployment.publish([house.deployment.seal(link)])
        await house.deployment.drained()
        strong = await house.deployment.subject_of(account, "account")
        assert strong is not None
        await house.erase(strong)
        rows = await house.rows("SELECT * FROM suppressed_objections WHERE purpose = 'ranking'")
        # Under the cookie and under the account: one person.
        assert len({row["identifier"] for row in rows}) == 2
        assert all(row["expires_at"] < datetime.now(UTC) + timedelta(days=31) for row in rows)
        back = await house.person(account, decisions=[GRANTED])
        assert (await status(house, back, "ranking"))["reasons"] == ["never_asked"]
    finally:
        await house.state_terms()


# --- coming back ---


async def test_erased_in_may_and_back_in_june(house: House) -> None:
    """A new subject with a valid consent of its own; the old ones stay gone; a late event of April changes nothing."""
    value = f"v-{uuid4().hex}"
    april = datetime.now(UTC) - timedelta(days=60)
    await house.posted(value, at=april, decisions=[GRANTED, {**GRANTED, "purpose": "newsletter"}])
    old = await house.deployment.subject_of(value)
    assert old is not None
    may = await house.erase(old)
    new = await house.person(value, decisions=[GRANTED], notice=await _notice(house))
    assert new != old
    assert (await status(house, new, "chat-history"))["valid"] is True
    assert (await status(house, new, "newsletter"))["reasons"] == ["never_asked"]
    size = await house.deployment.size()
    state = await house.said("dpo", "GET", f"/v1/subjects/{new}/consents")
    # Three of April: a refusal, one that comes now but was done then, and a copy that was received then.
    denied = [{**GRANTED, "decision": "denied"}]
    await house.posted(value, at=april + timedelta(hours=1), decisions=denied, type="consent.withdrawn")
    await house.posted(value, at=april - timedelta(hours=1), decisions=[{**GRANTED, "purpose": "newsletter"}])
    assert await house.deployment.size() == size
    later = await house.said("dpo", "GET", f"/v1/subjects/{new}/consents")
    assert later["decisions"] == state["decisions"]
    assert (await status(house, new, "chat-history"))["valid"] is True
    # In April, as it is known now: nothing was asked of the one who came in June; and the old one is gone.
    assert (await status(house, new, "chat-history", at=april + timedelta(days=1)))["reasons"] == ["never_asked"]
    gone = await house.said("dpo", "GET", f"/v1/subjects/{old}/history")
    assert (gone["records"], gone["erased_at"]) == ([], may["erased_at"])
    found = await house.said("dpo", "POST", "/v1/subjects/lookup", {"identifier": {"type": "cookie", "value": value}})
    assert found == {"subject": str(new)}


async def _notice(house: House) -> dict[str, str]:
    """Words that are known, so that a grant can be valid."""
    raw = notice_bytes(notice_content())
    await house.rows(
        "INSERT INTO notices (controller, notice, site, language, content)"
        " SELECT controller, $1, site, 'fr', $2 FROM sites WHERE name = 'shop.example' ON CONFLICT DO NOTHING",
        notice_hash(raw),
        raw,
    )
    return {"sha256": notice_hash(raw).hex(), "language": "fr"}


# --- restrictions ---


async def restrict(house: House, subject: UUID, event_type: str, *purposes: str) -> None:
    members = {"restriction": {"purposes": list(purposes)} if purposes else {}}
    message = house.deployment.seal_asked(event_type, members, who={"subject": str(subject)})
    await house.deployment.publish([message])
    await house.deployment.drained()


async def test_a_restriction_is_a_reason_now_and_for_its_time(house: House) -> None:
    value = f"v-{uuid4().hex}"
    both = [GRANTED, {**GRANTED, "purpose": "newsletter"}]
    eve = await house.person(value, decisions=both, notice=await _notice(house))
    assert (await status(house, eve, "chat-history"))["valid"] is True
    before = datetime.now(UTC)
    await restrict(house, eve, "restriction.placed", "chat-history")
    during = datetime.now(UTC)
    said = await status(house, eve, "chat-history")
    assert (said["valid"], said["reasons"]) == (False, ["restricted"])
    assert (await status(house, eve, "newsletter"))["valid"] is True
    await restrict(house, eve, "restriction.placed")
    assert (await status(house, eve, "newsletter"))["reasons"] == ["restricted"]
    await restrict(house, eve, "restriction.lifted", "newsletter")
    # Of everything is of everything: lifting one purpose leaves it.
    assert (await status(house, eve, "newsletter"))["reasons"] == ["restricted"]
    await restrict(house, eve, "restriction.lifted")
    assert [(await status(house, eve, one))["valid"] for one in ("newsletter", "chat-history")] == [True, False]
    await restrict(house, eve, "restriction.lifted", "chat-history")
    for purpose in ("chat-history", "newsletter"):
        assert (await status(house, eve, purpose))["valid"] is True
    assert (await status(house, eve, "chat-history", at=during))["reasons"] == ["restricted"]
    assert (await status(house, eve, "chat-history", at=before))["valid"] is True
    # As it was known before, there was none.
    assert (await status(house, eve, "chat-history", known_at=before))["valid"] is True
    assert [row["lifted_at"] is None for row in await house.rows("SELECT * FROM restrictions")] == [False, False]
    await house.erase(eve)
    assert not await house.rows("SELECT FROM restrictions WHERE subject = $1", eve)


async def test_a_restriction_of_an_account_is_one_of_the_browser_that_is_signed_in(house: House) -> None:
    cookie, account = f"t-{uuid4().hex}", f"a-{uuid4().hex}"
    weak = await house.person(cookie)
    now = datetime.now(UTC)
    link = link_event(1, cookie, account, time=format_time(now))
    link["id"] = str(uuid4())
    await house.deployment.publish([house.deployment.seal(link, received_at=now)])
    await house.deployment.drained()
    strong = await house.deployment.subject_of(account, "account")
    assert strong is not None
    await house.posted(cookie, decisions=[GRANTED], notice=await _notice(house))
    for one in (weak, strong):
        assert (await status(house, one, "chat-history"))["valid"] is True, one == weak
    await restrict(house, strong, "restriction.placed")
    for one in (weak, strong):
        assert "restricted" in (await status(house, one, "chat-history"))["reasons"], one == weak


# --- telling ---


def capability_of(house: House, value: str) -> dict[str, str]:
    claims = {"site": "shop.example", "type": "cookie", "value": value, "exp": int(time.time()) + 600}
    token = Capabilities(read_secret(house.deployment.keys / "capabilities.key")).seal("visitor", claims)
    return {"authorization": f"Bearer {token}"}


async def test_a_person_is_told_of_a_hold_as_far_as_the_law_lets(house: House) -> None:
    value = f"v-{uuid4().hex}"
    eve = await house.person(value)
    mine = capability_of(house, value)
    assert (await house.client.get("/v1/me/holds", headers=mine)).json() == {"holds": []}
    secret = await house.place(subject=eve, ground="order", confidential=True)
    assert (await house.client.get("/v1/me/holds", headers=mine)).json() == {"holds": []}
    told = await house.place(subject=eve)
    (shown,) = (await house.client.get("/v1/me/holds", headers=mine)).json()["holds"]
    assert shown == {
        "ground": "17(3)(e)",
        "since": told["placed_at"],
        "until": told["expires_at"],
        "review_on": told["review_on"],
    }
    await house.release(secret["hold"])
    history = (await house.client.get("/v1/me/history", headers=mine)).json()["records"]
    assert [record["parts"]["what"]["type"] for record in history] == ["consent.given"]
    # Of an erasure that both stop, the one that may be told is told.
    assert (await house.erase(eve))["hold"]["ground"] == "17(3)(e)"


# --- at the same moment ---


async def test_a_hold_that_was_answered_stands_whoever_asks_at_the_same_moment(house: House) -> None:
    people = [await house.person() for _ in range(6)]
    for eve in people:
        placing = house.ask("privacy", "POST", "/v1/holds", hold_body(subject=eve))
        placed, erasure = await asyncio.gather(placing, house.erase(eve))
        if placed.status_code == 201:
            assert erasure["state"] == "held"
            assert await house.rows("SELECT FROM subjects WHERE subject = $1", eve)
        else:
            assert (placed.status_code, erasure["state"]) == (404, "erased")
            assert not await house.rows("SELECT FROM holds WHERE subject = $1", eve)


async def test_a_rebuild_leaves_what_recording_left(house: House) -> None:
    eve = await house.person()
    placed, settled = await house.place(subject=eve), await house.place(subject=eve, ground="order")
    later = hold_body(expires_at=format_time(datetime.now(UTC) + timedelta(days=60)))
    review = {name: later[name] for name in ("review_on", "expires_at", "reason")}
    await house.said("dpo", "POST", f"/v1/holds/{placed['hold']}/review", review)
    await house.release(settled["hold"])
    for event_type, purposes in (("placed", ["a"]), ("placed", []), ("lifted", ["a"])):
        await restrict(house, eve, f"restriction.{event_type}", *purposes)
    assert (await house.erase(eve))["state"] == "held"

    async def rows() -> list[list[dict[str, Any]]]:
        held = "SELECT e.* FROM held_erasures e JOIN holds h USING (controller, hold) WHERE h.subject = $1"
        of_eve = (f"SELECT * FROM {table} WHERE subject = $1 ORDER BY event, 2" for table in ("holds", "restrictions"))
        return [[dict(row) for row in await house.rows(sql, eve)] for sql in (*of_eve, held)]

    before = await rows()
    assert [len(found) for found in before] == [2, 2, 1]
    await rebuild(house.deployment.settings(), progress=lambda *_: None)
    assert await rows() == before


async def test_a_hold_that_comes_behind_an_erasure_is_answered_as_not_there(house: House) -> None:
    """The ledger is at the erasure already when the hold is asked for: it is recorded, and holds nobody."""
    eve = await house.person()
    connection = await house.deployment.connect()

    async def ledger_waits() -> bool:
        return bool(await house.rows("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

    async def hold_is_asked() -> bool:
        return len(await house.rows("SELECT FROM inbox")) == 2

    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM log_heads FOR UPDATE")
            await house.said("privacy", "POST", f"/v1/subjects/{eve}/erasure", GROUND)
            await until(ledger_waits, what="the ledger waits for the head")
            placing = asyncio.create_task(house.ask("privacy", "POST", "/v1/holds", hold_body(subject=eve)))
            await until(hold_is_asked, what="the hold is on its way")
        assert (await placing).status_code == 404
    finally:
        await connection.close()
    assert not await house.rows("SELECT FROM subjects WHERE subject = $1", eve)
    assert not await house.rows("SELECT FROM holds WHERE subject = $1", eve)
