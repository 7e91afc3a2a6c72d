"""What every request finds: made once, when the service starts, out of what the settings name.

Each side is a part of the state of its own: who asks, what is read, what is asked for, what is exported.
"""

from dataclasses import dataclass
from typing import Self, TypedDict

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry, Counter

from schemas.event_types import QUERY_TYPES
from services.capabilities import Capabilities
from services.keys import ControllerKeys, open_provider, read_secret, signing_key
from services.observability import counter
from services.postgres import Pool
from services.query.answers import SignedAnswers
from services.query.approvals.approvals import Approvals
from services.query.approvals.doing import Doing
from services.query.asking import Asking
from services.query.auth import AccessKeys, Visitors
from services.query.bundles.bundles import Bundles
from services.query.bundles.certificates import Certificates
from services.query.bundles.trust import Trust
from services.query.catalogue.own_catalogue import OwnCatalogue
from services.query.checks.checks import Checks
from services.query.decisions import Decisions
from services.query.downstreams.downstreams import Downstreams
from services.query.downstreams.triggers import Triggers
from services.query.erasure.erasures import Erasures
from services.query.erasure.mass import MassErasures
from services.query.erasure.minimal_proofs import MinimalProofs
from services.query.exports.exports import Exports
from services.query.exports.job import Workshop
from services.query.exports.store import ExportStore
from services.query.figures.figures import Figures
from services.query.grants.grants import Grants
from services.query.holds.holds import Holds
from services.query.holds.suppressions import Suppressions
from services.query.keys.machine_keys import MachineKeys
from services.query.looks.looks import Looks
from services.query.me.mine import Mine
from services.query.notices.notices import Notices
from services.query.proofs import Proofs
from services.query.published import PublishedLogs
from services.query.receipts import Receipts
from services.query.requests.answering import Answering
from services.query.requests.person_file import PersonFiles
from services.query.requests.requests import Requests
from services.query.retention.retained import Retained
from services.query.settings import QuerySettings
from services.query.sign_in.flow import SignIn, provider_of
from services.query.sign_in.people import People
from services.query.sign_in.provider import Provider
from services.query.sign_in.sessions import Sessions
from services.query.status import Statuses
from services.query.store import Store
from services.query.terms.stating import StatedTerms
from services.stream.address import kafka_bootstrap
from services.stream.epochs import Epochs


@dataclass(frozen=True, slots=True)
class Given:
    """What was read from settings and key files, before anything is connected."""

    settings: QuerySettings
    controller_keys: ControllerKeys
    event_id_key: bytes
    epochs: Epochs
    bootstrap: str | None
    capabilities: Capabilities
    links: Capabilities
    provider: Provider | None
    receipt_key: Ed25519PrivateKey
    trust: Trust
    tiles_read: Counter
    exports_failed: Counter
    sign_ins_failed: Counter

    @classmethod
    def read(cls, settings: QuerySettings, registry: CollectorRegistry) -> Self:
        """Raises ConfigurationError when a key file is missing or unsafe."""
        return cls(
            settings=settings,
            controller_keys=ControllerKeys(settings.controller_key_dir, open_provider(settings)),
            event_id_key=read_secret(settings.event_id_key_file),
            epochs=Epochs(signing_key(settings.query_epoch_key_file), QUERY_TYPES),
            bootstrap=kafka_bootstrap(settings.stream),
            capabilities=Capabilities(read_secret(settings.capability_key_file)),
            links=Capabilities(read_secret(settings.link_key_file)),
            provider=provider_of(settings),
            receipt_key=signing_key(settings.receipt_key_file),
            trust=Trust.read(settings.witness_policy_file, settings.timestamp_authorities_file),
            tiles_read=counter(
                registry, "sayso_query_tiles_total", "Hash tiles used, by where they came from", ("outcome",)
            ),
            exports_failed=counter(registry, "sayso_query_exports_failed_total", "Exports that ended without a result"),
            sign_ins_failed=counter(
                registry, "sayso_query_sign_ins_failed_total", "Sign-ins that the provider, or its answer, made fail"
            ),
        )


class Reading(TypedDict):
    """Answers."""

    pool: Pool
    store: Store
    epochs: Epochs
    published: PublishedLogs
    proofs: Proofs
    receipts: Receipts
    subjects: Decisions
    suppressions: Suppressions
    statuses: Statuses
    signed_answers: SignedAnswers
    checks: Checks
    figures: Figures
    mine: Mine
    own_catalogue: OwnCatalogue
    notices: Notices
    terms: StatedTerms
    retained: Retained
    minimal_proofs: MinimalProofs


