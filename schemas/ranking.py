"""Which decision counts: the rule by which the ledger projects state and query answers for any moment (design, State).

Invariant: the outcome depends on the set of events and their earliest received_at, never on the order of arrival.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from schemas.events import PERMISSIVE, parse_time
from schemas.limits import CLOCK_SKEW_S_MAX, IDENTITY_LIFE_S

# Where a grant ranks that nobody stood up for: before everything else that was ever said of the purpose, also by an
# export that writes the first second of its calendar for a time it lacks. Drivers write year 1, day 1 as -infinity.
LOWEST: Final = datetime(1, 1, 2, tzinfo=UTC)
_EARLIEST: Final = datetime(1, 1, 3, tzinfo=UTC)


class Decided(NamedTuple):
    """One answer of one event, with what ranks it. `event` is the event's dedupe name, the last tie-breaker."""

    purpose: str
    legal_basis: str
    decision: str
    rank: datetime
    event: bytes

    @property
    def order(self) -> tuple[datetime, bool, bytes]:
        """The highest order wins: rank, then the more protective decision, then the event's name."""
        return self.rank, self.decision not in PERMISSIVE, self.event


def made_at(what: Mapping[str, Any], received_at: datetime) -> datetime:
    """When an act was done, as far as anybody gains by it: a clock that is ahead gains nothing."""
    return min(parse_time(what["time"]), received_at)


def linked_at(what: Mapping[str, Any], received_at: datetime) -> datetime:
    """When a link began or ended. A page's word reaches no further back than what the site signed for it can be old."""
    acted_at = made_at(what, received_at)
    if what["posted_by"] == "server":
        return acted_at
    return max(acted_at, received_at - timedelta(seconds=IDENTITY_LIFE_S + CLOCK_SKEW_S_MAX))


def is_unconfirmed(what: Mapping[str, Any]) -> bool:
    """Whether nothing showed that the caller may speak for the identifiers of the event."""
    return "unconfirmed" in what.get("marks", ())


def is_act_unseen(what: Mapping[str, Any]) -> bool:
    """Whether nobody saw the act: it was found done, or stands beside a serving, a signal, a link or a request."""
    event_type: str = what["type"]
    return event_type == "consent.observed" or not event_type.startswith("consent.")


def counts_for_nothing(what: Mapping[str, Any]) -> bool:
    """Whether a grant in this event changes nothing: not confirmed (yet), or nobody saw the act."""
    if is_unconfirmed(what) or is_act_unseen(what):
        return True
    return "double_opt_in" in what and "confirmed_at" not in what["double_opt_in"]


def corrected_by(what: Mapping[str, Any]) -> tuple[str, str] | None:
    """Site and id of the event that a site's correction undoes: only its own, and only unconfirmed ones can be."""
    if what["type"] != "correction" or what["posted_by"] != "server" or "supersedes" not in what:
        return None
    return what["site"], what["supersedes"]


def decided_by(what: Mapping[str, Any], received_at: datetime, event: bytes) -> list[Decided]:
    """The decisions of one record's `what` part, ranked with the earliest received_at of its copies.

    A grant ranks at min(time, received_at): nobody gains by dating ahead. A denial or objection ranks at received_at.
    An imported event ranks at the time that its file states. A grant that counts for nothing ranks LOWEST.
    """
    decisions = what.get("decisions")
    if not decisions:
        return []
    imported = what.get("capture", {}).get("mechanism") == "import" and what["posted_by"] == "server"
    permissive = max(made_at(what, received_at), _EARLIEST)
    protective = permissive if imported else received_at
    if counts_for_nothing(what):
        permissive = LOWEST
    return [
        Decided(
            d["purpose"],
            d["legal_basis"],
            d["decision"],
            permissive if d["decision"] in PERMISSIVE else protective,
            event,
        )
        for d in decisions
    ]


def settled(records: Mapping[bytes, tuple[Mapping[str, Any], datetime]]) -> list[Decided]:
    """The decisions of all records of a subject, without the unconfirmed ones that its site corrected.

    `records` has each event's `what` and its earliest received_at, by the event's dedupe name.
    """
    corrected = {corrected_by(what) for what, _ in records.values()}
    decided: list[Decided] = []
    for event, (what, received_at) in records.items():
        if not (is_unconfirmed(what) and (what["site"], what["id"]) in corrected):
            decided += decided_by(what, received_at, event)
    return decided


def latest(decided: Iterable[Decided]) -> dict[tuple[str, str], Decided]:
    """Fold answers into what is true now: (purpose, legal basis) -> the deciding answer."""
    state: dict[tuple[str, str], Decided] = {}
    for answer in decided:
        key = answer.purpose, answer.legal_basis
        standing = state.get(key)
        if standing is None or answer.order > standing.order:
            state[key] = answer
    return state
