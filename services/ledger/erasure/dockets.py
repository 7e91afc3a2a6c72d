"""The docket: the little that must outlive an erasure until every downstream system has answered and the person was
told. Sealed under a key of its own, which goes with it.

Invariant: while a docket is open it is the only copy of an erased person's identifiers; closed, it is two dates.
"""

import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from schemas.canonical import canonical_json
from schemas.docket import NONCE_BYTES, place_of_docket
from services.keys import SECRET_BYTES, ControllerKeys, key_epoch
from services.ledger.erasure.store import ErasureStore

_TELLING: Final = frozenset({"request.answered", "request.told"})


def told_docket(what: Mapping[str, Any]) -> int | None:
    """The docket of whose person a recorded event says that they were told, None for any other event.

    That a request was answered says only that there is something to tell; a docket without one is closed by an answer.
    """
    request = what.get("request")
    if what["type"] not in _TELLING or not isinstance(request, dict):
        return None
    if what["type"] == "request.answered" and "request" in request:
        return None
    docket = request.get("docket")
    return docket if type(docket) is int else None


async def open_docket(
    store: ErasureStore,
    keys: ControllerKeys,
    owner: tuple[int, str],
    number: int,
    content: Mapping[str, Any],
    span: tuple[datetime, timedelta],
) -> None:
    """Seal and store what outlives erasure `number`. `owner` is the controller's id and name; `span` its start and
    longest life.
    """
    controller, name = owner
    opened_at, life = span
    key, nonce = os.urandom(SECRET_BYTES), os.urandom(NONCE_BYTES)
    epoch = key_epoch(time.time())
    wrapped = aes_key_wrap(keys.create_wrapping_key(name, epoch), key)
    sealed = nonce + AESGCM(key).encrypt(nonce, canonical_json(content), place_of_docket(controller, number))
    await store.open_docket((controller, number, sealed, wrapped, epoch, opened_at, opened_at + life))


def docket_content(
    identifiers: Sequence[tuple[str, str]], history: Sequence[Mapping[str, Any]], reply_to: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a docket holds: how downstream systems find the person, where the answer goes, and the request's history."""
    content: dict[str, Any] = {
        "identifiers": [{"type": kind, "value": value} for kind, value in identifiers],
        "history": list(history),
    }
    if reply_to is not None:
        content["reply_to"] = reply_to
    return content
