"""Inclusion and consistency proofs as hashes, whole and damaged, as generate.py writes them.

Each vector states whether it is valid by the slow reference; a mutation that happens to be valid makes no vector.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

from tests.support import oracle

ABC: Final = (b"a", b"b", b"c")
# The leaves that Certificate Transparency implementations have tested with since RFC 6962.
CT_LEAVES: Final = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ABC_LEAVES: Final = [oracle.leaf(entry) for entry in ABC]
CT_HASHES: Final = [oracle.leaf(bytes.fromhex(entry)) for entry in CT_LEAVES]

Json = dict[str, object]


def _flip(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)


def path_mutations(path: list[bytes], root: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Ways to damage a path; the root stands in for a hash that the attacker knows."""
    yield "path-padded-with-root", [*path, root]
    yield "path-padded-in-front-with-root", [root, *path]
    yield "path-padded-with-zeros", [*path, bytes(32)]
    if not path:
        return
    yield "path-empty", []
    yield "path-truncated-at-end", path[:-1]
    yield "path-truncated-in-front", path[1:]
    yield "path-last-hash-twice", [*path, path[-1]]
    yield "path-hash-of-31-bytes", [path[0][:-1], *path[1:]]
    yield "path-hash-of-33-bytes", [path[0] + b"\0", *path[1:]]
    yield "path-hash-empty", [b"", *path[1:]]
    for i, value in enumerate(path):
        yield f"path-{i}-bit-0", [*path[:i], _flip(value, 0), *path[i + 1 :]]
        yield f"path-{i}-bit-255", [*path[:i], _flip(value, 255), *path[i + 1 :]]
    if len(path) > 1:
        yield "path-swapped", [path[1], path[0], *path[2:]]
        yield "path-reversed", path[::-1]
        # Two hashes run together are what a concatenating parser would see.
        yield "path-hashes-joined", [path[0] + path[1], *path[2:]]


def inclusion() -> Iterator[tuple[str, Json]]:
    """Inclusion proofs of the eight-leaf tree, never only at index 0, and their mutations."""
    for index, size in ((0, 1), (0, 8), (5, 8), (2, 5), (4, 5), (6, 7)):
        leaf, root = CT_HASHES[index], oracle.mth(CT_HASHES[:size])
        path = oracle.path(index, CT_HASHES[:size])
        unprefixed = hashlib.sha256(bytes.fromhex(CT_LEAVES[index])).digest()
        mutated: list[tuple[str, tuple[bytes, int, int, list[bytes], bytes]]] = [
            ("index-at-size", (leaf, size, size, path, root)),
            ("index-past-size", (leaf, size + 1, size, path, root)),
            ("index-plus-size", (leaf, index + size, size, path, root)),
            ("index-negative", (leaf, index - size, size, path, root)),
            ("index-one-up", (leaf, index + 1, size, path, root)),
            ("index-xor-1", (leaf, index ^ 1, size, path, root)),
            ("index-past-2-to-64", (leaf, index + 2**64, size, path, root)),
            ("size-zero", (leaf, index, 0, path, root)),
            ("size-negative", (leaf, index, -size, path, root)),
            *((f"size-{other}-with-the-right-root", (leaf, index, other, path, root)) for other in range(1, 18)),
            ("leaf-bit-flip", (_flip(leaf, 77), index, size, path, root)),
            ("leaf-of-another-entry", (CT_HASHES[(index + 1) % 8], index, size, path, root)),
            ("leaf-without-prefix", (unprefixed, index, size, path, root)),
            ("leaf-of-31-bytes", (leaf[:-1], index, size, path, root)),
            ("root-bit-flip", (leaf, index, size, path, _flip(root, 128))),
            ("root-empty-tree", (leaf, index, size, path, oracle.EMPTY)),
            ("root-of-31-bytes", (leaf, index, size, path, root[:-1])),
            *((name, (leaf, index, size, damaged, root)) for name, damaged in path_mutations(path, root)),
        ]
        yield f"{index}-of-{size}-happy-path", _inclusion_vector("the proof as it is", (leaf, index, size, path, root))
        for name, values in mutated:
            # Some sizes give the same path and root (an RFC 9162 proof does not bind the size): no vector for those.
            if not oracle.inclusion_holds(*values):
                yield f"{index}-of-{size}-{name}", _inclusion_vector(name.replace("-", " "), values)


def _inclusion_vector(description: str, values: tuple[bytes, int, int, list[bytes], bytes]) -> Json:
    leaf, index, size, path, root = values
    return {
        "desc": description,
        "leaf_hash": leaf.hex(),
        "index": index,
        "size": size,
        "path": [value.hex() for value in path],
        "root": root.hex(),
        "valid": oracle.inclusion_holds(*values),
    }


def consistency() -> Iterator[tuple[str, Json]]:
    """Consistency proofs of the eight-leaf tree and their mutations."""
    for old, new in ((0, 0), (0, 3), (3, 3), (1, 3), (3, 7), (6, 8), (4, 8), (2, 5)):
        old_root, new_root = oracle.mth(CT_HASHES[:old]), oracle.mth(CT_HASHES[:new])
        path = oracle.proof(old, CT_HASHES[:new])
        mutated: list[tuple[str, tuple[int, int, list[bytes], bytes, bytes]]] = [
            ("old-size-one-up", (old + 1, new, path, old_root, new_root)),
            ("old-size-one-down", (old - 1, new, path, old_root, new_root)),
            ("old-size-past-new", (new + 1, new, path, old_root, new_root)),
            ("old-size-zero", (0, new, path, old_root, new_root)),
            ("sizes-swapped", (new, old, path, old_root, new_root)),
            ("roots-swapped", (old, new, path, new_root, old_root)),
            ("new-size-zero", (0, 0, path, old_root, new_root)),
            *(
                (f"new-size-{other}-with-the-right-root", (old, other, path, old_root, new_root))
                for other in range(old, 18)
            ),
            ("old-root-bit-flip", (old, new, path, _flip(old_root, 3), new_root)),
            ("new-root-bit-flip", (old, new, path, old_root, _flip(new_root, 250))),
            ("old-root-of-31-bytes", (old, new, path, old_root[:-1], new_root)),
            ("new-root-of-33-bytes", (old, new, path, old_root, new_root + b"\0")),
            *((name, (old, new, damaged, old_root, new_root)) for name, damaged in path_mutations(path, new_root)),
        ]
        happy = (old, new, path, old_root, new_root)
        yield f"{old}-to-{new}-happy-path", _consistency_vector("the proof as it is", happy)
        for name, values in mutated:
            if not oracle.consistency_holds(*values):
                yield f"{old}-to-{new}-{name}", _consistency_vector(name.replace("-", " "), values)


def _consistency_vector(description: str, values: tuple[int, int, list[bytes], bytes, bytes]) -> Json:
    old, new, path, old_root, new_root = values
    return {
        "desc": description,
        "old_size": old,
        "new_size": new,
        "path": [value.hex() for value in path],
        "old_root": old_root.hex(),
        "new_root": new_root.hex(),
        "valid": oracle.consistency_holds(*values),
    }
