"""Consistency of two signed checkpoints of one log, offline (RFC 6962 section 2.1.2; docs/proof-format.md, section 6).

The path between them comes from whoever serves the log, or is computed from its tiles. Invariant: neither checkpoint is
looked at before a key of the log opened it, and only the two signed roots decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import LogForked, Problem, ProofError
from schemas.merkle import HASH_BYTES, consistency_path, subtree_root, verify_consistency
from schemas.mirror import ReadFile, tile_reader
from schemas.note import INTEGER_END, KeyKind, VerifierKey, decode_base64, encode_base64
from schemas.strict_json import read_json, write_json
from schemas.tiles import tile_nodes

# Two sizes below 2^63 lie in a tree of 63 levels; a path names at most one hash a level and one more.
PATH_MAX: Final = 64
DOCUMENT_BYTES_MAX: Final = 64 * 1024

_MEMBERS: Final = frozenset({"log", "origin", "from", "to", "path", "checkpoint"})


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """The path from the tree of `old_size` to that of `new_size`, of the log `origin`; hashes of 32 bytes.

    checkpoint: the log's latest signed note when this was made, which a reader may keep for the next time.
    """

    origin: str
    old_size: int
    new_size: int
    path: tuple[bytes, ...]
    checkpoint: str


def consistency_document(log: str, origin: str, old: int, new: int, path: Sequence[bytes], checkpoint: str) -> bytes:
    """The JSON that `GET /v1/logs/{log}/consistency` answers with: {log, origin, from, to, path, checkpoint}."""
    hashes = [encode_base64(value) for value in path]
    return write_json({"log": log, "origin": origin, "from": old, "to": new, "path": hashes, "checkpoint": checkpoint})


def parse_consistency(raw: bytes) -> ConsistencyProof:
    """Read such a document, strictly; verifies nothing. Raises ProofError."""
    if len(raw) > DOCUMENT_BYTES_MAX:
        raise ProofError("the file is larger than a consistency proof can be: check that it is the right file")
    try:
        value, _ = read_json(raw, controls=True)
    except Problem as problem:
        raise ProofError(f"the consistency proof is not strict JSON ({problem.slug})") from problem
    if not isinstance(value, dict) or set(value) != _MEMBERS:
        raise ProofError("not a consistency proof: it must have the members from, to, path and three more")
    path = value["path"]
    if not isinstance(path, list) or len(path) > PATH_MAX:
        raise ProofError("the path of the consistency proof is not a list of hashes")
    if type(value["origin"]) is not str or type(value["checkpoint"]) is not str:
        raise ProofError("origin and checkpoint of the consistency proof must be strings")
    return ConsistencyProof(
        origin=value["origin"],
        old_size=_size(value, "from"),
        new_size=_size(value, "to"),
        path=tuple(_hash(item) for item in path),
        checkpoint=value["checkpoint"],
    )


def _size(members: Mapping[str, Any], name: str) -> int:
    size = members[name]
    # `type`, not isinstance: True is an int to Python.
    if type(size) is not int or not 0 <= size < INTEGER_END:
        raise ProofError(f"the member {name!r} of the consistency proof is not a size")
    return size


def _hash(value: Any) -> bytes:
    decoded = decode_base64(value) if isinstance(value, str) else None
    if decoded is None or len(decoded) != HASH_BYTES:
        raise ProofError("a hash of the consistency path is not the canonical base64 of 32 bytes")
    return decoded


# --- verifying ------------------------------------------------------------------------------------------------


def origin_of(vkeys: Sequence[VerifierKey]) -> str:
    """The log that the keys are of: the one name of all Ed25519 keys among them. Raises ProofError."""
    names = {key.name for key in vkeys if key.kind is KeyKind.ED25519}
    if len(names) != 1:
        raise ProofError("the keys given are not those of one log: give the origin of the log too")
    return names.pop()


def open_both(old: bytes, new: bytes, *, origin: str, vkeys: Sequence[VerifierKey]) -> tuple[Checkpoint, Checkpoint]:
    """Open two notes under the log's keys. Raises CheckpointError; LogForked for two roots at one size."""
    older, newer = (open_checkpoint(note, origin, vkeys) for note in (old, new))
    if older.size == newer.size and older.root != newer.root:
        raise LogForked(f"the log has signed two different trees of the size {older.size}")
    return older, newer


def verify_with_proof(older: Checkpoint, newer: Checkpoint, proof: ConsistencyProof) -> None:
    """Check that the tree of `newer` begins with that of `older`, by a path from elsewhere.

    Raises ProofError. A path that does not fit convicts nobody: whoever made it may have erred; tiles do.
    """
    if proof.origin != older.origin:
        raise ProofError("the consistency proof is of another log than the checkpoints")
    if (proof.old_size, proof.new_size) != (older.size, newer.size):
        raise ProofError("the consistency proof is for other sizes than the checkpoints have: ask for theirs")
    verify_consistency(older.size, newer.size, proof.path, older.root, newer.root)


def verify_with_tiles(older: Checkpoint, newer: Checkpoint, read: ReadFile) -> int:
    """Check the same by a path computed from the log's tiles; returns its length in hashes.

    Raises ProofError when files are missing or are not those of `newer`, and LogForked when they are and the tree of
    `older` is not in them: then the log's key has signed two histories.
    """
    # 1. Tiles of a tree that is not the newer one say nothing about either checkpoint.
    node = tile_nodes(newer.size, tile_reader(read))
    if subtree_root(0, newer.size, node) != newer.root:
        raise ProofError("the tiles are not those of the newer checkpoint: fetch them again, or from the log itself")
    path = consistency_path(older.size, newer.size, node)
    # 2. They are the tiles that were signed, so the older tree is in them or was never this log's.
    try:
        verify_consistency(older.size, newer.size, path, older.root, newer.root)
    except ProofError as error:
        raise LogForked(
            f"the tree of the size {newer.size} that the log signed does not begin with the tree of the size "
            f"{older.size} that it signed"
        ) from error
    return len(path)
