"""The ingest process put together: what lives as long as it does, its routes, and what it must have to start.

It registers nothing: its epoch key's public half must be in the database already, and the ledger's sealing key too.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypedDict

import asyncpg
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from schemas.catalogue import catalogue_services
from schemas.errors import ConfigurationError
from schemas.event_types import INGEST_TYPES
from services.capabilities import Capabilities
from services.http import create_service_app
from services.ingest import notice_routes, reports, snippet
from services.ingest.accept import Judging
from services.ingest.auth import Callers
from services.ingest.catalogue import routes as catalogue_routes
from services.ingest.catalogue.site_catalogue import SiteCatalogue
from services.ingest.clients import Clients
from services.ingest.dropin import PATHS as DROP_INS
from services.ingest.dropin import as_drop_in
from services.ingest.endpoint import PATH, EventsEndpoint
from services.ingest.intake import Intake
from services.ingest.limits import Limits, Rule, Rules
from services.ingest.notices import NoticeTokens
from services.ingest.openapi import describe_events
from services.ingest.proving import Proving
from services.ingest.settings import IngestSettings
from services.ingest.shapes import Shapes
from services.ingest.sites import Sites
from services.ingest.visitors import routes as visitor_routes
from services.ingest.visitors.acting import Acts, Places
from services.ingest.visitors.links import Links
from services.keys import read_secret, signing_key
from services.observability import counter, describe, gauge, get_logger
from services.postgres import DATABASE_AWAY, Pool, create_pool
from services.stream.address import kafka_bootstrap, make_publisher
from services.stream.epochs import Epochs
from services.stream.fallback import BreakerState, FallbackPublisher
from services.stream.protocol import Publisher
from services.stream.waiting import Waiting
from services.suppression import DatabaseNotReplayed, Suppression

ROLE: Final = "sayso_ingest"
REFRESH_S: Final = 20.0
START_POLL_S: Final = 0.5
START_LOG_S: Final = 5.0
CLOSE_S: Final = 3.0


class IngestState(TypedDict):
    """What requests find in scope["state"]."""

    pool: Pool
    epochs: Epochs
    sites: Sites
    tokens: NoticeTokens
    publisher: Publisher
    events: EventsEndpoint
    served: Counter
    callers: Callers
    links: Links
    acts: Acts
    catalogue: SiteCatalogue


class IngestApp:
    """The ASGI application: POST /v1/events and the drop-ins by hand, the rest by FastAPI."""

    def __init__(self, settings: IngestSettings) -> None:
        """Read the key files. Raises ConfigurationError."""
        self._settings = settings
        kafka_bootstrap(settings.stream)
        self._epochs = Epochs(signing_key(settings.epoch_key_file), INGEST_TYPES)
        self._tokens = NoticeTokens(signing_key(settings.notice_key_file))
        self._event_id_key = read_secret(settings.event_id_key_file)
        self._capabilities = Capabilities(read_secret(settings.capability_key_file))
        self._registry = CollectorRegistry()
        # Why the start was refused; read by __main__ after the server gave up.
        self.refusal: ConfigurationError | None = None
        self._api = create_service_app(
            title="Sayso ingest",
            description="Takes consent events in. 202 means durable; problems are RFC 9457 (docs/errors.md).",
            lifespan=self._lifespan,
            registry=self._registry,
            probes={"registration": _registration_probe, "stream": _stream_probe},
            remarks={"postgres": _postgres_probe, "kafka": _kafka_probe},
        )
        self._api.include_router(notice_routes.router)
        self._api.include_router(snippet.router)
        self._api.include_router(catalogue_routes.router)
        self._api.include_router(visitor_routes.visitors)
        self._api.include_router(reports.router)
        describe_events(self._api.openapi())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"] == PATH:
                await scope["state"]["events"](scope, receive, send)
                return
            drop_in = as_drop_in(scope)
            if drop_in["path"] in DROP_INS:
                await scope["state"]["events"](drop_in, receive, send)
                return
        await self._api(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            try:
                state = await self._start(stack)
            except ConfigurationError as refusal:
                self.refusal = refusal
                raise
            get_logger().info("ingest takes events", transport=self._settings.stream.partition(":")[0])
            yield state

    async def _start(self, stack: AsyncExitStack) -> Mapping[str, Any]:
        settings = self._settings
        pool = await _when_ready(settings, self._epochs)
        stack.push_async_callback(_close, pool)
        publisher = make_publisher(settings.stream, pool=pool, topic=settings.events_topic)
        await publisher.start()
        stack.push_async_callback(publisher.stop)
        if isinstance(publisher, FallbackPublisher):
            diverted = gauge(self._registry, "sayso_ingest_diverted", "Events put into the inbox instead of Kafka.")
            diverted.set_function(lambda: publisher.diverted)
        sites = Sites(pool, catalogue_services())
        waiting = Waiting(pool)
        for work in (waiting.run(), _keep_fresh(self._epochs, pool)):
            task = asyncio.create_task(work)
            stack.push_async_callback(_end, task)
        callers = Callers(pool)
        grant_age_s = settings.grant_age_days * 24 * 3600
        judging = Judging(self._tokens, Shapes(), Proving(self._capabilities, callers.named), grant_age_s)
        limits = _limits(settings, stack)
        intake = Intake(sites, judging, self._epochs, publisher, waiting, self._event_id_key, limits)
        clients = Clients(settings, self._event_id_key)
        state = IngestState(
            pool=pool,
            epochs=self._epochs,
            sites=sites,
            tokens=self._tokens,
            publisher=publisher,
            served=counter(
                self._registry, "sayso_ingest_notices_served_total", "Notices handed out.", ["site", "language"]
            ),
            events=EventsEndpoint(callers, clients, limits, intake, self._registry),
            callers=callers,
            links=Links(self._capabilities, settings.ingest_public_url),
            acts=Acts(intake, Places(pool), sites, self._tokens, clients, limits),
            catalogue=SiteCatalogue(pool, sites),
        )
        return {**state}


def create_app(settings: IngestSettings) -> IngestApp:
    """The ASGI app, not yet connected to anything. Raises ConfigurationError."""
    return IngestApp(settings)


def _limits(settings: IngestSettings, stack: AsyncExitStack) -> Limits:
    """The rules as set, in this process and, if there is one, in a Redis. Raises ConfigurationError."""
    rules = Rules(
        key=Rule(settings.rate_limit_per_s, settings.rate_limit_burst),
        network=Rule(settings.rate_limit_network_per_s, settings.rate_limit_network_burst),
        unconfirmed=Rule(settings.rate_limit_unconfirmed_per_s, settings.rate_limit_unconfirmed_burst),
        server=Rule(settings.rate_limit_server_per_s, settings.rate_limit_server_burst),
    )
    if settings.rate_limit_redis_url_file is None:
        return Limits(rules)
    try:
        from services.ingest.shared_limits import SharedBuckets, read_redis_url  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise ConfigurationError("shared rate limits need the extra 'redis': pip install 'sayso[redis]'") from None
    shared = SharedBuckets(read_redis_url(settings.rate_limit_redis_url_file))
    stack.callback(shared.close)
    return Limits(rules, shared)


async def _when_ready(settings: IngestSettings, epochs: Epochs) -> Pool:
    """A pool, once the database answers and this process may publish. Raises ConfigurationError after the deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.ingest_start_s
    say_at = loop.time()
    pool: Pool | None = None
    while True:
        try:
            if pool is None:
                pool = await create_pool(
                    settings.database_url.get_secret_value(),
                    role=ROLE,
                    size=settings.ingest_pool_size,
                    application="sayso-ingest",
                    on_connect=Suppression(settings.suppression_dir).check,
                )
            await epochs.refresh(pool)
            reason = epochs.missing
        except DatabaseNotReplayed as error:
            reason = str(error)
        except DATABASE_AWAY as error:
            reason = f"the database does not answer ({type(error).__name__})"
        except asyncpg.PostgresError as error:
            reason = f"the database refuses ({type(error).__name__}): run sayso migrate, and grant the role {ROLE}"
        if reason is None and pool is not None:
            return pool
        if loop.time() >= deadline:
            if pool is not None:
                await pool.close()
            raise ConfigurationError(f"not ready after {settings.ingest_start_s} s: {reason}")
        if loop.time() >= say_at:
            get_logger().info("waiting to start", detail=reason)
            say_at = loop.time() + START_LOG_S
        await asyncio.sleep(START_POLL_S)


