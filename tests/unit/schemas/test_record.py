"""Parts, digests, commitment and entry against golden vectors made without this code; and what must not verify."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from schemas.canonical import canonical_json
from schemas.errors import ProofError
from schemas.events import parse_time
from schemas.merkle import leaf_hash
from schemas.record import (
    ENTRY_BYTES_MAX,
    PART_NAMES,
    PartName,
    Reception,
    commitment,
    entry_bytes,
    format_minute,
    format_time,
    part_digest,
    parts_of,
    read_entry,
    verify_commitment,
    whole_minute,
)
from schemas.vectors.generate import HERE as VECTORS

pytestmark = pytest.mark.unit

Vector = dict[str, Any]
FILES: list[Path] = sorted((VECTORS / "parts").glob("*.json"))
ENTRY: dict[str, Any] = {
    "log": "log.example/logs/shop",
    "index": 3,
    "prev": "0" * 64,
    "ref": "00" * 16,
    "entry_class": "consent",
    "recorded_at": "2026-11-22T10:01:00Z",
    "commitment": "ab" * 32,
}


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def vector(request: pytest.FixtureRequest) -> Vector:
    value: Vector = json.loads(request.param.read_bytes())
    return value


def disclosed(vector: Vector, *names: PartName) -> dict[PartName, tuple[bytes, bytes]]:
    return {name: (bytes.fromhex(vector["salts"][name]), vector["parts"][name].encode()) for name in names}


def digests(vector: Vector, *names: PartName) -> dict[PartName, bytes]:
    return {name: bytes.fromhex(vector["digests"][name]) for name in names}


def test_there_are_vectors() -> None:
    assert [path.stem for path in FILES] == ["every-script", "everything", "nobody"]


def test_an_event_splits_into_these_parts(vector: Vector) -> None:
    stated = vector["reception"]
    reception = Reception(**stated | {"received_at": parse_time(stated["received_at"])})
    parts = parts_of(vector["event"], reception)
    assert {name: part.decode() for name, part in zip(PART_NAMES, parts, strict=True)} == vector["parts"]


def test_digests_commitment_and_leaf_are_these(vector: Vector) -> None:
    made = [part_digest(name, *shown) for name, shown in disclosed(vector, *PART_NAMES).items()]
    assert [digest.hex() for digest in made] == list(vector["digests"].values())
    assert commitment(*made).hex() == vector["commitment"]
    assert leaf_hash(vector["entry"].encode()).hex() == vector["leaf_hash"]


def test_the_entry_is_these_bytes(vector: Vector) -> None:
    stated = json.loads(vector["entry"])
    assert read_entry(vector["entry"].encode()) == stated
    stated.pop("v")
    entry = entry_bytes(entry_class=stated.pop("class"), **stated)
    assert entry.decode() == vector["entry"]
    assert len(entry) <= ENTRY_BYTES_MAX


@pytest.mark.parametrize("shown", [(), ("who",), ("what",), ("what", "context"), PART_NAMES])
def test_any_parts_may_be_disclosed(vector: Vector, shown: tuple[PartName, ...]) -> None:
    hidden: list[PartName] = [name for name in PART_NAMES if name not in shown]
    verify_commitment(vector["entry"].encode(), disclosed(vector, *shown), digests(vector, *hidden))


@pytest.mark.parametrize("name", PART_NAMES)
@pytest.mark.parametrize("spoil", ["part", "salt", "another digest", "another part", "missing"])
def test_what_was_changed_does_not_verify(vector: Vector, name: PartName, spoil: str) -> None:
    shown, hidden = disclosed(vector, *PART_NAMES), digests(vector)
    salt, part = shown[name]
    other = PART_NAMES[(PART_NAMES.index(name) + 1) % 3]
    match spoil:
        case "part":
            shown[name] = salt, part + b" "
        case "salt":
            shown[name] = bytes([salt[0] ^ 1]) + salt[1:], part
        case "another digest":
            hidden = digests(vector, other)
            hidden[name] = hidden.pop(other)
        case "another part":
            shown[name] = shown[other]
        case "missing":
            del shown[name]
    with pytest.raises(ProofError):
        verify_commitment(vector["entry"].encode(), shown, hidden)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b" "),
        (b'"index"', b'"Index"'),
        (b'"v":1', b'"v":2'),
        (b'"v":1', b'"v":1,"v":1'),
        (b'"v":1', b'"v":1,"w":1'),
        (b'{"class":"consent",', b"{"),
        (b"}", b""),
        (b"}", b"}]"),
        (b"}", b"}\n"),
        (b"consent", b"cons\xffnt"),
        (b"consent", b"\\u0063onsent"),
    ],
)
def test_an_entry_has_one_spelling(old: bytes, new: bytes) -> None:
    entry = entry_bytes(**ENTRY)
    assert read_entry(entry)
    with pytest.raises(ProofError):
        read_entry(entry.replace(old, new, 1))


def test_nothing_is_no_entry() -> None:
    with pytest.raises(ProofError):
        read_entry(b"")


def test_optional_members_stand_only_where_they_apply() -> None:
    assert set(read_entry(entry_bytes(**ENTRY))) == {"v", "class", *ENTRY} - {"entry_class"}
    erased = {"who": 1, "what": 1, "context": 0}
    entry = read_entry(entry_bytes(**ENTRY, notice="ab" * 32, erased=erased, follows={"size": 3}))
    assert (entry["notice"], entry["erased"], entry["follows"]) == ("ab" * 32, erased, {"size": 3})


def test_parts_lose_nothing() -> None:
    """Every member of data is in exactly one part; what an event grows later must be given a part."""
    from schemas.events import EventData

    vector = json.loads((VECTORS / "parts" / "everything.json").read_bytes())
    assert set(vector["event"]["data"]) == set(EventData.model_fields)
    together = b"".join(part.encode() for part in vector["parts"].values()).decode()

    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [leaf for child in value.values() for leaf in leaves(child)]
        return [leaf for child in value for leaf in leaves(child)] if isinstance(value, list) else [value]

    for leaf in leaves(vector["event"]["data"]):
        assert canonical_json(leaf).decode() in together


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC), "2026-11-22T10:00:00.123456Z"),
        (datetime(2026, 11, 22, 10, 0, 0, 0, tzinfo=UTC), "2026-11-22T10:00:00.000000Z"),
        (datetime(2026, 1, 1, 1, 0, 0, 7, tzinfo=timezone(timedelta(hours=2))), "2025-12-31T23:00:00.000007Z"),
    ],
)
def test_times_have_one_spelling(moment: datetime, text: str) -> None:
    assert format_time(moment) == text
    assert parse_time(text) == moment
    assert format_minute(whole_minute(moment)) == text[:17] + "00Z"
