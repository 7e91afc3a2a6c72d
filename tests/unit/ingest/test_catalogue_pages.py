"""The page of every service in every language: whole, escaped, in its language, with a policy that lets nothing in."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from schemas.catalogue import services
from schemas.catalogue.service import LANGUAGES, CatalogueLanguage
from services.ingest.catalogue.pages import service_page

pytestmark = pytest.mark.unit

VOID = {"meta", "br"}


class Balance(HTMLParser):
    """Every element that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_whole(language: CatalogueLanguage) -> None:
    for name, service in services().items():
        response = service_page(name, language)
        page = bytes(response.body).decode()
        reader = Balance()
        reader.feed(page)
        assert reader.open == []
        assert (reader.headings[0], reader.headings.count(1)) == (1, 1)
        # No level is skipped on the way down.
        assert all(deeper - level <= 1 for level, deeper in zip(reader.headings, reader.headings[1:], strict=False))
        assert f'<html lang="{language}">' in page
        assert f"<h1>{service.name}</h1>" in page
        # All texts are there in all languages, so nothing is marked as another's.
        assert "<span lang=" not in page
        assert "None" not in page
        assert "<script" not in page


def test_the_policy_lets_the_one_style_in_and_nothing_else() -> None:
    response = service_page("chatra", "fr")
    style = re.search(r"<style>(.*?)</style>", bytes(response.body).decode(), re.DOTALL)
    assert style is not None
    named = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{named}'" in response.headers["content-security-policy"]
    assert response.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert response.headers["content-language"] == "fr"


def test_a_page_links_only_to_pages_that_are_there() -> None:
    for name in services():
        linked = re.findall(
            r'href="/v1/catalogue/([^"?]+)\?language=de"', bytes(service_page(name, "de").body).decode()
        )
        assert set(linked) <= set(services())
