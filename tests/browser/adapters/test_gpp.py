"""IAB GPP in a real browser, against a small CMP made of the published package @iabgpp/cmpapi 3.2.0."""

from typing import Final

import pytest
from playwright.sync_api import Page

from tests.browser.adapters.stands import answers, capture, forget, open_stand, publish, words
from tests.browser.site.service import Service
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser

BOXES: Final = ("sale", "sharing", "targeted-advertising")
PURPOSES: Final = tuple(f"gpp-usnat-{box}" for box in BOXES)
BASIS: Final = "legitimate_interest"
TEXT: Final = "We sell and share personal information."


@pytest.fixture(scope="module", autouse=True)
def published(service: Service) -> None:
    publish(service, PURPOSES, BASIS)


def opted_out(*purposes: str) -> dict[str, str]:
    return {purpose: "objected" if purpose in purposes else "not_objected" for purpose in PURPOSES}


def stored(visit: Visit, page: Page) -> str:
    return str(visit.storage(page)["cookies"]["gpp"])


def test_allowed_again_chosen_opted_out(visit: Visit) -> None:
    page = open_stand(visit, "gpp", banner="#banner")
    assert visit.posts == []
    assert visit.storage(page)["local"] == {}
    page.click("#accept")
    visit.delivered(page)
    strings = [stored(visit, page)]
    page = open_stand(visit, "gpp", banner="#banner")
    page.click("#open")
    page.click("#accept")
    strings.append(stored(visit, page))
    page.click("#open")
    page.check("[value=sale]")
    page.click("#save")
    strings.append(stored(visit, page))
    page.click("#open")
    page.click("#refuse")
    visit.delivered(page)
    strings.append(stored(visit, page))
    page = open_stand(visit, "gpp", banner="#banner")
    given, renewed, fewer, none = events = visit.events(4)
    kinds = ["consent.given", "consent.renewed", "consent.withdrawn", "consent.withdrawn"]
    assert [event.type for event in events] == kinds
    assert answers(given, BASIS) == answers(renewed, BASIS) == opted_out()
    assert answers(fewer, BASIS) == dict.fromkeys(PURPOSES[1:], "objected")
    assert answers(none, BASIS) == {PURPOSES[0]: "objected"}
    assert [event.context["signals"]["gpp"] for event in events] == strings
    assert [event.what["notice"] for event in events] == [words(TEXT, BOXES)] * 4
    assert none.what["capture"] == capture("reject_all")


def test_opted_out_offline_in_a_tab_that_closes(visit: Visit) -> None:
    page = open_stand(visit, "gpp", banner="#banner")
    visit.context.set_offline(offline=True)
    page.locator("#refuse").click(no_wait_after=True)
    page.close()
    visit.context.set_offline(offline=False)
    page = open_stand(visit, "gpp", banner="#banner")
    visit.delivered(page)
    (refused,) = visit.events(1)
    assert (refused.type, answers(refused, BASIS)) == ("consent.refused", opted_out(*PURPOSES))


def test_a_signal_that_stays_ready(visit: Visit) -> None:
    """Nothing is said of the default; a link that changes it at once is an act, however often the CMP tells it."""
    page = open_stand(visit, "gpp", query="?stay=ready")
    assert visit.storage(page)["local"] == {}
    page.click("#open")
    page.click("#refuse")
    visit.until(page, lambda: len(visit.posts) == 1, "the act is told")
    visit.delivered(page)
    page = open_stand(visit, "gpp", query="?stay=ready")
    (refused,) = visit.events(1)
    assert (refused.type, answers(refused, BASIS)) == ("consent.refused", opted_out(*PURPOSES))


def test_an_opt_out_from_before_is_observed_and_leave_is_not(visit: Visit) -> None:
    for button in ("#accept", "#refuse"):
        page = open_stand(visit, "gpp")
        page.click("#open")
        page.click(button)
        visit.delivered(page)
        forget(page)
    page = open_stand(visit, "gpp")
    visit.until(page, lambda: len(visit.posts) == 3, "the opt-out of before is told")
    visit.delivered(page)
    given, refused, observed = visit.events(3)
    assert (given.type, refused.type, observed.type) == ("consent.given", "consent.refused", "consent.observed")
    assert answers(observed, BASIS) == opted_out(*PURPOSES)


def test_global_privacy_control_in_the_string_is_noted(visit: Visit) -> None:
    page = open_stand(visit, "gpp", query="?gpc=1")
    page.click("#refuse")
    visit.delivered(page)
    forget(page)
    page = open_stand(visit, "gpp", query="?gpc=1")  # an opt-out that the browser asked for is nobody's choice
    (refused,) = visit.events(1)
    assert refused.what["signals"] == {"gpc": True}
    assert refused.context["signals"] == {"gpp": stored(visit, page)}
