"""Google Consent Mode v2 in a real browser, by the documented protocol of the dataLayer: gtag has no package."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
from playwright.sync_api import Page

from tests.browser.adapters.stands import answers, attached, open_stand, publish
from tests.browser.site.service import Service
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser

KEYS: Final = ("ad_storage", "ad_user_data", "ad_personalization", "analytics_storage")
UPDATES: Final = """
() => [...dataLayer].filter((entry) => entry[0] === "consent" && entry[1] === "update" && !Array.isArray(entry))
  .map((entry) => entry[2])
"""
MAP: Final = {"ad_storage": "marketing", "ad_user_data": ["marketing", "analytics"], "analytics_storage": "analytics"}


@pytest.fixture(scope="module", autouse=True)
def published(service: Service) -> None:
    publish(service, [*(key.replace("_", "-") for key in KEYS), "marketing", "analytics"])


def decided(*granted: str) -> dict[str, str]:
    return {key.replace("_", "-"): "granted" if key in granted else "denied" for key in KEYS}


def written(page: Page) -> list[Mapping[str, Any]]:
    """The `consent update` commands on the dataLayer, pushed as gtag() pushes them."""
    return list(page.evaluate(UPDATES))


def test_a_consent_mode_call_alone_is_never_given(visit: Visit) -> None:
    """Accepted, the same again, chosen, refused, offline: observed each time that something is new, and no more."""
    page = open_stand(visit, "gcm", gcm=True)
    assert visit.posts == []
    assert visit.storage(page)["local"] == {}  # a default is nobody's choice
    page.click("#accept")
    visit.until(page, lambda: len(visit.posts) == 1, "the update is told")
    visit.delivered(page)
    page = open_stand(visit, "gcm", gcm=True)
    page.click("#open")
    page.click("#accept")
    page.click("#open")
    page.check("[value=analytics_storage]")
    page.click("#save")
    visit.until(page, lambda: len(visit.posts) == 2, "the change is told")
    visit.delivered(page)
    visit.context.set_offline(offline=True)
    page.click("#open")
    page.click("#refuse")
    page.wait_for_function("() => localStorage['sayso.queue']")
    page.close()
    visit.context.set_offline(offline=False)
    page = open_stand(visit, "gcm", gcm=True)
    visit.delivered(page)
    accepted, chosen, refused = events = visit.events(3)
    assert {event.type for event in events} == {"consent.observed"}
    assert answers(accepted) == decided(*KEYS)
    assert answers(chosen) == decided("analytics_storage")
    assert answers(refused) == decided()
    signal = dict.fromkeys(KEYS, "denied") | {"security_storage": "granted"}
    assert [event.context["signals"]["gcm"] for event in events] == [
        signal | dict.fromkeys(KEYS, "granted"),
        signal | {"analytics_storage": "granted"},
        signal,
    ]
    assert {event.what["capture"]["mechanism"] for event in events} == {"script"}


def test_it_is_found_by_itself_where_nothing_else_is(visit: Visit) -> None:
    visit.context.clock.install()
    page = open_stand(visit, "gcm", adapters=())
    page.clock.run_for(3500)
    attached(page, "gcm")
    page.click("#save")
    visit.until(page, lambda: len(visit.posts) == 1, "the update is told")
    visit.delivered(page)
    (event,) = visit.events(1)
    assert (event.type, answers(event)) == ("consent.observed", decided())


def test_our_acts_are_written_and_not_read_back(visit: Visit) -> None:
    page = open_stand(visit, "gcm", gcm=MAP)
    assert written(page) == []
    page.evaluate(
        "sayso.record({decisions: [{purpose: 'marketing', granted: true}, {purpose: 'analytics', granted: false}]})"
    )
    some = {"ad_storage": "granted", "ad_user_data": "denied", "analytics_storage": "denied"}
    assert written(page) == [some]
    visit.delivered(page)
    page = open_stand(visit, "gcm", gcm=MAP)
    assert written(page) == [some]  # Google forgets between pages
    page.evaluate("sayso.withdraw()")
    assert written(page)[1:] == [dict.fromkeys(MAP, "denied")]
    visit.delivered(page)
    given, withdrawn = visit.events(2)
    assert (given.type, withdrawn.type) == ("consent.given", "consent.withdrawn")


def test_what_others_say_does_not_count_where_the_site_maps_ours(visit: Visit) -> None:
    page = open_stand(visit, "gcm", gcm=MAP)
    page.click("#accept")
    page.evaluate("() => new Promise((done) => setTimeout(done, 100))")
    assert visit.storage(page)["local"] == {}
    page.evaluate("sayso.record({decisions: [{purpose: 'marketing', granted: false}]})")
    visit.delivered(page)
    (refused,) = visit.events(1)
    assert (refused.type, refused.decisions) == ("consent.refused", {"marketing": "denied"})
