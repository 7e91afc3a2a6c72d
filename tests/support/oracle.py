"""A slow reference for the C2SP log formats, written straight from the RFCs' recursive definitions.

It recomputes everything from the leaves on every call and shares no line with `schemas`, so that agreement between the
two means something. Only tests and the vector generator use it. It also signs what the product only verifies:
witness cosignatures.
"""

import base64
import hashlib
import struct
from collections.abc import Iterator, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

EMPTY = hashlib.sha256(b"").digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def inner(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(count: int) -> int:
    """The largest power of two below `count` (RFC 6962 section 2.1), found by doubling."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(leaves: Sequence[bytes]) -> bytes:
    """Merkle tree head over leaf hashes."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return inner(mth(leaves[:k]), mth(leaves[k:]))


def path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]), the leaf's sibling first."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path(index, leaves[:k]), mth(leaves[k:])]
    return [*path(index - k, leaves[k:]), mth(leaves[:k])]


def proof(old_size: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PROOF(m, D[n]); empty for m = 0 and m = n."""
    return _subproof(old_size, leaves, known=True) if 0 < old_size < len(leaves) else []


def _subproof(old_size: int, leaves: Sequence[bytes], *, known: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if known else [mth(leaves)]
    k = split(len(leaves))
    if old_size <= k:
        return [*_subproof(old_size, leaves[:k], known=known), mth(leaves[k:])]
    return [*_subproof(old_size - k, leaves[k:], known=False), mth(leaves[:k])]


def inclusion_holds(leaf_hash: bytes, index: int, size: int, hashes: Sequence[bytes], root: bytes) -> bool:
    """Recompute the root top-down: which leaf sits where is read off the recursion, not off bits of the index."""
    if not 0 <= index < size:
        return False
    computed, rest = _climb(leaf_hash, index, size, list(hashes))
    return not rest and computed == root


def _climb(leaf_hash: bytes, index: int, size: int, hashes: list[bytes]) -> tuple[bytes | None, list[bytes]]:
    """Root of the subtree of `size` leaves, and the hashes that are left for the subtrees above it."""
    if size == 1:
        return leaf_hash, hashes
    k = split(size)
    below, rest = _climb(leaf_hash, index if index < k else index - k, k if index < k else size - k, hashes)
    if below is None or not rest:
        return None, [b"missing"]
    sibling, *rest = rest
    return (inner(below, sibling) if index < k else inner(sibling, below)), rest


def consistency_holds(old_size: int, new_size: int, hashes: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """RFC 9162 section 2.1.4.2 by recursion over SUBPROOF; m = 0 and m = n as in the witness protocol."""
    if not 0 <= old_size <= new_size:
        return False
    if old_size == 0:
        return not hashes and old_root == EMPTY and (new_size > 0 or new_root == EMPTY)
    if old_size == new_size:
        return not hashes and old_root == new_root
    both, rest = _unfold(old_size, new_size, list(hashes), old_root if is_power_of_two(old_size) else None)
    return not rest and both == (old_root, new_root)


def is_power_of_two(size: int) -> bool:
    """Then the old tree is itself a node of the new one, and its root is not in the proof."""
    return size.bit_count() == 1


def _unfold(
    old_size: int, new_size: int, hashes: list[bytes], known: bytes | None
) -> tuple[tuple[bytes, bytes] | None, list[bytes]]:
    """Old and new root of this subtree, and the hashes left over; `known` is the old root where the RFC's flag is set.

    The RFC's flag means the old tree is exactly a subtree whose root the verifier has, which at the top of the
    recursion is the case on the left spine: for a perfect old tree only, since otherwise the walk turns right first.
    """
    if old_size == new_size:
        if known is not None:
            return (known, known), hashes
        return ((hashes[0], hashes[0]), hashes[1:]) if hashes else (None, [b"missing"])
    k = split(new_size)
    if old_size <= k:
        both, rest = _unfold(old_size, k, hashes, known)
        if both is None or not rest:
            return None, [b"missing"]
        return (both[0], inner(both[1], rest[0])), rest[1:]
    both, rest = _unfold(old_size - k, new_size - k, hashes, None)
    if both is None or not rest:
        return None, [b"missing"]
    return (inner(rest[0], both[0]), inner(rest[0], both[1])), rest[1:]


# --- tiles --------------------------------------------------------------------------------------------------


def tile_path(level: int | str, n: int, width: int) -> str:
    digits = str(n).zfill(3 * -(-len(str(n)) // 3))
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{name}" if width == 256 else f"tile/{level}/{name}.p/{width}"


def tiles(entries: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """Every file of a log but the checkpoint: (path, content)."""
    leaves = [leaf(entry) for entry in entries]
    level = 0
    while count := len(leaves) // 256**level:
        span = 256**level
        hashes = [mth(leaves[i * span : (i + 1) * span]) for i in range(count)]
        for start in range(0, count, 256):
            row = hashes[start : start + 256]
            yield tile_path(level, start // 256, len(row)), b"".join(row)
        level += 1
    for start in range(0, len(entries), 256):
        rows = entries[start : start + 256]
        yield (
            tile_path("entries", start // 256, len(rows)),
            b"".join(struct.pack(">H", len(entry)) + entry for entry in rows),
        )


# --- notes --------------------------------------------------------------------------------------------------


def public_key(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(f"{name}\n".encode() + bytes([kind]) + public).digest()[:4]


def vkey(name: str, kind: int, public: bytes) -> str:
    return f"{name}+{key_id(name, kind, public).hex()}+{b64(bytes([kind]) + public)}"


def signature_line(name: str, kind: int, public: bytes, signature: bytes) -> str:
    return f"\u2014 {name} {b64(key_id(name, kind, public) + signature)}\n"


def checkpoint_text(origin: str, size: int, root: bytes) -> str:
    return f"{origin}\n{size}\n{b64(root)}\n"


def log_line(text: str, name: str, seed: bytes) -> str:
    """A log's signature line, type 01."""
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode())
    return signature_line(name, 1, public_key(seed), signature)


def cosignature_v1_message(text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def cosignature_line(text: str, name: str, seed: bytes, timestamp: int) -> str:
    """A witness's signature line, type 04."""
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(cosignature_v1_message(text, timestamp))
    return signature_line(name, 4, public_key(seed), struct.pack(">Q", timestamp) + signature)


def subtree_message(cosigner: str, timestamp: int, origin: str, size: int, root: bytes) -> bytes:
    """What an ML-DSA-44 cosigner signs for a whole tree."""
    name, log = cosigner.encode(), origin.encode()
    return (
        b"subtree/v1\n\x00"
        + struct.pack(">B", len(name))
        + name
        + struct.pack(">QB", timestamp, len(log))
        + log
        + struct.pack(">QQ", 0, size)
        + root
    )


def tlog_proof(index: int, hashes: Sequence[bytes], checkpoint: str, extra: bytes | None = None) -> str:
    head = "c2sp.org/tlog-proof@v1\n" + ("" if extra is None else f"extra {b64(extra)}\n")
    return head + f"index {index}\n" + "".join(b64(value) + "\n" for value in hashes) + "\n" + checkpoint
