"""Capabilities: tokens that let their bearer do one thing for one person; sealed, so that they say nothing in a URL.

A token is a prefix for its kind and base64url of nonce ‖ AES-256-GCM of its claims, under a key of that kind derived
from one secret (HKDF-SHA256, RFC 5869). Invariant: what opens was sealed here, for this kind, and has not run out.
"""

import base64
import binascii
import os
from typing import Any, Final, Literal

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# visitor: speak for a browser's number. confirm: say yes to what was asked by e-mail. unsubscribe: end it by one click.
# invite: become one of a controller's people. sign-in: what a browser keeps while its person is at the OpenID provider.
# export: fetch the files of an export.
Kind = Literal["visitor", "confirm", "unsubscribe", "invite", "sign-in", "export"]
PREFIXES: Final[dict[Kind, str]] = {
    "visitor": "cap_",
    "confirm": "cf_",
    "unsubscribe": "us_",
    "invite": "iv_",
    "sign-in": "si_",
    "export": "ex_",
}
VISITOR_LIFE_S: Final = 400 * 24 * 3600

_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


class Capabilities:
    """Seals and opens tokens. `secret` is 32 bytes, the same in every process that must open another's tokens.

    Ingest and query share one for what visitors hold (the first three kinds); query has one of its own for the others,
    so that a stolen file of the process that faces the Internet opens no export and invites nobody.
    """

    def __init__(self, secret: bytes) -> None:
        self._ciphers = {kind: AESGCM(_key(secret, kind)) for kind in PREFIXES}

    def seal(self, kind: Kind, claims: dict[str, Any]) -> str:
        """A token. `claims` are plain JSON and hold "exp" (the first second since 1970 that is too late)."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[kind].encrypt(nonce, orjson.dumps(claims), None)
        return PREFIXES[kind] + _encode(nonce + sealed)

    def open(self, kind: Kind, token: str, now_s: int) -> dict[str, Any] | None:
        """The claims; None for a token that is not ours, of another kind, changed, or too old."""
        prefix = PREFIXES[kind]
        if not token.startswith(prefix):
            return None
        text = token[len(prefix) :]
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            if _encode(raw) != text:
                return None  # one spelling for each token
            claims: dict[str, Any] = orjson.loads(
                self._ciphers[kind].decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None)
            )
        except (binascii.Error, ValueError, InvalidTag):
            return None
        return claims if now_s < claims["exp"] else None


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _key(secret: bytes, kind: Kind) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"sayso/capability/v1/" + kind.encode()).derive(secret)
