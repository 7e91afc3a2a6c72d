"""The ledger process: check everything that must hold, then record and sign until told to stop.

Refuses to start (ConfigurationError) rather than guess; halts (LedgerHalted) when the database contradicts what was
signed, says why every few seconds, and goes on by itself once the right database is back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from schemas.errors import ConfigurationError, KeyProviderAway, LedgerHalted, StreamUnavailable
from services.keys import ControllerKeys, SigningKeys, check_provider, open_provider, read_secret
from services.ledger.acting import make_eraser
from services.ledger.announcing import Announcements
from services.ledger.checkpoints import Checkpoints
from services.ledger.downstream.answers import Noting
from services.ledger.downstream.deliveries import LOOK_S as DELIVER_S
from services.ledger.downstream.deliveries import Deliveries
from services.ledger.downstream.tending import TEND_S, Tending
from services.ledger.erasure.declaring import Declarations
from services.ledger.erasure.housekeeping import House, keep_house
from services.ledger.erasure.replaying import replay
from services.ledger.erasure.subject import Eraser
from services.ledger.evidence.authorities import read_authorities
from services.ledger.evidence.timestamps import LOOK_S, Timestamps
from services.ledger.evidence.witnesses import Witnesses, load_policy, show_all
from services.ledger.feeds import LOOK_S as FEED_S
from services.ledger.feeds import Feeds
from services.ledger.high_water import HighWater
from services.ledger.metrics import LedgerMetrics
from services.ledger.migrate import pending
from services.ledger.opening import Opener
from services.ledger.recorder import APPLICATION, STALLED_S, Recorder, Writing
from services.ledger.registry import Registry
from services.ledger.relay import Relay
from services.ledger.retention.runs import LOOK_S as RETAIN_S
from services.ledger.retention.runs import Retention
from services.ledger.rights.reminders import remind
from services.ledger.sealing_keys import SealingKeys, open_sealing_keys, tend_sealing_keys
from services.ledger.settings import LedgerSettings
from services.ledger.store import Store
from services.observability import describe, get_logger
from services.postgres import DATABASE_AWAY, Connection, Pool, create_pool
from services.stream.address import kafka_bootstrap, make_sources
from services.stream.protocol import Source
from services.suppression import IN_FLIGHT, Suppression

HALTED_PAUSE_S: Final = 5.0
AWAY_PAUSE_S: Final = 1.0
HOUSEKEEPING_S: Final = 3600.0
ANNOUNCE_S: Final = 1.0
OUTBOX_PAUSE_S: Final = 0.2
COSIGN_PAUSE_S: Final = 0.25
STOPPING_S_MAX: Final = 20.0

_log = get_logger()


class LedgerService:
    """One ledger. `run` returns after `stop` was called; the metrics outlive a halt."""

    def __init__(self, settings: LedgerSettings) -> None:
        """Raises ConfigurationError for keys that cannot be read."""
        self._settings = settings
        self._provider = open_provider(settings, settings.ledger_key_dir)
        check_provider(self._provider)
        self._event_id_key = read_secret(settings.event_id_key_file)
        self._policy = load_policy(settings.witness_policy_file, hold=settings.witness_hold)
        self._authorities = read_authorities(settings.timestamp_authorities_file)
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
            except (StreamUnavailable, KeyProviderAway, *DATABASE_AWAY) as error:
                _log.warning("The database, the stream or the key provider is away; trying again.", **describe(error))
                await self._pause(AWAY_PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not past a call of `stop`."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _serve(self) -> None:
        settings = self._settings
        keys = ControllerKeys(settings.controller_key_dir, self._provider)
        suppression, eraser = make_eraser(settings, keys, self._event_id_key)
        await self._prepare_database(suppression, eraser)
        high_water = HighWater(settings.high_water_dir)

        async def contains_what_was_signed(connection: Connection) -> None:
            # Not refused but applied, also while we run: the ledger is the one that can, and everybody waits for it.
            await _erase_again(connection, suppression, eraser)
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
            house = House(pool, keys, self._event_id_key, high_water, suppression, settings.backup_window)
            await self._record_and_sign(house, eraser)
        finally:
            await _close(pool)

    async def _prepare_database(self, suppression: Suppression, eraser: Eraser) -> None:
        """Refuse a schema of another version; erase again whom a restore brought back, before anything else looks."""
        connection = await asyncpg.connect(self._settings.database_url.get_secret_value())
        try:
            await connection.execute("SET ROLE sayso_ledger")
            if missing := await pending(connection):
                raise ConfigurationError(f"the database lacks {len(missing)} migrations: run sayso migrate")
            await asyncio.to_thread(suppression.create)
            await _erase_again(connection, suppression, eraser)
        finally:
            await connection.close()

    async def _record_and_sign(self, house: House, eraser: Eraser) -> None:
        settings = self._settings
        pool, keys, high_water = house.pool, house.keys, house.high_water
        sealing_keys = SealingKeys(settings.ledger_key_dir)
        await open_sealing_keys(pool, sealing_keys, datetime.now(UTC))
        registry = Registry(pool)
        signing = SigningKeys(self._provider, settings.ledger_key_dir)
        checkpoints = Checkpoints(pool, signing, keys, high_water, hold=settings.witness_hold)
        await checkpoints.check_keys()
        bootstrap = kafka_bootstrap(settings.stream)
        announce = bootstrap is not None
        declarations = Declarations(pool, keys, self._event_id_key, high_water, eraser, announce=announce)

        announcements = Announcements(pool, keys, self._event_id_key, high_water, announce=announce)

        async def open_logs() -> None:
            await checkpoints.open_logs()
            await declarations.make()

        await open_logs()
        writing = Writing(
            pool=pool,
            opener=Opener(registry, sealing_keys, self._event_id_key, keys),
            keys=keys,
            event_id_key=self._event_id_key,
            open_logs=open_logs,
            high_water=high_water,
            eraser=eraser,
            metrics=self.metrics,
            edges={},
            batch_events_max=settings.batch_events_max,
            announce=announce,
        )
        self.halted = None
        self.metrics.halted.set(0)
        self.metrics.recording.set(1)
        sources = make_sources(settings.stream, pool=pool, topic=settings.events_topic)
        relay = None if bootstrap is None else Relay(pool, bootstrap)
        if not settings.witness_hold:
            await show_all(pool)
        witnesses = self._witnesses(pool)
        timestamps = Timestamps(pool, self._authorities, settings.timestamp_interval_s, self.metrics)
        noting = Noting(pool, keys, self._event_id_key, high_water, announce)
        deliveries, feeds = self._deliveries(noting), Feeds(pool, keys)
        tending = Tending(noting, self.metrics, now_utc)
        try:
            await self._first_to_fail(
                *(self._run_source(source, writing) for source in sources),
                self._sign_forever(checkpoints, open_logs),
                self._every(HOUSEKEEPING_S, lambda: self._keep(house)),
                self._every(HOUSEKEEPING_S, lambda: self._tend(pool, sealing_keys)),
                *(() if relay is None else (self._every(OUTBOX_PAUSE_S, relay.publish),)),
                *(() if witnesses is None else (self._every(COSIGN_PAUSE_S, witnesses.work),)),
                self._every(LOOK_S, timestamps.work),
                self._every(RETAIN_S, Retention(house, eraser, announce=announce).work),
                self._every(FEED_S, lambda: feeds.work(datetime.now(UTC))),
                self._every(DELIVER_S, deliveries.work),
                self._every(TEND_S, tending.tend),
                self._every(ANNOUNCE_S, announcements.make),
            )
            await checkpoints.sign_due()
        finally:
            self.metrics.recording.set(0)
            closing = [source.stop() for source in sources] + ([] if relay is None else [relay.stop()])
            closing += [deliveries.stop(), timestamps.stop()] + ([] if witnesses is None else [witnesses.stop()])
            # A broker that is away must not keep a failed ledger from starting anew.
            async with asyncio.timeout(STOPPING_S_MAX):
                await asyncio.gather(*closing, return_exceptions=True)

    def _witnesses(self, pool: Pool) -> Witnesses | None:
        if self._policy is None:
            return None
        return Witnesses(pool, self._policy, self.metrics, hold=self._settings.witness_hold)

    def _deliveries(self, noting: Noting) -> Deliveries:
        bootstrap, inside = kafka_bootstrap(self._settings.stream), self._settings.webhook_inside
        return Deliveries(noting, bootstrap, self.metrics, now_utc, inside=inside)

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

    async def _sign_forever(self, checkpoints: Checkpoints, open_logs: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            try:
                await open_logs()
                self.metrics.checkpoints.inc(await checkpoints.sign_due())
            except asyncpg.LockNotAvailableError:
                _log.warning("Another ledger holds the head of a log; signing it in the next round.")
            except DATABASE_AWAY as error:
                _log.warning("Cannot sign while the database is away; trying again.", **describe(error))
            await self._pause(self._settings.checkpoint_interval_ms / 1000)

    async def _tend(self, pool: Pool, sealing_keys: SealingKeys) -> int:
        settings = self._settings
        return await tend_sealing_keys(
            pool,
            sealing_keys,
            datetime.now(UTC),
            replace_after=timedelta(days=settings.sealing_key_days),
            retention=timedelta(days=settings.stream_retention_days),
        )

    async def _keep(self, house: House) -> int:
        now = datetime.now(UTC)
        self.metrics.requests_overdue.set(await remind(house, now))
        return await keep_house(house, now)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[int]]) -> None:
        while not self._stopping.is_set():
            try:
                await work()
            except DATABASE_AWAY as error:
                _log.warning("The database is away; trying again.", **describe(error))
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                _log.warning("Another writer holds what this work needs; trying again.")
            await self._pause(seconds)


def now_utc() -> datetime:
    """When deliveries and answers are due is read from this clock alone; tests move it by days."""
    return datetime.now(UTC)


async def _erase_again(connection: Connection, suppression: Suppression, eraser: Eraser) -> None:
    """Apply lines whose erasure is not here: the database was restored, or went away while it was erasing."""
    if applied := await replay(connection, suppression, eraser, in_flight=IN_FLIGHT):
        _log.warning("Applied erasures that this database lacked.", count=len(applied))


async def _close(pool: Pool) -> None:
    """Close, waiting for statements on their way; then without waiting."""
    try:
        await asyncio.wait_for(pool.close(), STOPPING_S_MAX)
    except TimeoutError:
        pool.terminate()
