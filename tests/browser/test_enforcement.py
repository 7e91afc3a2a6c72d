"""Enforcement in a real browser: what is marked runs while its use is granted, each use by itself, and not before."""

import pytest
from playwright.sync_api import Page, expect

from schemas.captured import captured_hash
from tests.browser.site.shop import Shop, choose
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser

NOTHING: dict[str, dict[str, str]] = {"local": {}, "session": {}, "cookies": {}}


@pytest.fixture
def shop(visit: Visit) -> Shop:
    return Shop(visit)


def frame(shop: Shop, service: str = "chaport", use: str = "chat-session", attributes: str = "") -> str:
    address = shop.address("app.chaport.com", "frame.html")
    return shop.marked("iframe", service, use, f'data-src="{address}" title="Chat" {attributes}') + "</iframe>"


def everything(shop: Shop) -> str:
    inline = shop.marked("script", "chaport", "chat-session", 'type="text/plain"')
    image = shop.marked("img", "chatra", "chat-proactive", f'data-src="{shop.address("cdn.chatra.io", "dot.gif")}"')
    return (
        shop.script("chatra", "chat-session", "chatra.js")
        + shop.script("chatra", "chat-proactive", "triggers.js")
        + shop.script("chaport", "chat-session", "chaport.js")
        + f"{inline}document.body.dataset.inline = document.body.dataset.chaport</script>{image}{frame(shop)}"
    )


def test_before_an_act_nothing_is_loaded_and_nothing_stored(shop: Shop) -> None:
    page = shop.open(everything(shop))
    page.reload()
    shop.ready(page)
    assert shop.asked() == []
    assert shop.visit.storage(page) == NOTHING
    assert shop.visit.posts == []
    assert page.locator("iframe").get_attribute("src") is None
    shop.visit.events(0)


def test_a_grant_starts_what_is_marked_for_that_use_and_nothing_else(shop: Shop) -> None:
    page = shop.open(everything(shop))
    choose(page, ["chat-session"], ["chatra"])
    expect(page.locator("#chatra")).to_have_text("Chat with us")
    assert shop.asked() == ["chatra.js"]
    choose(page, ["chat-session", "chat-proactive"], ["chatra"])
    expect(page.locator("body")).to_have_attribute("data-proactive", "on")
    page.wait_for_function("() => document.images[0].src.endsWith('dot.gif')")
    assert sorted(shop.asked()) == ["chatra.js", "dot.gif", "triggers.js"]
    choose(page, ["chat-session"], ["chaport"])
    # The inline script waited for the one before it.
    expect(page.locator("body")).to_have_attribute("data-inline", "on")
    expect(page.frame_locator("iframe").locator("p")).to_have_text("Hello from the frame")
    expect(page.locator(".sayso-placeholder:visible")).to_have_count(1)


def test_on_the_next_load_it_starts_by_itself(shop: Shop) -> None:
    page = shop.open(everything(shop))
    choose(page, ["chat-session", "chat-history"], ["chatra"])
    shop.visit.delivered(page)
    page.reload()
    expect(page.locator("#chatra")).to_have_count(1)
    assert shop.asked() == ["chatra.js", "chatra.js"]
    shop.visit.events(1)


def test_what_a_running_service_writes_for_a_refused_use_does_not_stay(shop: Shop) -> None:
    page = shop.open(shop.script("chatra", "chat-session", "chatra.js"))
    choose(page, ["chat-session", "chat-history"], ["chatra"])
    expect(page.locator("#chatra")).to_have_count(1)
    page.evaluate("document.cookie = 'Chatra_marked=1; path=/'")
    page.wait_for_function("() => !document.cookie.includes('Chatra_marked')")
    assert {"Chatra", "Chatra_session", "Chatra_active_chat"} <= set(shop.visit.storage(page)["cookies"])


INSERT = """([html, use]) => {
  const box = document.createElement("div");
  box.innerHTML = html;
  for (const script of box.querySelectorAll("script")) script.dataset.saysoUse = use;
  document.body.append(box);
}"""


def test_what_is_inserted_later_waits_and_starts_too(shop: Shop) -> None:
    page = shop.open("")
    choose(page, ["chat-session"], ["chatra", "chaport"])
    page.evaluate(INSERT, [shop.script("chatra", "x", "triggers.js"), "chat-proactive"])
    page.evaluate(INSERT, [frame(shop), ""])
    expect(page.frame_locator("iframe").locator("p")).to_have_text("Hello from the frame")
    page.evaluate(INSERT, [shop.script("chatra", "x", "chatra.js"), "chat-session"])
    expect(page.locator("#chatra")).to_have_count(1)
    assert sorted(shop.asked()) == ["chatra.js", "frame.html"]


def test_what_the_site_marked_but_did_not_block_is_named(shop: Shop) -> None:
    said: list[str] = []
    shop.visit.context.on("console", lambda message: said.append(message.text))
    shop.open(shop.marked("script", "chatra", "chat-session", 'src="/dot.gif"') + "</script>")
    shop.visit.until(shop.visit.context.pages[0], lambda: any("not blocked" in text for text in said), "a complaint")


# --- before a choice --------------------------------------------------------------------------------------------------


def on_interest(shop: Shop, use: str = "chat-session") -> str:
    return shop.script("chatra", use, "chatra.js", 'data-sayso-before="legitimate_interest"')


