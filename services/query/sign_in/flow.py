"""One sign-in, from the first request to the session's cookie.

What ties it together lies sealed in the browser's own cookie, so that nothing is stored for those who never come back.
"""

import hmac
import secrets
import time
from typing import Any, Final, NamedTuple
from uuid import UUID

from prometheus_client import Counter

from schemas.errors import ConfigurationError
from schemas.rights_errors import SignInAway, SignInFailed, SignInNotConfigured
from services.capabilities import Capabilities
from services.query.settings import QuerySettings
from services.query.sign_in.people import Invitation, People
from services.query.sign_in.provider import Attempt, Provider, read_client_secret
from services.query.sign_in.sessions import ATTEMPT_S, Sessions

_BYTES: Final = 32


class Begun(NamedTuple):
    """Where the browser goes, and the cookie that it keeps meanwhile."""

    url: str
    cookie: str


class Finished(NamedTuple):
    """The new session's cookie, and the path that was asked for at the beginning."""

    cookie: str
    to: str


class SignIn:
    """The flow; without a provider every step says that there is none."""

    def __init__(
        self, provider: Provider | None, people: People, sessions: Sessions, sealing: Capabilities, failed: Counter
    ) -> None:
        self._provider = provider
        self._people = people
        self._sessions = sessions
        self._sealing = sealing
        self._failed = failed

    async def begin(self, controller: str | None, invitation: str | None, to: str) -> Begun:
        """Raises SignInNotConfigured, SignInAway, and LinkNotValid for an invitation that is none.

        A controller that is not there looks the same: only who is one of its people learns that it is.
        """
        provider = self._configured()
        now_s = int(time.time())
        claims: dict[str, Any] = {"controller": controller, "to": to}
        if invitation is not None:
            invited = self._people.read_invitation(invitation, now_s)
            claims |= {"controller": invited.controller, "person": str(invited.person)}
        attempt = Attempt(*(secrets.token_urlsafe(_BYTES) for _ in Attempt._fields))
        with self._failed.count_exceptions(SignInAway):
            url = await provider.begin(attempt)
        return Begun(url, self._sealing.seal("sign-in", {**claims, **attempt._asdict(), "exp": now_s + ATTEMPT_S}))

    async def finish(self, cookie: str | None, state: str, code: str | None, issuer: str | None) -> Finished:
        """Raises SignInNotConfigured, SignInFailed, SignInAway, NotAmongPeople, LinkNotValid and AlreadyAmongPeople.

        1. It is this browser that began; 2. the provider says who it is; 3. they are one of the controller's people,
        or become one by their invitation; 4. a new session begins, whatever the browser had before.
        """
        provider = self._configured()
        with self._failed.count_exceptions((SignInFailed, SignInAway)):
            claims = self._sealing.open("sign-in", cookie or "", int(time.time()))
            if claims is None or not hmac.compare_digest(claims["state"].encode(), state.encode()) or code is None:
                raise SignInFailed
            attempt = Attempt(*(claims[name] for name in Attempt._fields))
            identity = await provider.finish(attempt, code, issuer)
        if "person" in claims:
            invited = Invitation(claims["controller"], UUID(claims["person"]))
            controller, person = await self._people.accept(invited, identity)
        else:
            controller, person = await self._people.recognise(claims["controller"], identity)
        return Finished(await self._sessions.begin(controller, person), claims["to"])

    def _configured(self) -> Provider:
        if self._provider is None:
            raise SignInNotConfigured
        return self._provider


def provider_of(settings: QuerySettings) -> Provider | None:
    """The provider of the settings, if they name one. Raises ConfigurationError when they name it by half."""
    issuer, client, file = settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret_file
    if issuer is None and client is None and file is None:
        return None
    if issuer is None or client is None or file is None or settings.query_public_url is None:
        raise ConfigurationError(
            "sign-in needs all of SAYSO_OIDC_ISSUER, SAYSO_OIDC_CLIENT_ID, SAYSO_OIDC_CLIENT_SECRET_FILE and "
            "SAYSO_QUERY_PUBLIC_URL; without sign-in, none of the first three is set"
        )
    return Provider(issuer, client, read_client_secret(file), settings.query_public_url)
