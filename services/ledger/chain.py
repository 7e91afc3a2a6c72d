"""From events in their order to rows: entries chained by leaf hash, sealed payloads, dedupe rows. Pure.

Invariant: entry n's prev is the leaf hash of entry n-1; nothing of a payload or an identifier gets into an entry.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from schemas.merkle import leaf_hash
from schemas.payload import NONCE_BYTES, place_of, seal_part
from schemas.record import REF_BYTES, entry_bytes, format_minute, whole_minute
from services.keys import content_mac
from services.ledger.opening import Opened
from services.ledger.registry import Log
from services.ledger.subjects import SubjectKey


@dataclass(slots=True)
class Head:
    """Where a log ends: the next index, the last leaf hash (32 bytes) and the last entry's minute."""

    size: int
    prev: bytes
    recorded_at: datetime


@dataclass(slots=True)
class Chained:
    """Rows for COPY, and what the tree needs."""

    head: Head
    leaves: list[bytes] = field(default_factory=list)
    records: list[tuple[Any, ...]] = field(default_factory=list)
    payloads: list[tuple[Any, ...]] = field(default_factory=list)
    dedupe: list[tuple[Any, ...]] = field(default_factory=list)


def chain(log: Log, head: Head, events: Iterable[tuple[Opened, SubjectKey]], now: datetime) -> Chained:
    """Give each event its place behind `head` and make its rows.

    1. The minute never goes back; 2. the entry names the leaf before it; 3. its leaf hash is the next entry's prev;
    4. the parts are sealed to exactly this place under the subject's key.
    """
    recorded_at = max(whole_minute(now), head.recorded_at)
    minute = format_minute(recorded_at)
    chained = Chained(Head(head.size, head.prev, recorded_at))
    index, prev = head.size, head.prev
    controller, number, origin = log.controller, log.log, log.origin
    for opened, subject in events:
        random = os.urandom(REF_BYTES + NONCE_BYTES)
        nonce = random[REF_BYTES:]
        entry = entry_bytes(
            log=origin,
            index=index,
            prev=prev.hex(),
            ref=random[:REF_BYTES].hex(),
            entry_class=opened.entry_class,
            recorded_at=minute,
            commitment=opened.commitment,
            notice=opened.notice,
        )
        prev = leaf_hash(entry)
        chained.leaves.append(prev)
        chained.records.append((controller, number, index, entry))
        place = place_of(origin, index)
        (salt_who, salt_what, salt_context), (who, what, context) = opened.salts, opened.parts
        chained.payloads.append(
            (
                controller,
                number,
                index,
                subject.subject,
                nonce,
                seal_part(subject.cipher, nonce, "who", place, salt_who + who),
                seal_part(subject.cipher, nonce, "what", place, salt_what + what),
                seal_part(subject.cipher, nonce, "context", place, salt_context + context),
            )
        )
        content = content_mac(subject.key, opened.content)
        chained.dedupe.append((controller, opened.event, number, index, content, opened.received_at))
        index += 1
    chained.head.size, chained.head.prev = index, prev
    return chained
