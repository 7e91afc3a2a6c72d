"""One visitor of the demo's shop: what it opens, what it posts, what its device holds, and pictures of what it sees."""

import json
from collections.abc import Mapping
from typing import Any, Final

from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

from tests.support.embedded import SaysoUp
from tests.tidy.repository import ROOT

PICTURES: Final = ROOT / "reports" / "demo"
PHONE: Final[Any] = {"width": 390, "height": 844}
_DEVICE: Final = """() => ({ local: Object.keys(localStorage).sort(),
  cookies: document.cookie.split("; ").filter(Boolean).map((pair) => pair.split("=")[0]) })"""


class Visitor:
    def __init__(self, context: BrowserContext, sayso: SaysoUp) -> None:
        settings = sayso.settings("demo.env")
        self.ingest, self.query = settings["INGEST"], settings["QUERY"]
        self.shop = next(line.split()[1] for line in sayso.said().splitlines() if line.startswith("  shop "))
        self.context = context
        self.requests: list[str] = []
        # Events in the order in which they were first posted, by id.
        self.posts: dict[str, Mapping[str, Any]] = {}
        self.errors: list[str] = []
        context.set_default_timeout(20_000)
        context.on("request", self._saw)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _saw(self, request: Request) -> None:
        self.requests.append(request.url)
        if request.method == "POST" and request.url.startswith(f"{self.ingest}/v1/events"):
            posted = json.loads(request.post_data or "[]")
            for event in posted if isinstance(posted, list) else [posted]:
                self.posts.setdefault(event["id"], event)

    def open(self, language: str) -> Page:
        page = self.context.new_page()
        page.goto(f"{self.shop}/{language}/")
        self.ready(page)
        return page

    @staticmethod
    def ready(page: Page) -> None:
        page.wait_for_selector("body[data-ready]")

    def open_choices(self, page: Page) -> Locator:
        page.locator("a.choices").click()
        dialog = page.locator("#my-choices")
        expect(dialog).to_be_visible()
        return dialog

    def foreign(self) -> list[str]:
        """Requests to anybody but the shop and ingest."""
        return [url for url in self.requests if not url.startswith((f"{self.shop}/", f"{self.ingest}/"))]

    def device(self, page: Page) -> dict[str, list[str]]:
        """Names of what is stored."""
        found: dict[str, list[str]] = page.evaluate(_DEVICE)
        return found

    @staticmethod
    def choices(page: Page) -> dict[str, str]:
        found: list[dict[str, str]] = page.evaluate("() => sayso.choices()")
        return {one["purpose"]: one["decision"] for one in found}

    @staticmethod
    def delivered(page: Page) -> None:
        page.wait_for_function("() => !localStorage['sayso.queue']")

    def types(self) -> list[str]:
        return [str(event["type"]) for event in self.posts.values()]

    @staticmethod
    def picture(page: Page, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")
