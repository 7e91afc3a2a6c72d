"""RFC 6962 / RFC 9162 Merkle tree arithmetic over SHA-256: hashes, inclusion and consistency proofs.

Pure functions. A tree is known by its size and by `node(level, n)`, the hash of the perfect subtree
MTH(D[n * 2**level : (n + 1) * 2**level]), so the same code runs over a list, a database or tiles.
Invariant: no verifier accepts an index at or past the size, or a path of any but the one right length.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

from schemas.errors import ProofError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

# (level, n) -> the 32-byte hash of the perfect subtree of 2**level leaves that begins at leaf n * 2**level.
Node = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one leaf, SHA-256(0x00 || entry): 32 bytes (RFC 6962 section 2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node, SHA-256(0x01 || left || right): 32 bytes (RFC 6962 section 2.1).

    Takes the children on trust, 32 bytes each: it runs once per node of every batch.
    """
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Root over hashes of equally large perfect subtrees, leaf hashes included: MTH of RFC 6962 section 2.1.

    Pairs neighbours level by level and lets an odd last one rise unpaired. That is the same tree as the RFC's split at
    the largest power of two below n: a left part of 2**k hashes pairs up exactly and only the right part is ragged.
    """
    if not hashes:
        return EMPTY_ROOT
    row = hashes
    while len(row) > 1:
        paired = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)]
        if len(row) % 2:
            paired.append(row[-1])
        row = paired
    return row[0]


def subtree_root(start: int, end: int, node: Node) -> bytes:
    """MTH(D[start:end]) from perfect subtrees: the fewest nodes, one per 1-bit of `end - start`.

    `start` must be a multiple of the smallest power of two that is at least `end - start`, as every subtree of a
    tree is (RFC 9162 section 2.1.1). `start == end` gives the root of the empty tree.
    """
    if start == end:
        return EMPTY_ROOT
    peaks = []
    while start < end:
        level = (end - start).bit_length() - 1
        peaks.append(node(level, start >> level))
        start += 1 << level
    root = peaks.pop()
    while peaks:
        root = node_hash(peaks.pop(), root)
    return root


def inclusion_path(index: int, size: int, node: Node) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962 section 2.1.1, the leaf's sibling first.

    Raises ProofError unless 0 <= index < size.
    """
    _require_index(index, size)
    # Below `inner` the leaf and the last leaf lie in different subtrees, so each sibling is perfect; at the top of
    # `inner` the sibling holds the last leaf and may be ragged; above it only left siblings, perfect again, occur.
    inner = (index ^ (size - 1)).bit_length()
    path = [node(level, (index >> level) ^ 1) for level in range(inner - 1)]
    if inner:
        first = ((index >> (inner - 1)) ^ 1) << (inner - 1)
        path.append(subtree_root(first, size, node))
    path.extend(node(level, (index >> level) - 1) for level in range(inner, size.bit_length()) if (index >> level) & 1)
    return path


