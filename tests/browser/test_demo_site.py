"""The shop of `sayso up --demo` as its visitors meet it, in four languages, on a desk and on a phone.

A picture of the shop before and after each act goes to reports/demo, for a person to look at.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.visiting import PHONE, Visitor
from tests.support.embedded import SaysoUp

pytestmark = pytest.mark.browser

LANGUAGES = ("fr", "de", "es", "en")
YES_TO_ALL = {"chat-session": "not_objected", "chat-history": "granted", "chat-proactive": "granted"}


@pytest.fixture(scope="module")
def sayso(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SaysoUp]:
    """The whole demo, as `make run` starts it."""
    run = SaysoUp(tmp_path_factory.mktemp("shop"))
    run.start("--demo")
    run.wait_until_up()
    yield run
    run.destroy()


@pytest.fixture
def visitor(browser: Browser, sayso: SaysoUp) -> Iterator[Visitor]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    visitor = Visitor(context, sayso)
    yield visitor
    assert visitor.errors == []
    context.close()


def test_before_an_act_nothing_is_stored_and_no_answer_is_easier(visitor: Visitor) -> None:
    page = visitor.open("fr")
    expect(page.locator(".banner h2")).to_have_text("Parler avec nous, comme vous le voulez")
    refuse, accept = (
        page.get_by_role("button", name=name).bounding_box() for name in ("Tout refuser", "Tout accepter")
    )
    assert refuse is not None
    assert accept is not None
    assert [round(refuse[side]) for side in ("width", "height", "y")] == [
        round(accept[side]) for side in ("width", "height", "y")
    ]
    expect(page.locator("#device")).to_contain_text("rien n'est enregistré")
    assert visitor.device(page) == {"local": [], "cookies": []}
    assert visitor.foreign() == []
    assert visitor.types() == []
    visitor.picture(page, "1-before")
    page.get_by_role("button", name="Choisir").click()
    assert page.locator(".banner input:checked").count() == 0
    visitor.picture(page, "2-choosing")


def test_accept_all_then_one_back_then_everything_back(visitor: Visitor) -> None:
    page = visitor.open("fr")
    page.get_by_role("button", name="Tout accepter").click()
    expect(page.locator(".banner")).to_have_count(0)
    expect(page.locator("#chat")).to_contain_text("Ceci est une doublure")
    expect(page.locator("#chat .invited")).to_have_count(1)
    assert {"Chatra", "Chatra_session", "Chatra_active_chat", "Chatra_marked"} == set(visitor.device(page)["cookies"])
    assert visitor.choices(page) == YES_TO_ALL
    visitor.picture(page, "3-accepted")

    dialog = visitor.open_choices(page)
    expect(dialog.locator(".history strong")).to_have_text(["Accord donné"])
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Reçu").click()
    assert Path(download.value.path()).read_text().count(".") == 2
    visitor.picture(page, "4-my-choices")

    # Invitations alone are taken back: the chat goes on, so the page is loaded again, and the dialog is open again.
    with page.expect_navigation(url="**/fr/#choices"):
        dialog.locator(".row", has_text="aide sans que").get_by_role("button", name="Retirer").click()
    expect(dialog.locator(".history strong")).to_have_text(["Accord retiré", "Accord donné"])
    assert "Chatra_marked" not in visitor.device(page)["cookies"]
    expect(page.locator("#chat")).to_have_count(1)
    visitor.picture(page, "5-one-withdrawn")

    dialog.get_by_role("button", name="Tout retirer en un clic").click()
    expect(page.locator("#chat")).to_have_count(0)
    expect(dialog.locator(".history")).to_contain_text("Ce navigateur ne porte aucun numéro")
    visitor.delivered(page)
    assert visitor.device(page) == {"local": ["sayso"], "cookies": []}
    visitor.picture(page, "6-all-withdrawn")
    assert visitor.types() == ["consent.given", "consent.withdrawn", "consent.withdrawn"]


def test_refuse_all_and_open_the_chat_by_a_click(visitor: Visitor) -> None:
    page = visitor.open("en")
    page.get_by_role("button", name="Refuse all").click()
    visitor.delivered(page)
    assert visitor.device(page) == {"local": ["sayso"], "cookies": []}
    visitor.picture(page, "7-refused")
    page.get_by_role("button", name="Open the chat").click()
    expect(page.locator("#chat")).to_contain_text("nothing that you write leaves the page")
    visitor.delivered(page)
    assert set(visitor.device(page)["cookies"]) == {"Chatra_session", "Chatra_active_chat"}
    visitor.picture(page, "8-opened-by-click")
    assert visitor.types() == ["consent.refused", "consent.given"]
    page.reload()
    visitor.ready(page)
    expect(page.locator(".banner")).to_have_count(0)
    expect(page.locator("#chat")).to_have_count(1)


def test_choosing_some(visitor: Visitor) -> None:
    page = visitor.open("de")
    page.get_by_role("button", name="Auswählen").click()
    page.locator("input[name=chat-history]").check()
    page.get_by_role("button", name="Diese Auswahl speichern").click()
    expect(page.locator("#chat")).to_contain_text("Dies ist ein Stellvertreter")
    assert visitor.choices(page) == YES_TO_ALL | {"chat-proactive": "denied"}
    page.locator("#chat input").fill("Guten Abend")
    page.locator("#chat input").press("Enter")
    page.reload()
    expect(page.locator("#chat .talk")).to_contain_text("Guten Abend")
    assert "Chatra_marked" not in visitor.device(page)["cookies"]


def test_the_letter_goes_only_to_whom_a_consent_stands_for(visitor: Visitor) -> None:
    page = visitor.open("es")
    page.get_by_role("button", name="Rechazar todo").click()
    page.get_by_label("Su correo electrónico").fill("lucia@correo.example")
    page.get_by_label("Sí, envíenme la carta").check()
    visitor.picture(page, "9-letter-form")
    page.get_by_role("button", name="Suscribirme").click()
    expect(page.locator("h1")).to_have_text("Mire su correo")
    visitor.delivered(page)
    visitor.picture(page, "10-letter-asked-for")

    def write_letters(told: str) -> None:
        page.goto(f"{visitor.shop}/outbox")
        page.get_by_role("button", name="Write this month's letter").click()
        expect(page.locator(".status")).to_have_text(told)

    write_letters("Written: 0. Left out, because no consent stands: 1.")
    visitor.picture(page, "11-outbox")
    page.get_by_role("link", name="Confirmar mi suscripción").click()
    visitor.picture(page, "12-confirm")
    page.get_by_role("button").click()
    expect(page.locator("form")).to_have_count(0)
    write_letters("Written: 1. Left out, because no consent stands: 0.")
    visitor.picture(page, "13-letter-written")
    page.get_by_role("link", name="Dejar de recibir la carta").click()
    page.get_by_role("button").click()
    expect(page.locator("form")).to_have_count(0)
    write_letters("Written: 0. Left out, because no consent stands: 1.")
    assert visitor.types()[:2] == ["consent.refused", "consent.given"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_cut_off_on_a_phone(browser: Browser, sayso: SaysoUp, language: str) -> None:
    context = browser.new_context(viewport=PHONE)
    visitor = Visitor(context, sayso)
    page = visitor.open(language)
    for step in ("banner", "choosing", "page", "choices", "privacy"):
        if step == "choosing":
            page.locator(".answers button").nth(2).click()
        elif step == "page":
            page.locator(".answers button").nth(1).click()
            page.wait_for_selector("#chat")
        elif step == "choices":
            expect(visitor.open_choices(page).locator(".history strong")).to_have_count(1)
        elif step == "privacy":
            page.goto(f"{visitor.shop}/{language}/privacy")
            visitor.ready(page)
        assert too_wide(page) == [], step
        if language == "de":
            visitor.picture(page, f"phone-{step}")
    assert visitor.errors == []
    context.close()


def too_wide(page: Page) -> list[Any]:
    """Elements that stick out of the window, but for what may be scrolled inside its own box."""
    found: list[Any] = page.evaluate(
        """() => [...document.body.querySelectorAll("*")]
          .filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && !element.closest("table"))
          .map((element) => element.outerHTML.slice(0, 120))"""
    )
    return found


def test_a_form_of_another_site_is_not_taken(visitor: Visitor) -> None:
    context: BrowserContext = visitor.context
    sent = context.request.post(f"{visitor.shop}/outbox/letter", headers={"origin": "http://elsewhere.example"})
    assert sent.status == 404
