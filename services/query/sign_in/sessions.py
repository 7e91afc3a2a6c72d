"""Sessions of people who have signed in, held by a cookie; the database knows the SHA-256 of its value alone.

Invariant: a cookie opens what changes something only together with a token that no other site can read (`csrf`) and
from a page of our own origin; it opens nothing once the person was removed, has signed out, or stayed away too long.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from schemas.rights_errors import ForgeryGuardMissing, SessionOver
from services.postgres import Pool, controller_transaction, named_queries
from services.query.auth import PERSON_PREFIX, Caller, under_grant
from services.query.store import Store

IDLE: Final = timedelta(hours=1)
# A session that is used is prolonged no more often than this, so that reading does not write each time.
PROLONG_AFTER: Final = timedelta(minutes=5)
ATTEMPT_S: Final = 600
CSRF_HEADER: Final = "x-sayso-csrf"

_SQL: Final = named_queries(Path(__file__).parent.parent / "sql" / "sign_in.sql")
_VALUE_BYTES: Final = 32
_CSRF_DOMAIN: Final = b"sayso/csrf/v1"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Cookies:
    """The two cookies. Over https they carry the prefix that binds them to this host (RFC 6265bis, 4.1.3.2)."""

    def __init__(self, public_url: str | None) -> None:
        """`public_url` None: the deployment has no sign-in, and no request brings a session."""
        parts = urlsplit(public_url or "")
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._secure = parts.scheme == "https"
        self.session = "__Host-sayso" if self._secure else "sayso_session"
        self.attempt = "__Host-sayso-sign-in" if self._secure else "sayso_sign_in"

    def put(self, response: Response, name: str, value: str, life_s: int | None) -> None:
        """`life_s` None: until the browser is closed, or the session ends."""
        response.set_cookie(name, value, max_age=life_s, path="/", secure=self._secure, httponly=True, samesite="lax")

    def drop(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._secure, httponly=True, samesite="lax")


def csrf_of(value: str) -> str:
    """The session's token against forged requests: keyed with the cookie's value, which no page can read."""
    mac = hmac.digest(value.encode(), _CSRF_DOMAIN, "sha256")
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def _name_of(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()


class Sessions:
    """Begins, finds and ends sessions. Nothing is cached: who was removed or has signed out is out at once."""

    def __init__(self, pool: Pool, store: Store, public_url: str | None) -> None:
        self._pool = pool
        self._store = store
        self.cookies = Cookies(public_url)

    async def begin(self, controller: int, person: UUID) -> str:
        """The value of a new cookie; what this person left of sessions that are over is forgotten."""
        value = secrets.token_urlsafe(_VALUE_BYTES)
        async with controller_transaction(self._pool, controller, readonly=False) as connection:
            await connection.execute(_SQL["forget_sessions"], controller, person)
            await connection.execute(_SQL["begin_session"], controller, _name_of(value), person, IDLE)
        return value

    def shown(self, request: Request) -> str | None:
        """The cookie that a request brings."""
        return request.cookies.get(self.cookies.session)

    async def caller(self, request: Request) -> Caller:
        """Who sent a request with a session's cookie. Raises SessionOver and ForgeryGuardMissing.

        1. Find the session; 2. hold what would change something to the token and the origin; 3. prolong it.
        """
        value = self.shown(request) or ""
        row = await self._pool.fetchrow(_SQL["find_session"], _name_of(value))
        now = datetime.now(UTC)
        if row is None or row["expires_at"] <= now:
            raise SessionOver
        if request.method not in _SAFE_METHODS and not self._is_ours(request, value):
            raise ForgeryGuardMissing
        if row["expires_at"] < now + IDLE - PROLONG_AFTER:
            async with controller_transaction(self._pool, row["controller"], readonly=False) as connection:
                await connection.execute(_SQL["prolong_session"], row["controller"], _name_of(value), IDLE)
        name = f"{PERSON_PREFIX}{row['person']}"
        caller = Caller(row["controller"], row["controller_name"], row["role"], name)
        return await under_grant(self._store, caller, row["grant_id"])

    async def end(self, caller: Caller, value: str) -> None:
        async with controller_transaction(self._pool, caller.controller, readonly=False) as connection:
            await connection.execute(_SQL["end_session"], caller.controller, _name_of(value))

    def _is_ours(self, request: Request, value: str) -> bool:
        token = request.headers.get(CSRF_HEADER, "")
        return request.headers.get("origin") == self.cookies.origin and hmac.compare_digest(
            token.encode(), csrf_of(value).encode()
        )
