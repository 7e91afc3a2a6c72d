"""schemas.tiles: one path for each tile, exact widths, and how few tiles a proof reads."""

import hashlib
import json
from collections.abc import Callable

import pytest

from schemas.errors import ProofError
from schemas.merkle import EMPTY_ROOT, inclusion_path, leaf_hash, node_hash, root_of, subtree_root, verify_inclusion
from schemas.tiles import (
    ENTRIES,
    ENTRY_BYTES_MAX,
    ReadTile,
    Tile,
    decode_bundle,
    encode_bundle,
    node_from_tiles,
    parse_tile_path,
    root_from_tiles,
    tile_nodes,
    tile_width,
    tiles_for_size,
)
from schemas.vectors.generate import HERE as VECTORS

pytestmark = pytest.mark.unit

SIX_HUNDRED = [b'{"n":%d}' % i for i in range(600)]


def tile_content(entries: list[bytes], tile: Tile) -> bytes:
    """A tile straight from its definition; slow."""
    assert isinstance(tile.level, int)
    span = 256**tile.level
    hashes = [leaf_hash(entry) for entry in entries]
    first = tile.n * 256
    return b"".join(root_of(hashes[i * span : (i + 1) * span]) for i in range(first, first + tile.width))


def reader(entries: list[bytes]) -> ReadTile:
    return lambda level, n, width: tile_content(entries, Tile(level, n, width))


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 999), "tile/0/999"),
        (Tile(0, 1000), "tile/0/x001/000"),
        (Tile(3, 1234067), "tile/3/x001/x234/067"),
        (Tile(63, 0, 1), "tile/63/000.p/1"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Tile(1, 2, 255), "tile/1/002.p/255"),
        (Tile(ENTRIES, 0, 3), "tile/entries/000.p/3"),
        (Tile(ENTRIES, 39062, 128), "tile/entries/x039/062.p/128"),
        (Tile(0, 2**55 - 1), "tile/0/x036/x028/x797/x018/x963/967"),
    ],
)
def test_paths_print_and_parse(tile: Tile, path: str) -> None:
    assert tile.path() == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        *("", "tile", "tile/0", "tile/0/", "/tile/0/000", "tile/0/000/", "tile//000", "tile/0/000 ", " tile/0/000"),
        *("tile/00/000", "tile/01/000", "tile/64/000", "tile/-1/000", "tile/+1/000", "tile/100/000", "tile/data/000"),
        *("tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/1000", "tile/0/001/000", "tile/0/x000/000", "tile/0/x001"),
        *("tile/0/x001/x000", "tile/0/x000/x001/000", "tile/0/x1/000", "tile/0/X001/000", "tile/0/x001//000"),
        *("tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/257", "tile/0/000.p/999", "tile/0/000.p/1000"),
        *("tile/0/000.p/01", "tile/0/000.p/+1", "tile/0/000.p/-1", "tile/0/000.p/1_0", "tile/0/000.p/", "tile/0/000.p"),
        *("tile/0/000.P/1", "tile/0/000.p/1/", "tile/0/000.p/1.p/1", "tile/0/000.p/x001", "tile/0/x001.p/1/000"),
        *(
            "tile/\u0660/000",
            "tile/0/\u0660\u0660\u0660",
            "tile/0/000.p/\u0661",
            "tile/0/000.p/\uff11",
            "tile/0/000.p/\u00b2",
        ),
        *("tile/0/000\n", "tile/0/000\x00", "tile/0/../000", "tile/0/00%30", "tile/ENTRIES/000", "tile/entries/"),
        "tile/0/x036/x028/x797/x018/x963/968",  # 2**55
        "tile/0/" + "x999/" * 2000 + "999",
    ],
)
def test_parsing_is_strict(path: str) -> None:
    with pytest.raises(ProofError):
        parse_tile_path(path)


