"""What fsck found: findings that name table, log and place, and their report. Nothing in it is personal."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

# Of one kind of finding, so many are listed and the rest counted: a lost key must not become a million lines.
LISTED_OF_A_KIND: Final = 20
PROGRESS_S: Final = 1.0

# (what is being walked, done, total)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be.

    table: the table whose row is wrong, or `high_water` for the marks outside the database.
    log: the log's name, None for what belongs to a controller or the deployment.
    where: index, tile, size, notice or subject id (a random UUID of ours) of the row.
    what: what is wrong, without a stored value.
    """

    table: str
    log: str | None
    where: str
    what: str

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
    _of_a_kind: Counter[tuple[str, str | None, str]] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        """Whether everything is as it must be."""
        return not self.findings

    def add(self, table: str, log: str | None, where: str, what: str) -> None:
        """List a finding, or count it if enough of its kind are listed."""
        kind = table, log, what
        self._of_a_kind[kind] += 1
        if self._of_a_kind[kind] > LISTED_OF_A_KIND:
            self.unlisted += 1
        else:
            self.findings.append(Finding(table, log, where, what))

    def as_json(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "clean": self.clean,
            "logs": self.logs,
            "records": self.records,
            "findings": [{"table": f.table, "log": f.log, "where": f.where, "what": f.what} for f in self.findings],
            "unlisted": self.unlisted,
        }


class Pace:
    """Passes progress on about once a second, and at the end of each stage."""

    def __init__(self, progress: Progress) -> None:
        """`progress` is called on the event loop and must not block."""
        self._progress = progress
        self._told_at = time.monotonic()

    def step(self, text: str, done: int, total: int) -> None:
        """Say how far `text` is, if it is time to."""
        now = time.monotonic()
        if done >= total or now - self._told_at >= PROGRESS_S:
            self._told_at = now
            self._progress(text, done, total)
