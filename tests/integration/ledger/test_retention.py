"""Retention on real Postgres: parts go when their time is up, what stands keeps standing, and fsck agrees each time."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from schemas.record import read_entry
from services.ledger.acting import acting
from services.ledger.rebuild import rebuild
from services.ledger.successor import succeed
from tests.support.databases import Database
from tests.support.deployment import BASE_TIME, Deployment
from tests.support.retaining import DAY, Retaining, decided, hold
from tests.support.wait import until

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC)
# Far enough from the day on which the tests run: an entry's own time is the real one.
LATER = NOW + 100 * DAY


@pytest.fixture
async def retaining(database: Database, tmp_path: Path) -> AsyncIterator[Retaining]:
    """With a ledger that records; runs are the test's own."""
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    made = Retaining(deployment)
    await made.stop_ledgers()
    async with deployment.ledger():
        yield made


async def test_circumstances_go_after_90_days_and_nothing_else(retaining: Retaining) -> None:
    await retaining.state("logs", then="clear-part", part="context")
    retaining.happens(0, "ada", decided("chat", "granted"))
    retaining.happens(0, None, decided("chat", "denied"), type="consent.refused")
    retaining.happens(0, "ada", type="notice.served")
    assert (await retaining.run(NOW + 89 * DAY))["parts"] == {}
    preview = await retaining.run(LATER, is_preview=True)
    assert await retaining.parts() == ["WHC"] * 3
    assert {(one["log"], one["index"], one["part"]) for one in preview["sample"]} == {
        ("shop", index, "context") for index in range(3)
    }
    counts = await retaining.run(LATER)
    assert counts["parts"] == preview["parts"] == {"logs": {"context": 3}}
    assert counts["sample"] == []
    assert await retaining.parts() == ["WH"] * 3
    assert await retaining.stands() == {"chat": "granted"}
    (row,) = await retaining.deployment.fetch("SELECT entry FROM records ORDER BY index DESC LIMIT 1")
    entry = read_entry(row["entry"])
    assert (entry["class"], entry["erased"]) == ("erasure", {"who": 0, "what": 0, "context": 3})
    await retaining.fits()
    size = await retaining.deployment.size()
    assert (await retaining.run(LATER))["parts"] == {}
    assert await retaining.deployment.size() == size


async def test_a_part_stays_while_any_purpose_in_it_has_a_ground(retaining: Retaining) -> None:
    await retaining.state("news", then="clear-part", begins="withdrawn", after="P10D", purposes=["news"])
    retaining.happens(0, "ada", decided("news", "granted"), decided("chat", "granted"))
    retaining.happens(1, "ada", decided("news", "granted"), type="consent.renewed")
    retaining.happens(2, "ada", decided("news", "denied"), type="consent.withdrawn")
    # The first record keeps its grant of news, so nothing that overrules it may go.
    assert (await retaining.run(LATER))["parts"] == {"news": {"who": 2, "context": 2}}
    assert await retaining.stands() == {"chat": "granted", "news": "denied"}
    await retaining.state("chat", then="clear-part", begins="received", after="P1D", purposes=["chat"])
    retaining.happens(3, "ada", decided("chat", "denied"), type="consent.withdrawn")
    # Now all of it goes but the withdrawal of chat, which stands.
    assert (await retaining.run(LATER))["parts"]["news"]["what"] == 2
    assert await retaining.parts() == ["", "", "", "H"]
    assert await retaining.stands() == {"chat": "denied"}
    await retaining.fits()


async def test_what_stands_is_not_too_old_and_a_rebuild_says_the_same(retaining: Retaining) -> None:
    await retaining.state("old", then="clear-part", part="what")
    for day, decision in ((0, "denied"), (1, "granted"), (2, "granted")):
        retaining.happens(day, "ada", decided("chat", decision))
    retaining.happens(0, "bob", decided("chat", "denied"), type="consent.refused")
    counts = await retaining.run(LATER)
    assert counts["parts"] == {"old": {"who": 2, "what": 2, "context": 2}}
    assert await retaining.parts() == ["", "", "WHC", "WHC"]
    before = await retaining.deployment.state()
    await rebuild(retaining.deployment.settings(), progress=lambda *_: None)
    assert await retaining.deployment.state() == before
    await retaining.fits()
    # The erasure of somebody with cleared records leaves nothing either, and needs no walk over the dedupe.
    subject = await retaining.deployment.subject_of("ada")
    assert subject is not None
    await retaining.deployment.publish([retaining.deployment.seal_erasure(subject)])
    await until(lambda: gone(retaining.deployment, "ada"), what="ada is erased")
    await retaining.fits()


