"""What happens to triggers when nobody does anything: they are overdue, dockets close, dead letters go, figures move.

Invariant: every trigger ends, by an answer or as overdue, and then nothing is left that finds the person.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from services.ledger.downstream.answers import BUSY, OVERDUE, Noted, Noting, Said
from services.ledger.downstream.triggers import QUERIES
from services.ledger.erasure.store import ErasureStore
from services.ledger.metrics import LedgerMetrics

# How often `tend` is to be called.
TEND_S: Final = 1.0
ENDED_AT_ONCE: Final = 200
DEAD_LETTERS_KEPT: Final = timedelta(days=30)


class Tending:
    """Ends what is over; any ledger may."""

    def __init__(self, noting: Noting, metrics: LedgerMetrics, clock: Callable[[], datetime]) -> None:
        self._noting = noting
        self._metrics = metrics
        self._clock = clock
        # Controllers whose webhook key is there.
        self._with_key: set[str] = set()

    async def tend(self) -> int:
        """One round; how many triggers and dockets ended.

        1. Keys that query shows the secrets of; 2. dockets at their limit; 3. triggers that nobody answered by then;
        4. dockets that nothing keeps open; 5. old dead letters; 6. figures.
        """
        now, pool = self._clock(), self._noting.pool
        async with pool.acquire() as connection:
            names = {row["name"] for row in await connection.fetch(QUERIES["controllers"])}
            for name in sorted(names - self._with_key):
                await asyncio.to_thread(self._noting.keys.create_webhook_key, name)
            self._with_key = names
            ended = await ErasureStore(connection).close_dockets_at_limit(now)
            overdue = await connection.fetch(QUERIES["ended"], now, ENDED_AT_ONCE)
        ended += await self._end([(row["controller"], row["trigger"]) for row in overdue], now)
        async with pool.acquire() as connection:
            for row in await connection.fetch(QUERIES["told_and_answered"]):
                store = ErasureStore(connection)
                ended += await store.close_answered_dockets(row["controller"], row["dockets"], now)
            await connection.execute(QUERIES["forget_dead"], now - DEAD_LETTERS_KEPT)
            figures = await connection.fetchrow(QUERIES["waiting"], now)
        if figures is not None:
            self._metrics.deliveries_waiting.set(figures["waiting"])
            self._metrics.deliveries_dead.set(figures["dead"])
            self._metrics.triggers_overdue.set(figures["overdue"])
        return ended

    async def _end(self, triggers: list[tuple[int, UUID]], now: datetime) -> int:
        """They are overdue for good, unless an answer comes all the same."""
        by_controller: dict[int, Noted] = defaultdict(Noted)
        for controller, trigger in triggers:
            by_controller[controller].said[trigger] = Said(OVERDUE, None)
        ended = 0
        for controller, noted in by_controller.items():
            try:
                await self._noting.note(controller, noted, now)
            except BUSY:
                # Somebody else writes there, or a successor log is about to begin: the next round finds them.
                continue
            ended += len(noted.said)
        return ended
