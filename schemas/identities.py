"""A site's signed word that the visitor of one browser is somebody it knows (docs/visitors.md, Sign in, sign out).

`id_` base64url(JSON) `.` base64url(HMAC-SHA256 of it), keyed with the SHA-256 of a server key's secret. Invariant: it
counts for one visitor of one site, and for an hour at most.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Collection
from typing import Any, Final, NamedTuple

import orjson

from schemas.limits import CLOCK_SKEW_S_MAX, IDENTITY_LIFE_S

IDENTITY_DOMAIN: Final = b"sayso/identity/v1\n"
_PREFIX: Final = "id_"
# Strangers write what stands there: the database is asked for what can be a key's name, and nothing else is kept.
_SERVER_KEY: Final = re.compile(r"sk_[0-9A-Za-z]{1,64}")


class SignedIdentity(NamedTuple):
    """As it was sent, not verified: the payload, its bytes, and the code over them."""

    payload: dict[str, Any]
    raw: bytes
    mac: bytes

    @property
    def signer(self) -> str | None:
        """The public name of the server key that it says it was signed with, if that can be one."""
        name = self.payload.get("key")
        return name if isinstance(name, str) and _SERVER_KEY.fullmatch(name) is not None else None


def read_signed_identity(text: object) -> SignedIdentity | None:
    """None if it is not readable at all."""
    if not isinstance(text, str) or not text.startswith(_PREFIX):
        return None
    payload_text, _, mac_text = text.removeprefix(_PREFIX).partition(".")
    try:
        raw, mac = (
            base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
            for part in (payload_text, mac_text)
        )
        payload = orjson.loads(raw)
    except (binascii.Error, ValueError):
        return None
    return SignedIdentity(payload, raw, mac) if isinstance(payload, dict) else None


def vouched_for(
    identity: SignedIdentity, secret_sha256: bytes, *, site: str, visitors: Collection[str], now_s: int
) -> tuple[str, str] | None:
    """The type and value of the identifier that `site` vouches for, by its server key; None if it does not.

    It must be about one of these visitors of this very site, and not have run out.
    """
    if not hmac.compare_digest(hmac.digest(secret_sha256, IDENTITY_DOMAIN + identity.raw, "sha256"), identity.mac):
        return None
    # From here on it is the site's own word.
    payload = identity.payload
    latest = now_s + IDENTITY_LIFE_S + CLOCK_SKEW_S_MAX
    about, ends_at = payload.get("identifier"), payload.get("exp")
    if not isinstance(about, dict) or not isinstance(ends_at, int) or not now_s < ends_at <= latest:
        return None
    if payload.get("site") != site or str(payload.get("visitor")) not in visitors:
        return None
    return str(about.get("type")), str(about.get("value"))
