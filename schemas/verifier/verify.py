#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Made by `python -m schemas.verifier.build` from the modules named below: change those, not this file.
"""Verifies a proof bundle of Sayso (sayso-bundle/v1), offline, with Python 3.11 or later and `cryptography` alone.

    python verify.py                              verify the folder that this file lies in
    python verify.py bundle.zip                   verify a bundle; a proof (.json, .tlog-proof) works as well
    python verify.py bundle.zip --vkey KEY ...    hold it to keys that you have from elsewhere

The steps are those of docs/bundle-format.md. Exit status: 0 verified, 1 not verified, 2 cannot be read.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from hashlib import new as new_hash, sha256
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NoReturn, TypeVar
import argparse
import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import stat
import struct
import sys
import zlib

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

# ---------------------------------------------------------------------------------------------------------------------
# schemas.errors: The one error tree. Messages say what to do next and never hold a rejected value or personal data.
# ---------------------------------------------------------------------------------------------------------------------


class SaysoError(Exception):
    """Base of every error that Sayso raises on purpose."""


class ProofError(SaysoError):
    """A proof or a record does not verify."""


class CheckpointError(ProofError):
    """A signed note or checkpoint is malformed or carries no valid signature of a known key."""


class Problem(SaysoError):
    """Base of RFC 9457 problems. `pointer` is a JSON pointer of fields known to the schema, never of posted names."""

    slug: ClassVar[str] = ""
    status: ClassVar[int] = 500
    title: ClassVar[str] = ""
    advice: ClassVar[str] = ""

    def __init__(self, pointer: str | None = None, *, retry_after_s: int | None = None) -> None:
        super().__init__(f"{self.title}. {self.advice}")
        self.pointer = pointer
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, object]:
        """The members of the problem document, `type` relative to the documentation root."""
        members: dict[str, object] = {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.advice,
        }
        if self.pointer is not None:
            members["pointer"] = self.pointer
        return members


class MalformedJson(Problem):
    slug, status, title = "malformed-json", 422, "The body is not valid JSON"
    advice = (
        "Send one JSON object, a JSON array, or one JSON object a line (NDJSON). Nothing of this part was accepted."
    )


class NotUtf8(Problem):
    slug, status, title = "not-utf8", 422, "The body is not valid UTF-8"
    advice = "Encode the body as UTF-8 without a byte order mark. Nothing of this part was accepted."


class DuplicateKey(Problem):
    slug, status, title = "duplicate-key", 422, "A JSON object names the same member twice"
    advice = "Send every member once: readers disagree on which of two wins, so it would prove nothing."


class TooDeep(Problem):
    slug, status, title = "too-deep", 422, "The JSON is nested too deeply"
    advice = "Send at most 16 levels; a consent event needs six."


class FloatNotAllowed(Problem):
    slug, status, title = "float-not-allowed", 422, "A number has a fraction or an exponent"
    advice = "Send whole numbers between -(2^53-1) and 2^53-1; floats have no single canonical form."


class ControlCharacter(Problem):
    slug, status, title = "control-character", 422, "A string holds a control character"
    advice = "Remove characters U+0000 to U+001F and U+007F to U+009F from every string."

# ---------------------------------------------------------------------------------------------------------------------
# schemas.merkle: RFC 6962 / RFC 9162 Merkle tree arithmetic over SHA-256: hashes, inclusion and consistency proofs.
# ---------------------------------------------------------------------------------------------------------------------


HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one leaf, SHA-256(0x00 || entry): 32 bytes (RFC 6962 section 2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node, SHA-256(0x01 || left || right): 32 bytes (RFC 6962 section 2.1).

    Takes the children on trust, 32 bytes each: it runs once per node of every batch.
    """
    return sha256(b"\x01" + left + right).digest()


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


def _require_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ProofError("the index is not inside the tree: use a checkpoint whose size is above the index")


def _require_hashes(what: str, hashes: Sequence[bytes]) -> None:
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise ProofError(f"{what} has {len(value)} bytes where SHA-256 has {HASH_BYTES}: the proof is damaged")

# ---------------------------------------------------------------------------------------------------------------------
# schemas.note: C2SP signed-note: key ids, verifier keys, signing, and opening a note against known keys.
# ---------------------------------------------------------------------------------------------------------------------


SIGNATURES_MAX: Final = 100  # what Go's sumdb/note accepts; the specification asks for at least 16
INTEGER_END: Final = 1 << 63  # sizes, indexes and times are signed 64-bit in several clients
_KEY_ID_BYTES: Final = 4
_TIMESTAMP_BYTES: Final = 8
_SIGNATURE_LINE_START: Final = "\u2014 "
_VERIFIER_KEY = re.compile(r"(?P<name>[^+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]+)")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


class KeyKind(IntEnum):
    """The signature type byte of a key (signed-note, "Signature types")."""

    ED25519 = 0x01
    COSIGNATURE_V1 = 0x04
    ML_DSA_44 = 0x06


_PUBLIC_KEY_BYTES: Final = {KeyKind.ED25519: 32, KeyKind.COSIGNATURE_V1: 32, KeyKind.ML_DSA_44: 1312}


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name, the `vkey` of signed-note.

    name: non-empty, without spaces and plus signs; of a log it equals the origin.
    kind: what the key signs and how.
    public_key: raw bytes, 32 for Ed25519 and 1,312 for ML-DSA-44.
    Raises CheckpointError when name or length is wrong.
    """

    name: str
    kind: KeyKind
    public_key: bytes

    def __post_init__(self) -> None:
        """Refuse a name that would break the line format and a key of the wrong length."""
        _require_name(self.name)
        if len(self.public_key) != _PUBLIC_KEY_BYTES[self.kind]:
            raise CheckpointError("the public key of a verifier key has the wrong length for its type")

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before every signature of this key."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public_key).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        """The text form, `<name>+<8 hex key id>+<base64(type || public key)>`."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.kind]) + self.public_key)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """One verified signature line: the key, and for a cosignature the time it states, in Unix seconds."""

    key: VerifierKey
    timestamp: int | None


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note whose signatures by known keys all verify: its text with the final newline, and those signatures."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class TreeHead:
    """The three lines that open every checkpoint (tlog-checkpoint), and the extension lines after them, verbatim."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...]


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes | None:
    """The bytes of canonical standard base64, else None.

    Re-encoding and comparing refuses stray bits behind the last byte, which Python's decoder lets pass.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if encode_base64(data) == text else None


def decode_decimal(text: str) -> int | None:
    """The number below 2**63 that `text` is the only decimal form of, in ASCII digits, else None."""
    if _DECIMAL.fullmatch(text) is None:
        return None
    value = int(text)
    return value if value < INTEGER_END else None


def decode_text(data: str | bytes) -> str | None:
    """`data` as text if it is valid UTF-8 without control characters below U+0020 other than newline, else None."""
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        text.encode("utf-8")  # a str can hold lone surrogates, which no UTF-8 file can
    except UnicodeError:
        return None
    return None if any(char < " " and char != "\n" for char in text) else text


def parse_verifier_key(text: str) -> VerifierKey:
    """Read a `vkey`. Raises CheckpointError when it is malformed, of an unsupported type, or its id is not its own."""
    match = _VERIFIER_KEY.fullmatch(text)
    if match is None:
        raise CheckpointError("not a verifier key: paste <name>+<8 hex digits>+<base64> as the log publishes it")
    blob = decode_base64(match["key"])
    if not blob:
        raise CheckpointError("the key part of a verifier key is not canonical base64: paste the key again")
    try:
        kind = KeyKind(blob[0])
    except ValueError as error:
        raise CheckpointError("the verifier key has an unsupported signature type: use 01, 04 or 06") from error
    key = VerifierKey(match["name"], kind, blob[1:])
    if key.key_id.hex() != match["id"]:
        raise CheckpointError("the id in the verifier key does not belong to its name and key: paste the key again")
    return key


def signed_note(text: str, signatures: Sequence[tuple[VerifierKey, bytes]]) -> str:
    """The signed note: `text`, a blank line and one line a signature, in this order; nothing is verified here.

    Raises CheckpointError when the text does not end in a newline or holds a control character.
    """
    _require_note_text(text)
    lines = (f"{_SIGNATURE_LINE_START}{key.name} {encode_base64(key.key_id + blob)}\n" for key, blob in signatures)
    return f"{text}\n{''.join(lines)}"


def open_note(note: str | bytes, known: Sequence[VerifierKey]) -> OpenedNote:
    """Open a signed note against the known keys; signed-note, "Signatures".

    Raises CheckpointError when the note is malformed, when a known key's signature fails, or when none is there.
    """
    # 1. Text and signature block part at the last empty line.
    text, lines = _split_note(note)
    # 2. Every signature line must be well formed, also of keys we do not know.
    by_id = {(key.name, key.key_id): key for key in known}
    verified = []
    for line in lines:
        name, blob = _read_signature_line(line)
        # 3. Lines of unknown keys are ignored, even when only the name or only the id is known.
        key = by_id.get((name, blob[:_KEY_ID_BYTES]))
        if key is None:
            continue
        # 4. A known key's signature that fails condemns the whole note.
        verified.append(Signature(key, _verify(key, text, blob[_KEY_ID_BYTES:])))
    # 5. At least one known key has signed.
    if not verified:
        raise CheckpointError("no known key has signed this note: check that it comes from the log you expect")
    return OpenedNote(text, tuple(verified))


def parse_tree_head(text: str) -> TreeHead:
    """Read the text of a checkpoint; strict decimals and base64. Raises CheckpointError."""
    _require_note_text(text)
    origin, *rest = text[:-1].split("\n")
    if not origin or len(rest) < 2:
        raise CheckpointError("the checkpoint does not have its three lines: origin, size and root")
    size = decode_decimal(rest[0])
    if size is None:
        raise CheckpointError("the size of the checkpoint is not a plain decimal number below 2^63")
    root = decode_base64(rest[1])
    if root is None or len(root) != HASH_BYTES:
        raise CheckpointError("the root of the checkpoint is not the canonical base64 of 32 bytes")
    if not all(rest[2:]):
        raise CheckpointError("the checkpoint holds an empty line before its signatures")
    return TreeHead(origin, size, root, tuple(rest[2:]))


def _split_note(note: str | bytes) -> tuple[str, list[str]]:
    decoded = decode_text(note)
    if decoded is None:
        raise CheckpointError("the note is not UTF-8, or holds a control character other than newline")
    text, blank, block = decoded.rpartition("\n\n")
    if not blank or not block.endswith("\n"):
        raise CheckpointError("the note does not end in a blank line and signature lines: fetch it again, whole")
    lines = block[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise CheckpointError(f"the note has more than {SIGNATURES_MAX} signature lines")
    return text + "\n", lines


def _read_signature_line(line: str) -> tuple[str, bytes]:
    if not line.startswith(_SIGNATURE_LINE_START):
        raise CheckpointError("a signature line of the note does not begin with an em dash and a space")
    name, _, encoded = line.removeprefix(_SIGNATURE_LINE_START).partition(" ")
    _require_name(name)
    blob = decode_base64(encoded)
    if blob is None or len(blob) <= _KEY_ID_BYTES:
        raise CheckpointError("a signature of the note is not canonical base64 of a key id and a signature")
    return name, blob


def _verify(key: VerifierKey, text: str, blob: bytes) -> int | None:
    """Verify one signature; the time it states if it is a cosignature."""
    try:
        if key.kind is KeyKind.ED25519:
            Ed25519PublicKey.from_public_bytes(key.public_key).verify(blob, text.encode())
            return None
        timestamp = int.from_bytes(blob[:_TIMESTAMP_BYTES], "big")
        if timestamp >= INTEGER_END:
            raise CheckpointError("a cosignature states a time past 2^63: the note is rejected")
        signature = blob[_TIMESTAMP_BYTES:]
        if key.kind is KeyKind.COSIGNATURE_V1:
            message = f"cosignature/v1\ntime {timestamp}\n{text}".encode()
            Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, message)
        else:
            message = _subtree_message(key.name, timestamp, parse_tree_head(text))
            MLDSA44PublicKey.from_public_bytes(key.public_key).verify(signature, message)
    except InvalidSignature as error:
        raise CheckpointError("a known key's signature on the note does not verify: the note is rejected") from error
    return timestamp


def _subtree_message(cosigner: str, timestamp: int, head: TreeHead) -> bytes:
    """What an ML-DSA-44 cosigner signs for a whole tree (tlog-cosignature): start 0, end size, never time 0."""
    if timestamp == 0:
        raise CheckpointError("an ML-DSA-44 cosignature of a checkpoint states no time: the note is rejected")
    name, origin = cosigner.encode(), head.origin.encode()
    if max(len(name), len(origin)) > 0xFF:
        raise CheckpointError("a name is longer than the 255 bytes that an ML-DSA-44 cosignature can cover")
    return b"".join(
        (
            b"subtree/v1\n\x00",
            bytes([len(name)]) + name,
            timestamp.to_bytes(8, "big"),
            bytes([len(origin)]) + origin,
            (0).to_bytes(8, "big") + head.size.to_bytes(8, "big"),
            head.root,
        )
    )


def _require_name(name: str) -> None:
    if not name or "+" in name or decode_text(name) is None or any(char.isspace() for char in name):
        raise CheckpointError("a key name is empty, or holds a space, a control character or a plus sign")


def _require_note_text(text: str) -> None:
    if decode_text(text) is None or not text.endswith("\n"):
        raise CheckpointError("the text of a note must end in a newline and hold no other control character")

# ---------------------------------------------------------------------------------------------------------------------
# schemas.checkpoint: C2SP tlog-checkpoint: the signed statement "this log had this size and this root".
# ---------------------------------------------------------------------------------------------------------------------


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

# ---------------------------------------------------------------------------------------------------------------------
# schemas.proof: C2SP tlog-proof: an entry's inclusion proof and the signed checkpoint it leads to, in one text file.
# ---------------------------------------------------------------------------------------------------------------------


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

# ---------------------------------------------------------------------------------------------------------------------
# schemas.canonical: Canonical JSON: RFC 8785 under Sayso's profile, and the strict reader that guards it.
# ---------------------------------------------------------------------------------------------------------------------


JSON_DEPTH_MAX: Final = 16
INTEGER_MAX: Final = 2**53 - 1
_CONTROL = re.compile("[\u0000-\u001f\u007f-\u009f]")


def check_depth(value: Any, levels: int = JSON_DEPTH_MAX) -> None:
    """Raise TooDeep if `value` nests more than that many levels; iterative, so no input exhausts the stack."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise TooDeep


def check_control_characters(value: Any, canonical: bytes) -> None:
    """Raise ControlCharacter if any string of `value` holds one; `canonical` is its canonical form.

    Escapes betray C0 controls in the canonical bytes; DEL and C1 stand there as themselves.
    """
    if b"\\" not in canonical and canonical.isascii() and b"\x7f" not in canonical:
        return
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            if _CONTROL.search(node):
                raise ControlCharacter
        elif isinstance(node, dict):
            stack.extend(node)
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)

# ---------------------------------------------------------------------------------------------------------------------
# schemas.strict_json: The strict JSON reader with the standard library alone, for verifiers that strangers run.
# ---------------------------------------------------------------------------------------------------------------------


_DIGITS_MAX: Final = 17  # of ±(2^53-1), with its sign
_NAMES_END: Final = "\ue000"  # where the characters end that a member's name may have


def read_json(raw: bytes, *, levels: int = JSON_DEPTH_MAX, controls: bool = False) -> tuple[Any, bytes]:
    """Parse one JSON value of at most `levels` levels; return it with its canonical bytes (RFC 8785).

    With `controls`, strings may hold control characters. Raises MalformedJson, NotUtf8, DuplicateKey, TooDeep,
    FloatNotAllowed (also for an integer beyond ±(2^53-1), and for -0) or ControlCharacter.
    """
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise NotUtf8 from None
    except RecursionError:
        raise TooDeep from None
    except ValueError:
        raise MalformedJson from None
    check_depth(value, levels)
    try:
        canonical = write_json(value)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell and UTF-8 cannot
        raise MalformedJson from None
    if not controls:
        check_control_characters(value, canonical)
    return value, canonical


def write_json(value: Any) -> bytes:
    """The canonical bytes of a value that meets the profile, as schemas.canonical writes them."""
    return _ENCODER.encode(value).encode("utf-8")


