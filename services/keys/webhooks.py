"""Signatures of messages to and from downstream systems: Standard Webhooks, https://www.standardwebhooks.com, v1.

Invariant: a secret is derived, never stored; the number in it is counted up when a system gets a new one.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how every secret of this kind begins
# How old or how far ahead the time in a signed message may be, seconds.
TOLERANCE_S: Final = 300
SIGNATURES_MAX: Final = 8
HEADER_ID: Final = "webhook-id"
HEADER_TIMESTAMP: Final = "webhook-timestamp"
HEADER_SIGNATURE: Final = "webhook-signature"

_SECRET_BYTES: Final = 32
_TIMESTAMP_CHARS_MAX: Final = 15
_DOMAIN: Final = b"sayso/webhook/v1\n"
_VERSION: Final = "v1"


def webhook_secret(key: bytes, system: str, number: int) -> bytes:
    """The 32 bytes that a system and Sayso share; `key` is the controller's webhook key."""
    info = b"%b%b\n%d" % (_DOMAIN, system.encode(), number)
    return HKDF(hashes.SHA256(), _SECRET_BYTES, salt=None, info=info).derive(key)


def written_secret(secret: bytes) -> str:
    """As its system gets it: whsec_ and base64."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def signed_headers(secrets: Sequence[bytes], message_id: str, sent_at: int, body: bytes) -> dict[str, str]:
    """The three headers of a message; one signature for each secret that the receiver may still be using.

    `sent_at` is in Unix seconds.
    """
    signatures = [f"{_VERSION},{_signature(secret, message_id, sent_at, body)}" for secret in secrets]
    return {
        HEADER_ID: message_id,
        HEADER_TIMESTAMP: str(sent_at),
        HEADER_SIGNATURE: " ".join(signatures),
    }


def is_signed(secret: bytes, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether a message carries a signature of `secret` that was made about now (Unix seconds)."""
    message_id, sent_at = headers.get(HEADER_ID, ""), headers.get(HEADER_TIMESTAMP, "")
    if not message_id or not sent_at.isascii() or not sent_at.isdecimal() or len(sent_at) > _TIMESTAMP_CHARS_MAX:
        return False
    if abs(now - int(sent_at)) > TOLERANCE_S:
        return False
    expected = _signature(secret, message_id, int(sent_at), body)
    found = False
    for signature in headers.get(HEADER_SIGNATURE, "").split(" ")[:SIGNATURES_MAX]:
        version, _, encoded = signature.partition(",")
        found |= version == _VERSION and hmac.compare_digest(_decoded(encoded), _decoded(expected))
    return found


def _signature(secret: bytes, message_id: str, sent_at: int, body: bytes) -> str:
    signed = b"%b.%d.%b" % (message_id.encode(), sent_at, body)
    return base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b""
