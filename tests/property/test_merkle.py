"""The fast Merkle code against the slow reference on random trees; nothing that the reference refuses passes."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ProofError, SaysoError
from schemas.merkle import (
    consistency_path,
    inclusion_path,
    leaf_hash,
    root_of,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)
from schemas.note import parse_verifier_key
from schemas.proof import parse_tlog_proof, verify_tlog_proof
from schemas.tiles import decode_bundle, encode_bundle, parse_tile_path, root_from_tiles, tile_nodes, tiles_for_size
from schemas.vectors.texts import LOG, LOG_SEED
from tests.support import oracle

pytestmark = pytest.mark.property

SIZE_MAX = 1100  # four full level-0 tiles and a ragged one, and a level-1 tile
ENTRIES = [b"entry %d" % i for i in range(SIZE_MAX)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
VKEY = oracle.vkey(LOG, 1, oracle.public_key(LOG_SEED))

sizes = st.integers(1, SIZE_MAX) | st.sampled_from([1, 2, 3, 255, 256, 257, 511, 512, 513, 1024, 1025])


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    """(index, size) with index < size, often at an edge."""
    size = draw(sizes)
    return draw(st.integers(0, size - 1) | st.just(size - 1)), size


@st.composite
def growths(draw: st.DrawFn) -> tuple[int, int]:
    """(old, new) with old <= new."""
    new = draw(sizes)
    return draw(st.integers(0, new)), new


def read_tile_of(size: int) -> Callable[[int, int, int], bytes]:
    """Tiles by definition; refuses a tile or width that a log of this size does not have."""
    served = {(tile.level, tile.n, tile.width) for tile in tiles_for_size(size)}

    def read(level: int, n: int, width: int) -> bytes:
        assert (level, n, width) in served
        span = 256**level
        first = n * 256
        return b"".join(oracle.mth(LEAVES[i * span : (i + 1) * span]) for i in range(first, first + width))

    return read


def accepts(verify: Callable[..., None], *claim: object) -> bool:
    try:
        verify(*claim)
    except ProofError:
        return False
    return True


def flipped(value: bytes, bit: int) -> bytes:
    return (int.from_bytes(value, "big") ^ (1 << bit)).to_bytes(len(value), "big")


@given(sizes)
def test_roots(size: int) -> None:
    expected = oracle.mth(LEAVES[:size])
    assert root_of(LEAVES[:size]) == expected
    assert root_from_tiles(size, read_tile_of(size)) == expected


@given(places(), st.integers(0, 255))
def test_inclusion(place: tuple[int, int], bit: int) -> None:
    index, size = place
    root, path = oracle.mth(LEAVES[:size]), oracle.path(index, LEAVES[:size])
    assert inclusion_path(index, size, tile_nodes(size, read_tile_of(size))) == path
    verify_inclusion(LEAVES[index], index, size, path, root)
    # Any bit of the leaf, the root or a hash of the path.
    hashes = [LEAVES[index], root, *path]
    for at, value in enumerate(hashes):
        changed = [*hashes[:at], flipped(value, bit), *hashes[at + 1 :]]
        assert not accepts(verify_inclusion, changed[0], index, size, changed[2:], changed[1])


@given(places(), places(), st.permutations(range(4)))
def test_inclusion_agrees_with_the_reference(
    place: tuple[int, int], claimed: tuple[int, int], order: Sequence[int]
) -> None:
    """Another index, another size, another order: whatever is claimed, both verifiers say the same."""
    index, size = place
    root, path = oracle.mth(LEAVES[:size]), oracle.path(index, LEAVES[:size])
    shuffled = [path[i] for i in order if i < len(path)] + path[4:]
    for at, within, hashes in (
        (claimed[0], size, path),
        (index, claimed[1], path),
        (*claimed, path),
        (size, size, path),
        (index, size, shuffled),
        (index, size, path[1:]),
        (index, size, [*path, root]),
    ):
        expected = oracle.inclusion_holds(LEAVES[index], at, within, hashes, root)
        assert accepts(verify_inclusion, LEAVES[index], at, within, hashes, root) == expected


@given(growths(), st.integers(0, 255))
def test_consistency(growth: tuple[int, int], bit: int) -> None:
    old, new = growth
    old_root, new_root, path = oracle.mth(LEAVES[:old]), oracle.mth(LEAVES[:new]), oracle.proof(old, LEAVES[:new])
    assert consistency_path(old, new, tile_nodes(new, read_tile_of(new))) == path
    verify_consistency(old, new, path, old_root, new_root)
    # From the empty tree any tree grows, so there the new root is not bound to anything.
    hashes = [old_root, *path, *([new_root] if old else [])]
    for at, value in enumerate(hashes):
        changed = [*hashes[:at], flipped(value, bit), *hashes[at + 1 :]]
        new_claimed = changed.pop() if old else new_root
        assert not accepts(verify_consistency, old, new, changed[1:], changed[0], new_claimed)


@given(growths(), growths())
def test_consistency_agrees_with_the_reference(growth: tuple[int, int], claimed: tuple[int, int]) -> None:
    old, new = growth
    old_root, new_root, path = oracle.mth(LEAVES[:old]), oracle.mth(LEAVES[:new]), oracle.proof(old, LEAVES[:new])
    for before, after, hashes in (
        (claimed[0], new, path),
        (old, claimed[1], path),
        (*claimed, path),
        (old, new, path[1:]),
        (old, new, path[::-1]),
        (old, new, [*path, new_root]),
    ):
        expected = oracle.consistency_holds(before, after, hashes, old_root, new_root)
        assert accepts(verify_consistency, before, after, hashes, old_root, new_root) == expected


@given(st.integers(0, 40), st.integers(1, 40))
def test_subtrees(place: int, width: int) -> None:
    """Any aligned range of leaves, ragged or not, out of perfect subtrees."""
    start = place << (width - 1).bit_length()
    if start + width > SIZE_MAX:
        return
    found = subtree_root(start, start + width, lambda level, n: oracle.mth(LEAVES[n << level : (n + 1) << level]))
    assert found == oracle.mth(LEAVES[start : start + width])


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


@given(places(), st.data())
def test_one_changed_byte_of_a_proof_file(place: tuple[int, int], data: st.DataObject) -> None:
    """Refused as a ProofError, whatever byte it is and whatever it becomes: `extra` is absent, so all is covered."""
    index, size = place
    text = oracle.checkpoint_text(LOG, size, oracle.mth(LEAVES[:size]))
    note = f"{text}\n{oracle.log_line(text, LOG, LOG_SEED)}"
    content = oracle.tlog_proof(index, oracle.path(index, LEAVES[:size]), note).encode()
    assert verify_tlog_proof(content, ENTRIES[index], LOG, VKEY).size == size
    at = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[at]))
    with pytest.raises(ProofError):
        verify_tlog_proof(content[:at] + bytes([byte]) + content[at + 1 :], ENTRIES[index], LOG, VKEY)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text(max_size=200), st.sampled_from(["", "c2sp.org/tlog-proof@v1\nindex 0\n"]))
def test_parsers_raise_nothing_but_their_own_errors(junk: str | bytes, before: str) -> None:
    content = before.encode() + junk if isinstance(junk, bytes) else before + junk
    as_text = junk.decode("latin-1") if isinstance(junk, bytes) else junk
    for parse in (
        lambda: verify_tlog_proof(content, b"", LOG, VKEY),
        lambda: parse_tlog_proof(content),
        lambda: parse_verifier_key(as_text),
        lambda: parse_tile_path("tile/0/" + as_text),
        lambda: decode_bundle(as_text.encode("utf-8", "surrogatepass"), 3),
    ):
        try:
            parse()
        except SaysoError:
            continue