def read_canonical(raw: bytes, what: str, *, levels: int = JSON_DEPTH_MAX, controls: bool = False) -> dict[str, Any]:
    """A JSON object that is spelled canonically. Raises ProofError that calls it `what`."""
    try:
        value, canonical = read_json(raw, levels=levels, controls=controls)
    except Problem as problem:
        raise ProofError(f"{what} is not canonical JSON ({problem.slug})") from problem
    if not isinstance(value, dict) or canonical != raw:
        raise ProofError(f"{what} is not a canonical JSON object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateKey
    # Beyond it, code points and UTF-16 code units sort differently: two writers would spell one object in two ways.
    if not all(name.isascii() or max(name) < _NAMES_END for name in members):
        raise MalformedJson
    return members


def _integer(text: str) -> int:
    # The length first: to Python a number of any length, in any script's digits, is one.
    if len(text) > _DIGITS_MAX or not text.isascii() or abs(int(text)) > INTEGER_MAX or text == "-0":
        raise FloatNotAllowed
    return int(text)


def _refuse_number(_text: str) -> NoReturn:
    raise FloatNotAllowed


# Made once: `loads` and `dumps` with these arguments make one a call.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_refuse_number, parse_constant=_refuse_number
)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))

# ---------------------------------------------------------------------------------------------------------------------
# schemas.record: The record: three parts, their digests, the commitment and the entry, byte for byte (docs/proof-format.md).
# ---------------------------------------------------------------------------------------------------------------------


SALT_BYTES: Final = 32
ENTRY_VERSION: Final = 1
PartName = Literal["who", "what", "context"]
PART_NAMES: Final[tuple[PartName, PartName, PartName]] = ("who", "what", "context")
_PART_PREFIXES: Final[dict[PartName, bytes]] = {name: b"sayso/part/v1\n%b\n" % name.encode() for name in PART_NAMES}
_COMMITMENT_DOMAIN: Final = b"sayso/commitment/v1\n"


def part_digest(name: PartName, salt: bytes, part: bytes) -> bytes:
    r"""SHA-256("sayso/part/v1\n" ‖ name ‖ "\n" ‖ salt ‖ JSON)."""
    return hashlib.sha256(_PART_PREFIXES[name] + salt + part).digest()


def commitment(who: bytes, what: bytes, context: bytes) -> bytes:
    r"""SHA-256("sayso/commitment/v1\n" ‖ who ‖ what ‖ context) over the three digests, 32 bytes each."""
    return hashlib.sha256(_COMMITMENT_DOMAIN + who + what + context).digest()


_ENTRY_MEMBERS: Final = frozenset({"v", "log", "index", "prev", "ref", "class", "recorded_at", "commitment"})
_ENTRY_OPTIONAL: Final = frozenset({"notice", "erased", "follows"})


def read_entry(entry: bytes) -> dict[str, Any]:
    """Parse an entry and insist that it is canonical and has the members of this version. Raises ProofError."""
    value = read_canonical(entry, "the entry")
    members = set(value)
    if not _ENTRY_MEMBERS <= members <= _ENTRY_MEMBERS | _ENTRY_OPTIONAL or value["v"] != ENTRY_VERSION:
        raise ProofError("the entry does not have the members of version 1")
    return value


def verify_commitment(
    entry: bytes, disclosed: Mapping[PartName, tuple[bytes, bytes]], digests: Mapping[PartName, bytes]
) -> None:
    """Check that disclosed parts (name -> (salt, JSON)) and the digests of the others make the entry's commitment.

    Raises ProofError naming what does not fit.
    """
    computed: dict[PartName, bytes] = {}
    for name in PART_NAMES:
        if name in disclosed:
            salt, part = disclosed[name]
            computed[name] = part_digest(name, salt, part)
            stated = digests.get(name)
            if stated is not None and not hmac.compare_digest(stated, computed[name]):
                raise ProofError(f"the part {name!r} does not match its digest")
        elif name in digests:
            computed[name] = digests[name]
        else:
            raise ProofError(f"neither the part {name!r} nor its digest is there")
    if commitment(computed["who"], computed["what"], computed["context"]).hex() != read_entry(entry)["commitment"]:
        raise ProofError("the parts do not make the commitment in the entry")

# ---------------------------------------------------------------------------------------------------------------------
# schemas.steps: A verification as numbered, named steps, each told to the caller as it ends.
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a verification: its number, its name, how it ended, and what was seen, without personal data.

    outcome: "ok"; "remark" when it holds with something the reader must know; "failed".
    """

    number: int
    name: str
    outcome: Literal["ok", "remark", "failed"]
    text: str


class Run:
    """Numbers the steps, says in an error which one failed, and tells the caller of each as it ends."""

    def __init__(self, done: Callable[[Step], None]) -> None:
        self._done = done
        self._number = 0

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[..., None]]:
        """One step; `say(text, remark=False)` notes what was seen. A ProofError inside fails it and is raised anew."""
        self._number += 1
        said: list[str] = []
        outcome: list[Literal["ok", "remark"]] = ["ok"]

        def say(text: str, *, remark: bool = False) -> None:
            said.append(text)
            if remark:
                outcome[0] = "remark"

        try:
            yield say
        except ProofError as error:
            self._done(Step(self._number, name, "failed", str(error)))
            raise ProofError(f"step {self._number} ({name}): {error}") from error
        self._done(Step(self._number, name, outcome[0], "; ".join(said)))

# ---------------------------------------------------------------------------------------------------------------------
# schemas.bundle: The proof document: what a DPO hands to a regulator about one event, and its verification (docs/proof-format.md).
# ---------------------------------------------------------------------------------------------------------------------


PROOF_FORMAT: Final = "sayso-proof/v1"
# Far above the largest event and notice there can be; a verifier need not read more of a stranger's file.
PROOF_BYTES_MAX: Final = 16 * 1024 * 1024
_EVENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# What stands beside the tlog-proof's own lines, in its `extra`; the JSON document adds the three lines' content.
_EXTRA_MEMBERS: Final = frozenset({"format", "event", "log", "entry", "parts", "digests"})
_MEMBERS: Final = _EXTRA_MEMBERS | {"index", "path", "checkpoint"}
_OPTIONAL: Final = frozenset({"notice"})


@dataclass(frozen=True, slots=True)
class Bundle:
    """One proof document.

    event: the id of the event, a UUID. origin, vkey: the log's name and verifier key, as the maker of the proof states
    them. index: place of the entry, from 0. entry: its exact bytes. path: inclusion path of 32-byte hashes, the leaf's
    sibling first. checkpoint: the signed note, verbatim. disclosed: part -> (salt of 32 bytes, exact JSON). digests:
    the 32-byte digests of all other parts. notice: the exact bytes whose SHA-256 the entry names, or None.
    """

    event: str
    origin: str
    vkey: str
    index: int
    entry: bytes
    path: tuple[bytes, ...]
    checkpoint: str
    disclosed: Mapping[PartName, tuple[bytes, bytes]]
    digests: Mapping[PartName, bytes]
    notice: bytes | None

    def json(self) -> bytes:
        """The JSON document, canonical."""
        path = [encode_base64(sibling) for sibling in self.path]
        return write_json({**self._extra(), "index": self.index, "path": path, "checkpoint": self.checkpoint})

    def tlog_proof(self) -> str:
        """The same as a `.tlog-proof` file."""
        return TlogProof(self.index, self.path, self.checkpoint, write_json(self._extra())).text()

    def _extra(self) -> dict[str, Any]:
        members: dict[str, Any] = {
            "format": PROOF_FORMAT,
            "event": self.event,
            "log": {"origin": self.origin, "vkey": self.vkey},
            "entry": self.entry.decode(),
            "parts": {
                name: {"salt": encode_base64(salt), "json": part.decode()}
                for name, (salt, part) in self.disclosed.items()
            },
            "digests": {name: digest.hex() for name, digest in self.digests.items()},
        }
        if self.notice is not None:
            members["notice"] = self.notice.decode()
        return members


def parse_bundle(raw: bytes) -> Bundle:
    """Read a proof document in either spelling, strictly; verifies nothing. Raises ProofError."""
    if len(raw) > PROOF_BYTES_MAX:
        raise ProofError("the file is larger than a proof can be: check that it is the file you were given")
    if not raw.startswith(TLOG_PROOF_HEADER.encode()):
        members = _read_object(raw, _MEMBERS)
        index = _member(members, "index", int)
        path = tuple(_hash(sibling) for sibling in _member(members, "path", list))
        # The same limits hold for both spellings: indexes below 2^63, at most 63 hashes, plain text.
        proof = TlogProof(index, path, _member(members, "checkpoint", str))
        return _bundle(proof, members)
    proof = parse_tlog_proof(raw)
    if proof.extra is None:
        raise ProofError("this tlog-proof does not hold its entry: give the entry's bytes with --entry")
    return _bundle(proof, _read_object(proof.extra, _EXTRA_MEMBERS))


def _read_object(raw: bytes, expected: frozenset[str]) -> dict[str, Any]:
    """A JSON object with exactly these members; unlike in records, strings may hold newlines (the checkpoint does)."""
    try:
        value, _ = read_json(raw, controls=True)
    except MalformedJson:
        raise ProofError("not a proof: neither a tlog-proof nor valid JSON") from None
    except Problem as problem:
        raise ProofError(f"the proof is not strict JSON ({problem.slug})") from problem
    if not isinstance(value, dict) or value.get("format") != PROOF_FORMAT:
        raise ProofError(f"not a proof of the format {PROOF_FORMAT}: use a verifier of the version that made it")
    if not expected <= set(value) <= expected | _OPTIONAL:
        raise ProofError("the proof has unknown members or lacks some: ask for it again")
    return value


def _bundle(proof: TlogProof, members: dict[str, Any]) -> Bundle:
    log = _member(members, "log", dict)
    parts = _member(members, "parts", dict)
    digests = _member(members, "digests", dict)
    event = _member(members, "event", str)
    if _EVENT_ID.fullmatch(event) is None:
        raise ProofError("the event id in the proof is not a lower-case UUID")
    if sorted([*parts, *digests]) != sorted(PART_NAMES):
        raise ProofError("the proof must hold each of the three parts once, disclosed or as a digest")
    if set(log) != {"origin", "vkey"} or not str(log["origin"]).isprintable() or not str(log["vkey"]).isprintable():
        raise ProofError("the proof must name its log by origin and vkey, in printable characters")
    return Bundle(
        event=event,
        origin=_member(log, "origin", str),
        vkey=_member(log, "vkey", str),
        index=proof.index,
        entry=_member(members, "entry", str).encode(),
        path=proof.path,
        checkpoint=proof.checkpoint,
        disclosed={name: _disclosed(parts[name]) for name in PART_NAMES if name in parts},
        digests={name: _digest(digests[name]) for name in PART_NAMES if name in digests},
        notice=_member(members, "notice", str).encode() if "notice" in members else None,
    )


def _member(members: Mapping[str, Any], name: str, kind: type) -> Any:
    value = members[name]
    # `type`, not isinstance: True is an int to Python.
    if type(value) is not kind:
        raise ProofError(f"the member {name!r} of the proof has the wrong type")
    return value


def _hash(value: Any) -> bytes:
    decoded = decode_base64(value) if isinstance(value, str) else None
    if decoded is None:
        raise ProofError("a hash of the proof is not canonical base64")
    return decoded


def _digest(value: Any) -> bytes:
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise ProofError("a digest of the proof is not 64 lower-case hex digits")
    return bytes.fromhex(value)


def _disclosed(value: Any) -> tuple[bytes, bytes]:
    if type(value) is not dict or set(value) != {"salt", "json"}:
        raise ProofError("a disclosed part must have the members salt and json")
    salt = _hash(_member(value, "salt", str))
    if len(salt) != SALT_BYTES:
        raise ProofError(f"the salt of a disclosed part is not {SALT_BYTES} bytes")
    return salt, _member(value, "json", str).encode()


def verify_bundle(
    raw: bytes, *, vkey: str | None = None, origin: str | None = None, done: Callable[[Step], None] = lambda _: None
) -> Bundle:
    """Verify a proof document offline and return it; `done` is told each step as it ends, a failed one too.

    `vkey` is the log's key as the reader knows it from elsewhere; without it the key in the document is used, which a
    forger could have put there, and the step says so. Raises ProofError that opens with the number of the step.
    """
    run = Run(done)
    # 1. The file is a proof document of this version, read strictly.
    with run.step("document") as say:
        bundle = parse_bundle(raw)
        say(f"format {PROOF_FORMAT}, {len(raw)} bytes")
    # 2. The key is the one the reader trusts.
    with run.step("key") as say:
        name, key = _trusted_key(bundle, vkey, origin, say)
    verify_document(run, bundle, name, [key])
    return bundle


def verify_document(run: Run, bundle: Bundle, origin: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Steps 3 to 8, for a document that is read, under the keys that may sign for the log. Raises ProofError."""
    # 3. to 5. A checkpoint under one of those keys covers exactly these bytes at exactly this place.
    proof = TlogProof(bundle.index, bundle.path, bundle.checkpoint)
    checkpoint = _verify_entry(run, proof, bundle.entry, origin, keys)
    # 6. The parts and the digests of the parts kept back are what the entry commits to.
    with run.step("commitment") as say:
        verify_commitment(bundle.entry, bundle.disclosed, bundle.digests)
        what = _read_parts(bundle)
        say(f"disclosed: {', '.join(bundle.disclosed) or 'none'}; by digest: {', '.join(bundle.digests) or 'none'}")
    # 7. The event is the one the document says it is about.
    with run.step("event") as say:
        if what is None:
            say("the part 'what' is kept back, so nothing here ties the event id to the entry", remark=True)
        elif what.get("id") != bundle.event:
            raise ProofError("the part 'what' is that of another event")
        else:
            say("the part 'what' carries the event id")
    # 8. The notice is the one that the entry names, byte for byte.
    with run.step("notice") as say:
        _verify_notice(bundle, what, say)
    return checkpoint


def verify_bare_proof(
    raw: bytes, entry: bytes, *, vkey: str, origin: str | None = None, done: Callable[[Step], None] = lambda _: None
) -> Checkpoint:
    """Verify a tlog-proof together with an entry from elsewhere; its `extra`, if any, is left aside.

    Returns the checkpoint that covers the entry. Raises ProofError that opens with the number of the step.
    """
    run = Run(done)
    with run.step("document") as say:
        proof = parse_tlog_proof(raw)
        say(f"tlog-proof, {len(raw)} bytes")
        if proof.extra is not None:
            say("its extra data is not looked at", remark=True)
    with run.step("key") as say:
        name = parse_verifier_key(vkey).name if origin is None else origin
        say("given by the reader")
        key = parse_verifier_key(vkey)
    return _verify_entry(run, proof, entry, name, [key])


def _trusted_key(
    bundle: Bundle, vkey: str | None, origin: str | None, say: Callable[..., None]
) -> tuple[str, VerifierKey]:
    """Origin and key to verify under; what the document states must agree with what the reader gave."""
    key = parse_verifier_key(bundle.vkey if vkey is None else vkey)
    name = key.name if origin is None else origin
    if bundle.origin != name:
        raise ProofError("the proof is of another log than the one expected: compare the origins")
    if vkey is None:
        say(f"the key was taken from the proof itself: compare it with the published key of {name}: {key}", remark=True)
    elif bundle.vkey != vkey:
        raise ProofError("the proof states another key than the one given: compare both with the published key")
    else:
        say("given by the reader")
    return name, key


def _verify_entry(run: Run, proof: TlogProof, entry: bytes, origin: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    # 3. The log has signed the checkpoint.
    with run.step("checkpoint") as say:
        checkpoint = open_checkpoint(proof.checkpoint, origin, keys)
        say(f"signed by {origin}, size {checkpoint.size}")
    # 4. The entry is one of ours, and states the place that the proof is for.
    with run.step("entry") as say:
        members = read_entry(entry)
        if members["log"] != origin or type(members["index"]) is not int or members["index"] != proof.index:
            raise ProofError("the entry states another log or index than the proof")
        say(f"class {members['class']}, recorded at {members['recorded_at']}, index {proof.index}")
    # 5. The path leads from the entry's leaf hash to the signed root.
    with run.step("inclusion") as say:
        verify_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.path, checkpoint.root)
        say(f"leaf {proof.index} of {checkpoint.size}, {len(proof.path)} hashes")
    return checkpoint


def _read_parts(bundle: Bundle) -> dict[str, Any] | None:
    """Insist that disclosed parts are canonical JSON, so that all readers see the same; return `what` or None."""
    what: dict[str, Any] | None = None
    for name, (_, part) in bundle.disclosed.items():
        value = read_canonical(part, f"the part {name!r}")
        if name == "what":
            what = value
    return what


def _shown_notice(what: dict[str, Any]) -> Any:
    notice = what.get("notice")
    return notice.get("sha256") if isinstance(notice, dict) else None


