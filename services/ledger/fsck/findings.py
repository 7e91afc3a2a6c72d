"""What fsck found: findings that name table, log and place, and their report. Nothing in it is personal."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

# Of one kind of finding, so many are listed and the rest counted: a lost key must not become a million lines.
LISTED_OF_A_KIND: Final = 20
PROGRESS_S: Final = 1.0

# (what is being walked, done, total)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be.

    table: the table whose row is wrong, or `high_water` or `suppression` for what lies outside the database.
    log: the log's name, None for what belongs to a controller or the deployment.
    where: index, tile, size, notice or subject id (a random UUID of ours) of the row.
    what: what is wrong, without a stored value.
    index: the first record that it is about, None where it is about no record in particular.
    """

    table: str
    log: str | None
    where: str
    what: str
    index: int | None = None

    def __str__(self) -> str:
        """One line for a terminal."""
        place = self.table if self.log is None else f"{self.table} of {self.log}"
        return f"{place}, {self.where}: {self.what}"


@dataclass(slots=True)
class Report:
    """Everything fsck found. `logs` and `records` say how much was looked at."""

    findings: list[Finding] = field(default_factory=list)
    unlisted: int = 0
    logs: int = 0
    records: int = 0
    # What was checked, when, and whether it was taken over from a run that was killed.
    stages: list[dict[str, Any]] = field(default_factory=list)
    _of_a_kind: Counter[tuple[str, str | None, str]] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        """Whether everything is as it must be."""
        return not self.findings

    @property
    def first_bad(self) -> Finding | None:
        """The finding with the lowest record index; without any index the first one; None if all is well."""
        placed = [finding for finding in self.findings if finding.index is not None]
        return min(placed, key=lambda finding: finding.index or 0, default=next(iter(self.findings), None))

    def add(self, table: str, log: str | None, where: str, what: str, *, index: int | None = None) -> None:
        """List a finding, or count it if enough of its kind are listed."""
        self._take(Finding(table, log, where, what, index))

    def _take(self, finding: Finding) -> None:
        kind = finding.table, finding.log, finding.what
        self._of_a_kind[kind] += 1
        if self._of_a_kind[kind] > LISTED_OF_A_KIND:
            self.unlisted += 1
        else:
            self.findings.append(finding)

    def merge(self, found: Mapping[str, Any]) -> None:
        """Add what another report said (`as_json`)."""
        for finding in found["findings"]:
            self._take(Finding(**finding))
        self.unlisted += found["unlisted"]
        self.logs += found["logs"]
        self.records += found["records"]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types; `first_bad` names the first bad index and its table."""
        first_bad = self.first_bad
        return {
            "clean": self.clean,
            "logs": self.logs,
            "records": self.records,
            "first_bad": None if first_bad is None else asdict(first_bad),
            "findings": [asdict(finding) for finding in self.findings],
            "unlisted": self.unlisted,
        }


class Pace:
    """Passes progress on about once a second, and at the end of each stage."""

    def __init__(self, progress: Progress) -> None:
        """`progress` is called on the event loop and must not block."""
        self._progress = progress
        self._told_at = time.monotonic()

    def step(self, text: str, done: int, total: int) -> bool:
        """Say how far `text` is, if it is time to; whether it was."""
        now = time.monotonic()
        is_due = done >= total or now - self._told_at >= PROGRESS_S
        if is_due:
            self._told_at = now
            self._progress(text, done, total)
        return is_due
