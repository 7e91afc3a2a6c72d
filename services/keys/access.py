"""New keys of callers: a public name and a secret, shown once and stored as a digest (names.secret_digest)."""

import secrets
import string
from typing import Final, NamedTuple

from services.keys.names import secret_digest

# 22 characters of base62 are 131 bits, 43 are 256 bits.
ID_CHARS: Final = 22
SECRET_CHARS: Final = 43
_BASE62: Final = string.ascii_letters + string.digits


class NewKey(NamedTuple):
    """`whole` is what its holder sends; it is nowhere else."""

    name: str
    whole: str
    secret_sha256: bytes


def random_text(characters: int) -> str:
    """Letters and digits from the system's randomness."""
    return "".join(secrets.choice(_BASE62) for _ in range(characters))


def new_access_key() -> NewKey:
    """`ak_NAME_SECRET`."""
    name, secret = f"ak_{random_text(ID_CHARS)}", random_text(SECRET_CHARS)
    return NewKey(name, f"{name}_{secret}", secret_digest(secret))
