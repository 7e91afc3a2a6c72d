"""C2SP signed-note: key ids, verifier keys, signing, and opening a note against known keys.

Also the two cosignature types of C2SP tlog-cosignature, which sign a checkpoint's text: Ed25519 cosignature/v1 and
ML-DSA-44. A note is text, a blank line and signature lines that begin with U+2014.
Invariant: the text of a note is looked at only after a known key's signature on it verified, and no known one failed.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from schemas.errors import CheckpointError
from schemas.merkle import HASH_BYTES

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


def log_key(name: str, private_key: Ed25519PrivateKey) -> VerifierKey:
    """The verifier key (type 01) of a log's signing key."""
    return VerifierKey(name, KeyKind.ED25519, private_key.public_key().public_bytes_raw())


def sign_note(text: str, name: str, private_key: Ed25519PrivateKey) -> str:
    """The signed note: `text`, a blank line and one Ed25519 signature line (type 01) by the key called `name`.

    Raises CheckpointError when the text does not end in a newline or holds a control character.
    """
    _require_note_text(text)
    return signed_note(text, [(log_key(name, private_key), private_key.sign(text.encode()))])


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
