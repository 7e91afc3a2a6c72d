"""What was clicked reaches the log exactly once: over lost networks, closed tabs, a server that is away, no storage."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser

BODY = """
<button id=yes onclick="sayso.record({decisions: [{purpose: 'analytics', granted: true}]})">Yes</button>
<button id=no onclick="sayso.record({decisions: [{purpose: 'analytics', granted: false}]})">No</button>
"""
EVENTS = "**/v1/events*"
DAY_MS = 86_400_000
QUEUED = "() => JSON.parse(localStorage['sayso.queue'] || '[]').length"


def opened(visit: Visit, **attributes: Any) -> Page:
    """A page with two buttons."""
    visit.serve(BODY, head=visit.snippet(**attributes))
    return visit.open()


def answer(status: int, **problem: Any) -> Any:
    """A handler that answers instead of ingest."""

    def handle(route: Route) -> None:
        route.fulfill(
            status=status,
            headers={"access-control-allow-origin": "*", "content-type": "application/problem+json"},
            body=json.dumps({"status": status, **problem}),
        )

    return handle


def test_offline_in_between(visit: Visit) -> None:
    page = opened(visit)
    # Nothing is tried again by the clock, so that it must be the network's return that sends.
    page.evaluate("() => { window.setTimeout = () => 0 }")
    visit.context.set_offline(offline=True)
    page.click("#yes")
    page.click("#no")
    assert page.evaluate(QUEUED) == 2
    assert page.evaluate("() => [sayso.granted('analytics'), sayso.choices().length]") == [False, 1]
    times = page.evaluate("() => JSON.parse(localStorage['sayso.queue']).map(({event}) => event.time)")
    visit.context.set_offline(offline=False)
    visit.delivered(page)
    given, withdrawn = visit.events(2)
    assert (given.type, withdrawn.type) == ("consent.given", "consent.withdrawn")
    assert [given.what["time"], withdrawn.what["time"]] == times
    assert sorted(visit.storage(page)["local"]) == ["sayso"]
    # One request for both.
    assert [len(post) for post in visit.posts if isinstance(post, list)][-1] == 2


def test_the_offline_withdrawal_of_yesterday(visit: Visit) -> None:
    page = opened(visit)
    page.click("#yes")
    visit.delivered(page)
    visit.context.set_offline(offline=True)
    page.click("#no")
    (queued,) = page.evaluate("() => JSON.parse(localStorage['sayso.queue'])")
    page.close()
    visit.context.set_offline(offline=False)
    page = visit.context.new_page()
    page.clock.install()
    page.clock.fast_forward(DAY_MS)
    visit.open(page=page)
    visit.delivered(page)
    _, withdrawn = visit.events(2)
    assert (withdrawn.type, withdrawn.what["time"]) == ("consent.withdrawn", queued["event"]["time"])
    assert "unconfirmed" not in withdrawn.what.get("marks", []), "the key in the event speaks for the visitor"


def test_the_tab_is_closed_in_the_act(visit: Visit) -> None:
    page = opened(visit)
    with visit.context.expect_page() as opening:
        page.evaluate("() => void window.open('/')")
    tab = opening.value
    tab.wait_for_function("() => window.sayso")
    with tab.expect_event("close"):
        tab.evaluate("() => void setTimeout(() => { document.querySelector('#yes').click(); window.close() })")
    (given,) = visit.events(1)
    # Whether the answer was seen or not: the next visit adds nothing.
    visit.delivered(visit.open(page=page))
    assert [record.what["id"] for record in visit.events(1)] == [given.what["id"]]


def test_the_tab_is_closed_while_the_server_is_away(visit: Visit) -> None:
    page = opened(visit)
    visit.context.route(EVENTS, answer(503, type="/problems/stream-away"))
    page.click("#yes")
    visit.until(page, lambda: len(visit.posts) == 1, "the event is posted")
    page.close()
    visit.context.unroute(EVENTS)
    visit.delivered(visit.open())
    visit.events(1)


def test_a_beacon_when_the_page_goes(visit: Visit) -> None:
    page = opened(visit)
    beacons = "navigator.sendBeacon = (url, body) => { localStorage.beacon = body; return true }"
    page.evaluate(beacons)
    page.route(EVENTS, answer(503, type="/problems/stream-away"))
    page.click("#yes")
    visit.until(page, lambda: len(visit.posts) == 1, "the event is posted")
    page.wait_for_function("() => performance.getEntriesByType('resource').some(({name}) => name.includes('events'))")
    page.goto(page.url + "next")
    page.unroute(EVENTS)
    page = visit.open(page=page)
    beacon = json.loads(page.evaluate("() => localStorage.beacon"))
    visit.delivered(page)
    (given,) = visit.events(1)
    assert beacon["id"] == given.what["id"]


@pytest.mark.parametrize("status", [503, 429])
def test_a_server_that_is_away_gets_it_later(visit: Visit, status: int) -> None:
    page = visit.context.new_page()
    page.clock.install()
    visit.serve(BODY)
    visit.open(page=page)
    page.route(EVENTS, answer(status, type="/problems/stream-away"))
    page.click("#yes")
    visit.until(page, lambda: len(visit.posts) == 1, "the event is posted")
    page.clock.run_for(20_000)
    visit.until(page, lambda: len(visit.posts) > 1, "it is posted again")
    page.unroute(EVENTS)
    page.clock.run_for(40_000)
    visit.delivered(page)
    visit.events(1)
    assert len({post["id"] for post in visit.posts}) == 1


def test_a_refused_event_rests_and_is_tried_once_a_load_for_a_week(visit: Visit) -> None:
    page = visit.context.new_page()
    page.clock.install()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    visit.serve(BODY)
    visit.open(page=page)
    page.evaluate("() => sayso.record({decisions: [{purpose: 'nobody-asked', granted: true}]})")
    visit.until(page, lambda: any("/problems/unknown-purpose" in text for text in said), "the console names it")
    page.click("#yes")
    visit.until(page, lambda: len(visit.posts) == 2, "the next act is posted by itself")
    visit.until(page, lambda: page.evaluate(QUEUED) == 1, "the next act is delivered")
    page.clock.run_for(600_000)
    assert (len(visit.posts), page.evaluate(QUEUED)) == (2, 1)
    for _ in range(2):
        posted = len(visit.posts)
        visit.open(page=page)
        visit.until(page, lambda: len(visit.posts) > posted, "it is tried at load")
    page.clock.fast_forward(8 * DAY_MS)
    page.evaluate("() => dispatchEvent(new Event('online'))")
    visit.open(page=page)
    page.click("#no")
    visit.delivered(page)
    assert [record.type for record in visit.events(2)] == ["consent.given", "consent.withdrawn"]


def test_one_bad_event_does_not_hold_the_others_back(visit: Visit) -> None:
    page = opened(visit)
    visit.context.set_offline(offline=True)
    page.click("#yes")
    page.evaluate("() => sayso.record({decisions: [{purpose: 'nobody-asked', granted: true}]})")
    page.click("#no")
    visit.context.set_offline(offline=False)
    page.wait_for_function("() => JSON.parse(localStorage['sayso.queue'] || '[]').length === 1")
    assert [record.type for record in visit.events(2)] == ["consent.given", "consent.withdrawn"]


def test_blocked_storage_breaks_nothing(visit: Visit) -> None:
    visit.context.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage'])"
        " Object.defineProperty(window, name, {get() { throw new DOMException('blocked', 'SecurityError') }})"
    )
    page = opened(visit)
    page.click("#yes")
    assert page.evaluate("() => sayso.granted('analytics')")
    visit.events(1)
    page.click("#no")
    given, withdrawn = visit.events(2)
    assert (withdrawn.type, withdrawn.who) == ("consent.withdrawn", given.who)
    assert visit.open(page=page).evaluate("() => sayso.choices()") == []


def test_two_tabs_share_choice_and_queue(visit: Visit) -> None:
    one = opened(visit)
    other = visit.open()
    visit.context.set_offline(offline=True)
    one.click("#yes")
    other.click("#no")
    one.click("#yes")
    assert other.evaluate("() => sayso.granted('analytics')")
    visit.context.set_offline(offline=False)
    visit.delivered(one)
    visit.delivered(other)
    types = [record.type.removeprefix("consent.") for record in visit.events(3)]
    assert sorted(types) == ["given", "given", "withdrawn"]


def test_subdomains_share_one_choice(visit: Visit) -> None:
    page = opened(visit, domain="shop.example")
    page.click("#yes")
    visit.delivered(page)
    stored = visit.storage(page)
    assert (stored["local"], sorted(stored["cookies"])) == ({}, ["sayso", "sayso_visitor"])
    french = visit.open(host="fr.shop.example")
    assert french.evaluate("() => sayso.granted('analytics')")
    french.click("#no")
    visit.delivered(french)
    given, withdrawn = visit.events(2)
    assert (withdrawn.type, withdrawn.who) == ("consent.withdrawn", given.who)
    page.reload()
    page.wait_for_function("() => window.sayso")
    assert not page.evaluate("() => sayso.granted('analytics')")
    assert sorted(visit.storage(page)["cookies"]) == ["sayso"]


def test_a_single_page_application_neither_repeats_nor_loses(visit: Visit) -> None:
    page = opened(visit)
    page.evaluate("() => history.pushState({}, '', '/basket?for=ann@mail.example#top')")
    page.click("#yes")
    page.evaluate("() => history.pushState({}, '', '/paid')")
    page.evaluate("() => history.back()")
    page.wait_for_url("**/basket*")
    visit.delivered(page)
    page.click("#no")
    visit.delivered(page)
    given, withdrawn = visit.events(2)
    assert (given.context["page"], withdrawn.context["page"]) == ("/basket", "/basket")
    assert "ann" not in json.dumps([given.context, given.what, given.who])
