"""The OpenID provider: OpenID Connect Core 1.0, code flow, with PKCE (RFC 7636) and issuer identification (RFC 9207).

Invariant: nobody is signed in but by an ID token that the provider's published key signed, for us, for this browser's
attempt, and that is still young. The provider's name for a person leaves this module as a hash only.
"""

import base64
import hashlib
import hmac
import ssl
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

import httpx2
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from schemas.errors import ConfigurationError
from schemas.rights_errors import SignInAway, SignInFailed
from services.observability import get_logger

# What a provider may sign with; nothing that is keyed with our own secret, and never "none".
ALGORITHMS: Final = ("RS256", "PS256", "ES256", "Ed25519")
CALLBACK_PATH: Final = "/v1/sign-in/callback"
RETRY_AFTER_S: Final = 10
TIMEOUT_S: Final = 10.0
DISCOVERY_S: Final = 3600
# Whoever sends key names that do not exist makes us ask the provider no more often than this.
KEYS_PAUSE_S: Final = 60
CLOCK_SKEW_S: Final = 60
TOKEN_AGE_S_MAX: Final = 600

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_SECRET_CHARS_MAX: Final = 4096
_SUBJECT_CHARS_MAX: Final = 255
_PERSON_DOMAIN: Final = b"sayso/person/v1\n"


class Identity(NamedTuple):
    """Somebody whom the provider knows. `subject_sha256` is all that is kept of its name for them."""

    issuer: str
    subject_sha256: bytes


class Attempt(NamedTuple):
    """What ties one sign-in to one browser: returned with the code, inside the ID token, and shown to the provider."""

    state: str
    nonce: str
    verifier: str


def read_client_secret(path: Path) -> str:
    """The text in a file of mode 600, without white space around it. Raises ConfigurationError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the client secret {path} ({type(error).__name__})") from None
    if mode & 0o077:
        raise ConfigurationError(f"the client secret {path} is open to others: chmod 600 it")
    if not secret.isprintable() or not 0 < len(secret) <= _SECRET_CHARS_MAX:
        raise ConfigurationError(f"the file {path} does not hold a client secret")
    return secret


def subject_sha256(issuer: str, subject: str) -> bytes:
    """How a person is stored: SHA-256 of a line for the purpose, the issuer's line, and the claim `sub`."""
    return hashlib.sha256(b"%b%b\n%b" % (_PERSON_DOMAIN, issuer.encode(), subject.encode())).digest()


