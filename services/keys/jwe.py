"""Sealing to somebody's public key: JWE (RFC 7516), ECDH-ES+A256KW and A256GCM (RFC 7518), in compact form.

Invariant: nothing but a public key that can be agreed with is ever taken; a private one is refused.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

import orjson
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from schemas.canonical import canonical_json

ALGORITHM: Final = "ECDH-ES+A256KW"
ENCRYPTION: Final = "A256GCM"
# The members of a public key (RFC 7518, 6.2.1; RFC 8037, 2), and the curves that keys are agreed on.
_MEMBERS: Final = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_CURVES: Final = frozenset({"P-256", "P-384", "P-521", "X25519", "X448"})


def public_jwk(stated: Mapping[str, Any]) -> bytes:
    """The canonical bytes of the public key in a JWK, without what else stands in it.

    Raises ValueError for a key of another kind, a private key, and one that cannot be sealed to.
    """
    members = _MEMBERS.get(str(stated.get("kty")))
    if members is None or "d" in stated or stated.get("crv") not in _CURVES:
        raise ValueError("state the public JWK of an EC key, or of an X25519 or X448 key")
    try:
        content = canonical_json({"kty": stated["kty"], **{name: stated[name] for name in members}})
        seal_to(content, {})
    except (KeyError, TypeError, ValueError):
        raise ValueError("the JWK is not one that can be sealed to") from None
    return content


def key_id(jwk: bytes) -> str:
    """The thumbprint (RFC 7638) of a key from `public_jwk`."""
    return _read(jwk).thumbprint()


def seal_to(jwk: bytes, content: Mapping[str, Any]) -> bytes:
    """A JWE of the canonical JSON of `content`; `jwk` is from `public_jwk`. Raises ValueError for another key."""
    key = _read(jwk)
    header = {"alg": ALGORITHM, "enc": ENCRYPTION, "kid": key.thumbprint()}
    try:
        return jwe.encrypt_compact(header, canonical_json(content), key).encode()
    except JoseError as error:
        raise ValueError("the JWK is not one that can be sealed to") from error


def is_sealed_to(sealed: bytes, wanted: str) -> bool:
    """Whether a JWE that `seal_to` made is for the key with this id."""
    header = sealed.partition(b".")[0]
    stated = orjson.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    return bool(stated["kid"] == wanted)


def _read(jwk: bytes) -> ECKey | OKPKey:
    stated = orjson.loads(jwk)
    try:
        return OKPKey.import_key(stated) if stated["kty"] == "OKP" else ECKey.import_key(stated)
    except JoseError as error:
        raise ValueError("the JWK is not one that can be sealed to") from error
