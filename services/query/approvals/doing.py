"""Does what two people agreed on, once its time has come; every query process looks, and one at a time acts.

Invariant: whatever a process dies in is taken up again from the rows; doing it twice does no harm.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

import asyncpg

from schemas.errors import ConfigurationError, Problem
from services.observability import describe, get_logger
from services.postgres import DATABASE_AWAY, Pool
from services.query.approvals.approvals import Act
from services.query.approvals.store import due_approvals
from services.query.auth import Caller

LOOK_S: Final = 2.0
_TRY_AGAIN: Final = (Problem, ConfigurationError, asyncpg.PostgresError, *DATABASE_AWAY)

_log = get_logger()


class Doer(Protocol):
    """One kind of act."""

    async def do(self, caller: Caller, approval: UUID) -> None:
        """All of an approved act, or what is left of it. `caller` is the controller's own; nobody in person."""


@dataclass(frozen=True, slots=True)
class Doing:
    """One per process."""

    pool: Pool
    doers: Mapping[Act, Doer]
    # Whoever acts holds one connection and needs another: two at once could wait for each other.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def do_now(self, caller: Caller, approval: UUID, act: Act) -> None:
        """Do it in the request that approved it, if its time has come. What fails here is tried again by `run`."""
        due = await due_approvals(self.pool)
        if any((row["controller"], row["approval"]) == (caller.controller, approval) for row in due):
            await self._do(caller, approval, act)

    async def run(self) -> None:
        """Look for what is due, for ever."""
        while True:
            try:
                for row in await due_approvals(self.pool):
                    caller = Caller(row["controller"], row["controller_name"], "privacy", "")
                    await self._do(caller, row["approval"], row["act"])
            except DATABASE_AWAY as error:
                _log.warning("Cannot look for approved acts while the database is away.", **describe(error))
            await asyncio.sleep(LOOK_S)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Doing what is due, as long as the app lives."""
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _do(self, caller: Caller, approval: UUID, act: Act) -> None:
        try:
            async with self.turn:
                await self.doers[act].do(caller, approval)
        except _TRY_AGAIN as error:
            _log.warning("An approved act could not be done yet; trying again.", **describe(error))
