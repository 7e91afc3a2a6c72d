"""The snippet's acts in a real browser: each arrives in the log once, as what it was, and leaves what it should.

The page has no banner: the acts are clicks on buttons that call sayso.record() and sayso.withdraw().
"""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page

from schemas.captured import captured_hash
from schemas.events import parse_time
from schemas.visitors import visitor_id
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser

ALL, NONE, SOME = (
    {"analytics": True, "marketing": True},
    {"analytics": False, "marketing": False},
    {"analytics": True, "marketing": False},
)


def say(page: Page, answers: dict[str, bool], **about: Any) -> str:
    """Act; the event's id."""
    decisions = [{"purpose": purpose, "granted": granted} for purpose, granted in answers.items()]
    event: str = page.evaluate("act => sayso.record(act)", {"decisions": decisions, **about})
    return event


def opened(visit: Visit, body: str = "", **attributes: Any) -> Page:
    """A page with the snippet."""
    visit.serve(body, head=visit.snippet(**attributes))
    return visit.open()


def test_before_an_act_nothing_is_stored_and_nothing_posted(visit: Visit) -> None:
    page = opened(visit, "<form data-sayso-form><input type=checkbox data-sayso-purpose=newsletter></form>")
    assert page.evaluate("() => [sayso.choices(), sayso.granted('analytics'), sayso.visitor()]") == [[], False, None]
    notice = page.evaluate("() => sayso.notice()")
    assert (notice["sha256"], notice["requested_language"]) == (visit.service.notice, "en")
    assert page.evaluate("() => sayso.withdraw()") is None
    page.reload()
    page.wait_for_function("() => window.sayso")
    page.goto("about:blank")
    assert (visit.posts, visit.context.cookies()) == ([], [])
    assert visit.storage(visit.open(page=page)) == {"local": {}, "session": {}, "cookies": {}}
    # The script, the page and the notice; nothing else was asked for.
    paths = {url.rpartition("/")[2].partition("?")[0] for url in visit.requests if url.startswith("http")}
    assert paths == {"", "sayso.js", "shop.example", "favicon.ico"} - ({"favicon.ico"} - paths)
    visit.events(0)


def test_accepting_all_is_given_with_a_proven_visitor(visit: Visit) -> None:
    page = opened(visit)
    event = say(page, ALL, mechanism="button", element="banner", action="accept_all")
    visit.delivered(page)
    (given,) = visit.events(1)
    stored = visit.storage(page)["local"]
    visitor = json.loads(stored["sayso.visitor"])
    assert (given.type, given.what["id"]) == ("consent.given", event)
    made_at = datetime.fromtimestamp(int(event.replace("-", "")[:12], 16) / 1000, UTC)
    assert (uuid.UUID(event).version, abs(made_at - parse_time(given.what["time"])) < timedelta(seconds=1)) == (7, True)
    assert given.decisions == {"analytics": "granted", "marketing": "granted"}
    assert given.what["capture"] == {"mechanism": "button", "element": "banner", "action": "accept_all"}
    assert given.who["identifiers"] == [{"type": "cookie", "value": visitor_id(visitor["key"])}]
    assert "unconfirmed" not in given.what.get("marks", [])
    assert given.context == {"page": "/", "device": "desktop"}
    assert sorted(stored) == ["sayso", "sayso.visitor"]
    assert visitor["capability"].startswith("cap_")
    # The log never sees the key.
    assert visitor["key"] not in json.dumps([given.who, given.what, given.context])
    assert page.evaluate("() => [sayso.granted('analytics'), sayso.granted('other')]") == [True, False]


def test_a_refusal_identifies_nobody_and_leaves_the_choice_alone(visit: Visit) -> None:
    page = opened(visit)
    say(page, NONE, action="reject_all")
    visit.delivered(page)
    (refused,) = visit.events(1)
    assert (refused.type, refused.identified, refused.who) == ("consent.refused", False, {})
    assert refused.decisions == {"analytics": "denied", "marketing": "denied"}
    assert "visitorkey" not in visit.posts[0]
    stored = visit.storage(page)
    assert (sorted(stored["local"]), stored["session"], stored["cookies"]) == (["sayso"], {}, {})
    choice = json.loads(stored["local"]["sayso"])
    assert sorted(choice) == ["at", "choices"]


