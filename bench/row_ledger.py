"""Row 3, ledger: message in Kafka to committed record, beside COPY of the same rows committed every 500.

Judged is the rate, because the work overlaps on purpose; CPU time an event, process and Postgres, stands beside it.
Both sides are measured in turn, several times, and the medians compared.
"""

import asyncio
import pickle
import time
from pathlib import Path
from statistics import median
from typing import Final

import asyncpg

from bench.children import BenchError, Child
from bench.copying import rows_of
from bench.machine import Cost, Meter
from bench.report import Row, Say
from bench.workload import Events
from bench.world import BenchDeployment, World

BATCH: Final = 500
# Of the events, these pass before the clock starts: connections, caches and a first checkpoint are no event's cost.
WARM_UP: Final = 0.2
POLL_S: Final = 0.01
DEADLINE_S: Final = 120


def measure(world: World, say: Say, *, events: int, rounds: int) -> list[Row]:
    return [
        _measure(world, say, events, rounds, per_subject=per_subject, at_least=at_least)
        for per_subject, at_least in ((1, 0.50), (10, 0.33))
    ]


def _measure(world: World, say: Say, events: int, rounds: int, *, per_subject: int, at_least: float) -> Row:
    topic = asyncio.run(world.make_topic())
    ours: list[Cost] = []
    limits: list[Cost] = []
    rows = world.directory / f"rows-{per_subject}.pickle"
    for number in range(rounds):
        with world.deployment() as deployment:
            if number == 0:
                asyncio.run(deployment.fill(topic, Events(deployment.notice, per_subject=per_subject), events))
            ours.append(asyncio.run(_record(deployment, topic, events)))
            if number == 0:
                rows.write_bytes(pickle.dumps(asyncio.run(rows_of(deployment.database.dsn(), BATCH))))
        limits.append(_copy(world, rows, events))
        say(
            f"ledger, {per_subject} a subject, {number + 1}/{rounds}: {ours[-1].rate:,.0f} events/s "
            f"({ours[-1].process_us:.0f} + {ours[-1].postgres_us:.0f} us), COPY {limits[-1].rate:,.0f} "
            f"({limits[-1].process_us:.0f} + {limits[-1].postgres_us:.0f} us)"
        )
    rate, limit = median(c.rate for c in ours), median(c.rate for c in limits)
    cpu, limit_cpu = median(c.cpu_us for c in ours), median(c.cpu_us for c in limits)
    return Row(
        number=3,
        what=f"ledger, {per_subject} event{'s' if per_subject > 1 else ''} a subject",
        measured=f"{rate:,.0f} events/s",
        beside=f"COPY {limit:,.0f} rows/s",
        ratio=rate / limit,
        at_least=at_least,
        details={
            "ledger": [_said(c) for c in ours],
            "copy": [_said(c) for c in limits],
            "cpu us an event": cpu,
            "cpu us an event of COPY": limit_cpu,
            "cpu ratio": limit_cpu / cpu,
        },
    )


def _said(cost: Cost) -> dict[str, float]:
    return {
        "events/s": cost.rate,
        "process us": cost.process_us,
        "postgres us": cost.postgres_us,
        "cores used by others": cost.others,
    }


async def _record(deployment: BenchDeployment, topic: str, events: int) -> Cost:
    """Run a ledger over the whole topic; what it cost from the warm-up on."""
    connection = await asyncpg.connect(deployment.database.dsn())
    try:
        with deployment.ledger_process(topic) as child:
            begin = await _reached(connection, child, int(events * WARM_UP))
            meter = Meter(child.pid, deployment.world.postgres, watching=connection.get_server_pid())
            end = await _reached(connection, child, events)
            return meter.cost(end - begin)
    finally:
        await connection.close()


async def _reached(connection: "asyncpg.Connection[asyncpg.Record]", child: Child, size: int) -> int:
    """Wait until that many are recorded; how many are."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        recorded: int = await connection.fetchval("SELECT coalesce(max(size), 0) FROM log_heads")
        if recorded >= size:
            return recorded
        child.check_alive()
        if time.monotonic() > deadline:
            raise BenchError(f"only {recorded} of {size} events were recorded within {DEADLINE_S} s")
        await asyncio.sleep(POLL_S)


def _copy(world: World, rows: Path, events: int) -> Cost:
    """Copy the rows into a fresh database; what it cost."""
    with (
        world.database() as database,
        Child("bench.copying", world.directory, args=[database.dsn(), str(rows)]) as child,
    ):
        child.said("ready")
        meter = Meter(child.pid, world.postgres)
        child.go()
        child.answer()
        return meter.cost(events)
