"""A whole log from its files: what verifies, and every kind of damage that must not, by the name of the file."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.errors import ProofError
from schemas.merkle import root_of
from schemas.mirror import tile_reader, verify_mirror
from schemas.note import log_key, parse_verifier_key
from schemas.record import entry_bytes, read_entry
from schemas.tiles import Tile, tile_nodes
from tests.support import oracle
from tests.support.log_files import KEY, ORIGIN, VKEY, foreign_entries, own_entries, write_log

pytestmark = pytest.mark.unit

KNOWN = [parse_verifier_key(VKEY)]
Files = dict[str, bytes]


def files_of(directory: Path) -> Files:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def log_of(directory: Path, entries: list[bytes]) -> Files:
    return files_of(write_log(directory / str(len(entries)), entries))


def check(files: Files, *, foreign: bool = True, pinned: bool = False) -> Checkpoint:
    return verify_mirror(
        files.get, origin=ORIGIN, vkeys=KNOWN, foreign=foreign, pinned=pinned, files=[*files, "vkey", "keys.json"]
    )


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600])
def test_a_log_verifies(size: int, tmp_path: Path) -> None:
    assert check(log_of(tmp_path, foreign_entries(size))).size == size
    own = own_entries(size)
    assert check(log_of(tmp_path / "own", own), foreign=False).root == oracle.mth([oracle.leaf(e) for e in own])


def test_three_levels_of_tiles_verify(tmp_path: Path) -> None:
    """70,000 entries: the third level begins at 65,536."""
    files = log_of(tmp_path, foreign_entries(70_000))
    assert check(files).root.hex() == "060bfef3a2680a0345df6fd2c1c998b4f265d652926cc843a1174363051b1547"
    damaged = bytearray(files["tile/2/000.p/1"])
    damaged[5] ^= 4
    with pytest.raises(ProofError, match=r"^tile/2/000.p/1: "):
        check({**files, "tile/2/000.p/1": bytes(damaged)})


def test_single_bits_of_every_file_are_found_by_its_name(tmp_path: Path) -> None:
    """Here some of each file; `make test-exhaustive` flips them all."""
    files = log_of(tmp_path, foreign_entries(600))
    chosen = random.Random(600)
    for path, content in files.items():
        for bit in chosen.sample(range(8 * len(content)), 12):
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            # A changed bundle shows in the tile over it: bundles are what tiles are compared with.
            with pytest.raises(ProofError, match=r"^(tile/|checkpoint)"):
                check({**files, path: bytes(damaged)}, pinned=True)


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/000"])
def test_a_missing_file_is_named(path: str, tmp_path: Path) -> None:
    files = log_of(tmp_path, foreign_entries(600))
    del files[path]
    with pytest.raises(ProofError, match=rf"^{path}: the file is missing"):
        check(files)


Damage = Callable[[Files], None]


def _append(path: str, more: bytes) -> Damage:
    def change(files: Files) -> None:
        files[path] += more

    return change


def _swap(one: str, other: str) -> Damage:
    def change(files: Files) -> None:
        files[one], files[other] = files[other], files[one]

    return change


def _add(path: str, content: bytes) -> Damage:
    def change(files: Files) -> None:
        files[path] = content

    return change


def _cut(path: str, count: int) -> Damage:
    def change(files: Files) -> None:
        files[path] = files[path][:-count]

    return change


DAMAGES: dict[str, tuple[str, Damage]] = {
    "one more entry": ("tile/entries/002.p/88", _append("tile/entries/002.p/88", b'\x00\x09{"n":600}')),
    "one more byte after entries": ("tile/entries/002.p/88", _append("tile/entries/002.p/88", b"\x00")),
    "an empty entry": ("tile/entries/000", _append("tile/entries/000", b"\x00\x00")),
    "one more hash": ("tile/0/002.p/88", _append("tile/0/002.p/88", bytes(32))),
    "one more byte after hashes": ("tile/1/000.p/2", _append("tile/1/000.p/2", b"\x00")),
    "one entry less": ("tile/entries/002.p/88", _cut("tile/entries/002.p/88", 11)),
    "one hash less": ("tile/0/001", _cut("tile/0/001", 32)),
    "bundles swapped": ("tile/0/000", _swap("tile/entries/000", "tile/entries/001")),
    "tiles swapped": ("tile/0/000", _swap("tile/0/000", "tile/0/001")),
    "a file of somebody else": ("notes.txt", _add("notes.txt", b"")),
    "a path that is not canonical": ("tile/0/2", _add("tile/0/2", bytes(32))),
    "a narrow tile with other hashes": ("tile/0/001.p/3", _add("tile/0/001.p/3", bytes(96))),
    "a narrow bundle with another entry": ("tile/entries/001.p/1", _add("tile/entries/001.p/1", b"\x00\x02{}")),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_every_byte_is_accounted_for(name: str, tmp_path: Path) -> None:
    path, damage = DAMAGES[name]
    files = log_of(tmp_path, foreign_entries(600))
    damage(files)
    with pytest.raises(ProofError, match=rf"^{path}: "):
        check(files)


def test_partial_tiles_of_smaller_sizes_and_tiles_to_come_may_lie_there(tmp_path: Path) -> None:
    files = log_of(tmp_path, foreign_entries(600))
    smaller, larger = log_of(tmp_path, foreign_entries(300)), log_of(tmp_path, foreign_entries(800))
    assert check({**larger, **smaller, **files}).size == 600


def test_a_full_tile_stands_in_for_a_partial_one_that_was_deleted(tmp_path: Path) -> None:
    """A publish was stopped between the tiles and the checkpoint of size 800, and the old partial tiles are gone."""
    files, larger = log_of(tmp_path, foreign_entries(600)), log_of(tmp_path, foreign_entries(800))
    gone = {path for path in files if path.startswith(("tile/0/002.p", "tile/entries/002.p"))}
    both = {**larger, **{path: content for path, content in files.items() if path not in gone}}
    assert check(both).size == 600
    both["tile/entries/002"] += b"\x00"
    with pytest.raises(ProofError, match=r"^tile/entries/002: "):
        check(both)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"log": "example.com/other"}, "names another log"),
        ({"index": 6}, "names another index"),
        ({"prev": "0" * 64}, "chain is broken"),
        ({"recorded_at": "2026-11-01T09:01:00Z"}, "before the entry before it"),
        ({"recorded_at": "2026-11-01T09:03:07Z"}, "whole minute"),
    ],
)
def test_entries_that_are_signed_but_do_not_chain_are_refused(
    change: dict[str, object], what: str, tmp_path: Path
) -> None:
    """Whoever holds the log's key can sign any tree; the entries must still be a log of ours."""
    entries = own_entries(10)
    members = {**read_entry(entries[5]), **change}
    entries[5] = entry_bytes(
        entry_class=members.pop("class"),
        **{name: members[name] for name in members if name != "v"},
    )
    files = log_of(tmp_path, entries)
    assert check(files).size == 10
    with pytest.raises(ProofError, match=rf"^tile/entries/000.p/10: entry 5 .*{what}"):
        check(files, foreign=False)