async def _keep_fresh(epochs: Epochs, pool: Pool) -> None:
    """Learn of a new sealing key or a revoked registration within REFRESH_S."""
    while True:
        await asyncio.sleep(REFRESH_S)
        try:
            await epochs.refresh(pool)
        except DATABASE_AWAY as error:
            get_logger().warning("database away", dependency="registration", error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not be the last look
            get_logger().error("registration could not be read", **describe(error))


async def _close(pool: Pool) -> None:
    """A Postgres that does not answer must not keep the process from ending."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _registration_probe(request: Request) -> str | None:
    epochs: Epochs = request.state.epochs
    return epochs.missing


async def _postgres_probe(request: Request) -> str | None:
    pool: Pool = request.state.pool
    await pool.fetchval("SELECT 1")
    return None


async def _kafka_probe(request: Request) -> str | None:
    publisher: Publisher = request.state.publisher
    if isinstance(publisher, FallbackPublisher) and publisher.state is not BreakerState.CLOSED:
        return "does not acknowledge; events go to the inbox"
    return None


async def _stream_probe(request: Request) -> str | None:
    """Events can be taken as long as one transport takes them."""
    publisher: Publisher = request.state.publisher
    if isinstance(publisher, FallbackPublisher) and publisher.state is BreakerState.CLOSED:
        return None
    return await _postgres_probe(request)
