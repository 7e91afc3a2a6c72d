"""One Chromium for all tests of this folder; it ends before any test of another folder runs.

Playwright's loop runs in this thread while the browser is open, so no test here may be a coroutine.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import chromium, complaints, open_page


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="package")
def shared_page(browser: Browser) -> Iterator[Page]:
    """One load of verify.html for every test that only has it judge files."""
    context = browser.new_context()
    page = open_page(context)
    yield page
    assert complaints(page) == []
    context.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A load of verify.html of this test's own."""
    context = browser.new_context()
    page = open_page(context)
    yield page
    assert complaints(page) == []
    context.close()
