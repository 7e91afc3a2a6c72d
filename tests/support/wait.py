"""Waiting on conditions with a deadline, so that no test sleeps and hopes."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

POLL_S = 0.02


async def until(
    condition: Callable[[], bool | Awaitable[bool]], *, what: str, deadline_s: float = 10, poll_s: float = POLL_S
) -> None:
    """Return once `condition()` is true; AssertionError naming `what` after `deadline_s`."""
    deadline = time.monotonic() + deadline_s
    while True:
        answer = condition()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        await asyncio.sleep(poll_s)
