"""What Klaro and cookieconsent post, as events: the fixtures are the payloads of klaro 0.7.22 and the docs of v3."""

from typing import Any
from urllib.parse import quote

import orjson
import pytest

from schemas.errors import InvalidParameter, MissingField, Problem, UnknownPurpose
from schemas.visitors import visitor_id
from services.ingest.accept import check_schema
from services.ingest.dropin import COOKIECONSENT, KLARO, as_drop_in, read_drop_in
from services.ingest.dropin.acts import visitor_key
from services.ingest.reading import Readable

pytestmark = pytest.mark.unit

SOURCE = "/sites/shop.example"
NOW_US = 1_795_341_600_250_000
CONSENT_ID = "7f3c2a5e-9d1b-4c7e-8a36-1f2e3d4c5b6a"
AT = "2026-11-22T09:59:58.123Z"
LOGGED = {
    "consentId": CONSENT_ID,
    "acceptType": "custom",
    "acceptedCategories": ["necessary", "analytics"],
    "rejectedCategories": ["ads"],
}
SAVED = {
    "location_data": {"pathname": "/cart", "port": 0, "hostname": "shop.example", "protocol": "https"},
    "user_data": {"client_version": "v0.7.22", "client_name": "klaro:web"},
    "consent_data": {
        "consents": {"chatra": True, "youtube": False},
        "changes": {"chatra": True},
        "type": "save",
        "config": "default",
    },
}


def read(
    path: str, posted: Any, mapped: Any = None, content_type: bytes = b"application/json"
) -> dict[str, Any] | None:
    query = b"key=pk_x" + (b"" if mapped is None else b"&map=" + quote(orjson.dumps(mapped)).encode())
    body = read_drop_in({"path": path, "query_string": query}, content_type, orjson.dumps(posted), SOURCE, NOW_US)
    if body is None:
        return None
    (event,) = body.events
    assert isinstance(event, Readable)
    check_schema(event)
    value: dict[str, Any] = event.value
    return value


def decided(event: dict[str, Any] | None) -> dict[str, str]:
    assert event is not None
    return {decision["purpose"]: decision["decision"] for decision in event["data"]["decisions"]}


def test_a_cookieconsent_page_logs_as_its_docs_say() -> None:
    event = read(COOKIECONSENT, LOGGED)
    assert event is not None
    assert decided(event) == {"analytics": "granted", "ads": "denied"}
    assert event["type"] == "consent.given"
    assert event["time"] == "2026-11-22T10:00:00.250000Z"
    assert event["data"]["capture"] == {"mechanism": "api", "action": "save"}
    assert "notice" not in event["data"]
    # The id that the banner keeps is the secret; what is recorded is made of it.
    (identifier,) = event["data"]["subject"]["identifiers"]
    assert event["visitorkey"] == visitor_key(SOURCE, CONSENT_ID) != visitor_key("/sites/other.example", CONSENT_ID)
    assert identifier == {"type": "cookie", "value": visitor_id(event["visitorkey"])}
    assert CONSENT_ID not in str(event)


def test_cookieconsent_members_may_stand_deeper() -> None:
    cookie = {"consentId": CONSENT_ID, "categories": ["necessary"], "lastConsentTimestamp": AT, "revision": 0}
    preferences = {"acceptType": "necessary", "acceptedCategories": ["necessary"], "rejectedCategories": ["ads"]}
    for name in ("userPreferences", "preferences"):
        event = read(COOKIECONSENT, {"cookie": cookie, name: preferences, "email": "someone@mail.example"})
        assert event is not None
        assert (event["type"], decided(event)) == ("consent.refused", {"ads": "denied"})
        assert event["time"] == AT
        assert "subject" in event["data"], "a refusal ends the grant of the same browser"
        assert "someone" not in str(event)


def test_services_of_a_category() -> None:
    posted = LOGGED | {
        "acceptedServices": {"analytics": ["Matomo"]},
        "rejectedServices": {"analytics": ["hotjar"], "ads": ["meta"]},
    }
    event = read(COOKIECONSENT, posted)
    assert event is not None
    said = [(d["purpose"], d["decision"], d.get("services")) for d in event["data"]["decisions"]]
    assert said == [
        ("analytics", "granted", ["matomo"]),
        ("ads", "denied", None),
        ("analytics", "denied", ["hotjar"]),
    ]


