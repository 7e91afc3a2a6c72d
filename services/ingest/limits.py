"""Rate limits: how many events one network may send, through one key, through all keys, and unconfirmed.

A bucket holds `burst` events and fills by `per_s` a second. It is kept as one number, the time at which it is full
again (the generic cell rate algorithm of ATM), under a hash of the network: no address is in memory.
"""

import math
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from schemas.errors import TooManyRequests
from services.ingest.auth import Caller

# Of each of two generations; together they take at most 20 MB.
BUCKETS_MAX: Final = 50_000
# A bucket not asked for in two generations is forgotten; a full one says the same as none.
GENERATION_S: Final = 300.0


class Rule(NamedTuple):
    """`per_s` events a second on the long run, and at most `burst` at once; 0 a second means no limit."""

    per_s: float
    burst: int


class Rules(NamedTuple):
    """What is limited: a network under one key, a network under all keys, what it sends unconfirmed, a server key."""

    key: Rule
    network: Rule
    unconfirmed: Rule
    server: Rule


# One limited thing: its name, and the rule for it. A plain tuple, because two are made for every request.
Bucket = tuple[bytes, Rule]


class Buckets(Protocol):
    """Where buckets are kept.

    `take` takes `weight` events out of every bucket and answers 0.0, or says in how many seconds to ask again. No more
    than `burst` passes at once, and no more than `per_s` on the long run. It raises nothing: who cannot count lets it.
    """

    async def take(self, wanted: Sequence[Bucket], weight: int) -> float: ...


class LocalBuckets:
    """Buckets of this process. Nothing is taken out of any where one has too little."""

    def __init__(self) -> None:
        self._full_at: dict[bytes, float] = {}
        self._older: dict[bytes, float] = {}
        self._turned_at = time.monotonic()

    async def take(self, wanted: Sequence[Bucket], weight: int) -> float:
        now = time.monotonic()
        if len(self._full_at) >= BUCKETS_MAX or now - self._turned_at > GENERATION_S:
            self._older, self._full_at, self._turned_at = self._full_at, {}, now
        longest = 0.0
        taken = []
        for name, (per_s, burst) in wanted:
            full_at = self._full_at.get(name) or self._older.get(name, 0.0)
            would_be = max(full_at, now) + weight / per_s
            longest = max(longest, would_be - now - burst / per_s)
            taken.append((name, would_be))
        if longest <= 0.0:
            self._full_at.update(taken)
        return longest


class Limits:
    """The rules applied to callers; one per process."""

    def __init__(self, rules: Rules, *shared: Buckets) -> None:
        """`shared`: buckets that other processes take from too, asked after our own."""
        self._rules = rules
        self._places: tuple[Buckets, ...] = (LocalBuckets(), *shared)

    async def admit(self, caller: Caller, network: bytes, weight: int) -> None:
        """Let `weight` events of the caller in. Raises TooManyRequests."""
        rules = self._rules
        if caller.kind == "sk":
            # A server's address is not a visitor's: its key is what is limited.
            wanted = [(caller.key, rules.server)]
        else:
            wanted = [(network + caller.key, rules.key), (network, rules.network)]
        await self._take(wanted, weight)

    async def admit_unconfirmed(self, network: bytes) -> None:
        """Let one event in whose identifiers nobody has shown to be theirs. Raises TooManyRequests."""
        await self._take([(b"unconfirmed" + network, self._rules.unconfirmed)], 1)

    async def admit_link(self, network: bytes, link: bytes) -> None:
        """Let one request for a link of an e-mail in; whoever forwards it shares its bucket. Raises TooManyRequests."""
        await self._take([(b"link" + link, self._rules.unconfirmed), (network, self._rules.network)], 1)

    async def _take(self, wanted: Sequence[Bucket], weight: int) -> None:
        limited = [bucket for bucket in wanted if bucket[1].per_s]
        if not limited:
            return
        for place in self._places:
            wait_s = await place.take(limited, weight)
            if wait_s > 0.0:
                raise TooManyRequests(retry_after_s=max(1, math.ceil(wait_s)))
