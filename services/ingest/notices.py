"""The notice token: our signed word that we served these exact words for this site, and when.

A token is base64url of version, issue time, expiry, nonce and notice hash, a dot, and base64url of an Ed25519 signature
over a domain, the site and those bytes. It cannot follow a visitor: all who ask within TOKEN_SHARED_S get the same one.
"""

import base64
import binascii
import os
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TOKEN_LIFE_S: Final = 24 * 3600
TOKEN_SHARED_S: Final = 10
# A token issued by another ingest process whose clock runs ahead.
TOKEN_SKEW_S: Final = 60

_VERSION: Final = 1
_CLAIMS = struct.Struct(">BQQ12s32s")
_SIGNATURE_BYTES: Final = 64
_DOMAIN: Final = b"sayso/notice-token/v1\n"
_VERIFIED_MAX: Final = 4096


class Issued(NamedTuple):
    """A token and the second, since 1970, from which on it is worth nothing."""

    token: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class _Claims:
    sha256: str
    issued_at: int
    expires_at: int


class NoticeTokens:
    """Issues and verifies tokens. Verified tokens are remembered, because many answers carry the same one."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public_key = key.public_key()
        self._issued: dict[tuple[str, str], tuple[int, Issued]] = {}
        self._verified: OrderedDict[tuple[str, str], _Claims | None] = OrderedDict()

    def issue(self, site: str, sha256: str, now: int) -> Issued:
        """A token for a notice of the site, at most TOKEN_SHARED_S seconds old."""
        last = self._issued.get((site, sha256))
        if last is not None and 0 <= now - last[0] < TOKEN_SHARED_S:
            return last[1]
        claims = _CLAIMS.pack(_VERSION, now, now + TOKEN_LIFE_S, os.urandom(12), bytes.fromhex(sha256))
        token = f"{_encode(claims)}.{_encode(self._key.sign(_signed(site, claims)))}"
        issued = Issued(token, now + TOKEN_LIFE_S)
        self._issued[site, sha256] = now, issued
        return issued

    def is_valid(self, token: str, site: str, sha256: str, now: int) -> bool:
        """Whether we issued it for this site and this notice, and it has not run out."""
        name = (site, token)
        if name in self._verified:
            claims = self._verified[name]
        else:
            claims = self._verified[name] = self._verify(token, site)
            if len(self._verified) > _VERIFIED_MAX:
                self._verified.popitem(last=False)
        return (
            claims is not None
            and claims.sha256 == sha256
            and claims.issued_at - TOKEN_SKEW_S <= now < claims.expires_at
        )

    def _verify(self, token: str, site: str) -> _Claims | None:
        claims_text, _, signature_text = token.partition(".")
        claims, signature = _decode(claims_text), _decode(signature_text)
        if claims is None or signature is None or len(claims) != _CLAIMS.size or len(signature) != _SIGNATURE_BYTES:
            return None
        version, issued_at, expires_at, _nonce, sha256 = _CLAIMS.unpack(claims)
        if version != _VERSION:
            return None
        try:
            self._public_key.verify(signature, _signed(site, claims))
        except InvalidSignature:
            return None
        return _Claims(sha256.hex(), issued_at, expires_at)


def _signed(site: str, claims: bytes) -> bytes:
    return b"%b%b\n%b" % (_DOMAIN, site.encode(), claims)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes | None:
    """Strict: one spelling for each value, or a token could be written in many ways."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if _encode(raw) == text else None
