"""What a site may say: the purposes and services of its notices, and which notice hashes are known or matched.

Notices are immutable, so their words are read once; which of them are published is asked again and again.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from schemas.canonical import read_strict
from schemas.events import parse_time
from services.ingest.lookups import Lookups
from services.postgres import Pool, controller_transaction, named_queries

# How long a hash that no notice has is taken for unknown without looking again.
UNKNOWN_HASH_S: Final = 5.0
_UNKNOWN_HASHES_MAX: Final = 10_000
# As the table of sites has it. Strangers ask by any name: what can be no site's is neither looked up nor kept.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

STATEMENTS = named_queries(Path(__file__).parent / "sql" / "queries.sql")


class SiteId(NamedTuple):
    """A site under its controller."""

    controller: int
    site: int


@dataclass(frozen=True, slots=True)
class Notice:
    """One published notice: its exact bytes and what they allow to be decided."""

    sha256: str
    language: str
    content: bytes
    purposes: frozenset[str]
    services: frozenset[str]
    # From this second since 1970 on it is shown; and which language stands in for one that its version lacks.
    effective_s: float = 0.0
    fallback_language: str | None = None
    version: tuple[str, str] = ("", "")  # with the notice's id
    minimum_age: int | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """Everything a site has published, as of one read."""

    notices: Mapping[str, Notice]  # by hash, the latest first
    matched: frozenset[str]
    purposes: frozenset[str]
    services: frozenset[str]

    def to_show(self, language: str, now_s: float, notice_id: str | None = None) -> Notice | None:
        """The latest notice in the language, in the language without its region, or in what stands in for it.

        `notice_id` picks one of the notices of a site that has several; without it the one published last.
        """
        in_force = [
            notice
            for notice in self.notices.values()
            if notice.effective_s <= now_s and notice_id in {None, notice.version[0]}
        ]
        if not in_force:
            return None
        if in_force[0].fallback_language is not None:
            # Its version is whole: an older one in another language would ask for something else.
            in_force = [notice for notice in in_force if notice.version == in_force[0].version]
        for wanted in (language, language.partition("-")[0], in_force[0].fallback_language):
            for notice in in_force:
                if notice.language == wanted:
                    return notice
        return in_force[0]


class Sites:
    """Words by site, and sites by name for the notice route."""

    def __init__(self, pool: Pool, catalogue: frozenset[str]) -> None:
        """`catalogue` names the services that every site may name."""
        self._pool = pool
        self._catalogue = catalogue
        self._contents: dict[SiteId, dict[bytes, Notice]] = {}
        self._unknown: dict[tuple[SiteId, str], float] = {}
        self._by_name: Lookups[str, SiteId] = Lookups("sites", self._read_site)
        self._words: Lookups[SiteId, Words] = Lookups("notices", self._read_words)

    async def named(self, name: str) -> SiteId | None:
        """The site of a name. Raises LedgerAway."""
        if _NAME.fullmatch(name) is None:
            return None
        return self._by_name.fresh(name) or await self._by_name.find(name)

    async def words(self, site: SiteId) -> Words:
        """What the site has published. Raises LedgerAway."""
        words = self._words.fresh(site) or await self._words.find(site)
        assert words is not None  # a site without notices has empty words
        return words

    async def words_anew(self, site: SiteId) -> Words:
        """The same, of a read that begins now. Raises LedgerAway."""
        words = await self._words.find_anew(site)
        assert words is not None
        return words

    def worth_looking_again(self, site: SiteId, sha256: str) -> bool:
        """Whether a hash that is in no words has not just been looked for; says yes once in UNKNOWN_HASH_S."""
        now = time.monotonic()
        if now - self._unknown.get((site, sha256), 0.0) < UNKNOWN_HASH_S:
            return False
        if len(self._unknown) >= _UNKNOWN_HASHES_MAX:
            self._unknown.clear()
        self._unknown[site, sha256] = now
        return True

    async def _read_site(self, name: str) -> SiteId | None:
        row = await self._pool.fetchrow(STATEMENTS["site"], name)
        return None if row is None else SiteId(row["controller"], row["site"])

    async def _read_words(self, site: SiteId) -> Words:
        known = self._contents.get(site, {})
        async with controller_transaction(self._pool, site.controller) as connection:
            published = await connection.fetch(STATEMENTS["published_notices"], *site)
            missing = [row["notice"] for row in published if row["notice"] not in known]
            contents = await connection.fetch(STATEMENTS["notice_contents"], *site, missing) if missing else []
            matched = await connection.fetch(STATEMENTS["matched_hashes"], site.controller)
        read = {row["notice"]: row["content"] for row in contents}
        notices = {
            row["notice"]: known.get(row["notice"]) or _parse(row["notice"], row["language"], read[row["notice"]])
            for row in published
        }
        self._contents[site] = notices
        return Words(
            notices={notice.sha256: notice for notice in notices.values()},
            matched=frozenset(row["shown"].hex() for row in matched),
            purposes=frozenset().union(*(notice.purposes for notice in notices.values())),
            services=self._catalogue.union(*(notice.services for notice in notices.values())),
        )


def _parse(sha256: bytes, language: str, content: bytes) -> Notice:
    value: dict[str, Any] = read_strict(content)[0]
    purposes = value["purposes"]
    return Notice(
        sha256=sha256.hex(),
        language=language,
        content=content,
        purposes=frozenset(purpose["purpose"] for purpose in purposes),
        services=frozenset(service for purpose in purposes for service in purpose["services"]),
        effective_s=parse_time(value["effective_at"]).timestamp() if "effective_at" in value else 0.0,
        fallback_language=value.get("fallback_language"),
        version=(value["notice_id"], value["version"]),
        minimum_age=value.get("minimum_age"),
    )