@pytest.mark.parametrize("by_page", [True, False])
def test_a_refusal_with_a_receipt_has_a_subject(visit: Visit, by_page: bool) -> None:
    page = opened(visit, receipt=by_page)
    say(page, NONE, **({} if by_page else {"receipt": True}))
    visit.delivered(page)
    (refused,) = visit.events(1)
    assert (refused.type, refused.identified) == ("consent.refused", True)
    assert json.loads(visit.storage(page)["local"]["sayso.visitor"])["capability"].startswith("cap_")


def test_a_life_of_choices(visit: Visit) -> None:
    """Some, the same again, one more, one back, all back, none again: each click is one event of its own kind."""
    page = opened(visit)
    before = visit.storage(page)["local"]
    for answers in (SOME, SOME, ALL, SOME, NONE, NONE, ALL):
        say(page, answers)
        visit.delivered(page)
        if answers == NONE:
            assert visit.storage(page)["local"].keys() - before == {"sayso"}
    records = visit.events(7)
    assert [(record.type.removeprefix("consent."), record.decisions) for record in records] == [
        ("given", {"analytics": "granted", "marketing": "denied"}),
        ("renewed", {"analytics": "granted", "marketing": "denied"}),
        ("given", {"analytics": "granted", "marketing": "granted"}),
        ("withdrawn", {"marketing": "denied"}),
        ("withdrawn", {"analytics": "denied"}),
        ("refused", {"analytics": "denied", "marketing": "denied"}),
        ("given", {"analytics": "granted", "marketing": "granted"}),
    ]
    assert [record.identified for record in records] == [True, True, True, True, True, False, True]
    values = [record.who["identifiers"][0]["value"] for record in records if record.identified]
    assert len(set(values[:5])) == 1
    # Who took everything back and comes again is nobody whom the log has seen before.
    assert values[5] != values[0]


def test_withdrawing_leaves_storage_as_it_was_but_for_the_choice(visit: Visit) -> None:
    visit.serve("<script>localStorage.shop = 'kept'; document.cookie = 'basket=1'</script>" + visit.snippet(), head="")
    page = visit.open()
    before = visit.storage(page)
    say(page, ALL)
    visit.delivered(page)
    assert visit.storage(page) != before
    page.reload()
    page.wait_for_function("() => window.sayso")
    page.evaluate("() => sayso.withdraw(['marketing'])")
    assert page.evaluate("() => sayso.granted('analytics')")
    page.evaluate("() => sayso.withdraw()")
    visit.delivered(page)
    after = visit.storage(page)
    assert after.pop("local") == before.pop("local") | {"sayso": page.evaluate("() => localStorage.sayso")}
    assert after == before
    given, one, all_ = visit.events(3)
    assert (one.type, one.decisions) == ("consent.withdrawn", {"marketing": "denied"})
    assert (all_.type, all_.decisions) == ("consent.withdrawn", {"analytics": "denied"})
    assert all_.what["capture"] == {"mechanism": "button", "action": "withdraw"}
    assert one.who == all_.who == given.who
    assert page.evaluate("() => sayso.withdraw()") is None


def test_reload_and_the_next_day_repeat_nothing(visit: Visit) -> None:
    page = opened(visit)
    page.clock.install()
    say(page, ALL)
    visit.delivered(page)
    first = visit.storage(page)["local"]
    for _ in range(2):
        page.reload()
        page.wait_for_function("() => window.sayso")
        page.clock.fast_forward("26:00:00")
    assert visit.storage(page)["local"] == first
    assert len(visit.posts) == 1
    say(page, ALL)
    visit.delivered(page)
    given, renewed = visit.events(2)
    assert (renewed.type, renewed.who) == ("consent.renewed", given.who)
    assert renewed.what["time"] > given.what["time"]


