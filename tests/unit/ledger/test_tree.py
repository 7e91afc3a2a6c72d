"""The tree edge against the whole tree: any split of any leaves gives the same root and the tiles C2SP asks for."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import LedgerHalted
from services.ledger.tree import TreeEdge, edge_tiles
from tests.support import oracle

pytestmark = pytest.mark.unit


def leaves_of(count: int) -> list[bytes]:
    return [hashlib.sha256(b"\x00%d" % n).digest() for n in range(count)]


LEAVES = leaves_of(70_000)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=6))
def test_any_split_gives_the_root_and_tiles_of_the_whole(cuts: list[int]) -> None:
    edge, tiles, done = TreeEdge.empty(), {}, 0
    for count in cuts:
        appended = edge.append(LEAVES[done : done + count])
        done += count
        tiles.update(appended.tiles)
        edge = appended.edge
        assert appended.root == oracle.mth(LEAVES[:done])
    for (level, tile), content in tiles.items():
        span = 256**level
        first, width = tile * 256, len(content) // 32
        hashes = [oracle.mth(LEAVES[(first + n) * span : (first + n + 1) * span]) for n in range(width)]
        assert content == b"".join(hashes)
    assert TreeEdge.from_tiles(done, tiles) == edge


def test_seventy_thousand_leaves_make_three_levels() -> None:
    appended = TreeEdge.empty().append(LEAVES)
    assert appended.root == oracle.mth(LEAVES)
    assert edge_tiles(70_000) == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert len(appended.tiles) == 274 + 2 + 1


def test_an_edge_at_an_earlier_size_is_found_in_wider_tiles() -> None:
    tiles = TreeEdge.empty().append(LEAVES[:1000]).tiles
    for size in (1, 255, 256, 257, 511, 999):
        assert TreeEdge.from_tiles(size, tiles).root() == oracle.mth(LEAVES[:size])


def test_a_missing_or_short_tile_halts() -> None:
    tiles = TreeEdge.empty().append(LEAVES[:300]).tiles
    with pytest.raises(LedgerHalted, match="tile 0/1"):
        TreeEdge.from_tiles(300, {**tiles, (0, 1): tiles[0, 1][:-32]})
    with pytest.raises(LedgerHalted, match="tile 1/0"):
        TreeEdge.from_tiles(300, {(0, 1): tiles[0, 1]})
