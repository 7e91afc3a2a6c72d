"""Statements of one transaction, sent one after the other by a task while the rows of the next are still being made.

Invariant: after the first that fails nothing more is sent, and whoever leaves the context has the connection alone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self


class Writes:
    """Used as a context; leaving it waits for everything that was put in, and raises what the first failure raised."""

    def __init__(self) -> None:
        """Nothing is waiting."""
        self._last: asyncio.Task[None] | None = None

    def put(self, write: Callable[[], Awaitable[None]]) -> None:
        """Run `write` after all that were put in before it."""
        self._last = asyncio.create_task(self._after(self._last, write))

    async def _after(self, before: "asyncio.Task[None] | None", write: Callable[[], Awaitable[None]]) -> None:
        if before is not None:
            await before
        await write()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last is None:
            return
        if error is None:
            await self._last
        else:
            # The error that counts is the caller's; what is on its way must end before anybody rolls back.
            await asyncio.gather(self._last, return_exceptions=True)
