"""The verifier's JSON reader and writer against schemas.canonical's: the same values, bytes and refusals."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.canonical import canonical_json, read_strict
from schemas.errors import FloatNotAllowed, MalformedJson, Problem, TooDeep
from schemas.strict_json import read_json, write_json
from tests.property.test_canonical import PAIRS, VALUES, spelled

pytestmark = pytest.mark.property


def outcome(read: Any, raw: bytes) -> Any:
    """What a reader makes of the bytes: value and canonical bytes, or the refusal's name."""
    try:
        return read(raw)
    except Problem as problem:
        return problem.slug


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_both_read_and_write_the_same(value: Any, indent: int | None, ascii_only: bool) -> None:
    assert write_json(value) == canonical_json(value)
    raw = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert outcome(read_json, raw) == outcome(read_strict, raw)


@given(PAIRS, st.sampled_from([":", " :", "\t: "]))
def test_both_refuse_a_member_that_is_named_twice(value: Any, colon: str) -> None:
    raw = spelled(value, colon).encode()
    assert outcome(read_json, raw) == outcome(read_strict, raw)


@given(st.binary(max_size=12) | st.text(alphabet='{}[]",:\\u0d8e-+.19tfn \n', max_size=16).map(str.encode))
@example(b'"\\ud800"')
@example(b"\xef\xbb\xbf1")
@example(b'"\x01"')
@example(b'"\\u0001"')
@example(b"[" * 100_000)
@example(b"NaN")
@example(b"-0")
@example(b"01")
@example(b"1 1")
@example(b"")
def test_both_refuse_the_same_noise(raw: bytes) -> None:
    """Numbers that no profile holds are refused here at once, and there by the schema behind the reader."""
    ours, theirs = outcome(read_json, raw), outcome(read_strict, raw)
    if ours == FloatNotAllowed.slug:
        assert not isinstance(theirs, tuple) or has_number_outside(theirs[0]) or b"-0" in raw
    elif isinstance(ours, str):
        assert isinstance(theirs, str)
    else:
        assert ours == theirs


def has_number_outside(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(has_number_outside(child) for child in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) or (type(value) is int and abs(value) >= 2**53)


@pytest.mark.parametrize("text", ["1.0", "1e2", "-0", "9007199254740992", "-9007199254740992", "1" * 5000, "[1,2.5]"])
def test_only_whole_numbers_of_the_profile_are_read(text: str) -> None:
    with pytest.raises(FloatNotAllowed):
        read_json(text.encode())


@pytest.mark.parametrize("name", ["\ue000", "a\uffff", "\U0001f600"])
def test_names_that_sort_in_two_ways_are_refused(name: str) -> None:
    with pytest.raises(MalformedJson):
        read_json(f'{{"{name}":1}}'.encode())
    assert read_json(f'{{"a":"{name}","\ud7ff":1}}'.encode())


def test_levels_and_control_characters_are_what_the_caller_says() -> None:
    deep = b"[" * 20 + b"]" * 20
    with pytest.raises(TooDeep):
        read_json(deep)
    assert read_json(deep, levels=32)[1] == deep
    assert read_json(b'"a\\nb"', controls=True) == ("a\nb", b'"a\\nb"')
    with pytest.raises(MalformedJson):
        read_json(b'"a\nb"', controls=True)
