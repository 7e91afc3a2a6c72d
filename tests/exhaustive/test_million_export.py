"""An export of a million records: in constant memory, killed at half, resumed by another process, and then verified."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import orjson
import pytest

from deploy.kafka.node import free_port
from tests.integration.query.test_process import environment
from tests.support.databases import Database
from tests.support.many_records import ManyRecords
from tests.support.rows import Controller, World
from tests.support.wait import until

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(3600)]

RECORDS = 1_000_000
# What the job may add to a process that answers: pages, a file's places, the allocator's slack.
GROWTH_KB_MAX = 96 * 1024
PATIENCE_S = 1800


class Query:
    """One query process, and how much memory it had at each look."""

    def __init__(self, address: str, process: "subprocess.Popen[bytes]", key: str) -> None:
        self.process = process
        self.client = httpx2.AsyncClient(base_url=address, headers={"authorization": f"Bearer {key}"}, timeout=60)
        self.rss_kb: list[tuple[int, int]] = []

    async def one(self, export: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.client.get(f"/v1/exports/{export}")).json()
        self.rss_kb.append((found["looked_at"], rss_kb(self.process.pid)))
        return found


def rss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@asynccontextmanager
async def running(world: World, directory: Path, key: str, output: Path) -> AsyncIterator[Query]:
    port = free_port()
    variables = environment(world, SAYSO_QUERY_PORT=str(port), SAYSO_EXPORT_DIR=str(directory))
    with output.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "services.query"], env=variables, stdout=file, stderr=file)
    query = Query(f"http://127.0.0.1:{port}", process, key)
    try:

        async def answers() -> bool:
            assert process.poll() is None, output.read_text()
            try:
                return (await query.client.get("/v1/exports")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(answers, what="query answers", deadline_s=30)
        yield query
    finally:
        await query.client.aclose()
        process.kill()
        process.wait()


async def test_a_million_records_survive_a_kill_at_half(database: Database, tmp_path: Path) -> None:
    world = World(database, tmp_path / "keys")
    shop = await world.controller("shop")
    await ManyRecords(shop).fill(RECORDS)
    key, directory = await shop.access_key("dpo"), tmp_path / "exports"
    asked = {"of": {"from": "2026-01-01T00:00:00Z", "until": "2028-01-01T00:00:00Z"}, "why": "all", "format": "ndjson"}
    began = time.monotonic()
    async with running(world, directory, key, tmp_path / "first") as first:
        export = (await first.client.post("/v1/exports", json=asked)).json()["export"]
        await until(lambda: _reached(first, export, RECORDS // 2), what="half of it", deadline_s=PATIENCE_S, poll_s=0.2)
        first.process.kill()
        halfway = await files_of(shop, export)
    async with running(world, directory, key, tmp_path / "second") as second:
        await until(lambda: _reached(second, export, None), what="all of it", deadline_s=PATIENCE_S, poll_s=0.2)
        took = time.monotonic() - began
        done = await second.one(export)
        folder = tmp_path / "got"
        folder.mkdir()
        for file in done["files"]:
            async with second.client.stream("GET", f"/v1/exports/{export}/files/{file['name']}") as answer:
                with (folder / file["name"]).open("wb") as kept:
                    async for piece in answer.aiter_bytes():
                        kept.write(piece)
        (tmp_path / "jwks.json").write_bytes((await second.client.get("/.well-known/jwks.json")).content)
        rss_kb_at_end = rss_kb(second.process.pid)
    assert done["records"] == done["looked_at"] == RECORDS
    finished = await files_of(shop, export)
    assert finished[: len(halfway)] == halfway
    assert 0 < len(halfway) < len(finished) == -(-RECORDS // 50_000)
    began = time.monotonic()
    with (tmp_path / "said").open("wb") as output:
        verify = subprocess.Popen(
            [
                Path(sys.executable).with_name("sayso"),
                "verify",
                folder / "manifest.json",
                "--vkey",
                shop.vkey,
                "--jwks",
                tmp_path / "jwks.json",
            ],
            stdout=output,
            env={"PATH": os.environ["PATH"]},
        )
    most_kb = 0
    while verify.poll() is None:
        with suppress(StopIteration, OSError):
            most_kb = max(most_kb, rss_kb(verify.pid))
        await asyncio.sleep(0.1)
    said = (tmp_path / "said").read_text()
    print(said)
    growth = [max(rss for _, rss in one.rss_kb) - one.rss_kb[0][1] for one in (first, second)]
    print(f"{RECORDS} records in {took:.0f} s; {len(halfway)} of {len(finished)} files before the kill")
    print(f"{sum(path.stat().st_size for path in folder.iterdir())} bytes")
    print(
        f"memory of the two processes at first {[one.rss_kb[0][1] for one in (first, second)]} kB, grown by {growth} kB"
    )
    print(f"memory by tenths: {by_tenths(first.rss_kb + second.rss_kb)} kB; after the downloads {rss_kb_at_end} kB")
    print(f"verified in {time.monotonic() - began:.0f} s with at most {most_kb} kB")
    assert verify.returncode == 0, said
    assert max(growth) < GROWTH_KB_MAX


async def _reached(query: Query, export: str, looked_at: int | None) -> bool:
    found = await query.one(export)
    assert found["state"] in {"waiting", "running", "done"}, found
    return bool(found["state"] == "done" if looked_at is None else found["looked_at"] >= looked_at)


async def files_of(shop: Controller, export: str) -> list[Any]:
    progress = await shop.world.execute("SELECT progress FROM exports WHERE export = $1", UUID(export))
    files: list[Any] = orjson.loads(progress)["files"]
    return files


def by_tenths(seen: list[tuple[int, int]]) -> list[int]:
    """The largest memory seen while each tenth of the records was the last that counted."""
    found: dict[int, int] = {}
    for looked_at, rss in seen:
        tenth = 10 * looked_at // RECORDS
        found[tenth] = max(rss, found.get(tenth, 0))
    return [found[tenth] for tenth in sorted(found)]
