"""Tarteaucitron's published package in a real browser, under the tests that every adapter passes."""

import pytest

from tests.browser.adapters.acts import AdapterActs
from tests.browser.adapters.banners import Tarteaucitron
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser


class TestTarteaucitron(AdapterActs):
    banner = Tarteaucitron()

    def test_a_click_on_a_placeholder(self, visit: Visit) -> None:
        page = self.open(visit)
        words = self.banner.words(page, ".tac_activate")
        page.click(".tac_activate .tarteaucitronAllow")
        visit.delivered(page)
        (given,) = self.events(visit, 1)
        expected = {"chatra": "granted", "matomo": "not_objected"}
        self.told(given, "consent.given", expected, words, action="save", element="placeholder")

    def test_save_after_every_service_was_answered_only_closes_the_panel(self, visit: Visit) -> None:
        page = self.open(visit)
        self.banner.open_centre(page)
        page.click("#statisticsAllowed")
        page.click("#chatraDenied")
        page.click("#tarteaucitronSaveButton")
        page.locator(self.banner.centre).wait_for(state="hidden")
        self.banner.open_centre(page)
        page.click("#tarteaucitronSaveButton")
        visit.delivered(page)
        events = self.events(visit, 3)
        assert [event.type for event in events] == ["consent.given", "consent.renewed", "consent.renewed"]
        assert events[2].decisions == {"statistics": "granted", "chatra": "denied", "matomo": "not_objected"}

    def test_a_refusal_by_the_browsers_signal_is_nobodys_act(self, visit: Visit) -> None:
        """With `handleBrowserDNTRequest` tarteaucitron denies for visitors who have not answered."""
        visit.context.add_init_script(
            "Object.defineProperty(navigator, 'doNotTrack', { get: () => '1' });"
            "addEventListener('DOMContentLoaded', () => { tarteaucitron.parameters.handleBrowserDNTRequest = true });"
        )
        page = self.open(visit)
        page.wait_for_function("() => document.cookie.includes('!chatra=false')")
        assert visit.storage(page)["local"] == {}
        self.events(visit, 0)

    def test_services_that_come_later_are_nobodys_act(self, visit: Visit) -> None:
        page = self.open(visit)
        page.click(self.banner.accept)
        page.evaluate(
            """() => {
              for (const [key, needConsent] of [["late", true], ["exempt", false]]) {
                tarteaucitron.services[key] = { ...tarteaucitron.services.statistics, key, needConsent };
                tarteaucitron.job.push(key);
              }
            }"""
        )
        page.wait_for_function("() => document.cookie.includes('!late=wait!exempt=true')")
        page.evaluate("() => new Promise(requestAnimationFrame)")
        visit.delivered(page)
        (given,) = self.events(visit, 1)
        assert given.decisions == self.banner.granted

    def test_an_objection_alone(self, visit: Visit) -> None:
        page = self.open(visit)
        self.banner.open_centre(page)
        page.click("#matomoDenied")
        visit.delivered(page)
        (refused,) = self.events(visit, 1)
        assert (refused.type, refused.decisions) == ("consent.refused", {"matomo": "objected"})
