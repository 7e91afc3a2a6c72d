"""What the core does with what adapters tell it: acts are always sent, replays never twice, one banner leads.

The adapters here are a line each; those of real banners are tested in tests/browser/adapters.
"""

from typing import Any

import pytest
from playwright.sync_api import Page

from schemas.captured import captured_hash
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser

MAP = {
    "C0002": "analytics",
    "C0004": ["marketing", "advertising"],
    "C0001": None,
    "Chat": {"purpose": "chat-history", "services": ["chatra"]},
}


def attached(visit: Visit, *names: str, page: Page | None = None, **attributes: Any) -> Page:
    """A page where adapters of these names have attached; what each may do stands in window.NAME."""
    visit.serve("<div id=banner><p>May we?</p></div>", head=visit.snippet(map=MAP, **attributes))
    page = visit.open(page=page)
    for name in names:
        page.evaluate("name => sayso.adapter(name, (api) => { window[name] = api })", name)
    return page


def state(**answers: bool) -> dict[str, Any]:
    """A banner's whole state."""
    choices = [{"key": key, "granted": granted} for key, granted in answers.items()]
    return {"choices": choices, "action": "save", "element": "banner"}


def test_an_act_is_always_sent_and_a_replay_of_it_never(visit: Visit) -> None:
    page = attached(visit, "onetrust")
    words = page.evaluate("() => onetrust.shown(document.querySelector('#banner'))")
    page.evaluate("state => onetrust.act(state)", state(C0001=True, C0002=True, C0004=False, Chat=True))
    page.evaluate("state => onetrust.replay(state)", state(C0001=True, C0002=True, C0004=False, Chat=True))
    visit.delivered(page)
    attached(visit, "onetrust", page=page)
    page.evaluate("state => onetrust.replay(state)", state(C0001=True, Chat=True, C0002=True, C0004=False))
    page.evaluate("state => onetrust.act(state)", state(C0002=True, C0004=False, Chat=True))
    given, renewed = visit.events(2)
    assert (given.type, renewed.type) == ("consent.given", "consent.renewed")
    assert given.decisions == {
        "analytics": "granted",
        "marketing": "denied",
        "advertising": "denied",
        "chat-history": "granted",
    }
    assert given.what["decisions"][-1]["services"] == ["chatra"]
    assert words["text"] == "May we?"
    assert given.what["notice"] == {"sha256": captured_hash("May we?", "en"), "language": "en"}
    assert given.what["capture"] == {
        "mechanism": "button",
        "element": "banner",
        "action": "save",
        "words": "captured",
    }
    # On the second page nothing was shown.
    assert "notice" not in renewed.what


def test_an_act_that_was_not_seen_is_observed_once(visit: Visit) -> None:
    page = attached(visit, "onetrust")
    for _ in range(2):
        page.evaluate("state => onetrust.replay(state)", state(C0002=True, C0004=False))
        attached(visit, "onetrust", page=page)
    visit.delivered(page)
    (observed,) = visit.events(1)
    assert (observed.type, observed.what["capture"]["mechanism"]) == ("consent.observed", "script")
    assert observed.decisions == {"analytics": "granted", "marketing": "denied", "advertising": "denied"}


def test_a_replay_does_not_undo_a_withdrawal(visit: Visit) -> None:
    page = attached(visit, "onetrust")
    page.evaluate("state => onetrust.act(state)", state(C0002=True))
    visit.delivered(page)
    page.evaluate("() => sayso.withdraw()")
    visit.delivered(page)
    # The banner's own cookie still says yes, and on the next day it says yes to more.
    attached(visit, "onetrust", page=page)
    page.evaluate("state => onetrust.replay(state)", state(C0002=True))
    assert not page.evaluate("() => sayso.granted('analytics')")
    page.evaluate("state => onetrust.replay(state)", state(C0002=True, C0004=True))
    visit.delivered(page)
    assert page.evaluate("() => [sayso.granted('analytics'), sayso.granted('marketing')]") == [False, True]
    assert [record.type for record in visit.events(3)] == ["consent.given", "consent.withdrawn", "consent.observed"]


def test_a_banners_own_adapter_goes_before_tcf(visit: Visit) -> None:
    page = attached(visit, "tcf", "onetrust", "gpp")
    page.evaluate(
        "state => tcf.act(state)", {"choices": [{"key": "tcf-1", "granted": True}], "signals": {"tcf": "CP1"}}
    )
    visit.delivered(page)
    page.evaluate("state => onetrust.act(state)", state(C0002=True))
    visit.delivered(page)
    page.evaluate(
        "state => tcf.act(state)", {"choices": [{"key": "tcf-1", "granted": False}], "signals": {"tcf": "CP2"}}
    )
    page.evaluate("state => gpp.act(state)", {"choices": [{"key": "x", "granted": False}], "signals": {"gpp": "DB"}})
    page.evaluate("state => onetrust.act(state)", state(C0002=False))
    visit.delivered(page)
    first, given, withdrawn = visit.events(3)
    assert (first.decisions, first.context["signals"]["tcf"]) == ({"tcf-1": "granted"}, "CP1")
    assert given.decisions == {"analytics": "granted"}
    assert withdrawn.decisions == {"analytics": "denied"}
    assert withdrawn.context["signals"] == {"tcf": "CP2", "gpp": "DB"}


def test_keys_without_a_purpose_are_left_out(visit: Visit) -> None:
    page = attached(visit, "onetrust")
    assert page.evaluate("state => onetrust.act(state)", state(C0001=True, **{"über uns": True})) is None
    page.evaluate("state => onetrust.act(state)", state(Analytics=True, C0002=False, **{"über uns": True}))
    (event,) = visit.events(1)
    # Two keys of one purpose: it is granted only if both are.
    assert event.decisions == {"analytics": "denied"}
