"""The load: bench/event.json under ever new ids, spread over subjects; as HTTP bodies and as sealed messages."""

import hashlib
import json
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from schemas.canonical import canonical_json
from schemas.record import Reception, parts_of
from schemas.sealing import Epoch, SealedBody
from services.stream.protocol import Message

EVENT_FILE: Final = Path(__file__).with_name("event.json")
SITE: Final = "shop.example"
LOG: Final = "shop"
PURPOSES: Final = ("chat-history", "chat-proactive")

_ID, _SUBJECT = "01930f5e-7c1e-7b1a-9c55-0d7f1f0b9a11", "v-0000000000000000"


def example_event() -> dict[str, Any]:
    """The published example, as it stands in the file."""
    event: dict[str, Any] = json.loads(EVENT_FILE.read_text(encoding="utf-8"))
    return event


def event_bytes() -> int:
    """The size of the example as it is posted."""
    return len(orjson.dumps(example_event()))


@dataclass(frozen=True, slots=True)
class Notice:
    """What the example event's placeholders become: a published notice, and a token for it."""

    sha256: str
    token: str


class Events:
    """Endless events, one body of bytes each, under ids that no other instance makes.

    With `per_subject` above one, each event's subject is drawn from SPREAD that move on, so that a subject has that
    many events on average and they lie in several batches, as one visitor's visits do.
    """

    SPREAD: Final = 1000

    def __init__(self, notice: Notice, *, per_subject: int = 1) -> None:
        event = example_event()
        event["time"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event["data"]["notice"] |= {"sha256": notice.sha256, "token": notice.token}
        text = orjson.dumps(event)
        before, after = text.split(_ID.encode())
        between, rest = after.split(_SUBJECT.encode())
        self._pieces = before, between, rest
        # Where the 36 characters of the id begin.
        self.id_at = len(before)
        self.bytes = len(text)
        self._per_subject = per_subject
        self._random = random.Random(per_subject)
        self._run = secrets.randbits(48)
        self._number = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        before, between, after = self._pieces
        self._number += 1
        event_id = b"%08x-%04x-7000-8000-%012x" % (self._run >> 16, self._run & 0xFFFF, self._number)
        subject = self._number
        if self._per_subject > 1:
            subject = self._number // self._per_subject + self._random.randrange(self.SPREAD)
        return b"".join((before, event_id, between, b"v-%08x%08x" % (self._run & 0xFFFFFFFF, subject), after))


def seal(raw: bytes, epoch: Epoch, controller: int, now_us: int) -> Message:
    """The message that ingest would publish for this body, without the checks."""
    event: dict[str, Any] = orjson.loads(raw)
    received_at = datetime.fromtimestamp(now_us // 1_000_000, UTC).replace(microsecond=now_us % 1_000_000)
    parts = parts_of(event, Reception(SITE, received_at, "browser", "rendered", []))
    body = SealedBody(now_us, hashlib.sha256(canonical_json(event)).digest(), parts)
    value = epoch.seal(LOG, SITE, event["id"], body)
    return Message(controller, LOG, event["id"], SITE, epoch.header, value)