class Knowing(TypedDict):
    """Who asks, and what is noted of it."""

    access_keys: AccessKeys
    machine_keys: MachineKeys
    sessions: Sessions
    people: People
    sign_in: SignIn
    visitors: Visitors
    looks: Looks


class Acting(TypedDict):
    """What is asked for."""

    erasures: Erasures
    mass_erasures: MassErasures
    approvals: Approvals
    doing: Doing
    holds: Holds
    grants: Grants
    requests: Requests
    answering: Answering
    person_files: PersonFiles
    downstreams: Downstreams
    triggers: Triggers


class HandingOut(TypedDict):
    """What leaves the house as files."""

    bundles: Bundles
    exports: Exports


class State(Reading, Knowing, Acting, HandingOut):
    """What a route finds in `request.state`."""


def reading(given: Given, pool: Pool) -> Reading:
    """Answers out of one database."""
    keys, event_id_key = given.controller_keys, given.event_id_key
    store = Store(pool)
    published = PublishedLogs(store, given.tiles_read)
    proofs = Proofs(store, keys, event_id_key, published)
    subjects = Decisions(store, keys, event_id_key)
    suppressions = Suppressions(keys)
    statuses = Statuses(store, subjects, suppressions)
    receipts = Receipts(store, proofs, given.receipt_key)
    return Reading(
        pool=pool,
        store=store,
        epochs=given.epochs,
        published=published,
        proofs=proofs,
        receipts=receipts,
        subjects=subjects,
        suppressions=suppressions,
        statuses=statuses,
        signed_answers=SignedAnswers(store, statuses, published, receipts),
        checks=Checks(pool, statuses, suppressions, keys, event_id_key),
        figures=Figures(pool),
        mine=Mine(store, subjects, receipts, event_id_key),
        own_catalogue=OwnCatalogue(pool),
        notices=Notices(pool),
        terms=StatedTerms(pool),
        retained=Retained(pool, subjects),
        minimal_proofs=MinimalProofs(pool, keys, published),
    )


def knowing(given: Given, read: Reading, stream: Asking) -> Knowing:
    """Who asks, by key, by session or by capability."""
    pool, store, public_url = read["pool"], read["store"], given.settings.query_public_url
    looks = Looks(pool, given.controller_keys, given.event_id_key, stream)
    access_keys = AccessKeys(store)
    sessions = Sessions(pool, store, public_url)
    people = People(pool, looks, given.links, public_url)
    return Knowing(
        access_keys=access_keys,
        machine_keys=MachineKeys(pool, access_keys, looks),
        sessions=sessions,
        people=people,
        sign_in=SignIn(given.provider, people, sessions, given.links, given.sign_ins_failed),
        visitors=Visitors(store, given.capabilities),
        looks=looks,
    )


def acting(given: Given, read: Reading, known: Knowing, stream: Asking) -> Acting:
    """What people ask for, over the stream."""
    pool, keys, event_id_key = read["pool"], given.controller_keys, given.event_id_key
    erasures = Erasures(pool, keys, event_id_key, stream)
    mass_erasures = MassErasures(pool, stream, event_id_key)
    holds = Holds(pool, keys, event_id_key, stream)
    requests = Requests(pool, keys, event_id_key, stream, read["subjects"])
    return Acting(
        erasures=erasures,
        mass_erasures=mass_erasures,
        approvals=Approvals(pool),
        doing=Doing(pool, {"release-hold": holds, "mass-erasure": mass_erasures}),
        holds=holds,
        grants=Grants(pool, known["looks"], known["access_keys"], holds),
        requests=requests,
        answering=Answering(requests, erasures, read["subjects"]),
        person_files=PersonFiles(pool, requests, read["subjects"], known["looks"]),
        downstreams=Downstreams(pool, keys, given.bootstrap is not None),
        triggers=Triggers(pool, keys, stream),
    )


def handing_out(given: Given, read: Reading, known: Knowing, acts: Acting) -> tuple[HandingOut, Workshop | None]:
    """Bundles and exports, and where exports are made, if there is a directory for them."""
    pool, keys, published, receipts = read["pool"], given.controller_keys, read["published"], read["receipts"]
    certificates = Certificates(pool, acts["erasures"], receipts)
    bundles = Bundles(pool, keys, given.event_id_key, published, read["subjects"], certificates, receipts, given.trust)
    store, folder = ExportStore(pool), given.settings.export_dir
    workshop = (
        None if folder is None else Workshop(store, keys, bundles, published, receipts, folder, given.exports_failed)
    )
    exports = Exports(store, known["looks"], given.links, folder)
    return HandingOut(bundles=bundles, exports=exports), workshop
