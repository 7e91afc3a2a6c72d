"""Records that the ledger itself makes: erasures, and what a successor log begins with.

They look like any other: three parts, committed to, sealed under the stand-in subject of their log. Pure.
"""

import hashlib
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from schemas.canonical import canonical_json
from schemas.event_types import entry_class
from schemas.record import ENTRY_VERSION, Parts, format_time
from services.keys import event_mac
from services.ledger.opening import SALTS_BYTES, Opened, commit
from services.ledger.registry import Log
from services.ledger.rows import UUID_BYTES
from services.ledger.subjects import random_uuid
from services.stream.protocol import Copy, Received

# No transport delivered them.
_NOWHERE: Final = Received(Copy("ledger", 0, 0), None)


def own_record(
    log: Log,
    event_id_key: bytes,
    event_type: str,
    members: Mapping[str, Any],
    moment: datetime,
    *,
    asked: Opened | None = None,
    erased: Mapping[str, int] | None = None,
    follows: Mapping[str, Any] | None = None,
) -> Opened:
    """A record of `event_type` with `members` in its `what`.

    Its id is a fresh UUID; if it stands for a message that asked for it, it has that message's id and content.
    """
    event_id = str(UUID(bytes=random_uuid(os.urandom(UUID_BYTES)))) if asked is None else asked.what["id"]
    time = format_time(moment)
    what = {
        "v": ENTRY_VERSION,
        "id": event_id,
        "site": min(log.sites),
        "type": event_type,
        "time": time,
        "received_at": time,
        "posted_by": "server",
        "words": "unverified",
        **members,
    }
    parts = Parts(b"{}", canonical_json(what), b"{}")
    opened = Opened(
        received=_NOWHERE,
        log=log,
        event=event_mac(event_id_key, log.controller_name, event_id),
        content=hashlib.sha256(parts.what).digest() if asked is None else asked.content,
        parts=parts,
        entry_class=entry_class(event_type),
        notice=None,
        identifiers=[],
        received_at=moment,
        what=what,
        decided=[],
        erased=erased,
        follows=follows,
    )
    commit(opened, os.urandom(SALTS_BYTES))
    return opened
