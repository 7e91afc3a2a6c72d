"""What the operator sets up: controllers, logs, sites, keys, publishers and notices; shared by the commands and `up`.

Secrets are returned once and never stored: the database keeps the SHA-256 of 256 random bits.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID, uuid4

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schemas.errors import ConfigurationError
from schemas.event_types import INGEST_TYPES, QUERY_TYPES
from schemas.notice_making import Made, NoticeSource, make_notices
from schemas.notices import NoticeContent, notice_hash
from schemas.sealing import key_id
from services.cli.admin import QUERIES
from services.keys import secret_digest
from services.keys.access import ID_CHARS, SECRET_CHARS, new_access_key, random_text
from services.postgres import Connection

_ORIGIN: Final = re.compile(r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$")
_HOST: Final = re.compile(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$")
_PLAIN_NAME: Final = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")
_SITE_NAME: Final = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")

# GDPR Art. 17(3): a legal obligation; the establishment, exercise or defence of legal claims.
MINIMAL_PROOF_GROUNDS: Final = ("17(3)(b)", "17(3)(e)")

KeyKind = Literal["pk", "sk", "app"]
# Regulators get the key of a grant, from the DPO.
AccessRole = Literal["site", "privacy", "dpo", "admin"]
PersonRole = Literal["privacy", "dpo", "admin"]
PublishingService = Literal["ingest", "query"]

TYPES_OF: Final[dict[PublishingService, frozenset[str]]] = {"ingest": INGEST_TYPES, "query": QUERY_TYPES}


class Site(NamedTuple):
    """A site's place."""

    controller: int
    site: int


async def create_controller(connection: Connection, name: str, legal_name: str, contact: str) -> int:
    """The number of the new controller. Raises ConfigurationError if the name is taken or not of the form."""
    if not _PLAIN_NAME.match(name):
        raise ConfigurationError("a controller's name is 1 to 63 of a-z, 0-9 and -, and does not begin with -")
    try:
        number: int = await connection.fetchval(QUERIES["create_controller"], name, legal_name, contact)
    except asyncpg.UniqueViolationError:
        raise ConfigurationError(f"there is a controller {name} already: see `sayso controller list`") from None
    return number


async def find_controller(connection: Connection, name: str) -> int:
    """Raises ConfigurationError if there is none of this name."""
    number: int | None = await connection.fetchval(QUERIES["find_controller"], name)
    if number is None:
        raise ConfigurationError(f"there is no controller {name}: see `sayso controller list`")
    return number


async def describe_controller(connection: Connection, name: str, details: bytes) -> None:
    """Store what receipts say of a controller, canonical. Raises ConfigurationError if there is none of this name."""
    if await connection.fetchval(QUERIES["describe_controller"], name, details) is None:
        raise ConfigurationError(f"there is no controller {name}: see `sayso controller list`")


async def create_site(
    connection: Connection, name: str, controller: str, *, log: str, log_host: str | None, origins: Sequence[str]
) -> Site:
    """A new site on `log`, which is made with the origin HOST/logs/LOG if the controller has none of this name.

    With its first log a controller gets the one for its access records. A log's origin is signed into every checkpoint,
    so it is asked for and never guessed. Raises ConfigurationError.
    """
    if not _SITE_NAME.match(name):
        raise ConfigurationError("a site's name is 1 to 64 of a-z, 0-9 and ._-, and begins with a letter or digit")
    check_log(log, log_host)
    for origin in origins:
        check_origin(origin)
    owner = await find_controller(connection, controller)
    try:
        async with connection.transaction():
            number = await connection.fetchval(QUERIES["find_log_of_controller"], owner, log)
            if number is None:
                if log_host is None:
                    raise ConfigurationError(f"{controller} has no log {log}: give --log-host HOST to make it")
                number = await connection.fetchval(QUERIES["create_log"], owner, log, f"{log_host}/logs/{log}")
                if await connection.fetchval(QUERIES["find_access_log"], owner) is None:
                    await open_access_log(connection, controller, log_host)
            site: int = await connection.fetchval(QUERIES["create_site"], owner, name, number, list(origins))
    except asyncpg.UniqueViolationError:
        raise ConfigurationError("this site, log or log origin exists already: see `sayso site list`") from None
    return Site(owner, site)


