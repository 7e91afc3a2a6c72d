"""The pages that links in e-mails lead to, in a real browser without scripts: one button, by key or click, any size."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from tests.browser.site.service import Service

pytestmark = pytest.mark.browser

# A language that no other test asks for, and in force long after them: what is published here is found by nobody else.
WORDS = {
    "notice_id": "letter",
    "language": "pt",
    "effective_at": "2126-01-01T00:00:00Z",
    "title": "A nossa carta mensal",
    "text": "Podemos enviar-lhe uma carta por mês com as novidades da loja?",
    "withdrawal": "Pode retirar o consentimento a qualquer momento, com a ligação em cada carta.",
}
YES = {"purpose": "newsletter", "decision": "granted", "legal_basis": "consent"}
NO = {"purpose": "newsletter", "decision": "denied", "legal_basis": "consent"}
NARROW = ViewportSize(width=320, height=640)


@pytest.fixture(scope="module")
def notice(service: Service) -> dict[str, str]:
    return {"sha256": service.publish(**WORDS), "language": "pt"}


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser set to French that runs no script: what it sends itself is all that is sent."""
    made = browser.new_context(locale="fr-FR", java_script_enabled=False, viewport=NARROW)
    yield made
    made.close()


def link(service: Service, kind: str, decision: dict[str, str], **body: Any) -> str:
    """The address that the site's server puts into its mail."""
    eve = {"type": "email", "value": f"{os.urandom(6).hex()}@example.com"}
    answer = httpx2.post(
        f"{service.ingest_url}/v1/links",
        json={"kind": kind, "identifier": eve, "decisions": [decision], **body},
        headers={"authorization": f"Bearer {service.server_key}"},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"])


def opened(context: BrowserContext, url: str) -> tuple[Page, list[str]]:
    """The page of a link, and everything that it asked for or complained of."""
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    page.on("console", lambda message: asked.append(message.text))
    page.goto(url)
    return page, asked


def test_confirming_by_keyboard(
    service: Service, context: BrowserContext, notice: dict[str, str], tmp_path: Path
) -> None:
    since = service.size()
    url = link(service, "confirm", YES, notice=notice)
    page, asked = opened(context, url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Confirmez votre choix")
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    expect(page.get_by_text(WORDS["text"])).to_be_visible()
    expect(page.locator("section > div")).to_have_attribute("lang", "pt")
    page.screenshot(path=tmp_path / "confirm.png", full_page=True)
    page.reload()
    assert service.records(since) == []
    page.keyboard.press("Tab")
    expect(page.get_by_role("button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Choix confirmé")
    page.screenshot(path=tmp_path / "confirmed.png", full_page=True)
    (record,) = service.recorded(since, 1)
    assert (record.type, record.what["words"]) == ("consent.given", "rendered")
    assert record.decisions == {"newsletter": "granted"}
    assert set(record.what["double_opt_in"]) == {"requested_at", "confirmed_at"}
    assert asked == [f"GET {url}", f"GET {url}", f"POST {url}"]
    assert context.cookies() == []


def test_withdrawing_with_a_click(
    service: Service, context: BrowserContext, notice: dict[str, str], tmp_path: Path
) -> None:
    since = service.size()
    url = link(service, "unsubscribe", NO, notice=notice)
    for size in (NARROW, ViewportSize(width=1280, height=800)):
        page, asked = opened(context, url)
        page.set_viewport_size(size)
        button = page.get_by_role("button", name="Retirer maintenant")
        box, body = button.bounding_box(), page.locator("main").bounding_box()
        assert box is not None
        assert body is not None
        assert box["height"] >= 44
        assert body["width"] <= size["width"]
        page.screenshot(path=tmp_path / f"unsubscribe-{size['width']}.png", full_page=True)
        button.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Accord retiré")
        assert asked == [f"GET {url}", f"POST {url}"]
    first, second = service.recorded(since, 2)
    assert first.type == second.type == "consent.withdrawn"
    assert first.decisions == second.decisions == {"newsletter": "denied"}
    assert context.cookies() == []


def test_a_link_that_is_not_valid(service: Service, context: BrowserContext, tmp_path: Path) -> None:
    page, asked = opened(context, f"{service.ingest_url}/u/us_cut-off-by-the-mail-program")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ce lien n’est pas valable")
    expect(page.get_by_role("button")).to_have_count(0)
    page.screenshot(path=tmp_path / "invalid.png", full_page=True)
    # Chromium notes the 404 and finds nothing else to say.
    assert len([line for line in asked if not line.startswith("GET")]) <= 1
