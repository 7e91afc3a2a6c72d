"""What fsck recomputes against the slow tree of the oracle, and its quick reading of entries against the careful."""

import hashlib

import pytest

from schemas.merkle import EMPTY_ROOT, leaf_hash
from schemas.record import NO_PREVIOUS, entry_bytes
from schemas.tiles import tiles_for_size
from services.ledger.fsck.entries import EntryFormat, prev_of
from services.ledger.fsck.growth import CHUNK, Growth
from tests.support import oracle

pytestmark = pytest.mark.unit

ORIGIN = "log.example/logs/shop"
NOTICE = "ab" * 32
LEAVES = [hashlib.sha256(b"%d" % n).digest() for n in range(70_000)]


def grown(size: int) -> tuple[Growth, dict[tuple[int, int], bytes], dict[int, bytes]]:
    """A tree of `size` leaves, its tiles above level 0, and the root at each end of a chunk."""
    growth, roots = Growth(), {0: EMPTY_ROOT}
    tiles: dict[tuple[int, int], bytes] = {}
    for first in range(0, size, CHUNK):
        last = min(first + CHUNK, size)
        tiles |= {(level, tile): content for level, tile, content in growth.add(LEAVES[first:last])}
        roots[first], roots[last] = growth.root_at(first), growth.root_at(last)
    return growth, tiles | {(level, tile): content for level, tile, content in growth.unfinished()}, roots


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 2047, 2048, 2049, 5000, 65_536, 70_000])
def test_tiles_and_roots_are_those_of_the_whole_tree(size: int) -> None:
    growth, tiles, roots = grown(size)
    assert growth.root_at(size) == oracle.mth(LEAVES[:size])
    assert all(root == oracle.mth(LEAVES[:at]) for at, root in roots.items() if at < 6000 or at > size - 5000)
    expected = {(tile.level, tile.n): tile.width for tile in tiles_for_size(size) if tile.level != 0}
    assert {place: len(content) // 32 for place, content in tiles.items()} == expected
    for (level, tile), content in tiles.items():
        span = 256**level
        hashes = [
            oracle.mth(LEAVES[at * span : (at + 1) * span]) for at in range(tile * 256, tile * 256 + len(content) // 32)
        ]
        assert content == b"".join(hashes)


def test_every_root_inside_a_chunk() -> None:
    growth, _, _ = grown(CHUNK + 600)
    assert all(growth.root_at(size) == oracle.mth(LEAVES[:size]) for size in range(CHUNK, CHUNK + 601))


def entries_of(count: int) -> list[bytes]:
    entries: list[bytes] = []
    for index in range(count):
        entries.append(
            entry_bytes(
                log=ORIGIN,
                index=index,
                prev=leaf_hash(entries[-1]).hex() if entries else NO_PREVIOUS,
                ref=f"{index:032x}",
                entry_class="consent",
                recorded_at=f"2026-11-01T09:0{index // 5}:00Z",
                commitment="cd" * 32,
                notice=NOTICE if index % 2 else None,
            )
        )
    return entries


def prevs_of(entries: list[bytes]) -> bytes:
    return b"".join([bytes(32), *(leaf_hash(entry) for entry in entries[:-1])])


def flipped(entry: bytes, at: int, bit: int) -> bytes:
    return entry[:at] + bytes([entry[at] ^ 1 << bit]) + entry[at + 1 :]


def read(entries: list[bytes], prevs: bytes) -> bool:
    """As the walk reads them, which counts the entries by their newlines first."""
    lines = b"\n".join(entries)
    return lines.count(b"\n") == len(entries) - 1 and EntryFormat(ORIGIN, frozenset({NOTICE})).all_well(
        lines, len(entries), 0, prevs
    )


def test_well_formed_entries_are_read_at_once_and_have_no_problems() -> None:
    entries = entries_of(10)
    assert read(entries, prevs_of(entries))
    careful = EntryFormat(ORIGIN, frozenset({NOTICE}))
    assert [careful.problems(entry, index) for index, entry in enumerate(entries)] == [[]] * 10


def test_no_byte_of_an_entry_can_change_unseen() -> None:
    """What the quick reading lets pass by itself (another hash in a commitment), the next entry's prev does not."""
    entries = entries_of(6)
    for index in range(5):
        for at in range(len(entries[index])):
            changed = [*entries]
            changed[index] = flipped(entries[index], at, at % 8)
            assert not read(changed, prevs_of(changed)), (index, at)


def test_the_quick_reading_accepts_what_the_careful_one_has_nothing_against() -> None:
    """On the last entry, which no prev protects: every single bit."""
    entries = entries_of(6)
    accepted = 0
    for at in range(len(entries[5])):
        for bit in range(8):
            changed = [*entries[:5], flipped(entries[5], at, bit)]
            careful = EntryFormat(ORIGIN, frozenset({NOTICE}))
            problems = [careful.problems(entry, index) for index, entry in enumerate(changed)]
            well = problems == [[]] * 6 and prev_of(changed[5]) == leaf_hash(entries[4])
            assert read(changed, prevs_of(changed)) == well, (at, bit)
            accepted += well
    assert accepted > 100, "nothing was ever accepted"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b'"log":"log.', b'"log":"lug.', "another log"),
        (b'"index":3', b'"index":4', "another index"),
        (b'"index":3', b'"index":03', "not canonical"),
        (b'"class":"consent"', b'"class":"content"', "class"),
        (b'"v":1}', b'"v":2}', "version 1"),
        (b'"v":1}', b'"v":1,"x":1}', "version 1"),
        (b'"v":1}', b'"v":1} ', "not a canonical"),
        (b":00Z", b":30Z", "whole minute"),
        (b"2026-11-01T", b"2026-11-31T", "whole minute"),
        (b"2026-11-01T", b"2025-11-01T", "before that of the entry before it"),
        (b'"notice":"ab', b'"notice":"ac', "neither published nor matched"),
        (b'"prev":"', b'"prev":"Z', "prev is not"),
        (b'"commitment":"cd', b'"commitment":"CD', "commitment"),
        (b'"ref":"0', b'"ref":"g', "ref is not"),
        (b'"index"', b'"erased":{"who":1},"index"', "erased"),
        (b'"index"', b'"follows":{},"index"', "follow"),
        (b'"ref":"', b'"ref":"' + b"0" * 65_536, "longer"),
    ],
)
def test_the_careful_reading_says_what_the_quick_one_refuses(old: bytes, new: bytes, problem: str) -> None:
    entries = entries_of(6)
    assert old in entries[3]
    entries[3] = entries[3].replace(old, new, 1)
    assert not read(entries, prevs_of(entries))
    careful = EntryFormat(ORIGIN, frozenset({NOTICE}))
    problems = [careful.problems(entry, index) for index, entry in enumerate(entries)]
    assert any(problem in what for what in problems[3]), problems[3]
    assert problems[0] == problems[1] == problems[2] == []


def test_two_entries_in_one_row_are_not_two_entries() -> None:
    entries = entries_of(6)
    assert not read([entries[0] + b"\n" + entries[1], b"not an entry", *entries[2:]], prevs_of(entries))


def test_a_damaged_entry_still_says_what_it_follows() -> None:
    entries = entries_of(2)
    assert prev_of(entries[1].replace(b'"class"', b'"klass"')) == leaf_hash(entries[0])
    assert prev_of(b"{}") is None
    assert prev_of(None) is None
