"""After a withdrawal: what a service left is gone, at once and on the next load, and the event says what was not."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.site.log import Record
from tests.browser.site.shop import Shop, choose, removal
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser

USES = ["chat-session", "chat-history", "chat-proactive"]
CHATRA_DOMAINS = {"domain:chatra.io third-party", "domain:chatra.com third-party"}
HTTP_ONLY = "Chatra_session=from-the-server; Path=/; HttpOnly"


@pytest.fixture
def shop(visit: Visit) -> Shop:
    return Shop(visit)


def chatra(shop: Shop) -> str:
    return shop.script("chatra", "chat-session", "chatra.js") + shop.script("chatra", "chat-proactive", "triggers.js")


def chaport(shop: Shop) -> str:
    return shop.script("chaport", "chat-session", "chaport.js")


def own(page: Page) -> None:
    """What the site itself keeps, from before any consent."""
    page.evaluate("document.cookie = 'basket=3; path=/'; localStorage.theme = 'dark'; sessionStorage.tab = '1'")


def cookies(page: Page) -> set[str]:
    text: str = page.evaluate("document.cookie")
    return {pair.partition("=")[0] for pair in text.split("; ") if pair}


def without_choice(storage: dict[str, Any]) -> dict[str, Any]:
    assert set(storage["local"]) - {"sayso"} == {"theme"}, storage
    return {**storage, "local": {"theme": storage["local"]["theme"]}}


def last(shop: Shop, count: int) -> Record:
    *_, record = shop.visit.events(count)
    assert record.type == "consent.withdrawn"
    return record


def test_withdrawing_everything_leaves_what_was_there_before_and_the_choice(shop: Shop) -> None:
    page = shop.open(chatra(shop))
    own(page)
    before = shop.visit.storage(page)
    choose(page, USES, ["chatra"])
    page.wait_for_function("() => sessionStorage['widget-draft'] && document.cookie.includes('Chatra_marked')")
    page.evaluate("sayso.withdraw()")
    # At once: its call ended the chat, and not even the next turn of the page writes anything back.
    assert page.evaluate("[window.killed, document.getElementById('chatra')]") == [1, None]
    shop.visit.delivered(page)
    deleted, left = removal(last(shop, 2).what)
    names = {"cookie:Chatra", "cookie:Chatra_session", "cookie:Chatra_active_chat", "cookie:Chatra_marked"}
    assert deleted == names | {"local:chatra.history", "session:widget-draft"}
    assert left == CHATRA_DOMAINS
    assert without_choice(shop.visit.storage(page)) == before
    asked = shop.asked()
    page.reload()
    shop.ready(page)
    assert without_choice(shop.visit.storage(page)) == before
    assert shop.asked() == asked


def test_what_a_page_cannot_delete_is_told(shop: Shop) -> None:
    shop.visit.serve(chatra(shop) + shop.marked("p", "nobody", "nothing", "data-sayso-placeholder") + "</p>")
    shop.visit.service.pages.put("/login", "signed in", set_cookie=HTTP_ONLY)
    page = shop.visit.open("/login", loaded=False)
    page = shop.visit.open(page=page)
    shop.ready(page)
    choose(page, USES, ["chatra"])
    page.wait_for_function("() => document.cookie.includes('Chatra_marked')")
    page.evaluate("sayso.withdraw()")
    deleted, left = removal(last(shop, 2).what)
    assert "cookie:Chatra_session" not in deleted
    assert left == CHATRA_DOMAINS | {"cookie:Chatra_session http-only"}
    # Looking for it left nothing behind.
    assert {cookie["name"] for cookie in shop.visit.context.cookies()} == {"Chatra_session"}
    # Granted again on the same page, it starts again.
    choose(page, USES, ["chatra"])
    expect(page.locator("#chatra")).to_have_count(1)


def test_withdrawing_one_use_lets_the_others_run_on(shop: Shop) -> None:
    page = shop.open(chatra(shop))
    choose(page, USES, ["chatra"])
    page.wait_for_function("() => document.cookie.includes('Chatra_marked')")
    with page.expect_navigation():
        page.evaluate("sayso.withdraw(['chat-proactive'])")
    shop.ready(page)
    expect(page.locator("#chatra")).to_have_count(1)
    withdrawn = last(shop, 2)
    assert withdrawn.decisions == {"chat-proactive": "denied"}
    deleted, left = removal(withdrawn.what)
    assert deleted == {"cookie:Chatra_marked"}
    # Undeclared, and the chat that goes on may need it.
    assert left == CHATRA_DOMAINS | {"local:chatra.history shared", "session:widget-draft shared"}
    assert cookies(page) == {"Chatra", "Chatra_session", "Chatra_active_chat"}
    assert shop.asked()[-1] == "chatra.js"
    assert page.locator("body").get_attribute("data-proactive") is None


STOPS_ITSELF = """document.addEventListener("sayso:stop", (event) => {
  window.stopped = event.detail;
  clearInterval(chatraTimers.pop());
  event.preventDefault();
})"""


def test_a_site_that_stops_a_use_itself_is_not_loaded_again(shop: Shop) -> None:
    page = shop.open(chatra(shop))
    page.evaluate(STOPS_ITSELF)
    choose(page, USES, ["chatra"])
    page.wait_for_function("() => document.cookie.includes('Chatra_marked')")
    page.evaluate("sayso.withdraw(['chat-proactive'])")
    assert page.evaluate("window.stopped") == {"service": "chatra", "use": "chat-proactive"}
    assert cookies(page) == {"Chatra", "Chatra_session", "Chatra_active_chat"}
    # A reload would have come as soon as the event was sent.
    shop.visit.delivered(page)
    assert page.locator("#chatra").count() == 1
    assert page.evaluate("window.stopped.service") == "chatra"


def test_a_service_without_a_call_is_stopped_by_loading_the_page_again(shop: Shop) -> None:
    page = shop.open(chaport(shop), path="/shop/cart")
    own(page)
    before = shop.visit.storage(page)
    choose(page, ["chat-session", "chat-history"], ["chaport"])
    page.wait_for_function("() => localStorage.unread && indexedDB.databases().then((all) => all.length)")
    page.wait_for_function("() => sayso.choices().length && localStorage.sayso.includes('chaport-messages')")
    with page.expect_navigation():
        page.evaluate("sayso.withdraw()")
    shop.ready(page)
    deleted, left = removal(last(shop, 2).what)
    names = {"cookie:chaport_session", "cookie:chaport_uid", "cookie:chaport_prefs", "cookie:chaport_visitor_token"}
    assert deleted == names | {"local:unread"}
    assert left == {"db:chaport-messages pending", "domain:chaport.com third-party"}
    assert without_choice(shop.visit.storage(page)) == before
    page.wait_for_function("() => indexedDB.databases().then((all) => all.length === 0)")
    assert page.locator("body").get_attribute("data-chaport") is None


def test_what_a_leftover_writes_again_is_deleted_before_the_next_load(shop: Shop) -> None:
    page = shop.open(chatra(shop))
    choose(page, USES, ["chatra"])
    page.wait_for_function("() => sessionStorage['widget-draft'] && document.cookie.includes('Chatra_marked')")
    page.evaluate("sayso.withdraw()")
    shop.visit.delivered(page)
    shop.visit.service.pages.put("/elsewhere", "<title>no snippet</title>")
    page.goto(page.url + "elsewhere")
    page.evaluate("document.cookie = 'Chatra=again; path=/'; localStorage['chatra.history'] = '[1]'")
    # A page on which nothing is marked: the choice says that there is something to delete.
    shop.visit.serve("<h1>Plain</h1>", path="/plain")
    shop.visit.open("/plain", page=page)
    page.wait_for_function("() => document.cookie === '' && !('chatra.history' in localStorage)")
    # Granted again, it is the service's own.
    shop.open(chatra(shop), page=page)
    choose(page, ["chat-session", "chat-history"], ["chatra"])
    page.wait_for_function("() => document.cookie.includes('Chatra_session')")
    page.reload()
    shop.ready(page)
    expect(page.locator("#chatra")).to_have_count(1)
    local = shop.visit.storage(page)["local"]
    assert "chatra.history" in local
    assert "Chatra_session" not in json.dumps(json.loads(local["sayso"])["enforce"])


@pytest.mark.parametrize("unlisted", [{"local:chatra.history", "session:widget-draft"}, set()])
def test_withdrawn_on_a_page_without_the_service(shop: Shop, unlisted: set[str]) -> None:
    page = shop.open(chatra(shop) if unlisted else shop.script("chatra", "chat-proactive", "triggers.js"))
    choose(page, USES)
    page.wait_for_function("() => document.cookie.includes('Chatra_marked')")
    page.wait_for_function("(name) => localStorage.sayso.includes(name)", arg="widget-draft" if unlisted else '"ran"')
    shop.visit.serve("<h1>Privacy</h1>", path="/privacy")
    with page.expect_response(re.compile("/services$")):
        shop.visit.open("/privacy", page=page)
    # By the time that a second answer is read, enforcement has read its own.
    page.evaluate("fetch(`${sayso.config.endpoint}/v1/sites/shop.example/services`).then((answer) => answer.json())")
    page.evaluate("sayso.withdraw()")
    deleted, left = removal(last(shop, 2).what)
    assert {"cookie:Chatra_marked", *unlisted} <= deleted
    # Chaport was granted too, but it never ran here.
    assert left == CHATRA_DOMAINS
    assert cookies(page) == set()


def test_a_withdrawal_in_one_tab_ends_the_service_in_the_other(shop: Shop) -> None:
    page = shop.open(chatra(shop))
    choose(page, USES, ["chatra"])
    expect(page.locator("#chatra")).to_have_count(1)
    shop.visit.delivered(page)
    other = shop.visit.open()
    shop.ready(other)
    expect(other.locator("#chatra")).to_have_count(1)
    page.evaluate("sayso.withdraw()")
    expect(other.locator("#chatra")).to_have_count(0)
    shop.visit.delivered(page)
    other.wait_for_function("() => document.cookie === '' && Object.keys(localStorage).join() === 'sayso'")
    shop.visit.events(2)


# --- whose a name is that nobody lists --------------------------------------------------------------------------------

REFUSE = """([purpose, service]) => sayso.record({
  decisions: [{ purpose, granted: false, legal_basis: "legitimate_interest", services: [service] }],
})"""
# Nothing needs to end these: they write once.
SAYS_IT_ENDED = "document.addEventListener('sayso:stop', (event) => event.preventDefault())"


def writer(shop: Shop, service: str, *keys: str) -> str:
    code = f"for (const key of {list(keys)}) localStorage[key] = '1'"
    return shop.marked("script", service, "chat-session", 'type="text/plain"') + code + "</script>"


def started(page: Page, key: str, *names: str) -> None:
    choose(page, ["chat-session"], list(names))
    page.wait_for_function("(key) => localStorage[key]", arg=key)


def local(shop: Shop, page: Page) -> set[str]:
    return {key for key in shop.visit.storage(page)["local"] if not key.startswith("sayso")}


def test_an_unlisted_name_goes_with_the_service_that_was_started_since(shop: Shop) -> None:
    body = writer(shop, "chatra", "a-note", "a-cart") + writer(shop, "chaport", "b-note", "b-cart", "early")
    page = shop.open(body, head=shop.visit.snippet(keep="a-cart b-ca*"))
    page.evaluate(f"localStorage.early = '0'; {SAYS_IT_ENDED}")
    started(page, "a-note", "chatra")
    started(page, "b-note", "chaport")
    page.evaluate(REFUSE, ["chat-session", "chatra"])
    assert local(shop, page) == {"b-note", "a-cart", "b-cart", "early"}
    page.evaluate("sayso.withdraw()")
    assert local(shop, page) == {"a-cart", "b-cart", "early"}


def test_a_name_of_two_that_started_at_once_goes_with_the_first_of_them_unless_it_is_named(shop: Shop) -> None:
    page = shop.open(writer(shop, "chatra", "a-note", "the-chatra-note") + writer(shop, "chaport", "b-note"))
    page.evaluate(SAYS_IT_ENDED)
    started(page, "b-note", "chatra", "chaport")
    page.evaluate(REFUSE, ["chat-session", "chaport"])
    assert local(shop, page) == {"the-chatra-note"}