async def gone(deployment: Deployment, value: str) -> bool:
    return await deployment.subject_of(value) is None


async def test_a_withdrawal_erases_after_its_grace_and_a_new_grant_before_cancels_it(retaining: Retaining) -> None:
    await retaining.state("news", then="erase-subject", begins="withdrawn", purposes=["news"])
    for name in ("ada", "bob", "eve"):
        retaining.happens(0, name, decided("news", "granted"))
        retaining.happens(1, name, decided("news", "denied"), type="consent.withdrawn")
    retaining.happens(80, "bob", decided("news", "granted"))
    retaining.happens(0, "may", decided("news", "granted"))
    at = BASE_TIME + 91 * DAY
    assert (await retaining.run(at - DAY))["erased"] == {}
    counts = await retaining.run(at)
    assert counts["erased"] == {"news": 2}
    assert [await gone(retaining.deployment, name) for name in ("ada", "bob", "eve", "may")] == [
        True,
        False,
        True,
        False,
    ]
    rows = await retaining.deployment.fetch("SELECT ground FROM erasures ORDER BY number")
    assert [row["ground"] for row in rows] == ["17(1)(b)"] * 2
    (row,) = await retaining.deployment.fetch("SELECT count(*) AS n FROM dockets WHERE closed_at IS NULL")
    assert row["n"] == 2
    await retaining.fits()


async def test_a_deleted_account_can_be_restored_for_90_days(retaining: Retaining) -> None:
    await retaining.state("account", then="erase-subject", begins="account-deleted")
    for name in ("ada", "bob", "eve"):
        retaining.happens(0, name, decided("chat", "granted"))
        retaining.happens(1, name, type="account.deleted")
    retaining.happens(20, "bob", type="account.restored")
    retaining.happens(30, "eve", type="account.deleted")
    # It arrives late, and was done before the deletion that counts.
    retaining.happens(10, "eve", type="account.restored")
    counts = await retaining.run(BASE_TIME + 92 * DAY)
    assert counts["erased"] == {"account": 1}
    counts = await retaining.run(BASE_TIME + 121 * DAY)
    assert counts["erased"] == {"account": 1}
    assert [await gone(retaining.deployment, name) for name in ("ada", "bob", "eve")] == [True, False, True]
    assert [
        row["deleted_at"] for row in await retaining.deployment.fetch("SELECT deleted_at FROM account_deletions")
    ] == [BASE_TIME + DAY]
    await retaining.fits()


async def test_what_a_law_keeps_stays_and_the_rest_of_the_person_goes(retaining: Retaining) -> None:
    await retaining.state("account", then="erase-subject", begins="account-deleted")
    until_when = {"DE": "P10Y", "*": "P6Y"}
    await retaining.state("bills", then="keep", after=None, ground="17(3)(b)", purposes=["bill"], until=until_when)
    for name, country in (("ada", "DE"), ("bob", "FR")):
        retaining.happens(0, name, decided("bill", "granted"), context={"country": country})
        retaining.happens(0, name, decided("chat", "granted"))
        retaining.happens(1, name, type="account.deleted")
    counts = await retaining.run(BASE_TIME + 100 * DAY)
    assert counts["erased"] == {}
    assert await retaining.parts() == ["WHC", "", "WHC"[:2], "WHC", "", "WH"]
    await retaining.fits()
    counts = await retaining.run(BASE_TIME + 7 * 366 * DAY)
    assert counts["erased"] == {"account": 1}
    assert [await gone(retaining.deployment, name) for name in ("ada", "bob")] == [False, True]


