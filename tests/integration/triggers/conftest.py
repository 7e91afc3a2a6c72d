"""A deployment whose subjects a real ledger records and erases, and the engine by itself under a moved clock."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.kafka.node import free_port
from services.ledger.downstream.answers import Noting
from services.ledger.downstream.deliveries import Deliveries
from services.ledger.downstream.tending import Tending
from services.ledger.high_water import HighWater
from services.ledger.metrics import LedgerMetrics
from services.postgres import create_pool
from tests.support.databases import Database
from tests.support.deployment import Deployment
from tests.support.downstream import Clock, keys_of
from tests.support.receiver import Receiver


class Engine(NamedTuple):
    """What a ledger runs, without the rest of it."""

    deliveries: Deliveries
    tending: Tending
    clock: Clock
    metrics: LedgerMetrics

    async def round(self) -> None:
        """Send what is due now, all of it, and end what is over."""
        while await self.deliveries.work():
            await self.deliveries.settled()
        await self.tending.tend()


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    receiver = Receiver(free_port(), tmp_path)
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.fixture
def engine(deployment: Deployment) -> Callable[..., AbstractAsyncContextManager[Engine]]:
    """Makes an engine; `bootstrap` is the broker's."""

    @asynccontextmanager
    async def make(bootstrap: str | None = None) -> AsyncIterator[Engine]:
        pool = await create_pool(deployment.database.dsn(), role="sayso_ledger", size=4, application="test-engine")
        high_water = HighWater(deployment.settings().high_water_dir)
        noting = Noting(pool, keys_of(deployment), deployment.event_id_key, high_water, announce=False)
        # A moment ahead: what was erased just now is due.
        clock, metrics = Clock(datetime.now(UTC)), LedgerMetrics()
        clock.forward(seconds=1)
        deliveries = Deliveries(noting, bootstrap, metrics, clock, inside=True)
        try:
            yield Engine(deliveries, Tending(noting, metrics, clock), clock, metrics)
        finally:
            await deliveries.stop()
            await pool.close()

    return make
