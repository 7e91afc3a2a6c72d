"""What every adapter must do, as tests: a class to inherit, with a banner. Visitors are new, the log is the real one.

The log is counted at the end, in most tests after another load of the page: nothing was told twice, then or later.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from tests.browser.adapters.banners import Banner, Decisions, Words
from tests.browser.site.log import Record
from tests.browser.site.service import Service
from tests.browser.site.visit import Visit
from tests.support.rows import notice_content

PAGES: Final = Path(__file__).parent / "pages"
PLACE: Final = "<!-- sayso -->"
TIMEOUT_MS: Final = 10_000
# An adapter's bundle runs before its load event is fired.
_WATCH = """
document.addEventListener("load", ({ target }) => {
  if (target.src?.includes("/adapter-")) document.documentElement.dataset.attached = "";
}, true);
"""
_LATE = """
(line) => {
  const script = document.createElement("script");
  const parsed = new DOMParser().parseFromString(line, "text/html").querySelector("script");
  for (const { name, value } of parsed.attributes) script.setAttribute(name, value);
  document.head.append(script);
}
"""
_SAYS_ELSE = "([button, before]) => document.querySelector(button).innerText !== before"
_OURS = "() => Object.keys(localStorage).filter((name) => name.startsWith('sayso'))"


class AdapterActs:
    """Inherit and set `banner`."""

    banner: ClassVar[Banner]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def published(cls, service: Service) -> None:
        """The site has put the banner's purposes into a notice; else an event that brings no words would be refused."""
        (example,) = notice_content()["purposes"]
        purposes = [
            example | {"purpose": name, "legal_basis": basis(decision), "services": [name.rpartition(".")[2]]}
            for name, decision in cls.banner.granted.items()
        ]
        # From a day that does not come: the notices of other tests stay the ones to show.
        service.publish(purposes=purposes, effective_at="2126-01-01T00:00:00Z")

    def open(self, visit: Visit, *, snippet: str | None = None) -> Page:
        """A new tab on the banner's page, with the snippet and the adapter at work."""
        if not visit.context.pages:
            visit.context.add_init_script(_WATCH)
            visit.context.set_default_timeout(TIMEOUT_MS)
        document = (PAGES / f"{self.banner.name}.html").read_text(encoding="utf-8")
        line = visit.snippet() if snippet is None else snippet
        visit.service.pages.put("/", document.replace(PLACE, line))
        page = visit.open(loaded=line != "")
        if line:
            attached(page)
        self.banner.ready(page)
        return page

    def reload(self, page: Page) -> None:
        page.reload()
        attached(page)
        self.banner.ready(page)

    def events(self, visit: Visit, count: int) -> list[Record]:
        """So many and no more, in the order of the acts: two that are under way at once may be recorded either way."""
        return sorted(visit.events(count), key=lambda record: (record.what["time"], record.index))

    def told(self, record: Record, kind: str, decisions: Decisions, words: Words, *, action: str, element: str) -> None:
        """One event of the log: its type, its decisions, the words, and how the choice was made."""
        assert (record.type, record.decisions) == (kind, decisions)
        assert record.what["capture"] == {
            "mechanism": "button",
            "element": element,
            "action": action,
            "words": "captured",
        }
        assert record.what["notice"] == {"sha256": words.sha256, "language": words.language}

    # --- the first choice ---------------------------------------------------------------------------------------------

    def test_accept_all(self, visit: Visit) -> None:
        page = self.open(visit)
        words = self.banner.words(page, self.banner.banner)
        assert page.evaluate(_OURS) == []
        assert not [name for name in visit.storage(page)["cookies"] if "sayso" in name]
        asked = {urlsplit(url) for url in visit.requests if url.startswith(visit.service.ingest_url)}
        assert asked
        assert all(url.path.startswith("/s/") and not url.query for url in asked)
        page.click(self.banner.accept)
        visit.delivered(page)
        self.reload(page)
        tomorrow = visit.context.new_page()
        tomorrow.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=1))
        visit.open(page=tomorrow)
        attached(tomorrow)
        (event,) = self.events(visit, 1)
        self.told(event, "consent.given", self.banner.granted, words, action="accept_all", element="banner")
        assert event.identified

    def test_refuse_all(self, visit: Visit) -> None:
        page = self.open(visit)
        words = self.banner.words(page, self.banner.banner)
        page.click(self.banner.refuse)
        visit.delivered(page)
        self.reload(page)
        assert page.evaluate(_OURS) == ["sayso"]
        (event,) = self.events(visit, 1)
        self.told(event, "consent.refused", self.banner.denied, words, action="reject_all", element="banner")
        assert not event.identified

    def test_choose_some(self, visit: Visit) -> None:
        page = self.open(visit)
        self.banner.words(page, self.banner.banner)
        words = self.banner.open_centre(page)
        expected = self.banner.choose(page)
        visit.delivered(page)
        events = self.events(visit, len(expected))
        for event, (kind, decisions) in zip(events, expected, strict=True):
            self.told(event, kind, decisions, words, action="save", element="preference_centre")

    # --- later ones ---------------------------------------------------------------------------------------------------

    def test_the_same_again_and_then_withdrawn(self, visit: Visit) -> None:
        page = self.open(visit)
        first = self.banner.words(page, self.banner.banner)
        page.click(self.banner.accept)
        again = self.banner.open_centre(page)
        self.banner.accept_all(page)
        visit.delivered(page)
        page = self.open(visit)
        back = self.banner.open_centre(page)
        self.banner.refuse_all(page)
        visit.delivered(page)
        assert page.evaluate(_OURS) == ["sayso"]
        given, renewed, withdrawn = self.events(visit, 3)
        refusal, acceptance = self.banner.centre_refusal, self.banner.centre_acceptance
        centre = "preference_centre"
        self.told(given, "consent.given", self.banner.granted, first, action="accept_all", element="banner")
        self.told(renewed, "consent.renewed", self.banner.granted, again, action=acceptance, element=centre)
        self.told(withdrawn, "consent.withdrawn", self.banner.denied, back, action=refusal, element=centre)

    def test_a_refusal_changed(self, visit: Visit) -> None:
        page = self.open(visit)
        page.click(self.banner.refuse)
        page = self.open(visit)
        words = self.banner.open_centre(page)
        self.banner.accept_all(page)
        visit.delivered(page)
        refused, given = self.events(visit, 2)
        assert (refused.type, refused.decisions) == ("consent.refused", self.banner.denied)
        action = self.banner.centre_acceptance
        self.told(given, "consent.given", self.banner.granted, words, action=action, element="preference_centre")

    # --- trouble ------------------------------------------------------------------------------------------------------

    def test_offline_in_between(self, visit: Visit) -> None:
        page = self.open(visit)
        page.click(self.banner.accept)
        visit.delivered(page)
        visit.context.set_offline(offline=True)
        self.banner.open_centre(page)
        self.banner.refuse_all(page)
        page.close()
        visit.context.set_offline(offline=False)
        page = self.open(visit)
        visit.delivered(page)
        given, withdrawn = self.events(visit, 2)
        assert (given.type, withdrawn.type) == ("consent.given", "consent.withdrawn")
        assert (given.decisions, withdrawn.decisions) == (self.banner.granted, self.banner.denied)

    def test_tab_closed_in_the_act(self, visit: Visit) -> None:
        page = self.open(visit)
        words = self.banner.words(page, self.banner.banner)
        page.locator(self.banner.accept).click(no_wait_after=True)
        page.close()
        page = self.open(visit)
        visit.delivered(page)
        (event,) = self.events(visit, 1)
        self.told(event, "consent.given", self.banner.granted, words, action="accept_all", element="banner")

    # --- who came before, and late ------------------------------------------------------------------------------------

    def test_an_act_that_nobody_saw(self, visit: Visit) -> None:
        """The banner's cookie is there and nothing of ours: a visitor from before Sayso."""
        page = self.open(visit, snippet="")
        page.click(self.banner.accept)
        page.close()
        page = self.open(visit)
        visit.delivered(page)
        self.reload(page)
        (event,) = self.events(visit, 1)
        assert (event.type, event.decisions) == ("consent.observed", self.banner.granted)
        assert "notice" not in event.what

    def test_the_snippet_comes_late_and_the_language_changes(self, visit: Visit) -> None:
        page = self.open(visit, snippet="")
        self.banner.words(page, self.banner.banner)
        page.evaluate(_LATE, visit.snippet())
        attached(page)
        english = self.banner.words(page, self.banner.banner)
        accept = page.inner_text(self.banner.accept)
        self.banner.speak_french(page)
        if "?" in page.url:
            page.evaluate(_LATE, visit.snippet())
            attached(page)
            self.banner.ready(page)
        page.wait_for_function(_SAYS_ELSE, arg=[self.banner.accept, accept])
        french = self.banner.words(page, self.banner.banner, "fr")
        assert french.text != english.text
        page.click(self.banner.accept)
        visit.delivered(page)
        (event,) = self.events(visit, 1)
        self.told(event, "consent.given", self.banner.granted, french, action="accept_all", element="banner")


def basis(decision: str) -> str:
    """On what a purpose rests of which one can say this."""
    return "consent" if decision in {"granted", "denied"} else "legitimate_interest"


def attached(page: Page) -> None:
    """The adapter listens."""
    page.wait_for_function("() => 'attached' in document.documentElement.dataset")
