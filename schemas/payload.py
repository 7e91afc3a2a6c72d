"""The personal side of a record at rest: three encrypted parts, as the ledger writes and query reads them.

A part is AES-256-GCM of salt ‖ canonical JSON under the subject's own key, bound to its place by the associated data,
so that a ciphertext moved to another record or part does not open.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import ProofError
from schemas.record import PART_NAMES, SALT_BYTES, PartName

NONCE_BYTES: Final = 11
_NUMBER: Final[dict[PartName, bytes]] = {name: bytes([number]) for number, name in enumerate(PART_NAMES)}
_DOMAIN: Final = b"sayso/payload/v1\n"


def place_of(origin: str, index: int) -> bytes:
    """The associated data of a record's parts; the part's own number is in the nonce."""
    return b"%b%b\n%d" % (_DOMAIN, origin.encode(), index)


def seal_part(cipher: AESGCM, nonce: bytes, name: PartName, place: bytes, salt_and_part: bytes) -> bytes:
    """Encrypt one part. `nonce` is the record's 11 random bytes; the part's number completes it to 12."""
    return cipher.encrypt(nonce + _NUMBER[name], salt_and_part, place)


def open_part(cipher: AESGCM, nonce: bytes, name: PartName, place: bytes, sealed: bytes) -> tuple[bytes, bytes]:
    """Return (salt, canonical JSON). Raises ProofError if ciphertext, key or place is not the one it was made with."""
    try:
        salt_and_part = cipher.decrypt(nonce + _NUMBER[name], sealed, place)
    except InvalidTag:
        raise ProofError(
            f"the stored part {name!r} does not open: it was changed, moved, or its key is another"
        ) from None
    return salt_and_part[:SALT_BYTES], salt_and_part[SALT_BYTES:]
