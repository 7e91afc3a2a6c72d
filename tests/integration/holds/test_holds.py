"""Legal holds: placed, reviewed, released by two, expiring; what they stop, and who is told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from schemas.errors import ConfigurationError
from schemas.record import format_time, read_entry
from services.ledger.acting import acting
from services.ledger.erasure.controller import erase_controller
from services.ledger.fsck.check import check
from tests.integration.holds.conftest import GROUND, House, hold_body
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event, fresh_uuid
from tests.support.linking import link_event
from tests.support.wait import until

pytestmark = pytest.mark.integration


async def classes(house: House, subject: UUID) -> list[str]:
    """The classes of a subject's records."""
    rows = await house.rows(
        "SELECT r.entry FROM payloads p JOIN records r USING (controller, log, index)"
        " JOIN logs l USING (controller, log) WHERE p.subject = $1 AND l.kind = 'consent' ORDER BY p.log, p.index",
        subject,
    )
    return [read_entry(row["entry"])["class"] for row in rows]


async def test_a_hold_is_a_record_of_the_person_and_says_why(house: House) -> None:
    eve = await house.person()
    placed = await house.place(subject=eve)
    assert placed["state"] == "standing"
    assert placed["subject"] == str(eve)
    assert placed["reason"] == "a claim was raised against the shop"
    assert placed["by"] == house.keys["privacy"].rpartition("_")[0]
    assert (placed["review_overdue"], placed["held_erasures"]) == (False, 0)
    assert await classes(house, eve) == ["consent", "request"]
    shown = await house.said("dpo", "GET", f"/v1/holds?subject={eve}")
    assert [hold["hold"] for hold in shown["holds"]] == [placed["hold"]]
    assert "reason" not in shown["holds"][0]
    assert await house.said("dpo", "GET", f"/v1/holds/{placed['hold']}") == placed
    history = await house.said("dpo", "GET", f"/v1/subjects/{eve}/history")
    what = history["records"][1]["parts"]["what"]
    assert what["type"] == "hold.placed"
    assert {"reason", "by"} & what["hold"].keys() == set()


async def test_a_held_person_is_not_erased_and_the_ask_says_so(house: House) -> None:
    eve = await house.person()
    placed = await house.place(subject=eve)
    answer = await house.ask("privacy", "POST", f"/v1/subjects/{eve}/erasure", GROUND, prefer="wait=20")
    said = answer.json()
    assert (answer.status_code, said["state"], said["stands"]) == (200, "held", True)
    assert said["hold"] == {"ground": "17(3)(e)", "until": placed["expires_at"]}
    assert await house.said("dpo", "GET", f"/v1/erasures/{said['erasure']}") == said
    assert await house.deployment.fetch("SELECT FROM subjects WHERE subject = $1", eve)
    assert not await house.deployment.fetch("SELECT FROM erasures WHERE subject = $1", eve)
    assert (await house.said("dpo", "GET", f"/v1/holds/{placed['hold']}"))["held_erasures"] == 1
    # The log says it under the id of the ask, and names nobody.
    (row,) = await house.rows(
        "SELECT r.entry, s.log FROM dedupe d JOIN records r USING (controller, log, index)"
        " JOIN payloads p USING (controller, log, index) JOIN subjects s USING (controller, subject)"
        " WHERE d.event = $1",
        house.name_of(said["erasure"]),
    )
    assert read_entry(row["entry"])["class"] == "request"
    assert row["log"] is not None
    await house.release(placed["hold"])
    assert (await house.said("dpo", "GET", f"/v1/erasures/{said['erasure']}"))["stands"] is False
    assert (await house.erase(eve))["state"] == "erased"
    # The old ask stays what it was; nothing of the hold is left but that.
    assert (await house.said("dpo", "GET", f"/v1/erasures/{said['erasure']}"))["state"] == "held"
    assert not await house.rows("SELECT FROM holds WHERE subject = $1", eve)


async def test_what_expired_holds_nobody(house: House) -> None:
    eve = await house.person()
    placed = await house.place(subject=eve)
    await house.rows("UPDATE holds SET expires_at = now() WHERE hold = $1", UUID(placed["hold"]))
    shown = await house.said("dpo", "GET", f"/v1/holds/{placed['hold']}")
    assert shown["state"] == "expired"
    assert (await house.said("dpo", "GET", f"/v1/holds?subject={eve}"))["holds"] == []
    assert len((await house.said("dpo", "GET", f"/v1/holds?subject={eve}&ended=true"))["holds"]) == 1
    late = await house.ask("dpo", "POST", f"/v1/holds/{placed['hold']}/release", {"reason": "over"})
    assert (late.status_code, late.json()["type"]) == (409, "/problems/hold-not-standing")
    assert (await house.erase(eve))["state"] == "erased"


