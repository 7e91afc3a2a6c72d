"""Who is calling: publishable, app and server keys, the site they speak for, and the origins a page may post from.

Publishable and app keys are no secret: the one is bound to origins, both to what a browser may say. A server key is
one, so it is taken from the Authorization header alone; a URL would leave it in logs and histories.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qs

from schemas.errors import MissingKey, OriginNotAllowed, WrongKey
from schemas.event_types import BROWSER_TYPES, SERVER_TYPES
from schemas.record import PostedBy
from schemas.topics import source_of
from services.ingest.lookups import Lookups
from services.ingest.sites import SiteId
from services.keys import secret_digest
from services.postgres import Pool, named_queries

_PUBLIC: Final = re.compile(r"(?:pk|app)_[0-9A-Za-z]{22,64}")
_SERVER: Final = re.compile(r"(sk_[0-9A-Za-z]{8,64})_([0-9A-Za-z]{22,128})")
QUERY_FIELDS_MAX: Final = 20
QUERIES_MAX: Final = 10_000
# Longer ones, which only drop-ins have use for, are taken apart every time: who sends many must not fill the memory.
QUERY_BYTES_MAX: Final = 256

STATEMENTS = named_queries(Path(__file__).parent / "sql" / "queries.sql")


@dataclass(frozen=True, slots=True)
class Caller:
    """A key and everything that follows from it."""

    kind: Literal["pk", "sk", "app"]
    site: SiteId
    controller_name: str
    site_name: str
    log: str
    secret_sha256: bytes | None
    origins: frozenset[bytes]
    source: str
    types: frozenset[str]
    posted_by: PostedBy
    # The key's public name; none for what the service says over a link.
    key: bytes = b""


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
        if authorization is None and len(query) <= QUERY_BYTES_MAX:
            if len(self._queries) >= QUERIES_MAX:
                self._queries.clear()
            self._queries[query] = name
        return caller

    async def named(self, name: str) -> Caller | None:
        """The caller that a key's public name stands for; its secret has yet to be shown. Raises LedgerAway."""
        return self._callers.fresh(name) or await self._callers.find(name)

    async def _read(self, name: str) -> Caller | None:
        row = await self._pool.fetchrow(STATEMENTS["site_key"], name)
        if row is None:
            return None
        server = row["kind"] == "sk"
        return Caller(
            kind=row["kind"],
            site=SiteId(row["controller"], row["site"]),
            controller_name=row["controller_name"],
            site_name=row["site_name"],
            log=row["log_name"],
            secret_sha256=row["secret_sha256"],
            origins=frozenset(origin.encode() for origin in row["origins"]),
            source=source_of(row["site_name"]),
            types=SERVER_TYPES if server else BROWSER_TYPES,
            posted_by="server" if server else "browser",
            key=name.encode(),
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
        try:
            key = parse_qs(query.decode("latin-1"), max_num_fields=QUERY_FIELDS_MAX).get("key", [""])[0]
        except ValueError:
            raise MissingKey from None
        if not key or key.startswith("sk_"):
            raise MissingKey
    if _PUBLIC.fullmatch(key) is None:
        raise WrongKey
    return key, None


def check_origin(caller: Caller, headers: Mapping[bytes, bytes]) -> None:
    """Raise OriginNotAllowed unless whoever sent these headers may use this key.

    1. A page of an allowed origin may, with any key; 2. a page that ingest's own origin serves, if that is allowed: it
    may come without Origin; 3. what is no page may with an app key or a server key. A program can write any origin it
    likes: an allow-list keeps other people's pages out, and proofs and limits (docs/ingest.md) what a program can do.
    """
    origin = headers.get(b"origin")
    if caller.kind == "sk" or origin in caller.origins:
        return
    if caller.kind == "app" and origin is None and b"sec-fetch-site" not in headers:
        return
    if origin in {None, b"null"} and headers.get(b"sec-fetch-site") == b"same-origin":
        host = headers.get(b"host", b"")
        if not caller.origins.isdisjoint((b"https://" + host, b"http://" + host)):
            return
    raise OriginNotAllowed