def _verify_notice(bundle: Bundle, what: dict[str, Any] | None, say: Callable[..., None]) -> None:
    named = read_entry(bundle.entry).get("notice")
    shown = named if what is None else _shown_notice(what)
    if named is not None and shown != named:
        raise ProofError("the part 'what' and the entry name different notices")
    if bundle.notice is not None:
        if hashlib.sha256(bundle.notice).hexdigest() != named:
            raise ProofError("the words of the notice are not those that the entry names")
        say("the words are those that the entry names")
    elif named is not None:
        say("the entry names a notice whose words are not in this file: compare its SHA-256 yourself", remark=True)
    elif shown is not None:
        say("the words shown were not known to the controller when this was recorded", remark=True)
    else:
        say("the record names no notice")

# ---------------------------------------------------------------------------------------------------------------------
# schemas.receipts_verify: Verification of a receipt, offline: a JWS (RFC 7515, EdDSA of RFC 8037) whose claims carry a proof of their event.
# ---------------------------------------------------------------------------------------------------------------------


RECEIPT_FORMAT: Final = "sayso-receipt/v1"
RECEIPT_TYPE: Final = "sayso-receipt+jwt"
RECEIPT_ALGORITHM: Final = "EdDSA"
ISO_27560: Final = "ISO/IEC TS 27560:2023"
KANTARA_1_1: Final = "KI-CR-v1.1.0"
# Above the largest event and the longest path; a verifier need not read more of a stranger's text.
RECEIPT_CHARS_MAX: Final = 1024 * 1024
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
_KEY_BYTES: Final = 32
# Event type -> the DPV consent status of a decision that ends or withholds consent; refused where it is not named.
_DENIED: Final = {
    "consent.withdrawn": "dpv:ConsentWithdrawn",
    "consent.expired": "dpv:ConsentExpired",
    "consent.invalidated": "dpv:ConsentInvalidated",
}


