"""The Merkle tree again, from leaves alone and independently of the recorder: tiles above level 0, roots at any size.

Pure. Every node of the tree is hashed exactly once (RFC 6962 section 2.1), in chunks whose rows of perfect subtrees
give the root at each size inside them at the price of one hash per 1-bit.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from schemas.merkle import EMPTY_ROOT, HASH_BYTES, node_hash
from schemas.tiles import TILE_LEVELS, TILE_WIDTH

# Leaves a chunk: eight tiles.
CHUNK_HEIGHT: Final = 11
CHUNK: Final = 1 << CHUNK_HEIGHT


class Growth:
    """A tree that grows by whole chunks; only its last chunk may be shorter."""

    def __init__(self) -> None:
        """The empty tree."""
        # Before the last chunk: its size, and (height, hash) of its perfect subtrees, the largest first.
        self._before = 0
        self._peaks: list[tuple[int, bytes]] = []
        # Of the last chunk: row h holds the hashes of its perfect subtrees of 2**h leaves.
        self._rows: list[list[bytes]] = [[]]
        # The perfect subtrees once the last chunk, a full one, is among them.
        self._peaks_after: list[tuple[int, bytes]] = []
        # Hashes of the tile being filled on each level from 1 up, and how many tiles went before it.
        self._tile: dict[int, list[bytes]] = {}
        self._full: dict[int, int] = {}

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._before + len(self._rows[0])

    def as_json(self) -> dict[str, Any]:
        """What `from_json` goes on from; only after whole chunks."""
        return {
            "size": self.size,
            "peaks": [[height, root.hex()] for height, root in self._peaks_after],
            "tiles": [
                [level, self._full.get(level, 0), b"".join(tile).hex()] for level, tile in sorted(self._tile.items())
            ],
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Growth":
        """The tree that `as_json` described."""
        growth = cls()
        growth._before = kept["size"]
        growth._peaks_after = growth._peaks = [(height, bytes.fromhex(root)) for height, root in kept["peaks"]]
        for level, number, tile in kept["tiles"]:
            hashes = bytes.fromhex(tile)
            growth._full[level] = number
            growth._tile[level] = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        return growth

    def add(self, leaves: Sequence[bytes]) -> list[tuple[int, int, bytes]]:
        """Add the next chunk of 1 to CHUNK leaf hashes; return (level, tile, content) of the tiles it filled."""
        self._before += len(self._rows[0])
        self._peaks = self._peaks_after
        row = list(leaves)
        self._rows = [row]
        while len(row) > 1:
            # An odd last hash has no perfect parent yet and stays out of the row above.
            row = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)]
            self._rows.append(row)
        filled = []
        if len(self._rows) > TILE_LEVELS:
            filled += self._raise_level(1, self._rows[TILE_LEVELS])
        if len(leaves) == CHUNK:
            filled += self._merge()
        return filled

    def _merge(self) -> list[tuple[int, int, bytes]]:
        """Put the full chunk among the perfect subtrees: equal heights pair up like a carry in a binary counter.

        A subtree of 256**level leaves that appears on the way is a hash of that level.
        """
        filled = []
        height, root = CHUNK_HEIGHT, self._rows[CHUNK_HEIGHT][0]
        peaks = list(self._peaks)
        while peaks and peaks[-1][0] == height:
            root = node_hash(peaks.pop()[1], root)
            height += 1
            if height % TILE_LEVELS == 0:
                filled += self._raise_level(height // TILE_LEVELS, [root])
        self._peaks_after = [*peaks, (height, root)]
        return filled

    def _raise_level(self, level: int, hashes: Sequence[bytes]) -> list[tuple[int, int, bytes]]:
        tile = self._tile.setdefault(level, [])
        tile += hashes
        if len(tile) < TILE_WIDTH:
            return []
        # Eight hashes of level 1, or one of a higher level, come at a time: a tile fills exactly.
        number = self._full.get(level, 0)
        self._full[level] = number + 1
        self._tile[level] = []
        return [(level, number, b"".join(tile))]

    def unfinished(self) -> list[tuple[int, int, bytes]]:
        """(level, tile, content) of the partial tiles above level 0."""
        return [(level, self._full.get(level, 0), b"".join(tile)) for level, tile in self._tile.items() if tile]

    def root_at(self, size: int) -> bytes:
        """The root over the first `size` leaves, for a size inside the last chunk or at its beginning or end."""
        within = size - self._before
        peaks = [root for _, root in self._peaks]
        peaks += [
            self._rows[height][(within >> height) - 1]
            for height in range(within.bit_length() - 1, -1, -1)
            if within >> height & 1
        ]
        if not peaks:
            return EMPTY_ROOT
        root = peaks.pop()
        while peaks:
            root = node_hash(peaks.pop(), root)
        return root


def hash_at(tile: bytes | None, offset: int) -> bytes | None:
    """The hash at `offset` of a stored tile, None if the tile or the hash is missing."""
    found = b"" if tile is None else tile[offset * HASH_BYTES : (offset + 1) * HASH_BYTES]
    return found if len(found) == HASH_BYTES else None
