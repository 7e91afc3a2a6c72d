"""Who may speak for an identifier: a browser for the number that its key makes, a person for what the site signed.

Invariant: an identifier that a publishable key names counts as proven only by a visitor key, a capability, or the
site's own signed statement about this very visitor; everything else is recorded as unconfirmed (docs/visitors.md).
"""

import base64
import binascii
import hmac
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson

from schemas.errors import ProofNeeded
from schemas.events import BROWSER_IDENTIFIERS
from schemas.limits import CLOCK_SKEW_S_MAX, IDENTITY_LIFE_S
from schemas.visitors import visitor_id
from services.capabilities import VISITOR_LIFE_S, Capabilities
from services.ingest.auth import Caller
from services.ingest.reading import Read, Readable

_IDENTITY_DOMAIN: Final = b"sayso/identity/v1\n"
_IDENTITY_PREFIX: Final = "id_"
# Strangers write what stands there: the database is asked for what can be a key's name, and nothing else is kept.
_SERVER_KEY: Final = re.compile(r"sk_[0-9A-Za-z]{1,64}")


class Named(NamedTuple):
    """An identifier as posted."""

    type: str
    value: str


class Proven(NamedTuple):
    """`confirmed`: the caller may speak for everybody it names. `visitor`: the number that its visitor key makes."""

    confirmed: bool
    visitor: Named | None


TRUSTED: Final = Proven(confirmed=True, visitor=None)


class Proving:
    """Checks what an event carries besides its content: visitorkey, capability, identity."""

    def __init__(self, capabilities: Capabilities, server_key: Callable[[str], Awaitable[Caller | None]]) -> None:
        """`server_key` finds a server key by its public name."""
        self._capabilities = capabilities
        self._server_key = server_key

    async def signers(self, events: Iterable[Read]) -> Mapping[str, Caller]:
        """The server keys that identities in these events say they were signed with. Raises LedgerAway."""
        found: dict[str, Caller] = {}
        for event in events:
            if not isinstance(event, Readable) or not isinstance(event.value, dict) or "identity" not in event.value:
                continue
            payload = _payload_of(event.value["identity"])
            name = None if payload is None else payload[0].get("key")
            if not isinstance(name, str) or name in found or _SERVER_KEY.fullmatch(name) is None:
                continue
            signer = await self._server_key(name)
            if signer is not None and signer.kind == "sk":
                found[name] = signer
        return found

    def prove(self, value: Mapping[str, Any], caller: Caller, signers: Mapping[str, Caller], now_s: int) -> Proven:
        """Whether the caller may speak for whom a valid event names. Raises ProofNeeded for a link without proof.

        1. What the visitor key and the capability prove; 2. what the site signed for that visitor; 3. what is named.
        """
        if caller.kind == "sk" and value["type"] != "identity.linked":
            return TRUSTED
        data = value["data"]
        named = [Named(i["type"], i["value"]) for i in data["subject"]["identifiers"]] if "subject" in data else []
        proven, visitor = self._browser(value, caller, named, now_s)
        if "identity" in value:
            proven |= _signed(value["identity"], caller, signers, proven, now_s)
        if value["type"] == "identity.linked":
            _check_link(data, caller, named, proven)
        if "guardian" in data:
            guardian = data["guardian"]["identifier"]
            named.append(Named(guardian["type"], guardian["value"]))
        return Proven(confirmed=caller.kind == "sk" or proven.issuperset(named), visitor=visitor)

    def grant(self, site: str, visitor: Named, now_s: int) -> str:
        """The capability of a browser that has proven its number."""
        claims = {"site": site, "type": visitor.type, "value": visitor.value, "exp": now_s + VISITOR_LIFE_S}
        return self._capabilities.seal("visitor", claims)

    def _browser(
        self, value: Mapping[str, Any], caller: Caller, named: Iterable[Named], now_s: int
    ) -> tuple[set[Named], Named | None]:
        proven: set[Named] = set()
        visitor: Named | None = None
        if "visitorkey" in value:
            number = visitor_id(value["visitorkey"])
            proven = {Named(kind, number) for kind in BROWSER_IDENTIFIERS}
            visitor = next((name for name in named if name in proven), None)
        if "capability" in value:
            claims = self._capabilities.open("visitor", value["capability"], now_s)
            if claims is not None and claims["site"] == caller.site_name:
                proven.add(Named(claims["type"], claims["value"]))
        return proven, visitor


def _check_link(data: Mapping[str, Any], caller: Caller, named: Iterable[Named], proven: set[Named]) -> None:
    """Nobody attaches a browser that is not theirs, or an account that the site did not vouch for."""
    browsers = {name for name in named if name.type in BROWSER_IDENTIFIERS}
    ends = "link" in data and data["link"]["state"] == "ended"
    if caller.kind == "sk":
        enough = ends or (browsers and proven.issuperset(browsers))
    else:
        enough = browsers and proven.issuperset(browsers if ends else named)
    if not enough:
        raise ProofNeeded("/data/subject/identifiers")


def _signed(identity: str, caller: Caller, signers: Mapping[str, Caller], proven: set[Named], now_s: int) -> set[Named]:
    """The identifier that the site's server vouched for; none unless it did so for this visitor, here and now."""
    read = _payload_of(identity)
    if read is None:
        return set()
    payload, raw, mac = read
    signer = signers.get(str(payload.get("key")))
    if signer is None or signer.site != caller.site or signer.secret_sha256 is None:
        return set()
    if not hmac.compare_digest(hmac.digest(signer.secret_sha256, _IDENTITY_DOMAIN + raw, "sha256"), mac):
        return set()
    # From here on it is the site's own word.
    latest = now_s + IDENTITY_LIFE_S + CLOCK_SKEW_S_MAX
    about, ends_at = payload.get("identifier"), payload.get("exp")
    if not isinstance(about, dict) or not isinstance(ends_at, int) or not now_s < ends_at <= latest:
        return set()
    if payload.get("site") != caller.site_name or str(payload.get("visitor")) not in {n.value for n in proven}:
        return set()
    return {Named(str(about.get("type")), str(about.get("value")))}


def _payload_of(identity: object) -> tuple[dict[str, Any], bytes, bytes] | None:
    """The payload, its bytes and the code over them, if it is readable at all."""
    if not isinstance(identity, str) or not identity.startswith(_IDENTITY_PREFIX):
        return None
    payload_text, _, mac_text = identity.removeprefix(_IDENTITY_PREFIX).partition(".")
    try:
        raw, mac = (
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            for text in (payload_text, mac_text)
        )
        payload = orjson.loads(raw)
    except (binascii.Error, ValueError):
        return None
    return (payload, raw, mac) if isinstance(payload, dict) else None
