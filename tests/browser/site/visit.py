"""One visitor: a browser context of its own, the pages it opens, what it posts, what is left on its device."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from playwright.sync_api import BrowserContext, Page, Request

from tests.browser.site.log import Record
from tests.browser.site.service import BROWSER_KEY, SITE, Service

DEADLINE_S = 10
_STORAGE = "() => ({ local: { ...localStorage }, session: { ...sessionStorage } })"
# Everything that was enqueued is delivered.
_DELIVERED = "() => !localStorage['sayso.queue']"


class Visit:
    """What a test sees and does. Events count from the moment the visit began."""

    def __init__(self, service: Service, context: BrowserContext) -> None:
        self.service = service
        self.context = context
        self.began = service.size()
        # Bodies of POSTs to ingest, parsed; requests of any kind; errors of the pages.
        self.posts: list[Any] = []
        self.requests: list[str] = []
        self.errors: list[str] = []
        context.on("request", self._saw)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _saw(self, request: Request) -> None:
        self.requests.append(request.url)
        if request.method == "POST" and request.url.startswith(self.service.ingest_url):
            self.posts.append(json.loads(request.post_data or "null"))

    def snippet(self, **attributes: str | bool | Mapping[str, Any]) -> str:
        """The one line that a web developer pastes; `language="fr"` becomes data-language."""
        said: dict[str, Any] = {"site": SITE, "key": BROWSER_KEY, **attributes}
        texts = {name: json.dumps(value) if isinstance(value, Mapping) else value for name, value in said.items()}
        pairs = "".join(
            f" data-{name.replace('_', '-')}" + ("" if text is True else f"='{text}'")
            for name, text in texts.items()
            if text is not False
        )
        return f'<script async src="{self.service.ingest_url}/s/v1/sayso.js"{pairs}></script>'

    def serve(self, body: str = "", *, path: str = "/", head: str | None = None, **headers: str) -> None:
        """Serve a page; `head` is the snippet's line unless it is given."""
        head = self.snippet() if head is None else head
        document = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>{head}</head>'
        self.service.pages.put(path, f"{document}<body>{body}</body></html>", **headers)

    def open(self, path: str = "/", *, host: str = SITE, page: Page | None = None, loaded: bool = True) -> Page:
        """Open a page in a new tab (or in `page`) and wait until the snippet runs there."""
        page = page or self.context.new_page()
        page.goto(self.service.pages.origin(host) + path)
        if loaded:
            page.wait_for_function("() => window.sayso")
        return page

    def events(self, count: int, *, deadline_s: float = 10) -> list[Record]:
        """Wait until `count` events of this visit are in the log, and insist that it is not more."""
        return self.service.recorded(self.began, count, deadline_s=deadline_s)

    def delivered(self, page: Page) -> None:
        """Wait until nothing waits on the device."""
        page.wait_for_function(_DELIVERED)

    def storage(self, page: Page) -> dict[str, Any]:
        """Everything on the device for the page's site: local, session, cookies."""
        found: dict[str, Any] = page.evaluate(_STORAGE)
        return {**found, "cookies": {cookie["name"]: cookie["value"] for cookie in self.context.cookies()}}

    def until(self, page: Page, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that is seen from outside the page; Playwright hears of it only while it is spoken to."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
            page.evaluate("() => new Promise(requestAnimationFrame)")
