"""C2SP tlog-checkpoint: the signed statement "this log had this size and this root".

Our checkpoints have exactly three lines; extension lines of others are accepted and kept, since the log's signature
covers them. Invariant: origin, size and root are compared and passed on as one value, never singly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.errors import CheckpointError
from schemas.merkle import EMPTY_ROOT
from schemas.note import KeyKind, VerifierKey, encode_base64, open_note, parse_tree_head, sign_note


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head.

    origin: the name of the log, a URL prefix without scheme; also the name of its key.
    size: leaves in the tree, 0 .. 2**63 - 1.
    root: 32 bytes.
    extensions: further lines, verbatim; none in checkpoints of ours.
    Raises CheckpointError for fields that no checkpoint text can carry.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse whatever would not read back as the same checkpoint, and a root other than the empty one at size 0."""
        head = parse_tree_head(self.text())
        if (head.origin, head.size, head.root, head.extensions) != (self.origin, self.size, self.root, self.extensions):
            raise CheckpointError("origin, size, root and extension lines of a checkpoint must be one line each")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointError("a checkpoint of size 0 must have the root of the empty tree")

    def text(self) -> str:
        """The lines that are signed, each with its newline."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, encode_base64(self.root), *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the unsigned text of a checkpoint, the inverse of `Checkpoint.text`. Raises CheckpointError."""
    head = parse_tree_head(text)
    return Checkpoint(head.origin, head.size, head.root, head.extensions)


def signed_checkpoint(checkpoint: Checkpoint, private_key: Ed25519PrivateKey) -> str:
    """The signed note of a checkpoint of ours, under the key whose name is the origin.

    Raises CheckpointError for extension lines: ML-DSA cosignatures would not cover them.
    """
    if checkpoint.extensions:
        raise CheckpointError("a checkpoint with extension lines is not ours to sign")
    return sign_note(checkpoint.text(), checkpoint.origin, private_key)


def open_checkpoint(note: str | bytes, origin: str, known: Sequence[VerifierKey]) -> Checkpoint:
    """The checkpoint in a signed note of the log `origin`; `known` may hold witnesses' keys beside the log's.

    Raises CheckpointError when the note does not open, names another log, or the log itself has not signed it.
    """
    # 1. Every signature by a known key verifies.
    opened = open_note(note, known)
    # 2. A witness alone does not make a checkpoint: the log's own Ed25519 key must be among the signers.
    if not any(s.key.kind is KeyKind.ED25519 and s.key.name == origin for s in opened.signatures):
        raise CheckpointError("the log's own key has not signed this checkpoint: check origin and verifier key")
    # 3. The text is a checkpoint of this log.
    checkpoint = parse_checkpoint(opened.text)
    if checkpoint.origin != origin:
        raise CheckpointError("the checkpoint names another log as its origin")
    return checkpoint
