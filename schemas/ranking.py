"""Which decision counts: the rule by which the ledger projects state and query answers for any moment (design, State).

Invariant: the outcome depends on the set of events and their earliest received_at, never on the order of arrival.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from schemas.events import PERMISSIVE, parse_time


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


def decided_by(what: Mapping[str, Any], received_at: datetime, event: bytes) -> list[Decided]:
    """The decisions of one record's `what` part, ranked with the earliest received_at of its copies.

    A grant ranks at min(time, received_at): nobody gains by dating ahead. A denial or objection ranks at received_at.
    An imported event ranks at the time that its file states.
    """
    decisions = what.get("decisions")
    if not decisions:
        return []
    time = parse_time(what["time"])
    imported = what.get("capture", {}).get("mechanism") == "import" and what["posted_by"] == "server"
    permissive = min(time, received_at)
    protective = permissive if imported else received_at
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


def latest(decided: Iterable[Decided]) -> dict[tuple[str, str], Decided]:
    """Fold answers into what is true now: (purpose, legal basis) -> the deciding answer."""
    state: dict[tuple[str, str], Decided] = {}
    for answer in decided:
        key = answer.purpose, answer.legal_basis
        standing = state.get(key)
        if standing is None or answer.order > standing.order:
            state[key] = answer
    return state
