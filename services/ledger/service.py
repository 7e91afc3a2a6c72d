"""The ledger process: check everything that must hold, then record and sign until told to stop.

Refuses to start (ConfigurationError) rather than guess; halts (LedgerHalted) when the database contradicts what was
signed, says why every few seconds, and goes on by itself once the right database is back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import asyncpg

from schemas.errors import ConfigurationError, LedgerHalted, StreamUnavailable
from schemas.sealing import key_id
from services.keys import ControllerKeys, make_secret, read_secret, sealing_key
from services.ledger.checkpoints import Checkpoints
from services.ledger.high_water import HighWater
from services.ledger.metrics import LedgerMetrics
from services.ledger.migrate import pending
from services.ledger.opening import Opener
from services.ledger.recorder import APPLICATION, STALLED_S, Recorder, Writing
from services.ledger.registry import Registry
from services.ledger.relay import Relay
from services.ledger.settings import LedgerSettings
from services.ledger.store import Store
from services.observability import describe, get_logger
from services.postgres import DATABASE_AWAY, Connection, Pool, create_pool
from services.stream.address import kafka_bootstrap, make_sources
from services.stream.protocol import Source

HALTED_PAUSE_S: Final = 5.0
AWAY_PAUSE_S: Final = 1.0
HOUSEKEEPING_S: Final = 3600.0
OUTBOX_PAUSE_S: Final = 0.2
STOPPING_S_MAX: Final = 20.0

_log = get_logger()


class LedgerService:
    """One ledger. `run` returns after `stop` was called; the metrics outlive a halt."""

    def __init__(self, settings: LedgerSettings) -> None:
        """Raises ConfigurationError for keys that cannot be read."""
        self._settings = settings
        self._root_key = read_secret(settings.root_key_file)
        self._event_id_key = read_secret(settings.event_id_key_file)
        self._stopping = asyncio.Event()
        self.metrics = LedgerMetrics()
        # Why the ledger neither records nor signs, or None; read by tests and the operator's log.
        self.halted: str | None = None

    def stop(self) -> None:
        """Finish the batch at hand, sign it, then let `run` return."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until stopped. Raises ConfigurationError."""
        settings = self._settings
        if settings.ledger_metrics_port:
            self.metrics.serve(settings.ledger_metrics_host, settings.ledger_metrics_port)
        while not self._stopping.is_set():
            try:
                await self._serve()
            except LedgerHalted as error:
                self.halted = str(error)
                self.metrics.halted.set(1)
                _log.error("The ledger has halted: it neither records nor signs.", **describe(error))
                await self._pause(HALTED_PAUSE_S)
            except (StreamUnavailable, *DATABASE_AWAY) as error:
                _log.warning("The database or the stream is away; trying again.", **describe(error))
                await self._pause(AWAY_PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not past a call of `stop`."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _serve(self) -> None:
        settings = self._settings
        await self._check_migrated()
        high_water = HighWater(settings.high_water_dir)

        async def contains_what_was_signed(connection: Connection) -> None:
            await high_water.check(Store(connection))

        pool = await create_pool(
            settings.database_url.get_secret_value(),
            role="sayso_ledger",
            size=8,
            application=APPLICATION,
            lock_timeout_s=STALLED_S,
            on_connect=contains_what_was_signed,
        )
        try:
            await self._record_and_sign(pool, high_water)
        finally:
            await _close(pool)

    async def _check_migrated(self) -> None:
        connection = await asyncpg.connect(self._settings.database_url.get_secret_value())
        try:
            await connection.execute("SET ROLE sayso_ledger")
            if missing := await pending(connection):
                raise ConfigurationError(f"the database lacks {len(missing)} migrations: run sayso migrate")
        finally:
            await connection.close()

    async def _record_and_sign(self, pool: Pool, high_water: HighWater) -> None:
        settings = self._settings
        keys = ControllerKeys(settings.controller_key_dir, self._root_key)
        make_secret(settings.ledger_key_dir / "sealing.key")
        private = sealing_key(settings.ledger_key_dir / "sealing.key")
        public = private.public_key()
        async with pool.acquire() as connection:
            await Store(connection).publish_sealing_key(key_id(public), public.public_bytes_raw())
        registry = Registry(pool)
        checkpoints = Checkpoints(pool, settings.ledger_key_dir, keys, high_water, hold=False)
        await checkpoints.open_logs()
        bootstrap = kafka_bootstrap(settings.stream)
        writing = Writing(
            pool=pool,
            opener=Opener(registry, private, self._event_id_key, keys),
            keys=keys,
            event_id_key=self._event_id_key,
            checkpoints=checkpoints,
            high_water=high_water,
            metrics=self.metrics,
            edges={},
            batch_events_max=settings.batch_events_max,
            announce=bootstrap is not None,
        )
        self.halted = None
        self.metrics.halted.set(0)
        self.metrics.recording.set(1)
        sources = make_sources(settings.stream, pool=pool, topic=settings.events_topic)
        relay = None if bootstrap is None else Relay(pool, bootstrap)
        try:
            await self._first_to_fail(
                *(self._run_source(source, writing) for source in sources),
                self._sign_forever(checkpoints),
                self._every(HOUSEKEEPING_S, lambda: self._keep_house(pool)),
                *(() if relay is None else (self._every(OUTBOX_PAUSE_S, relay.publish),)),
            )
            await checkpoints.sign_due()
        finally:
            self.metrics.recording.set(0)
            closing = [source.stop() for source in sources] + ([] if relay is None else [relay.stop()])
            # A broker that is away must not keep a failed ledger from starting anew.
            async with asyncio.timeout(STOPPING_S_MAX):
                await asyncio.gather(*closing, return_exceptions=True)

    async def _first_to_fail(self, *coroutines: Coroutine[Any, Any, None]) -> None:
        """Run all until they return after `stop`; when one raises, cancel the others and raise it."""
        tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run_source(self, source: Source, writing: Writing) -> None:
        while not self._stopping.is_set():
            try:
                await source.start()
            except (StreamUnavailable, *DATABASE_AWAY) as error:
                # One transport being away never stops the other: the inbox is drained while Kafka is down.
                _log.warning("A stream cannot be read yet; trying again.", **describe(error))
                await self._pause(AWAY_PAUSE_S)
            else:
                await Recorder(source, writing).run(self._stopping.is_set)

    async def _sign_forever(self, checkpoints: Checkpoints) -> None:
        while not self._stopping.is_set():
            try:
                await checkpoints.open_logs()
                self.metrics.checkpoints.inc(await checkpoints.sign_due())
            except asyncpg.LockNotAvailableError:
                _log.warning("Another ledger holds the head of a log; signing it in the next round.")
            except DATABASE_AWAY as error:
                _log.warning("Cannot sign while the database is away; trying again.", **describe(error))
            await self._pause(self._settings.checkpoint_interval_ms / 1000)

    async def _keep_house(self, pool: Pool) -> int:
        async with pool.acquire() as connection:
            return await Store(connection).expire_dead_letters()

    async def _every(self, seconds: float, work: Callable[[], Awaitable[int]]) -> None:
        while not self._stopping.is_set():
            try:
                await work()
            except DATABASE_AWAY as error:
                _log.warning("The database is away; trying again.", **describe(error))
            await self._pause(seconds)


async def _close(pool: Pool) -> None:
    """Close, waiting for statements on their way; then without waiting."""
    try:
        await asyncio.wait_for(pool.close(), STOPPING_S_MAX)
    except TimeoutError:
        pool.terminate()
