"""Counts of what people did, by day, site, purpose, notice and language (docs/state.md): one statement a batch.

Invariant: an act is counted once, with the record that tells it, and nobody can be found in a count: what a stranger
may write freely (purposes and languages of words that nobody published) is never a name here. No erasure touches them.
"""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from schemas.ranking import counts_for_nothing

if TYPE_CHECKING:
    from services.ledger.opening import Opened
    from services.ledger.store import Store
    from services.ledger.writes import Writes

# What a server ends (expired, invalidated), and what was found done (observed), nobody decides now.
DECIDING: Final = frozenset({"consent.given", "consent.renewed", "consent.refused", "consent.withdrawn"})
OF_NO_PURPOSE: Final = {"notice.served": "shown", "notice.told": "told"}
WITHDRAWN: Final = "consent.withdrawn"
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?(?![A-Za-z0-9])")
ACTS_COUNTED: Final = ("shown", "granted", "denied", "withdrawn", "objected", "not_objected", "told")

# (day, site, purpose, notice, language, act); the day in UTC.
Figure = tuple[str, str, str, str, str, str]


def figures_of(events: "Iterable[Opened]") -> "Counter[Figure]":
    """What these events add. Each has been recorded just now, so that no copy of one comes here again.

    Not counted: what nobody has confirmed, which is posted again when it is; imports, which tell of other days.
    """
    found: Counter[Figure] = Counter()
    for opened in events:
        kind = opened.what["type"]
        if kind in DECIDING:
            acts = _decided(opened.what, is_known=opened.notice is not None or "notice" not in opened.what)
        elif kind in OF_NO_PURPOSE:
            acts = {("", OF_NO_PURPOSE[kind])}
        else:
            continue
        if not acts:
            continue
        shown = opened.what.get("notice")
        notice, language = "", ""
        if opened.notice is not None and shown is not None:
            # The publisher is who it says; that what it sends makes sense was checked as far as the record needs it.
            posted = shown.get("language")
            notice, language = opened.notice, _plain(posted) if isinstance(posted, str) else ""
        day, site = opened.what["received_at"][:10], opened.what["site"]
        for purpose, act in acts:
            found[day, site, purpose, notice, language, act] += 1
    return found


def put_figures(store: "Store", controller: int, figures: "Counter[Figure]", writes: "Writes") -> None:
    """Add them to what stands, in the order of the key, so that two ledgers never wait for each other crosswise."""
    if figures:
        writes.put(partial(store.add_figures, controller, sorted(figures.items())))


def _decided(what: dict[str, Any], *, is_known: bool) -> set[tuple[str, str]]:
    """(purpose, act), each once; '' stands for every purpose of words that we do not know."""
    decisions = what.get("decisions")
    if not decisions or counts_for_nothing(what):
        return set()
    if what.get("capture", {}).get("mechanism") == "import" and what["posted_by"] == "server":
        return set()
    denied = "withdrawn" if what["type"] == WITHDRAWN else "denied"
    acts = ((d["purpose"], d["decision"]) for d in decisions)
    return {(purpose if is_known else "", denied if act == "denied" else act) for purpose, act in acts}


@lru_cache(maxsize=1024)
def _plain(language: str) -> str:
    """A language tag (RFC 5646) up to its script and region: whatever follows is the sender's own."""
    found = _LANGUAGE.match(language)
    return "" if found is None else found[0]
