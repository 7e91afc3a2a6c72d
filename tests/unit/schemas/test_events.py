"""The event model: what it takes, what it refuses, and that the published schemas say the same."""

from copy import deepcopy
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from schemas import limits
from schemas.event_types import BROWSER_TYPES, INGEST_TYPES, SERVER_TYPES, EntryClass, EventType, entry_class
from schemas.events import BROWSER_IDENTIFIERS, IDENTIFIER_STRENGTH, Event, IdentifierType, parse_time
from schemas.json_schemas import generated
from tests.support.deployment import consent_event

pytestmark = pytest.mark.unit

FULL: dict[str, Any] = {
    **consent_event(1),
    "datacontenttype": "application/json",
    "dataschema": "/schemas/event.v1.json",
    "traceparent": "00-1",
    "tracestate": "x=1",
}
FULL["data"] = {
    **FULL["data"],
    "notice": {"sha256": "ab" * 32, "language": "pt-BR", "notice_id": "chat", "notice_version": "3", "token": "t"},
    "signals": {"tcf": "C", "gpp": "D", "gcm": {"ad_storage": "denied"}, "gpc": True, "gpc_honoured": False},
    "context": {"page": "/", "referrer_host": "x.example", "country": "FR", "device": "tv", "ip_truncated": "::"},
    "served_event_id": consent_event(2)["id"],
    "valid_until": "2027-01-01T00:00:00.123456Z",
    "consent_model": "opt-out",
    "actor": {"entity": "agent", "auth": "eid"},
    "double_opt_in": {"requested_at": "2026-11-01T09:00:00Z"},
    "guardian": {"identifier": {"type": "phone", "value": "+33"}},
    "request": {"right": "erasure"},
    "supersedes": consent_event(3)["id"],
    "ext": {"n": 1, "flag": False, "text": "x"},
}


def taken(event: Any) -> bool:
    try:
        Event.model_validate(event)
    except ValidationError:
        return False
    return True


def with_data(**data: Any) -> dict[str, Any]:
    event = deepcopy(FULL)
    event["data"] |= data
    return event


def test_a_full_event_is_taken() -> None:
    assert taken(FULL)


@pytest.mark.parametrize("name", ["datacontenttype", "dataschema", "traceparent", "tracestate"])
def test_envelope_members_are_optional(name: str) -> None:
    assert taken({member: value for member, value in FULL.items() if member != name})


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "time", "data"])
def test_envelope_members_are_required(name: str) -> None:
    assert not taken({member: value for member, value in FULL.items() if member != name})


@pytest.mark.parametrize(
    "data",
    [
        {"subject": {"identifiers": []}},
        {"subject": {"identifiers": [{"type": "cookie", "value": ""}]}},
        {"subject": {"identifiers": [{"type": "cookie", "value": "x" * (limits.IDENTIFIER_CHARS_MAX + 1)}]}},
        {"subject": {"identifiers": [{"type": "cookie", "value": "x"}] * (limits.IDENTIFIERS_MAX + 1)}},
        {"decisions": []},
        {"decisions": FULL["data"]["decisions"] * limits.DECISIONS_MAX},
        {"decisions": [{"purpose": "Chat", "decision": "denied", "legal_basis": "consent"}]},
        {"decisions": [{"purpose": "a" * 65, "decision": "denied", "legal_basis": "consent"}]},
        {"decisions": [{"purpose": "a\n", "decision": "denied", "legal_basis": "consent"}]},
        {"decisions": [{"purpose": "a", "decision": "granted", "legal_basis": "contract"}]},
        {"decisions": [{"purpose": "a", "decision": "objected", "legal_basis": "consent"}]},
        {"notice": {"sha256": "AB" * 32, "language": "fr"}},
        {"notice": {"sha256": "ab" * 31, "language": "fr"}},
        {"notice": {"sha256": "ab" * 32, "language": "français"}},
        {"notice": {"sha256": "ab" * 32}},
        {"signals": {"gpc": False}},
        {"signals": {"gpc": 1}},
        {"signals": {"gpc": 1.0}},
        {"signals": {"gcm": {"ad_storage": "maybe"}}},
        {"signals": {"tcf": "x" * (limits.SIGNAL_CHARS_MAX + 1)}},
        {"context": {"country": "fr"}},
        {"valid_until": "2027-01-01T00:00:00+01:00"},
        {"valid_until": "2027-01-01T00:00:00.1234567Z"},
        {"valid_until": "2027-13-01T00:00:00Z"},
        {"valid_until": "2027-01-01T00:00:60Z"},
        {"ext": {"n": 1.0}},
        {"ext": {"n": 2**53}},
        {"ext": {"n": None}},
        {"ext": {"n": [1]}},
        {"ext": {f"n{i}": 1 for i in range(limits.EXT_MEMBERS_MAX + 1)}},
        {"received_at": "2026-11-01T09:00:00Z"},
        {"words": "rendered"},
    ],
    ids=repr,
)
def test_data_that_is_refused(data: dict[str, Any]) -> None:
    assert not taken(with_data(**data))


def test_a_name_ends_where_its_pattern_ends() -> None:
    """`$` of some engines also matches before a final newline; a log or a file name with one would be another's."""
    for member, value in (("id", FULL["id"]), ("source", FULL["source"]), ("time", FULL["time"])):
        assert not taken(FULL | {member: value + "\n"})


def test_words_for_callers_are_subsets_of_each_other() -> None:
    assert BROWSER_TYPES < SERVER_TYPES <= INGEST_TYPES < set(get_args(EventType))
    assert BROWSER_IDENTIFIERS < set(get_args(IdentifierType)) == set(IDENTIFIER_STRENGTH)
    assert len(set(IDENTIFIER_STRENGTH.values())) == len(IDENTIFIER_STRENGTH)


def test_every_type_has_a_class() -> None:
    classes = {entry_class(kind) for kind in get_args(EventType)}
    assert classes == set(get_args(EntryClass))


def test_times_are_utc_to_the_microsecond() -> None:
    assert parse_time("2026-11-01T09:00:00.5Z").microsecond == 500_000
    assert parse_time("2026-11-01T09:00:00Z").utcoffset() is not None


def test_the_published_schemas_are_what_the_models_say() -> None:
    """Run `python -m schemas.json_schemas` when this fails, and read the difference before committing it."""
    for path, content in generated().items():
        assert path.read_bytes() == content, path.name


def test_the_published_schemas_know_no_null() -> None:
    assert all(b"null" not in content for content in generated().values())
