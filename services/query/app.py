"""Builds the query service: settings in, an ASGI app out. Everything a request needs is in the lifespan's state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from services.http import create_service_app
from services.keys import ControllerKeys, read_secret
from services.observability import counter
from services.postgres import create_pool
from services.query import routes
from services.query.auth import AccessKeys, name_roles
from services.query.decisions import Decisions
from services.query.proofs import Proofs
from services.query.published import PublishedLogs
from services.query.settings import QuerySettings
from services.query.store import Store


class State(TypedDict):
    """What a route finds in `request.state`."""

    store: Store
    access_keys: AccessKeys
    subjects: Decisions
    proofs: Proofs
    published: PublishedLogs


def create_app(settings: QuerySettings) -> FastAPI:
    """The app. Raises ConfigurationError when a key file is missing or unsafe; connects only when it starts."""
    controller_keys = ControllerKeys(settings.controller_key_dir, read_secret(settings.root_key_file))
    event_id_key = read_secret(settings.event_id_key_file)
    registry = CollectorRegistry()
    tiles_read = counter(registry, "sayso_query_tiles_total", "Hash tiles used, by where they came from", ("outcome",))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        pool = await create_pool(
            settings.database_url.get_secret_value(),
            role="sayso_query",
            size=settings.query_pool_size,
            application="sayso query",
        )
        async with pool:
            store = Store(pool)
            published = PublishedLogs(store, tiles_read)
            state = State(
                store=store,
                access_keys=AccessKeys(store),
                subjects=Decisions(store, controller_keys, event_id_key),
                proofs=Proofs(store, controller_keys, event_id_key, published),
                published=published,
            )
            yield dict(state)

    app = create_service_app(
        title="Sayso query",
        description="Answers and proofs of consent. Each route says which roles of an access key open it.",
        lifespan=lifespan,
        registry=registry,
        probes={"database": _database},
    )
    for router in (routes.subjects, routes.proofs, routes.logs):
        name_roles(router)
        app.include_router(router)
    return app


async def _database(request: Request) -> str | None:
    await request.state.store.ready()
    return None
