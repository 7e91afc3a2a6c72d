"""How each real banner is used by hand: one small driver a banner, and the words that stand on the screen.

The words are read by other means than the snippet's (checkVisibility), and hashed by the rule of docs/adapters.md.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from playwright.sync_api import Page

_VISIBLE_TEXT = """
([surface, counters]) => {
  const root = [...document.querySelectorAll(surface)].find((e) => e.checkVisibility({ visibilityProperty: true }));
  const texts = [];
  const read = (node) => {
    if (node.nodeType === Node.TEXT_NODE) texts.push(node.data);
    else if (node.nodeType === Node.ELEMENT_NODE && !(counters && node.matches(counters))) {
      if (node === root || node.checkVisibility({ visibilityProperty: true })) node.childNodes.forEach(read);
    }
  };
  read(root);
  return texts;
}
"""
Decisions = Mapping[str, str]


@dataclass(frozen=True)
class Words:
    """What a surface says, and in which language."""

    text: str
    language: str

    @property
    def sha256(self) -> str:
        """The hash by which an event names them."""
        return hashlib.sha256(f"sayso/captured/v1\n{self.language}\n{self.text}".encode()).hexdigest()


class Banner:
    """CSS selectors of one banner's page, and what its choices come to; words stand in `banner` and `centre`."""

    name: ClassVar[str]
    banner: ClassVar[str]
    centre: ClassVar[str]
    counters: ClassVar[str | None] = None
    accept: ClassVar[str]
    refuse: ClassVar[str]
    accept_in_centre: ClassVar[str]
    refuse_in_centre: ClassVar[str]
    # What accepting all and refusing all come to.
    granted: ClassVar[Decisions]
    denied: ClassVar[Decisions]
    # The actions of the buttons by which a visitor does the same in the preference centre.
    centre_refusal: ClassVar[str] = "reject_all"
    centre_acceptance: ClassVar[str] = "accept_all"

    def ready(self, page: Page) -> None:
        """Wait until the buttons work, where they are drawn before they do."""

    def open_centre(self, page: Page) -> Words:
        """Open the preference centre by the page's own button; what it says."""
        page.click("#open")
        return self.words(page, self.centre)

    def words(self, page: Page, surface: str, language: str = "en") -> Words:
        """What stands on the screen within `surface`, by the rule of docs/adapters.md."""
        page.locator(surface).locator("visible=true").first.wait_for()
        lines = [re.sub(r"\s+", " ", text).strip() for text in page.evaluate(_VISIBLE_TEXT, [surface, self.counters])]
        text = unicodedata.normalize("NFC", "\n".join(line for line in lines if line))
        assert text, f"nothing to read in {surface}"
        return Words(text, language)

    def accept_all(self, page: Page) -> None:
        """In the preference centre, which is open."""
        page.click(self.accept_in_centre)

    def refuse_all(self, page: Page) -> None:
        """In the preference centre, which is open."""
        page.click(self.refuse_in_centre)

    def choose(self, page: Page) -> list[tuple[str, Decisions]]:
        """Grant some in the preference centre, which is open; the events of it where nothing was chosen before."""
        raise NotImplementedError

    def speak_french(self, page: Page) -> None:
        """Change the language of what is drawn."""
        page.goto(page.url.partition("?")[0] + "?lang=fr")


class CookieConsent(Banner):
    """vanilla-cookieconsent 3.1.0: categories, one of them with services of its own."""

    name = "cookieconsent"
    banner = "#cc-main .cm"
    centre = "#cc-main .pm"
    accept = ".cm [data-role=all]"
    refuse = ".cm [data-role=necessary]"
    accept_in_centre = ".pm [data-role=all]"
    refuse_in_centre = ".pm [data-role=necessary]"
    granted: ClassVar = {"analytics": "granted", "chat.chaport": "granted", "chat.chatra": "granted"}
    denied: ClassVar = {"analytics": "denied", "chat.chaport": "denied", "chat.chatra": "denied"}

    def choose(self, page: Page) -> list[tuple[str, Decisions]]:
        page.click(".pm__section--toggle:has-text('Chat') > .pm__section-title-wrapper > .pm__section-title")
        page.click(".pm__service:has-text('Chatra') .section__toggle-wrapper")
        page.click(".pm [data-role=save]")
        return [("consent.given", self.denied | {"chat.chatra": "granted"})]

    def speak_french(self, page: Page) -> None:
        page.evaluate("CookieConsent.setLanguage('fr')")