async def open_access_log(connection: Connection, controller: str, log_host: str, log: str | None = None) -> str:
    """Make the log of a controller's access records, CONTROLLER-access if no name is given; its name.

    Raises ConfigurationError if there is one already, or if the name is taken.
    """
    # Both names have room for 63 characters, as a controller's has.
    name = f"{controller[:56]}-access" if log is None else log
    check_log(name, log_host)
    owner = await find_controller(connection, controller)
    if await connection.fetchval(QUERIES["find_access_log"], owner) is not None:
        raise ConfigurationError(f"{controller} has a log for its access records already: see `sayso site list`")
    place = f"{controller[:57]}.access"
    try:
        async with connection.transaction():
            await connection.execute(QUERIES["create_access_log"], owner, name, f"{log_host}/logs/{name}", place)
    except asyncpg.UniqueViolationError:
        raise ConfigurationError(
            f"the name {name} or {place} is taken, so the log for access records needs another: first run "
            f"`sayso controller open-access-log {controller} --log-host HOST --log NAME`"
        ) from None
    return name


async def open_missing_access_logs(connection: Connection) -> None:
    """Make the access logs of controllers from before there were any, under the host of their first log."""
    for row in await connection.fetch(QUERIES["lacking_access_log"]):
        await open_access_log(connection, row["name"], row["origin"].partition("/logs/")[0])


async def find_site(connection: Connection, name: str) -> Site:
    """Raises ConfigurationError if there is none of this name."""
    row = await connection.fetchrow(QUERIES["find_site_of_operator"], name)
    if row is None:
        raise ConfigurationError(f"there is no site {name}: see `sayso site list`")
    return Site(row["controller"], row["site"])


def check_log(name: str, host: str | None) -> None:
    """Raises ConfigurationError unless a log could have this name and be published under this host."""
    if not _PLAIN_NAME.match(name):
        raise ConfigurationError("a log's name is 1 to 63 of a-z, 0-9 and -, and does not begin with -")
    if host is not None and not _HOST.match(host):
        raise ConfigurationError("a log's host is written as in its address: log.shop.example, or with :PORT")


def check_origin(origin: str) -> None:
    """Raises ConfigurationError unless `origin` is written as browsers write it (RFC 6454, 6.2)."""
    if not _ORIGIN.match(origin):
        raise ConfigurationError("an origin is scheme, host and port as a browser sends it, e.g. https://shop.example")


async def allow_origin(connection: Connection, site: str, origin: str) -> list[str]:
    """The origins that the site's publishable keys may be used from, with this one added."""
    check_origin(origin)
    origins: list[str] | None = await connection.fetchval(QUERIES["allow_origin"], site, origin)
    if origins is None:
        raise ConfigurationError(f"there is no site {site}: see `sayso site list`")
    return origins


async def create_site_key(connection: Connection, site: str, kind: KeyKind) -> str:
    """The new key, whole; for a server key this is the only time that its secret is seen."""
    place = await find_site(connection, site)
    name = f"{kind}_{random_text(ID_CHARS)}"
    secret = random_text(SECRET_CHARS) if kind == "sk" else None
    digest = None if secret is None else secret_digest(secret)
    await connection.execute(QUERIES["create_site_key"], place.controller, name, place.site, kind, digest)
    return name if secret is None else f"{name}_{secret}"


async def create_access_key(
    connection: Connection,
    controller: str,
    role: AccessRole,
    *,
    label: str | None = None,
    expires_at: datetime | None = None,
    sites: Sequence[str] = (),
) -> str:
    """The new key, whole; the only time that its secret is seen. `sites` limit a key of the role site to theirs.

    Raises ConfigurationError.
    """
    owner = await find_controller(connection, controller)
    if sites and role != "site":
        raise ConfigurationError("only a key of the role site is limited to sites")
    places = [await find_site(connection, site) for site in sites]
    if any(place.controller != owner for place in places):
        raise ConfigurationError(f"not all of these sites are of {controller}: see `sayso site list`")
    numbers = [place.site for place in places] or None
    key = new_access_key()
    columns = (role, key.secret_sha256, label, expires_at, numbers)
    await connection.execute(QUERIES["create_access_key"], owner, key.name, *columns)
    return key.whole


