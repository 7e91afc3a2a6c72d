"""Builds the query service: settings in, an ASGI app out. Everything a request needs is in the lifespan's state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final, TypedDict

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from schemas.event_types import QUERY_TYPES
from services.capabilities import Capabilities
from services.http import create_service_app
from services.keys import ControllerKeys, open_provider, read_secret, signing_key
from services.observability import counter
from services.postgres import Pool, create_pool
from services.query import log_routes, routes
from services.query.answers import SignedAnswers
from services.query.approvals import routes as approval_routes
from services.query.approvals.approvals import Approvals
from services.query.approvals.doing import Doing
from services.query.asking import asking
from services.query.auth import AccessKeys, Visitors, name_roles
from services.query.bundles import routes as bundle_routes
from services.query.bundles.bundles import Bundles
from services.query.bundles.certificates import Certificates
from services.query.bundles.trust import Trust
from services.query.catalogue import routes as catalogue_routes
from services.query.catalogue.own_catalogue import OwnCatalogue
from services.query.checks import routes as check_routes
from services.query.checks.checks import Checks
from services.query.decisions import Decisions
from services.query.downstreams import routes as downstream_routes
from services.query.downstreams.downstreams import Downstreams
from services.query.downstreams.triggers import Triggers
from services.query.erasure import routes as erasure_routes
from services.query.erasure.erasures import Erasures
from services.query.erasure.mass import MassErasures
from services.query.erasure.minimal_proofs import MinimalProofs
from services.query.exports import routes as export_routes
from services.query.exports.exports import Exports
from services.query.exports.job import Workshop
from services.query.exports.store import ExportStore
from services.query.exports.worker import exporting
from services.query.figures import routes as figure_routes
from services.query.figures.figures import Figures
from services.query.grants import routes as grant_routes
from services.query.grants.grants import Grants
from services.query.holds import routes as hold_routes
from services.query.holds.holds import Holds
from services.query.holds.suppressions import Suppressions
from services.query.keys import routes as key_routes
from services.query.keys.machine_keys import MachineKeys
from services.query.looks import routes as look_routes
from services.query.looks.looks import Looks
from services.query.me import routes as me_routes
from services.query.me.cors import PagesMayRead
from services.query.me.mine import Mine
from services.query.notices import routes as notice_routes
from services.query.notices.notices import Notices
from services.query.proofs import Proofs
from services.query.published import PublishedLogs
from services.query.receipts import Receipts
from services.query.requests import routes as request_routes
from services.query.requests.answering import Answering
from services.query.requests.person_file import PersonFiles
from services.query.requests.requests import Requests
from services.query.retention import routes as retention_routes
from services.query.retention.retained import Retained
from services.query.settings import QuerySettings
from services.query.sign_in import routes as sign_in_routes
from services.query.sign_in.flow import SignIn, provider_of
from services.query.sign_in.people import People
from services.query.sign_in.sessions import Sessions
from services.query.status import Statuses
from services.query.store import Store
from services.query.terms import routes as terms_routes
from services.query.terms.stating import StatedTerms
from services.stream.address import kafka_bootstrap
from services.stream.epochs import Epochs
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


class State(TypedDict):
    """What a route finds in `request.state`."""

    pool: Pool
    store: Store
    access_keys: AccessKeys
    machine_keys: MachineKeys
    sessions: Sessions
    people: People
    sign_in: SignIn
    looks: Looks
    grants: Grants
    visitors: Visitors
    mine: Mine
    own_catalogue: OwnCatalogue
    notices: Notices
    subjects: Decisions
    statuses: Statuses
    signed_answers: SignedAnswers
    checks: Checks
    figures: Figures
    proofs: Proofs
    receipts: Receipts
    epochs: Epochs
    erasures: Erasures
    mass_erasures: MassErasures
    approvals: Approvals
    doing: Doing
    holds: Holds
    suppressions: Suppressions
    minimal_proofs: MinimalProofs
    downstreams: Downstreams
    triggers: Triggers
    published: PublishedLogs
    bundles: Bundles
    exports: Exports
    requests: Requests
    answering: Answering
    person_files: PersonFiles
    terms: StatedTerms
    retained: Retained


def create_app(settings: QuerySettings) -> FastAPI:
    """The app. Raises ConfigurationError when a key file is missing or unsafe; connects only when it starts."""
    controller_keys = ControllerKeys(settings.controller_key_dir, open_provider(settings))
    event_id_key = read_secret(settings.event_id_key_file)
    epochs = Epochs(signing_key(settings.query_epoch_key_file), QUERY_TYPES)
    bootstrap = kafka_bootstrap(settings.stream)
    capabilities = Capabilities(read_secret(settings.capability_key_file))
    provider = provider_of(settings)
    receipt_key = signing_key(settings.receipt_key_file)
    trust = Trust.read(settings.witness_policy_file, settings.timestamp_authorities_file)
    registry = CollectorRegistry()
    tiles_read = counter(registry, "sayso_query_tiles_total", "Hash tiles used, by where they came from", ("outcome",))

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
            provider or nullcontext(),
            asking(settings.stream, settings.events_topic, pool, epochs, event_id_key) as stream,
        ):
            store = Store(pool)
            published = PublishedLogs(store, tiles_read)
            proofs = Proofs(store, controller_keys, event_id_key, published)
            subjects = Decisions(store, controller_keys, event_id_key)
            suppressions = Suppressions(controller_keys)
            statuses = Statuses(store, subjects, suppressions)
            receipts = Receipts(store, proofs, receipt_key)
            erasures = Erasures(pool, controller_keys, event_id_key, stream)
            mass_erasures = MassErasures(pool, stream, event_id_key)
            holds = Holds(pool, controller_keys, event_id_key, stream)
            approved = Doing(pool, {"release-hold": holds, "mass-erasure": mass_erasures})
            certificates = Certificates(pool, erasures, receipts)
            access_keys = AccessKeys(store)
            looks = Looks(pool, controller_keys, event_id_key, stream)
            requests = Requests(pool, controller_keys, event_id_key, stream, subjects)
            bundles = Bundles(pool, controller_keys, event_id_key, published, subjects, certificates, receipts, trust)
            export_store = ExportStore(pool)
            workshop = None
            if settings.export_dir is not None:
                workshop = Workshop(export_store, controller_keys, bundles, published, receipts, settings.export_dir)
            sessions = Sessions(pool, store, settings.query_public_url)
            people = People(pool, looks, capabilities, settings.query_public_url)
            state = State(
                pool=pool,
                store=store,
                access_keys=access_keys,
                machine_keys=MachineKeys(pool, access_keys, looks),
                sessions=sessions,
                people=people,
                sign_in=SignIn(provider, people, sessions, capabilities),
                looks=looks,
                requests=requests,
                answering=Answering(requests, erasures, subjects),
                person_files=PersonFiles(pool, requests, subjects, looks),
                terms=StatedTerms(pool),
                retained=Retained(pool, subjects),
                grants=Grants(pool, looks, access_keys, holds),
                visitors=Visitors(store, capabilities),
                mine=Mine(store, subjects, receipts, event_id_key),
                own_catalogue=OwnCatalogue(pool),
                notices=Notices(pool),
                subjects=subjects,
                statuses=statuses,
                signed_answers=SignedAnswers(store, statuses, published, receipts),
                checks=Checks(pool, statuses, suppressions, controller_keys, event_id_key),
                figures=Figures(pool),
                proofs=proofs,
                receipts=receipts,
                epochs=epochs,
                erasures=erasures,
                mass_erasures=mass_erasures,
                approvals=Approvals(pool),
                doing=approved,
                holds=holds,
                suppressions=suppressions,
                minimal_proofs=MinimalProofs(pool, controller_keys, published),
                downstreams=Downstreams(pool, controller_keys, bootstrap is not None),
                triggers=Triggers(pool, controller_keys, stream),
                published=published,
                bundles=bundles,
                exports=Exports(export_store, looks, capabilities, settings.export_dir),
            )
            async with exporting(workshop), approved.working():
                yield dict(state)

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
