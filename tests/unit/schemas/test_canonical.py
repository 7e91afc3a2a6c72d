"""The strict reader: what it takes, what it refuses, and with which problem."""

import json

import pytest
import rfc8785

from schemas.canonical import INTEGER_MAX, JSON_DEPTH_MAX, canonical_json, check_depth, read_strict
from schemas.errors import ControlCharacter, DuplicateKey, MalformedJson, NotUtf8, Problem, TooDeep

pytestmark = pytest.mark.unit


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * levels + closing * levels


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"[]",
        b'"text"',
        b"null",
        b' {\n\t"b" : [1, -2, true, null] ,\r\n "a":{} } ',
        '{"é":"日本語","😀":"\u2028"}'.encode(),
        b'{"a":"\\u00e9\\"\\\\\\/"}',
        b'{"a":":","b":"\\":","c":":x"}',
        b'{"":{"":{}}}',
        b'{"a":{"x":1},"b":{"x":1}}',
        b'[{"x":1},{"x":1}]',
        str(INTEGER_MAX).encode(),
        str(-INTEGER_MAX).encode(),
        nested(JSON_DEPTH_MAX),
    ],
)
def test_what_is_sound_is_read(raw: bytes) -> None:
    value, canonical = read_strict(raw)
    assert value == json.loads(raw)
    assert canonical == canonical_json(value)
    if "😀" not in raw.decode():  # a member name beyond U+E000 is outside the profile
        assert canonical == rfc8785.dumps(value)
    assert read_strict(canonical) == (value, canonical)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", MalformedJson),
        (b"{", MalformedJson),
        (b'{"a":1,}', MalformedJson),
        (b"{'a':1}", MalformedJson),
        (b"{a:1}", MalformedJson),
        (b'{"a":1}{"b":2}', MalformedJson),
        (b'{"a":NaN}', MalformedJson),
        (b'{"a":Infinity}', MalformedJson),
        (b'{"a":01}', MalformedJson),
        (b'{"a":+1}', MalformedJson),
        (b'{"a":"\\ud800"}', MalformedJson),
        (b'{"a":"\\x41"}', MalformedJson),
        (b'{"a":"line\nbreak"}', MalformedJson),
        (b'\xef\xbb\xbf{"a":1}', MalformedJson),
        (b'{"a":"\xff"}', NotUtf8),
        (b'{"a":"\xc0\xaf"}', NotUtf8),
        (b'{"a":"\xed\xa0\x80"}', NotUtf8),
        (b'{"a":1,"a":1}', DuplicateKey),
        (b'{"a":1,"\\u0061":1}', DuplicateKey),
        (b'{"a" :1,"a": 2}', DuplicateKey),
        (b'{"a"\n:1,"a"\t:2}', DuplicateKey),
        (b'{"a":1,"a":":"}', DuplicateKey),
        (b'{"a":":","a":1}', DuplicateKey),
        (b'[{"x":{"a":1,"b":2,"a":3}}]', DuplicateKey),
        (b'{"":1,"":2}', DuplicateKey),
        (nested(JSON_DEPTH_MAX + 1), TooDeep),
        (nested(JSON_DEPTH_MAX + 1, b'{"a":', b"}").replace(b":}", b":1}"), TooDeep),
        (nested(400), TooDeep),
        (nested(5000), TooDeep),
        (b'{"a":"\\u0000"}', ControlCharacter),
        (b'{"a":"\\n"}', ControlCharacter),
        (b'{"a":"\\u001f"}', ControlCharacter),
        (b'{"a":"\x7f"}', ControlCharacter),
        ('{"a":"\u0085"}'.encode(), ControlCharacter),
        (b'{"a":"\\u0085"}', ControlCharacter),
        (b'{"\\u0007":1}', ControlCharacter),
        (b'[[["\\t"]]]', ControlCharacter),
    ],
)
def test_what_is_not_has_its_problem(raw: bytes, problem: type[Problem]) -> None:
    with pytest.raises(problem):
        read_strict(raw)


def test_depth_is_measured_without_recursion() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(TooDeep):
        check_depth(value)
    while isinstance(value, list):  # freed level by level: dropping it at once would recurse in C
        value = value[0]
