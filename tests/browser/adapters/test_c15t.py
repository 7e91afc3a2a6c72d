"""C15t's published package in a real browser, under the tests that every adapter passes."""

import pytest

from tests.browser.adapters.acts import AdapterActs
from tests.browser.adapters.banners import C15t
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser


class TestC15t(AdapterActs):
    banner = C15t()

    def test_a_reset_by_the_visitor_is_a_withdrawal(self, visit: Visit) -> None:
        page = self.open(visit)
        page.click(self.banner.accept)
        page.evaluate("document.querySelector('#open').onclick = () => c15tStore.getState().resetConsents()")
        page.click("#open")
        visit.delivered(page)
        _, withdrawn = self.events(visit, 2)
        assert (withdrawn.type, withdrawn.decisions) == ("consent.withdrawn", self.banner.denied)
        assert withdrawn.what["capture"]["action"] == "withdraw"

    def test_what_a_script_saves_is_nobodys_act(self, visit: Visit) -> None:
        page = self.open(visit)
        page.evaluate("c15tStore.getState().saveConsents('all')")
        visit.delivered(page)
        (observed,) = self.events(visit, 1)
        assert (observed.type, observed.decisions) == ("consent.observed", self.banner.granted)
