"""Taking events in: judged one by one, sealed, and published; answered only once they are durable.

Invariant: an outcome other than a problem is given only after the publisher said that the event is durable.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.canonical import canonical_json
from schemas.errors import LedgerAway, Problem, StreamAway, StreamUnavailable, UnknownPurpose, UnknownService
from schemas.events import TRACING_ATTRIBUTES
from schemas.record import Reception, parts_of
from schemas.sealing import Epoch, SealedBody
from services.ingest.accept import Moment, judge
from services.ingest.auth import Caller
from services.ingest.notices import NoticeTokens
from services.ingest.reading import Read, Readable
from services.ingest.shapes import Shapes
from services.ingest.sites import Sites, Words
from services.keys import event_mac
from services.stream.epochs import Epochs
from services.stream.protocol import Message, Publisher
from services.stream.waiting import Place, Settled, Waiter, Waiting

RETRY_AFTER_S: Final = 5


class Taken(NamedTuple):
    """An event that is durable; `place` once it is recorded and the caller waited for it."""

    event_id: str
    place: Place | None


class Refused(NamedTuple):
    """An event that was not taken, and why."""

    problem: Problem


Outcome = Taken | Refused


@dataclass(frozen=True, slots=True)
class Intake:
    """What taking an event needs; one per process."""

    sites: Sites
    tokens: NoticeTokens
    shapes: Shapes
    epochs: Epochs
    publisher: Publisher
    waiting: Waiting
    event_id_key: bytes

    async def take(self, events: Sequence[Read], caller: Caller, now_us: int, wait_s: int) -> list[Outcome]:
        """An outcome for each event, in their order. Raises StreamAway or LedgerAway when none was taken for that.

        1. Judge each event by what is known of the site; 2. read the site anew, once, for those that name something
        unknown, and judge them again; 3. seal what passed; 4. publish: a crash before this leaves nothing, and the
        caller without an answer sends the same id again; 5. wait for the ledger, if the caller asked for it.
        """
        now = Moment.of(now_us)
        words = await self.sites.words(caller.site)
        judged = [self._judge(event, caller, words, now) for event in events]
        if self._look_again(events, judged, caller):
            judged = await self._judge_anew(events, judged, caller, now)
        passed = [
            (event, verdict)
            for event, verdict in zip(events, judged, strict=True)
            if isinstance(event, Readable) and isinstance(verdict, Reception)
        ]
        if not passed:
            return [Refused(verdict) for verdict in judged if isinstance(verdict, Problem)]
        epoch = self.epochs.current()
        messages = [seal(event, reception, caller, epoch, now_us) for event, reception in passed]
        settled = await self._publish(messages, caller, wait_s)
        taken = zip(messages, settled, strict=True)
        return [Refused(verdict) if isinstance(verdict, Problem) else _outcome(*next(taken)) for verdict in judged]

    def _judge(self, event: Read, caller: Caller, words: Words, now: Moment) -> Reception | Problem:
        if isinstance(event, Problem):
            return event
        try:
            return judge(event, caller, words, self.tokens, self.shapes, now)
        except Problem as problem:
            return problem

    def _look_again(self, events: Sequence[Read], judged: Sequence[Reception | Problem], caller: Caller) -> bool:
        """Whether an event names what may have been published since we last looked."""
        for event, verdict in zip(events, judged, strict=True):
            if isinstance(verdict, UnknownPurpose | UnknownService):
                return True
            if isinstance(event, Problem) or isinstance(verdict, Problem) or "notice-unknown" not in verdict.marks:
                continue
            if self.sites.worth_looking_again(caller.site, event.value["data"]["notice"]["sha256"]):
                return True
        return False

    async def _judge_anew(
        self, events: Sequence[Read], judged: list[Reception | Problem], caller: Caller, now: Moment
    ) -> list[Reception | Problem]:
        try:
            words = await self.sites.words_anew(caller.site)
        except LedgerAway as away:
            # Whether the name was published meanwhile cannot be known now: not the caller's mistake.
            return [away if isinstance(v, UnknownPurpose | UnknownService) else v for v in judged]
        return [self._judge(event, caller, words, now) for event in events]

    async def _publish(self, messages: list[Message], caller: Caller, wait_s: int) -> Sequence[Settled]:
        try:
            copies = await self.publisher.publish(messages)
        except StreamUnavailable as error:
            raise StreamAway(retry_after_s=RETRY_AFTER_S) from error
        if wait_s == 0:
            return [None] * len(messages)
        waiters = [
            Waiter(message.controller, event_mac(self.event_id_key, caller.controller_name, message.event_id), copy)
            for message, copy in zip(messages, copies, strict=True)
        ]
        return await self.waiting.settle(waiters, wait_s)


def seal(event: Readable, reception: Reception, caller: Caller, epoch: Epoch, now_us: int) -> Message:
    """The message that the ledger opens. Content is what was posted, without what changes from retry to retry."""
    value, content = event
    if not value.keys().isdisjoint(TRACING_ATTRIBUTES):
        content = canonical_json({name: value[name] for name in value if name not in TRACING_ATTRIBUTES})
    body = SealedBody(now_us, hashlib.sha256(content).digest(), parts_of(value, reception))
    event_id = value["id"]
    return Message(
        controller=caller.site.controller,
        log=caller.log,
        event_id=event_id,
        site=caller.site_name,
        epoch=epoch.header,
        value=epoch.seal(caller.log, caller.site_name, event_id, body),
    )


def _outcome(message: Message, settled: Settled) -> Outcome:
    if isinstance(settled, Problem):
        return Refused(settled)
    return Taken(message.event_id, settled)
