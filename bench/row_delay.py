"""Row 4: from the 202 to the committed record, and to the published checkpoint over it, at half of what is sustained.

Open-loop load of one event a request from a second process. When a record or a checkpoint was committed is what
Postgres remembers of its transaction (track_commit_timestamp): the moment before the commit is flushed.
"""

import asyncio
import json
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import asyncpg

from bench.children import BenchError, Child
from bench.client import Load
from bench.report import Row, Say
from bench.row_ingest import load_of
from bench.world import BenchDeployment, World
from services.keys import event_mac

RECORDED_MS: Final = 250
PUBLISHED_MS: Final = 1500
DEADLINE_S: Final = 60


def measure(world: World, say: Say, *, requests: int, seconds: float) -> list[Row]:
    with world.deployment() as deployment:
        topic = asyncio.run(world.make_topic())
        with deployment.ledger_process(topic), deployment.ingest(topic) as (_, port):
            load = load_of(deployment, port, requests)
            sustained = requests / _post(deployment, load)[0]
            rate = sustained / 2
            say(f"ingest and ledger together sustain {sustained:,.0f} events/s; now {seconds:g} s at {rate:,.0f}/s")
            file = world.directory / "accepted.json"
            load = replace(load, requests=int(rate * seconds), rate=rate, accepted=str(file))
            _, seen = _post(deployment, load)
        recorded, published = asyncio.run(_delays(deployment, json.loads(file.read_text(encoding="utf-8"))))
    say(f"answered in {seen['p50_ms']:.1f} ms (median), {seen['p99_ms']:.1f} ms (p99)")
    about = {"sustained events/s": sustained, "rate": rate, "answered": seen}
    return [
        _row("accepted -> recorded, p99", recorded, RECORDED_MS, about),
        _row("accepted -> published, p99", published, PUBLISHED_MS, about),
    ]


def _post(deployment: BenchDeployment, load: Load) -> tuple[float, dict[str, Any]]:
    """Put the load on ingest and wait for the ledger; the seconds that took, and what the client saw."""
    before = asyncio.run(deployment.size())
    with Child("bench.client", deployment.world.directory, args=[load.encode()]) as client:
        client.said("ready")
        started = time.perf_counter()
        client.go()
        seen: dict[str, Any] = client.answer()
    if seen["statuses"] != {"202": load.requests}:
        raise BenchError(f"not every request was answered 202: {seen['statuses']}")
    asyncio.run(deployment.recorded(before + load.warm_up + load.requests, deadline_s=DEADLINE_S))
    return time.perf_counter() - started, seen


async def _delays(
    deployment: BenchDeployment, accepted: Sequence[tuple[str, float]]
) -> tuple[list[float], list[float]]:
    """Milliseconds from each event's 202 to its record and to the first checkpoint over it."""
    connection = await asyncpg.connect(deployment.database.dsn())
    try:
        records = await connection.fetch(
            "SELECT event, index, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at FROM dedupe"
        )
        checkpoints = await connection.fetch(
            "SELECT size, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at"
            " FROM checkpoints ORDER BY size"
        )
    finally:
        await connection.close()
    place = {row["event"]: (row["index"], row["at"]) for row in records}
    sizes, signed_at = [row["size"] for row in checkpoints], [row["at"] for row in checkpoints]
    recorded, published = [], []
    for event_id, accepted_at in accepted:
        index, recorded_at = place[event_mac(deployment.event_id_key, "shop", event_id)]
        recorded.append((recorded_at - accepted_at) * 1000)
        published.append((signed_at[bisect_right(sizes, index)] - accepted_at) * 1000)
    return recorded, published


def _row(what: str, delays_ms: Sequence[float], within_ms: float, about: dict[str, Any]) -> Row:
    delays = sorted(delays_ms)
    p99 = delays[len(delays) * 99 // 100]
    return Row(
        number=4,
        what=what,
        measured=f"{p99:,.0f} ms",
        beside=f"half load, {about['rate']:,.0f} events/s",
        within_ms=within_ms,
        measured_ms=p99,
        details={"p50 ms": delays[len(delays) // 2], "p99 ms": p99, "max ms": delays[-1], **about},
    )