async def test_a_review_moves_the_dates_and_a_missed_one_shows(house: House) -> None:
    eve = await house.person()
    placed = await house.place(subject=eve)
    path = f"/v1/holds/{placed['hold']}"
    await house.rows("UPDATE holds SET review_on = current_date - 1 WHERE hold = $1", UUID(placed["hold"]))
    assert (await house.said("privacy", "GET", path))["review_overdue"] is True
    later = hold_body(expires_at=format_time(datetime.now(UTC) + timedelta(days=60)))
    body = {name: later[name] for name in ("review_on", "expires_at", "reason")}
    reviewed = await house.said("privacy", "POST", f"{path}/review", body)
    assert (reviewed["review_overdue"], reviewed["expires_at"]) == (False, later["expires_at"])
    assert "reviewed_at" in reviewed
    assert await classes(house, eve) == ["consent", "request", "request"]


async def test_a_hold_is_released_by_two_people_and_one_of_them_is_the_dpo(house: House) -> None:
    eve = await house.person()
    hold = (await house.place(subject=eve))["hold"]
    path, reason = f"/v1/holds/{hold}/release", {"reason": "the claim was settled"}
    assert (await house.ask("privacy", "POST", path, reason)).status_code == 403
    asked = await house.said("dpo", "POST", path, reason)
    assert await house.said("dpo", "POST", path, reason) == asked
    approval = f"/v1/approvals/{asked['approval']}"
    alone = await house.ask("dpo", "POST", approval, {"verdict": "approved"})
    assert (alone.status_code, alone.json()["type"]) == (409, "/problems/second-person-needed")
    assert (await house.said("privacy", "GET", f"/v1/holds/{hold}"))["state"] == "standing"
    refused = await house.said("privacy", "POST", approval, {"verdict": "refused", "reason": "the appeal runs"})
    assert (refused["state"], refused["because"]) == ("refused", "the appeal runs")
    again = await house.ask("dpo-2", "POST", approval, {"verdict": "approved"})
    assert (again.status_code, again.json()["type"]) == (409, "/problems/approval-decided")
    anew = await house.said("dpo", "POST", path, reason)
    assert anew != asked
    done = await house.said("dpo-2", "POST", f"/v1/approvals/{anew['approval']}", {"verdict": "approved"})
    assert done["state"] == "done"
    # The same again does no harm.
    assert await house.said("dpo-2", "POST", f"/v1/approvals/{anew['approval']}", {"verdict": "approved"}) == done
    released = await house.said("dpo", "GET", f"/v1/holds/{hold}")
    assert released["state"] == "released"
    records = (await house.said("dpo", "GET", f"/v1/subjects/{eve}/history"))["records"]
    assert records[-1]["parts"]["what"]["hold"]["approval"] == anew["approval"]
    by, second = records[-1]["parts"]["context"]["by"], records[-1]["parts"]["context"]["with"]
    assert [by, second] == [house.keys[who].rpartition("_")[0] for who in ("dpo", "dpo-2")]


async def test_an_approved_release_is_done_by_whoever_runs_later(house: House) -> None:
    """The process that was asked died between the verdict and the event."""
    eve = await house.person()
    hold = (await house.place(subject=eve))["hold"]
    asked = await house.said("dpo", "POST", f"/v1/holds/{hold}/release", {"reason": "settled"})
    await house.rows(
        "UPDATE approvals SET verdict = 'approved', decided_by = 'ak_other', decided_at = now() WHERE approval = $1",
        UUID(asked["approval"]),
    )

    async def released() -> bool:
        return bool((await house.said("dpo", "GET", f"/v1/holds/{hold}"))["state"] == "released")

    await until(released, what="the worker releases the hold")


