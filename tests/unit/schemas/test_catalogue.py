"""The catalogue says what its sources say and no more; overrides, page rules and compliance steps come out of it."""

from datetime import date
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from pydantic import ValidationError

from schemas.canonical import canonical_json
from schemas.catalogue import Service, catalogue_services, said, services
from schemas.catalogue.enforcement import enforcement_rules
from schemas.catalogue.merging import merged, own_bytes, with_own
from schemas.catalogue.service import LANGUAGES
from schemas.catalogue.steps import USUAL_STEPS, a_year_after, standings, steps_of
from schemas.errors import ControlCharacter
from schemas.json_schemas import service_schema

pytestmark = pytest.mark.unit

NAMED_BY_THE_SOURCES = {
    *("11sight", "42chat", "8x8", "acquire", "activengage", "ada", "userlike", "livechat", "tidio", "crisp"),
    *("happyfox-chat", "smartsupp", "chatwoot", "rocket-chat", "chatra", "chaport"),
    *("paddle", "stripe", "aws", "telegram", "whatsapp", "openai", "anthropic", "google", "openrouter", "sentry"),
}
OWN: dict[str, Any] = {"name": "Our map", "uses": [{"use": "map", "title": {"en": "Map"}, "legal_basis": ["consent"]}]}


def stated(service: str) -> dict[str, Any]:
    return services()[service].model_dump(exclude_none=True)


def texts(value: Any) -> list[dict[str, str]]:
    """Every text in several languages, wherever it stands."""
    if isinstance(value, dict):
        if value and set(value) <= set(LANGUAGES):
            return [value]
        return [text for child in value.values() for text in texts(child)]
    return [text for child in value for text in texts(child)] if isinstance(value, list) else []


def test_every_service_that_the_sources_name_is_there_and_no_other() -> None:
    assert catalogue_services() == NAMED_BY_THE_SOURCES


@pytest.mark.parametrize("service", sorted(NAMED_BY_THE_SOURCES))
def test_a_service_has_its_sources_and_every_text_in_every_language(service: str) -> None:
    content = stated(service)
    assert content["sources"]
    assert all(set(text) == set(LANGUAGES) for text in texts(content))
    jsonschema.Draft202012Validator(service_schema()).validate(content)
    # What a source names as an alternative or a recipient is in the catalogue itself.
    for member in ("alternatives", "sub_processors"):
        assert {one["service"] for one in content.get(member, []) if "service" in one} <= catalogue_services()


def test_crisp_is_french_and_nothing_is_invented_about_it() -> None:
    content = stated("crisp")
    assert content["operator"] == {"country": "FR"}
    assert content["hosting"]["regions"] == ["EEA"]
    assert set(content) == {"service", "name", "kind", "operator", "hosting", "sources"}
    assert {s: stated(s)["operator"]["country"] for s in ("userlike", "livechat", "tidio", "smartsupp")} == {
        "userlike": "DE",
        "livechat": "PL",
        "tidio": "PL",
        "smartsupp": "CZ",
    }


def test_what_is_doubtful_in_a_source_is_marked() -> None:
    assert "accessibility" in stated("ada")["caution"]["en"]
    assert services()["ada"].category == "preferences"
    assert {service for service in services() if services()[service].caution is not None} == {
        *("ada", "11sight", "8x8", "42chat", "activengage"),
    }


@pytest.mark.parametrize("service", ["chatra", "chaport"])
def test_the_two_chats_are_described_in_full(service: str) -> None:
    content = stated(service)
    assert set(Service.model_fields) - set(content) <= {
        *("aliases", "caution", "stop"),
        *(("used_by", "integrations", "storage", "ai_addons") if service == "chaport" else ()),
    }
    assert [use["use"] for use in content["uses"]] == ["chat-session", "chat-history", "chat-proactive"]
    assert {cookie["name"] for cookie in content["cookies"]} == {
        "chatra": {"Chatra", "Chatra_session", "Chatra_active_chat", "Chatra_marked"},
        "chaport": {"chaport_session", "chaport_uid", "chaport_prefs", "chaport_visitor_token"},
    }[service]
    assert {"agreement-signed", "transfer-assessed", "agents-trained", "retention-set"} <= {
        step["step"] for step in content["compliance"]
    }


def test_a_text_that_is_missing_falls_back_and_says_so() -> None:
    assert said({"en": "a", "fr": "b"}, "fr-CA") == ("b", "fr")
    assert said({"en": "a", "fr": "b"}, "es") == ("a", "en")
    assert said({"de": "c"}, "es") == ("c", "de")


# --- a controller's own ---


def test_an_override_replaces_whole_members_and_nothing_else() -> None:
    own = merged("chatra", {"domains": ["chat.shop.example"], "operator": {"country": "DE"}})
    assert own.domains == ["chat.shop.example"]
    # Nothing of the operator that it replaces shines through.
    assert own.operator is not None
    assert (own.operator.name, own.operator.country) == (None, "DE")
    assert own.cookies == services()["chatra"].cookies
    assert merged("chatra", {}) == services()["chatra"]


def test_null_takes_a_member_away() -> None:
    assert merged("chatra", {"dpia": None}).dpia is None


