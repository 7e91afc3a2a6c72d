"""What ingest itself learns of a visitor: the network, under a keyed hash, and what the operator chose to keep.

Invariant: by default nothing of address, country and browser is kept; no setting keeps a whole address or user agent.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from starlette.types import Scope
from ua_parser import parse_user_agent

from services.ingest.networks import Networks, network_text
from services.ingest.settings import IngestSettings
from services.observability import get_logger

NETWORK_BYTES: Final = 16
_NETWORK_DOMAIN: Final = b"sayso/network/v1\n"
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
# What proxies write who do not know (ISO 3166 leaves them to users).
_NO_COUNTRY: Final = frozenset({"XX", "ZZ"})
_USER_AGENT_BYTES_MAX: Final = 512
_USER_AGENTS_MAX: Final = 2048
# ua-parser copies the names of rare programs out of the header, where a visitor may write anything.
_FAMILIES: Final = frozenset(
    {
        *("Chrome", "Chrome Mobile", "Chrome Mobile WebView", "Chrome Mobile iOS", "Chromium", "HeadlessChrome"),
        *("Firefox", "Firefox Mobile", "Firefox iOS", "Safari", "Mobile Safari", "Mobile Safari UI/WKWebView"),
        *("Edge", "Edge Mobile", "IE", "IE Mobile", "Opera", "Opera Mobile", "Opera Mini", "Samsung Internet"),
        *("Brave", "Vivaldi", "DuckDuckGo Mobile", "UC Browser", "QQ Browser", "MiuiBrowser", "Yandex Browser"),
        *("Amazon Silk", "Whale", "Facebook", "Instagram"),
    }
)
_OTHER_FAMILY: Final = "Other"
_FORWARDED: Final = (b"x-forwarded-for", b"forwarded")
_REMARK_S: Final = 60.0


class Client(NamedTuple):
    """`network`: a keyed hash, for rate limits alone. `context`: what joins the context part of the visitor's acts."""

    network: bytes
    context: Mapping[str, Any]


# Of what the service says itself, and not a visitor's browser.
NOBODY: Final = Client(b"", {})


class Clients:
    """Requests -> clients; one per process."""

    def __init__(self, settings: IngestSettings, secret: bytes) -> None:
        """`secret`: the same on all ingest processes that share limits."""
        self._networks = Networks(settings.trusted_proxies, settings.forwarded_header)
        key = hmac.digest(secret, _NETWORK_DOMAIN, "sha256")
        self._keyed = hashlib.blake2b(digest_size=NETWORK_BYTES, key=key)
        self._keeps_address = settings.address_kept == "truncated"
        self._keeps_family = settings.user_agent_kept == "family"
        self._country_header = settings.country_header.lower().encode()
        self._keeps_nothing = not (self._keeps_address or self._keeps_family or self._country_header)
        self._remarked_at = -_REMARK_S

    def of(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Client:
        """The client of a request."""
        network, vouched = self._networks.sender(scope)
        keyed = self._keyed.copy()
        keyed.update(network)
        name = keyed.digest()
        if self._keeps_nothing:
            return Client(name, NOBODY.context)
        seen = {
            "ip_truncated": network_text(network) if self._keeps_address else None,
            "country": _country(headers.get(self._country_header)) if vouched else None,
            "user_agent_family": _family(headers.get(b"user-agent")) if self._keeps_family else None,
        }
        return Client(name, {member: value for member, value in seen.items() if value is not None})

    def remark_limit(self, headers: Mapping[bytes, bytes]) -> None:
        """A request was over its limit: say so, once a minute, if it may be that of all visitors behind one proxy."""
        now = time.monotonic()
        if now - self._remarked_at < _REMARK_S or not any(name in headers for name in _FORWARDED):
            return
        self._remarked_at = now
        get_logger().warning(
            "a request with a forwarded address was over its limit",
            setting="SAYSO_TRUSTED_PROXIES",
            detail="if it came through a proxy that is not listed there, all its visitors share one limit",
        )


def _country(stated: bytes | None) -> str | None:
    country = "" if stated is None else stated.decode("latin-1")
    return country if _COUNTRY.fullmatch(country) and country not in _NO_COUNTRY else None


def _family(stated: bytes | None) -> str | None:
    return None if stated is None else _known_family(stated[:_USER_AGENT_BYTES_MAX])


@lru_cache(maxsize=_USER_AGENTS_MAX)
def _known_family(user_agent: bytes) -> str:
    found = parse_user_agent(user_agent.decode("latin-1"))
    return found.family if found is not None and found.family in _FAMILIES else _OTHER_FAMILY
