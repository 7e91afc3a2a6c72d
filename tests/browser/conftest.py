"""One Chromium for all tests of this folder; it ends before any test of another folder runs.

Playwright's loop runs in this thread while the browser is open, so no test here may be a coroutine.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import chromium, complaints, open_page
from tests.browser.site.pages import Pages
from tests.browser.site.service import HOSTS, Service
from tests.browser.site.visit import Visit
from tests.support.databases import SchemaTemplate, drop_database

PATIENCE_MS = 15_000


@pytest.fixture(scope="package")
def pages() -> Iterator[Pages]:
    """The web server of the sites that the tests visit."""
    with Pages().served() as served:
        yield served


@pytest.fixture(scope="package")
def browser(pages: Pages) -> Iterator[Browser]:
    with chromium(*map(pages.origin, HOSTS)) as opened:
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


@pytest.fixture(scope="package")
def service(
    schema_template: SchemaTemplate, pages: Pages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Sayso, for every test that acts as a visitor of a site."""
    database = schema_template.clone()
    service = Service(database, tmp_path_factory.mktemp("service"), pages)
    service.create()
    with service.running():
        yield service
    drop_database(database)


@pytest.fixture
def visit(browser: Browser, service: Service) -> Iterator[Visit]:
    """A visitor whom nobody has seen before."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    visit = Visit(service, context)
    yield visit
    assert visit.errors == []
    context.close()
