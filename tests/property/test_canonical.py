"""Canonical JSON against the rfc8785 package, the strict reader against a slow one, the parts against the event."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import INTEGER_MAX, canonical_json, check_depth, read_strict
from schemas.errors import DuplicateKey, Problem, TooDeep
from schemas.record import Reception, parts_of
from services.ingest.reading import Read, Readable, read_events

pytestmark = pytest.mark.property

# The profile: no floats, whole numbers within ±(2^53-1), no surrogates, no control characters, names below U+E000.
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"])
TEXT = st.text(CHARACTERS, max_size=12)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], max_codepoint=0xDFFF), max_size=6)
SCALARS = st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | TEXT
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(NAMES, v, max_size=4), max_leaves=20)


@given(VALUES)
def test_canonical_json_is_rfc_8785(value: Any) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_any_spelling_reads_as_the_same(value: Any, indent: int | None, ascii_only: bool) -> None:
    raw = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    try:
        check_depth(value)
    except TooDeep:
        with pytest.raises(TooDeep):
            read_strict(raw)
    else:
        assert read_strict(raw) == (value, rfc8785.dumps(value))


# Few names and strings that look like members, so that duplicates are common and the fast check is tempted.
FEW = st.sampled_from(["a", "b", '":', ":", '"', "\\", "é"])
PAIRS = st.recursive(
    FEW | st.integers(0, 3),
    lambda v: st.lists(v, max_size=3) | st.lists(st.tuples(FEW, v), max_size=4).map(lambda pairs: ("object", pairs)),
    max_leaves=12,
)


def spelled(value: Any, colon: str) -> str:
    """JSON text in which an object may name a member twice."""
    if isinstance(value, tuple):
        members = (f"{json.dumps(name)}{colon}{spelled(child, colon)}" for name, child in value[1])
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(spelled(child, colon) for child in value) + "]"
    return json.dumps(value)


def has_duplicate(value: Any) -> bool:
    if isinstance(value, tuple):
        names = [name for name, _ in value[1]]
        return len(set(names)) < len(names) or any(has_duplicate(child) for _, child in value[1])
    return isinstance(value, list) and any(has_duplicate(child) for child in value)


@given(PAIRS, st.sampled_from([":", ": ", " :", "\n:", "\t: "]))
def test_duplicates_are_found_where_there_are_some(value: Any, colon: str) -> None:
    raw = spelled(value, colon).encode()
    try:
        read_strict(raw)
    except DuplicateKey:
        assert has_duplicate(value)
    else:
        assert not has_duplicate(value)


def read_alone(piece: bytes) -> Read:
    try:
        return Readable(*read_strict(piece))
    except Problem as problem:
        return problem


@given(st.lists(PAIRS, min_size=1, max_size=5), st.sampled_from([":", " :"]))
def test_a_batch_is_judged_as_its_events_are(values: list[Any], colon: str) -> None:
    """The array that is parsed at once gives each event what reading it alone gives."""
    pieces = [spelled(value, colon).encode() for value in values]
    read = read_events(b"application/cloudevents-batch+json", b"[" + b" ,\n".join(pieces) + b"]").events
    assert len(read) == len(pieces)
    for piece, event in zip(pieces, read, strict=True):
        alone = read_alone(piece)
        assert type(event) is type(alone)
        assert event == alone or isinstance(alone, Problem)


@given(st.lists(st.binary(max_size=12), max_size=4))
def test_no_body_breaks_the_reader(pieces: list[bytes]) -> None:
    for body in (b"".join(pieces), b"[" + b",".join(pieces) + b"]"):
        for content_type in (b"application/json", b"application/x-ndjson"):
            # Anything but a Problem fails the test.
            with suppress(Problem):
                read_events(content_type, body)


MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "subject": st.fixed_dictionaries({"identifiers": st.lists(st.dictionaries(NAMES, TEXT), max_size=2)}),
        "decisions": st.lists(st.dictionaries(NAMES, TEXT), max_size=2),
        "notice": st.dictionaries(st.sampled_from(["sha256", "language", "token"]), TEXT),
        "signals": st.dictionaries(st.sampled_from(["tcf", "gpp", "gcm", "gpc", "gpc_honoured"]), TEXT),
        "context": st.dictionaries(st.sampled_from(["page", "country"]), TEXT),
        "guardian": st.dictionaries(NAMES, TEXT),
        "jurisdiction": TEXT,
        "ext": st.dictionaries(NAMES, TEXT),
    },
)


@given(MEMBERS)
def test_the_parts_give_the_event_back(data: dict[str, Any]) -> None:
    """Nothing is lost between three parts, and nothing of `who` is in another."""
    event = {"id": "i", "type": "consent.given", "time": "2026-11-01T09:00:00Z", "data": data}
    reception = Reception("shop.example", datetime(2026, 11, 1, tzinfo=UTC), "browser", "unverified", [])
    who, what, context = (json.loads(part) for part in parts_of(event, reception))
    rebuilt: dict[str, Any] = {name: what[name] for name in ("decisions", "jurisdiction") if name in what}
    if "identifiers" in who:
        rebuilt["subject"] = {"identifiers": who["identifiers"]}
    if "guardian" in who:
        rebuilt["guardian"] = who["guardian"]
    if "ext" in context:
        rebuilt["ext"] = context.pop("ext")
    token = {"token": context.pop("notice_token")} if "notice_token" in context else {}
    if "notice" in what:
        rebuilt["notice"] = what["notice"] | token
    signals = what.get("signals", {}) | context.pop("signals", {})
    if signals:
        rebuilt["signals"] = signals
    if context:
        rebuilt["context"] = context
    # An empty object in the event says as little as an absent one.
    assert rebuilt == {name: value for name, value in data.items() if value or name not in {"signals", "context"}}
    assert set(who) <= {"identifiers", "guardian"}
