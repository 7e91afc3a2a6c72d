"""Rows 9 and 10, answers at size: one status over HTTP beside a bare indexed SELECT, and a list of people at once.

Both sides ask about the same people, drawn at random among as many records as the run can afford (`--records`); the
SELECT reads by primary key the one part that an answer rests on. Judged are the time of the slowest in a hundred, and
what a million people would take.
"""

import asyncio
import http.client
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import asyncpg

from bench.children import BenchError, Child
from bench.filling import Asked, fill
from bench.report import Row, Say
from bench.world import BenchDeployment, World
from deploy.kafka.node import free_port

PURPOSE: Final = "chat-history"
PEOPLE: Final = 20_000
WARM_UP: Final = 300
STATUS_MS_MAX: Final = 20
MILLION: Final = 1_000_000
MILLION_MS_MAX: Final = 5 * 60 * 1000


def measure(world: World, say: Say, *, records: int, requests: int, checked: int) -> list[Row]:
    with world.deployment() as deployment:
        asked = asyncio.run(fill(deployment, records, min(PEOPLE, records), say))
        asyncio.run(deployment.add_access_log())
        key = asyncio.run(deployment.add_access_key("site"))
        port = free_port()
        environment = {**deployment.query_environment(port), "SAYSO_STREAM": "inbox:"}
        with Child("services.query", world.directory, environment=environment) as child:
            child.listens(port)
            drawn = random.Random(records).choices(asked, k=requests + WARM_UP)
            bare = asyncio.run(_select(deployment, drawn))
            ours = _ask(port, key, drawn)
            say(f"status at {records:,} records: p99 {_p99(ours):.1f} ms, bare SELECT {_p99(bare):.2f} ms")
            seconds, peak = _check(world, child, port, key, asked, checked)
            say(f"bulk check: {checked / seconds:,.0f} people/s, at most {peak:,} MiB of memory")
    return [_status_row(records, ours, bare), _check_row(records, checked, seconds, peak)]


def _status_row(records: int, ours: Sequence[float], bare: Sequence[float]) -> Row:
    return Row(
        number=9,
        what=f"status at {records:,} records",
        measured=f"p99 {_p99(ours):.1f} ms, median {median(ours):.1f} ms",
        beside=f"bare SELECT p99 {_p99(bare):.2f} ms, median {median(bare):.2f} ms",
        ratio=median(bare) / median(ours),
        within_ms=STATUS_MS_MAX,
        measured_ms=_p99(ours),
        details={"records": records, "requests": len(ours), "p99 ratio": _p99(bare) / _p99(ours)},
    )


def _check_row(records: int, checked: int, seconds: float, peak: int) -> Row:
    million_ms = seconds / checked * MILLION * 1000
    return Row(
        number=10,
        what=f"bulk check at {records:,} records",
        measured=f"{checked / seconds:,.0f} people/s",
        beside=f"a million in {million_ms / 1000:,.0f} s",
        within_ms=MILLION_MS_MAX,
        measured_ms=million_ms,
        details={"records": records, "people": checked, "s": seconds, "peak MiB": peak},
    )


def _p99(times_ms: Sequence[float]) -> float:
    return quantiles(times_ms, n=100)[-1]


async def _select(deployment: BenchDeployment, drawn: Sequence[Asked]) -> list[float]:
    """Milliseconds of each bare SELECT behind the warm-up."""
    connection = await asyncpg.connect(deployment.database.dsn())
    try:
        statement = await connection.prepare(
            "SELECT what FROM payloads WHERE controller = $1 AND log = $2 AND index = $3"
        )
        times = []
        for one in drawn:
            started = time.perf_counter()
            await statement.fetchval(deployment.controller, deployment.log, one.place)
            times.append((time.perf_counter() - started) * 1000)
    finally:
        await connection.close()
    return times[WARM_UP:]


def _ask(port: int, key: str, drawn: Sequence[Asked]) -> list[float]:
    """Milliseconds of each answer behind the warm-up, one after the other over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    times = []
    for one in drawn:
        started = time.perf_counter()
        path = f"/v1/subjects/{one.subject}/status?purpose={PURPOSE}"
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
        answer = connection.getresponse().read()
        times.append((time.perf_counter() - started) * 1000)
        if b'"valid":true' not in answer:
            raise BenchError(f"a status was not as expected: {answer[:300]!r}")
    connection.close()
    return times[WARM_UP:]


def _check(world: World, child: Child, port: int, key: str, asked: Sequence[Asked], checked: int) -> tuple[float, int]:
    """Seconds of a bulk check of so many people, and the most memory that the process held in MiB."""
    lines = [b'{"subject":"%b"}\n' % str(one.subject).encode() for one in asked]
    body = world.directory / "people.ndjson"
    with body.open("wb") as file:
        for number in range(checked):
            file.write(lines[number % len(lines)])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)
    started = time.perf_counter()
    with body.open("rb") as file:
        headers = {"authorization": f"Bearer {key}", "content-length": str(body.stat().st_size)}
        connection.request("POST", f"/v1/checks?purpose={PURPOSE}", body=file, headers=headers)
        response = connection.getresponse()
        last = b""
        while line := response.readline():
            last = line
    seconds = time.perf_counter() - started
    connection.close()
    summary = json.loads(last)
    if (summary.get("checked"), summary.get("valid")) != (checked, checked):
        raise BenchError(f"the bulk check was not as expected: {summary}")
    return seconds, _peak_mib(child.pid)


def _peak_mib(pid: int) -> int:
    (line,) = (one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024