@pytest.mark.parametrize(
    ("service", "override", "place"),
    [
        ("chatra", {"surprise": 1}, ("surprise",)),
        ("chatra", {"service": "chaport"}, ("service",)),
        ("chatra", {"name": None}, ("name",)),
        # The cookies of ours name a use that this one takes away.
        ("chatra", {"uses": OWN["uses"]}, ()),
        ("map", {}, ("name",)),
    ],
)
def test_an_override_that_makes_no_service_is_refused(service: str, override: Any, place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        own_bytes(service, override)
    assert refused.value.errors()[0]["loc"] == place


def test_what_is_kept_is_canonical_and_clean() -> None:
    assert own_bytes("map", OWN) == canonical_json(OWN)
    with pytest.raises(ControlCharacter):
        own_bytes("map", OWN | {"name": "Our\nmap"})


def test_the_catalogue_of_a_controller_has_both() -> None:
    both = with_own((("chatra", own_bytes("chatra", {"risk": "high"})), ("map", own_bytes("map", OWN))))
    assert (both["chatra"].risk, both["map"].name) == ("high", "Our map")
    assert set(both) == catalogue_services() | {"map"}
    assert services()["chatra"].risk == "medium"


def test_what_an_older_model_took_is_left_out() -> None:
    assert with_own((("chatra", b'{"gone":1}'), ("map", b"{}"))) == services()


# --- rules for the page ---


def test_rules_name_what_a_page_holds_back_and_deletes() -> None:
    rules = enforcement_rules(services(), ["chatra", "unheard-of"])["services"]
    assert set(rules) == {"chatra"}
    uses = rules["chatra"]["uses"]
    assert uses["chat-proactive"] == {
        "legal_basis": ["consent"],
        "cookies": [{"name": "Chatra_marked"}],
        "storage": [],
    }
    assert {"name": "Chatra"} in uses["chat-history"]["cookies"]
    assert "cdn.chatra.io" in rules["chatra"]["domains"]
    assert set(rules["chatra"]["text"]) == set(LANGUAGES)
    assert "stop" not in rules["chatra"]


def test_rules_of_patterns_keys_and_a_call() -> None:
    words = {"en": "x"}
    override = OWN | {
        "cookies": [{"pattern": "^map_[0-9]+$", "type": "functional", "use": "map", "purpose": words}],
        "storage": [
            {"area": "local", "key": "map.view", "use": "map", "purpose": words},
            {"area": "session", "pattern": "^map:.*$", "use": "map", "purpose": words},
            {"area": "indexed_db", "use": "map", "purpose": words},
        ],
        "stop": {"call": "OurMap.remove"},
    }
    (rule,) = enforcement_rules({"map": merged("map", override)}, ["map"])["services"].values()
    assert rule["uses"]["map"]["cookies"] == [{"pattern": "^map_[0-9]+$"}]
    assert rule["uses"]["map"]["storage"] == [
        {"area": "local", "key": "map.view"},
        {"area": "session", "pattern": "^map:.*$"},
    ]
    assert rule["stop"] == {"call": "OurMap.remove"}


@pytest.mark.parametrize("pattern", ["^_ga_[A-Z0-9]+$", r"^v\.[a-z]{2,4}-\d*$", "^a:b$"])
def test_a_pattern_that_means_the_same_everywhere(pattern: str) -> None:
    cookie = {"pattern": pattern, "type": "analytics", "purpose": {"en": "x"}}
    assert merged("map", OWN | {"cookies": [cookie]}).cookies


@pytest.mark.parametrize(
    "pattern",
    [
        *("_ga", "^_ga", "^(a+)+$", "^a|b$", "^a*+$", "^a{,3}$", "^[[a]]$", "^a**$", "^[b-a]$", r"^\Aa$", "^.*.*.*.*$"),
        *("^a\n$", "^" + "a" * 127 + "$", "^$"),
    ],
)
def test_a_pattern_that_could_mean_two_things_or_run_for_long_is_refused(pattern: str) -> None:
    cookie = {"pattern": pattern, "type": "analytics", "purpose": {"en": "x"}}
    with pytest.raises(ValidationError):
        merged("map", OWN | {"cookies": [cookie]})


# --- compliance steps ---


def test_a_step_is_missing_then_done_then_due_a_year_later() -> None:
    done = {("chatra", "agreement-signed"): (date(2025, 3, 1), "folder 7")}
    for today, state in ((date(2026, 2, 28), "done"), (date(2026, 3, 1), "due")):
        found = {one.step.step: one for one in standings(services(), ["chatra"], done, today)}
        signed = found["agreement-signed"]
        assert (signed.state, signed.due_on, signed.note) == (state, date(2026, 3, 1), "folder 7")
        assert found["retention-set"].state == "missing"
    assert len(found) == len(services()["chatra"].compliance or [])


def test_a_service_without_steps_of_its_own_has_the_usual_ones() -> None:
    assert steps_of(services()["crisp"]) == USUAL_STEPS == steps_of(None)
    assert all(set(step.what) == set(LANGUAGES) for step in USUAL_STEPS)


def test_a_leap_day_is_due_before_march() -> None:
    assert a_year_after(date(2024, 2, 29)) == date(2025, 2, 28)
