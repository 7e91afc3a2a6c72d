"""Sealed stream messages: what ingest publishes and only the ledger can read (design, section 3; docs/proof-format.md).

An epoch key (AES-256-GCM) is wrapped by HPKE (RFC 9180 base mode: X25519, HKDF-SHA256, AES-256-GCM) to the ledger's
sealing key; the epoch header is signed by the publishing process (Ed25519). Whoever can write to the broker can
neither forge an event nor move it to another log, site or id: those are the associated data.
"""

import hashlib
import os
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from schemas.errors import SealError
from schemas.record import Parts
from schemas.topics import DeadLetterReason

KEY_ID_BYTES: Final = 8
EPOCH_ID_BYTES: Final = 16
EPOCH_KEY_BYTES: Final = 32
# One epoch key never seals more than this; AES-GCM counters stay far from their limit.
EPOCH_MESSAGES_MAX: Final = 2**24
# Nor for longer, in seconds: a sealing key that was replaced gets nothing new after this.
EPOCH_LIFE_S: Final = 3600

_VERSION: Final = 1
_HEADER = struct.Struct(f">B{KEY_ID_BYTES}s{KEY_ID_BYTES}s{EPOCH_ID_BYTES}sQ")
_WRAPPED_BYTES: Final = 32 + EPOCH_KEY_BYTES + 16  # HPKE enc, ciphertext, tag
_SIGNATURE_BYTES: Final = 64
_HEADER_BYTES: Final = _HEADER.size + _WRAPPED_BYTES + _SIGNATURE_BYTES
_EPOCH_DOMAIN: Final = b"sayso/epoch/v1\n"
_MESSAGE_DOMAIN: Final = b"sayso/message/v1\n"
_BODY = struct.Struct(">BQ32sIII")
_COUNTER = struct.Struct(">BQ")
_NONCE_PREFIX: Final = b"\x00\x00\x00\x00"

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def key_id(public_key: Ed25519PublicKey | X25519PublicKey) -> bytes:
    """The first 8 bytes of SHA-256 of the raw public key."""
    return hashlib.sha256(public_key.public_bytes_raw()).digest()[:KEY_ID_BYTES]


class SealedBody(NamedTuple):
    """What a message carries under the seal. Times in microseconds since 1970; `content` is SHA-256 of the event."""

    received_at_us: int
    content: bytes
    parts: Parts

    def encode(self) -> bytes:
        """Version, received_at, content digest, three lengths, then the parts."""
        who, what, context = self.parts
        head = _BODY.pack(_VERSION, self.received_at_us, self.content, len(who), len(what), len(context))
        return head + who + what + context

    @classmethod
    def decode(cls, body: bytes) -> "SealedBody":
        """Raises SealError(parts-invalid)."""
        try:
            version, received_at_us, content, who, what, context = _BODY.unpack_from(body)
        except struct.error:
            raise SealError(DeadLetterReason.PARTS_INVALID) from None
        start = _BODY.size
        if version != _VERSION or len(body) != start + who + what + context:
            raise SealError(DeadLetterReason.PARTS_INVALID)
        return cls(
            received_at_us,
            content,
            Parts(
                body[start : start + who],
                body[start + who : start + who + what],
                body[start + who + what :],
            ),
        )


@dataclass(frozen=True, slots=True)
class EpochHeader:
    """The message header that carries a wrapped epoch key."""

    publisher: bytes
    sealing_key: bytes
    epoch: bytes
    created_at_us: int
    wrapped: bytes
    signed: bytes
    signature: bytes

    @classmethod
    def decode(cls, header: bytes) -> "EpochHeader":
        """Raises SealError(epoch-invalid)."""
        if len(header) != _HEADER_BYTES or header[0] != _VERSION:
            raise SealError(DeadLetterReason.EPOCH_INVALID)
        _, publisher, sealing_key, epoch, created_at_us = _HEADER.unpack_from(header)
        signed = header[: _HEADER.size + _WRAPPED_BYTES]
        return cls(publisher, sealing_key, epoch, created_at_us, signed[_HEADER.size :], signed, header[len(signed) :])

    def open(self, publisher: Ed25519PublicKey, sealing_key: X25519PrivateKey) -> bytes:
        """Verify the publisher's signature and unwrap the epoch key. Raises SealError(epoch-invalid)."""
        try:
            publisher.verify(self.signature, _EPOCH_DOMAIN + self.signed)
            return _SUITE.decrypt(self.wrapped, sealing_key, info=_EPOCH_DOMAIN + self.signed[: _HEADER.size])
        except (InvalidSignature, InvalidTag, ValueError):
            raise SealError(DeadLetterReason.EPOCH_INVALID) from None


def _associated_data(log: str, site: str, event_id: str, epoch: bytes) -> bytes:
    return b"%b%b\n%b\n%b\n%b" % (_MESSAGE_DOMAIN, log.encode(), site.encode(), event_id.encode(), epoch)


class Epoch:
    """One publishing process's key for a while. Not shared between processes: the counter must never repeat."""

    def __init__(self, publisher: Ed25519PrivateKey, sealing_key: X25519PublicKey, created_at_us: int) -> None:
        """Make a fresh epoch key, wrap it to the ledger and sign the header."""
        key = os.urandom(EPOCH_KEY_BYTES)
        self.id = os.urandom(EPOCH_ID_BYTES)
        self.created_at_us = created_at_us
        self.sealed = 0
        head = _HEADER.pack(_VERSION, key_id(publisher.public_key()), key_id(sealing_key), self.id, created_at_us)
        signed = head + _SUITE.encrypt(key, sealing_key, info=_EPOCH_DOMAIN + head)
        self.header = signed + publisher.sign(_EPOCH_DOMAIN + signed)
        self._cipher = AESGCM(key)

    def seal(self, log: str, site: str, event_id: str, body: SealedBody) -> bytes:
        """Version, counter, ciphertext with tag; the counter is the nonce."""
        self.sealed += 1
        head = _COUNTER.pack(_VERSION, self.sealed)
        nonce = _NONCE_PREFIX + head[1:]
        return head + self._cipher.encrypt(nonce, body.encode(), _associated_data(log, site, event_id, self.id))


def open_message(cipher: AESGCM, epoch: bytes, log: str, site: str, event_id: str, value: bytes) -> SealedBody:
    """Open one sealed message under its epoch's key. Raises SealError(seal-broken | parts-invalid)."""
    if len(value) < _COUNTER.size or value[0] != _VERSION:
        raise SealError(DeadLetterReason.SEAL_BROKEN)
    nonce = _NONCE_PREFIX + value[1 : _COUNTER.size]
    try:
        body = cipher.decrypt(nonce, value[_COUNTER.size :], _associated_data(log, site, event_id, epoch))
    except InvalidTag:
        raise SealError(DeadLetterReason.SEAL_BROKEN) from None
    return SealedBody.decode(body)
