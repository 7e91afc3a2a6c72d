"""IAB TCF in a real browser, against a small CMP made of IAB Tech Lab's packages (stub, cmpapi, core 1.5.21)."""

from typing import Final

import pytest
from playwright.sync_api import Page

from schemas.captured import captured_hash
from tests.browser.adapters.stands import answers, capture, forget, open_stand, publish, words
from tests.browser.site.service import Service
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser

PURPOSES: Final = [f"tcf-{number}" for number in range(1, 12)]
FEATURES: Final = ["tcf-sf-1", "tcf-sf-2"]
INTERESTS: Final = [f"tcf-{number}" for number in (2, 7, 8, 9, 10, 11)]
GROUPS: Final = ["c0002", "c0003", "c0004"]
# The words of the framework, by the list and policy of pages/gvl.json; the strings say English.
FRAMEWORK: Final = {"sha256": captured_hash("tcf/gvl/113/policy/5", "en"), "language": "en"}
TEXT: Final = "Nous et nos 2 partenaires traitons vos données."
SOME: Final = ("tcf-1", "tcf-3")


@pytest.fixture(scope="module", autouse=True)
def published(service: Service) -> None:
    publish(service, [*PURPOSES, *FEATURES, *GROUPS])


def consents(*granted: str) -> dict[str, str]:
    return {purpose: "granted" if purpose in granted else "denied" for purpose in (*PURPOSES, *FEATURES)}


def interests(*kept: str) -> dict[str, str]:
    return {purpose: "not_objected" if purpose in kept else "objected" for purpose in INTERESTS}


def stored(visit: Visit, page: Page) -> str:
    """The string that the CMP itself keeps."""
    return str(visit.storage(page)["cookies"]["euconsent-v2"])


@pytest.mark.parametrize(("query", "segments"), [("", 3), ("?tcf=2.2", 1)], ids=["2.3", "2.2"])
def test_accepted_again_chosen_withdrawn(visit: Visit, query: str, segments: int) -> None:
    page = open_stand(visit, "tcf", query=query)
    assert visit.posts == []
    assert visit.storage(page)["local"] == {}
    strings = []
    page.click("#accept")
    visit.delivered(page)
    strings.append(stored(visit, page))
    page = open_stand(visit, "tcf", query=query)
    page.click("#open")
    page.click("#accept")
    page.evaluate("again()")  # told twice by the CMP, without the visitor
    visit.delivered(page)
    strings.append(stored(visit, page))
    page.click("#open")
    for key in SOME:
        page.check(f"[value={key}]")
    page.click("#save")
    strings.append(stored(visit, page))
    page.click("#open")
    page.click("#refuse")
    visit.delivered(page)
    strings.append(stored(visit, page))
    page = open_stand(visit, "tcf", query=query)
    given, renewed, fewer, none = events = visit.events(4)
    kinds = ["consent.given", "consent.renewed", "consent.withdrawn", "consent.withdrawn"]
    assert [event.type for event in events] == kinds
    for event in (given, renewed):
        assert answers(event) == consents(*PURPOSES, *FEATURES)
        assert answers(event, "legitimate_interest") == interests(*INTERESTS)
    assert answers(fewer) == {purpose: "denied" for purpose in (*PURPOSES, *FEATURES) if purpose not in SOME}
    assert answers(fewer, "legitimate_interest") == dict.fromkeys(INTERESTS[2:], "objected")
    assert answers(none) == dict.fromkeys(SOME, "denied")
    assert answers(none, "legitimate_interest") == dict.fromkeys(INTERESTS[:2], "objected")
    assert [event.what["notice"] for event in events] == [FRAMEWORK] * 4
    actions = ["accept_all", "accept_all", "save", "reject_all"]
    assert [event.what["capture"] for event in events] == [capture(action) for action in actions]
    assert [event.context["signals"]["tcf"] for event in events] == strings
    assert {len(string.split(".")) for string in strings} == {segments}


def test_refused_then_accepted_offline_in_a_tab_that_closes(visit: Visit) -> None:
    """The banner's own words are read where the site tells which element it is."""
    page = open_stand(visit, "tcf", banner="#banner")
    page.click("#refuse")
    visit.delivered(page)
    visit.context.set_offline(offline=True)
    page.click("#open")
    page.locator("#accept").click(no_wait_after=True)
    page.close()
    visit.context.set_offline(offline=False)
    page = open_stand(visit, "tcf", banner="#banner")
    visit.delivered(page)
    refused, given = visit.events(2)
    assert (refused.type, answers(refused), refused.identified) == ("consent.refused", consents(), False)
    assert answers(refused, "legitimate_interest") == interests()
    assert (given.type, answers(given)) == ("consent.given", consents(*PURPOSES, *FEATURES))
    assert refused.what["notice"] == given.what["notice"] == words(TEXT, SOME)


def test_a_string_from_before_is_only_observed(visit: Visit) -> None:
    """`tcloaded` is no act."""
    page = open_stand(visit, "tcf")
    page.click("#accept")
    visit.delivered(page)
    forget(page)
    page = open_stand(visit, "tcf")
    visit.until(page, lambda: len(visit.posts) == 2, "the string of before is told")
    visit.delivered(page)
    page = open_stand(visit, "tcf")
    _, observed = visit.events(2)
    assert (observed.type, answers(observed)) == ("consent.observed", consents(*PURPOSES, *FEATURES))
    assert observed.what["capture"]["mechanism"] == "script"
    assert "notice" not in observed.what
    assert observed.context["signals"]["tcf"] == stored(visit, page)


def test_where_the_regulation_does_not_apply_nothing_is_said(visit: Visit) -> None:
    page = open_stand(visit, "tcf", query="?gdpr=no")
    page.wait_for_function(
        "() => new Promise((done) => __tcfapi('ping', 2, (said) => done(said.gdprApplies === false)))"
    )
    assert visit.storage(page)["local"] == {}
    visit.events(0)


def test_beside_a_banner_of_its_own_only_the_string_is_added(visit: Visit) -> None:
    page = open_stand(visit, "tcf", "onetrust")
    page.click("#accept")
    page.click("#onetrust-accept-btn-handler")
    visit.delivered(page)
    (event,) = visit.events(1)
    assert (event.type, set(event.decisions)) == ("consent.given", set(GROUPS))
    assert event.context["signals"]["tcf"] == stored(visit, page)


def test_a_string_that_waits_for_its_answer_is_not_added(visit: Visit) -> None:
    page = open_stand(visit, "tcf", "onetrust")
    page.click("#refuse")
    page.click("#open >> nth=0")  # the TCF screen is open again when OneTrust's button is pressed
    page.click("#onetrust-accept-btn-handler")
    visit.delivered(page)
    (event,) = visit.events(1)
    assert "tcf" not in event.context.get("signals", {})
