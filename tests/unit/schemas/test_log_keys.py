"""Keys in time: chains that hold are followed from any of their keys, and every damage to one is refused."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.errors import CheckpointError, ProofError
from schemas.log_keys import (
    FORMAT,
    KEYS_MAX,
    KeyStatement,
    check_log_keys,
    keys_at,
    read_log_keys,
    read_statement,
    trusted_keys,
)
from schemas.note import KeyKind, VerifierKey, log_key, signed_note
from schemas.strict_json import write_json

pytestmark = pytest.mark.unit

ORIGIN = "log.example/logs/shop"
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(5)]
VKEYS = [log_key(ORIGIN, key) for key in KEYS]
TIME = "2026-11-22T10:00:00Z"


def statement(number: int, from_size: int, *, before: int | None = None, new: int | None = None) -> str:
    """That key `number` follows the key before it (indexes from 0 for `before` and `new`)."""
    before, new = number - 2 if before is None else before, number - 1 if new is None else new
    return KeyStatement(number, VKEYS[before], VKEYS[new], from_size).sign(KEYS[before].sign, KEYS[new].sign)


def document(*from_sizes: int) -> dict[str, Any]:
    """A log with a key more than sizes."""
    sizes: list[int | None] = [None, *from_sizes]
    keys = [
        {
            "number": number,
            "vkey": str(VKEYS[number - 1]),
            "made_at": TIME,
            "ends_at": TIME if number < len(sizes) else None,
            "statement": None if size is None else statement(number, size),
        }
        for number, size in enumerate(sizes, start=1)
    ]
    return {"format": FORMAT, "log": {"name": "shop", "origin": ORIGIN}, "keys": keys}


def test_a_statement_is_six_lines_signed_by_both() -> None:
    note = statement(2, 7)
    text, _, signatures = note.partition("\n\n")
    assert text == f"sayso/log-key/v1\n{ORIGIN}\n2\n{VKEYS[0]}\n{VKEYS[1]}\n7"
    assert len(signatures.splitlines()) == 2
    read = read_statement(note)
    assert (read.number, read.before, read.new, read.from_size) == (2, VKEYS[0], VKEYS[1], 7)


def test_every_single_bit_of_a_statement_counts() -> None:
    note = statement(2, 7).encode()
    for place in range(len(note) * 8):
        changed = bytearray(note)
        changed[place // 8] ^= 1 << place % 8
        try:
            text = changed.decode()
        except UnicodeDecodeError:
            continue
        with pytest.raises(CheckpointError):
            read_statement(text)


def signed(text: str, *by: int) -> str:
    return signed_note(text, [(VKEYS[key], KEYS[key].sign(text.encode())) for key in by])


TEXT = KeyStatement(2, VKEYS[0], VKEYS[1], 7).text()
OTHER_LOG = VerifierKey("other.example/logs/shop", KeyKind.ED25519, VKEYS[1].public_key)
WITNESS = VerifierKey(ORIGIN, KeyKind.COSIGNATURE_V1, VKEYS[1].public_key)
DAMAGED_STATEMENTS = {
    "signed by the key before alone": signed(TEXT, 0),
    "signed by the new key alone": signed(TEXT, 1),
    "signed by a third key instead": signed(TEXT, 0, 2),
    "signed by a third key too": signed(TEXT, 0, 1, 2),
    "signed in the other order": signed(TEXT, 1, 0),
    "signed twice by one": signed(TEXT, 0, 0, 1),
    "another header": signed(TEXT.replace("/v1", "/v2"), 0, 1),
    "number 1": signed(TEXT.replace("\n2\n", "\n1\n"), 0, 1),
    "a number with a sign": signed(TEXT.replace("\n2\n", "\n+2\n"), 0, 1),
    "a number with a zero before it": signed(TEXT.replace("\n7\n", "\n07\n"), 0, 1),
    "a size past 2^63": signed(TEXT.replace("\n7\n", f"\n{2**63}\n"), 0, 1),
    "another origin": signed(TEXT.replace(f"\n{ORIGIN}\n", "\nother.example\n", 1), 0, 1),
    "the new key is another log's": signed(TEXT.replace(str(VKEYS[1]), str(OTHER_LOG)), 0, 1),
    "the new key is a witness's": signed(TEXT.replace(str(VKEYS[1]), str(WITNESS)), 0, 1),
    "both keys are one": signed(TEXT.replace(str(VKEYS[1]), str(VKEYS[0])), 0, 0),
    "a line more": signed(f"{TEXT}more\n", 0, 1),
    "a line less": signed(TEXT.rpartition("7\n")[0], 0, 1),
    "a checkpoint": signed(f"{ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", 0, 1),
    "nothing": "",
}


@pytest.mark.parametrize("damage", DAMAGED_STATEMENTS)
def test_a_damaged_statement_is_refused(damage: str) -> None:
    with pytest.raises(CheckpointError):
        read_statement(DAMAGED_STATEMENTS[damage])


def test_trust_in_any_key_reaches_all() -> None:
    chain = read_log_keys(write_json(document(7, 7, 900)))
    for known in range(4):
        assert trusted_keys(chain, {str(VKEYS[known])}) == set(VKEYS[:4])
    for stranger in (set[str](), {str(VKEYS[4])}, {str(OTHER_LOG)}):
        with pytest.raises(ProofError, match="no chain of keys leads"):
            trusted_keys(chain, stranger)
    assert write_json(chain.document()) == write_json(document(7, 7, 900))


def test_a_key_counts_for_checkpoints_larger_than_its_statement_says() -> None:
    chain = check_log_keys(document(0, 7))
    assert keys_at(chain, 0) == (VKEYS[0],)
    assert keys_at(chain, 1) == keys_at(chain, 7) == (VKEYS[0], VKEYS[1])
    assert keys_at(chain, 8) == tuple(VKEYS[:3])


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Set the member at the path to its last element."""
    *steps, last, value = path

    def change(members: Any) -> None:
        for step in steps:
            members = members[step]
        members[last] = value

    return change


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "format": _set("format", "sayso-keys/v2"),
    "a member more": _set("epochs", []),
    "no log": lambda d: d.pop("log"),
    "log without origin": lambda d: d["log"].pop("origin"),
    "origin of another log": _set("log", "origin", "other.example"),
    "origin is a number": _set("log", "origin", 7),
    "no keys": _set("keys", []),
    "keys is an object": _set("keys", {}),
    "too many keys": lambda d: d["keys"].extend(d["keys"][2:] * KEYS_MAX),
    "key is a list": _set("keys", 1, []),
    "key with a member more": _set("keys", 1, "note", ""),
    "key without a member": lambda d: d["keys"][1].pop("ends_at"),
    "the first is missing": lambda d: d["keys"].pop(0),
    "one is missing": lambda d: d["keys"].pop(1),
    "two are swapped": lambda d: d["keys"].reverse(),
    "number is true": _set("keys", 0, "number", True),
    "number is text": _set("keys", 1, "number", "2"),
    "number of another": _set("keys", 1, "number", 3),
    "time in words": _set("keys", 0, "made_at", "yesterday"),
    "time without zone": _set("keys", 0, "made_at", "2026-11-22T10:00:00"),
    "end is a number": _set("keys", 0, "ends_at", 7),
    "vkey is nothing": _set("keys", 1, "vkey", None),
    "vkey of a stranger": _set("keys", 1, "vkey", str(VKEYS[4])),
    "vkey of a witness": _set("keys", 0, "vkey", str(VerifierKey(ORIGIN, KeyKind.COSIGNATURE_V1, bytes(32)))),
    "first key with a statement": _set("keys", 0, "statement", statement(2, 7)),
    "second key without one": _set("keys", 1, "statement", None),
    "statement of the third": _set("keys", 1, "statement", statement(3, 7)),
    "statement about other keys": _set("keys", 1, "statement", statement(2, 7, new=4)),
    "statement by another key": _set("keys", 2, "statement", statement(3, 900, before=0)),
    "begins before the key before": _set("keys", 2, "statement", statement(3, 6)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_chain_is_refused_whole(damage: str) -> None:
    members = deepcopy(document(7, 900))
    check_log_keys(members)
    DAMAGES[damage](members)
    with pytest.raises(ProofError):
        check_log_keys(members)


def test_one_key_stands_in_a_chain_once() -> None:
    members = document(7, 900)
    members["keys"][2] |= {"vkey": str(VKEYS[0]), "statement": statement(3, 900, before=1, new=0)}
    with pytest.raises(ProofError, match="twice"):
        check_log_keys(members)


@pytest.mark.parametrize("raw", [b"", b"[]", b" {}", b'{"format":"sayso-keys/v1","format":"sayso-keys/v1"}'])
def test_a_file_that_is_no_canonical_document_is_refused(raw: bytes) -> None:
    with pytest.raises(ProofError):
        read_log_keys(raw)