async def test_a_hold_on_one_of_two_linked_subjects_holds_both(house: House) -> None:
    for held in ("weak", "strong"):
        name = uuid4().hex[:8]
        tablet, account = f"t-{name}", f"a-{name}"
        weak = await house.person(tablet)
        link = link_event(1, tablet, account)
        link["id"] = str(uuid4())
        await house.deployment.publish([house.deployment.seal(link)])
        await house.deployment.drained()
        strong = await house.deployment.subject_of(account, "account")
        assert strong is not None
        hold = await house.place(subject=weak if held == "weak" else strong)
        for asked in (weak, strong):
            assert (await house.erase(asked))["state"] == "held", (held, asked == weak)
        await house.release(hold["hold"])
        assert (await house.erase(strong))["state"] == "erased"
        assert not await house.rows("SELECT FROM subjects WHERE subject = ANY($1)", [weak, strong])


async def test_a_hold_of_everybody_holds_everybody(house: House) -> None:
    eve = await house.person()
    hold = await house.place("dpo", everybody=True, ground="order", confidential=True)
    assert hold["everybody"] is True
    said = await house.erase(eve)
    # What is confidential: only that the law holds it.
    assert (said["state"], said["by"], "hold" in said) == ("held", "law", False)
    await house.release(hold["hold"])
    assert (await house.erase(eve))["state"] == "erased"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({}, "/subject"),
        ({"everybody": True, "subject": str(uuid4())}, "/subject"),
        ({"everybody": True, "expires_at": "2026-01-01T00:00:00Z"}, "/expires_at"),
        ({"everybody": True, "expires_at": "2099-01-01T00:00:00Z"}, "/expires_at"),
        ({"everybody": True, "review_on": "2098-01-01"}, "/review_on"),
        ({"everybody": True, "review_on": "2020-01-01"}, "/review_on"),
        ({"everybody": True, "ground": "because"}, "/ground"),
    ],
)
async def test_what_is_no_hold_is_refused(house: House, changes: dict[str, Any], pointer: str) -> None:
    answer = await house.ask("privacy", "POST", "/v1/holds", hold_body(**changes))
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer)


async def test_nobody_who_is_not_there_can_be_held(house: House) -> None:
    for body in (hold_body(subject=uuid4()), hold_body(grant=str(uuid4()))):
        assert (await house.ask("privacy", "POST", "/v1/holds", body)).status_code == 404
    gone = await house.person()
    await house.erase(gone)
    assert (await house.ask("privacy", "POST", "/v1/holds", hold_body(subject=gone))).status_code == 404
    for path in (f"/v1/holds/{uuid4()}", f"/v1/approvals/{uuid4()}"):
        assert (await house.ask("dpo", "GET", path)).status_code == 404


async def test_a_grant_preserves_whom_it_is_about(house: House) -> None:
    ann, bob, grant = await house.person(), await house.person(), uuid4()
    await house.rows(
        "INSERT INTO grants (controller, grant_id, case_reference, authority, subjects, ends_at, made_by)"
        " VALUES ($1, $2, 'C-7', 'CNIL', $3, now() + interval '9 days', 'ak_test')",
        house.deployment.controller,
        grant,
        [ann, bob],
    )
    first = await house.said("dpo", "POST", "/v1/holds", hold_body(grant=grant, ground="order"))
    assert {hold["subject"] for hold in first["holds"]} == {str(ann), str(bob)}
    assert {hold["grant"] for hold in first["holds"]} == {str(grant)}
    # Again: whoever is held already gets no second one.
    assert (await house.said("dpo", "POST", "/v1/holds", hold_body(grant=grant, ground="order")))["holds"] == []
    assert (await house.erase(ann))["state"] == "held"


async def test_the_log_fits_with_everything_that_was_held(house: House) -> None:
    report = await check(house.deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings


async def test_a_whole_controller_is_not_erased_over_a_hold(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
        eve = await deployment.subject_of("v-1")
        stated = hold_body(hold=fresh_uuid()) | {"confidential": False}
        await deployment.publish([deployment.seal_asked("hold.placed", {"hold": stated}, who={"subject": str(eve)})])
        await deployment.recorded(2)
    async with acting(deployment.settings()) as ledger:
        shop = ledger.pool, ledger.keys, ledger.high_water, ledger.suppression, ledger.eraser, "shop"
        with pytest.raises(ConfigurationError, match="held by law"):
            await erase_controller(*shop)
        await deployment.fetch("UPDATE holds SET expires_at = now()")
        assert await erase_controller(*shop) == 1
    assert not await deployment.fetch("SELECT FROM holds")