def consistency_path(old_size: int, new_size: int, node: Node) -> list[bytes]:
    """PROOF(old_size, D[new_size]) of RFC 6962 section 2.1.2; empty when old_size is 0 or equals new_size.

    Raises ProofError unless 0 <= old_size <= new_size.
    """
    _require_growth(old_size, new_size)
    if old_size in (0, new_size):
        return []
    # SUBPROOF walked from the root down; `start` leaves 0 once the old tree's own root is no longer a node on the way,
    # which is when the verifier needs that node's hash as well (the `b` flag of the RFC).
    start, end = 0, new_size
    path = []
    while end != old_size:
        split = start + (1 << ((end - start - 1).bit_length() - 1))
        if old_size <= split:
            path.append(subtree_root(split, end, node))
            end = split
        else:
            path.append(subtree_root(start, split, node))
            start = split
    if start:
        path.append(subtree_root(start, end, node))
    path.reverse()
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` (a leaf hash) stands at `index` in the tree of `size` leaves with `root`.

    RFC 9162 section 2.1.3.2. A path alone does not bind the size: take size and root from one signed checkpoint.
    Raises ProofError that says what does not fit.
    """
    # 1. The index lies in the tree and everything that is hashed is a hash.
    _require_index(index, size)
    _require_hashes("the leaf hash", [leaf])
    _require_hashes("a hash of the inclusion path", path)
    _require_hashes("the root", [root])
    # 2. The shape of the tree fixes the length of the path: `inner` hashes on either side, then left siblings only.
    inner = (index ^ (size - 1)).bit_length()
    expected = inner + (index >> inner).bit_count()
    if len(path) != expected:
        raise ProofError(
            f"the inclusion path has {len(path)} hashes where this place in the tree needs {expected}: "
            "fetch the proof again for the size of this checkpoint"
        )
    # 3. Hash upward; the bits of the index tell the sides.
    computed = leaf
    for level, sibling in enumerate(path):
        if level < inner and not (index >> level) & 1:
            computed = node_hash(computed, sibling)
        else:
            computed = node_hash(sibling, computed)
    # 4. The result is the signed root.
    if computed != root:
        raise ProofError(
            "the inclusion path does not lead to the root of the checkpoint: the entry, its index or a hash differs "
            "from what was logged"
        )


def verify_consistency(old_size: int, new_size: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the tree (new_size, new_root) begins with the tree (old_size, old_root).

    RFC 9162 section 2.1.4.2. As in the witness protocol, old_size 0 and old_size == new_size take an empty path.
    Raises ProofError that says what does not fit.
    """
    # 1. Sizes grow, hashes are hashes, and the empty tree has its own root.
    _require_growth(old_size, new_size)
    _require_hashes("a root", [old_root, new_root])
    _require_hashes("a hash of the consistency path", path)
    if (old_size == 0 and old_root != EMPTY_ROOT) or (new_size == 0 and new_root != EMPTY_ROOT):
        raise ProofError("a tree of size 0 does not have the root of the empty tree: the checkpoint is wrong")
    # 2. The two cases without a path.
    if old_size in (0, new_size):
        if path:
            raise ProofError("the consistency path must be empty when the old size is 0 or both sizes are equal")
        if old_size == new_size and old_root != new_root:
            raise ProofError("two different roots for one size: the log has forked; keep both checkpoints as evidence")
        return
    if not path:
        raise ProofError("the consistency path is empty although the tree grew: fetch the proof again")
    # 3. Walk up from the last leaf of the old tree; a perfect old tree is its own first node.
    if old_size.bit_count() == 1:
        path = [old_root, *path]
    old_place, last = old_size - 1, new_size - 1
    while old_place & 1:
        old_place, last = old_place >> 1, last >> 1
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("the consistency path is too long for these sizes: fetch the proof again")
        if old_place & 1 or old_place == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            while old_place and not old_place & 1:
                old_place, last = old_place >> 1, last >> 1
        else:
            new_computed = node_hash(new_computed, sibling)
        old_place, last = old_place >> 1, last >> 1
    # 4. The path is used up exactly at the top, and both roots come out.
    if last != 0:
        raise ProofError("the consistency path is too short for these sizes: fetch the proof again")
    if old_computed != old_root:
        raise ProofError("the consistency path does not lead to the old root: the log does not contain the old tree")
    if new_computed != new_root:
        raise ProofError("the consistency path does not lead to the new root: a hash or the new checkpoint is wrong")


def _require_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ProofError("the index is not inside the tree: use a checkpoint whose size is above the index")


def _require_growth(old_size: int, new_size: int) -> None:
    if not 0 <= old_size <= new_size:
        raise ProofError("the old size is above the new size or negative: put the smaller checkpoint first")


def _require_hashes(what: str, hashes: Sequence[bytes]) -> None:
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise ProofError(f"{what} has {len(value)} bytes where SHA-256 has {HASH_BYTES}: the proof is damaged")
