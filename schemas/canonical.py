"""Canonical JSON: RFC 8785 under Sayso's profile, and the strict reader that guards it.

Profile: no floats, integers within ±(2^53-1), no lone surrogates, member names in the Basic Multilingual Plane
below U+E000, no control characters. Under it, sorting by code point equals RFC 8785's UTF-16 order, so orjson's
sorted output is the canonical form (tests hold it against the rfc8785 package).
"""

import json
import re
from typing import Any, Final

import orjson

from schemas.errors import ControlCharacter, DuplicateKey, MalformedJson, NotUtf8, TooDeep

JSON_DEPTH_MAX: Final = 16
INTEGER_MAX: Final = 2**53 - 1

_CONTROL = re.compile("[\u0000-\u001f\u007f-\u009f]")
# White space between a member's name and its colon: the one spacing that the fast duplicate check cannot count over.
# Most bodies have no white space at all; looking for one byte is many times as fast as a regular expression.
_SPACES: Final = (b" ", b"\n", b"\t", b"\r")


def canonical_json(value: Any) -> bytes:
    """The canonical bytes of a value that already meets the profile."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def read_strict(raw: bytes) -> tuple[Any, bytes]:
    """Parse one JSON value; return it with its canonical bytes.

    Raises MalformedJson, NotUtf8, DuplicateKey, TooDeep or ControlCharacter. Floats pass: the schema refuses them
    with a pointer to the member.

    1. Parse; 2. measure the depth when there are enough brackets for it to matter; 3. write canonically;
    4. compare member counts, because parsers silently keep one of two equal names; 5. look for control characters.
    """
    value = _parse(raw)
    if raw.count(b"{") + raw.count(b"[") > JSON_DEPTH_MAX:
        check_depth(value)
    canonical = canonical_json(value)
    check_duplicates(raw, canonical)
    check_control_characters(value, canonical)
    return value, canonical


def _parse(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise NotUtf8 from None
        if "ecursion" in str(error) or text.count("[") + text.count("{") > 1000:
            raise TooDeep from None
        raise MalformedJson from None


def check_depth(value: Any, levels: int = JSON_DEPTH_MAX) -> None:
    """Raise TooDeep if `value` nests more than that many levels; iterative, so no input exhausts the stack."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise TooDeep


def check_duplicates(raw: bytes, canonical: bytes) -> None:
    """Raise DuplicateKey if `raw` names a member twice; `canonical` is what a parser kept of it.

    Without backslashes every quote delimits a string, so the count of `":` is the count of members plus the count of
    strings that begin with a colon. A parser that drops a duplicate drops at least one of them, so equal counts mean
    that nothing was dropped. Anything unusual takes the slow, exact way.
    """
    spaced = [space for space in _SPACES if space in raw and space + b":" in raw]
    if not spaced and b"\\" not in raw and raw.count(b'":') == canonical.count(b'":'):
        return
    json.loads(raw, object_pairs_hook=_refuse_duplicates)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateKey
    return members


def check_control_characters(value: Any, canonical: bytes) -> None:
    """Raise ControlCharacter if any string of `value` holds one; `canonical` is its canonical form.

    Escapes betray C0 controls in the canonical bytes; DEL and C1 stand there as themselves.
    """
    if b"\\" not in canonical and canonical.isascii() and b"\x7f" not in canonical:
        return
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            if _CONTROL.search(node):
                raise ControlCharacter
        elif isinstance(node, dict):
            stack.extend(node)
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
