"""Who is calling: publishable and server keys, the site they speak for, and the origins a page may post from.

A publishable key is no secret: it is bound to origins and to what a browser may say. A server key is one, so it is
taken from the Authorization header alone; a URL would leave it in logs and histories.
"""

import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qs

from schemas.errors import MissingKey, OriginNotAllowed, WrongKey
from schemas.events import BROWSER_TYPES, SERVER_TYPES
from schemas.record import PostedBy
from schemas.topics import source_of
from services.ingest.lookups import Lookups
from services.ingest.sites import SiteId
from services.keys import secret_digest
from services.postgres import Pool, named_queries

_PUBLISHABLE: Final = re.compile(r"pk_[0-9A-Za-z]{22,64}")
_SERVER: Final = re.compile(r"(sk_[0-9A-Za-z]{8,64})_([0-9A-Za-z]{22,128})")
QUERY_FIELDS_MAX: Final = 20
QUERIES_MAX: Final = 10_000

STATEMENTS = named_queries(Path(__file__).parent / "sql" / "queries.sql")


@dataclass(frozen=True, slots=True)
class Caller:
    """A key and everything that follows from it."""

    kind: Literal["pk", "sk"]
    site: SiteId
    controller_name: str
    site_name: str
    log: str
    secret_sha256: bytes | None
    origins: frozenset[bytes]
    source: str
    types: frozenset[str]
    posted_by: PostedBy


class Callers:
    """Keys -> callers. The secret is compared on every request; only what the database says is cached."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._callers: Lookups[str, Caller] = Lookups("site keys", self._read)
        # Query strings that named a publishable key we know, so that each is taken apart once.
        self._queries: dict[bytes, str] = {}

    async def identify(self, authorization: bytes | None, query: bytes) -> Caller:
        """The caller of a request. Raises MissingKey, WrongKey, or LedgerAway if the key is not known yet."""
        if authorization is None and query in self._queries:
            caller = self._callers.fresh(self._queries[query])
            if caller is not None:
                return caller
        name, secret = _presented(authorization, query)
        caller = self._callers.fresh(name)
        if caller is None:
            caller = await self._callers.find(name)
        if caller is None:
            raise WrongKey
        if caller.kind == "sk" and not (
            secret is not None
            and caller.secret_sha256 is not None
            and hmac.compare_digest(secret_digest(secret), caller.secret_sha256)
        ):
            raise WrongKey
        if authorization is None:
            if len(self._queries) >= QUERIES_MAX:
                self._queries.clear()
            self._queries[query] = name
        return caller

    async def _read(self, name: str) -> Caller | None:
        row = await self._pool.fetchrow(STATEMENTS["site_key"], name)
        if row is None:
            return None
        browser = row["kind"] == "pk"
        return Caller(
            kind="pk" if browser else "sk",
            site=SiteId(row["controller"], row["site"]),
            controller_name=row["controller_name"],
            site_name=row["site_name"],
            log=row["log_name"],
            secret_sha256=row["secret_sha256"],
            origins=frozenset(origin.encode() for origin in row["origins"]),
            source=source_of(row["site_name"]),
            types=BROWSER_TYPES if browser else SERVER_TYPES,
            posted_by="browser" if browser else "server",
        )


def _presented(authorization: bytes | None, query: bytes) -> tuple[str, str | None]:
    """The name of the presented key and, for a server key, its secret. A server key in the URL counts as none."""
    if authorization is not None:
        scheme, _, key = authorization.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise MissingKey
        server = _SERVER.fullmatch(key.strip())
        if server is not None:
            return server[1], server[2]
    else:
        key = parse_qs(query.decode("latin-1"), max_num_fields=QUERY_FIELDS_MAX).get("key", [""])[0]
        if not key or key.startswith("sk_"):
            raise MissingKey
    if _PUBLISHABLE.fullmatch(key) is None:
        raise WrongKey
    return key, None


def check_origin(caller: Caller, origin: bytes | None, *, browser: bool) -> None:
    """Raise OriginNotAllowed unless the page may use this key.

    Browsers name the origin of every cross-origin post. Without one it is an app or a server, which could write any
    origin it likes: an allow-list protects against other people's pages, not against programs.
    """
    if caller.kind == "pk" and (origin not in caller.origins if origin is not None else browser):
        raise OriginNotAllowed
