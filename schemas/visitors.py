"""Visitors: the number of a browser or an app is derived from a key that only it holds, so a number proves nothing.

Invariant: who knows a visitor's number, as whoever sees a record does, cannot speak for it; who holds the key can.
"""

import base64
import hashlib
import re
from typing import Final

VISITOR_KEY: Final = re.compile(r"vk_[A-Za-z0-9_-]{43}")
_DOMAIN: Final = b"sayso/visitor/v1\n"
_DIGEST_BYTES: Final = 18


def visitor_id(key: str) -> str:
    r"""The identifier that belongs to a key: "v1." and 24 base64url characters of SHA-256("sayso/visitor/v1\n" ‖ key).

    `key` is ASCII of at least 128 unguessable bits. 144 bits of the digest stay: finding another key for a number, or
    two keys with one number, is out of reach. Raises UnicodeEncodeError for other characters.
    """
    digest = hashlib.sha256(_DOMAIN + key.encode("ascii")).digest()
    return "v1." + base64.urlsafe_b64encode(digest[:_DIGEST_BYTES]).decode()
