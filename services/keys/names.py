"""Keyed names: what stands in the database in place of an event id, an identifier, a content or a secret."""

import hashlib
import hmac
import unicodedata
from typing import Final

MAC_BYTES: Final = 16
EPOCH_S: Final = 30 * 24 * 3600


def event_mac(key: bytes, controller: str, event_id: str) -> bytes:
    """The name of an event id in the dedupe, 16 bytes; ingest and ledger compute the same."""
    return hmac.digest(key, b"%b\n%b" % (controller.encode(), event_id.encode()), "sha256")[:MAC_BYTES]


def identifier_mac(key: bytes, kind: str, value: str) -> bytes:
    """The name an identifier is found by, 16 bytes, under the controller's identifier secret.

    E-mail addresses compare without case, phone numbers without spacing; the rest compare exactly.
    """
    if kind == "email":
        value = unicodedata.normalize("NFC", value).strip().casefold()
    elif kind == "phone":
        value = "".join(c for c in value if c.isdigit() or c == "+")
    return hmac.digest(key, b"%b\n%b" % (kind.encode(), value.encode()), "sha256")[:MAC_BYTES]


def content_mac(subject_key: bytes, content: bytes) -> bytes:
    """The content of an event as the dedupe remembers it; useless once the subject's key is gone."""
    return hmac.digest(subject_key, b"sayso/content/v1\n" + content, "sha256")[:MAC_BYTES]


def secret_digest(secret: str) -> bytes:
    """How the secret part of a server or access key is stored: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def key_epoch(now: float) -> int:
    """The number of the 30-day epoch that `now` (seconds since 1970) lies in."""
    return int(now // EPOCH_S)
