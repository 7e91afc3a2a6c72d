"""Cookie tables and policy paragraphs in four languages and three forms: complete, escaped, honest about fallbacks."""

import json
import re
from typing import Any

import pytest
import yaml

from schemas.catalogue import services
from schemas.catalogue.merging import merged
from schemas.catalogue.service import LANGUAGES, CatalogueLanguage
from schemas.notices import NoticeContent
from schemas.policy_texts import Wording, policy_texts, served_language, written
from schemas.policy_texts.wording import labels
from schemas.policy_texts.writing import markdown_text
from services.cli.demo.cast import FOLDER

pytestmark = pytest.mark.unit


def notice(name: str, **changes: Any) -> NoticeContent:
    value = yaml.safe_load((FOLDER / "notices" / f"{name}.yaml").read_text(encoding="utf-8"))
    return NoticeContent.model_validate(value | changes)


def shop() -> list[NoticeContent]:
    return [notice(f"shop-{language}") for language in LANGUAGES]


def test_every_language_has_the_same_fixed_words() -> None:
    assert all(set(labels(language)) == set(labels("en")) for language in LANGUAGES)
    assert all(text.strip() for language in LANGUAGES for text in labels(language).values())


@pytest.mark.parametrize(
    ("language", "year", "months", "country"),
    [
        ("en", "1 year", "6 months", "Cyprus"),
        ("fr", "1 an", "6 mois", "Chypre"),
        ("de", "1 Jahr", "6 Monate", "Zypern"),
        ("es", "1 año", "6 meses", "Chipre"),
    ],
)
def test_durations_and_countries_are_in_the_language(
    language: CatalogueLanguage, year: str, months: str, country: str
) -> None:
    wording = Wording(language)
    written_so = [wording.lifetime("P1Y"), wording.lifetime("P6M"), wording.country("CY")]
    assert [text.replace("\xa0", " ") for text in written_so] == [year, months, country]
    assert wording.lifetime("session") == wording["session"]
    assert wording.lifetime("PT30M").replace("\xa0", " ").startswith("30 ")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_lists_what_the_notice_asks_for(language: CatalogueLanguage) -> None:
    found = json.loads(written(policy_texts(shop(), services(), language), "json"))
    assert [row["name"] for row in found["cookies"]] == [
        *("Chatra", "Chatra_session", "Chatra_active_chat", "Chatra_marked", ""),
    ]
    chatra = found["cookies"][0]
    assert (chatra["duration"], chatra["party"], chatra["use"]) == ("P1Y", "first", "chat-history")
    assert chatra["duration_text"] == Wording(language).lifetime("P1Y")
    assert found["fallbacks"] == []
    assert (found["language"], found["requested_language"]) == (language, language)
    assert found["services"][0]["paragraph"] == services()["chatra"].model_dump()["policy_paragraph"][language]


def test_a_use_that_no_notice_asks_for_is_not_in_the_table() -> None:
    asked = notice("shop-en")
    fewer = asked.model_copy(update={"purposes": [p for p in asked.purposes if p.purpose != "chat-proactive"]})
    rows = policy_texts([fewer], services(), "en").cookies
    assert "Chatra_marked" not in {row.name for row in rows}


def test_a_missing_translation_falls_back_and_is_recorded() -> None:
    own = merged("chatra", {"policy_paragraph": {"de": "Nur deutsch."}})
    texts = policy_texts([notice("shop-fr")], {**services(), "chatra": own}, "es-MX")
    found = json.loads(written(texts, "json"))
    assert (found["requested_language"], found["language"]) == ("es-MX", "es")
    recorded = {one["pointer"]: one["language"] for one in found["fallbacks"]}
    assert recorded["/services/0/paragraph"] == "de"
    assert recorded["/purposes/0/title"] == "fr"
    assert not any(pointer.startswith("/cookies") for pointer in recorded)
    html = written(texts, "html").decode()
    assert '<section class="sayso-policy" lang="es">' in html
    assert '<p><span lang="de">Nur deutsch.</span></p>' in html
    assert "Nur deutsch. (alemán)" in written(texts, "md").decode()


def test_each_notice_is_taken_in_the_language_the_latest_first() -> None:
    versions = [notice("shop-fr", version="2", title="Deux"), notice("shop-en"), notice("shop-fr", title="Un")]
    (chosen,) = policy_texts(versions, services(), "fr").notices
    assert (chosen.version, chosen.title.text) == ("2", "Deux")
    (english,) = policy_texts(versions, services(), "de").notices
    assert english.language == "en"
    (only,) = policy_texts([notice("shop-es")], services(), "de").notices
    assert only.language == "es"


