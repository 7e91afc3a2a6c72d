"""C2SP tlog-tiles: tile paths, hash tiles, entry bundles, and proofs computed from them.

A hash tile of level L holds up to 256 hashes of perfect subtrees of 256**L leaves, 32 bytes each, concatenated; an
entry bundle holds the leaves themselves, each behind a two-byte length. Only the last tile of a level is partial.
Invariant: parsing is strict, one path for each tile and exactly as many hashes or entries as the path says.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from schemas.errors import ProofError
from schemas.merkle import HASH_BYTES, Node, root_of, subtree_root

TILE_WIDTH: Final = 256
TILE_LEVELS: Final = 8  # a tile is a perfect subtree of 2**8 hashes
TILE_LEVEL_MAX: Final = 63
ENTRY_BYTES_MAX: Final = 0xFFFF  # the length prefix of an entry is a uint16
ENTRIES: Final = "entries"

# Sizes stay below 2**63 (signed 64-bit in several clients), so no tile number reaches 2**55.
_TILE_NUMBER_END: Final = 1 << 55
# ASCII digits only: Python's \d and int() would also take other scripts, signs and underscores.
_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<groups>(?:x[0-9]{3}/){0,5})(?P<last>[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)

# (level, n, width) -> the bytes of that hash tile, width * 32 of them.
ReadTile = Callable[[int, int, int], bytes]


@dataclass(frozen=True, slots=True)
class Tile:
    """One resource of tlog-tiles.

    level: 0..63 for a hash tile, or "entries" for an entry bundle.
    n: number of the tile within its level, from 0.
    width: how many hashes or entries it holds, 1..256; 256 is a full tile.
    """

    level: int | Literal["entries"]
    n: int
    width: int = TILE_WIDTH

    def path(self) -> str:
        """The path below the log's prefix, such as `tile/0/x001/x234/067` or `tile/entries/000.p/3`."""
        group = f"{self.n % 1000:03d}"
        rest = self.n // 1000
        while rest:
            group = f"x{rest % 1000:03d}/{group}"
            rest //= 1000
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{self.level}/{group}{partial}"


def parse_tile_path(path: str) -> Tile:
    """Read a path below the log's prefix; the inverse of `Tile.path`.

    Raises ProofError for anything that `Tile.path` would not have printed.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise ProofError("not a tile path: ask for tile/<level>/<n>[.p/<width>] with n in groups of three digits")
    level = match["level"]
    n = int((match["groups"] + match["last"]).replace("x", "").replace("/", ""))
    width = TILE_WIDTH if match["width"] is None else int(match["width"])
    tile = Tile(ENTRIES if level == ENTRIES else int(level), n, width)
    # One comparison rejects what the pattern lets through: needless groups of zeros and a partial tile of width 256.
    if tile.path() != path or tile.width > TILE_WIDTH:
        raise ProofError("not a canonical tile path: no leading zero groups, and .p/ only with a width of 1 to 255")
    if n >= _TILE_NUMBER_END or (isinstance(tile.level, int) and tile.level > TILE_LEVEL_MAX):
        raise ProofError("no tree can hold this tile: levels end at 63 and tile numbers at 2^55 - 1")
    return tile


def tile_width(level: int, n: int, size: int) -> int:
    """How many hashes tile (level, n) has in a log of `size` leaves, 0..256; 0 means there is no such tile."""
    return min(TILE_WIDTH, max(0, (size >> (TILE_LEVELS * level)) - n * TILE_WIDTH))


def tiles_for_size(size: int) -> Iterator[Tile]:
    """Every hash tile that a log of `size` leaves serves, by level and number; level 0 also names the entry bundles."""
    level = 0
    while (hashes := size >> (TILE_LEVELS * level)) > 0:
        full, partial = divmod(hashes, TILE_WIDTH)
        for n in range(full):
            yield Tile(level, n)
        if partial:
            yield Tile(level, full, partial)
        level += 1


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: uint16 big-endian length and bytes of each entry.

    Raises ProofError unless there are 1..256 entries of at most 65,535 bytes each.
    """
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise ProofError(f"an entry bundle holds 1 to {TILE_WIDTH} entries: cut the entries at multiples of it")
    if any(len(entry) > ENTRY_BYTES_MAX for entry in entries):
        raise ProofError(f"an entry is longer than {ENTRY_BYTES_MAX} bytes and cannot stand in a bundle")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The `width` entries of an entry bundle.

    Raises ProofError when there are fewer, or anything follows them: an auditor that stops reading after the entries it
    expects would miss an entry appended to a partial bundle.
    """
    entries = []
    offset = 0
    for _ in range(width):
        start = offset + 2
        end = start + int.from_bytes(data[offset:start], "big")
        if len(data) < end:
            raise ProofError("the entry bundle ends inside an entry: fetch it again or report the log")
        entries.append(data[start:end])
        offset = end
    if offset != len(data):
        raise ProofError("bytes follow the last entry of the bundle: fetch it again or report the log")
    return entries


def node_from_tiles(level: int, n: int, size: int, read_tile: ReadTile) -> bytes:
    """Hash of the perfect subtree (level, n) of a log of `size` leaves, from the one tile that holds it.

    The tile is asked for at the width it has in this log. Raises ProofError when the subtree is not in the log or
    the tile has another length than its width says.
    """
    if level < 0 or n < 0 or (n + 1) << level > size:
        raise ProofError("the subtree is not inside the tree: use a checkpoint that covers it")
    tile_level, depth = divmod(level, TILE_LEVELS)
    tile_n, first = divmod(n << depth, TILE_WIDTH)
    width = tile_width(tile_level, tile_n, size)
    tile = read_tile(tile_level, tile_n, width)
    if len(tile) != width * HASH_BYTES:
        raise ProofError("a hash tile has the wrong length for its width: fetch it again or report the log")
    row = tile[first * HASH_BYTES : (first + (1 << depth)) * HASH_BYTES]
    return root_of([row[at : at + HASH_BYTES] for at in range(0, len(row), HASH_BYTES)])


def tile_nodes(size: int, read_tile: ReadTile) -> Node:
    """A `node` function for schemas.merkle over the tiles of one log of `size` leaves.

    Reads each tile once and keeps it as long as the function lives, so make one for each proof: an inclusion proof in
    10 million leaves reads at most 5 tiles, the three above the leaf and the ragged ends of the two lower levels.
    """
    kept: dict[tuple[int, int, int], bytes] = {}

    def read_once(level: int, n: int, width: int) -> bytes:
        key = (level, n, width)
        if key not in kept:
            kept[key] = read_tile(level, n, width)
        return kept[key]

    def node(level: int, n: int) -> bytes:
        return node_from_tiles(level, n, size, read_once)

    return node


def root_from_tiles(size: int, read_tile: ReadTile) -> bytes:
    """Root of the log of `size` leaves, reading only the last tile of each level; EMPTY_ROOT for size 0.

    Raises ProofError when a tile has the wrong length.
    """
    return subtree_root(0, size, tile_nodes(size, read_tile))