async def test_nothing_goes_over_a_hold_an_open_request_or_a_restriction(retaining: Retaining) -> None:
    deployment = retaining.deployment
    await retaining.state("logs", then="clear-part", part="context")
    await retaining.state("account", then="erase-subject", begins="account-deleted")
    names = ("held", "asking", "restricted", "free")
    for name in names:
        retaining.happens(0, name, decided("chat", "granted"))
        retaining.happens(0, name, type="account.deleted")
    await retaining.settle()
    people = {name: await deployment.subject_of(name) for name in names}
    held = await hold(deployment, people["held"], LATER + DAY)
    await deployment.fetch(
        "INSERT INTO requests (controller, request, asked_for, state, subject, site, received_on, received_at, due_on,"
        " steps) VALUES ($1, $2, 'access', 'working', $3, 'shop.example', '2026-11-01', now(), '2026-12-01', 1)",
        deployment.controller,
        uuid4(),
        people["asking"],
    )
    await deployment.fetch(
        "INSERT INTO restrictions (controller, subject, since, event) VALUES ($1, $2, now(), $3)",
        deployment.controller,
        people["restricted"],
        bytes(16),
    )
    everybody = await hold(deployment, None, LATER + DAY)
    counts = await retaining.run(LATER)
    assert (counts["parts"], counts["erased"]) == ({}, {})
    await deployment.fetch("UPDATE holds SET released_at = now() WHERE hold = $1", everybody)
    counts = await retaining.run(LATER)
    assert counts["erased"] == {"account": 1}
    assert counts["held"] > 0
    assert [await gone(deployment, name) for name in names] == [False, False, False, True]
    assert await retaining.parts() == ["WHC", "WHC", "WHC", "WHC", "WHC", "WHC"]
    # It expires by itself.
    await deployment.fetch("UPDATE holds SET expires_at = now() WHERE hold = $1", held)
    assert (await retaining.run(LATER))["erased"] == {"account": 1}
    await retaining.fits()


async def test_downstream_systems_are_told_once_and_still_find_the_person(retaining: Retaining) -> None:
    deployment = retaining.deployment
    await deployment.fetch(
        "INSERT INTO downstreams (controller, system, kind, tells) VALUES ($1, 'crm', 'task', '{triggers}')",
        deployment.controller,
    )
    await retaining.state("tell", then="trigger-erase", begins="withdrawn", after="P0D", purposes=["news"])
    await retaining.state("blur", then="trigger-anonymise", begins="withdrawn", after="P0D", purposes=["chat"])
    await retaining.state("clear", then="clear-part", begins="withdrawn", after="P0D", purposes=["news"])
    for purpose in ("news", "chat"):
        retaining.happens(0, "ada", decided(purpose, "granted"))
        retaining.happens(1, "ada", decided(purpose, "denied"), type="consent.withdrawn")
    assert (await retaining.run(LATER))["told"] == {"tell": 1, "blur": 1}
    counts = await retaining.run(LATER)
    assert (counts["told"].get("tell", 0), counts["parts"]) == (0, {})
    rows = await deployment.fetch("SELECT system, action, purpose FROM triggers ORDER BY action")
    assert [tuple(row) for row in rows] == [("crm", "anonymise", "chat"), ("crm", "erase", "news")]
    await deployment.fetch("UPDATE triggers SET answered_at = now(), outcome = 'done'")
    assert (await retaining.run(LATER))["parts"] == {"clear": {"who": 2, "what": 2, "context": 2}}
    assert await retaining.stands() == {"chat": "denied"}
    await retaining.fits()


async def test_the_ledger_runs_by_itself_and_goes_on_where_the_last_run_ended(retaining: Retaining) -> None:
    await retaining.state("logs", then="clear-part", part="context")
    retaining.happens(0, "ada", decided("chat", "granted"))
    await retaining.settle()
    subject = await retaining.deployment.subject_of("ada")
    noon = LATER.replace(hour=12, minute=0)
    name = await hold(retaining.deployment, subject, noon + 9 * DAY)
    await retaining.deployment.fetch("DELETE FROM retention_runs")
    assert await retaining.work(noon) == 0
    await retaining.deployment.fetch("UPDATE holds SET released_at = now() WHERE hold = $1", name)
    # Within the hour there is none; the next looks at what came of age since; the next day's at everything.
    assert await retaining.work(noon + DAY / 48) == 0
    assert await retaining.work(noon + DAY / 12) == 0
    assert await retaining.work(noon + DAY) == 1
    rows = await retaining.deployment.fetch(
        "SELECT since FROM retention_runs WHERE asked_by = 'ledger' AND as_of >= $1 ORDER BY as_of", noon
    )
    assert [row["since"] for row in rows][-1] is None
    await retaining.fits()


async def test_who_looked_is_forgotten_by_the_terms(retaining: Retaining) -> None:
    deployment = retaining.deployment
    await deployment.add_access_log()
    await until(lambda: there(deployment, "shop-access"), what="the access log is open")
    for _ in range(3):
        message = deployment.seal_asked(
            "access.read",
            {"access": {"look": "status", "role": "dpo", "why": "x"}},
            log="shop-access",
            site="shop.access",
        )
        await deployment.publish([message])
    await deployment.recorded(3, log="shop-access")
    assert (await retaining.run(NOW + 364 * DAY))["parts"] == {}
    await deployment.fetch(
        "INSERT INTO terms (controller, stated_at, content, stated_by) VALUES ($1, $2, $3, 'me')",
        deployment.controller,
        BASE_TIME,
        orjson.dumps({"access_log_days": 60}),
    )
    counts = await retaining.run(NOW + 61 * DAY)
    assert counts["parts"] == {"access-log": {"who": 3, "what": 3, "context": 3}}
    await retaining.fits()


