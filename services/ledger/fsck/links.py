"""Links between subjects, again: what the records of a stronger subject tell, against the rows of `links`.

Invariant: each act that a record tells has its row, at its rank, to the subject that its weaker identifier leads to; a
void row (nobody on its weaker side) needs that somebody was erased.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from schemas.ranking import linked_at
from services.ledger.fsck.findings import Report
from services.ledger.fsck.snapshot import Snapshot
from services.ledger.links import LinkState, link_state
from services.ledger.store import Row


class Told(NamedTuple):
    """One act as a record tells it; `name` is that of the weaker identifier."""

    name: bytes
    state: LinkState
    acted_at: datetime


@dataclass(slots=True)
class ToldLinks:
    """What the records of one subject tell, by (event, nth); of the events in `unread` the `who` part is gone."""

    acts: dict[tuple[bytes, int], Told] = field(default_factory=dict)
    unread: set[bytes] = field(default_factory=set)

    def tell(
        self, event: bytes, names: Collection[tuple[int, bytes]], what: Mapping[str, Any], received_at: datetime
    ) -> None:
        """Add one record. Raises KeyError, TypeError or ValueError."""
        state = link_state(what)
        if state is not None:
            self.acts |= {(event, nth): Told(name, state, linked_at(what, received_at)) for nth, name in names}


async def compare_links(snapshot: Snapshot, controller: int, told: Mapping[UUID, ToldLinks], report: Report) -> None:
    """Compare the rows of some stronger subjects with what their records tell."""
    stored: dict[UUID, dict[tuple[bytes, int], Row]] = defaultdict(dict)
    for row in await snapshot.links_of(controller, told):
        stored[row["strong"]][row["event"], row["nth"]] = row
    names = {act.name for links in told.values() for act in links.acts.values()}
    if not stored and not names:
        return
    led_to = await snapshot.named_subjects(controller, names)
    may_be_void = await snapshot.has_erased(controller)
    for subject, links in told.items():
        for key in sorted(links.acts.keys() | stored[subject].keys()):
            if key[0] in links.unread:
                continue
            what = _difference(links.acts.get(key), stored[subject].get(key), led_to, may_be_void=may_be_void)
            if what is not None:
                report.add("links", None, f"subject {subject}", f"{what}; sayso rebuild projects it anew")


def _difference(told: Told | None, row: Row | None, led_to: Mapping[bytes, UUID], *, may_be_void: bool) -> str | None:
    if row is None:
        return "a link in the records has no row"
    if told is None:
        return "no record tells the link of the row"
    if (told.state, told.acted_at) != (row["state"], row["acted_at"]):
        return "the row is not the link that the record tells"
    weak = led_to.get(told.name)
    if row["weak"] is None and (may_be_void or weak is None):
        return None
    return None if row["weak"] == weak else "the row links another subject than the record"
