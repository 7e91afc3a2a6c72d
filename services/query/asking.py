"""Asking for changes: query writes no record itself, it publishes sealed events that the ledger acts on.

Invariant: an id is given out only once its event is durable, and every query process recognises it without having to
remember it: it carries a keyed check of itself.
"""

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from schemas.canonical import canonical_json
from schemas.errors import StreamAway, StreamUnavailable
from schemas.record import ENTRY_VERSION, Parts, format_time
from schemas.sealing import SealedBody
from services.keys import event_mac
from services.postgres import Pool
from services.query.auth import Caller
from services.stream.address import make_publisher
from services.stream.epochs import Epochs
from services.stream.protocol import Message, Publisher
from services.stream.waiting import Waiter, Waiting

RETRY_AFTER_S: Final = 5

_EPOCH_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOBODY: Final[Mapping[str, Any]] = {}
_ID_DOMAIN: Final = b"sayso/asked/v1\n"
_HALF: Final = 8


class Site(NamedTuple):
    """Where an event goes: a site by its name, and the log that takes its records."""

    site: str
    log: str


@dataclass(frozen=True, slots=True)
class Asking:
    """What publishing needs; one per process."""

    pool: Pool
    epochs: Epochs
    publisher: Publisher
    waiting: Waiting
    event_id_key: bytes

    async def ask(
        self,
        caller: Caller,
        place: Site,
        event_type: str,
        members: Mapping[str, Any],
        context: Mapping[str, Any],
        wait_s: int,
        *,
        who: Mapping[str, Any] = _NOBODY,
    ) -> UUID:
        """Publish an event with `members` in its `what`; its id, after waiting until the ledger has passed it.

        `who` says whose record it becomes: {"subject": id} of somebody known, or {"identifiers": [...]} as in events.
        Raises StreamAway when it did not become durable. 1. Look whether the ledger would take what we sign: asking is
        rare, so a registration or a sealing key is never remembered; 2. build the parts and seal them; 3. publish: a
        crash before this leaves nothing; 4. wait, if the caller wants to: whatever came of it stands in the database.
        """
        await self.epochs.refresh(self.pool)
        epoch = self.epochs.current()
        event_id = new_event_id(self.event_id_key, caller.controller_name)
        body = _body(str(event_id), place.site, event_type, members, context, who)
        message = Message(
            controller=caller.controller,
            log=place.log,
            event_id=str(event_id),
            site=place.site,
            epoch=epoch.header,
            value=epoch.seal(place.log, place.site, str(event_id), body),
        )
        try:
            (copy,) = await self.publisher.publish([message])
        except StreamUnavailable as error:
            raise StreamAway(retry_after_s=RETRY_AFTER_S) from error
        if wait_s:
            name = event_mac(self.event_id_key, caller.controller_name, str(event_id))
            await self.waiting.settle([Waiter(caller.controller, name, copy)], wait_s)
        return event_id


@asynccontextmanager
async def asking(address: str, topic: str, pool: Pool, epochs: Epochs, event_id_key: bytes) -> AsyncIterator[Asking]:
    """Asking over the stream of that address, as long as the app lives. Raises StreamUnavailable without Postgres."""
    publisher = make_publisher(address, pool=pool, topic=topic)
    await publisher.start()
    waiting = Waiting(pool)
    task = asyncio.create_task(waiting.run())
    try:
        yield Asking(pool, epochs, publisher, waiting, event_id_key)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await publisher.stop()


def _body(
    event_id: str,
    site: str,
    event_type: str,
    members: Mapping[str, Any],
    context: Mapping[str, Any],
    who: Mapping[str, Any],
) -> SealedBody:
    """The three parts as the ledger checks them."""
    now_us = time.time_ns() // 1000
    now = format_time(_EPOCH_START + timedelta(microseconds=now_us))
    what = {
        "v": ENTRY_VERSION,
        "id": event_id,
        "site": site,
        "type": event_type,
        "time": now,
        "received_at": now,
        "posted_by": "server",
        "words": "unverified",
        **members,
    }
    parts = Parts(canonical_json(who), canonical_json(what), canonical_json(context))
    return SealedBody(now_us, hashlib.sha256(parts.who + parts.what + parts.context).digest(), parts)


def new_event_id(key: bytes, controller: str) -> UUID:
    """A version-8 UUID (RFC 9562, 5.8): 60 random bits, and 62 bits of their HMAC under the key of event ids."""
    return _checked(key, controller, os.urandom(_HALF))


def is_ours(key: bytes, controller: str, event_id: UUID) -> bool:
    """Whether `new_event_id` made this id for this controller."""
    return hmac.compare_digest(_checked(key, controller, event_id.bytes[:_HALF]).bytes, event_id.bytes)


def _checked(key: bytes, controller: str, random: bytes) -> UUID:
    head = b"%b%c%b" % (random[:6], random[6] & 0x0F | 0x80, random[7:])
    check = hmac.digest(key, b"%b%b\n%b" % (_ID_DOMAIN, controller.encode(), head), "sha256")[:_HALF]
    return UUID(bytes=b"%b%c%b" % (head, check[0] & 0x3F | 0x80, check[1:]))