async def there(deployment: Deployment, log: str) -> bool:
    return bool(
        await deployment.fetch("SELECT FROM log_heads h JOIN logs l USING (controller, log) WHERE l.name = $1", log)
    )


async def test_parts_of_a_log_that_was_closed_are_stated_by_the_one_behind_it(
    database: Database, tmp_path: Path
) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    retaining = Retaining(deployment)
    await retaining.stop_ledgers()
    await retaining.state("logs", then="clear-part", part="context")
    retaining.happens(0, "ada", decided("chat", "granted"))
    retaining.happens(0, None, decided("chat", "denied"), type="consent.refused")
    async with deployment.ledger():
        await retaining.settle()
    async with acting(deployment.settings(), appends=False) as ledger, ledger.pool.acquire() as connection:
        await succeed(connection, ledger.high_water, "shop", "shop-2", "log.example/logs/shop-2", None)
    async with deployment.ledger():
        await deployment.recorded(1, log="shop-2")
    assert (await retaining.run(LATER))["parts"] == {"logs": {"context": 2}}
    # Both logs have lost what theirs is: the closed one its parts, and the open one says how many.
    (row,) = await deployment.fetch("SELECT context, declared_index FROM retained_parts")
    assert tuple(row)[:1] == (2,)
    await retaining.fits()
    await deployment.fetch("UPDATE retained_parts SET context = 1")
    with pytest.raises(AssertionError, match="the counts are not those"):
        await retaining.fits()


async def test_nobody_is_erased_with_somebody_as_long_as_there_is_a_ground(retaining: Retaining) -> None:
    deployment = retaining.deployment
    await retaining.state("news", then="erase-subject", begins="withdrawn", after="P0D", purposes=["news"])
    account, cookie = {"type": "account", "value": "acc"}, {"type": "cookie", "value": "v"}
    retaining.happens(0, "v", decided("chat", "granted"))
    retaining.happens(1, None, type="identity.linked", link={"state": "linked"}, identifiers=[account, cookie])
    only = [account]
    retaining.happens(1, None, decided("news", "granted"), identifiers=only)
    retaining.happens(2, None, decided("news", "denied"), identifiers=only, type="consent.withdrawn")
    counts = await retaining.run(LATER)
    assert (counts["erased"], counts["parts"]) == ({}, {"news": {"who": 2, "what": 2, "context": 2}})
    assert await deployment.subject_of("v") is not None
    await retaining.state("all", then="erase-subject", begins="withdrawn", after="P0D")
    retaining.happens(3, "v", decided("chat", "denied"), type="consent.withdrawn")
    retaining.happens(3, None, decided("news", "denied"), identifiers=only, type="consent.withdrawn")
    assert sum((await retaining.run(LATER))["erased"].values()) >= 1
    assert await deployment.subject_of("acc", "account") is None
    assert await deployment.subject_of("v") is None
    await retaining.fits()


async def test_nobody_who_is_restricted_is_erased_with_somebody(retaining: Retaining) -> None:
    """Art. 18(2): kept, and nothing else; whoever they go with."""
    deployment = retaining.deployment
    await retaining.state("all", then="erase-subject", begins="withdrawn", after="P0D")
    account, cookie = {"type": "account", "value": "acc"}, {"type": "cookie", "value": "v"}
    retaining.happens(0, "v", decided("chat", "granted"))
    retaining.happens(1, None, type="identity.linked", link={"state": "linked"}, identifiers=[account, cookie])
    retaining.happens(1, None, decided("news", "granted"), identifiers=[account])
    retaining.happens(3, "v", decided("chat", "denied"), type="consent.withdrawn")
    retaining.happens(3, None, decided("news", "denied"), identifiers=[account], type="consent.withdrawn")
    await retaining.settle()
    subject = await deployment.subject_of("v")
    await deployment.fetch(
        "INSERT INTO restrictions (controller, subject, since, event) VALUES ($1, $2, now(), $3)",
        deployment.controller,
        subject,
        bytes(16),
    )
    await retaining.run(LATER)
    assert await deployment.subject_of("v") == subject
    await deployment.fetch("UPDATE restrictions SET lifted_at = now()")
    await retaining.run(LATER)
    assert await deployment.subject_of("v") is None
    await retaining.fits()
