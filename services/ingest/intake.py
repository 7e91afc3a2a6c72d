"""Taking events in: judged one by one, sealed, and published; answered only once they are durable.

Invariant: an outcome other than a problem is given only after the publisher said that the event is durable.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from schemas.ages import minimum_age
from schemas.canonical import canonical_json
from schemas.errors import (
    LedgerAway,
    Problem,
    StreamAway,
    StreamUnavailable,
    TooManyRequests,
    UnknownPurpose,
    UnknownService,
)
from schemas.events import PASSING_ATTRIBUTES
from schemas.record import Reception, parts_of
from schemas.sealing import Epoch, SealedBody
from services.ingest.accept import Judged, Judging, Moment, judge
from services.ingest.auth import Caller
from services.ingest.clients import NOBODY, Client
from services.ingest.limits import Limits
from services.ingest.proving import Named
from services.ingest.reading import Read, Readable
from services.ingest.sites import Sites, Words
from services.keys import event_mac
from services.stream.epochs import Epochs
from services.stream.protocol import Message, Publisher
from services.stream.waiting import Dropped, Place, Settled, Waiter, Waiting

RETRY_AFTER_S: Final = 5


class Taken(NamedTuple):
    """An event that is durable; `place` once it is recorded and the caller waited for it."""

    event_id: str
    place: Place | None
    # For a browser that has proven its number.
    capability: str | None = None
    # Recorded nowhere, because it is from before an erasure, or set aside.
    dropped: bool = False


class Refused(NamedTuple):
    """An event that was not taken, and why."""

    problem: Problem


Outcome = Taken | Refused


@dataclass(frozen=True, slots=True)
class Intake:
    """What taking an event needs; one per process."""

    sites: Sites
    judging: Judging
    epochs: Epochs
    publisher: Publisher
    waiting: Waiting
    event_id_key: bytes
    limits: Limits

    async def take(
        self, events: Sequence[Read], caller: Caller, now_us: int, wait_s: int, client: Client = NOBODY
    ) -> list[Outcome]:
        """An outcome for each event, in their order. Raises StreamAway or LedgerAway when none was taken for that.

        1. Judge each event by what is known of the site; 2. read the site anew, once, for those that name something
        unknown, and judge them again; 3. limit what is unconfirmed, and add what we saw of the client; 4. seal what
        passed; 5. publish: a crash before this leaves nothing, and the caller without an answer sends the same id
        again; 6. wait for the ledger, if the caller asked for it.
        """
        now = Moment.of(now_us)
        judged = await self._judge_all(events, caller, now)
        if caller.kind != "sk":
            judged = [await self._from_client(verdict, client) for verdict in judged]
        passed = [
            (event, verdict)
            for event, verdict in zip(events, judged, strict=True)
            if isinstance(event, Readable) and isinstance(verdict, Judged)
        ]
        if not passed:
            return [Refused(verdict) for verdict in judged if isinstance(verdict, Problem)]
        epoch = self.epochs.current()
        messages = [seal(event, verdict.reception, caller, epoch, now_us) for event, verdict in passed]
        # Who is not shown to be the person learns nothing of them: a dropped event would tell of an erasure.
        told = ["unconfirmed" not in verdict.reception.marks for _, verdict in passed]
        settled = await self._publish(messages, told, caller, wait_s)
        taken = zip(messages, settled, strict=True)
        return [
            Refused(verdict)
            if isinstance(verdict, Problem)
            else self._outcome(*next(taken), verdict.visitor, caller, now)
            for verdict in judged
        ]

    async def check(self, event: Readable, caller: Caller, now_us: int) -> None:
        """Raise the problem that `take` would refuse the event with now; nothing is published."""
        (verdict,) = await self._judge_all([event], caller, Moment.of(now_us))
        if isinstance(verdict, Problem):
            raise verdict

    async def _judge_all(self, events: Sequence[Read], caller: Caller, now: Moment) -> list[Judged | Problem]:
        words = await self.sites.words(caller.site)
        signers = await self.judging.proving.signers(events)
        judged = [self._judge(event, caller, words, signers, now) for event in events]
        if self._look_again(events, judged, caller):
            judged = await self._judge_anew(events, judged, caller, signers, now)
        return judged

    async def _from_client(self, verdict: Judged | Problem, client: Client) -> Judged | Problem:
        if isinstance(verdict, Problem):
            return verdict
        reception = verdict.reception
        if "unconfirmed" in reception.marks:
            try:
                await self.limits.admit_unconfirmed(client.network)
            except TooManyRequests as problem:
                return problem
        if not client.context:
            return verdict
        age = reception.minimum_age
        if age is not None and "country" in client.context:
            # Of what the page says of its visitor's country and what we see, the stricter.
            age = max(age, minimum_age(None, client.context["country"]))
        context = {**reception.context, **client.context}
        return verdict._replace(reception=replace(reception, context=context, minimum_age=age))

    def _outcome(
        self, message: Message, settled: Settled, visitor: Named | None, caller: Caller, now: Moment
    ) -> Outcome:
        if isinstance(settled, Problem):
            return Refused(settled)
        if isinstance(settled, Dropped):
            if caller.kind == "sk":
                return Taken(message.event_id, None, dropped=True)
            # A page is not told that somebody was erased, nor by an answer that lacks what others have.
            settled = None
        if visitor is None:
            return Taken(message.event_id, settled)
        capability = self.judging.proving.grant(message.site, visitor, now.us // 1_000_000)
        return Taken(message.event_id, settled, capability)

    def _judge(
        self, event: Read, caller: Caller, words: Words, signers: Mapping[str, Caller], now: Moment
    ) -> Judged | Problem:
        if isinstance(event, Problem):
            return event
        try:
            return judge(event, caller, words, self.judging, signers, now)
        except Problem as problem:
            return problem

    def _look_again(self, events: Sequence[Read], judged: Sequence[Judged | Problem], caller: Caller) -> bool:
        """Whether an event names what may have been published since we last looked."""
        for event, verdict in zip(events, judged, strict=True):
            if isinstance(verdict, UnknownPurpose | UnknownService):
                return True
            if (
                isinstance(event, Problem)
                or isinstance(verdict, Problem)
                or "notice-unknown" not in verdict.reception.marks
            ):
                continue
            if self.sites.worth_looking_again(caller.site, event.value["data"]["notice"]["sha256"]):
                return True
        return False

    async def _judge_anew(
        self,
        events: Sequence[Read],
        judged: list[Judged | Problem],
        caller: Caller,
        signers: Mapping[str, Caller],
        now: Moment,
    ) -> list[Judged | Problem]:
        try:
            words = await self.sites.words_anew(caller.site)
        except LedgerAway as away:
            # Whether the name was published meanwhile cannot be known now: not the caller's mistake.
            return [away if isinstance(v, UnknownPurpose | UnknownService) else v for v in judged]
        return [self._judge(event, caller, words, signers, now) for event in events]

    async def _publish(
        self, messages: list[Message], told: Sequence[bool], caller: Caller, wait_s: int
    ) -> Sequence[Settled]:
        """What became of each message; None where that is not known in time, or not `told`."""
        try:
            copies = await self.publisher.publish(messages)
        except StreamUnavailable as error:
            raise StreamAway(retry_after_s=RETRY_AFTER_S) from error
        if wait_s == 0 or not any(told):
            return [None] * len(messages)
        waiters = [
            Waiter(message.controller, event_mac(self.event_id_key, caller.controller_name, message.event_id), copy)
            for message, copy, is_told in zip(messages, copies, told, strict=True)
            if is_told
        ]
        settled = iter(await self.waiting.settle(waiters, wait_s))
        return [next(settled) if is_told else None for is_told in told]


def seal(event: Readable, reception: Reception, caller: Caller, epoch: Epoch, now_us: int) -> Message:
    """The message that the ledger opens. Content is what was posted, without what changes from retry to retry."""
    value, content = event
    if not value.keys().isdisjoint(PASSING_ATTRIBUTES):
        content = canonical_json({name: value[name] for name in value if name not in PASSING_ATTRIBUTES})
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
