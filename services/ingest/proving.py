"""Who may speak for an identifier: a browser for the number that its key makes, a person for what the site signed.

Invariant: an identifier that a publishable key names counts as proven only by a visitor key, a capability, or the
site's own signed statement about this very visitor; everything else is recorded as unconfirmed (docs/visitors.md).
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from schemas.errors import ProofNeeded
from schemas.events import BROWSER_IDENTIFIERS
from schemas.identities import read_signed_identity, vouched_for
from schemas.visitors import visitor_id
from services.capabilities import VISITOR_LIFE_S, Capabilities
from services.ingest.auth import Caller
from services.ingest.reading import Read, Readable


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
            identity = read_signed_identity(event.value["identity"])
            name = None if identity is None else identity.signer
            if name is None or name in found:
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
    read = read_signed_identity(identity)
    if read is None or read.signer is None:
        return set()
    signer = signers.get(read.signer)
    if signer is None or signer.site != caller.site or signer.secret_sha256 is None:
        return set()
    visitors = {name.value for name in proven}
    about = vouched_for(read, signer.secret_sha256, site=caller.site_name, visitors=visitors, now_s=now_s)
    return set() if about is None else {Named(*about)}
