"""From events in their order to rows: entries chained by leaf hash, sealed payloads, dedupe rows. Pure.

Invariant: entry n's prev is the leaf hash of entry n-1; nothing of a payload or an identifier gets into an entry.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from schemas.merkle import leaf_hash
from schemas.payload import NONCE_BYTES, place_of, seal_part
from schemas.record import REF_BYTES, entry_bytes, format_minute, whole_minute
from services.keys import content_mac
from services.ledger.opening import Opened
from services.ledger.registry import Log
from services.ledger.rows import dedupe_row, payload_row, record_row
from services.ledger.subjects import SubjectKey


@dataclass(slots=True)
class Head:
    """Where a log ends: the next index, the last leaf hash (32 bytes) and the last entry's minute."""

    size: int
    prev: bytes
    recorded_at: datetime


@dataclass(slots=True)
class Chained:
    """Rows packed for COPY, and what the tree needs."""

    head: Head
    leaves: list[bytes] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    dedupe: list[bytes] = field(default_factory=list)


def chain(log: Log, chained: Chained, events: Sequence[tuple[Opened, SubjectKey]], now: datetime) -> None:
    """Give each event its place behind what is `chained` already and make its rows.

    1. The minute never goes back; 2. the entry names the leaf before it; 3. its leaf hash is the next entry's prev;
    4. the parts are sealed to exactly this place under the subject's key.
    """
    head = chained.head
    head.recorded_at = max(whole_minute(now), head.recorded_at)
    minute = format_minute(head.recorded_at)
    index, prev = head.size, head.prev
    controller, number, origin = log.controller, log.log, log.origin
    refs, nonces = os.urandom(REF_BYTES * len(events)), os.urandom(NONCE_BYTES * len(events))
    for at, (opened, subject) in enumerate(events):
        nonce = nonces[NONCE_BYTES * at : NONCE_BYTES * (at + 1)]
        entry = entry_bytes(
            log=origin,
            index=index,
            prev=prev.hex(),
            ref=refs[REF_BYTES * at : REF_BYTES * (at + 1)].hex(),
            entry_class=opened.entry_class,
            recorded_at=minute,
            commitment=opened.commitment,
            notice=opened.notice,
            erased=opened.erased,
            follows=opened.follows,
        )
        prev = leaf_hash(entry)
        chained.leaves.append(prev)
        chained.records.append(record_row(controller, number, index, entry))
        place, bound = (controller, number, index), place_of(origin, index)
        (salt_who, salt_what, salt_context), (who, what, context) = opened.salts, opened.parts
        sealed = (
            seal_part(subject.cipher, nonce, "who", bound, salt_who + who),
            seal_part(subject.cipher, nonce, "what", bound, salt_what + what),
            seal_part(subject.cipher, nonce, "context", bound, salt_context + context),
        )
        chained.payloads.append(payload_row(place, subject.subject, nonce, sealed))
        content = content_mac(subject.key, opened.content)
        chained.dedupe.append(dedupe_row(place, opened.event, content, opened.received_at))
        index += 1
    head.size, head.prev = index, prev
