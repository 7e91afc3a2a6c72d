"""The catalogue as a site's controller states it, with the site's notices: cached as every other look-up of a site."""

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from schemas.canonical import canonical_json
from schemas.catalogue import Service
from schemas.catalogue.enforcement import enforcement_rules
from schemas.catalogue.merging import with_own
from schemas.catalogue.service import CatalogueLanguage
from schemas.errors import NotFound
from schemas.notices import NoticeContent
from schemas.policy_texts import PolicyFormat, PolicyTexts, policy_texts, served_language, written
from services.ingest.lookups import Lookups
from services.ingest.sites import Sites
from services.postgres import Pool, controller_transaction, named_queries

STATEMENTS: Final = named_queries(Path(__file__).parents[1] / "sql" / "catalogue.sql")
# Services and their exact content, sorted by name: what `with_own` takes, and compares quickly.
Own = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class SiteServices:
    """What a site uses. notices: exact bytes of those in force, the latest first. own: what the controller states.

    named: the services of any notice, so that those of one that comes into force soon are held back already.
    """

    notices: tuple[bytes, ...]
    named: frozenset[str]
    own: Own


class SiteCatalogue:
    """Rules and policies by site. Raises NotFound for a site that is not there, LedgerAway if it cannot be known."""

    def __init__(self, pool: Pool, sites: Sites) -> None:
        self._pool = pool
        self._sites = sites
        self._own: Lookups[int, Own] = Lookups("catalogue", self._read_own)

    async def rules(self, site: str) -> bytes:
        """What the script in the page enforces, as JSON."""
        used = await self._used(site)
        return _rules(used.named, used.own)

    async def policy(self, site: str, language: str, form: PolicyFormat) -> bytes:
        """The cookie table and the paragraphs of a privacy policy."""
        used = await self._used(site)
        served = served_language(language)
        if form != "json":
            return _policy(used.notices, used.own, served, form)
        # Callers think up language tags: only what is served may fill the cache.
        return written(replace(_texts(used.notices, used.own, served), requested_language=language), form)

    async def _used(self, site: str) -> SiteServices:
        found = await self._sites.named(site)
        if found is None:
            raise NotFound
        notices = (await self._sites.words(found)).notices.values()
        now_s = time.time()
        own = self._own.fresh(found.controller)
        if own is None:
            own = await self._own.find(found.controller) or ()
        return SiteServices(
            notices=tuple(notice.content for notice in notices if notice.effective_s <= now_s),
            named=frozenset().union(*(notice.services for notice in notices)),
            own=own,
        )

    async def _read_own(self, controller: int) -> Own:
        async with controller_transaction(self._pool, controller) as connection:
            rows = await connection.fetch(STATEMENTS["own_services"], controller)
        return tuple((row["service"], bytes(row["content"])) for row in rows)


# All are pure: the same notices and the same catalogue give the same bytes, so that a public route costs a look-up.


@lru_cache(maxsize=256)
def _rules(named: frozenset[str], own: Own) -> bytes:
    return canonical_json(enforcement_rules(with_own(own), named))


@lru_cache(maxsize=256)
def _texts(notices: tuple[bytes, ...], own: Own, language: CatalogueLanguage) -> PolicyTexts:
    contents = [NoticeContent.model_validate_json(notice) for notice in notices]
    return policy_texts(contents, with_own(own), language)


@lru_cache(maxsize=256)
def _policy(notices: tuple[bytes, ...], own: Own, language: CatalogueLanguage, form: PolicyFormat) -> bytes:
    return written(_texts(notices, own, language), form)


def as_json(service: Service) -> dict[str, Any]:
    """The service as it is published: what no source says is absent."""
    return service.model_dump(exclude_none=True)
