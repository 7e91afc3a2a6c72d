"""Recording what a link's button says, through the same intake as every event, as the site whose server made the link.

Invariant: the page says that it is done only after the event is durable. A link outlives the key it was made with.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.types import Scope

from schemas.errors import LinkNotValid, Problem
from schemas.topics import source_of
from services.ingest.auth import STATEMENTS, Caller
from services.ingest.clients import Clients
from services.ingest.intake import Intake, Refused
from services.ingest.limits import Limits
from services.ingest.lookups import Lookups
from services.ingest.notices import NoticeTokens
from services.ingest.sites import Notice, SiteId, Sites, Words
from services.ingest.visitors.links import Link, Pressed, event_of
from services.postgres import Pool

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# What a link may become, and nothing else.
_TYPES: Final = frozenset({"consent.given", "consent.withdrawn"})


class Places:
    """Sites by name as callers of their own: trusted like a server key, because only a server key makes links."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._callers: Lookups[str, Caller] = Lookups("link sites", self._read)

    async def caller(self, site: str) -> Caller:
        """Raises LinkNotValid for a site that is no more, LedgerAway."""
        caller = self._callers.fresh(site) or await self._callers.find(site)
        if caller is None:
            raise LinkNotValid
        return caller

    async def _read(self, site: str) -> Caller | None:
        row = await self._pool.fetchrow(STATEMENTS["site_place"], site)
        if row is None:
            return None
        return Caller(
            kind="sk",
            site=SiteId(row["controller"], row["site"]),
            controller_name=row["controller_name"],
            site_name=row["site_name"],
            log=row["log_name"],
            secret_sha256=None,
            origins=frozenset(),
            source=source_of(row["site_name"]),
            types=_TYPES,
            posted_by="server",
        )


@dataclass(frozen=True, slots=True)
class Acts:
    """What acting on a link needs; one per process."""

    intake: Intake
    places: Places
    sites: Sites
    tokens: NoticeTokens
    clients: Clients
    limits: Limits

    async def admit(self, scope: Scope, token: str) -> None:
        """Let a request for a link in, before anything is looked at. Raises TooManyRequests."""
        client = self.clients.of(scope, dict(scope["headers"]))
        await self.limits.admit_link(client.network, hashlib.sha256(token.encode()).digest())

    async def admit_server(self, caller: Caller) -> None:
        """The same for a server that asks for a link."""
        await self.limits.admit(caller, b"", 1)

    async def words(self, link: Link) -> Words:
        """What the link's site has published. Raises LinkNotValid, LedgerAway."""
        return await self.sites.words((await self.places.caller(link.site)).site)

    async def check(self, link: Link, now_us: int) -> None:
        """Raise the problem that pressing the button would meet: the site's server can mend it, a visitor cannot."""
        caller = await self.places.caller(link.site)
        try:
            await self.intake.check(event_of(link, _time(now_us), "page", None), caller, now_us)
        except Problem as problem:
            # The members of the event's data are those of the body.
            pointer = None if problem.pointer is None else problem.pointer.removeprefix("/data")
            raise type(problem)(pointer, retry_after_s=problem.retry_after_s) from None

    def notice_token(self, link: Link, notice: Notice | None, now_us: int) -> str | None:
        """Our word that the page shows this notice of the site, for the page to send back with the answer."""
        if notice is None or link.notice is None:
            return None
        return self.tokens.issue(link.site, notice.sha256, now_us // 1_000_000).token

    async def record(self, link: Link, now_us: int, pressed: Pressed, notice_token: str | None) -> None:
        """Durable on return. Raises LinkNotValid, StreamAway, LedgerAway, and what the intake refuses."""
        caller = await self.places.caller(link.site)
        if notice_token is not None and not self._is_ours(notice_token, link, now_us):
            notice_token = None  # a page left open for days: it was shown, and we cannot show that any more
        event = event_of(link, _time(now_us), pressed, notice_token)
        (outcome,) = await self.intake.take([event], caller, now_us, 0)
        if isinstance(outcome, Refused):
            raise outcome.problem

    def _is_ours(self, token: str, link: Link, now_us: int) -> bool:
        shown = link.notice
        return shown is not None and self.tokens.is_valid(token, link.site, shown["sha256"], now_us // 1_000_000)


def _time(now_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=now_us)
