"""`python -m bench [--quick] [--rows 1,2,...] [--records N]`: measure, print the table, write bench/results/TIME.json.

Every row stands beside its limit, both measured in turn in this run, and the medians are compared. Which machine, which
versions and how busy it was otherwise is in the file. Exit code 1 if something could not be measured.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from bench import row_delay, row_fsck, row_ingest, row_ledger, row_status
from bench.children import BenchError
from bench.machine import machine, versions
from bench.report import Progress, Row, Say, save, table
from bench.workload import event_bytes
from bench.world import World, running_world

# How much a full run and a quick one do.
FULL = {
    "requests": 20_000,
    "batches": 80,
    "events": 30_000,
    "delayed": 15_000,
    "seconds": 20,
    "audited": 300_000,
    "records": 1_000_000,
    "statuses": 5_000,
    "checked": 200_000,
    "rounds": 5,
}
QUICK = {
    "requests": 6_000,
    "batches": 30,
    "events": 10_000,
    "delayed": 5_000,
    "seconds": 6,
    "audited": 100_000,
    "records": 100_000,
    "statuses": 2_000,
    "checked": 50_000,
    "rounds": 2,
}


def measure(world: World, say: Say, which: set[int], size: dict[str, int]) -> list[Row]:
    rows: list[Row] = []
    rounds = size["rounds"]
    if 1 in which:
        rows.append(row_ingest.measure_single(world, say, requests=size["requests"], rounds=rounds))
    if 2 in which:
        rows.append(row_ingest.measure_batches(world, say, requests=size["batches"], rounds=rounds))
    if 3 in which:
        rows += row_ledger.measure(world, say, events=size["events"], rounds=rounds)
    if 4 in which:
        rows += row_delay.measure(world, say, requests=size["delayed"], seconds=size["seconds"])
    if 8 in which:
        rows.append(row_fsck.measure(world, say, entries=size["audited"], rounds=rounds))
    if 9 in which:
        rows += row_status.measure(
            world, say, records=size["records"], requests=size["statuses"], checked=size["checked"]
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench", description="Measure, each row beside the limit of this machine.")
    parser.add_argument("--quick", action="store_true", help="about a minute, with fewer events and rounds")
    parser.add_argument("--rows", default="1,2,3,4,8,9", help="which rows, by number (9 includes 10)")
    parser.add_argument("--records", type=int, help="how many records there are when status is asked, for row 9")
    chosen = parser.parse_args(arguments)
    which = {int(number) for number in chosen.rows.split(",")}
    say = Progress()
    about: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(),
        "event bytes": event_bytes(),
        "quick": chosen.quick,
    }
    say("starting Kafka and Postgres")
    try:
        with running_world() as world:
            about["versions"] |= world.versions()
            size = QUICK if chosen.quick else FULL
            rows = measure(world, say, which, size if chosen.records is None else {**size, "records": chosen.records})
    except BenchError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    lines = [f"{name}: {value}" for part in ("machine", "versions") for name, value in about[part].items()]
    print("\n" + "\n".join([*lines, f"event: {about['event bytes']} bytes (bench/event.json)"]))
    print("\n" + table(rows))
    print(f"\nwritten to {save(rows, about)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
