"""What is said of a run: progress lines, the table with its ratios, and the JSON file."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).with_name("results")
HEAD: Final = ("row", "what", "measured", "beside", "ratio", "wanted", "")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. A row without a limit beside it is judged by `within`, measured in milliseconds."""

    number: int
    what: str
    measured: str
    beside: str
    at_least: float | None = None
    ratio: float | None = None
    within_ms: float | None = None
    measured_ms: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        if self.at_least is not None:
            return self.ratio is not None and self.ratio >= self.at_least
        return self.within_ms is not None and self.measured_ms is not None and self.measured_ms <= self.within_ms

    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        wanted = f">= {self.at_least:.2f}" if self.at_least is not None else f"<= {self.within_ms:,.0f} ms"
        return (
            str(self.number),
            self.what,
            self.measured,
            self.beside,
            ratio,
            wanted,
            "reached" if self.reached else "NOT REACHED",
        )


class Progress:
    """Says what goes on, with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, line: str) -> None:
        print(f"[{time.monotonic() - self._started:5.0f} s] {line}", flush=True)


def table(rows: Sequence[Row]) -> str:
    """The rows as text, columns aligned."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    ruled = [lines[0], tuple("-" * width for width in widths), *lines[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in ruled
    )


def save(rows: Sequence[Row], about: Mapping[str, Any]) -> Path:
    """Write everything that was measured; the file's path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    document = {**about, "rows": [asdict(row) | {"reached": row.reached} for row in rows]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path