def test_a_legitimate_interest_runs_before_a_choice_only_where_the_site_says_so(shop: Shop) -> None:
    page = shop.open(on_interest(shop, "chat-history") + on_interest(shop))
    expect(page.locator("#chatra")).to_have_count(1)
    # One of the two: consent is what chat-history rests on, whatever the page says.
    assert shop.asked() == ["chatra.js"]
    assert "sayso" not in shop.visit.storage(page)["local"]
    choose(page, [])
    expect(page.locator("#chatra")).to_have_count(0)
    page.wait_for_function("() => document.cookie === ''")
    assert set(shop.visit.storage(page)["local"]) <= {"sayso", "sayso.queue"}
    (refused,) = shop.visit.events(1)
    assert (refused.type, refused.identified) == ("consent.refused", False)


def test_global_privacy_control_objects_to_it(shop: Shop) -> None:
    shop.visit.context.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })")
    shop.open(on_interest(shop))
    assert shop.asked() == []


# --- placeholders -----------------------------------------------------------------------------------------------------


def opened(page: Page, name: str) -> None:
    button = page.get_by_role("group", name=name).get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")


def test_a_placeholder_that_is_opened_is_an_act_of_its_own(shop: Shop) -> None:
    page = shop.open(frame(shop, use="chat-history") + shop.script("chatra", "chat-session", "chatra.js"))
    group = page.get_by_role("group", name="Chaport")
    text = shop.rules["services"]["chaport"]["text"]["en"]
    expect(group.get_by_role("button", name="Open Chaport")).to_have_accessible_description(text)
    assert not page.locator("iframe").is_visible()
    opened(page, "Chaport")
    expect(page.frame_locator("iframe").locator("p")).to_have_text("Hello from the frame")
    assert page.locator("iframe").is_visible()
    assert page.evaluate("document.activeElement.localName") == "iframe"
    (given,) = shop.visit.events(1)
    assert (given.type, given.identified) == ("consent.given", True)
    (decision,) = given.what["decisions"]
    assert decision == {
        "purpose": "chat-history",
        "decision": "granted",
        "legal_basis": "consent",
        "services": ["chaport"],
    }
    assert given.what["capture"] == {"mechanism": "button", "element": "placeholder", "words": "captured"}
    assert given.what["notice"]["sha256"] == captured_hash(f"{text}\nOpen Chaport", "en")
    assert shop.asked() == ["frame.html"]
    page.reload()
    expect(page.frame_locator("iframe").locator("p")).to_have_text("Hello from the frame")


def test_a_widget_opens_by_the_sites_own_button_and_words(shop: Shop) -> None:
    own = shop.marked("div", "chatra", "chat-session", 'data-sayso-placeholder lang="de"')
    page = shop.open(
        own
        + "<p>Der Chat läuft über Chatra.</p><button>Chat beginnen</button></div>"
        + shop.script("chatra", "chat-session", "chatra.js")
    )
    page.get_by_role("button", name="Chat beginnen").click()
    expect(page.locator("#chatra")).to_have_count(1)
    assert not page.get_by_role("button", name="Chat beginnen").is_visible()
    (given,) = shop.visit.events(1)
    words = captured_hash("Der Chat läuft über Chatra.\nChat beginnen", "de")
    assert (given.what["notice"]["sha256"], given.what["notice"]["language"]) == (words, "de")
    # An answer to the placeholder is no answer to anything else.
    assert given.decisions == {"chat-session": "granted"}


@pytest.mark.parametrize(
    ("language", "button"),
    [("fr-CA", "Ouvrir maps"), ("de", "maps öffnen"), ("es", "Abrir maps"), ("pt", "Open maps")],
)
def test_a_service_without_a_text_gets_neutral_words_in_the_pages_language(
    shop: Shop, language: str, button: str
) -> None:
    page = shop.open(frame(shop, "maps", "map"), head=shop.visit.snippet(language=language))
    expect(page.get_by_role("group", name="maps").get_by_role("button")).to_have_text(button)
    expect(page.get_by_role("group", name="maps")).to_have_attribute("lang", language[:2] if language != "pt" else "en")


def test_a_refusal_after_it_was_opened_closes_it(shop: Shop) -> None:
    # The banner asks for it as a legitimate interest; what counts is the visitor's last word.
    page = shop.open(frame(shop, use="chat-session"))
    opened(page, "Chaport")
    expect(page.frame_locator("iframe").locator("p")).to_have_text("Hello from the frame")
    choose(page, [])
    expect(page.get_by_role("group", name="Chaport").get_by_role("button")).to_be_visible()
    assert not page.locator("iframe").is_visible()


def test_under_a_strict_content_security_policy(shop: Shop) -> None:
    ingest = shop.visit.service.ingest_url
    policy = f"default-src 'none'; script-src 'nonce-n1' *.chatra.io:*; connect-src {ingest}; frame-src *:*"
    body = shop.script("chatra", "chat-session", "chatra.js") + frame(shop, use="chat-history")
    inline = shop.marked("script", "chaport", "chat-session", 'type="text/plain" nonce="n1"')
    head = shop.visit.snippet().replace("<script ", '<script nonce="n1" ')
    nobody = shop.marked("p", "nobody", "nothing", "data-sayso-placeholder") + "</p>"
    shop.visit.serve(
        f"{body}{inline}document.body.dataset.inline = 'ran'</script>{nobody}",
        head=head,
        content_security_policy=policy,
    )
    page = shop.visit.open()
    shop.ready(page)
    choose(page, ["chat-session"])
    expect(page.locator("#chatra")).to_have_count(1)
    expect(page.locator("body")).to_have_attribute("data-inline", "ran")