def challenge_of(verifier: str) -> str:
    """RFC 7636, 4.2, method S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def read_identity(claims: Mapping[str, Any], *, issuer: str, client: str, nonce: str, now: float) -> Identity:
    """Whom the claims of a verified ID token name (OpenID Connect Core, 3.1.3.7). Raises SignInFailed."""
    audience = claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    subject, expires, issued = claims.get("sub"), claims.get("exp"), claims.get("iat")
    shown = claims.get("nonce")
    fits = (
        claims.get("iss") == issuer
        and isinstance(named, list)
        and client in named
        and (len(named) == 1 or claims.get("azp") == client)
        and ("azp" not in claims or claims["azp"] == client)
        and isinstance(expires, int | float)
        and now < expires + CLOCK_SKEW_S
        and isinstance(issued, int | float)
        and -CLOCK_SKEW_S <= now - issued <= TOKEN_AGE_S_MAX
        and isinstance(shown, str)
        and hmac.compare_digest(shown.encode(), nonce.encode())
    )
    if not fits or not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_CHARS_MAX:
        raise SignInFailed
    return Identity(issuer, subject_sha256(issuer, subject))


class Provider:
    """One provider and our registration with it. Its description and keys are fetched when first needed, then kept."""

    def __init__(self, issuer: str, client: str, secret: str, public_url: str) -> None:
        """Raises ConfigurationError for an issuer that is not reached over TLS (but on this machine)."""
        _check_address(issuer)
        self.issuer = issuer
        self._client_id = client
        self._secret = secret
        self._redirect = public_url + CALLBACK_PATH
        self._http = httpx2.AsyncClient(
            timeout=TIMEOUT_S,
            verify=ssl.create_default_context(),
            trust_env=False,
            headers={"accept": "application/json"},
        )
        self._description: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def begin(self, attempt: Attempt) -> str:
        """Where the browser is sent to sign in. Raises SignInAway."""
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect,
            # The name and the address of a person are not asked for: nothing here needs them.
            "scope": "openid",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge_of(attempt.verifier),
            "code_challenge_method": "S256",
        }
        endpoint = _text(await self._described(), "authorization_endpoint")
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked)}"

    async def finish(self, attempt: Attempt, code: str, stated_issuer: str | None) -> Identity:
        """Who has signed in. Raises SignInFailed and SignInAway.

        1. The answer is of this provider and no other; 2. redeem the code, which only our verifier does; 3. verify the
        token's signature, and again under keys fetched anew if its key is not known; 4. read whom it names.
        """
        description = await self._described()
        must_state = description.get("authorization_response_iss_parameter_supported") is True
        if stated_issuer != self.issuer and (must_state or stated_issuer is not None):
            raise SignInFailed
        token = await self._redeem(description, attempt, code)
        keys = await self._published_keys(description, fresh=False)
        claims = _verified(token, keys)
        if claims is None:
            claims = _verified(token, await self._published_keys(description, fresh=True))
        if claims is None:
            raise SignInFailed
        return read_identity(claims, issuer=self.issuer, client=self._client_id, nonce=attempt.nonce, now=time.time())

    async def _described(self) -> dict[str, Any]:
        """The provider's description (OpenID Connect Discovery 1.0, 4), which must name this very issuer."""
        now = time.monotonic()
        if self._description is None or now - self._description[0] > DISCOVERY_S:
            found = await self._fetch(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self.issuer:
                raise self._away("its description names another issuer")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                try:
                    _check_address(_text(found, name))
                except ConfigurationError:
                    raise self._away(f"its {name} is not reached over TLS") from None
            self._description = (now, found)
        return self._description[1]

    async def _published_keys(self, description: Mapping[str, Any], *, fresh: bool) -> KeySet:
        now = time.monotonic()
        if self._keys is None or now - self._keys[0] > (KEYS_PAUSE_S if fresh else DISCOVERY_S):
            found = await self._fetch(_text(description, "jwks_uri"))
            try:
                self._keys = (now, KeySet.import_key_set({"keys": found["keys"]}))
            except (JoseError, KeyError, TypeError, ValueError) as error:
                raise self._away("its keys cannot be read") from error
        return self._keys[1]

    async def _redeem(self, description: Mapping[str, Any], attempt: Attempt, code: str) -> str:
        """The ID token for a code (RFC 6749, 4.1.3). Raises SignInFailed for one that is not good, or not any more."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "code_verifier": attempt.verifier,
        }
        # RFC 6749, 2.3.1: both are form-encoded before they are joined.
        pair = f"{quote(self._client_id, safe='')}:{quote(self._secret, safe='')}"
        basic = base64.b64encode(pair.encode()).decode()
        headers = {"authorization": f"Basic {basic}"}
        try:
            response = await self._http.post(_text(description, "token_endpoint"), data=form, headers=headers)
        except httpx2.HTTPError as error:
            raise self._away(type(error).__name__) from None
        if response.status_code == httpx2.codes.BAD_REQUEST:
            raise SignInFailed
        token = self._read(response).get("id_token")
        if not isinstance(token, str):
            raise self._away("its token endpoint gives no ID token")
        return token

    async def _fetch(self, url: str) -> dict[str, Any]:
        try:
            return self._read(await self._http.get(url))
        except httpx2.HTTPError as error:
            raise self._away(type(error).__name__) from None

    def _read(self, response: httpx2.Response) -> dict[str, Any]:
        if response.status_code != httpx2.codes.OK:
            raise self._away(f"it answers {response.status_code}")
        try:
            value = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise self._away("it answers no JSON object")
        return value

    def _away(self, reason: str) -> SignInAway:
        """The problem; the operator finds the reason in the log, the caller cannot mend it."""
        get_logger().warning("the OpenID provider cannot be used", origin=urlsplit(self.issuer).netloc, reason=reason)
        return SignInAway(retry_after_s=RETRY_AFTER_S)


def _verified(token: str, keys: KeySet) -> dict[str, Any] | None:
    try:
        return dict(jwt.decode(token, keys, algorithms=ALGORITHMS).claims)
    except (JoseError, ValueError):
        return None


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not safe or parts.hostname is None or parts.username is not None or parts.fragment:
        raise ConfigurationError(
            "SAYSO_OIDC_ISSUER is an https address (http on this machine only), as it names itself"
        )
