"""A bounded read-through cache of what Postgres knows by name: keys, sites, notices.

Invariant: with Postgres there, no answer is older than TRUST_S; with Postgres away, none is older than STALE_S; and no
caller, whatever it sends, causes more than a stated number of reads at once or a second.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from schemas.errors import LedgerAway
from services.observability import get_logger
from services.postgres import DATABASE_AWAY

# Younger than this, an answer is used as it is; up to TRUST_S it is used while it is read again in the background.
FRESH_S: Final = 20.0
TRUST_S: Final = 50.0
# While Postgres is away: a key revoked meanwhile works this much longer, and accepted consents keep flowing.
STALE_S: Final = 900.0
READ_TIMEOUT_S: Final = 2.0
# After a failed read nobody tries again for this long.
AWAY_S: Final = 1.0
# Between two reads of one name that callers force (an unknown purpose, an unknown notice).
FORCED_INTERVAL_S: Final = 0.25
ENTRIES_MAX: Final = 20_000
# Reads in flight over all names. Names nobody has asked for before (guessed keys) may start this many a second.
READS_MAX: Final = 3
NEW_NAMES_PER_S: Final = 100.0
RETRY_AFTER_S: Final = 2

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V | None
    began: float  # when the read that found it began: what was committed before is in it


class Lookups(Generic[K, V]):
    """Used on one event loop; `read` is called once for all who wait for the same name."""

    def __init__(self, what: str, read: Callable[[K], Awaitable[V | None]]) -> None:
        self._what = what
        self._read = read
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._reading: dict[K, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(READS_MAX)
        self._away_until = 0.0
        self._new_names = NEW_NAMES_PER_S
        self._new_names_at = time.monotonic()

    def fresh(self, name: K) -> V | None:
        """The answer if it is known and young; None says: ask `find`. Costs one dictionary look-up."""
        entry = self._entries.get(name)
        if entry is not None and time.monotonic() - entry.began < FRESH_S:
            return entry.value
        return None

    async def find(self, name: K) -> V | None:
        """The answer, None if there is no such name. Raises LedgerAway if it is not known and Postgres is away."""
        entry = self._entries.get(name)
        now = time.monotonic()
        if entry is None and name not in self._reading:
            self._admit(now)
        elif entry is not None and now - entry.began < FRESH_S:
            return entry.value
        reading = self._begin(name)
        if entry is not None and now - entry.began < TRUST_S:
            return entry.value
        await asyncio.shield(reading)
        return self._known(name)

    async def find_anew(self, name: K) -> V | None:
        """The answer of a read that begins after this call; callers at the same time share it. Raises LedgerAway."""
        called = time.monotonic()
        while True:
            entry = self._entries.get(name)
            if entry is not None and entry.began >= called:
                return entry.value
            if entry is not None:
                await asyncio.sleep(entry.began + FORCED_INTERVAL_S - time.monotonic())
            await asyncio.shield(self._begin(name))
            if time.monotonic() < self._away_until:
                raise LedgerAway(retry_after_s=RETRY_AFTER_S)

    def _admit(self, now: float) -> None:
        """Let NEW_NAMES_PER_S through: names that were guessed must not crowd out names that are known."""
        self._new_names = min(NEW_NAMES_PER_S, self._new_names + (now - self._new_names_at) * NEW_NAMES_PER_S)
        self._new_names_at = now
        if self._new_names < 1:
            raise LedgerAway(retry_after_s=RETRY_AFTER_S)
        self._new_names -= 1

    def _begin(self, name: K) -> asyncio.Task[None]:
        reading = self._reading.get(name)
        if reading is None:
            reading = self._reading[name] = asyncio.create_task(self._fill(name))
        return reading

    async def _fill(self, name: K) -> None:
        try:
            async with self._slots:
                began = time.monotonic()
                if began < self._away_until:
                    return
                async with asyncio.timeout(READ_TIMEOUT_S):
                    value = await self._read(name)
            self._entries[name] = _Entry(value, began)
            self._entries.move_to_end(name)
            while len(self._entries) > ENTRIES_MAX:
                self._entries.popitem(last=False)
        except DATABASE_AWAY as error:
            self._away_until = time.monotonic() + AWAY_S
            get_logger().warning("database away", dependency=self._what, error=type(error).__name__)
        finally:
            del self._reading[name]

    def _known(self, name: K) -> V | None:
        entry = self._entries.get(name)
        if entry is None or time.monotonic() - entry.began > STALE_S:
            raise LedgerAway(retry_after_s=RETRY_AFTER_S)
        return entry.value
