"""The source of a notice: languages and their gaps, what a new version changes, when it asks again, how it is drawn."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.durations import Duration
from schemas.errors import NoticeNotValid
from schemas.notice_making import make_notices, read_source
from schemas.notice_making.rendering import _HERE
from schemas.notices import NoticeContent, notice_hash

pytestmark = pytest.mark.unit

SOURCE: dict[str, Any] = {
    "notice": "shop-chat",
    "version": "1",
    "fallback_language": "en",
    "controller": {"name": "Shop <& Sons>", "contact": "dpo@shop.example"},
    "authority": {"name": "CNIL", "url": "https://www.cnil.fr"},
    "minimum_age": 16,
    "effective_at": "2026-12-01T00:00:00Z",
    "texts": {
        "en": {"title": "Talk to us", "text": "Chat is by Chatra.", "withdrawal": "Under My choices."},
        "fr": {"title": "Parlez-nous", "text": "La messagerie est de Chatra."},
        "de": {"title": "Reden wir", "text": "Der Chat ist von Chatra.", "withdrawal": "Unter Meine Auswahl."},
    },
    "purposes": [
        {
            "purpose": "chat-history",
            "legal_basis": "consent",
            "services": ["chatra"],
            "recipients": ["Brantio LLC"],
            "scope": "account",
            "valid_for": "P6M",
            "texts": {
                "en": {"title": "Remember me", "description": "Find earlier talks again."},
                "fr": {"title": "Se souvenir", "description": "Retrouver les échanges."},
            },
        }
    ],
}


def source(**changes: Any) -> dict[str, Any]:
    return {**deepcopy(SOURCE), **deepcopy(changes)}


def purpose(**changes: Any) -> dict[str, Any]:
    return {"purposes": [SOURCE["purposes"][0] | changes]}


def made(value: dict[str, Any], *before: dict[str, Any]) -> dict[str, NoticeContent]:
    """The notices of a source by language, published after those of the sources before it."""
    published: list[NoticeContent] = []
    for earlier in before:
        notices = make_notices(read_source(earlier), published)
        published += [NoticeContent.model_validate_json(one.content) for one in notices]
    notices = make_notices(read_source(value), published)
    return {one.language: NoticeContent.model_validate_json(one.content) for one in notices}


def changes(value: dict[str, Any], before: dict[str, Any] = SOURCE) -> list[str]:
    published = list(made(before).values())
    return list(make_notices(read_source(value), published)[0].changes)


def test_one_notice_a_language_and_what_nobody_translated() -> None:
    notices = made(source())
    assert list(notices) == ["en", "fr", "de"]
    assert [notice.untranslated for notice in notices.values()] == [
        None,
        ["/withdrawal"],
        ["/purposes/0/title", "/purposes/0/description"],
    ]
    assert notices["fr"].withdrawal == "Under My choices."
    assert notices["de"].purposes[0].title == "Remember me"
    for notice in notices.values():
        assert (notice.languages, notice.fallback_language) == (["en", "fr", "de"], "en")
        assert (notice.minimum_age, notice.effective_at) == (16, "2026-12-01T00:00:00Z")
        assert notice.purposes[0].validity == "P6M"


def test_the_same_source_makes_the_same_names() -> None:
    first, again = (make_notices(read_source(source()), []) for _ in range(2))
    assert [notice_hash(one.content) for one in first] == [notice_hash(one.content) for one in again]
    # Published once more, it is its own version and changes nothing.
    published = [NoticeContent.model_validate_json(one.content) for one in first]
    assert [one.content for one in make_notices(read_source(source()), published)] == [one.content for one in first]


@pytest.mark.parametrize(
    ("changed", "kinds", "asks_again"),
    [
        ({}, [], False),
        (purpose(services=["chatra", "chaport"]), ["service"], True),
        (purpose(services=[]), [], False),
        (purpose(recipients=["Brantio LLC", "Stripe"]), ["recipient"], True),
        (purpose(legal_basis="legitimate_interest"), ["legal_basis"], True),
        (purpose(scope="device"), ["scope"], True),
        (purpose(valid_for="P1Y"), ["validity"], False),
        (purpose(valid_for="P1Y") | {"ask_again_when": ["validity"]}, ["validity"], True),
        ({"purposes": [SOURCE["purposes"][0], SOURCE["purposes"][0] | {"purpose": "news"}]}, ["purpose"], False),
        ({"texts": {"en": SOURCE["texts"]["en"] | {"text": "Chat is by Chatra, in the US."}}}, ["words"], False),
        (purpose(services=["chaport"]) | {"ask_again_when": []}, ["service"], False),
    ],
)
def test_what_a_new_version_changes(changed: dict[str, Any], kinds: list[str], asks_again: bool) -> None:
    after = source(version="2", **changed)
    assert changes(after) == kinds
    assert all(notice.asks_again == asks_again for notice in made(after, SOURCE).values())


def test_the_version_before_is_the_latest_other_one() -> None:
    second = source(version="2", **purpose(services=["chatra", "chaport"]))
    third = source(version="3", **purpose(services=["chatra", "chaport"]))
    assert made(third, SOURCE, second)["en"].asks_again is False
    assert made(third, second, SOURCE)["en"].asks_again is True
    assert made(source(notice="another"), SOURCE)["en"].asks_again is False


def test_it_is_drawn_in_its_own_language_and_nothing_breaks_out() -> None:
    notices = made(source())
    for language, label, lasts in (("en", "We ask again after", "6 months"), ("fr", "redemandons", "6 mois")):
        html = notices[language].html
        assert html is not None
        assert f'lang="{language}"' in html
        assert label in html
        assert lasts in html
        assert "Chatra" in html
        assert "Shop &lt;&amp; Sons&gt;" in html
        assert "\n" not in html
    assert "18 months" in str(made(source(**purpose(valid_for="P18M")))["en"].html)


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (source(colour="red"), ""),
        (source(**purpose(colour="red")), "/purposes/0"),
        (source(version=2), "/version"),
        (source(minimum_age=12), "/minimum_age"),
        (source(fallback_language="es"), ""),
        (source(texts={"en": {"title": "Talk"}}), ""),
        (source(purposes=SOURCE["purposes"] * 2), ""),
        (source(**purpose(valid_for="6 months")), "/purposes/0/valid_for"),
        (source(**purpose(valid_for="P0D")), "/purposes/0/valid_for"),
        (source(effective_at="tomorrow"), "/effective_at"),
        ([], ""),
    ],
)
def test_what_is_no_source(value: Any, pointer: str) -> None:
    with pytest.raises(NoticeNotValid) as refused:
        read_source(value)
    assert refused.value.pointer == pointer


def test_every_language_has_the_same_labels() -> None:
    files = sorted(_HERE.glob("labels/*.yaml"))
    assert [path.stem for path in files] == ["de", "en", "es", "fr"]

    def names(value: Any, place: str = "") -> set[str]:
        if not isinstance(value, dict):
            return {place}
        return set().union(*(names(inner, f"{place}/{name}") for name, inner in value.items()))

    labels = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]
    assert all(names(one) == names(labels[0]) for one in labels)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("began", "duration", "ends"),
    [
        ("2026-08-31", "P6M", "2027-02-28"),
        ("2027-08-31", "P6M", "2028-02-29"),
        ("2028-02-29", "P1Y", "2029-02-28"),
        ("2026-11-30", "P1M", "2026-12-30"),
        ("2026-12-31", "P2M", "2027-02-28"),
        ("2026-11-22", "P90D", "2027-02-20"),
        ("2026-11-22", "P2W", "2026-12-06"),
        ("2026-01-31", "P1M1D", "2026-03-01"),
    ],
)
def test_durations_end_where_the_calendar_says(began: str, duration: str, ends: str) -> None:
    assert Duration.parse(duration).after(day(began)) == day(ends)


@given(st.datetimes(max_value=datetime.fromisoformat("2090-01-01")), st.integers(1, 999), st.integers(0, 9999))
def test_a_longer_duration_never_ends_earlier(began: datetime, months: int, days: int) -> None:
    shorter, longer = Duration(months, days), Duration(months + 1, days)
    assert began < shorter.after(began) < longer.after(began)


def test_untranslated_pointers_lead_to_the_words() -> None:
    content = orjson.loads(make_notices(read_source(source()), [])[2].content)
    for pointer in content["untranslated"]:
        found: Any = content
        for step in pointer.split("/")[1:]:
            found = found[int(step)] if isinstance(found, list) else found[step]
        assert isinstance(found, str)