def test_the_same_act_is_the_same_event() -> None:
    timed = LOGGED | {"lastConsentTimestamp": AT}
    first, again = read(COOKIECONSENT, timed), read(COOKIECONSENT, timed)
    assert first == again
    assert first is not None
    # The first act's time is no other act's: a page that posts only that must not lose a change of mind.
    first, second = (read(COOKIECONSENT, LOGGED | {"consentTimestamp": AT}) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first["id"] != second["id"]
    assert first["time"] > AT
    later = read(COOKIECONSENT, timed | {"lastConsentTimestamp": "2026-11-22T10:05:00.000Z"})
    assert later is not None
    assert later["id"] != first["id"]
    # Without a time two acts cannot be told from one posted twice, so each is recorded: an act lost would be worse.
    untimed = [read(COOKIECONSENT, LOGGED) for _ in range(2)]
    assert untimed[0] is not None
    assert untimed[1] is not None
    assert untimed[0]["id"] != untimed[1]["id"]


@pytest.mark.parametrize("content_type", [b"text/plain;charset=UTF-8", b"application/json;charset=UTF-8"])
def test_klaros_own_api_module(content_type: bytes) -> None:
    event = read(KLARO, SAVED, content_type=content_type)
    assert event is not None
    assert (event["type"], decided(event)) == ("consent.given", {"chatra": "granted", "youtube": "denied"})
    assert event["data"]["context"] == {"page": "/cart"}
    assert "subject" not in event["data"], "Klaro has no id of the visitor"


@pytest.mark.parametrize(
    ("kind", "consents", "event_type", "action"),
    [
        ("accept", {"a": True}, "consent.given", "accept_all"),
        ("decline", {"a": False}, "consent.refused", "reject_all"),
        ("save", {"a": False}, "consent.refused", "save"),
        ("contextual-accept", {"a": True}, "consent.given", None),
        # Nobody clicked: it is never `given`.
        ("script", {"a": True}, "consent.observed", None),
        (None, {"a": True}, "consent.given", None),
    ],
)
def test_what_a_page_posts_from_klaros_watcher(
    kind: str | None, consents: dict[str, bool], event_type: str, action: str | None
) -> None:
    posted = {"consents": consents, "changes": {}, "consentId": CONSENT_ID, "timestamp": AT}
    event = read(KLARO, posted | ({} if kind is None else {"type": kind}))
    assert event is not None
    assert (event["type"], event["time"]) == (event_type, AT)
    assert event["data"]["capture"].get("action") == action
    assert "subject" in event["data"]


def test_a_notice_that_was_only_shown_is_no_event() -> None:
    shown = SAVED | {"consent_data": {"consents": {}, "changes": {}, "type": "show", "config": "default"}}
    assert read(KLARO, shown) is None


def test_klaros_address_leads_to_the_same_place() -> None:
    scope = {"type": "http", "path": "/v1/privacy-managers/pk_abc/submit", "query_string": b""}
    assert as_drop_in(scope) == scope | {"path": KLARO, "query_string": b"key=pk_abc"}
    # The key is a key and nothing more.
    odd = as_drop_in(scope | {"path": "/v1/privacy-managers/pk_abc&map={}/submit"})
    assert odd["query_string"] == b"key=pk_abc%26map%3D%7B%7D"
    other = {"type": "http", "path": "/v1/notices/shop.example", "query_string": b"x"}
    assert as_drop_in(other) is other


@pytest.mark.parametrize(
    ("mapped", "decisions"),
    [
        ({"analytics": "audience"}, {"audience": "granted", "ads": "denied"}),
        ({"analytics": None}, {"ads": "denied"}),
        ({"analytics": ["audience", "ab-tests"], "ads": None}, {"audience": "granted", "ab-tests": "granted"}),
        (
            {"ads": {"purpose": "ads", "legal_basis": "legitimate_interest"}},
            {"analytics": "granted", "ads": "objected"},
        ),
        # Two names of one purpose: it is granted only if both were.
        ({"analytics": "audience", "ads": "audience"}, {"audience": "denied"}),
        ({"necessary": "security"}, {"security": "granted", "analytics": "granted", "ads": "denied"}),
    ],
)
def test_names_become_purposes(mapped: dict[str, Any], decisions: dict[str, str]) -> None:
    assert decided(read(COOKIECONSENT, LOGGED, mapped)) == decisions


def test_a_mapped_service_stays_beside_its_purpose() -> None:
    mapped = {"chatra": {"purpose": "chat", "services": ["chatra"]}, "youtube": {"purpose": "chat", "services": ["yt"]}}
    event = read(KLARO, SAVED, mapped)
    assert event is not None
    said = [(d["purpose"], d["decision"], d["services"]) for d in event["data"]["decisions"]]
    assert said == [("chat", "granted", ["chatra"]), ("chat", "denied", ["yt"])]


@pytest.mark.parametrize(
    ("path", "posted", "mapped", "problem", "pointer"),
    [
        (COOKIECONSENT, [], None, Problem, ""),
        (COOKIECONSENT, LOGGED | {"acceptType": "everything"}, None, InvalidParameter, "/acceptType"),
        (COOKIECONSENT, LOGGED | {"acceptedCategories": "ads"}, None, InvalidParameter, "/acceptedCategories"),
        (COOKIECONSENT, LOGGED | {"consentId": "1"}, None, InvalidParameter, "/consentId"),
        (COOKIECONSENT, LOGGED | {"consentId": "v" * 40 + "\u00e9"}, None, InvalidParameter, "/consentId"),
        (COOKIECONSENT, LOGGED | {"lastConsentTimestamp": "now"}, None, InvalidParameter, "/lastConsentTimestamp"),
        (COOKIECONSENT, {"acceptedCategories": ["necessary"]}, None, MissingField, "/rejectedCategories"),
        (COOKIECONSENT, LOGGED | {"acceptedCategories": ["Google Ads"]}, None, UnknownPurpose, None),
        (COOKIECONSENT, LOGGED, {"ads": "NOT A NAME"}, InvalidParameter, "/map"),
        (COOKIECONSENT, LOGGED, ["ads"], InvalidParameter, "/map"),
        (COOKIECONSENT, LOGGED, {"ads": "x" * 5000}, InvalidParameter, "/map"),
        (KLARO, {"consents": {"a": "yes"}}, None, InvalidParameter, "/consents"),
        (KLARO, {"consents": {}}, None, MissingField, "/consents"),
        (KLARO, {"consent_data": []}, None, InvalidParameter, "/consents"),
    ],
)
def test_what_is_not_such_a_payload(
    path: str, posted: Any, mapped: Any, problem: type[Problem], pointer: str | None
) -> None:
    with pytest.raises(problem) as refusal:
        read(path, posted, mapped)
    assert refusal.value.pointer == pointer
