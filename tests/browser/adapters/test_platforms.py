"""OneTrust, Cookiebot, Usercentrics and Didomi: their packages are not public, so pages stand for them (stubs).

They fire the documented events in the documented order, replays on load included; the log behind them is real.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from tests.browser.adapters.stands import answers, capture, forget, open_stand, publish, words
from tests.browser.site.service import Service
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Platform:
    """A stand, the boxes on its banner, the purposes they come to, and its buttons."""

    name: str
    text: str
    boxes: tuple[str, ...]
    purposes: tuple[str, ...]
    query: str = ""
    # Where a saved selection is told to have been made.
    centre: str = "preference_centre"
    accept: str = "#accept"
    refuse: str = "#refuse"
    save: str = "#save"
    more: tuple[str, ...] = field(default=())

    def decided(self, *granted: str) -> dict[str, str]:
        return {purpose: "granted" if purpose in granted else "denied" for purpose in self.purposes}

    def said(self) -> dict[str, str]:
        return words(self.text, self.boxes, *self.more)


ONETRUST = Platform(
    "onetrust",
    "Nous utilisons des cookies.",
    ("C0002", "C0003", "C0004"),
    ("c0002", "c0003", "c0004"),
    centre="banner",
    accept="#onetrust-accept-btn-handler",
    refuse="#onetrust-reject-all-handler",
    more=("Fermer",),
)
COOKIEBOT = Platform(
    "cookiebot",
    "Ce site utilise des cookies.",
    ("preferences", "statistics", "marketing"),
    ("preferences", "statistics", "marketing"),
    centre="banner",
    accept="#CybotCookiebotDialogBodyLevelButtonLevelOptinAllowAll",
    refuse="#CybotCookiebotDialogBodyButtonDecline",
    save="#CybotCookiebotDialogBodyLevelButtonLevelOptinAllowallSelection",
)
SERVICES = ("google-analytics", "chatra", "google-maps")
THIRD = "Nous utilisons des services tiers."
USERCENTRICS = Platform("usercentrics", THIRD, ("S2", "S3", "S4"), SERVICES, centre="banner")
USERCENTRICS_LATE = Platform("usercentrics", THIRD, ("S2", "S3", "S4"), SERVICES, query="?order=late")
USERCENTRICS_2 = Platform("usercentrics", THIRD, ("S2", "S3", "S4"), SERVICES, query="?version=2")
PARTNERS = "Avec votre accord, nos partenaires et nous utilisons des cookies."
DIDOMI_PURPOSES = ("cookies", "advertising", "analytics")
DIDOMI = Platform("didomi", PARTNERS, DIDOMI_PURPOSES, DIDOMI_PURPOSES)
DIDOMI_OTHER = Platform(
    "didomi", PARTNERS, DIDOMI_PURPOSES, DIDOMI_PURPOSES, query="?order=changed-first", centre="banner"
)

each = pytest.mark.parametrize(
    "platform",
    [ONETRUST, COOKIEBOT, USERCENTRICS, USERCENTRICS_LATE, USERCENTRICS_2, DIDOMI, DIDOMI_OTHER],
    ids=lambda platform: platform.name + platform.query,
)
once = pytest.mark.parametrize(
    "platform", [ONETRUST, COOKIEBOT, USERCENTRICS, DIDOMI], ids=lambda platform: platform.name
)


@pytest.fixture(scope="module", autouse=True)
def published(service: Service) -> None:
    publish(
        service, {purpose for platform in (ONETRUST, COOKIEBOT, USERCENTRICS, DIDOMI) for purpose in platform.purposes}
    )


@each
def test_accepted_again_chosen_withdrawn(visit: Visit, platform: Platform) -> None:
    """Another load in between, and one on the next day, tell nothing."""
    page = open_stand(visit, platform.name, query=platform.query)
    assert visit.posts == []
    assert visit.storage(page)["local"] == {}
    page.click(platform.accept)
    visit.delivered(page)
    page = open_stand(visit, platform.name, query=platform.query)
    page.click("#open")
    page.click(platform.accept)
    visit.until(page, lambda: len(visit.posts) == 2, "the same choice again is told")
    page.click("#open")
    page.locator("input").first.check()
    page.click(platform.save)
    visit.until(page, lambda: len(visit.posts) == 3, "the selection is told")
    page.click("#open")
    page.click(platform.refuse)
    visit.until(page, lambda: len(visit.posts) == 4, "the withdrawal is told")
    visit.delivered(page)
    page.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=1))
    page = open_stand(visit, platform.name, query=platform.query)
    given, renewed, fewer, none = visit.events(4)
    first, *others = platform.purposes
    assert (given.type, given.decisions) == ("consent.given", platform.decided(*platform.purposes))
    assert (renewed.type, renewed.decisions) == ("consent.renewed", platform.decided(*platform.purposes))
    assert (fewer.type, fewer.decisions) == ("consent.withdrawn", dict.fromkeys(others, "denied"))
    assert (none.type, none.decisions) == ("consent.withdrawn", {first: "denied"})
    assert [event.what["notice"] for event in (given, renewed, fewer, none)] == [platform.said()] * 4
    captures = [capture("accept_all"), capture("accept_all"), capture("save", platform.centre), capture("reject_all")]
    assert [event.what["capture"] for event in (given, renewed, fewer, none)] == captures
    assert list(visit.storage(page)["local"]) == ["sayso"]


@once
def test_refused_then_accepted_offline_in_a_tab_that_closes(visit: Visit, platform: Platform) -> None:
    page = open_stand(visit, platform.name, query=platform.query)
    page.click(platform.refuse)
    visit.delivered(page)
    visit.context.set_offline(offline=True)
    page.click("#open")
    page.locator(platform.accept).click(no_wait_after=True)
    page.close()
    visit.context.set_offline(offline=False)
    page = open_stand(visit, platform.name, query=platform.query)
    visit.delivered(page)
    refused, given = visit.events(2)
    assert (refused.type, refused.decisions, refused.identified) == ("consent.refused", platform.decided(), False)
    assert (given.type, given.decisions) == ("consent.given", platform.decided(*platform.purposes))
    assert refused.what["notice"] == given.what["notice"] == platform.said()


@once
def test_a_choice_that_nobody_saw_is_only_observed(visit: Visit, platform: Platform) -> None:
    page = open_stand(visit, platform.name, query=platform.query)
    page.locator("input").nth(1).check()
    page.click(platform.save)
    visit.until(page, lambda: len(visit.posts) == 1, "the choice is told")
    visit.delivered(page)
    forget(page)
    page = open_stand(visit, platform.name, query=platform.query)
    visit.until(page, lambda: len(visit.posts) == 2, "the choice of before is told")
    visit.delivered(page)
    page = open_stand(visit, platform.name, query=platform.query)
    given, observed = visit.events(2)
    assert (given.type, observed.type) == ("consent.given", "consent.observed")
    assert given.decisions == observed.decisions == platform.decided(platform.purposes[1])
    assert observed.what["capture"]["mechanism"] == "script"
    assert "notice" not in observed.what


def test_who_only_closes_onetrust_agrees_to_nothing(visit: Visit) -> None:
    page = open_stand(visit, "onetrust", query="?model=opt-out")
    page.click(".onetrust-close-btn-handler")
    visit.delivered(page)
    (event,) = visit.events(1)
    assert (event.type, answers(event)) == ("consent.observed", ONETRUST.decided(*ONETRUST.purposes))


def test_who_closes_onetrust_where_nothing_is_active_has_refused(visit: Visit) -> None:
    page = open_stand(visit, "onetrust")
    page.click(".onetrust-close-btn-handler")
    visit.delivered(page)
    (event,) = visit.events(1)
    assert (event.type, answers(event)) == ("consent.refused", ONETRUST.decided())
    assert event.what["capture"] == capture("dismiss")


def test_cookiebot_implied_consent_is_nothing(visit: Visit) -> None:
    page = open_stand(visit, "cookiebot", query="?consent=implied")
    page.evaluate("Cookiebot.renew()")
    page.click(COOKIEBOT.refuse)
    visit.delivered(page)
    (event,) = visit.events(1)
    assert (event.type, event.decisions) == ("consent.refused", COOKIEBOT.decided())


def test_cookiebot_withdrawn_without_its_dialog(visit: Visit) -> None:
    page = open_stand(visit, "cookiebot")
    page.click(COOKIEBOT.accept)
    page.evaluate("Cookiebot.withdraw()")
    visit.delivered(page)
    given, withdrawn = visit.events(2)
    assert (given.type, withdrawn.type) == ("consent.given", "consent.withdrawn")
    assert withdrawn.decisions == COOKIEBOT.decided()


def test_what_didomi_takes_over_from_another_device_is_no_act(visit: Visit) -> None:
    # Playwright's own calls count as gestures of the visitor.
    visit.context.add_init_script("Object.defineProperty(navigator, 'userActivation', { value: { isActive: false } })")
    page = open_stand(visit, "didomi")
    page.evaluate("synchronise(['analytics'])")
    visit.until(page, lambda: len(visit.posts) == 1, "it is told")
    visit.delivered(page)
    (event,) = visit.events(1)
    assert (event.type, event.decisions) == ("consent.observed", DIDOMI.decided("analytics"))
