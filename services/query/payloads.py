"""Opens the personal side of records: the controller's key unwraps the subject's, which opens the parts.

Invariant: keys and opened parts live as long as the request; only the controller's key is cached (services.keys).
"""

from collections.abc import Iterable
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from schemas.errors import ProofError
from schemas.payload import open_part, place_of
from schemas.record import PartName, part_digest
from services.keys import ControllerKeys
from services.query.store import Row

DIGEST_COLUMN: Final[dict[PartName, str]] = {"who": "who_digest", "what": "what_digest", "context": "context_digest"}


def subject_cipher(keys: ControllerKeys, controller_name: str, row: Row) -> AESGCM:
    """The cipher of a subject from its row (wrapped_key, key_epoch). Raises ConfigurationError or ProofError."""
    try:
        return AESGCM(aes_key_unwrap(keys.wrapping_key(controller_name, row["key_epoch"]), row["wrapped_key"]))
    except InvalidUnwrap:
        raise ProofError(
            "a subject's key does not unwrap: its row was changed, or the controller's key is another"
        ) from None


def open_stored(cipher: AESGCM, row: Row, name: PartName) -> tuple[bytes, bytes] | None:
    """(salt, JSON) of a part of a row (origin, index, nonce, parts), None if it was deleted. Raises ProofError."""
    if row[name] is None:
        return None
    return open_part(cipher, row["nonce"], name, place_of(row["origin"], row["index"]), row[name])


def read_part(cipher: AESGCM, row: Row, name: PartName) -> dict[str, Any] | None:
    """A part as a JSON object, None if it was deleted. Raises ProofError."""
    stored = open_stored(cipher, row, name)
    if stored is None:
        return None
    part: dict[str, Any] = orjson.loads(stored[1])
    return part


def disclose(
    cipher: AESGCM, row: Row, shown: Iterable[PartName]
) -> tuple[dict[PartName, tuple[bytes, bytes]], dict[PartName, bytes]] | None:
    """The parts to show, and the digests of the others; None when a part is gone and left no digest.

    A part that was deleted by itself counts among the others. Raises ProofError.
    """
    disclosed: dict[PartName, tuple[bytes, bytes]] = {}
    digests: dict[PartName, bytes] = {}
    for name, column in DIGEST_COLUMN.items():
        stored = open_stored(cipher, row, name)
        if stored is not None and name in shown:
            disclosed[name] = stored
        elif stored is not None:
            digests[name] = part_digest(name, *stored)
        elif row[column] is not None:
            digests[name] = row[column]
        else:
            return None
    return disclosed, digests
