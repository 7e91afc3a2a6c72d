"""An export whose process is killed: nothing lost, nothing doubled, and the same bytes as without."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any
from uuid import UUID

import httpx2
import orjson
import pytest

from deploy.kafka.node import free_port
from schemas.bundle_check import Pins
from services.cli.verify_export import verify_export
from tests.integration.query.test_process import environment
from tests.support.many_records import ManyRecords
from tests.support.rows import Controller, World
from tests.support.wait import until

pytestmark = pytest.mark.integration

RECORDS = 1_200
# Query as it is, but with files of so many records, and one that slows it down until it is killed.
PROGRAM = """
import time
from functools import partial
import services.query.state as state
from services.query.exports import job, sink
from services.query.__main__ import main
state.Workshop = partial(job.Workshop, file_records=100)
finish = sink.Sink.finish
sink.Sink.finish = lambda self: (time.sleep({pause_s}), finish(self))[1]
main()
"""


@asynccontextmanager
async def query(world: World, directory: Path, key: str, output: Path, pause_s: float = 0) -> AsyncIterator[Any]:
    """A process, and a client of it."""
    port = free_port()
    variables = environment(world, SAYSO_QUERY_PORT=str(port), SAYSO_EXPORT_DIR=str(directory))
    with output.open("wb") as file:
        process = Popen(
            [sys.executable, "-c", PROGRAM.format(pause_s=pause_s)], env=variables, stdout=file, stderr=file
        )
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:

        async def answers() -> bool:
            assert process.poll() is None, output.read_text()
            try:
                return (await client.get("/v1/exports")).status_code == 200
            except httpx2.TransportError:
                return False

        try:
            await until(answers, what="query answers")
            yield process, client
        finally:
            process.kill()
            process.wait()


async def progress_of(shop: Controller, export: str) -> dict[str, Any]:
    raw = await shop.world.execute("SELECT progress FROM exports WHERE export = $1", UUID(export))
    return {"files": []} if raw is None else dict(orjson.loads(raw))


async def test_killed_and_still_the_same_bytes(world: World, shop: Controller, tmp_path: Path) -> None:
    await ManyRecords(shop).fill(RECORDS)
    key, directory = await shop.access_key("dpo"), tmp_path / "exports"
    asked = {
        "of": {"from": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"},
        "why": "audit",
        "format": "parquet",
    }
    async with query(world, directory, key, tmp_path / "first", 0.05) as (process, client):
        export = (await client.post("/v1/exports", json=asked)).json()["export"]

        async def is_further() -> bool:
            return len((await progress_of(shop, export))["files"]) >= 4

        await until(is_further, what="some files are there")
        process.kill()
        process.wait()
    seen = len((await progress_of(shop, export))["files"])
    # What another process would wait for: that this one has been silent.
    await world.execute("UPDATE exports SET heartbeat_at = now() - interval '1 minute'")
    async with query(world, directory, key, tmp_path / "last") as (_, client):

        async def is_done(one: str) -> bool:
            found = (await client.get(f"/v1/exports/{one}")).json()
            assert found["state"] in {"waiting", "running", "done"}, found
            return bool(found["state"] == "done")

        await until(lambda: is_done(export), what="the export is done")
        whole = (await client.post("/v1/exports", json=asked)).json()["export"]
        await until(lambda: is_done(whole), what="one without a break is done")
        files = (await client.get(f"/v1/exports/{export}")).json()["files"]
        assert files == (await client.get(f"/v1/exports/{whole}")).json()["files"]
        folder = tmp_path / "got"
        folder.mkdir()
        for file in files:
            answer = await client.get(f"/v1/exports/{export}/files/{file['name']}")
            (folder / file["name"]).write_bytes(answer.content)
        jwks = (await client.get("/.well-known/jwks.json")).content
    assert 4 <= seen < 12
    writers = {file["by"] for file in (await progress_of(shop, export))["files"]}
    assert len(writers) == 2
    steps = verify_export(folder / "manifest.json", Pins(vkeys=[shop.vkey], jwks=jwks), None)
    assert steps[-1].outcome == "ok", steps[-1]
    assert json.loads((folder / "manifest.json").read_bytes())["records"] == RECORDS