def consent_states(what: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(purpose, DPV consent status) for each decision about consent in the part `what`, in the event's order.

    A grant that waits for its confirmation (double opt-in) is a request still, not a consent.
    """
    unconfirmed = "double_opt_in" in what and "confirmed_at" not in what["double_opt_in"]
    granted = "dpv:RenewedConsentGiven" if what["type"] == "consent.renewed" else "dpv:ConsentGiven"
    states = {
        "granted": "dpv:ConsentRequested" if unconfirmed else granted,
        "denied": _DENIED.get(what["type"], "dpv:ConsentRefused"),
    }
    decisions = what.get("decisions", [])
    return [(d["purpose"], states[d["decision"]]) for d in decisions if d["legal_basis"] == "consent"]


def granted_purposes(what: Mapping[str, Any]) -> list[str]:
    """The purposes that the event says consent is given to, each once: all that a Kantara receipt can state."""
    given = {"dpv:ConsentGiven", "dpv:RenewedConsentGiven"}
    return list(dict.fromkeys(purpose for purpose, state in consent_states(what) if state in given))


def read_jwks(raw: bytes) -> dict[str, bytes]:
    """The Ed25519 keys of a JWK set (RFC 7517; RFC 8037) by their kid, 32 bytes each. Raises ProofError."""
    try:
        keys = read_json(raw)[0]["keys"]
        found = {jwk["kid"]: _decode(jwk["x"]) for jwk in keys if (jwk["kty"], jwk.get("crv")) == ("OKP", "Ed25519")}
    except (Problem, KeyError, TypeError, AttributeError):
        raise ProofError("not a JWK set: fetch it from /.well-known/jwks.json of the service") from None
    if not found or any(len(key) != _KEY_BYTES for key in found.values()):
        raise ProofError("the JWK set holds no Ed25519 key, or one of a wrong length")
    return found


def verify_receipt(
    jws: str,
    keys: Mapping[str, bytes],
    *,
    vkey: str | None = None,
    origin: str | None = None,
    done: Callable[[Step], None] = lambda _: None,
) -> dict[str, Any]:
    """Verify a receipt offline and return its claims; `done` is told each step as it ends, a failed one too.

    keys: kid -> raw Ed25519 public key, of a source other than the receipt. vkey, origin: as for verify_bundle.
    Raises ProofError.
    """
    run = Run(done)
    # 1. The signature is that of a key which the reader trusts, with the one algorithm there is.
    with run.step("signature") as say:
        payload, kid = open_jws(jws, keys, RECEIPT_TYPE)
        say(f"{RECEIPT_ALGORITHM}, key {kid}")
    # 2. The claims are a receipt of this version, in canonical JSON.
    with run.step("receipt") as say:
        claims, proof = _claims(payload)
        say(ISO_27560 if "schema_version" in claims else KANTARA_1_1)
    # 3. The proof inside it verifies like any other.
    with run.step("proof") as say:

        def inner(step: Step) -> None:
            if step.outcome == "remark":
                say(step.text, remark=True)

        bundle = verify_bundle(proof["tlog_proof"].encode(), vkey=vkey, origin=origin, done=inner)
        say(f"the record is in {bundle.origin} at index {bundle.index}")
    # 4. The claims say what the record says.
    with run.step("claims") as say:
        _compare(claims, proof, bundle)
        say("the receipt says of the event what the log's record says")
    return claims


def stated_type(jws: str) -> str | None:
    """What the header says it is, believed by nobody yet; None if that cannot be read."""
    try:
        typ = read_canonical(_decode(jws.partition(".")[0]), "the header").get("typ")
    except ProofError:
        return None
    return typ if isinstance(typ, str) else None


def open_jws(jws: str, keys: Mapping[str, bytes], typ: str) -> tuple[bytes, str]:
    """The signed payload and the kid. RFC 7515, 5.2, with every choice that a header could offer taken away.

    keys: as for `verify_receipt`. typ: the one type that the header may state. Raises ProofError.
    """
    segments = jws.split(".")
    if len(jws) > RECEIPT_CHARS_MAX or len(segments) != 3:
        raise ProofError("not a receipt: it must be a JWS in compact form, three pieces with dots between them")
    header, payload, signature = (_decode(segment) for segment in segments)
    members = read_canonical(header, "the header of the receipt")
    # `crit`, embedded keys and the like are refused with everything else that is not exactly these three.
    if set(members) != {"alg", "kid", "typ"}:
        raise ProofError("the header of the receipt must have the members alg, kid and typ and no others")
    if (members["alg"], members["typ"]) != (RECEIPT_ALGORITHM, typ):
        raise ProofError(f"the header of the receipt must state {RECEIPT_ALGORITHM} and {typ}")
    kid = members["kid"]
    if not isinstance(kid, str) or kid not in keys:
        raise ProofError("the receipt is signed under a key that is not among those given: fetch the published ones")
    try:
        Ed25519PublicKey.from_public_bytes(keys[kid]).verify(signature, jws.rpartition(".")[0].encode())
    except InvalidSignature:
        raise ProofError("the signature of the receipt does not verify") from None
    return payload, kid


def _decode(segment: Any) -> bytes:
    """Canonical base64url without padding (RFC 7515, 2): one spelling for each value."""
    if not isinstance(segment, str) or _SEGMENT.fullmatch(segment) is None:
        raise ProofError("a piece of the receipt is not base64url without padding")
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        raise ProofError("a piece of the receipt is not base64url without padding") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != segment:
        raise ProofError("a piece of the receipt is not spelt canonically")
    return raw


def _claims(payload: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    # Strings may hold newlines, as a proof does.
    claims = read_canonical(payload, "the payload of the receipt", controls=True)
    proof = claims.get("proof")
    if not isinstance(proof, dict) or proof.get("format") != RECEIPT_FORMAT:
        raise ProofError(f"not a receipt of the format {RECEIPT_FORMAT}: use a verifier of the version that made it")
    if set(proof) != {"format", "log", "tlog_proof"} or not isinstance(proof["tlog_proof"], str):
        raise ProofError("the receipt's proof must have the members format, log and tlog_proof")
    if (claims.get("schema_version") == ISO_27560) == (claims.get("version") == KANTARA_1_1):
        raise ProofError(f"the receipt must be one of {ISO_27560} and {KANTARA_1_1}")
    return claims, proof


def _compare(claims: Mapping[str, Any], proof: Mapping[str, Any], bundle: Bundle) -> None:
    """Hold what the receipt says of the event against the part `what`. Raises ProofError."""
    if proof["log"] != {"origin": bundle.origin, "vkey": bundle.vkey}:
        raise ProofError("the receipt names another log than its proof")
    if "what" not in bundle.disclosed:
        raise ProofError("the receipt's proof keeps the part 'what' back, so nothing ties the receipt to the record")
    what = read_canonical(bundle.disclosed["what"][1], "the part 'what'")
    says = _kantara_says if "version" in claims else _iso_says
    try:
        stated, recorded = says(claims, what, bundle)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError):
        raise ProofError("the receipt, or the record it is of, lacks what a receipt must hold") from None
    for name, value in stated.items():
        if value != recorded[name]:
            raise ProofError(f"the receipt and the log's record differ in: {name}")


Said = tuple[dict[str, Any], dict[str, Any]]


def _iso_says(claims: Mapping[str, Any], what: Mapping[str, Any], bundle: Bundle) -> Said:
    states = consent_states(what)
    stated = {
        "record_id": claims["record_id"],
        "privacy_notice": claims["processing"]["privacy_notice"]["sha256"],
        "purpose": [purpose["purpose_id"] for purpose in claims["processing"]["purposes"]],
        "event_state": [(event["purpose_id"], event["event_state"]) for event in claims["events"]],
        "event_time": {event["event_time"] for event in claims["events"]},
    }
    recorded = {
        "record_id": bundle.event,
        "privacy_notice": what["notice"]["sha256"],
        "purpose": list(dict.fromkeys(purpose for purpose, _ in states)),
        "event_state": states,
        "event_time": {what["time"]},
    }
    return stated, recorded


def _kantara_says(claims: Mapping[str, Any], what: Mapping[str, Any], _bundle: Bundle) -> Said:
    purposes = [purpose for service in claims["services"] for purpose in service["purposes"]]
    stated = {
        "consentTimestamp": claims["consentTimestamp"],
        "services": [service["service"] for service in claims["services"]],
        "purposeCategory": [purpose["purposeCategory"][0] for purpose in purposes],
    }
    recorded = {
        "consentTimestamp": timestamp_of(what),
        "services": [what["site"]],
        "purposeCategory": granted_purposes(what),
    }
    return stated, recorded


def timestamp_of(what: Mapping[str, Any]) -> int:
    """The time of the act in whole seconds since 1970."""
    return int(datetime.fromisoformat(what["time"]).timestamp())

# ---------------------------------------------------------------------------------------------------------------------
# schemas.answers: A signed answer: whether a consent stood, as a JWS to be kept and checked offline (docs/proof-format.md, 17).
# ---------------------------------------------------------------------------------------------------------------------


ANSWER_FORMAT: Final = "sayso-answer/v1"
ANSWER_TYPE: Final = "sayso-answer+jwt"
_answers_MEMBERS: Final = frozenset({"format", "issued_at", "controller", "answer", "logs"})
_answers_OPTIONAL: Final = frozenset({"rests_on"})
_LOG_MEMBERS: Final = frozenset({"origin", "vkey", "size", "root", "checkpoint"})
_PLACE_MEMBERS: Final = frozenset({"origin", "index", "entry", "path"})
_HASH_BYTES: Final = 32


def verify_answer(
    jws: str,
    keys: Mapping[str, bytes],
    *,
    vkey: str | None = None,
    origin: str | None = None,
    done: Callable[[Step], None] = lambda _: None,
) -> dict[str, Any]:
    """Verify a signed answer offline and return its claims; `done` is told each step as it ends, a failed one too.

    keys: kid -> raw Ed25519 public key, of a source other than the answer. vkey, origin: the one log that the reader
    knows, which must be among those named. Raises ProofError.
    """
    run = Run(done)
    # 1. The signature is that of a key which the reader trusts, with the one algorithm there is.
    with run.step("signature") as say:
        payload, kid = open_jws(jws, keys, ANSWER_TYPE)
        say(f"{RECEIPT_ALGORITHM}, key {kid}")
    # 2. The claims are an answer of this version, in canonical JSON, and do not contradict themselves.
    with run.step("answer") as say:
        claims = _answers_claims(payload)
        say(_said(claims["answer"]))
    # 3. Each log has signed the checkpoint that is named, of that size and root.
    with run.step("checkpoints") as say:
        checkpoints = _checkpoints(claims["logs"], vkey, origin, say)
        say(", ".join(f"{one.origin} at size {one.size}" for one in checkpoints.values()))
    # 4. The record that the answer rests on stands in one of them.
    with run.step("record") as say:
        _verify_record(claims, checkpoints, say)
    return claims


def _answers_claims(payload: bytes) -> dict[str, Any]:
    # Strings may hold newlines, as a checkpoint does.
    claims = read_canonical(payload, "the payload of the answer", controls=True)
    if claims.get("format") != ANSWER_FORMAT:
        raise ProofError(f"not an answer of the format {ANSWER_FORMAT}: use a verifier of the version that made it")
    if not _answers_MEMBERS <= set(claims) <= _answers_MEMBERS | _answers_OPTIONAL:
        raise ProofError("the answer has unknown members or lacks some: ask for it again")
    said, logs = claims["answer"], claims["logs"]
    if not isinstance(said, dict) or not isinstance(logs, list) or not all(isinstance(log, dict) for log in logs):
        raise ProofError("the answer's members are not of the kinds that they must be")
    if not {"subject", "purpose", "at", "known_at", "valid", "reasons", "decision"} <= set(said):
        raise ProofError("the answer does not say about whom, what and when it is")
    if type(said["valid"]) is not bool or said["valid"] != (said["reasons"] == []):
        raise ProofError("the answer contradicts itself: a consent stands if nothing is said against it")
    if said["valid"] and said["decision"] != "granted":
        raise ProofError("the answer contradicts itself: only what was granted stands")
    if (said["decision"] is None) != ("rests_on" not in claims):
        raise ProofError("the answer must name the record that it rests on, and only where there is one")
    return claims


def _said(said: Mapping[str, Any]) -> str:
    stands = "a valid consent" if said["valid"] else "no valid consent"
    return f"{stands} for {said['purpose']} at {said['at']}, as known at {said['known_at']}"


def _checkpoints(
    logs: Sequence[Mapping[str, Any]], vkey: str | None, origin: str | None, say: Callable[..., None]
) -> dict[str, Checkpoint]:
    """By origin, the checkpoints that the logs signed. Raises ProofError."""
    found: dict[str, Checkpoint] = {}
    for log in logs:
        if set(log) != _LOG_MEMBERS:
            raise ProofError("the answer names a log without its key, its checkpoint, or what that says")
        key = parse_verifier_key(str(log["vkey"]))
        checkpoint = open_checkpoint(str(log["checkpoint"]), str(log["origin"]), [key])
        if (checkpoint.size, checkpoint.root) != (log["size"], decode_base64(str(log["root"]))):
            raise ProofError("the answer states another size or root than the checkpoint that it carries")
        if checkpoint.origin in found:
            raise ProofError("the answer names a log twice")
        found[checkpoint.origin] = checkpoint
    if not found:
        raise ProofError("the answer is tied to no checkpoint")
    named = {(log["origin"], log["vkey"]) for log in logs}
    if vkey is None:
        say("the logs' keys were taken from the answer itself: compare them with the published ones", remark=True)
    elif (origin or parse_verifier_key(vkey).name, vkey) not in named:
        raise ProofError("the answer is not tied to the log whose key was given")
    if origin is not None and origin not in found:
        raise ProofError("the answer is not tied to the log that was expected: compare the origins")
    return found


def _verify_record(claims: Mapping[str, Any], checkpoints: Mapping[str, Checkpoint], say: Callable[..., None]) -> None:
    if "rests_on" not in claims:
        say("it rests on no record that is there, in these logs up to these sizes")
        return
    place, said = claims["rests_on"], claims["answer"]
    if not isinstance(place, dict) or set(place) != _PLACE_MEMBERS or place["origin"] not in checkpoints:
        raise ProofError("the answer does not say where its record stands in a log that it names")
    checkpoint, entry = checkpoints[place["origin"]], str(place["entry"]).encode()
    members = read_entry(entry)
    index = place["index"]
    if type(index) is not int or (members["log"], members["index"]) != (place["origin"], index):
        raise ProofError("the entry states another log or index than the answer")
    siblings = place["path"] if isinstance(place["path"], list) else [None]
    path = [decode_base64(str(sibling)) for sibling in siblings]
    if any(sibling is None or len(sibling) != _HASH_BYTES for sibling in path):
        raise ProofError("the answer's path holds something that is no hash")
    verify_inclusion(leaf_hash(entry), index, checkpoint.size, [s for s in path if s is not None], checkpoint.root)
    shown = said.get("notice")
    if "notice" in members and (not isinstance(shown, dict) or shown.get("sha256") != members["notice"]):
        raise ProofError("the answer and the log's entry name different notices")
    say(f"leaf {index} of {checkpoint.size} in {checkpoint.origin}, recorded at {members['recorded_at']}")

# ---------------------------------------------------------------------------------------------------------------------
# schemas.archive: The zip of a proof bundle, written and read strictly (docs/bundle-format.md, The zip).
# ---------------------------------------------------------------------------------------------------------------------


MANIFEST: Final = "manifest.json"
ARCHIVE_BYTES_MAX: Final = 64 * 1024 * 1024
FILES_MAX: Final = 4096
FILE_BYTES_MAX: Final = 16 * 1024 * 1024
CONTENT_BYTES_MAX: Final = 256 * 1024 * 1024
NAME_BYTES_MAX: Final = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_VERSION: Final = 20
_MADE_BY: Final = 0x0314  # Unix, so that the mode counts
_DATE: Final = 0x0021  # 1 January 1980: the same files make the same zip
_MODE: Final = 0o100644 << 16
_STORED: Final = 0
_DEFLATED: Final = 8


def is_archive(raw: bytes) -> bool:
    """Whether a file begins like a zip, and so is to be verified as a bundle."""
    return raw.startswith(b"PK\x03\x04")


def read_archive(raw: bytes) -> dict[str, bytes]:
    """Name -> content of every file of the zip. Raises ProofError that says what is not as it must be.

    1. The end record ends the file; 2. each central header is, byte for byte, the one that its own sizes and its place
    ask for, and so is the local header; 3. names are in order; 4. only then is anything unpacked.
    """
    if len(raw) > ARCHIVE_BYTES_MAX or len(raw) < _END.size:
        raise ProofError("the file is not a proof bundle: it is larger or smaller than one can be")
    count, central_bytes, central_at = struct.unpack_from("<H2I", raw, len(raw) - 12)
    if raw[-_END.size :] != _end(count, central_bytes, central_at) or central_at + central_bytes != len(raw) - 22:
        raise ProofError("the zip does not end as a bundle's does: it was cut, joined or written by another tool")
    entries = _entries(raw, count, central_at)
    names = [name for name, *_ in entries]
    if names != _in_order(names):
        raise ProofError("the files of the zip are not in order")
    _check_sizes(len(raw), [size for *_, size in entries])
    return {name: _unpack(name, raw[at:end], method, crc, size) for name, method, crc, at, end, size in entries}


def _entries(raw: bytes, count: int, central_at: int) -> list[tuple[str, int, int, int, int, int]]:
    """name, method, CRC, begin and end of the data, size of the content, in the order of the zip."""
    entries = []
    place, at = central_at, 0
    for _ in range(count):
        if len(raw) < place + _CENTRAL.size + _END.size:
            raise ProofError("the zip lists more files than it has room for")
        fields = _CENTRAL.unpack_from(raw, place)
        method, crc, packed, size, name_bytes = fields[4], *fields[7:11]
        name = raw[place + _CENTRAL.size : place + _CENTRAL.size + name_bytes].decode("latin-1")
        _check_name(name)
        local, header = _headers(name, method, crc, packed, size, at)
        data_at = at + len(local)
        if raw[place : place + len(header)] != header or raw[at:data_at] != local or data_at + packed > central_at:
            raise ProofError("a header of the zip is not the one a bundle has: another tool wrote or changed it")
        entries.append((name, method, crc, data_at, data_at + packed, size))
        place, at = place + len(header), data_at + packed
    if at != central_at or place != len(raw) - _END.size:
        raise ProofError("the zip holds bytes that belong to no file")
    return entries


def _unpack(name: str, data: bytes, method: int, crc: int, size: int) -> bytes:
    content = data
    if method == _DEFLATED:
        inflater = zlib.decompressobj(-15)
        try:
            # One byte more than is stated, so that a longer content shows and a bomb does not go off.
            content = inflater.decompress(data, size + 1)
        except zlib.error:
            raise ProofError(f"{name} cannot be unpacked: the zip is damaged") from None
        if not inflater.eof or inflater.unused_data:
            raise ProofError(f"{name} is not as long as the zip says")
    elif method != _STORED:
        raise ProofError(f"{name} is packed in a way that a bundle does not use")
    if len(content) != size or zlib.crc32(content) != crc:
        raise ProofError(f"{name} is not what its length and checksum in the zip say: the zip is damaged")
    return content


def read_folder(folder: Path) -> tuple[dict[str, bytes], int]:
    """Name -> content of a folder into which a bundle was unpacked, and how many hidden files were left aside.

    Raises ProofError for links, for what is no plain file, for names and sizes that no bundle has; OSError.
    """
    sizes: dict[str, int] = {}
    hidden = 0
    todo = [""]
    while todo:
        below = todo.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                name = below + entry.name
                status = entry.stat(follow_symlinks=False)
                if entry.name.startswith("."):
                    hidden += 1
                elif stat.S_ISDIR(status.st_mode):
                    todo.append(f"{name}/")
                elif stat.S_ISREG(status.st_mode):
                    sizes[name] = status.st_size
                else:
                    raise ProofError("the folder holds a link or something else that is no plain file")
                if len(sizes) + len(todo) + hidden > 2 * FILES_MAX:
                    raise ProofError("the folder holds more files than a bundle can: name the bundle's own folder")
    _check_sizes(0, list(sizes.values()))
    return {name: (folder / name).read_bytes() for name in _in_order(sizes)}, hidden


def _in_order(names: Mapping[str, object] | list[str]) -> list[str]:
    """The manifest, then the rest by bytes. Raises ProofError for a bad name, or two that a file system may mix up."""
    for name in names:
        _check_name(name)
    if len({name.lower() for name in names}) != len(names):
        raise ProofError("two files of the bundle have the same name")
    if MANIFEST not in names:
        raise ProofError(f"there is no {MANIFEST}: this is not a proof bundle")
    return [MANIFEST, *sorted(name for name in names if name != MANIFEST)]


def _check_name(name: str) -> None:
    if len(name) > NAME_BYTES_MAX or _NAME.fullmatch(name) is None:
        raise ProofError("a file's name is not one that a bundle can hold: it is absolute, hidden, or not plain ASCII")


def _check_sizes(archive: int, contents: list[int]) -> None:
    if (
        archive > ARCHIVE_BYTES_MAX
        or len(contents) > FILES_MAX
        or max(contents, default=0) > FILE_BYTES_MAX
        or sum(contents) > CONTENT_BYTES_MAX
    ):
        raise ProofError("the bundle is larger than one may be (docs/bundle-format.md): it is not unpacked")


def _headers(name: str, method: int, crc: int, packed: int, size: int, at: int) -> tuple[bytes, bytes]:
    """The one local and the one central header that a file of these sizes, at this place, has."""
    raw = name.encode("latin-1")
    same = (method, 0, _DATE, crc, packed, size, len(raw), 0)
    local = _LOCAL.pack(b"PK\x03\x04", _VERSION, 0, *same)
    central = _CENTRAL.pack(b"PK\x01\x02", _MADE_BY, _VERSION, 0, *same, 0, 0, 0, _MODE, at)
    return local + raw, central + raw


def _end(count: int, central_bytes: int, central_at: int) -> bytes:
    return _END.pack(b"PK\x05\x06", 0, 0, count, count, central_bytes, central_at, 0)

# ---------------------------------------------------------------------------------------------------------------------
# schemas.log_keys: Keys in time: the signing keys a log ever had, and the statements by which each handed over to the next.
# ---------------------------------------------------------------------------------------------------------------------


FORMAT: Final = "sayso-keys/v1"
STATEMENT_HEADER: Final = "sayso/log-key/v1"
# One a year for longer than a log lives; a verifier need not follow a stranger's endless chain.
KEYS_MAX: Final = 1000
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{6})?Z", re.ASCII)
_DOCUMENT_MEMBERS: Final = frozenset({"format", "log", "keys"})
_log_keys_LOG_MEMBERS: Final = frozenset({"name", "origin"})
_KEY_MEMBERS: Final = frozenset({"number", "vkey", "made_at", "ends_at", "statement"})


@dataclass(frozen=True, slots=True)
class KeyStatement:
    """What two keys of a log sign: from checkpoints larger than `from_size` on, key `number` (2 or more) signs too.

    before: key `number` - 1. new: key `number`. Both are Ed25519 keys (type 01) under the log's origin as name.
    Raises CheckpointError for a statement that no log makes.
    """

    number: int
    before: VerifierKey
    new: VerifierKey
    from_size: int

    def __post_init__(self) -> None:
        """Refuse what would not read back as the same statement."""
        kinds = {self.before.kind, self.new.kind}
        if self.number < 2 or self.from_size < 0 or kinds != {KeyKind.ED25519}:
            raise CheckpointError("a key statement is about key 2 or later, a size from 0 on, and two Ed25519 keys")
        if self.before.name != self.new.name or self.before == self.new:
            raise CheckpointError("a key statement is about two different keys of one log")

    def text(self) -> str:
        """The six lines that both keys sign."""
        lines = (STATEMENT_HEADER, self.new.name, self.number, self.before, self.new, self.from_size)
        return "".join(f"{line}\n" for line in lines)

    def sign(self, by_before: Callable[[bytes], bytes], by_new: Callable[[bytes], bytes]) -> str:
        """The signed note; each callable makes its key's Ed25519 signature of a message."""
        text = self.text()
        message = text.encode()
        return signed_note(text, [(self.before, by_before(message)), (self.new, by_new(message))])


def read_statement(note: str) -> KeyStatement:
    """Read and verify a statement: its form, and the signatures of both keys it names. Raises CheckpointError."""
    # 1. The six lines, strictly.
    lines = note.partition("\n\n")[0].split("\n")
    if len(lines) != 6 or lines[0] != STATEMENT_HEADER:
        raise CheckpointError("not a statement about a log's keys: it must have six lines, of which the first is fixed")
    _, origin, number, before, new, from_size = lines
    numbers = decode_decimal(number), decode_decimal(from_size)
    if numbers[0] is None or numbers[1] is None:
        raise CheckpointError("a number in a key statement is not a plain decimal below 2^63")
    statement = KeyStatement(numbers[0], parse_verifier_key(before), parse_verifier_key(new), numbers[1])
    if statement.new.name != origin:
        raise CheckpointError("a key statement names keys of another log than its own")
    # 2. Both keys have signed these very lines, in this order, and nobody else has.
    opened = open_note(note, [statement.before, statement.new])
    signers = [signature.key for signature in opened.signatures]
    if signers != [statement.before, statement.new] or note.rpartition("\n\n")[2].count("\n") != len(signers):
        raise CheckpointError("a key statement must be signed by the key before and the new key, and nobody else")
    if opened.text != statement.text():
        raise CheckpointError("a key statement is not spelled as logs spell it")
    return statement


@dataclass(frozen=True, slots=True)
class LogKey:
    """One key of a log. from_size: it signs checkpoints larger than that; None for the first key, which signs from 0.

    made_at, ends_at: RFC 3339, for people; they prove nothing. statement: the note that introduced it, verbatim.
    """

    number: int
    vkey: VerifierKey
    made_at: str
    ends_at: str | None
    statement: str | None
    from_size: int | None


@dataclass(frozen=True, slots=True)
class LogKeys:
    """The verified chain of a log's keys, in order, number 1 first."""

    name: str
    origin: str
    keys: tuple[LogKey, ...]

    def document(self) -> dict[str, Any]:
        """The members of a `sayso-keys/v1` document."""
        keys = [
            {
                "number": key.number,
                "vkey": str(key.vkey),
                "made_at": key.made_at,
                "ends_at": key.ends_at,
                "statement": key.statement,
            }
            for key in self.keys
        ]
        return {"format": FORMAT, "log": {"name": self.name, "origin": self.origin}, "keys": keys}


def read_log_keys(raw: bytes) -> LogKeys:
    """Read and verify a canonical `sayso-keys/v1` document. Raises ProofError."""
    return check_log_keys(read_canonical(raw, "keys.json", controls=True))


def check_log_keys(document: Mapping[str, Any]) -> LogKeys:
    """Verify a parsed document strictly: types, members, numbers without a gap, every statement. Raises ProofError."""
    if document.get("format") != FORMAT or set(document) != _DOCUMENT_MEMBERS:
        raise ProofError(f"not a document of the format {FORMAT}, or it has other members")
    log, keys = document["log"], document["keys"]
    if type(log) is not dict or set(log) != _log_keys_LOG_MEMBERS or not all(type(value) is str for value in log.values()):
        raise ProofError("the keys must name their log by name and origin")
    if type(keys) is not list or not 1 <= len(keys) <= KEYS_MAX:
        raise ProofError(f"the keys of a log are a list of 1 to {KEYS_MAX}")
    chain: list[LogKey] = []
    for number, members in enumerate(keys, start=1):
        chain.append(_next_key(members, number, log["origin"], chain))
    if len({key.vkey for key in chain}) != len(chain):
        raise ProofError("one key stands twice in the chain of a log's keys")
    return LogKeys(log["name"], log["origin"], tuple(chain))


def _next_key(members: Any, number: int, origin: str, chain: list[LogKey]) -> LogKey:
    if type(members) is not dict or set(members) != _KEY_MEMBERS:
        raise ProofError(f"key {number} of the log has unknown members or lacks some")
    made_at, ends_at, statement = members["made_at"], members["ends_at"], members["statement"]
    if type(members["number"]) is not int or members["number"] != number:
        raise ProofError("the keys of a log are numbered from 1 without a gap")
    if not _is_time(made_at) or not (ends_at is None or _is_time(ends_at)):
        raise ProofError(f"a time of key {number} is not written as RFC 3339 in UTC")
    if type(members["vkey"]) is not str:
        raise ProofError(f"key {number} is not a verifier key")
    vkey = parse_verifier_key(members["vkey"])
    if vkey.kind is not KeyKind.ED25519 or vkey.name != origin:
        raise ProofError(f"key {number} is not an Ed25519 key under the log's origin")
    if not chain:
        if statement is not None:
            raise ProofError("the first key of a log has no statement")
        return LogKey(number, vkey, made_at, ends_at, None, None)
    if type(statement) is not str:
        raise ProofError(f"key {number} has no statement, so nothing ties it to the key before")
    said = read_statement(statement)
    if (said.number, said.before, said.new) != (number, chain[-1].vkey, vkey):
        raise ProofError(f"the statement of key {number} is about other keys")
    if said.from_size < (chain[-1].from_size or 0):
        raise ProofError(f"key {number} begins before the key before it")
    return LogKey(number, vkey, made_at, ends_at, statement, said.from_size)


def _is_time(value: Any) -> bool:
    return type(value) is str and _TIME.fullmatch(value) is not None


def keys_at(keys: LogKeys, size: int) -> tuple[VerifierKey, ...]:
    """The keys that count for a checkpoint of this size: those that had begun to sign by then."""
    return tuple(key.vkey for key in keys.keys if key.from_size is None or size > key.from_size)

# ---------------------------------------------------------------------------------------------------------------------
# schemas.manifest: What lies where in a proof bundle: paths, the manifest, and how a notice is set as text (docs/bundle-format.md).
# ---------------------------------------------------------------------------------------------------------------------


BUNDLE_FORMAT: Final = "sayso-bundle/v1"
BUNDLE_LEVELS_MAX: Final = 32  # a report holds whole parts, which may have 16 levels of their own
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SLUG: Final = r"[a-z0-9][a-z0-9-]{0,62}"
_UUID_PATTERN = re.compile(_UUID)
_TIME_PATTERN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_ALONE: Final = ("README.txt", "report.json", "report.pdf")
_RECEIPT_KEYS: Final = "receipts.jwks"
_CERTIFICATE: Final = "certificate.jws"
_manifest_OPTIONAL: Final = ("verify.py", "verify.html", _RECEIPT_KEYS, _CERTIFICATE)
_EVENT_PATH = re.compile(rf"events/(?P<event>{_UUID})/(?P<file>proof\.json|proof\.tlog-proof|receipt\.jws)")
_LOG_PATH = re.compile(rf"logs/(?P<log>{_SLUG})/(?P<file>keys\.json|policy\.txt)")
_CHECKPOINT_PATH = re.compile(rf"logs/(?P<log>{_SLUG})/checkpoints/(?P<size>[0-9]+)\.(?P<file>note|signed)")
_TIMESTAMP_PATH = re.compile(
    rf"logs/(?P<log>{_SLUG})/timestamps/(?P<size>[0-9]+)-(?P<authority>{_SLUG})\.(?P<file>tsr|nonce)"
)
_ROOTS_PATH = re.compile(rf"logs/(?P<log>{_SLUG})/timestamps/(?P<authority>{_SLUG})\.(?P<file>pem)")
_LOG_PATHS: Final = (_LOG_PATH, _CHECKPOINT_PATH, _TIMESTAMP_PATH, _ROOTS_PATH)
_NOTICE_PATH = re.compile(r"notices/(?P<sha256>[0-9a-f]{64})\.(?P<file>json|txt|html)")
_CATALOGUE_PATH = re.compile(rf"catalogue/{_SLUG}\.yaml")


@dataclass(slots=True)
class LogFiles:
    """The files of one log: `files` by their place below logs/LOG/, the size of its checkpoint, and its authorities."""

    files: dict[str, bytes] = field(default_factory=dict)
    sizes: set[int] = field(default_factory=set)
    stamped: set[str] = field(default_factory=set)

    @property
    def size(self) -> int:
        """The size of the log's one checkpoint, once `read_contents` has seen that there is one."""
        return next(iter(self.sizes))

    def checkpoint(self, kind: str) -> bytes:
        """The checkpoint as a `note` with cosignatures, or as it was `signed`."""
        return self.files[f"checkpoints/{self.size}.{kind}"]

    def timestamp(self, authority: str, kind: str) -> bytes:
        """The `tsr` or the `nonce` of an authority."""
        return self.files[f"timestamps/{self.size}-{authority}.{kind}"]


@dataclass(slots=True)
class Contents:
    """A bundle by its layout. events: id -> its files by name. notices: hash -> its files by ending."""

    made_at: str
    about: dict[str, Any]
    events: dict[str, dict[str, bytes]] = field(default_factory=dict)
    logs: dict[str, LogFiles] = field(default_factory=dict)
    notices: dict[str, dict[str, bytes]] = field(default_factory=dict)
    catalogue: list[str] = field(default_factory=list)
    report: bytes = b""
    jwks: bytes | None = None
    certificate: bytes | None = None


def read_manifest(files: Mapping[str, bytes]) -> Contents:
    """Check the manifest against the files; return what it says of itself. Raises ProofError."""
    # 1. Its own form.
    value = read_canonical(files[MANIFEST], MANIFEST, levels=BUNDLE_LEVELS_MAX)
    if value.get("format") != BUNDLE_FORMAT:
        raise ProofError(
            f"this is no bundle of the format {BUNDLE_FORMAT}: use the verifier of the version that made it"
        )
    if set(value) != {"format", "made_at", "about", "files"}:
        raise ProofError("the manifest has unknown members or lacks some")
    made_at, about, hashes = value["made_at"], value["about"], value["files"]
    if not isinstance(made_at, str) or _TIME_PATTERN.fullmatch(made_at) is None:
        raise ProofError("the manifest does not say in RFC 3339 when it was made")
    # 2. It names the files that are there, and no others.
    if not isinstance(hashes, dict) or set(hashes) != set(files) - {MANIFEST}:
        raise ProofError("the manifest names other files than are there: some were added, renamed or removed")
    # 3. Each is what it was.
    for name, content in files.items():
        if name != MANIFEST and hashlib.sha256(content).hexdigest() != hashes[name]:
            raise ProofError(f"{name} is not the file that the manifest names: it was changed or damaged")
    return Contents(made_at, _read_about(about))


def _read_about(about: Any) -> dict[str, Any]:
    members = {"event": {"event"}, "subject": {"subject", "complete"}, "erasure": {"subject"}}
    kind = about.get("kind") if isinstance(about, dict) else None
    if not isinstance(about, dict) or kind not in members or set(about) != {"kind"} | members[kind]:
        raise ProofError("the manifest does not say what the bundle is about")
    named = about["event"] if kind == "event" else about["subject"]
    if not (kind == "erasure" and named is None) and not (isinstance(named, str) and _UUID_PATTERN.fullmatch(named)):
        raise ProofError("the manifest does not name its event or subject by a lower-case UUID")
    if kind == "subject" and type(about["complete"]) is not bool:
        raise ProofError("the manifest does not say whether the bundle is complete")
    return about


def read_contents(contents: Contents, files: Mapping[str, bytes]) -> None:
    """Sort the files by the layout into `contents`. Raises ProofError for any without a place, and for missing ones."""
    # 1. Every file has its place.
    for path, content in files.items():
        if path != MANIFEST and path not in _ALONE and path not in _manifest_OPTIONAL:
            _place(contents, path, content)
    # 2. What must be there is.
    if missing := [path for path in _ALONE if path not in files]:
        raise ProofError(f"{missing[0]} is missing")
    contents.report, contents.jwks = files["report.json"], files.get(_RECEIPT_KEYS)
    contents.certificate = files.get(_CERTIFICATE)
    if (contents.certificate is None) == (contents.about["kind"] == "erasure"):
        raise ProofError(f"{_CERTIFICATE} must be there for an erasure, and for nothing else")
    signed = contents.certificate is not None or any("receipt.jws" in found for found in contents.events.values())
    if signed != (contents.jwks is not None):
        raise ProofError(f"{_RECEIPT_KEYS} must be there if something in the bundle is signed with them, and only then")
    for event, found in contents.events.items():
        if not {"proof.json", "proof.tlog-proof"} <= set(found):
            raise ProofError(f"events/{event} lacks one spelling of its proof")
    for name, log in contents.logs.items():
        _check_log(name, log)
    for sha256, found in contents.notices.items():
        if not {"json", "txt"} <= set(found):
            raise ProofError(f"notices/{sha256} lacks its bytes or its text")
    # 3. The events are those that it is about.
    about = contents.about
    if not contents.events or (about["kind"] == "event" and set(contents.events) != {about["event"]}):
        raise ProofError("the bundle holds other events than the manifest says it is about")


def _place(contents: Contents, path: str, content: bytes) -> None:
    if match := _EVENT_PATH.fullmatch(path):
        contents.events.setdefault(match["event"], {})[match["file"]] = content
    elif match := _NOTICE_PATH.fullmatch(path):
        contents.notices.setdefault(match["sha256"], {})[match["file"]] = content
    elif _CATALOGUE_PATH.fullmatch(path):
        contents.catalogue.append(path)
    elif match := next(filter(None, (pattern.fullmatch(path) for pattern in _LOG_PATHS)), None):
        log = contents.logs.setdefault(match["log"], LogFiles())
        log.files[path.removeprefix(f"logs/{match['log']}/")] = content
        named = match.groupdict()
        if "size" in named:
            size = decode_decimal(named["size"])
            if size is None:
                raise ProofError(f"{path} has no place in a bundle: its size is not a plain decimal number")
            log.sizes.add(size)
        if "authority" in named:
            log.stamped.add(named["authority"])
    else:
        raise ProofError(f"{path} has no place in a bundle")


def _check_log(name: str, log: LogFiles) -> None:
    if len(log.sizes) != 1:
        raise ProofError(f"logs/{name} does not hold exactly one checkpoint")
    needed = {"keys.json", f"checkpoints/{log.size}.note", f"checkpoints/{log.size}.signed"}
    for authority in log.stamped:
        stem = f"timestamps/{log.size}-{authority}"
        needed |= {f"{stem}.tsr", f"{stem}.nonce", f"timestamps/{authority}.pem"}
    if set(log.files) - {"policy.txt"} != needed:
        raise ProofError(f"logs/{name} lacks a file that belongs to its checkpoint or its timestamps")


def notice_text(notice: Mapping[str, Any]) -> str:
    """A notice for people to read, one spelling for one notice. Raises KeyError or TypeError for no notice of ours."""
    lines = [notice["title"], "", notice["text"], ""]
    for purpose in notice["purposes"]:
        lines += [
            f"- {purpose['title']} [{purpose['purpose']}; {purpose['legal_basis']}]",
            f"  {purpose['description']}",
        ]
        if purpose["services"]:
            lines.append(f"  {', '.join(purpose['services'])}")
    controller = notice["controller"]
    lines += ["", f"{controller['name']}, {controller['contact']}", notice["withdrawal"]]
    if "policy_url" in notice:
        lines.append(notice["policy_url"])
    lines.append(f"[{notice['notice_id']} {notice['version']} {notice['language']}]")
    if "ui_sha256" in notice:
        lines.append(f"[shown by code with the SHA-256 {notice['ui_sha256']}]")
    return "".join(f"{line}\n" for line in lines)


def check_notice(sha256: str, files: Mapping[str, bytes]) -> None:
    """Check that text and HTML are those of the notice's own bytes, and these of its name. Raises ProofError."""
    content = files["json"]
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ProofError(f"notices/{sha256}.json does not have the hash that it is named by")
    notice = read_canonical(content, f"notices/{sha256}.json", controls=True)
    try:
        text, html = notice_text(notice), notice.get("html")
    except (KeyError, TypeError):
        raise ProofError(f"notices/{sha256}.json is not a notice of this version") from None
    if files["txt"] != text.encode():
        raise ProofError(f"notices/{sha256}.txt is not the text of that notice")
    if files.get("html") != (None if html is None else str(html).encode()):
        raise ProofError(f"notices/{sha256}.html is not what that notice says was shown")

# ---------------------------------------------------------------------------------------------------------------------
# schemas.policy: C2SP tlog-policy: which logs and witnesses are known, and which cosignatures make a checkpoint good enough.
# ---------------------------------------------------------------------------------------------------------------------


# The policy that asks for no cosignature; it can name neither a witness nor a group.
NONE: Final = "none"
_SPACES = re.compile(r"[ \t]+")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_GROUP_ITEMS_MIN: Final = 3


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log that the policy accepts: its verifier key, whose name is the origin, and where it is, if the file says."""

    key: VerifierKey
    url: str | None


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness: its name within the policy, its key (type 04 or 06), its submission prefix, if the file says."""

    name: str
    key: VerifierKey
    url: str | None


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """A group has witnessed a checkpoint when at least `threshold` of its members (witnesses or groups) have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy, in the order of its file. quorum: the name of a witness or group, or None for `quorum none`."""

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]
    quorum: str | None

    def is_met(self, cosigned: Collection[str]) -> bool:
        """Whether cosignatures of the witnesses with these names (in this policy) are enough."""
        witnessed = {witness.name for witness in self.witnesses if witness.name in cosigned}
        # Members are defined before their group, so one pass in the order of the file settles all of them.
        for group in self.groups:
            if sum(member in witnessed for member in group.members) >= group.threshold:
                witnessed.add(group.name)
        return self.quorum is None or self.quorum in witnessed

    def accepts_log(self, origin: str) -> bool:
        """Whether the policy is about this log: it names it, or names none and leaves that to its reader."""
        return not self.logs or any(log.key.name == origin for log in self.logs)