def test_a_version_that_is_whole_is_not_mixed_with_an_older_one() -> None:
    newer = notice("shop-en", version="2", fallback_language="en", untranslated=["/purposes/0/title"])
    texts = policy_texts([newer, notice("shop-fr")], services(), "fr")
    assert [one.version for one in texts.notices] == ["2"]
    french = notice("shop-fr", version="2", fallback_language="en", untranslated=["/purposes/0/title", "/withdrawal"])
    texts = policy_texts([french, newer], services(), "fr")
    assert (texts.purposes[0].title.language, texts.purposes[0].description.language) == ("en", "fr")
    assert (texts.notices[0].withdrawal.language, texts.purposes[1].title.language) == ("en", "fr")


def test_how_long_an_answer_stands_and_where_to_complain() -> None:
    asked = notice("shop-en", authority={"name": "CNIL", "url": "https://cnil.fr"})
    lasting = asked.purposes[0].model_copy(update={"valid_days": None, "valid_for": "P1Y6M"})
    page = written(policy_texts([asked.model_copy(update={"purposes": [lasting]})], services(), "en"), "html").decode()
    assert "The answer holds for 1 year and 6 months and is then asked for again." in page
    assert "Supervisory authority: CNIL, https://cnil.fr" in page


def test_a_service_without_a_paragraph_is_described_by_its_facts() -> None:
    asked = notice("shop-en")
    purposes = [asked.purposes[1].model_copy(update={"services": ["crisp", "paddle", "unheard-of"]})]
    texts = policy_texts([asked.model_copy(update={"purposes": purposes})], services(), "de")
    found = {service.service: service for service in texts.services}
    facts = {fact.label: fact.text.text for fact in found["crisp"].facts}
    assert facts == {
        "Was es ist": "Live-Chat",
        "Betreiber": "Crisp (Frankreich)",
        "Wo die Daten liegen": "Europäische Union",
    }
    assert found["paddle"].facts[1].text.text == "Paddle.com Market Limited"
    assert (found["unheard-of"].in_catalogue, found["unheard-of"].facts) == (False, [])
    assert texts.cookies == []
    page = written(texts, "html").decode()
    assert labels("de")["not_in_catalogue"] in page
    assert labels("de")["cookies_none"] in page


def test_a_site_without_notices_has_a_policy_that_says_so() -> None:
    for form in ("html", "md"):
        assert labels("fr")["purposes_none"] in written(policy_texts([], services(), "fr"), form).decode()


HOSTILE = '<script>alert(1)</script> | **bold** [x](javascript:1) `c` & "q" \\'


def test_hostile_words_stay_words() -> None:
    asked = notice("shop-en")
    changed = {"title": HOSTILE, "description": HOSTILE}
    purposes = [asked.purposes[0].model_copy(update=changed), *asked.purposes[1:]]
    texts = policy_texts(
        [asked.model_copy(update={"purposes": purposes, "withdrawal": "# no heading"})], services(), "en"
    )
    html, markdown = written(texts, "html").decode(), written(texts, "md").decode()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert re.search(r"(?<!\\)[<>|*\[\]`]", markdown_text(HOSTILE)) is None
    assert markdown_text(HOSTILE) in markdown
    assert "\n\\# no heading\n" in markdown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("1. first", "1\\. first"),
        ("- item", "\\- item"),
        ("a\n# b", "a # b"),
        ("chat_uid", "chat\\_uid"),
        ("Art. 6(1)(a)", "Art. 6(1)(a)"),
        ("2026", "2026"),
    ],
)
def test_markdown_is_escaped_no_more_than_it_must_be(text: str, escaped: str) -> None:
    assert markdown_text(text) == escaped


def test_the_table_is_one_line_a_row() -> None:
    markdown = written(policy_texts(shop(), services(), "en"), "md").decode()
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 5
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {7}


@pytest.mark.parametrize(
    ("tag", "language"), [("fr-CA", "fr"), ("DE", "de"), ("nl", "en"), (None, "en"), ("frx", "en")]
)
def test_other_languages_are_served_in_english(tag: str | None, language: str) -> None:
    assert served_language(tag) == language
