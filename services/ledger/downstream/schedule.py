"""When a delivery that failed is tried again, and when it is given up. Pure: times are given."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

# The pauses of Standard Webhooks, after the first, second, ... attempt; then the last one over and over.
PAUSES: Final = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 5 * 60, 30 * 60, 2 * 3600, 6 * 3600, 12 * 3600))
# So that what failed together does not come back together: up to this share longer.
JITTER: Final = 0.2
# Whatever has to be answered sooner is tried this long all the same.
TRIED_AT_LEAST: Final = timedelta(days=3)


def next_attempt(
    attempts: int, now: datetime, ends_at: datetime, chance: Callable[[], float] = random.random
) -> datetime | None:
    """When to try again after so many attempts, at least 1; None: give up. `chance` is between 0 and 1."""
    pause = PAUSES[min(attempts, len(PAUSES)) - 1]
    after = now + pause * (1 + JITTER * chance())
    if after <= ends_at:
        return after
    # The last attempt is right at the end, so that a system that comes back late is not missed by hours.
    return ends_at if now < ends_at else None


def ends_at(made_at: datetime, due_at: datetime | None, limit_at: datetime | None) -> datetime:
    """Until when a delivery is tried: until it is due and 3 days at least, but not past its docket's limit."""
    tried = made_at + TRIED_AT_LEAST
    end = tried if due_at is None else max(due_at, tried)
    return end if limit_at is None else min(end, limit_at)
