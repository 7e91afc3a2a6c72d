"""CookieConsent's published package in a real browser, under the tests that every adapter passes."""

import pytest

from tests.browser.adapters.acts import AdapterActs
from tests.browser.adapters.banners import CookieConsent
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser


class TestCookieConsent(AdapterActs):
    banner = CookieConsent()

    def test_unfolded_details_make_no_new_words(self, visit: Visit) -> None:
        page = self.open(visit)
        words = self.banner.open_centre(page)
        page.click(".pm__section--toggle:has-text('Analytics') .pm__section-title")
        assert self.banner.words(page, self.banner.centre) != words
        self.banner.refuse_all(page)
        visit.delivered(page)
        (event,) = self.events(visit, 1)
        element = "preference_centre"
        self.told(event, "consent.refused", self.banner.denied, words, action="reject_all", element=element)

    def test_a_button_of_the_page(self, visit: Visit) -> None:
        """The site's own way to refuse, and then the same again by the banner's attribute, where it is silent."""
        page = self.open(visit)
        page.click(self.banner.accept)
        page.evaluate("document.querySelector('h1').onclick = () => CookieConsent.acceptCategory([])")
        page.click("h1")
        page.evaluate("document.querySelector('#open').dataset.cc = 'accept-necessary'")
        page.click("#open")
        visit.delivered(page)
        events = self.events(visit, 3)
        assert [event.type for event in events] == ["consent.given", "consent.withdrawn", "consent.refused"]
        assert [event.what["capture"]["action"] for event in events] == ["accept_all", "reject_all", "reject_all"]