class Klaro(Banner):
    """klaro 0.7.22: services, one of them under a name that is no name to Sayso."""

    name = "klaro"
    banner = "#klaro .cookie-notice"
    centre = "#klaro .cm-modal"
    accept = ".cookie-notice .cm-btn-success"
    refuse = ".cookie-notice .cn-decline"
    # Once something is chosen there is one button: save.
    accept_in_centre = ".cm-modal .cm-btn-accept"
    refuse_in_centre = ".cm-modal .cm-btn-accept"
    granted: ClassVar = {"matomo": "granted", "chatra": "granted", "google-maps": "granted"}
    denied: ClassVar = {"matomo": "denied", "chatra": "denied", "google-maps": "denied"}
    centre_refusal = centre_acceptance = "save"

    def accept_all(self, page: Page) -> None:
        self._switch(page, "analytics", "chat", "maps", on=True)
        super().accept_all(page)

    def refuse_all(self, page: Page) -> None:
        self._switch(page, "analytics", "chat", "maps", on=False)
        super().refuse_all(page)

    def choose(self, page: Page) -> list[tuple[str, Decisions]]:
        self._switch(page, "analytics", on=True)
        page.click(".cm-modal .cm-btn-accept:not(.cm-btn-accept-all)")
        return [("consent.given", self.denied | {"matomo": "granted"})]

    def _switch(self, page: Page, *purposes: str, on: bool) -> None:
        for purpose in purposes:
            box = page.locator(f"#purpose-item-{purpose}")
            if box.is_checked() != on:
                page.click(f"label[for=purpose-item-{purpose}]")

    def speak_french(self, page: Page) -> None:
        page.evaluate("{ klaroConfig.lang = 'fr'; klaro.render(klaroConfig) }")


class Tarteaucitron(Banner):
    """tarteaucitronjs 1.34.0: services, each told at once; one of them needs no consent."""

    name = "tarteaucitron"
    banner = "#tarteaucitronAlertBig"
    centre = "#tarteaucitron"
    counters = ".tarteaucitronStatusInfo, [id^=tarteaucitronCounter], [id^=tarteaucitronCookiesNumber]"
    accept = "#tarteaucitronPersonalize2"
    refuse = "#tarteaucitronAllDenied2"
    accept_in_centre = "#tarteaucitronAllAllowed"
    refuse_in_centre = "#tarteaucitronAllDenied"
    granted: ClassVar = {"statistics": "granted", "chatra": "granted", "matomo": "not_objected"}
    denied: ClassVar = {"statistics": "denied", "chatra": "denied", "matomo": "objected"}

    def ready(self, page: Page) -> None:
        page.wait_for_function("() => 'ready' in document.documentElement.dataset")

    def choose(self, page: Page) -> list[tuple[str, Decisions]]:
        page.click("#statisticsAllowed")
        page.click("#tarteaucitronSaveButton")
        some = {"statistics": "granted", "matomo": "not_objected"}
        return [("consent.given", some), ("consent.renewed", some | {"chatra": "denied"})]


class C15t(Banner):
    """c15t 2.2.1: categories; the page draws the banner."""

    name = "c15t"
    banner = "#consent-banner"
    centre = "#consent-dialog"
    accept = "#accept"
    refuse = "#reject"
    accept_in_centre = "#accept-all"
    refuse_in_centre = "#reject-all"
    granted: ClassVar = {"measurement": "granted", "marketing": "granted"}
    denied: ClassVar = {"measurement": "denied", "marketing": "denied"}

    def choose(self, page: Page) -> list[tuple[str, Decisions]]:
        page.check("#measurement")
        page.click("#save")
        return [("consent.given", self.denied | {"measurement": "granted"})]

    def speak_french(self, page: Page) -> None:
        page.evaluate("c15tStore.getState().setLanguage('fr')")
