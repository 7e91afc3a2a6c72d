"""What an open docket holds, for the people who have to find an erased person or to answer them.

Invariant: nothing of it is kept here; once the docket is closed there is nothing to open.
"""

from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.docket import NONCE_BYTES, place_of_docket
from schemas.errors import ProofError
from services.keys import ControllerKeys
from services.query.auth import Caller
from services.query.downstreams.store import DownstreamStore
from services.query.payloads import subject_cipher


async def docket_content(store: DownstreamStore, keys: ControllerKeys, caller: Caller, docket: int) -> dict[str, Any]:
    """As schemas.docket has it; empty once it is closed. Raises ProofError for one that does not open."""
    row = await store.row("sealed_docket", docket)
    if row is None:
        return {}
    cipher: AESGCM = subject_cipher(keys, caller.controller_name, row)
    sealed, place = row["sealed"], place_of_docket(caller.controller, docket)
    try:
        content: dict[str, Any] = orjson.loads(cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place))
    except InvalidTag:
        raise ProofError("a docket does not open: it was changed, moved, or its key is another") from None
    return content
