"""How the snippet and what it loads come into a page: under a content security policy, pinned, and never changed."""

import json

import pytest
from playwright.sync_api import Page, Route

from services.ingest.snippet import DIRECTORY
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser

MANIFEST = json.loads((DIRECTORY / "manifest.json").read_bytes())
ADAPTER = f"/s/{MANIFEST['version']}/adapter-onetrust.js"
# What the adapter is found by.
BANNER = "window.OneTrust = { OnConsentChanged() {} }; window.OnetrustActiveGroups = ',C0001,'"
LOADED = "() => performance.getEntriesByType('resource').some(({name}) => name.endsWith('adapter-onetrust.js'))"


def policy(visit: Visit, script: str) -> str:
    return f"default-src 'none'; script-src {script}; connect-src {visit.service.ingest_url}"


def said_by(page: Page) -> list[str]:
    """What the console says from now on."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    return said


def test_pinned_by_its_hash_under_a_strict_policy(visit: Visit) -> None:
    sha384 = MANIFEST["files"]["sayso.js"]["sha384"]
    pinned = visit.snippet(integrity=f"sha384-{sha384}").replace("/s/v1/", f"/s/{MANIFEST['version']}/")
    pinned = pinned.replace("data-integrity", "crossorigin=anonymous integrity")
    visit.serve(head=pinned, content_security_policy=policy(visit, visit.service.ingest_url))
    visit.context.add_init_script(BANNER)
    page = visit.context.new_page()
    said = said_by(page)
    visit.open(page=page)
    page.wait_for_function(LOADED)
    page.evaluate("sayso.record({decisions: [{purpose: 'analytics', granted: true}]})")
    visit.delivered(page)
    visit.events(1)
    assert [text for text in said if "favicon" not in text] == []


def test_a_nonce_goes_on_to_what_the_core_loads(visit: Visit) -> None:
    line = visit.snippet().replace("<script", "<script nonce=abc")
    visit.serve(head=line, content_security_policy=policy(visit, "'nonce-abc'"))
    visit.context.add_init_script(BANNER)
    page = visit.open()
    page.wait_for_function(LOADED)
    assert any(url.endswith(ADAPTER) for url in visit.requests)


def test_a_changed_adapter_does_not_run(visit: Visit) -> None:
    def change(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text() + ";window.changed = true;")

    visit.context.route(f"**{ADAPTER}", change)
    visit.context.add_init_script(BANNER)
    visit.serve()
    page = visit.context.new_page()
    said = said_by(page)
    visit.open(page=page)
    visit.until(page, lambda: any("integrity" in text for text in said), "the browser refuses the adapter")
    assert page.evaluate("() => window.changed") is None


def test_a_banner_that_comes_late_is_found(visit: Visit) -> None:
    visit.serve()
    page = visit.context.new_page()
    page.clock.install()
    visit.open(page=page)
    page.clock.run_for(5_000)
    assert not any(url.endswith(ADAPTER) for url in visit.requests)
    page.evaluate(BANNER)
    page.clock.run_for(1_000)
    visit.until(page, lambda: any(url.endswith(ADAPTER) for url in visit.requests), "the adapter is loaded")
