"""Concurrent publish calls gathered into one batch a lane; what the two publishers have in common.

A lane is what the transport writes in one go: a Kafka partition, or one controller's rows in the inbox. A call costs
one future however many messages it brings, and is answered when all of them are durable.
Invariant: a message is handed over at most once, and not at all after its caller was told StreamUnavailable.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from schemas.errors import StreamUnavailable
from services.stream.protocol import Copy, Message

# How long an idle lane waits for more calls before it sends what it has. A busy lane gathers while its last batch is on
# the way. Longer means fewer, cheaper batches and a slower answer.
LINGER_S: Final = 0.002
# What all waiting calls together may hold, in bytes of sealed bodies; beyond it new calls are refused at once.
HELD_BYTES_MAX: Final = 32 * 1024 * 1024
# Headers, key and Python's own cost of a message, so that many tiny ones cannot hold more than the limit either.
OVERHEAD_BYTES: Final = 512

Packed = TypeVar("Packed")


class _Call:
    """One publish call: its messages, the copies known so far, and the future its caller waits for."""

    __slots__ = ("copies", "deadline", "future", "left", "messages")

    def __init__(self, messages: Sequence[Message], future: "asyncio.Future[None]", deadline: float) -> None:
        self.messages = messages
        self.copies: list[Copy | None] = [None] * len(messages)
        self.left = len(messages)
        self.future = future
        self.deadline = deadline


class Chunk(NamedTuple):
    """messages[start:stop] of one call, all of one lane."""

    call: _Call
    start: int
    stop: int


@dataclass(slots=True)
class Lane:
    """What waits for one partition or controller. `task` runs while there is something to send."""

    key: int
    chunks: deque[Chunk] = field(default_factory=deque)
    task: "asyncio.Task[None] | None" = None

    def take(self, fits: Callable[[Message], bool]) -> list[Chunk]:
        """Move messages out until `fits` refuses one; those whose caller has given up are dropped."""
        taken: list[Chunk] = []
        while self.chunks:
            call, start, stop = self.chunks[0]
            if call.future.done():
                self.chunks.popleft()
                continue
            end = start
            while end < stop and fits(call.messages[end]):
                end += 1
            if end > start:
                taken.append(Chunk(call, start, end))
            if end < stop:
                self.chunks[0] = Chunk(call, end, stop)
                break
            self.chunks.popleft()
        return taken

    def drop_given_up(self) -> None:
        """Forget calls at the head that were answered already; they expire in the order they came."""
        while self.chunks and self.chunks[0].call.future.done():
            self.chunks.popleft()


def _settle(chunks: Sequence[Chunk], transport: str, lane: int, seqs: Sequence[int]) -> None:
    """Give each call its copies; `seqs` are those of the chunks' messages, one after the other."""
    at = 0
    for call, start, stop in chunks:
        end = at + stop - start
        call.copies[start:stop] = [Copy(transport, lane, seq) for seq in seqs[at:end]]
        at = end
        call.left -= stop - start
        if call.left == 0 and not call.future.done():
            call.future.set_result(None)


def _fail(chunks: Iterable[Chunk], why: str) -> None:
    for call, _, _ in chunks:
        if not call.future.done():
            # One error a call: a shared one would collect every caller's traceback.
            call.future.set_exception(StreamUnavailable(why))


class GatheringPublisher(ABC, Generic[Packed]):
    """The gathering half of a Publisher; a transport says which lane, how to pack and how to send.

    Everything runs on one event loop; no attribute is touched from a thread.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._lanes: dict[int, Lane] = {}
        # In the order of their deadlines, because every call has the same timeout.
        self._waiting: deque[_Call] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._held_bytes = 0

    @property
    @abstractmethod
    def transport(self) -> str:
        """What Copy.transport says."""

    @abstractmethod
    def _lane_of(self, message: Message) -> int:
        """The partition or controller; Copy.partition."""

    @abstractmethod
    def _pack(self, lane: Lane) -> tuple[Packed, list[Chunk]]:
        """Take from the lane what goes in one batch."""

    @abstractmethod
    async def _send(self, lane: int, packed: Packed) -> Sequence[int]:
        """Make one batch durable and return the messages' sequence numbers in order. Raises StreamUnavailable."""

    async def publish(self, messages: Sequence[Message]) -> list[Copy]:
        if not messages:
            return []
        size = sum([len(message.value) for message in messages]) + OVERHEAD_BYTES * len(messages)
        if self._held_bytes + size > HELD_BYTES_MAX:
            raise StreamUnavailable(
                f"{self.transport}: {HELD_BYTES_MAX >> 20} MiB wait to be sent; send the same events again later"
            )
        loop = asyncio.get_running_loop()
        call = _Call(messages, loop.create_future(), loop.time() + self._timeout_s)
        self._enqueue(call)
        self._watch(call)
        self._held_bytes += size
        try:
            await call.future
        finally:
            self._held_bytes -= size
            # The call may stay in the queue of deadlines a little longer; its messages need not.
            call.messages = ()
        return [copy for copy in call.copies if copy is not None]

    def _enqueue(self, call: _Call) -> None:
        """Cut the call into runs of one lane each and wake the lanes."""
        start = 0
        key = self._lane_of(call.messages[0])
        for at, message in enumerate(call.messages):
            if (lane := self._lane_of(message)) != key:
                self._add(key, Chunk(call, start, at))
                start, key = at, lane
        self._add(key, Chunk(call, start, len(call.messages)))

    def _add(self, key: int, chunk: Chunk) -> None:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        lane.chunks.append(chunk)
        if lane.task is None or lane.task.done():
            lane.task = asyncio.create_task(self._drain(lane))

    async def _drain(self, lane: Lane) -> None:
        """Send batch after batch until the lane is empty."""
        while lane.chunks:
            await asyncio.sleep(LINGER_S)
            packed, taken = self._pack(lane)
            if not taken:
                continue
            try:
                seqs = await self._send(lane.key, packed)
            except StreamUnavailable as error:
                _fail(taken, str(error))
            except BaseException:
                _fail(taken, f"{self.transport}: sending was given up; send the same events again")
                raise
            else:
                _settle(taken, self.transport, lane.key, seqs)

    def _watch(self, call: _Call) -> None:
        waiting = self._waiting
        while waiting and waiting[0].future.done():
            waiting.popleft()
        waiting.append(call)
        if self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_at(call.deadline, self._expire)

    def _expire(self) -> None:
        """Tell every caller whose time is over, and come back for the next one."""
        self._expiry = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        waiting = self._waiting
        while waiting and (waiting[0].deadline <= now or waiting[0].future.done()):
            call = waiting.popleft()
            if not call.future.done():
                call.future.set_exception(
                    StreamUnavailable(f"{self.transport}: not acknowledged within {self._timeout_s:g} s")
                )
        for lane in self._lanes.values():
            lane.drop_given_up()
        if waiting:
            self._expiry = loop.call_at(waiting[0].deadline, self._expire)

    async def _finish(self, within_s: float) -> None:
        """Send what is gathered, then give up what could not be sent `within_s`."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._refuse("the publisher was stopped; send the same events again")
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _refuse(self, why: str) -> None:
        """Fail everything that waits."""
        for lane in self._lanes.values():
            _fail(lane.chunks, f"{self.transport}: {why}")
            lane.chunks.clear()
