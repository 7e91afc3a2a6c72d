"""Buckets in Redis, for ingest processes that share their limits (the extra `redis`; library `limits`).

Redis holds a keyed hash of each network for at most two windows, and nothing else. When it does not answer, the buckets
of each process stand alone and a warning says so: a limit is no reason to lose a consent.
"""

import asyncio
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from coredis import ConnectionPool
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError as LibraryRefusal

from schemas.errors import ConfigurationError
from services.ingest.limits import Bucket, Rule
from services.observability import get_logger

ANSWER_S: Final = 0.25
# After a failure nobody asks for this long.
AWAY_S: Final = 5.0
PREFIX: Final = "sayso-limits"


class SharedBuckets:
    """A bucket is a sliding window: at most `burst` events in the seconds that filling it takes."""

    def __init__(self, url: str) -> None:
        """Connects at the first request. Raises ConfigurationError."""
        try:
            self._connections = ConnectionPool.from_url(url)
            options: dict[str, Any] = {"connection_pool": self._connections}
            storage = RedisStorage(f"async+{url}", key_prefix=PREFIX, **options)
        except (LibraryRefusal, ValueError) as error:
            raise ConfigurationError(f"the Redis address cannot be used ({type(error).__name__})") from None
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._windows: dict[Rule, RateLimitItemPerSecond] = {}
        self._away_until = 0.0

    async def take(self, wanted: Sequence[Bucket], weight: int) -> float:
        if time.monotonic() < self._away_until:
            return 0.0
        try:
            async with asyncio.timeout(ANSWER_S):
                for raw_name, rule in wanted:
                    window, name = self._window(rule), raw_name.hex()
                    if not await self._limiter.hit(window, name, cost=weight):
                        reset_at, _ = await self._limiter.get_window_stats(window, name)
                        return max(1.0, reset_at - time.time())
        except Exception as error:  # noqa: BLE001 - whatever the client raises: without Redis our own buckets decide
            self._away_until = time.monotonic() + AWAY_S
            get_logger().warning("shared rate limits away", dependency="redis", error=type(error).__name__)
        return 0.0

    def close(self) -> None:
        """Let go of the connections."""
        self._connections.disconnect()

    def _window(self, rule: Rule) -> RateLimitItemPerSecond:
        if rule not in self._windows:
            seconds = max(1, round(rule.burst / rule.per_s))
            self._windows[rule] = RateLimitItemPerSecond(rule.burst, seconds)
        return self._windows[rule]


def read_redis_url(path: Path) -> str:
    """The address in a file of mode 600, because it may hold a password. Raises ConfigurationError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        url = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the file {path} ({type(error).__name__})") from None
    if mode & 0o077:
        raise ConfigurationError(f"the file {path} is open to others: chmod 600 it")
    if not url.startswith(("redis://", "rediss://")):
        raise ConfigurationError(f"the file {path} does not hold an address redis://... or rediss://...")
    return url
