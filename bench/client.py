"""The load: an HTTP client of our own, closed loop (as fast as answers come) or open loop (at a stated rate).

`python -m bench.client JSON`: render, warm up, say ready, wait for a line, post, print what was seen as one JSON line.
Open loop never waits for an answer before the next request is due, so a slow server cannot slow its own load down.
"""

import asyncio
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from bench.workload import Events, Notice

ANSWER_S: Final = 30
_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


@dataclass(frozen=True, slots=True)
class Load:
    """What to post. `rate` in requests a second makes it an open loop; 0 a closed one over `connections`."""

    port: int
    path: str
    origin: str
    sha256: str
    token: str
    requests: int
    warm_up: int
    connections: int
    events_a_request: int = 1
    rate: float = 0
    # Where an open loop writes [event id, second the answer came] of all it posted, as JSON.
    accepted: str = ""

    def encode(self) -> str:
        return json.dumps(asdict(self))


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request on its way."""

    def __init__(self, done: "Callable[[Connection], None]") -> None:
        self._done = done
        self._buffer = b""
        self._transport: asyncio.Transport
        self.status = 0
        self.tag: Any = None
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def post(self, request: bytes, tag: Any = None) -> None:
        self.tag = tag
        self.sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        length = answer_length(self._buffer)
        if length is not None and len(self._buffer) >= length:
            self.status = int(self._buffer[9:12])
            self._buffer = b""
            self._done(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.sent_at:
            self.status = 0
            self._done(self)

    def close(self) -> None:
        self.sent_at = 0.0
        self._transport.close()


def answer_length(buffer: bytes) -> int | None:
    """The bytes of the answer that `buffer` begins with, None while its head is not complete."""
    end = buffer.find(_END_OF_HEAD)
    if end < 0:
        return None
    head = buffer[:end].lower()
    at = head.find(_LENGTH)
    if at < 0:
        return end + len(_END_OF_HEAD)
    stop = head.find(b"\r\n", at)
    length = int(head[at + len(_LENGTH) : stop if stop >= 0 else end])
    return end + len(_END_OF_HEAD) + length


class Client:
    """Connections and what came back on them."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._events = Events(Notice(load.sha256, load.token))
        self._idle: deque[Connection] = deque()
        self._all: list[Connection] = []
        self._to_send: deque[tuple[bytes, Any]] = deque()
        self._left = 0
        self._ended = asyncio.Event()
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.accepted: list[tuple[str, float]] = []

    def render(self, count: int) -> list[tuple[bytes, str]]:
        """Requests with the id of their (first) event."""
        load = self._load
        one = load.events_a_request == 1
        media_type = "application/json" if one else "application/cloudevents-batch+json"
        rendered = []
        for _ in range(count):
            event = next(self._events)
            event_id = event[self._events.id_at : self._events.id_at + 36].decode()
            more = islice(self._events, load.events_a_request - 1)
            body = event if one else b"[%b]" % b",".join((event, *more))
            head = (
                f"POST {load.path} HTTP/1.1\r\nhost: 127.0.0.1:{load.port}\r\norigin: {load.origin}\r\n"
                f"content-type: {media_type}\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            rendered.append((head.encode() + body, event_id))
        return rendered

    async def connect(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, connection = await loop.create_connection(
                lambda: Connection(self._answered), "127.0.0.1", self._load.port
            )
            self._all.append(connection)
            self._idle.append(connection)

    async def closed(self, requests: list[tuple[bytes, str]]) -> None:
        """Every connection posts its next request as soon as the last was answered."""
        self._expect(len(requests))
        self._to_send.extend(requests)
        while self._idle and self._to_send:
            self._idle.popleft().post(*self._to_send.popleft())
        await asyncio.wait_for(self._ended.wait(), ANSWER_S + len(requests) / 100)

    async def open(self, requests: list[tuple[bytes, str]], rate: float) -> None:
        """One request each 1/rate seconds; one that finds no idle connection waits, and its wait counts."""
        self._expect(len(requests))
        loop = asyncio.get_running_loop()
        started = loop.time()
        for number, request in enumerate(requests):
            due = started + number / rate
            if (early := due - loop.time()) > 0:
                await asyncio.sleep(early)
            if self._idle:
                self._idle.popleft().post(*request)
            else:
                self._to_send.append(request)
        await asyncio.wait_for(self._ended.wait(), ANSWER_S)

    def _expect(self, count: int) -> None:
        self._left = count
        self._ended.clear()
        self.statuses.clear()
        self.seconds.clear()
        self.accepted.clear()

    def _answered(self, connection: Connection) -> None:
        self.statuses[connection.status] += 1
        self.seconds.append(time.perf_counter() - connection.sent_at)
        if self._load.accepted:
            self.accepted.append((connection.tag, time.time()))
        self._left -= 1
        if self._left == 0:
            self._ended.set()
        if connection.status == 0:
            # Lost; the others go on.
            return
        if self._to_send:
            connection.post(*self._to_send.popleft())
        else:
            self._idle.append(connection)

    def close(self) -> None:
        for connection in self._all:
            connection.close()


async def run(load: Load) -> tuple[list[tuple[str, float]], dict[str, Any]]:
    """Ids with the second of their answer, and what was seen of all of them."""
    client = Client(load)
    warm_up, requests = client.render(load.warm_up), client.render(load.requests)
    await client.connect(load.connections)
    if warm_up:
        await client.closed(warm_up)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    started, begun = time.perf_counter(), time.process_time()
    if load.rate:
        await client.open(requests, load.rate)
    else:
        await client.closed(requests)
    elapsed = time.perf_counter() - started
    seconds = sorted(client.seconds)
    client.close()
    return client.accepted, {
        "s": elapsed,
        "client_cpu_s": time.process_time() - begun,
        "statuses": {str(status): count for status, count in client.statuses.items()},
        "p50_ms": seconds[len(seconds) // 2] * 1000,
        "p99_ms": seconds[len(seconds) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    load = Load(**json.loads(sys.argv[1]))
    accepted, seen = uvloop.run(run(load))
    if load.accepted:
        Path(load.accepted).write_text(json.dumps(accepted), encoding="utf-8")
    print(json.dumps(seen), flush=True)
    # Until the parent has read what the server cost meanwhile.
    sys.stdin.read()
