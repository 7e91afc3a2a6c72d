"""Callers that want to wait until their event is recorded (Prefer: wait=N, RFC 7240).

One task asks Postgres for all of them at once, every POLL_S while somebody waits; a caller that waits costs no query of
its own, and an outcome that does not come in time is no error: the event is durable all the same.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from schemas.errors import IdConflict
from schemas.limits import WAIT_S_MAX
from services.observability import describe, get_logger
from services.postgres import DATABASE_AWAY, Pool, named_queries
from services.stream.protocol import Copy

POLL_S: Final = 0.025
AWAY_POLL_S: Final = 0.5
QUERY_TIMEOUT_S: Final = 5

_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)

STATEMENTS = named_queries(Path(__file__).parent / "sql" / "queries.sql")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event was recorded."""

    log: str
    index: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """It was not recorded and never will be: it is from before the erasure of somebody it names, or was set aside."""


class Waiter(NamedTuple):
    """One copy that somebody waits for. `event` is the event's dedupe name."""

    controller: int
    event: bytes
    copy: Copy


# None: not settled in time.
Settled = Place | IdConflict | Dropped | None


def preferred_wait(prefer: str) -> int:
    """The seconds of Prefer: wait=N, at most WAIT_S_MAX; 0 without it. What cannot be read is ignored (RFC 7240, 2)."""
    found = _WAIT.search(prefer)
    return 0 if found is None else min(int(found[1]), WAIT_S_MAX)


class Waiting:
    """All that wait in this process. Used on one event loop; `run` is a task of the app's lifespan."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[Waiter, asyncio.Future[Settled]] = {}
        self._somebody = asyncio.Event()

    async def settle(self, waiters: Sequence[Waiter], wait_s: int) -> list[Settled]:
        """What became of each copy within `wait_s` seconds."""
        loop = asyncio.get_running_loop()
        futures = [self._waiting.setdefault(waiter, loop.create_future()) for waiter in waiters]
        self._somebody.set()
        try:
            await asyncio.wait(futures, timeout=wait_s)
        finally:
            for waiter in waiters:
                self._waiting.pop(waiter, None)
        return [future.result() if future.done() else None for future in futures]

    async def run(self) -> None:
        """Ask for everything that is waited for, again and again, until cancelled."""
        while True:
            await self._somebody.wait()
            if not self._waiting:
                self._somebody.clear()
                continue
            try:
                await self._ask()
            except DATABASE_AWAY as error:
                get_logger().warning("database away", dependency="places", error=type(error).__name__)
                await asyncio.sleep(AWAY_POLL_S)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next who wait must not wait in vain
                get_logger().error("places could not be asked for", **describe(error))
                await asyncio.sleep(AWAY_POLL_S)
            await asyncio.sleep(POLL_S)

    async def _ask(self) -> None:
        asked = list(self._waiting)
        rows = await self._pool.fetch(
            STATEMENTS["places"],
            [waiter.controller for waiter in asked],
            [waiter.event for waiter in asked],
            [waiter.copy.transport for waiter in asked],
            [waiter.copy.partition for waiter in asked],
            [waiter.copy.seq for waiter in asked],
            timeout=QUERY_TIMEOUT_S,
        )
        for row in rows:
            future = self._waiting.pop(asked[row["nth"]], None)
            if future is not None and not future.done():
                future.set_result(_settled(row["outcome"], row["log_name"], row["index"]))


def _settled(outcome: str, log: str | None, index: int | None) -> Settled:
    if outcome == "conflict":
        return IdConflict("/id")
    if outcome == "recorded" and log is not None and index is not None:
        return Place(log, index)
    return Dropped()
