"""Klaro's published package in a real browser, under the tests that every adapter passes."""

import pytest

from tests.browser.adapters.acts import AdapterActs
from tests.browser.adapters.banners import Klaro
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser


class TestKlaro(AdapterActs):
    banner = Klaro()

    def test_a_click_on_a_placeholder(self, visit: Visit) -> None:
        page = self.open(visit)
        page.click(self.banner.refuse)
        page = self.open(visit)
        words = self.banner.words(page, ".cm-as-context-notice")
        page.click(".cm-as-context-notice .cm-btn-success-var")
        visit.delivered(page)
        _, given = self.events(visit, 2)
        expected = self.banner.denied | {"google-maps": "granted"}
        self.told(given, "consent.given", expected, words, action="save", element="placeholder")

    def test_a_reset_by_the_visitor_is_a_withdrawal(self, visit: Visit) -> None:
        page = self.open(visit)
        page.click(self.banner.accept)
        page.evaluate("document.querySelector('#open').onclick = () => klaro.getManager().resetConsents()")
        page.click("#open")
        visit.delivered(page)
        _, withdrawn = self.events(visit, 2)
        assert (withdrawn.type, withdrawn.decisions) == ("consent.withdrawn", self.banner.denied)
        assert withdrawn.what["capture"]["action"] == "withdraw"

    def test_what_a_script_saves_is_nobodys_act(self, visit: Visit) -> None:
        page = self.open(visit)
        page.evaluate("{ const m = klaro.getManager(); m.changeAll(true); m.saveAndApplyConsents() }")
        visit.delivered(page)
        (observed,) = self.events(visit, 1)
        assert (observed.type, observed.decisions) == ("consent.observed", self.banner.granted)
