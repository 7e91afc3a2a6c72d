"""The strict JSON reader with the standard library alone, for verifiers that strangers run.

The same profile and the same errors as schemas.canonical, which is faster and needs orjson (tests hold the two against
each other). Invariant: what is read has one spelling; whoever wants exactly that one compares it with the bytes.
"""

import json
from typing import Any, Final, NoReturn

from schemas.canonical import INTEGER_MAX, JSON_DEPTH_MAX, check_control_characters, check_depth
from schemas.errors import DuplicateKey, FloatNotAllowed, MalformedJson, NotUtf8, Problem, ProofError, TooDeep

_DIGITS_MAX: Final = 17  # of ±(2^53-1), with its sign
_NAMES_END: Final = "\ue000"  # where the characters end that a member's name may have


def read_json(raw: bytes, *, levels: int = JSON_DEPTH_MAX, controls: bool = False) -> tuple[Any, bytes]:
    """Parse one JSON value of at most `levels` levels; return it with its canonical bytes (RFC 8785).

    With `controls`, strings may hold control characters. Raises MalformedJson, NotUtf8, DuplicateKey, TooDeep,
    FloatNotAllowed (also for an integer beyond ±(2^53-1), and for -0) or ControlCharacter.
    """
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise NotUtf8 from None
    except RecursionError:
        raise TooDeep from None
    except ValueError:
        raise MalformedJson from None
    check_depth(value, levels)
    try:
        canonical = write_json(value)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell and UTF-8 cannot
        raise MalformedJson from None
    if not controls:
        check_control_characters(value, canonical)
    return value, canonical


def write_json(value: Any) -> bytes:
    """The canonical bytes of a value that meets the profile, as schemas.canonical writes them."""
    return _ENCODER.encode(value).encode("utf-8")


def read_canonical(raw: bytes, what: str, *, levels: int = JSON_DEPTH_MAX, controls: bool = False) -> dict[str, Any]:
    """A JSON object that is spelled canonically. Raises ProofError that calls it `what`."""
    try:
        value, canonical = read_json(raw, levels=levels, controls=controls)
    except Problem as problem:
        raise ProofError(f"{what} is not canonical JSON ({problem.slug})") from problem
    if not isinstance(value, dict) or canonical != raw:
        raise ProofError(f"{what} is not a canonical JSON object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateKey
    # Beyond it, code points and UTF-16 code units sort differently: two writers would spell one object in two ways.
    if not all(name.isascii() or max(name) < _NAMES_END for name in members):
        raise MalformedJson
    return members


def _integer(text: str) -> int:
    # The length first: to Python a number of any length, in any script's digits, is one.
    if len(text) > _DIGITS_MAX or not text.isascii() or abs(int(text)) > INTEGER_MAX or text == "-0":
        raise FloatNotAllowed
    return int(text)


def _refuse_number(_text: str) -> NoReturn:
    raise FloatNotAllowed


# Made once: `loads` and `dumps` with these arguments make one a call.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_refuse_number, parse_constant=_refuse_number
)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