async def replace_access_key(connection: Connection, key: str, overlap: timedelta) -> str:
    """A new key that opens what `key` opens, as long as that was made for; the other ends after `overlap`.

    Raises ConfigurationError if `key`, named with or without its secret, is not in force or is a regulator's.
    """
    kind, _, rest = key.partition("_")
    new = new_access_key()
    columns = (f"{kind}_{rest.partition('_')[0]}", new.name, new.secret_sha256, overlap)
    if await connection.fetchval(QUERIES["replace_access_key"], *columns) is None:
        raise ConfigurationError("no key of this name is in force: see `sayso key list`")
    return new.whole


async def invite_person(connection: Connection, controller: str, name: str, role: PersonRole) -> UUID:
    """Somebody who may sign in to a controller once they have opened their invitation."""
    owner = await find_controller(connection, controller)
    person = uuid4()
    await connection.execute(QUERIES["invite_person"], owner, person, name, role)
    return person


async def remove_person(connection: Connection, person: UUID) -> None:
    """End what somebody may do; their sessions end with it. Raises ConfigurationError."""
    if await connection.execute(QUERIES["remove_person"], person) != "UPDATE 1":
        raise ConfigurationError("there is nobody of this number: see `sayso person list`")


async def revoke_key(connection: Connection, key: str) -> None:
    """End a key of any kind, named with or without its secret. Raises ConfigurationError if none is in force."""
    kind, _, rest = key.partition("_")
    name = f"{kind}_{rest.partition('_')[0]}"
    for query, wanted in (("revoke_site_key", name), ("revoke_access_key", name), ("revoke_publisher", key)):
        if await connection.execute(QUERIES[query], wanted) == "UPDATE 1":
            return
    raise ConfigurationError("no key of this name is in force: see `sayso key list`")


async def register_publisher(connection: Connection, public_key: Ed25519PublicKey, service: PublishingService) -> str:
    """Let a process of the service sign epoch headers for the types that the service may publish; its name in hex."""
    name = key_id(public_key)
    raw = public_key.public_bytes_raw()
    await connection.execute(QUERIES["register_publisher"], name, raw, service, sorted(TYPES_OF[service]))
    return name.hex()


async def publish_notice(connection: Connection, site: str, content: bytes) -> bytes:
    """Store canonical notice bytes for a site; the notice's hash. The same words again change nothing."""
    place = await find_site(connection, site)
    language = NoticeContent.model_validate_json(content).language
    name = notice_hash(content)
    await connection.execute(QUERIES["publish_notice"], place.controller, name, place.site, language, content)
    return name


async def publish_source(connection: Connection, site: str, source: NoticeSource) -> list[Made]:
    """Make the notices of a source and publish them together; what was made."""
    place = await find_site(connection, site)
    async with connection.transaction():
        rows = await connection.fetch(QUERIES["list_notices"], site)
        made = make_notices(source, [NoticeContent.model_validate_json(row["content"]) for row in rows])
        for one in made:
            name = notice_hash(one.content)
            await connection.execute(
                QUERIES["publish_notice"], place.controller, name, place.site, one.language, one.content
            )
    return made


async def set_minimal_proof_rule(
    connection: Connection, controller: str, purpose: str, ground: str, keep_days: int
) -> None:
    """Consents to this purpose leave a minimal proof behind an erasure. Raises ConfigurationError."""
    owner = await find_controller(connection, controller)
    if ground not in MINIMAL_PROOF_GROUNDS:
        raise ConfigurationError(f"the ground is one of {', '.join(MINIMAL_PROOF_GROUNDS)} (GDPR)")
    await connection.execute(QUERIES["set_minimal_proof_rule"], owner, purpose, ground, keep_days)


async def match_notice(connection: Connection, controller: str, shown: bytes, notice: bytes) -> None:
    """Tie a hash that was seen on a page to a published notice. Raises ConfigurationError if that is not published."""
    owner = await find_controller(connection, controller)
    if not await connection.fetchval(QUERIES["has_notice"], owner, notice):
        raise ConfigurationError(f"{controller} has not published that notice: see `sayso notice list`")
    await connection.execute(QUERIES["match_notice"], owner, shown, notice)
