"""Runs a ledger whose clock for deliveries a test moves: `python -m tests.support.moved_clock FILE services.ledger`.

FILE holds the seconds that this clock is ahead; everything else keeps the machine's time.
"""

import runpy
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.ledger import service


def ahead(file: Path) -> timedelta:
    """How far the clock is ahead now; not at all before a test says so."""
    try:
        return timedelta(seconds=float(file.read_text(encoding="ascii")))
    except (FileNotFoundError, ValueError):
        return timedelta(0)


def move(file: Path, by: timedelta) -> None:
    """Set the clock so far ahead."""
    new = file.with_suffix(".new")
    new.write_text(str(by.total_seconds()), encoding="ascii")
    new.replace(file)


if __name__ == "__main__":
    moved = Path(sys.argv[1])
    service.now_utc = lambda: datetime.now(UTC) + ahead(moved)
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
