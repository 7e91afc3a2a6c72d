"""What erasures have deleted of one log, from two sides: the signed entries that state it, and the rows that count it.

A row names the entry that states its counts, which may be a successor log's; the counts of all rows that name an entry
must be those in it. An entry that no row names counts for its own log (minimal proofs whose time was up).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from schemas.record import PART_NAMES
from services.ledger.fsck.findings import Report
from services.ledger.fsck.snapshot import SeenLog, Snapshot
from services.ledger.store import Row


class Declared:
    """Fed with the entries of one log in order."""

    def __init__(self, log: SeenLog, report: Report) -> None:
        """`load` must follow."""
        self._log = log
        self._report = report
        # What entries state that no row names, for this log.
        self._stated: Counter[str] = Counter()
        # What rows count for this log.
        self._counted: Counter[str] = Counter()
        # By index of this log's entries: the rows that name it.
        self._named: dict[int, Row] = {}

    async def load(self, snapshot: Snapshot, start: int) -> None:
        """Read the rows; entries below `start` were looked at by an earlier run."""
        self._named = {index: row for index, row in (await snapshot.stated_parts(self._log)).items() if index >= start}
        for row in await snapshot.erased_parts(self._log):
            for name in PART_NAMES:
                self._counted[name] += row[name]
            if row["declared_index"] is None:
                what = "the parts were deleted, but no entry of a log states it yet"
                self._add(f"erasure {row['number']}", what, None)

    def stated(self) -> dict[str, int]:
        """What `go_on` goes on from."""
        return dict(self._stated)

    def go_on(self, stated: Mapping[str, int]) -> None:
        """Take over what an earlier run has seen."""
        self._stated.update(stated)

    def entry(self, index: int, erased: Any, what: Mapping[str, Any] | None) -> None:
        """An entry with `erased`; `what` is that part of its payload, None if it cannot be read."""
        row = self._named.pop(index, None)
        # What is not a count is reported by the walk over the log.
        counts = erased if isinstance(erased, dict) else {}
        stated = {name: counts[name] if type(counts.get(name)) is int else 0 for name in PART_NAMES}
        number = None if what is None else _number(what)
        if row is not None:
            if stated != {name: row[name] for name in PART_NAMES}:
                self._add(f"index {index}", "the counts are not those that the entry states", index)
            elif number is not None and row["numbers"] != [number]:
                self._add(f"index {index}", "the entry states the counts of another erasure", index)
            return
        self._stated.update(stated)
        if number is not None and any(stated.values()):
            self._add(f"index {index}", "the entry states an erasure whose counts are not there", index)

    def chunk_ended(self, last: int) -> None:
        """Every entry below `last` was shown."""
        for index in sorted(index for index in self._named if index < last):
            del self._named[index]
            self._add(f"index {index}", "the entry that is named states no erasure", index)

    def ended(self) -> Counter[str]:
        """How many of each part should be missing."""
        for index in sorted(self._named):
            self._add(f"index {index}", "the entry that is named is not there", index)
        return self._counted + self._stated

    def _add(self, where: str, what: str, index: int | None) -> None:
        self._report.add("erased_parts", self._log.name, where, what, index=index)


def _number(what: Mapping[str, Any]) -> int | None:
    """The number of the erasure that a record states."""
    stated = what.get("erasure")
    number = stated.get("number") if isinstance(stated, dict) else None
    return number if type(number) is int else None
