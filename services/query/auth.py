"""Who asks: access keys and their roles, visitors and their capabilities, and what each may see.

Every route names who may use it, here alone. Invariant: a route without such a gate is refused when the app is built,
so none is open by oversight.
"""

import hmac
import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from schemas.errors import CapabilityNotValid, MissingKey, OriginNotAllowed, ProofNeeded, RoleNotAllowed, WrongKey
from schemas.events import BROWSER_IDENTIFIERS, Identifier
from schemas.identities import read_signed_identity, vouched_for
from schemas.record import PART_NAMES, PartName
from services.capabilities import Capabilities
from services.keys import secret_digest
from services.query.store import Store

if TYPE_CHECKING:
    from services.query.downstreams.triggers import Triggers
    from services.query.sign_in.sessions import Sessions

Role = Literal["site", "privacy", "dpo", "auditor", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
# No key has them: a browser that shows the capability of its own number, and sees that number's records alone; and a
# downstream system that signs what it answers to a trigger.
Speaking = Literal["subject", "system"]

# The least each role needs: a site's system the decision, a regulator also its circumstances. Only the controller's own
# people who answer for it see who it was; an admin arranges keys and people, and sees nobody's records.
VISIBLE_PARTS: Final[dict[Role | Speaking, tuple[PartName, ...]]] = {
    "site": ("what",),
    "privacy": PART_NAMES,
    "dpo": PART_NAMES,
    "auditor": ("what", "context"),
    "admin": (),
    "subject": PART_NAMES,
    "system": (),
}

PERSON_PREFIX: Final = "person:"
# What the site's server signed about the visitor, beside the capability.
IDENTITY_HEADER: Final = "sayso-identity"
# How long a revoked key may still open routes (design, section 3, Keys).
KEY_CACHE_S: Final = 60
_BEARER = re.compile(r"[Bb]earer +(?P<key>ak_[0-9A-Za-z]{1,64})_(?P<secret>[0-9A-Za-z_-]{1,128})")
_CAPABILITY = re.compile(r"[Bb]earer +(?P<token>cap_[0-9A-Za-z_-]{1,1024})")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a regulator was given to look at; None in a member means that it does not limit."""

    grant: UUID
    case_reference: str
    subjects: frozenset[UUID] | None
    purposes: frozenset[str] | None
    records_from: datetime | None
    records_until: datetime | None
    confidential_until: datetime | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, verified. `key` is a key's public name without the secret, "person:..." of somebody who signed in, and
    '' of a visitor; two people never have the same. `grant` is a regulator's. `sites`: the names of those whose records
    a site's key reads, None for every site.
    """

    controller: int
    controller_name: str
    role: Role | Speaking
    key: str
    grant: Grant | None = None
    sites: frozenset[str] | None = None

    @property
    def parts(self) -> tuple[PartName, ...]:
        return VISIBLE_PARTS[self.role]

    @property
    def is_person(self) -> bool:
        """Whether it is somebody who signed in, not a key."""
        return self.key.startswith(PERSON_PREFIX)

    @property
    def scope(self) -> frozenset[UUID] | None:
        """Whom a regulator's grant is about, the second wall of every read (services.postgres); None is everybody."""
        return None if self.grant is None else self.grant.subjects

    @property
    def purposes(self) -> frozenset[str] | None:
        """What a regulator's grant is about; None is every purpose."""
        return None if self.grant is None else self.grant.purposes


class _KnownKey(NamedTuple):
    """A key that is not revoked."""

    caller: Caller
    secret_sha256: bytes
    expires_at: datetime | None
    grant: UUID | None


async def under_grant(store: Store, caller: Caller, grant: UUID | None) -> Caller:
    """A regulator's caller with the grant; anybody else's as it is. Raises WrongKey unless the grant is in force.

    Looked up at every request: a grant that was revoked, and a key of one that was replaced, are so at once, in every
    process.
    """
    if caller.role != "auditor":
        return caller
    row = None if grant is None else await store.grant_in_force(caller.controller, grant, caller.key)
    if row is None:
        raise WrongKey
    found = Grant(
        grant=UUID(int=row["grant_id"].int),
        case_reference=row["case_reference"],
        subjects=None if row["subjects"] is None else frozenset(UUID(int=one.int) for one in row["subjects"]),
        purposes=None if row["purposes"] is None else frozenset(row["purposes"]),
        records_from=row["records_from"],
        records_until=row["records_until"],
        confidential_until=row["confidential_until"],
    )
    return replace(caller, grant=found)


class AccessKeys:
    """Verifies bearer keys. Only keys that exist are cached, so that garbage cannot fill the memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: dict[str, tuple[float, _KnownKey]] = {}

    async def caller(self, authorization: str | None) -> Caller:
        """Raises MissingKey or WrongKey; an unknown, revoked or expired key and a wrong secret look the same."""
        if authorization is None:
            raise MissingKey
        match = _BEARER.fullmatch(authorization)
        if match is None:
            raise WrongKey
        known = await self._known(match["key"])
        if known is None or not hmac.compare_digest(known.secret_sha256, secret_digest(match["secret"])):
            raise WrongKey
        if known.expires_at is not None and known.expires_at <= datetime.now(UTC):
            raise WrongKey
        return await under_grant(self._store, known.caller, known.grant)

    def forget(self, access_key: str) -> None:
        """A key that this process has just ended or changed; others notice within KEY_CACHE_S."""
        self._cache.pop(access_key, None)

    async def _known(self, access_key: str) -> _KnownKey | None:
        now = time.monotonic()
        cached = self._cache.get(access_key)
        if cached is not None and now - cached[0] < KEY_CACHE_S:
            return cached[1]
        row = await self._store.access_key(access_key)
        if row is None:
            self._cache.pop(access_key, None)
            return None
        sites = None if row["sites"] is None else frozenset(row["sites"])
        caller = Caller(row["controller"], row["controller_name"], row["role"], access_key, sites=sites)
        known = _KnownKey(caller, row["secret_sha256"], row["expires_at"], row["grant_id"])
        self._cache[access_key] = (now, known)
        return known


class Myself(NamedTuple):
    """A visitor: the one identifier that is spoken for, and the caller that reads it."""

    caller: Caller
    identifier: Identifier

    @property
    def is_browser(self) -> bool:
        """Whether it is a browser's number that is spoken for, not somebody whom the site knows."""
        return self.identifier.type in BROWSER_IDENTIFIERS


class Visitors:
    """Opens capabilities, and what the site signed beside them. Whom a visitor may read stands in these alone."""

    def __init__(self, store: Store, capabilities: Capabilities) -> None:
        self._store = store
        self._capabilities = capabilities
        # Only sites that a token of ours names.
        self._sites: dict[str, tuple[float, Caller, frozenset[str]]] = {}

    async def myself(self, authorization: str | None, origin: str | None, identity: str | None) -> Myself:
        """The browser of a capability; with an `identity`, who the site says its visitor is (docs/visitors.md).

        Raises CapabilityNotValid, ProofNeeded, and OriginNotAllowed for a page that is not the site's.
        """
        match = _CAPABILITY.fullmatch(authorization or "")
        claims = None if match is None else self._capabilities.open("visitor", match["token"], int(time.time()))
        place = None if claims is None else await self._place(claims["site"])
        if claims is None or place is None:
            raise CapabilityNotValid
        caller, origins = place
        if origin is not None and origin not in origins:
            raise OriginNotAllowed
        browser = Identifier(type=claims["type"], value=claims["value"])
        return Myself(caller, browser if identity is None else await self._vouched(identity, claims["site"], browser))

    async def _vouched(self, identity: str, site: str, browser: Identifier) -> Identifier:
        read = read_signed_identity(identity)
        row = None if read is None or read.signer is None else await self._store.server_key(read.signer)
        if read is None or row is None or row["site_name"] != site:
            raise ProofNeeded
        now_s = int(time.time())
        about = vouched_for(read, row["secret_sha256"], site=site, visitors={browser.value}, now_s=now_s)
        try:
            return Identifier.model_validate(dict(zip(("type", "value"), about or (), strict=True)))
        except ValueError:
            raise ProofNeeded from None

    async def _place(self, site: str) -> tuple[Caller, frozenset[str]] | None:
        now = time.monotonic()
        cached = self._sites.get(site)
        if cached is not None and now - cached[0] < KEY_CACHE_S:
            return cached[1:]
        row = await self._store.site_place(site)
        if row is None:
            self._sites.pop(site, None)
            return None
        caller = Caller(row["controller"], row["controller_name"], "subject", "")
        self._sites[site] = (now, caller, frozenset(row["origins"]))
        return self._sites[site][1:]


# Only describes the header at /docs; AccessKeys reads it.
_DOCUMENTED = HTTPBearer(scheme_name="accessKey", description="ak_... as `sayso key` prints it", auto_error=False)

_DOCUMENTED_CAPABILITY = HTTPBearer(
    scheme_name="capability", description="cap_... from the answer to the browser's own act", auto_error=False
)


class Needs:
    """The dependency of a route that only keys and people of some roles open."""

    def __init__(self, *roles: Role) -> None:
        self.roles = roles

    async def __call__(self, request: Request, _: Annotated[object, Depends(_DOCUMENTED)]) -> Caller:
        caller = await _caller(request)
        if caller.role not in self.roles:
            raise RoleNotAllowed
        return caller


async def _caller(request: Request) -> Caller:
    """By the key that a request brings; by the cookie of a session if it brings none."""
    authorization = request.headers.get("authorization")
    sessions: Sessions = request.state.sessions
    if authorization is None and sessions.shown(request) is not None:
        return await sessions.caller(request)
    keys: AccessKeys = request.state.access_keys
    return await keys.caller(authorization)


class Visitor:
    """The dependency of a route that a visitor's own browser opens, for what is theirs."""

    roles: tuple[Speaking, ...] = ("subject",)

    async def __call__(self, request: Request, _: Annotated[object, Depends(_DOCUMENTED_CAPABILITY)]) -> Myself:
        visitors: Visitors = request.state.visitors
        headers = request.headers
        return await visitors.myself(headers.get("authorization"), headers.get("origin"), headers.get(IDENTITY_HEADER))


class Answering(NamedTuple):
    """A downstream system that answers a trigger."""

    caller: Caller


class System:
    """The dependency of a route that the downstream system of the trigger in its path opens, by a signed message."""

    roles: tuple[Speaking, ...] = ("system",)

    async def __call__(self, request: Request, trigger: UUID) -> Answering:
        triggers: Triggers = request.state.triggers
        return Answering(await triggers.system_caller(trigger, request.headers, await request.body()))


class Public:
    """The dependency of a route that anybody may read: it says so, and does nothing."""

    roles: tuple[Role, ...] = ()

    async def __call__(self) -> None:
        return None


# "May I?": whoever works with consents, and a regulator within the grant.
READS_STATE: Final = Needs("site", "privacy", "dpo", "auditor")
# Names the person behind an identifier: not a regulator's to ask, who is given subject ids.
KNOWS_IDENTIFIERS: Final = Needs("site", "privacy", "dpo")
# Everything ever recorded of a person: a system that asks "may I?" has `status` for that.
READS_HISTORY: Final = Needs("privacy", "dpo", "auditor")
# Acts for the controller: answers requests, has a person erased, publishes notices. Not the DPO's (GDPR Art. 38(6)).
ACTS: Final = Needs("privacy")
# What the controller's people did and do: those who act and the DPO who watches over it.
SEES_ACTS: Final = Needs("privacy", "dpo")
# The DPO's alone: grants, exports, the access log.
OVERSEES: Final = Needs("dpo")
# Keys, people, downstream systems, terms, rules: nobody's personal data.
ARRANGES: Final = Needs("admin")
# Reads what is arranged.
SEES_ARRANGED: Final = Needs("privacy", "dpo", "admin")
# Who looked at personal data: the DPO everything, a regulator its own grant's.
SEES_LOOKS: Final = Needs("dpo", "auditor")
# A regulator, within the grant.
REGULATES: Final = Needs("auditor")
# Anybody of the controller: what there is to say of the key or the session itself.
SIGNED_IN: Final = Needs(*ROLES)
VISITOR: Final = Visitor()
SYSTEM: Final = System()
PUBLIC: Final = Public()


def name_roles(router: APIRouter) -> None:
    """Write each route's roles into the API description. Raises TypeError for a route that names none."""
    for route in router.routes:
        if not isinstance(route, APIRoute):
            raise TypeError("only API routes can name their roles")
        gates = [d.call for d in route.dependant.dependencies if isinstance(d.call, Needs | Visitor | System | Public)]
        if len(gates) != 1:
            raise TypeError(f"{route.path} must name who may use it, by one of Needs, VISITOR, SYSTEM and PUBLIC")
        roles = list(gates[0].roles)
        sentence = f"Roles: {', '.join(roles)}." if roles else "Public: needs no key."
        route.description = f"{route.description}\n\n{sentence}"
        route.openapi_extra = {**(route.openapi_extra or {}), "x-roles": roles}