class _Reader:
    """The policy as far as it is read: `line` takes one line, the methods below it the items after its keyword."""

    def __init__(self) -> None:
        self.logs: list[PolicyLog] = []
        self.witnesses: list[PolicyWitness] = []
        self.groups: list[PolicyGroup] = []
        self.quorums: list[str | None] = []
        # Names defined so far that no group has as a member yet, and those that one has.
        self._free: set[str] = set()
        self._taken: set[str] = set()
        self._public_keys: set[tuple[bool, bytes]] = set()

    def line(self, line: str) -> None:
        """One line without its newline; comments and empty lines say nothing."""
        if _FORBIDDEN.search(line):
            raise ProofError("it holds a control character: save the file with plain newlines, without returns")
        keyword, *items = _SPACES.split(line.strip(" \t"))
        if not keyword or keyword.startswith("#"):
            return
        read = {"log": self.log, "witness": self.witness, "group": self.group, "quorum": self.quorum}.get(keyword)
        if read is None:
            raise ProofError("it begins with none of log, witness, group and quorum: correct it or put # before it")
        read(items)

    def log(self, items: list[str]) -> None:
        """`log <vkey> [<url>]`."""
        if not 1 <= len(items) <= 2:
            raise ProofError("write log <vkey> [<url>], and comments on lines of their own")
        key = self._key(items[0], {KeyKind.ED25519}, "a log's key must be of type 01 (Ed25519)")
        self.logs.append(PolicyLog(key, items[1] if len(items) > 1 else None))

    def witness(self, items: list[str]) -> None:
        """`witness <name> <vkey> [<url>]`."""
        if not 2 <= len(items) <= 3:
            raise ProofError("write witness <name> <vkey> [<url>], and comments on lines of their own")
        kinds = {KeyKind.COSIGNATURE_V1, KeyKind.ML_DSA_44}
        key = self._key(items[1], kinds, "a witness's key must be of type 04 (cosignature/v1) or 06 (ML-DSA-44)")
        self._define(items[0])
        self.witnesses.append(PolicyWitness(items[0], key, items[2] if len(items) > 2 else None))

    def group(self, items: list[str]) -> None:
        """`group <name> all|any|<k> <name>...`."""
        if len(items) < _GROUP_ITEMS_MIN:
            raise ProofError("write group <name> all|any|<k> <name>..., with at least one member")
        name, rule, *members = items
        for member in members:
            self._use(member)
            if member in self._taken:
                raise ProofError("a name stands as a member a second time: let each witness and group count once")
            self._taken.add(member)
        threshold = {"all": len(members), "any": 1}.get(rule, decode_decimal(rule))
        if threshold is None or not 1 <= threshold <= len(members):
            raise ProofError("the rule of a group is all, any, or a number from 1 to the number of its members")
        self._define(name)
        self.groups.append(PolicyGroup(name, threshold, tuple(members)))

    def quorum(self, items: list[str]) -> None:
        """`quorum <name>|none`."""
        if len(items) != 1:
            raise ProofError("write quorum <name> or quorum none, and comments on lines of their own")
        if self.quorums:
            raise ProofError("there is a quorum line already: keep one, and combine names with a group")
        if items[0] != NONE:
            self._use(items[0])
        self.quorums.append(None if items[0] == NONE else items[0])

    def _define(self, name: str) -> None:
        if name == NONE:
            raise ProofError(f"the name {NONE} is reserved for the quorum: choose another")
        if name in self._free:
            raise ProofError("the name is already that of a witness or group: names must differ")
        self._free.add(name)

    def _use(self, name: str) -> None:
        if name == NONE:
            raise ProofError(f"{NONE} stands only alone, as the quorum")
        if name not in self._free:
            raise ProofError("a name is used that no line above defines: define witnesses and groups before their use")

    def _key(self, vkey: str, kinds: set[KeyKind], otherwise: str) -> VerifierKey:
        key = parse_verifier_key(vkey)
        if key.kind not in kinds:
            raise ProofError(otherwise)
        # The same bytes under another name would let one party count twice.
        place = key.kind is KeyKind.ED25519, key.public_key
        if place in self._public_keys:
            raise ProofError("the same public key stands on a line above: list every key once")
        self._public_keys.add(place)
        return key


def parse_policy(data: str | bytes) -> Policy:
    """Read a policy file. Raises ProofError that names the line (from 1) and says what to do."""
    # 1. Text: UTF-8, whole lines, no control characters but tab and newline.
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
    except UnicodeDecodeError:
        raise ProofError("the policy is not UTF-8: save it as plain text") from None
    lines = text.split("\n")
    if lines.pop():
        raise ProofError("the policy does not end in a newline: it may be cut off; add the newline if it is whole")
    # 2. Line by line; what a line names must stand above it.
    reader = _Reader()
    for number, line in enumerate(lines, start=1):
        try:
            reader.line(line)
        except ProofError as error:
            raise ProofError(f"line {number} of the policy: {error}") from None
    # 3. Exactly one quorum.
    if not reader.quorums:
        raise ProofError("the policy has no quorum line: add quorum <name>, or quorum none to ask for no cosignature")
    return Policy(tuple(reader.logs), tuple(reader.witnesses), tuple(reader.groups), reader.quorums[0])

# ---------------------------------------------------------------------------------------------------------------------
# schemas.der: A reader of DER (X.690), as much of it as RFC 3161 tokens and certificates need.
# ---------------------------------------------------------------------------------------------------------------------


DER_BOOLEAN: Final = 0x01
DER_INTEGER: Final = 0x02
DER_BITS: Final = 0x03
DER_OCTETS: Final = 0x04
DER_NULL: Final = 0x05
DER_OID: Final = 0x06
DER_TIME: Final = 0x18  # GeneralizedTime
DER_SEQUENCE: Final = 0x30
DER_SET: Final = 0x31
_LENGTH_BYTES_MAX: Final = 4
_OID_BYTES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class DerValue:
    """One value: its tag byte (class, constructed bit and number together), its content, and its whole encoding."""

    tag: int
    content: bytes
    encoded: bytes


