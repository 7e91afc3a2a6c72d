"""The ingest process put together: what lives as long as it does, its routes, and what it must have to start.

It registers nothing: its epoch key's public half must be in the database already, and the ledger's sealing key too.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, Final, TypedDict

import asyncpg
import orjson
from fastapi import APIRouter, FastAPI, Query
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from schemas.catalogue import catalogue_services
from schemas.errors import ConfigurationError, NotFound
from schemas.events import INGEST_TYPES, Language
from services.http import create_service_app
from services.ingest.auth import Callers
from services.ingest.endpoint import PATH, EventsEndpoint
from services.ingest.intake import Intake
from services.ingest.notices import NoticeTokens
from services.ingest.openapi import describe_events
from services.ingest.settings import IngestSettings
from services.ingest.shapes import Shapes
from services.ingest.sites import Sites
from services.keys import read_secret, signing_key
from services.observability import describe, gauge, get_logger
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


class IngestApp:
    """The ASGI application: POST /v1/events by hand, the rest by FastAPI."""

    def __init__(self, settings: IngestSettings) -> None:
        """Read the key files. Raises ConfigurationError."""
        self._settings = settings
        kafka_bootstrap(settings.stream)
        self._epochs = Epochs(signing_key(settings.epoch_key_file), INGEST_TYPES)
        self._tokens = NoticeTokens(signing_key(settings.notice_key_file))
        self._event_id_key = read_secret(settings.event_id_key_file)
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
        self._api.include_router(_router)
        describe_events(self._api.openapi())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            await scope["state"]["events"](scope, receive, send)
        else:
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
        intake = Intake(sites, self._tokens, Shapes(), self._epochs, publisher, waiting, self._event_id_key)
        state = IngestState(
            pool=pool,
            epochs=self._epochs,
            sites=sites,
            tokens=self._tokens,
            publisher=publisher,
            events=EventsEndpoint(Callers(pool), intake, self._registry),
        )
        return {**state}


def create_app(settings: IngestSettings) -> IngestApp:
    """The ASGI app, not yet connected to anything. Raises ConfigurationError."""
    return IngestApp(settings)


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


_router = APIRouter(tags=["notices"])


@_router.get("/v1/notices/{site}")
async def latest_notice(request: Request, site: str, language: Annotated[Language, Query()]) -> Response:
    """The latest notice of the site in the language, its hash, and a token to send back with the answer to it."""
    sites: Sites = request.state.sites
    tokens: NoticeTokens = request.state.tokens
    found = await sites.named(site)
    notice = None if found is None else (await sites.words(found)).latest(language)
    if notice is None:
        raise NotFound
    issued = tokens.issue(site, notice.sha256, int(time.time()))
    document = {
        "sha256": notice.sha256,
        "language": notice.language,
        "token": issued.token,
        "token_expires_at": issued.expires_at,
        # Verbatim: the hash names exactly these bytes.
        "content": orjson.Fragment(notice.content),
    }
    # Anybody may show a public notice; nothing of the visitor goes into the answer.
    headers = {"access-control-allow-origin": "*"}
    return Response(orjson.dumps(document), headers=headers, media_type="application/json")