def test_legitimate_interest_is_objected_to(visit: Visit) -> None:
    page = opened(visit)
    decisions = [
        {"purpose": "chat-session", "granted": False, "legal_basis": "legitimate_interest", "services": ["chatra"]},
        {"purpose": "chat-history", "granted": True, "services": ["chatra"]},
    ]
    page.evaluate("decisions => sayso.record({decisions})", decisions)
    (given,) = visit.events(1)
    assert given.what["decisions"] == [
        {
            "purpose": "chat-session",
            "decision": "objected",
            "legal_basis": "legitimate_interest",
            "services": ["chatra"],
        },
        {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent", "services": ["chatra"]},
    ]
    asked = "() => [['chat-session'], ['chat-history'], ['chat-history', 'chatra'], ['chat-history', 'chaport']]"
    assert page.evaluate(f"{asked}".replace("]]", "]].map(a => sayso.granted(...a))")) == [False, True, True, False]


def test_over_or_under_goes_with_the_act(visit: Visit) -> None:
    page = opened(visit)
    page.evaluate("sayso.record({decisions: [{purpose: 'chat-history', granted: true}], age: {over: false}})")
    (given,) = visit.events(1)
    assert given.what["age"] == {"over": False, "minimum": 16}


def test_words_read_off_the_screen_and_words_of_our_notice(visit: Visit) -> None:
    banner = (
        "<div id=banner lang=fr><h2>Vos  choix</h2><p>Nous\n mesurons <b>l’audience</b>.</p>"
        "<style>p {color: red}</style><p hidden>rien</p><p style='visibility:hidden'>rien</p><p>cafe\u0301</p></div>"
    )
    page = opened(visit, banner)
    page.evaluate("window.words = sayso.capture(document.querySelector('#banner'))")
    words = page.evaluate("() => words")
    assert words["text"] == "Vos choix\nNous mesurons\nl’audience\n.\ncafé"
    assert (words["language"], words["sha256"]) == ("fr", captured_hash(words["text"], "fr"))
    typed = "Vos \u00a0 choix\r\n\n Nous mesurons \n l’audience\n.\ncafe\u0301\n"
    assert page.evaluate("text => sayso.capture(text, 'fr').sha256", typed) == words["sha256"]
    assert captured_hash(typed, "fr") == words["sha256"]

    page.evaluate("sayso.record({decisions: [{purpose: 'analytics', granted: true}], notice: words})")
    visit.delivered(page)
    page.evaluate(
        "async () => sayso.record({decisions: [{purpose: 'marketing', granted: true}], notice: await sayso.notice()})"
    )
    visit.delivered(page)
    page.evaluate(
        "async () => sayso.record({decisions: [{purpose: 'marketing', granted: true}],"
        " notice: await sayso.notice('de')})"
    )
    captured, rendered, stood_in = visit.events(3)
    assert captured.what["notice"] == {"sha256": words["sha256"], "language": "fr"}
    assert captured.what["capture"]["words"] == "captured"
    ours = {"sha256": visit.service.notice, "language": "en"}
    assert (rendered.what["words"], rendered.what["notice"]) == ("rendered", ours)
    assert stood_in.what["notice"] == ours | {"requested_language": "de"}


def test_words_have_one_name_in_the_page_and_in_python(visit: Visit) -> None:
    page = opened(visit)
    # Every length around the blocks of SHA-256, and every character that might count as white space.
    texts = ["ä" * length for length in range(130)]
    texts += [f"a{chr(code)}b" for code in (*range(1, 0x3100), 0xFEFF)]
    named = page.evaluate("texts => texts.map((text) => sayso.capture(text, 'en').sha256)", texts)
    differ = [ascii(text) for text, name in zip(texts, named, strict=True) if name != captured_hash(text, "en")]
    assert differ == []


def test_a_form_of_the_sites_own(visit: Visit) -> None:
    form = (
        "<form data-sayso-form action=/thanks><p>Our news, once a month.</p>"
        "<input type=email name=mail data-sayso-identifier=email value=ann@mail.example>"
        "<label><input type=checkbox id=box data-sayso-purpose=newsletter> Yes, write to me</label>"
        "<button>Send</button></form>"
    )
    visit.serve(form)
    visit.serve("Thank you", path="/thanks")
    page = visit.open()
    page.check("#box")
    page.click("button")
    page.wait_for_url("**/thanks?*")
    (given,) = visit.events(1)
    assert (given.type, given.decisions) == ("consent.given", {"newsletter": "granted"})
    assert given.what["capture"] == {"mechanism": "form", "element": "form", "action": "save", "words": "captured"}
    text = "Our news, once a month.\nYes, write to me\nSend"
    assert given.what["notice"] == {"sha256": captured_hash(text, "en"), "language": "en"}
    assert [identifier["type"] for identifier in given.who["identifiers"]] == ["cookie", "email"]
    # Nobody has shown that the address is theirs.
    assert "unconfirmed" in given.what["marks"]
    # The address stays in the form: nothing of it is stored, no address of a page holds it.
    assert "ann" not in json.dumps([visit.storage(page), given.context])


def test_global_privacy_control_is_logged_when_it_appears(visit: Visit) -> None:
    page = opened(visit)
    say(page, SOME)
    visit.delivered(page)
    visit.context.add_init_script("Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {value: true})")
    for _ in range(2):
        visit.open(page=page)
        visit.delivered(page)
    say(page, NONE)
    visit.delivered(page)
    given, signal, withdrawn = visit.events(3)
    assert ("signals" in given.what, signal.type, signal.who) == (False, "signal.gpc", given.who)
    assert (signal.what["capture"], "decisions" in signal.what) == ({"mechanism": "gpc"}, False)
    assert signal.what["signals"] == withdrawn.what["signals"] == {"gpc": True}


def test_global_privacy_control_before_an_act_says_nothing(visit: Visit) -> None:
    visit.context.add_init_script("Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {value: true})")
    page = opened(visit)
    visit.open(page=page)
    assert (visit.posts, visit.storage(page)["local"]) == ([], {})
    # The signal decides nothing: the visitor may still say yes, and it is logged beside.
    say(page, ALL)
    visit.delivered(page)
    given, signal = visit.events(2)
    assert (given.type, given.what["signals"], signal.type) == ("consent.given", {"gpc": True}, "signal.gpc")


def test_others_on_the_page_are_told(visit: Visit) -> None:
    page = opened(visit, "<script>window.dataLayer = []; window.told = [];</script>")
    page.evaluate("() => sayso.on('choice', () => { throw new Error('a listener of the site') })")
    page.evaluate("() => sayso.on('choice', (choice) => told.push(choice.type))")
    page.evaluate("() => document.addEventListener('sayso:choice', ({detail}) => told.push(detail.choices.length))")
    page.evaluate("() => sayso.on('sent', (sent) => told.push(sent.status))")
    say(page, SOME)
    page.wait_for_function("() => told.length === 3")
    assert page.evaluate("() => told") == ["consent.given", 2, "accepted"]
    pushed = {"event": "sayso_choice", "sayso": {"analytics": "granted", "marketing": "denied"}}
    assert page.evaluate("() => dataLayer") == [pushed]
    visit.open(page=page)
    assert page.evaluate("() => dataLayer") == [pushed], "tags of the next page learn what was chosen before"


def test_the_line_pasted_twice_acts_once(visit: Visit) -> None:
    form = "<form data-sayso-form onsubmit='return false'><input type=checkbox data-sayso-purpose=newsletter><button>"
    visit.serve(form, head=visit.snippet() + visit.snippet())
    page = visit.open()
    page.wait_for_load_state("networkidle")
    page.click("button")
    visit.delivered(page)
    visit.events(1)
    assert len(visit.posts) == 1


def test_services_of_one_purpose_are_answered_apart(visit: Visit) -> None:
    page = opened(visit)

    def answer(granted: bool, *services: str) -> list[bool]:
        decision = {"purpose": "chat-history", "granted": granted, **({"services": services} if services else {})}
        page.evaluate("decision => sayso.record({decisions: [decision]})", decision)
        visit.delivered(page)
        asked = "() => [undefined, 'chatra', 'chaport'].map((service) => sayso.granted('chat-history', service))"
        standing: list[bool] = page.evaluate(asked)
        return standing

    assert answer(True, "chatra", "chaport") == [True, True, True]
    assert answer(False, "chatra") == [True, False, True]
    assert answer(True, "chatra", "chaport") == [True, True, True]
    assert answer(True, "chaport") == [True, True, True]
    # Without a service it is about all of them.
    assert answer(False) == [False, False, False]
    types = [record.type.removeprefix("consent.") for record in visit.events(5)]
    assert types == ["given", "withdrawn", "given", "renewed", "withdrawn"]