def test_foreign_entries_are_not_records(tmp_path: Path) -> None:
    with pytest.raises(ProofError, match=r"^tile/entries/000.p/1: the entry"):
        check(log_of(tmp_path, foreign_entries(1)), foreign=False)


def test_a_root_that_was_signed_over_other_entries(tmp_path: Path) -> None:
    files = log_of(tmp_path, foreign_entries(3))
    files["checkpoint"] = signed_checkpoint(Checkpoint(ORIGIN, 3, bytes(32)), KEY).encode()
    with pytest.raises(ProofError, match=r"^checkpoint: the root is not that of the entries"):
        check(files)


def test_a_pinned_checkpoint_holds_no_line_of_anybody_else(tmp_path: Path) -> None:
    files = log_of(tmp_path, foreign_entries(3))
    files["checkpoint"] += (
        signed_checkpoint(Checkpoint("example.com/x", 0, oracle.EMPTY), KEY).split("\n\n")[1].encode()
    )
    assert check(files).size == 3
    with pytest.raises(ProofError, match=r"^checkpoint: a line is signed by a key that is not pinned"):
        check(files, pinned=True)


def test_another_key_or_origin(tmp_path: Path) -> None:
    files = log_of(tmp_path, foreign_entries(3))
    other = log_key("example.com/other", KEY)
    for origin, key in (("example.com/other", KNOWN[0]), ("example.com/other", other), (ORIGIN, other)):
        with pytest.raises(ProofError, match=r"^checkpoint: "):
            verify_mirror(files.get, origin=origin, vkeys=[key], foreign=True)


@pytest.mark.parametrize("kept", ["narrow", "full", "of the checkpoint"])
def test_hash_tiles_fall_back(kept: str, tmp_path: Path) -> None:
    """A node of the tree of size 300, from files of that size, with the full tile only, or of size 400 only."""
    size = {"narrow": 300, "full": 600, "of the checkpoint": 400}[kept]
    files = log_of(tmp_path, foreign_entries(size))
    leaves = [oracle.leaf(entry) for entry in foreign_entries(300)]
    node = tile_nodes(300, tile_reader(files.get))
    assert node(3, 32) == root_of(leaves[256:264])
    assert node(8, 0) == root_of(leaves[:256])


@pytest.mark.parametrize("note", [None, b"", b"example.com/consent-log\nx\n\n", b"\xff\n\n"])
def test_without_a_file_to_fall_back_on_the_wanted_one_is_named(note: bytes | None) -> None:
    files: Files = {} if note is None else {"checkpoint": note}
    with pytest.raises(ProofError, match=rf"^{Tile(0, 1, 44).path()}: the file is missing"):
        tile_reader(files.get)(0, 1, 44)
