"""C2SP tlog-proof: an entry's inclusion proof and the signed checkpoint it leads to, in one text file.

Invariant: size and root come from the one signed checkpoint inside the proof, never from anywhere else; `extra` is not
covered by any signature and must be checked by whoever reads it.
"""

from dataclasses import dataclass
from typing import Final

from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import ProofError
from schemas.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from schemas.note import INTEGER_END, decode_base64, decode_decimal, decode_text, encode_base64, parse_verifier_key

TLOG_PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"
PATH_HASHES_MAX: Final = 63  # a path in a tree of fewer than 2**63 leaves is never longer


@dataclass(frozen=True, slots=True)
class TlogProof:
    """The content of a `.tlog-proof` file.

    index: place of the entry in the log.
    path: inclusion path of 32-byte hashes, the leaf's sibling first.
    checkpoint: the signed note, verbatim, cosignatures included.
    extra: opaque bytes that nothing authenticates, or None.
    Raises ProofError for fields that no proof file can carry.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def __post_init__(self) -> None:
        """Refuse whatever would not read back as the same proof."""
        if not 0 <= self.index < INTEGER_END:
            raise ProofError("the index of a proof must be a number from 0 to 2^63 - 1")
        if len(self.path) > PATH_HASHES_MAX or any(len(sibling) != HASH_BYTES for sibling in self.path):
            raise ProofError(f"the path of a proof must be at most {PATH_HASHES_MAX} hashes of {HASH_BYTES} bytes")
        if self.extra == b"":
            raise ProofError("the extra data of a proof must be left out when there is none")
        if decode_text(self.checkpoint) is None:
            raise ProofError("the checkpoint of a proof must be UTF-8 text without control characters")

    def text(self) -> str:
        """The file: header, extra line if any, index line, path lines, blank line, checkpoint."""
        lines = [TLOG_PROOF_HEADER]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines.extend(encode_base64(sibling) for sibling in self.path)
        return "\n".join(lines) + "\n\n" + self.checkpoint


def parse_tlog_proof(proof: str | bytes) -> TlogProof:
    """Read a `.tlog-proof` file strictly, the inverse of `TlogProof.text`; verifies nothing. Raises ProofError."""
    text = decode_text(proof)
    if text is None:
        raise ProofError("the proof is not UTF-8 text, or holds a control character other than newline")
    # The first empty line ends the proof's own lines: the checkpoint brings an empty line of its own.
    head, blank, checkpoint = text.partition("\n\n")
    header, *lines = head.split("\n")
    if not blank or header != TLOG_PROOF_HEADER:
        raise ProofError(f"not a tlog-proof: it must begin with the line {TLOG_PROOF_HEADER} and hold a checkpoint")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "))
        if extra is None:
            raise ProofError("the extra line of the proof is not canonical base64")
    if not lines or not lines[0].startswith("index "):
        raise ProofError("the proof has no index line")
    index = decode_decimal(lines.pop(0).removeprefix("index "))
    if index is None:
        raise ProofError("the index of the proof is not a plain decimal number below 2^63")
    path = []
    for line in lines:
        sibling = decode_base64(line)
        if sibling is None:
            raise ProofError("a hash of the proof is not canonical base64")
        path.append(sibling)
    return TlogProof(index, tuple(path), checkpoint, extra)


def verify_tlog_proof(proof: str | bytes, entry: bytes, origin: str, log_vkey: str) -> Checkpoint:
    """Check that the log `origin` with the verifier key `log_vkey` holds exactly the bytes `entry`.

    Returns the checkpoint that covers the entry. Raises ProofError, of which CheckpointError is the part about the
    checkpoint. Cosignatures of witnesses are not looked at: open the checkpoint again with their keys for those.
    """
    # 1. The file is well formed.
    parsed = parse_tlog_proof(proof)
    # 2. The checkpoint is this log's, by the key we were given.
    checkpoint = open_checkpoint(parsed.checkpoint, origin, [parse_verifier_key(log_vkey)])
    # 3. The path leads from the entry, at its index, to the root of that very checkpoint.
    verify_inclusion(leaf_hash(entry), parsed.index, checkpoint.size, parsed.path, checkpoint.root)
    return checkpoint
