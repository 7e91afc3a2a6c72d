"""The right edge of one log's Merkle tree: append leaves, list the tiles that change, give the root. Pure.

Invariant: what is here can be rebuilt from the stored tiles alone; it never holds a leaf that tiles will not get.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.errors import LedgerHalted
from schemas.merkle import EMPTY_ROOT, HASH_BYTES, root_of

TILE_WIDTH: Final = 256


def edge_tiles(size: int) -> list[tuple[int, int, int]]:
    """(level, tile, width) of the partial tile on every level of a tree of `size` leaves."""
    tiles = []
    level = 0
    while size >> (8 * level):
        hashes = size >> (8 * level)
        if hashes % TILE_WIDTH:
            tiles.append((level, hashes // TILE_WIDTH, hashes % TILE_WIDTH))
        level += 1
    return tiles


@dataclass(frozen=True, slots=True)
class Appended:
    """The outcome of an append: the new edge, its root, and every tile that changed, with its whole content."""

    edge: "TreeEdge"
    root: bytes
    tiles: dict[tuple[int, int], bytes]


@dataclass(frozen=True, slots=True)
class TreeEdge:
    """`size` and, for each level from 0, the hashes of the tile that is being filled (0 to 255 of them)."""

    size: int
    partial: tuple[tuple[bytes, ...], ...]

    @classmethod
    def empty(cls) -> "TreeEdge":
        """The edge of a tree without leaves."""
        return cls(0, ())

    @classmethod
    def from_tiles(cls, size: int, tiles: Mapping[tuple[int, int], bytes]) -> "TreeEdge":
        """Load the edge at `size` from stored tiles (level, tile) -> content, which may be wider by now.

        Raises LedgerHalted if a tile is missing or too short.
        """
        partial: dict[int, tuple[bytes, ...]] = {}
        for level, tile, width in edge_tiles(size):
            content = tiles.get((level, tile), b"")
            if len(content) < width * HASH_BYTES:
                raise LedgerHalted(f"tile {level}/{tile} lacks hashes that size {size} must have: run sayso fsck")
            partial[level] = tuple(content[at : at + HASH_BYTES] for at in range(0, width * HASH_BYTES, HASH_BYTES))
        levels = max(partial, default=-1) + 1
        return cls(size, tuple(partial.get(level, ()) for level in range(levels)))

    def root(self) -> bytes:
        """MTH over the whole tree (RFC 6962 section 2.1): each level's hashes, then what lies to their right."""
        right: bytes | None = None
        for hashes in self.partial:
            items = (*hashes, right) if right is not None else hashes
            if items:
                right = root_of(items)
        return EMPTY_ROOT if right is None else right

    def append(self, leaves: Sequence[bytes]) -> Appended:
        """Add leaf hashes.

        1. Put the hashes behind the level's partial tile; 2. cut full tiles off, each of which gives one hash to the
        level above; 3. what is left is the new partial tile; 4. go up until a level gets nothing new.
        """
        partial = list(self.partial)
        tiles: dict[tuple[int, int], bytes] = {}
        rising: Sequence[bytes] = leaves
        level = 0
        while rising:
            if level == len(partial):
                partial.append(())
            hashes = (*partial[level], *rising)
            first = (self.size >> (8 * level)) // TILE_WIDTH
            full = len(hashes) // TILE_WIDTH
            above = []
            for number in range(full):
                tile = hashes[number * TILE_WIDTH : (number + 1) * TILE_WIDTH]
                tiles[level, first + number] = b"".join(tile)
                above.append(root_of(tile))
            rest = hashes[full * TILE_WIDTH :]
            if rest:
                tiles[level, first + full] = b"".join(rest)
            partial[level] = rest
            rising = above
            level += 1
        while partial and not partial[-1]:
            partial.pop()
        edge = TreeEdge(self.size + len(leaves), tuple(partial))
        return Appended(edge, edge.root(), tiles)
