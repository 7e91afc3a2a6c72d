"""Who changes what: a visitor's withdrawal counts, a stranger's grant does not, a stranger's denial can be undone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.ledger.projection import project
from tests.integration.visitors.conftest import DENIAL, GRANT, Browser, House, identity, person

pytestmark = pytest.mark.integration

NOTHING_DECIDED: dict[str, Any] = {"decisions": None, "notice": None, "capture": None}


async def links(house: House, account: dict[str, str]) -> list[dict[str, Any]]:
    """The links of an account; while one stands, its history holds the browser's records too."""
    return [what for what in await house.whats(account) if what["type"] == "identity.linked"]


async def test_a_visitor_withdraws_with_the_capability(house: House) -> None:
    browser = await house.browser()
    assert await house.standing(browser.cookie) == (True, [])
    await house.act(browser.cookie, type="consent.withdrawn", decisions=[DENIAL], capability=browser.capability)
    assert await house.standing(browser.cookie) == (False, ["withdrawn"])
    given, withdrawn = await house.whats(browser.cookie)
    assert "marks" not in given
    assert "marks" not in withdrawn
    assert (await house.mine(browser, "choices")).json()["decisions"][0]["reasons"] == ["withdrawn"]
    # Neither the key nor the capability is recorded.
    history = (await house.mine(browser, "history")).text
    assert browser.key not in history
    assert browser.capability not in history


async def test_a_number_alone_proves_nothing(house: House) -> None:
    """Whoever has seen a record knows the number in it; so does the owner of another capability."""
    browser, stranger = await house.browser(), await house.browser()
    await house.act(browser.cookie, type="consent.withdrawn", decisions=[DENIAL], capability=browser.capability)
    for proof in ({}, {"capability": stranger.capability}, {"visitorkey": stranger.key}):
        answer = await house.act(browser.cookie, **proof)
        assert "capability" not in answer.json()
    assert await house.standing(browser.cookie) == (False, ["withdrawn"])
    marks = [what.get("marks") for what in await house.whats(browser.cookie)]
    assert marks == [None, None, ["unconfirmed"], ["unconfirmed"], ["unconfirmed"]]


async def test_an_unconfirmed_denial_suspends_until_the_site_corrects_it(house: House) -> None:
    eve = person()
    await house.act_of_server(eve)
    assert await house.standing(eve) == (True, [])
    # Somebody types an address that is not theirs.
    await house.act(eve)
    assert await house.standing(eve) == (True, [])
    denied = await house.act(eve, type="consent.withdrawn", decisions=[DENIAL])
    assert await house.standing(eve) == (False, ["suspended"])
    undone = {**NOTHING_DECIDED, "supersedes": denied.json()["id"]}
    await house.act_of_server(eve, type="correction", **undone)
    assert await house.standing(eve) == (True, [])
    # A browser corrects nothing.
    event = house.event(eve, type="correction", **undone)
    assert (await house.shop.post(event)).status_code == 403


async def test_a_correction_may_come_before_what_it_undoes(house: House) -> None:
    eve = person()
    await house.act_of_server(eve)
    denial = house.event(eve, type="consent.withdrawn", decisions=[DENIAL])
    await house.act_of_server(eve, type="correction", **NOTHING_DECIDED, supersedes=denial["id"])
    assert (await house.shop.post(denial)).status_code == 202
    await house.shop.deployment.drained()
    assert await house.standing(eve) == (True, [])
    # Another one is another matter.
    await house.act(eve, type="consent.withdrawn", decisions=[DENIAL])
    assert await house.standing(eve) == (False, ["suspended"])


async def test_who_sends_many_unconfirmed_events_does_not_keep_the_ledger_busy(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Projecting a subject opens all its records: for each event of a stranger that would be more and more work."""
    projected: list[object] = []

    async def counted(*arguments: Any) -> int:
        projected.append(arguments[-1])
        return await project(*arguments)

    monkeypatch.setattr("services.ledger.batch.project", counted)
    eve = person()
    for kind, decision in (("consent.given", GRANT), ("consent.withdrawn", DENIAL)) * 2:
        denied = await house.act(eve, type=kind, decisions=[decision])
    assert projected == []
    await house.act_of_server(eve, type="correction", **NOTHING_DECIDED, supersedes=denied.json()["id"])
    assert len(projected) == 1


async def test_a_confirmed_denial_is_not_corrected_away(house: House) -> None:
    browser = await house.browser()
    proof = {"capability": browser.capability}
    denied = await house.act(browser.cookie, type="consent.withdrawn", decisions=[DENIAL], **proof)
    undone = {**NOTHING_DECIDED, "supersedes": denied.json()["id"]}
    await house.act_of_server(browser.cookie, type="correction", **undone)
    assert await house.standing(browser.cookie) == (False, ["withdrawn"])


async def test_signing_in_links_what_the_server_signed_and_nothing_else(house: House) -> None:
    browser, thief = await house.browser(), Browser()
    account, victim = ({"type": "account", "value": person()["value"]} for _ in range(2))
    signed = {"identity": identity(browser, account), **NOTHING_DECIDED}
    link = {"type": "identity.linked", **signed}
    for name, identifiers, proof in (
        ("no key of the browser", [browser.cookie, account], {}),
        ("another browser", [thief.cookie, account], {"visitorkey": thief.key}),
        ("another account", [browser.cookie, victim], {"visitorkey": browser.key}),
        ("a capability of nobody", [browser.cookie, account], {"capability": "cap_" + "A" * 80}),
    ):
        answer = await house.shop.post(house.event(*identifiers, **link, **proof))
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/proof-needed"), name
    await house.act(browser.cookie, account, **link, capability=browser.capability)
    assert [("marks" in what) for what in await links(house, account)] == [False]
    ended = {"type": "identity.linked", **NOTHING_DECIDED, "link": {"state": "ended"}}
    await house.act(browser.cookie, account, **ended, visitorkey=browser.key)
    assert [what.get("link") for what in await links(house, account)] == [None, {"state": "ended"}]


async def test_an_account_signed_by_the_server_is_confirmed(house: House) -> None:
    browser, account = await house.browser(), {"type": "account", "value": person()["value"]}
    await house.act(browser.cookie, account, visitorkey=browser.key, identity=identity(browser, account))
    assert await house.standing(account) == (True, [])
    # The capability stays the browser's.
    assert account["value"] not in (await house.mine(browser, "history")).text


async def test_clocks_and_queues_gain_a_grant_nothing(house: House) -> None:
    """Yesterday's withdrawal, made offline, counts; a grant from before it that comes later does not."""
    browser = await house.browser()
    proof = {"visitorkey": browser.key}
    now = datetime.now(UTC)

    def ago(**some: float) -> str:
        return (now - timedelta(**some)).strftime("%Y-%m-%dT%H:%M:%SZ")

    await house.act(browser.cookie, type="consent.withdrawn", decisions=[DENIAL], time=ago(days=1), **proof)
    assert await house.standing(browser.cookie) == (False, ["withdrawn"])
    for queued in (ago(hours=3), ago(days=20)):
        await house.act(browser.cookie, time=queued, **proof)
        assert await house.standing(browser.cookie) == (False, ["withdrawn"])
    # Dated ahead it counts from when it came, and a denial after that wins all the same.
    await house.act(browser.cookie, time=ago(days=-9), **proof)
    assert await house.standing(browser.cookie) == (True, [])
    await house.act(browser.cookie, type="consent.withdrawn", decisions=[DENIAL], **proof)
    assert await house.standing(browser.cookie) == (False, ["withdrawn"])
