"""Builds the query service: settings in, an ASGI app out. What requests need is made in services.query.state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from services.http import create_service_app
from services.postgres import create_pool
from services.query import log_routes, routes
from services.query.approvals import routes as approval_routes
from services.query.asking import asking
from services.query.auth import name_roles
from services.query.bundles import routes as bundle_routes
from services.query.catalogue import routes as catalogue_routes
from services.query.checks import routes as check_routes
from services.query.downstreams import routes as downstream_routes
from services.query.erasure import routes as erasure_routes
from services.query.exports import routes as export_routes
from services.query.exports.worker import exporting
from services.query.figures import routes as figure_routes
from services.query.grants import routes as grant_routes
from services.query.holds import routes as hold_routes
from services.query.keys import routes as key_routes
from services.query.looks import routes as look_routes
from services.query.me import routes as me_routes
from services.query.me.cors import PagesMayRead
from services.query.notices import routes as notice_routes
from services.query.requests import routes as request_routes
from services.query.retention import routes as retention_routes
from services.query.settings import QuerySettings
from services.query.sign_in import routes as sign_in_routes
from services.query.state import Given, acting, handing_out, knowing, reading
from services.query.terms import routes as terms_routes
from services.suppression import Suppression

_ROUTERS: Final = (
    routes.subjects,
    routes.proofs,
    log_routes.logs,
    erasure_routes.erasures,
    erasure_routes.minimal_proofs,
    bundle_routes.bundles,
    me_routes.me,
    catalogue_routes.catalogue,
    notice_routes.notices,
    check_routes.checks,
    figure_routes.figures,
    hold_routes.holds,
    approval_routes.approvals,
    sign_in_routes.sign_in,
    key_routes.keys,
    look_routes.looks,
    grant_routes.grants,
    export_routes.exports,
    downstream_routes.downstreams,
    downstream_routes.triggers,
    request_routes.requests,
    request_routes.mine,
    terms_routes.terms,
    retention_routes.retention,
    retention_routes.mine,
)


def create_app(settings: QuerySettings) -> FastAPI:
    """The app. Raises ConfigurationError when a key file is missing or unsafe; connects only when it starts."""
    registry = CollectorRegistry()
    given = Given.read(settings, registry)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        pool = await create_pool(
            settings.database_url.get_secret_value(),
            role="sayso_query",
            size=settings.query_pool_size,
            application="sayso query",
            on_connect=Suppression(settings.suppression_dir).check,
        )
        async with (
            pool,
            given.provider or nullcontext(),
            asking(settings.stream, settings.events_topic, pool, given.epochs, given.event_id_key) as stream,
        ):
            read = reading(given, pool)
            known = knowing(given, read, stream)
            acts = acting(given, read, known, stream)
            files, workshop = handing_out(given, read, known, acts)
            async with exporting(workshop), acts["doing"].working():
                yield {**read, **known, **acts, **files}

    app = create_service_app(
        title="Sayso query",
        description="Answers and proofs of consent. Each route says which roles of an access key open it.",
        lifespan=lifespan,
        registry=registry,
        probes={"database": _database},
        # Without it nobody can be erased, but answers and proofs go on.
        remarks={"registration": _registration},
        long_bodies={check_routes.CHECKS_PATH: check_routes.CHECKS_BYTES_MAX},
    )
    for router in _ROUTERS:
        name_roles(router)
        app.include_router(router)
    app.add_middleware(PagesMayRead)
    return app


async def _registration(request: Request) -> str | None:
    await request.state.epochs.refresh(request.state.pool)
    missing: str | None = request.state.epochs.missing
    return missing


async def _database(request: Request) -> str | None:
    await request.state.store.ready()
    return None