class DerReader:
    """Reads the values of one content, in order. Every method raises ProofError for what is not DER or not expected."""

    def __init__(self, content: bytes, what: str) -> None:
        """`what` names the structure in messages."""
        self._content = content
        self._at = 0
        self._what = what

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._content)

    def tag(self) -> int | None:
        """The tag of the next value; None at the end."""
        return self._content[self._at] if self.more else None

    def any(self) -> DerValue:
        """The next value, whatever it is."""
        content, start = self._content, self._at
        # 1. The tag is one byte: numbers above 30 stand in none of our structures.
        if start + 2 > len(content) or content[start] & 0x1F == 0x1F:
            raise self._broken("a value is cut off, or has a tag that does not belong there")
        # 2. The length is definite, and in its shortest form.
        length, body = content[start + 1], start + 2
        if length >= 0x80:
            count = length & 0x7F
            body += count
            length = int.from_bytes(content[start + 2 : body], "big")
            if not 0 < count <= _LENGTH_BYTES_MAX or length < 0x80 or length >> 8 * (count - 1) == 0:
                raise self._broken("a length is not definite and shortest")
        # 3. All of the content is there.
        end = body + length
        if end > len(content):
            raise self._broken("a value is cut off")
        self._at = end
        return DerValue(content[start], content[body:end], content[start:end])

    def next(self, tag: int) -> DerValue:
        """The next value, which must have this tag."""
        if self.tag() != tag:
            raise self._broken(f"a value with the tag {tag:#04x} is missing")
        return self.any()

    def optional(self, tag: int) -> DerValue | None:
        """The next value if it has this tag."""
        return self.any() if self.tag() == tag else None

    def inside(self, tag: int) -> "DerReader":
        """A reader of the content of the next value, which must have this tag."""
        return DerReader(self.next(tag).content, self._what)

    def integer(self, tag: int = DER_INTEGER) -> int:
        """An INTEGER, or one under an implicit tag."""
        content = self.next(tag).content
        if not content or (len(content) > 1 and content[0] in {0x00, 0xFF} and content[0] >> 7 == content[1] >> 7):
            raise self._broken("an integer is not in its shortest form")
        return int.from_bytes(content, "big", signed=True)

    def boolean(self) -> bool:
        """A BOOLEAN; DER knows 0x00 and 0xFF only."""
        content = self.next(DER_BOOLEAN).content
        if content not in {b"\x00", b"\xff"}:
            raise self._broken("a boolean is neither 00 nor ff")
        return content == b"\xff"

    def oid(self) -> str:
        """An OBJECT IDENTIFIER in dotted form."""
        content = self.next(DER_OID).content
        if len(content) > _OID_BYTES_MAX:
            raise self._broken("an object identifier is longer than any that is in use")
        numbers, number, begun = [], 0, False
        for byte in content:
            if not begun and byte == 0x80:
                raise self._broken("an object identifier is not in its shortest form")
            number, begun = number << 7 | byte & 0x7F, byte >= 0x80
            if not begun:
                numbers.append(number)
                number = 0
        if begun or not numbers:
            raise self._broken("an object identifier is cut off")
        first = min(numbers[0] // 40, 2)
        return ".".join(str(number) for number in (first, numbers[0] - 40 * first, *numbers[1:]))

    def end(self) -> None:
        """Nothing may be left."""
        if self.more:
            raise self._broken("there is something behind its end")

    def _broken(self, why: str) -> ProofError:
        return ProofError(f"{self._what} is malformed: {why}")

# ---------------------------------------------------------------------------------------------------------------------
# schemas.timestamp_token: What an RFC 3161 response holds, read strictly; nothing here is verified (schemas.timestamp does that).
# ---------------------------------------------------------------------------------------------------------------------


# Far above any token with a chain of certificates in it.
RESPONSE_BYTES_MAX: Final = 64 * 1024
SHA256_OID: Final = "2.16.840.1.101.3.4.2.1"
# In the order of the signature algorithms that go with them.
TOKEN_HASHES: Final = (SHA256_OID, "2.16.840.1.101.3.4.2.2", "2.16.840.1.101.3.4.2.3")
TST_INFO_OID: Final = "1.2.840.113549.1.9.16.1.4"
_SIGNED_DATA_OID: Final = "1.2.840.113549.1.7.2"
_SERIAL_BITS_MAX: Final = 160
_GENERALIZED_TIME = re.compile(rb"(\d{14})(?:\.(\d{1,9}))?Z")


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """TSTInfo (RFC 3161 section 2.4.2) as it stands in a token, nothing of it verified; tsa is the DER of a name."""

    policy: str
    imprint: bytes
    serial: int
    gen_time: datetime
    accuracy: timedelta | None
    nonce: int | None
    tsa: bytes | None


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """SignerInfo (RFC 5652 section 5.3); signed is what the signature covers, attributes the values by type."""

    issuer: bytes
    serial: int
    digest: str
    signed: bytes
    attributes: Mapping[str, DerValue]
    algorithm: str
    parameters: DerValue | None
    signature: bytes


@dataclass(frozen=True, slots=True)
class TimestampToken:
    """A granted TimeStampResp, taken apart and not verified: TSTInfo and its exact bytes, certificates, the signer."""

    info: TokenInfo
    content: bytes
    certificates: tuple[bytes, ...]
    signer: TokenSigner


def parse_timestamp(response: bytes) -> TimestampToken:
    """Take a granted TimeStampResp apart (RFC 3161 section 2.4.2, RFC 5652 section 5). Raises ProofError."""
    if len(response) > RESPONSE_BYTES_MAX:
        raise ProofError(f"the timestamp response is longer than {RESPONSE_BYTES_MAX} bytes")
    # 1. The status; its texts and failure bits are of no use to a verifier.
    reader = DerReader(response, "the timestamp response")
    body = reader.inside(DER_SEQUENCE)
    reader.end()
    if body.inside(DER_SEQUENCE).integer() != 0:
        raise ProofError("the authority has refused: the response's status is not granted")
    # 2. The token: SignedData over TSTInfo, by one signer.
    token = DerReader(body.next(DER_SEQUENCE).content, "the timestamp token")
    body.end()
    if token.oid() != _SIGNED_DATA_OID:
        raise ProofError("the timestamp token is not signed data")
    signed = token.inside(0xA0).inside(DER_SEQUENCE)
    token.end()
    if signed.integer() not in {3, 4, 5}:
        raise ProofError("the timestamp token has another version than signed data with a content type")
    digests = _read_digests(signed.inside(DER_SET))
    encapsulated = signed.inside(DER_SEQUENCE)
    if encapsulated.oid() != TST_INFO_OID:
        raise ProofError("the timestamp token signs something other than a timestamp")
    content = encapsulated.inside(0xA0).next(DER_OCTETS).content
    encapsulated.end()
    certificates = []
    if (choices := signed.optional(0xA0)) is not None:
        listed = DerReader(choices.content, "the timestamp's list of certificates")
        while listed.more:
            # In whatever order: signers of OpenSSL's make do not sort this SET. Other kinds than X.509 are passed over.
            if (choice := listed.any()).tag == DER_SEQUENCE:
                certificates.append(choice.encoded)
    signed.optional(0xA1)
    signers = signed.inside(DER_SET)
    signed.end()
    signer = _read_signer(signers.inside(DER_SEQUENCE))
    signers.end()
    if signer.digest not in digests:
        raise ProofError("the timestamp's signer uses a hash that the token does not list")
    return TimestampToken(_read_info(content), content, tuple(certificates), signer)


def _read_info(content: bytes) -> TokenInfo:
    reader = DerReader(content, "the timestamp's content")
    body = reader.inside(DER_SEQUENCE)
    reader.end()
    if body.integer() != 1:
        raise ProofError("the timestamp's content has another version than 1")
    policy = body.oid()
    imprint = body.inside(DER_SEQUENCE)
    if read_token_hash(imprint) != SHA256_OID:
        raise ProofError("the timestamp's imprint is not SHA-256")
    digest = imprint.next(DER_OCTETS).content
    imprint.end()
    serial = body.integer()
    if serial.bit_length() > _SERIAL_BITS_MAX:
        raise ProofError("the timestamp's serial number is longer than 160 bits")
    gen_time = _read_time(body.next(DER_TIME).content)
    accuracy = _read_accuracy(body.inside(DER_SEQUENCE)) if body.tag() == DER_SEQUENCE else None
    if body.tag() == DER_BOOLEAN:
        body.boolean()
    nonce = body.integer() if body.tag() == DER_INTEGER else None
    tsa = None
    if (name := body.optional(0xA0)) is not None:
        general = DerReader(name.content, "the name of the timestamp's authority")
        # A directoryName; under any other kind nothing here could find the certificate.
        tsa = general.next(0xA4).content
        general.end()
    if (extensions := body.optional(0xA1)) is not None:
        _refuse_critical(DerReader(extensions.content, "the timestamp's extensions"))
    body.end()
    return TokenInfo(policy, digest, serial, gen_time, accuracy, nonce, tsa)


def _refuse_critical(extensions: DerReader) -> None:
    while extensions.more:
        extension = extensions.inside(DER_SEQUENCE)
        extension.oid()
        if extension.tag() == DER_BOOLEAN and extension.boolean():
            raise ProofError("the timestamp holds a critical extension that this verifier does not know")


def _read_time(content: bytes) -> datetime:
    match = _GENERALIZED_TIME.fullmatch(content)
    if match is None:
        raise ProofError("the timestamp's time is not one in UTC, to the second or finer")
    try:
        whole = datetime.strptime(match[1].decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise ProofError("the timestamp's time is no time of any day") from error
    return whole + timedelta(microseconds=int((match[2] or b"").ljust(6, b"0")[:6]))


def _read_accuracy(body: DerReader) -> timedelta:
    seconds = body.integer() if body.tag() == DER_INTEGER else 0
    millis = body.integer(0x80) if body.tag() == 0x80 else 0
    micros = body.integer(0x81) if body.tag() == 0x81 else 0
    body.end()
    if not (0 <= seconds < 1 << 31 and 0 <= millis < 1000 and 0 <= micros < 1000):
        raise ProofError("the timestamp's accuracy is out of range")
    return timedelta(seconds=seconds, milliseconds=millis, microseconds=micros)


def _read_digests(listed: DerReader) -> set[str]:
    digests = set()
    while listed.more:
        digests.add(read_token_hash(listed))
    return digests


def _read_signer(body: DerReader) -> TokenSigner:
    if body.integer() != 1:
        raise ProofError("the timestamp's signer is not named by issuer and serial number")
    named = body.inside(DER_SEQUENCE)
    issuer, serial = named.next(DER_SEQUENCE).encoded, named.integer()
    named.end()
    digest = read_token_hash(body)
    attributes = body.next(0xA0)
    algorithm, parameters = read_algorithm(body)
    signature = body.next(DER_OCTETS).content
    # Nobody signed what may follow.
    body.optional(0xA1)
    body.end()
    # RFC 5652 section 5.4: the signature covers the attributes under the tag of a SET.
    signed = bytes([DER_SET]) + attributes.encoded[1:]
    return TokenSigner(issuer, serial, digest, signed, _read_attributes(attributes), algorithm, parameters, signature)


def _read_attributes(attributes: DerValue) -> dict[str, DerValue]:
    found: dict[str, DerValue] = {}
    reader = DerReader(attributes.content, "a signed attribute of the timestamp")
    while reader.more:
        attribute = reader.inside(DER_SEQUENCE)
        kind, values = attribute.oid(), attribute.inside(DER_SET)
        attribute.end()
        if kind in found:
            raise ProofError("the timestamp has the same signed attribute twice")
        found[kind] = values.any()
        values.end()
    return found


def read_algorithm(reader: DerReader) -> tuple[str, DerValue | None]:
    """AlgorithmIdentifier: the dotted name, and the parameters if there are any. Raises ProofError."""
    body = reader.inside(DER_SEQUENCE)
    oid, parameters = body.oid(), body.any() if body.more else None
    body.end()
    return oid, parameters


def read_token_hash(reader: DerReader) -> str:
    """AlgorithmIdentifier of one of TOKEN_HASHES, dotted. Raises ProofError for any other."""
    oid, parameters = read_algorithm(reader)
    if oid not in TOKEN_HASHES or (parameters is not None and parameters.tag != DER_NULL):
        raise ProofError("the timestamp uses a hash other than SHA-256, SHA-384 and SHA-512")
    return oid

# ---------------------------------------------------------------------------------------------------------------------
# schemas.timestamp: RFC 3161 timestamps: did an authority that is pinned really state that it has seen these bytes, and when?
# ---------------------------------------------------------------------------------------------------------------------


_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
_PATH_CERTIFICATES_MAX: Final = 8
_CONTENT_TYPE_OID: Final = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST_OID: Final = "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE_OID: Final = "1.2.840.113549.1.9.16.2.12"  # RFC 2634, SHA-1
_SIGNING_CERTIFICATE_V2_OID: Final = "1.2.840.113549.1.9.16.2.47"  # RFC 5035
_MGF1_OID: Final = "1.2.840.113549.1.1.8"
_RSA_OID: Final = "1.2.840.113549.1.1.1"
_RSA_PSS_OID: Final = "1.2.840.113549.1.1.10"
_ED25519_OID: Final = "1.3.101.112"
_TOKEN_HASH: Final[Mapping[str, hashes.HashAlgorithm]] = dict(
    zip(TOKEN_HASHES, (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()), strict=True)
)
# Signature algorithms that name their hash.
_RSA_WITH: Final = dict(zip((f"1.2.840.113549.1.1.{n}" for n in (11, 12, 13)), TOKEN_HASHES, strict=True))
_ECDSA_WITH: Final = dict(zip((f"1.2.840.10045.4.3.{n}" for n in (2, 3, 4)), TOKEN_HASHES, strict=True))
# Critical extensions that the steps below look at, or that restrict nothing here; any other is refused.
_CRITICAL_KNOWN: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
# What `cryptography` raises for certificates that it cannot make sense of; it reads names and extensions late.
_CERTIFICATE_ERRORS: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Timestamp:
    """What a verified token states.

    gen_time: UTC; the message existed then. authority: subject of the signer's certificate (RFC 4514). serial: the
    token's number at the authority. policy: dotted. accuracy: gen_time is right to within this, None if not stated.
    """

    gen_time: datetime
    authority: str
    serial: int
    policy: str
    accuracy: timedelta | None


@dataclass(frozen=True, slots=True)
class PinnedCertificate:
    """A certificate and the exact bytes of what is compared: itself, its subject, its issuer; serial is positive."""

    x509: x509.Certificate
    encoded: bytes
    subject: bytes
    issuer: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class _CertificateId:
    """ESSCertID or ESSCertIDv2: the hash of a certificate, and perhaps the DER of its issuer's name and its serial."""

    hash_name: str
    digest: bytes
    issuer: bytes | None
    serial: int | None

    def names(self, certificate: PinnedCertificate) -> bool:
        """Whether this is the certificate meant."""
        digest = new_hash(self.hash_name, certificate.encoded, usedforsecurity=False).digest()
        same = self.issuer is None or (self.issuer, self.serial) == (certificate.issuer, certificate.serial)
        return same and digest == self.digest


def verify_timestamp(
    response: bytes,
    message: bytes,
    roots: Sequence[PinnedCertificate],
    *,
    nonce: bytes | None = None,
    policy: str | None = None,
) -> Timestamp:
    """The time at which an authority under one of `roots` has seen SHA-256 of `message`.

    `response` is a whole TimeStampResp, `nonce` that of the request (big-endian), `policy` a dotted one to insist on.
    Raises ProofError with what does not hold.
    """
    # 1-2. A granted response that holds one token with one signer.
    token = parse_timestamp(response)
    info, signer = token.info, token.signer
    # 3. It is over our bytes, answers our request, and is under the policy that was agreed.
    if info.imprint != sha256(message).digest():
        raise ProofError("the timestamp is over other bytes: its imprint is not the SHA-256 of these")
    if nonce is not None and info.nonce != int.from_bytes(nonce, "big"):
        raise ProofError("the timestamp answers another request: its nonce is not the one that was sent")
    if policy is not None and info.policy != policy:
        raise ProofError("the timestamp was issued under another policy than the one agreed with the authority")
    # 4. The token holds the certificate that the signer names; OpenSSL may write the same one twice.
    embedded = [_pinnable(encoded) for encoded in dict.fromkeys(token.certificates)]
    mine = [one for one in embedded if (one.issuer, one.serial) == (signer.issuer, signer.serial)]
    if len(mine) != 1:
        raise ProofError("the timestamp does not hold one certificate of its signer")
    certificate = mine[0]
    # 5. What is signed names the content, its digest and the signer's certificate.
    ids = _check_attributes(token, certificate)
    # 6. The signature.
    _check_signature(signer, certificate)
    with _certificate_problems():
        # 7. The certificate may sign timestamps and nothing else, and the token names no other authority.
        _check_purpose(certificate.x509)
        if info.tsa is not None and info.tsa != certificate.subject:
            raise ProofError("the timestamp names another authority than the one whose certificate signed it")
        # 8. It leads to a pinned root, all of it valid at the stated time, over the certificates that were signed for.
        path = _path_to_root(certificate, embedded, roots, info.gen_time)
        authority = certificate.x509.subject.rfc4514_string()
    if not all(any(one.names(link) for link in path) for one in ids):
        raise ProofError("the timestamp was signed for another path of certificates than the one that it holds")
    return Timestamp(info.gen_time, authority, info.serial, info.policy, info.accuracy)


def read_roots(pem: bytes) -> list[PinnedCertificate]:
    """The certificates of a PEM file to be pinned. Raises ProofError when it holds none, or one that cannot be read."""
    try:
        loaded = x509.load_pem_x509_certificates(pem)
        return [_pinnable(one.public_bytes(Encoding.DER)) for one in loaded]
    except ValueError as error:
        raise ProofError("the pinned roots are not certificates in PEM") from error


@contextmanager
def _certificate_problems() -> Iterator[None]:
    """Turn what `cryptography` raises late into a ProofError."""
    try:
        yield
    except _CERTIFICATE_ERRORS as error:
        raise ProofError("a certificate of the timestamp cannot be read") from error


def _pinnable(encoded: bytes) -> PinnedCertificate:
    """Read a certificate, and cut the exact bytes of issuer and subject out of it (RFC 5280 section 4.1)."""
    whole = DerReader(encoded, "a certificate of the timestamp").inside(DER_SEQUENCE)
    body = whole.inside(DER_SEQUENCE)
    whole.next(DER_SEQUENCE)
    if not whole.next(DER_BITS).content.startswith(b"\0"):
        raise ProofError("the signature of a certificate of the timestamp is not whole bytes")
    whole.end()
    body.optional(0xA0)
    serial = body.integer()
    body.next(DER_SEQUENCE)
    issuer = body.next(DER_SEQUENCE).encoded
    body.next(DER_SEQUENCE)
    subject = body.next(DER_SEQUENCE).encoded
    if serial <= 0:
        raise ProofError("a certificate of the timestamp has a serial number that is not positive")
    with _certificate_problems():
        return PinnedCertificate(x509.load_der_x509_certificate(encoded), encoded, subject, issuer, serial)


def _path_to_root(
    signer: PinnedCertificate,
    embedded: Sequence[PinnedCertificate],
    roots: Sequence[PinnedCertificate],
    at: datetime,
) -> list[PinnedCertificate]:
    """The shortest path from the signer to a pinned root (RFC 5280 section 6.1, without name constraints)."""
    _refuse_unknown(signer.x509)
    if not _valid(signer.x509, at):
        raise ProofError("the signer's certificate was not valid at the time that the timestamp states")
    paths, seen = [[signer]], {signer.encoded}
    for _ in range(_PATH_CERTIFICATES_MAX):
        longer = []
        for path in paths:
            for issuer in roots:
                if _issued(issuer, path, at):
                    return [*path, issuer]
            for issuer in embedded:
                # Each is tried once, at its shortest distance: a stranger's file must not make the search explode.
                if issuer.encoded not in seen and _issued(issuer, path, at):
                    seen.add(issuer.encoded)
                    longer.append([*path, issuer])
        paths = longer
    raise ProofError("the signer's certificate leads to no pinned root that was valid at the time stated")


def _issued(issuer: PinnedCertificate, path: Sequence[PinnedCertificate], at: datetime) -> bool:
    """Whether `issuer` was a valid authority at that time and has signed the last certificate of the path."""
    last = path[-1]
    if issuer.subject != last.issuer or not _valid(issuer.x509, at):
        return False
    try:
        # Those that were issued to their own issuer, in a change of keys, do not count (RFC 5280 section 4.2.1.9).
        below = sum(1 for one in path[1:] if one.subject != one.issuer)
        if not _may_issue(issuer.x509, below=below) or not _strong(last.x509):
            return False
        _refuse_unknown(issuer.x509)
        last.x509.verify_directly_issued_by(issuer.x509)
    except (*_CERTIFICATE_ERRORS, InvalidSignature, ProofError):
        return False
    return True


def _valid(certificate: x509.Certificate, at: datetime) -> bool:
    return certificate.not_valid_before_utc <= at < certificate.not_valid_after_utc


def _strong(certificate: x509.Certificate) -> bool:
    """Whether it was signed over a hash that nobody can collide."""
    if certificate.signature_algorithm_oid.dotted_string == _ED25519_OID:
        return True
    return isinstance(certificate.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512)


def _may_issue(certificate: x509.Certificate, *, below: int) -> bool:
    """Whether it is an authority's, with at most as many authorities below it as it allows."""
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.value.ca or (usage is not None and not usage.value.key_cert_sign):
        return False
    return constraints.value.path_length is None or below <= constraints.value.path_length


def _refuse_unknown(certificate: x509.Certificate) -> None:
    if any(extension.critical and extension.oid not in _CRITICAL_KNOWN for extension in certificate.extensions):
        raise ProofError("a certificate of the timestamp has a critical extension that this verifier does not know")


def _check_purpose(certificate: x509.Certificate) -> None:
    """RFC 3161 section 2.3: one critical purpose, time stamping; a key usage, if stated, for signatures alone."""
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is None or not purposes.critical or list(purposes.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise ProofError("the signer's certificate is not one for timestamps alone, marked critical")
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise ProofError("the signer's certificate is a certificate authority's")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None:
        value = usage.value
        others = (value.key_encipherment, value.data_encipherment, value.key_agreement, value.key_cert_sign)
        if any(others) or value.crl_sign or not (value.digital_signature or value.content_commitment):
            raise ProofError("the signer's certificate allows its key another use than signatures")


def _extension(certificate: x509.Certificate, kind: type[_Kind]) -> "x509.Extension[_Kind] | None":
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _check_attributes(token: TimestampToken, certificate: PinnedCertificate) -> list[_CertificateId]:
    """Content type, digest, and that the signer's certificate is the first one named; all that are named."""
    attributes = token.signer.attributes
    kind = attributes.get(_CONTENT_TYPE_OID)
    if kind is None or DerReader(kind.encoded, "the timestamp's content type").oid() != TST_INFO_OID:
        raise ProofError("the timestamp's signature does not say that it is over a timestamp")
    digest = hashes.Hash(_TOKEN_HASH[token.signer.digest])
    digest.update(token.content)
    stated = attributes.get(_MESSAGE_DIGEST_OID)
    if stated is None or stated.tag != DER_OCTETS or stated.content != digest.finalize():
        raise ProofError("the timestamp's signature is over another content than the one it holds")
    ids: list[_CertificateId] = []
    for oid in (_SIGNING_CERTIFICATE_OID, _SIGNING_CERTIFICATE_V2_OID):
        if (value := attributes.get(oid)) is not None:
            named = _read_certificate_ids(value, with_hash=oid == _SIGNING_CERTIFICATE_V2_OID)
            if not named[0].names(certificate):
                raise ProofError("the timestamp was signed for another certificate than the one that it holds")
            ids += named
    if not ids:
        raise ProofError("the timestamp's signature does not name the signer's certificate")
    return ids


def _read_certificate_ids(value: DerValue, *, with_hash: bool) -> list[_CertificateId]:
    """SigningCertificate (RFC 2634 section 5.4) and, `with_hash`, SigningCertificateV2 (RFC 5035 section 3)."""
    reader = DerReader(value.encoded, "the timestamp's note of its certificates").inside(DER_SEQUENCE)
    listed = reader.inside(DER_SEQUENCE)
    ids = []
    while listed.more:
        one = listed.inside(DER_SEQUENCE)
        name = "sha1"
        if with_hash:
            name = _TOKEN_HASH[read_token_hash(one) if one.tag() == DER_SEQUENCE else SHA256_OID].name
        digest = one.next(DER_OCTETS).content
        issuer = serial = None
        if one.more:
            place = one.inside(DER_SEQUENCE)
            names = place.inside(DER_SEQUENCE)
            issuer, serial = names.next(0xA4).content, place.integer()
            names.end()
            place.end()
        one.end()
        ids.append(_CertificateId(name, digest, issuer, serial))
    if not ids:
        raise ProofError("the timestamp's signature does not name the signer's certificate")
    return ids


def _check_signature(signer: TokenSigner, certificate: PinnedCertificate) -> None:
    """The signature over the signed attributes, with the one algorithm that key and SignerInfo agree on."""
    oid, chosen = signer.algorithm, _TOKEN_HASH[signer.digest]
    named = _RSA_WITH.get(oid) or _ECDSA_WITH.get(oid) or signer.digest
    if named != signer.digest:
        raise ProofError("the timestamp's signature uses another hash than it states")
    try:
        key = certificate.x509.public_key()
        if isinstance(key, rsa.RSAPublicKey) and (oid == _RSA_OID or oid in _RSA_WITH):
            key.verify(signer.signature, signer.signed, padding.PKCS1v15(), chosen)
        elif isinstance(key, rsa.RSAPublicKey) and oid == _RSA_PSS_OID:
            salt = _read_pss(signer.parameters, signer.digest)
            key.verify(signer.signature, signer.signed, padding.PSS(padding.MGF1(chosen), salt), chosen)
        elif isinstance(key, ec.EllipticCurvePublicKey) and oid in _ECDSA_WITH:
            key.verify(signer.signature, signer.signed, ec.ECDSA(chosen))
        elif isinstance(key, ed25519.Ed25519PublicKey) and oid == _ED25519_OID:
            key.verify(signer.signature, signer.signed)
        else:
            raise ProofError("the timestamp's signature is of a kind that this verifier does not know")
    except InvalidSignature as error:
        raise ProofError("the timestamp's signature does not verify") from error
    except _CERTIFICATE_ERRORS as error:
        raise ProofError("the key of the timestamp's signer cannot be used") from error


def _read_pss(parameters: DerValue | None, digest: str) -> int:
    """The salt's length; the hash must be the digest's throughout (RFC 4055 section 3.1)."""
    what = "the timestamp's signature algorithm"
    if parameters is None:
        raise ProofError(f"{what} lacks its parameters")
    body = DerReader(parameters.encoded, what).inside(DER_SEQUENCE)
    hash_name = read_token_hash(body.inside(0xA0))
    mask, mask_hash = read_algorithm(body.inside(0xA1))
    salt = body.inside(0xA2).integer() if body.tag() == 0xA2 else 20
    trailer = body.inside(0xA3).integer() if body.tag() == 0xA3 else 1
    body.end()
    if mask != _MGF1_OID or mask_hash is None or trailer != 1 or salt < 0:
        raise ProofError(f"{what} has parameters that this verifier does not know")
    if {hash_name, read_token_hash(DerReader(mask_hash.encoded, what))} != {digest}:
        raise ProofError(f"{what} mixes hashes")
    return salt

# ---------------------------------------------------------------------------------------------------------------------
# schemas.bundle_check: Verifies a whole proof bundle offline, step by step (docs/bundle-format.md, Verification).
# ---------------------------------------------------------------------------------------------------------------------


REPORT_FORMAT: Final = "sayso-report/v1"
CERTIFICATE_TYPE: Final = "sayso-erasure+jwt"
Say = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Pins:
    """What the reader brought from elsewhere.

    vkeys: verifier keys of logs. policy: a tlog-policy. roots: certificates in PEM. jwks: the keys of receipts.
    """

    vkeys: Sequence[str] = ()
    policy: bytes | None = None
    roots: bytes | None = None
    jwks: bytes | None = None


@dataclass(slots=True)
class _Log:
    """A log as far as it is verified."""

    name: str
    files: LogFiles
    keys: LogKeys
    # Set by step 5, with the keys that may sign at its size.
    checkpoint: Checkpoint = field(init=False)
    signers: Sequence[VerifierKey] = field(init=False)

    @property
    def origin(self) -> str:
        return self.keys.origin


@dataclass(slots=True)
class _Bundle:
    """A bundle as far as it is verified; `proofs` by event, `logs` by origin."""

    contents: Contents
    pins: Pins
    policy: Policy | None
    logs: dict[str, _Log] = field(default_factory=dict)
    proofs: dict[str, Bundle] = field(default_factory=dict)


def verify_archive(
    source: bytes | Path, pins: Pins, done: Callable[[Step], None] = lambda _: None
) -> Mapping[str, Bundle]:
    """Verify a bundle, a zip's bytes or a folder; return its proofs by event.

    `done` is told each step as it ends, a failed one too. Raises ProofError that opens with the number of the step, or
    without one when the pinned policy cannot be read; OSError for a folder that cannot be read.
    """
    policy = None if pins.policy is None else parse_policy(pins.policy)
    run = Run(done)
    # 1. The zip or folder is one that every reader sees the same way.
    with run.step("archive") as say:
        files = _read(source, say)
    # 2. It is what its maker put together.
    with run.step("manifest") as say:
        bundle = _Bundle(read_manifest(files), pins, policy)
        say(f"made {bundle.contents.made_at}, {len(files)} files as listed")
    # 3. Everything has its place.
    with run.step("contents") as say:
        read_contents(bundle.contents, files)
        say(f"about one {bundle.contents.about['kind']}: {len(bundle.contents.events)} events")
        if bundle.contents.about.get("complete") is False:
            say("the subject may have more records than this bundle holds", remark=True)
    # 4. to 7. The logs: keys, checkpoint, and what outsiders say of it.
    for name, check in (
        ("keys", _check_keys),
        ("checkpoint", _check_checkpoints),
        ("witnesses", _check_witnesses),
        ("timestamps", _check_timestamps),
    ):
        with run.step(name) as say:
            check(bundle, say)
    # 8. to 12. The records under them.
    for name, check in (
        ("proofs", _check_proofs),
        ("notices", _check_notices),
        ("catalogue", _check_catalogue),
        ("receipts", _check_receipts),
        ("report", _check_report),
    ):
        with run.step(name) as say:
            check(bundle, say)
    return bundle.proofs


def _read(source: bytes | Path, say: Say) -> dict[str, bytes]:
    if isinstance(source, bytes):
        files = read_archive(source)
        say(f"zip of {len(source)} bytes")
        return files
    files, hidden = read_folder(source)
    say("an unpacked folder")
    if hidden:
        say(f"{hidden} hidden files are left aside", remark=True)
    return files


def _check_keys(bundle: _Bundle, say: Say) -> None:
    pinned = {str(parse_verifier_key(vkey)) for vkey in bundle.pins.vkeys}
    pinned |= set() if bundle.policy is None else {str(log.key) for log in bundle.policy.logs}
    for name, files in bundle.contents.logs.items():
        keys = read_log_keys(files.files["keys.json"])
        if keys.name != name or keys.origin in bundle.logs:
            raise ProofError(f"logs/{name}/keys.json is that of another log")
        bundle.logs[keys.origin] = _Log(name, files, keys)
        mine = {vkey for vkey in pinned if parse_verifier_key(vkey).name == keys.origin}
        known = {str(key.vkey) for key in keys.keys}
        if mine and not mine & known:
            raise ProofError(f"logs/{name}: no chain of keys leads to the key given for this log: compare the origins")
        if mine:
            say(f"{keys.origin}: given by the reader, {len(known)} keys in its chain")
        else:
            say(
                f"{keys.origin}: the keys are the bundle's own; compare with the published {keys.keys[0].vkey}",
                remark=True,
            )
    strangers = {parse_verifier_key(vkey).name for vkey in bundle.pins.vkeys} - set(bundle.logs)
    if strangers:
        raise ProofError("a verifier key was given for a log of which this bundle holds nothing: compare the origins")


def _check_checkpoints(bundle: _Bundle, say: Say) -> None:
    for log in bundle.logs.values():
        note, signed = log.files.checkpoint("note"), log.files.checkpoint("signed")
        log.signers = keys_at(log.keys, log.files.size)
        checkpoint = open_checkpoint(signed, log.origin, log.signers)
        if checkpoint.size != log.files.size:
            raise ProofError(f"logs/{log.name}: the checkpoint has another size than its file says")
        # What follows the log's own lines are lines of others, and `open_checkpoint` has read each of them as one.
        if not note.startswith(signed) or open_checkpoint(note, log.origin, log.signers) != checkpoint:
            raise ProofError(f"logs/{log.name}: the checkpoint with cosignatures is not the one without")
        if any(not line.startswith(f"\u2014 {log.origin} ") for line in _signature_lines(signed)):
            raise ProofError(f"logs/{log.name}: the bytes that were timestamped hold a line of somebody else's")
        log.checkpoint = checkpoint
        say(f"{log.origin}: size {checkpoint.size}, root {checkpoint.root.hex()}")


def _signature_lines(note: bytes) -> list[str]:
    text = decode_text(note) or ""
    return text.rpartition("\n\n")[2].splitlines()


def _check_witnesses(bundle: _Bundle, say: Say) -> None:
    for log in bundle.logs.values():
        own = log.files.files.get("policy.txt")
        policy = bundle.policy if bundle.policy is not None else None if own is None else parse_policy(own)
        if policy is None:
            say(f"{log.origin}: no witness policy, so nobody else vouches that all are shown the same log", remark=True)
            continue
        # A witness that is known and whose line fails condemns the note, under whosever policy.
        known = [*log.signers, *(witness.key for witness in policy.witnesses)]
        signed_by = {signature.key for signature in open_note(log.files.checkpoint("note"), known).signatures}
        names = [witness.name for witness in policy.witnesses if witness.key in signed_by]
        chain = {str(key.vkey) for key in log.keys.keys}
        listed = {str(entry.key) for entry in policy.logs if entry.key.name == log.origin}
        is_met = policy.accepts_log(log.origin) and policy.is_met(names) and (not listed or bool(listed & chain))
        seen = f"{log.origin}: cosigned by {', '.join(names) or 'nobody'}"
        if bundle.policy is None:
            say(f"{seen}; the policy is the bundle's own and {'holds' if is_met else 'does NOT hold'}", remark=True)
        elif is_met:
            say(f"{seen}; the policy holds")
        else:
            raise ProofError(f"{seen}, which the policy given does not accept")


def _check_timestamps(bundle: _Bundle, say: Say) -> None:
    pinned = None if bundle.pins.roots is None else read_roots(bundle.pins.roots)
    for log in bundle.logs.values():
        vouched = False
        for authority in sorted(log.files.stamped):
            vouched |= _check_timestamp(log, authority, pinned, say)
        if pinned is not None and not vouched:
            raise ProofError(f"logs/{log.name}: no timestamp leads to the roots given")
        if not log.files.stamped:
            say(f"{log.origin}: no timestamp, so only the operator says when this was", remark=True)


def _check_timestamp(log: _Log, authority: str, pinned: Sequence[PinnedCertificate] | None, say: Say) -> bool:
    """Check one token; whether it stands under pinned roots."""
    nonce = log.files.timestamp(authority, "nonce")
    try:
        asked = bytes.fromhex(nonce.removesuffix(b"\n").decode("ascii"))
    except ValueError:
        asked = b""
    if nonce != asked.hex().encode() + b"\n" or len(asked) != 8:
        raise ProofError(f"logs/{log.name}: the nonce asked of {authority} is not 16 hex digits")
    response, message = log.files.timestamp(authority, "tsr"), log.files.checkpoint("signed")
    if pinned is not None:
        try:
            stamp = verify_timestamp(response, message, pinned, nonce=asked)
        except ProofError:
            pass  # perhaps only of another authority: its own roots tell
        else:
            say(f"{log.origin}: there at {stamp.gen_time.isoformat()}, says {authority} ({stamp.authority})")
            return True
    own = read_roots(log.files.files[f"timestamps/{authority}.pem"])
    stamp = verify_timestamp(response, message, own, nonce=asked)
    said = f"{log.origin}: there at {stamp.gen_time.isoformat()}, says {authority} ({stamp.authority})"
    say(f"{said}, under roots that are the bundle's own", remark=True)
    return False


def _check_proofs(bundle: _Bundle, say: Say) -> None:
    used = set()
    for event, files in bundle.contents.events.items():
        raw = files["proof.json"]
        read_canonical(raw, f"events/{event}/proof.json", controls=True)
        proof = parse_bundle(raw)
        log = bundle.logs.get(proof.origin)
        if log is None:
            raise ProofError(f"events/{event}: the bundle holds no keys of the log that the proof is of")
        used.add(proof.origin)
        if proof.vkey not in {str(key.vkey) for key in log.keys.keys}:
            raise ProofError(f"events/{event}: the proof states a key that is none of the log's")
        if proof.event != event:
            raise ProofError(f"events/{event}: the proof is of another event")
        if proof.checkpoint.encode() != log.files.checkpoint("note"):
            raise ProofError(f"events/{event}: the proof leads to another checkpoint than the bundle's")
        if proof.tlog_proof().encode() != files["proof.tlog-proof"]:
            raise ProofError(f"events/{event}: the two spellings of the proof differ")
        _check_proof(event, proof, log, say)
        entry = read_entry(proof.entry)
        if bundle.contents.about["kind"] == "erasure" and (entry["class"] != "erasure" or "erased" not in entry):
            raise ProofError(f"events/{event}: the record does not declare an erasure")
        bundle.proofs[event] = proof
    if used != set(bundle.logs):
        raise ProofError("the bundle holds keys of a log that none of its proofs is of")
    say(f"{len(bundle.proofs)} records are in their logs, with the parts and words that they commit to")


def _check_proof(event: str, proof: Bundle, log: _Log, say: Say) -> None:
    def inner(step: Step) -> None:
        if step.outcome == "remark":
            say(f"{event}: {step.text}", remark=True)

    try:
        verify_document(Run(inner), proof, log.origin, log.signers)
    except ProofError as error:
        raise ProofError(f"events/{event}: {error}") from error


def _check_notices(bundle: _Bundle, say: Say) -> None:
    notices = bundle.contents.notices
    named = set()
    for event, proof in bundle.proofs.items():
        if proof.notice is None:
            continue
        # The proof's words have the hash that the entry names: step 8 has seen to that.
        sha256 = str(read_entry(proof.entry)["notice"])
        named.add(sha256)
        if sha256 not in notices:
            raise ProofError(f"events/{event}: the notice that the proof holds is not among the notices")
    if set(notices) != named:
        raise ProofError("the bundle holds a notice that no proof names")
    for sha256, files in notices.items():
        check_notice(sha256, files)
    say(f"{len(notices)} notices, as their records name them" if notices else "no record names known words")


def _check_catalogue(bundle: _Bundle, say: Say) -> None:
    count = len(bundle.contents.catalogue)
    say(f"{count} services, as the manifest has them; nothing signs what is said of them" if count else "none")


def _check_receipts(bundle: _Bundle, say: Say) -> None:
    if bundle.contents.jwks is None:
        say("none")
        return
    receipts = {e: files["receipt.jws"] for e, files in bundle.contents.events.items() if "receipt.jws" in files}
    pinned = bundle.pins.jwks
    keys = read_jwks(bundle.contents.jwks if pinned is None else pinned)
    if bundle.contents.certificate is not None:
        _check_certificate(bundle, bundle.contents.certificate, keys)
    for event, jws in receipts.items():
        proof = bundle.proofs[event]
        try:
            claims = verify_receipt(jws.decode("ascii"), keys, vkey=proof.vkey, origin=proof.origin)
        except (ProofError, UnicodeDecodeError) as error:
            raise ProofError(f"events/{event}/receipt.jws: {error}") from error
        # It may lead to another checkpoint, but to this record.
        if parse_bundle(claims["proof"]["tlog_proof"].encode()).entry != proof.entry:
            raise ProofError(f"events/{event}/receipt.jws: the receipt is of another record")
    what = f"{len(receipts)} receipts" if bundle.contents.certificate is None else "the certificate"
    said = f"{what} signed, and in agreement with the log's records"
    say(said if pinned is not None else f"{said}; their key is the bundle's own", remark=pinned is None)


def _check_certificate(bundle: _Bundle, jws: bytes, keys: Mapping[str, bytes]) -> None:
    """The certificate of an erasure says what the report says, and names the places of the records that declare it."""
    try:
        payload, _ = open_jws(jws.decode("ascii"), keys, CERTIFICATE_TYPE)
        claims = read_canonical(payload, "the certificate")
    except (ProofError, UnicodeDecodeError) as error:
        raise ProofError(f"certificate.jws: {error}") from error
    report = read_canonical(bundle.contents.report, "report.json", levels=BUNDLE_LEVELS_MAX, controls=True)
    if write_json(report.get("erasure")) != write_json(claims):
        raise ProofError("report.json says of the erasure what its certificate does not")
    entries = [read_entry(proof.entry) for proof in bundle.proofs.values()]
    try:
        declared = {(log["declared"]["origin"], log["declared"]["index"]) for log in claims["logs"]}
        counts = [
            (sum(log[n] for log in claims["logs"]), sum(entry["erased"][n] for entry in entries)) for n in PART_NAMES
        ]
    except (KeyError, TypeError):
        raise ProofError("certificate.jws does not say what each log declares deleted, and where") from None
    if declared != {(proof.origin, proof.index) for proof in bundle.proofs.values()}:
        raise ProofError("certificate.jws names other records than those that the bundle proves")
    if any(certified != recorded for certified, recorded in counts):
        raise ProofError("certificate.jws counts other parts than the records declare deleted")


def record_facts(proof: Bundle, log: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a report says of a record: its place under the checkpoint, and each part that the proof discloses."""
    entry = read_entry(proof.entry)
    facts: dict[str, Any] = {
        "event": proof.event,
        "log": log,
        "origin": proof.origin,
        "index": proof.index,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "class": entry["class"],
        "recorded_at": entry["recorded_at"],
        "notice": entry.get("notice"),
    }
    for name in PART_NAMES:
        part = proof.disclosed.get(name)
        facts[name] = None if part is None else read_json(part[1])[0]
    return facts


def _check_report(bundle: _Bundle, say: Say) -> None:
    report = read_canonical(bundle.contents.report, "report.json", levels=BUNDLE_LEVELS_MAX, controls=True)
    stated = {name: report.get(name) for name in ("format", "made_at", "about")}
    expected = {"format": REPORT_FORMAT, "made_at": bundle.contents.made_at, "about": bundle.contents.about}
    if write_json(stated) != write_json(expected):
        raise ProofError("report.json is not the report of this bundle")
    records = report.get("records")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ProofError("report.json does not list the records")
    if sorted(str(record.get("event")) for record in records) != sorted(bundle.proofs):
        raise ProofError("report.json speaks of other events than the bundle holds")
    for record in records:
        proof = bundle.proofs[str(record["event"])]
        log = bundle.logs[proof.origin]
        for name, value in record_facts(proof, log.name, log.checkpoint).items():
            # By their spelling: 1 and true are equal to Python.
            if name not in record or write_json(record[name]) != write_json(value):
                raise ProofError(f"report.json and the proof in events/{proof.event} differ in {name!r}")
    say("report.json names the records as the proofs do; what it and report.pdf say besides is their maker's word")

# ---------------------------------------------------------------------------------------------------------------------
# schemas.verify: The offline verifier of proofs and of whole bundles; opens no connection.
# ---------------------------------------------------------------------------------------------------------------------


# Base64url of `{"`, as every JWS begins.
JWS_OPENING: Final = b"eyJ"


def verify_file(
    path: Path,
    vkey: str | None = None,
    *,
    origin: str | None = None,
    entry: bytes | None = None,
    pins: Pins | None = None,
) -> list[Step]:
    """Verify one file; what does not verify ends in a step with the outcome "failed".

    `entry` is for a tlog-proof that does not hold its own entry, and then `vkey` is needed; `pins` are for a bundle,
    `vkey` beside them. Raises OSError when the file cannot be read, ValueError when an argument does not go with it.
    """
    raw = None if path.is_dir() else path.read_bytes()
    steps: list[Step] = []
    if raw is None or is_archive(raw):
        if origin is not None or entry is not None:
            raise ValueError("--origin and --entry are for a single proof: this is a bundle")
        pins = pins or Pins()
        vkeys = pins.vkeys if vkey is None else (vkey, *pins.vkeys)
        return verify_whole(path if raw is None else raw, Pins(vkeys, pins.policy, pins.roots, pins.jwks))
    if raw.startswith(JWS_OPENING):
        return _verify_jws(raw, pins, vkey, origin)
    if pins is not None and pins != Pins():
        raise ValueError("--keys, --policy, --roots, --jwks and a second --vkey are for a bundle: this is one proof")
    if entry is not None and vkey is None:
        raise ValueError("an entry from elsewhere needs the log's verifier key: give --vkey")
    # A failed step is the last of the list, and says what the error says.
    with suppress(ProofError):
        if entry is not None and vkey is not None:
            verify_bare_proof(raw, entry, vkey=vkey, origin=origin, done=steps.append)
        else:
            verify_bundle(raw, vkey=vkey, origin=origin, done=steps.append)
    return steps


def _verify_jws(raw: bytes, pins: Pins | None, vkey: str | None, origin: str | None) -> list[Step]:
    if pins is None or pins.jwks is None:
        raise ValueError(
            "a receipt or answer needs the keys that sign them: give --jwks, fetched from /.well-known/jwks.json"
        )
    steps: list[Step] = []
    try:
        keys = read_jwks(pins.jwks)
    except ProofError as error:
        raise ValueError(str(error)) from None
    with suppress(ProofError):
        # Whatever is not ASCII fails as what it is, a piece that is not base64url.
        text = raw.decode("latin-1")
        # The header only says which of the two to try; that its signature holds for this type is the first step.
        verify = verify_answer if stated_type(text) == ANSWER_TYPE else verify_receipt
        verify(text, keys, vkey=vkey, origin=origin, done=steps.append)
    return steps


def verify_whole(source: bytes | Path, pins: Pins) -> list[Step]:
    """Verify a bundle's zip or folder; as `verify_file`. Raises OSError; ValueError for a pin that cannot be read."""
    steps: list[Step] = []
    try:
        verify_archive(source, pins, steps.append)
    except ProofError as error:
        if not steps or steps[-1].outcome != "failed":
            raise ValueError(str(error)) from None
    return steps


def report(steps: Sequence[Step]) -> str:
    """What a person reads: a line a step, then the verdict."""
    signs = {"ok": "ok    ", "remark": "note  ", "failed": "FAILED"}
    lines = [f"{signs[step.outcome]}  {step.number} {step.name}: {step.text}" for step in steps]
    if steps[-1].outcome == "failed":
        lines.append("NOT VERIFIED: do not rely on this proof.")
    elif any(step.outcome == "remark" for step in steps):
        lines.append("Verified, with the notes above.")
    else:
        lines.append("Verified.")
    return "\n".join(lines) + "\n"


def read_pins(
    vkeys: Sequence[str], keys: Sequence[Path], policy: Path | None, roots: Path | None, jwks: Path | None
) -> Pins:
    """The pins from the files that hold them; `keys` are `sayso-keys/v1`. Raises OSError; ValueError for bad keys."""
    try:
        chained = [str(key.vkey) for path in keys for key in read_log_keys(path.read_bytes()).keys]
    except ProofError as error:
        raise ValueError(str(error)) from None
    policy_text, roots_pem, jwk_set = (None if path is None else path.read_bytes() for path in (policy, roots, jwks))
    return Pins((*vkeys, *chained), policy_text, roots_pem, jwk_set)


def main(arguments: Sequence[str] | None = None, *, here: Path | None = None) -> int:
    """The command line; returns the exit status. Without FILE it takes the folder `here`, if there is one."""
    parser = argparse.ArgumentParser(
        prog="python -m schemas.verify" if here is None else "python verify.py",
        description="Verify a proof of consent, or a bundle of proofs, offline.",
        epilog="What you pin must come from a source other than the file itself.",
    )
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        nargs=None if here is None else "?",
        default=here,
        help="a proof as JSON or .tlog-proof, a bundle as zip or folder",
    )
    parser.add_argument("--vkey", metavar="KEY", action="append", default=[], help="the log's verifier key")
    parser.add_argument(
        "--keys", type=Path, metavar="FILE", action="append", default=[], help="all keys the log ever had (bundle)"
    )
    parser.add_argument("--origin", metavar="NAME", help="the origin of the log you expect (single proof)")
    parser.add_argument("--entry", type=Path, metavar="FILE", help="the entry, for a tlog-proof that does not hold it")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="the witness policy to hold it to (bundle)")
    parser.add_argument(
        "--roots", type=Path, metavar="FILE", help="root certificates of timestamp authorities (bundle)"
    )
    parser.add_argument("--jwks", type=Path, metavar="FILE", help="the keys that sign receipts (receipt, bundle)")
    options = parser.parse_args(arguments)
    try:
        entry = None if options.entry is None else options.entry.read_bytes()
        vkey = options.vkey[0] if options.vkey else None
        pins = read_pins(options.vkey[1:], options.keys, options.policy, options.roots, options.jwks)
        steps = verify_file(options.file, vkey, origin=options.origin, entry=entry, pins=pins)
    except OSError as error:
        sys.stderr.write(f"cannot read {error.filename}: {error.strerror}\n")
        return 2
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(report(steps))
    return 1 if steps[-1].outcome == "failed" else 0


if __name__ == "__main__":
    sys.exit(main(here=Path(__file__).resolve().parent))
