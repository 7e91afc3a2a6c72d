"""Request bodies -> events, each with its canonical bytes or its own problem, in the order they stand in.

Invariant: an event that cannot be read never costs its neighbours; only a body whose events cannot be told apart, or
that breaks a limit of the whole request, is refused as a whole.
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

from schemas.canonical import (
    JSON_DEPTH_MAX,
    canonical_json,
    check_control_characters,
    check_depth,
    check_duplicates,
    read_strict,
)
from schemas.errors import (
    DuplicateKey,
    EmptyBatch,
    EventTooLarge,
    MalformedJson,
    Problem,
    TooDeep,
    TooManyEvents,
    UnsupportedMediaType,
)
from schemas.limits import BATCH_EVENTS_MAX, EVENT_BYTES_MAX

_BLANK: Final = b" \t\r\n"
# A string (closed, or running to the end of the body) or a character of structure. Linear on every input.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
# More structure than any readable batch has: looking further would only cost time.
_TOKENS_MAX: Final = 200_000


class Readable(NamedTuple):
    """One event as plain JSON, and the canonical bytes of exactly what was posted."""

    value: Any
    canonical: bytes


Read = Readable | Problem


class Body(NamedTuple):
    """What a request posted. `single` says that it was one event and wants the answer of one event."""

    single: bool
    events: list[Read]


def read_events(content_type: bytes, body: bytes) -> Body:
    """Raises what concerns the whole body: UnsupportedMediaType, MalformedJson, EmptyBatch, TooManyEvents."""
    reader = _READERS.get(content_type) or _READERS.get(content_type.partition(b";")[0].strip().lower())
    if reader is None:
        raise UnsupportedMediaType
    return reader(body)


def _read_one(body: bytes) -> Body:
    if len(body) > EVENT_BYTES_MAX:
        raise EventTooLarge
    return Body(single=True, events=[Readable(*read_strict(body))])


def _read_either(body: bytes) -> Body:
    return _read_array(body) if body.lstrip(_BLANK)[:1] == b"[" else _read_one(body)


def _read_lines(body: bytes) -> Body:
    lines = [line for line in body.split(b"\n") if line.strip(_BLANK)]
    return Body(single=False, events=[_read_piece(line) for line in _bounded(lines)])


def _read_array(body: bytes) -> Body:
    """Parse all events at once when nothing is odd, else one by one."""
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _read_apart(body)
    if not isinstance(values, list):
        raise MalformedJson
    events = [_read_value(value) for value in _bounded(values)]
    readable = [event.canonical for event in events if isinstance(event, Readable)]
    if len(readable) == len(events):
        try:
            check_duplicates(body, b",".join(readable))
        except DuplicateKey:
            pass  # somewhere; which event it is shows when they are read apart
        else:
            return Body(single=False, events=events)
    return _read_apart(body)


def _read_value(value: Any) -> Read:
    """What read_strict does, for a value that is parsed already; duplicates are looked for over the whole body."""
    try:
        canonical = canonical_json(value)
    except orjson.JSONEncodeError:
        return TooDeep()  # orjson writes 254 levels
    try:
        if canonical.count(b"{") + canonical.count(b"[") > JSON_DEPTH_MAX:
            check_depth(value)
        check_control_characters(value, canonical)
    except Problem as problem:
        return problem
    return EventTooLarge() if len(canonical) > EVENT_BYTES_MAX else Readable(value, canonical)


def _read_apart(body: bytes) -> Body:
    return Body(single=False, events=[_read_piece(piece) for piece in _bounded(split_array(body))])


def _read_piece(raw: bytes) -> Read:
    if len(raw) > EVENT_BYTES_MAX:
        return EventTooLarge()
    try:
        return Readable(*read_strict(raw))
    except Problem as problem:
        return problem


def _bounded(events: list[Any]) -> list[Any]:
    if not events:
        raise EmptyBatch
    if len(events) > BATCH_EVENTS_MAX:
        raise TooManyEvents
    return events


def split_array(body: bytes) -> list[bytes]:
    """The bytes of each element of a JSON array that need not be valid inside. Raises MalformedJson, TooManyEvents.

    Every byte between the outer brackets lands in an element or is a comma between two, so nothing is skipped over.
    """
    array = body.strip(_BLANK)
    pieces: list[bytes] = []
    depth, start, end = 0, 1, len(array)
    for number, token in enumerate(_TOKEN.finditer(array)):
        mark = token[0]
        if mark in {b"[", b"{"}:
            depth += 1
        elif mark in {b"]", b"}"}:
            depth -= 1
            if depth == 0:
                end = token.start()
                break
        elif mark == b"," and depth == 1:
            pieces.append(array[start : token.start()])
            start = token.end()
        if len(pieces) >= BATCH_EVENTS_MAX:
            raise TooManyEvents
        if number > _TOKENS_MAX:
            raise MalformedJson
    if array[:1] != b"[" or end != len(array) - 1 or array[end:] != b"]":
        raise MalformedJson
    last = array[start:end]
    return [*pieces, last] if pieces or last.strip(_BLANK) else []


_READERS: Final[dict[bytes, Callable[[bytes], Body]]] = {
    b"application/cloudevents+json": _read_one,
    b"application/json": _read_either,
    b"text/plain": _read_either,  # what navigator.sendBeacon sends
    b"application/cloudevents-batch+json": _read_array,
    b"application/x-ndjson": _read_lines,
}