def test_tiles_of_a_size() -> None:
    assert list(tiles_for_size(0)) == []
    assert list(tiles_for_size(1)) == [Tile(0, 0, 1)]
    assert list(tiles_for_size(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    tiles = list(tiles_for_size(70_000))
    assert tiles == [
        *(Tile(0, n) for n in range(273)),
        Tile(0, 273, 112),
        Tile(1, 0),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]
    assert all(tile_width(tile.level, tile.n, 70_000) == tile.width for tile in tiles if isinstance(tile.level, int))
    assert tile_width(0, 274, 70_000) == tile_width(1, 2, 70_000) == tile_width(3, 0, 70_000) == 0


def test_the_six_hundred_entry_log() -> None:
    vector = json.loads((VECTORS / "tiles.json").read_bytes())
    made = {}
    for tile in tiles_for_size(600):
        made[tile.path()] = tile_content(SIX_HUNDRED, tile)
        if tile.level == 0:
            first = tile.n * 256
            bundle = encode_bundle(SIX_HUNDRED[first : first + tile.width])
            made[Tile(ENTRIES, tile.n, tile.width).path()] = bundle
            assert decode_bundle(bundle, tile.width) == SIX_HUNDRED[first : first + tile.width]
    assert {
        path: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for path, content in made.items()
    } == vector["six_hundred"]
    # Two of its digests as published, so that script and code cannot drift together.
    assert vector["six_hundred"]["tile/1/000.p/2"] == {
        "bytes": 64,
        "sha256": "526c46e7de3b93d1e3d4ce0d16daa403a8eccec772a60a433f95af2609f417f1",
    }
    assert vector["six_hundred"]["tile/entries/002.p/88"] == {
        "bytes": 968,
        "sha256": "7a6ac5f3ad6efbd8ff81a2ff5634b3b1a737a4fde3720902cea28cf02aaa10e5",
    }
    assert root_from_tiles(600, reader(SIX_HUNDRED)).hex() == vector["six_hundred_root"]
    assert vector["six_hundred_root"] == "38863ab47bc0c0baf073deb766d0a6fc2873e663e819858260632c00a8aac131"


def test_the_three_entry_log_and_seventy_thousand() -> None:
    vector = json.loads((VECTORS / "tiles.json").read_bytes())
    three = [b"a", b"b", b"c"]
    assert vector["three"] == {
        "tile/0/000.p/3": tile_content(three, Tile(0, 0, 3)).hex(),
        "tile/entries/000.p/3": encode_bundle(three).hex(),
    }
    assert encode_bundle(three).hex() == "000161000162000163"
    seventy_thousand = root_of([leaf_hash(b'{"n":%d}' % i) for i in range(70_000)]).hex()
    assert seventy_thousand == vector["seventy_thousand_root"]
    assert seventy_thousand == "060bfef3a2680a0345df6fd2c1c998b4f265d652926cc843a1174363051b1547"


def test_bundles_are_exact() -> None:
    longest = b"x" * ENTRY_BYTES_MAX
    bundle = encode_bundle([b"", longest, b"z"])
    assert decode_bundle(bundle, 3) == [b"", longest, b"z"]
    # Among them an entry appended to a partial bundle.
    for damaged, width in ((bundle, 2), (bundle + b"\0", 3), (bundle + b"\0\0", 3)):
        with pytest.raises(ProofError, match="follow the last entry"):
            decode_bundle(damaged, width)
    for damaged, width in ((bundle[:-1], 3), (bundle[:-2], 3), (bundle[:-3], 3), (bundle, 4), (b"\0", 1), (b"", 1)):
        with pytest.raises(ProofError, match="ends inside an entry"):
            decode_bundle(damaged, width)
    with pytest.raises(ProofError, match="longer than 65535 bytes"):
        encode_bundle([longest + b"x"])
    for count in (0, 257):
        with pytest.raises(ProofError, match="1 to 256 entries"):
            encode_bundle([b""] * count)


def test_nodes_come_from_the_right_tile_at_the_right_width() -> None:
    leaves = [leaf_hash(entry) for entry in SIX_HUNDRED]
    for level in range(10):
        for n in range(600 >> level):
            expected = root_of(leaves[n << level : (n + 1) << level])
            assert node_from_tiles(level, n, 600, reader_of_600) == expected
    for level, n in ((0, 600), (8, 2), (9, 1), (10, 0), (-1, 0), (0, -1)):
        with pytest.raises(ProofError, match="not inside the tree"):
            node_from_tiles(level, n, 600, reader_of_600)
    with pytest.raises(ProofError, match="wrong length"):
        node_from_tiles(0, 599, 600, lambda level, n, width: reader_of_600(level, n, width)[:-1])
    with pytest.raises(ProofError, match="wrong length"):
        node_from_tiles(0, 599, 600, lambda level, n, width: reader_of_600(level, n, width) + bytes(32))


STORED_600 = {(tile.level, tile.n, tile.width): tile_content(SIX_HUNDRED, tile) for tile in tiles_for_size(600)}


def reader_of_600(level: int, n: int, width: int) -> bytes:
    return STORED_600[level, n, width]


# Ten million leaves of which each run of 256 is the same: every tile can be told without storing any.
TEN_MILLION = 10_000_000
RUN = [leaf_hash(b"%d" % i) for i in range(256)]
ABOVE = [root_of(RUN)]
while len(ABOVE) < 17:
    ABOVE.append(node_hash(ABOVE[-1], ABOVE[-1]))


def counting_reader() -> tuple[ReadTile, list[tuple[int, int, int]]]:
    reads: list[tuple[int, int, int]] = []

    def read(level: int, n: int, width: int) -> bytes:
        reads.append((level, n, width))
        return b"".join(RUN[:width]) if level == 0 else ABOVE[8 * (level - 1)] * width

    return read, reads


def ten_million_node(level: int, n: int) -> bytes:
    within = (n << level) % 256
    return root_of(RUN[within : within + (1 << level)]) if level < 8 else ABOVE[level - 8]


@pytest.mark.parametrize("index", [0, 1, 255, 65_536, 4_999_999, 8_388_607, 8_388_608, 9_999_000, 9_999_999])
def test_a_proof_in_ten_million_reads_at_most_five_tiles(index: int) -> None:
    read, reads = counting_reader()
    path = inclusion_path(index, TEN_MILLION, tile_nodes(TEN_MILLION, read))
    root = subtree_root(0, TEN_MILLION, ten_million_node)
    verify_inclusion(RUN[index % 256], index, TEN_MILLION, path, root)
    assert len(reads) == len(set(reads)) <= 5
    # Three tiles above the leaf and the ragged last ones of the two lower levels, unless they are the same.
    assert len(reads) == {9_999_000: 4, 9_999_999: 3}.get(index, 5)


def test_the_root_reads_only_the_right_edge() -> None:
    read, reads = counting_reader()
    assert root_from_tiles(TEN_MILLION, read) == subtree_root(0, TEN_MILLION, ten_million_node)
    assert sorted(reads) == [(0, 39062, 128), (1, 152, 150), (2, 0, 152)]
    assert root_from_tiles(0, read) == EMPTY_ROOT


def test_a_node_function_reads_each_tile_once() -> None:
    read, reads = counting_reader()
    node: Callable[[int, int], bytes] = tile_nodes(TEN_MILLION, read)
    assert [node(0, n) for n in range(256)] == RUN
    assert reads == [(0, 0, 256)]
