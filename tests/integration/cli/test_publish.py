"""`sayso publish`: what a mirror holds, what a second pass writes, and what it refuses to overwrite."""

import asyncio
import gzip
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.errors import ConfigurationError, LogForked, ProofError
from schemas.log_keys import read_log_keys
from schemas.mirror import verify_mirror
from schemas.note import parse_verifier_key
from schemas.tiles import ENTRIES, Tile, tiles_for_size
from services.cli.main import app
from services.cli.publish.directory import DirectoryTarget
from services.cli.publish.run import Pass, publish_once, reading_logs, run_publish
from services.cli.verify import listed, reader_of
from services.query.published import PublishedLogs
from tests.integration.query.conftest import serving, settings_of
from tests.support.buckets import BUCKET, client_of, environment_of, real_store
from tests.support.databases import Database
from tests.support.rows import Controller, World
from tests.support.wait import until

# The first build of the S3 server on a machine.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(700)]


@pytest.fixture
def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("SAYSO_DATABASE_URL", database.dsn())
    return World(database, tmp_path / "keys")


@pytest.fixture
async def shop(world: World) -> Controller:
    return await world.controller("shop")


@pytest.fixture
async def logs(world: World) -> AsyncIterator[PublishedLogs]:
    async with reading_logs() as logs:
        yield logs


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[DirectoryTarget]:
    target = DirectoryTarget(directory)
    await target.open()
    try:
        yield target
    finally:
        await target.close()


async def grow(shop: Controller, count: int) -> None:
    await shop.fill(count)
    await shop.publish()


def verified(directory: Path, shop: Controller) -> int:
    """The size at which the whole mirror verifies, with every file in it accounted for."""
    keys = [parse_verifier_key(shop.vkey)]
    read = reader_of(str(directory))
    return verify_mirror(read, origin=shop.origin, vkeys=keys, pinned=True, files=listed(directory)).size


async def test_a_mirror_holds_what_the_log_serves(world: World, shop: Controller, tmp_path: Path) -> None:
    await grow(shop, 600)
    mirror = tmp_path / "mirror"
    await run_publish("shop", str(mirror), follow=False)
    assert verified(mirror, shop) == 600
    expected = {"checkpoint", "vkey", "keys.json"}
    for tile in tiles_for_size(600):
        expected |= {tile.path()} | ({Tile(ENTRIES, tile.n, tile.width).path()} if tile.level == 0 else set())
    assert set(listed(mirror)) == expected
    async with serving(settings_of(world)) as address, httpx2.AsyncClient(base_url=f"{address}/logs/shop/") as client:
        for path in expected - {"keys.json"}:
            assert (await client.get(path)).content == (mirror / path).read_bytes(), path
    chain = read_log_keys((mirror / "keys.json").read_bytes())
    assert [str(key.vkey) for key in chain.keys] == [shop.vkey]
    done = CliRunner().invoke(app, ["verify", "--log", str(mirror), "--vkey", shop.vkey, "--pinned"])
    assert (done.exit_code, "600 entries recomputed" in done.stdout) == (0, True), done.stdout
    (mirror / "notes.txt").write_text("x")
    done = CliRunner().invoke(app, ["verify", "--log", str(mirror), "--vkey", shop.vkey])
    assert (done.exit_code, "notes.txt: a log has no such file" in done.stdout) == (1, True), done.stdout


async def test_a_second_pass_writes_only_what_is_new(logs: PublishedLogs, shop: Controller, tmp_path: Path) -> None:
    async with opened(tmp_path / "m") as target:
        assert await publish_once(logs, "shop", target) == Pass(0, 0, checkpoint_replaced=True)
        await grow(shop, 300)
        # Two bundles, two tiles of level 0, one of level 1.
        assert await publish_once(logs, "shop", target) == Pass(300, 5, checkpoint_replaced=True)
        before = {path: (tmp_path / "m" / path).stat().st_mtime_ns for path in listed(tmp_path / "m")}
        assert await publish_once(logs, "shop", target) == Pass(300, 0, checkpoint_replaced=False)
        assert {path: (tmp_path / "m" / path).stat().st_mtime_ns for path in listed(tmp_path / "m")} == before
        await grow(shop, 10)
        assert await publish_once(logs, "shop", target) == Pass(310, 2, checkpoint_replaced=True)
        # A client that still holds the checkpoint of 300 finds its tiles until they are full.
        assert (tmp_path / "m" / "tile/0/001.p/44").exists()
        assert verified(tmp_path / "m", shop) == 310
        await grow(shop, 202 + 256)
        assert await publish_once(logs, "shop", target) == Pass(768, 5, checkpoint_replaced=True)
        assert not list((tmp_path / "m" / "tile").rglob("001.p"))
        assert verified(tmp_path / "m", shop) == 768
    untouched = ("tile/0/000", "tile/entries/000")
    assert {path: (tmp_path / "m" / path).stat().st_mtime_ns for path in untouched} == {p: before[p] for p in untouched}


async def test_cosignatures_that_came_later_are_mirrored(logs: PublishedLogs, shop: Controller, tmp_path: Path) -> None:
    await grow(shop, 3)
    async with opened(tmp_path / "m") as target:
        await publish_once(logs, "shop", target)
        await shop.world.execute(
            "INSERT INTO cosignatures (controller, log, size, witness, key_id, line, cosigned_at)"
            " VALUES ($1, $2, 3, 'w', '\\x01020304', $3, now())",
            shop.controller,
            shop.log,
            "\u2014 w AQIDBAUGBwg=\n",
        )
        assert await publish_once(logs, "shop", target) == Pass(3, 0, checkpoint_replaced=True)
    assert (tmp_path / "m" / "checkpoint").read_text().endswith("\n\u2014 w AQIDBAUGBwg=\n")


async def test_nothing_that_contradicts_the_log_is_overwritten(
    logs: PublishedLogs, shop: Controller, tmp_path: Path
) -> None:
    await grow(shop, 300)
    mirror = tmp_path / "m"
    async with opened(mirror) as target:
        await publish_once(logs, "shop", target)
    note = (mirror / "checkpoint").read_text()

    async def refused(error: type[Exception], said: str | None, *, changed: str, content: bytes) -> None:
        kept = (mirror / changed).read_bytes() if (mirror / changed).exists() else None
        (mirror / changed).write_bytes(content)
        async with opened(mirror) as target:
            with pytest.raises(error, match=said):
                await publish_once(logs, "shop", target)
        assert (mirror / changed).read_bytes() == content
        (mirror / changed).write_bytes(kept) if kept is not None else (mirror / changed).unlink()

    def signed(size: int, root: bytes) -> bytes:
        return signed_checkpoint(Checkpoint(shop.origin, size, root), shop.signing_key).encode()

    # An older state of the database, and another history at the same and at a smaller size.
    await refused(
        ProofError, "mirror shows size 301, the log 300", changed="checkpoint", content=signed(301, bytes(32))
    )
    await refused(LogForked, "does not continue", changed="checkpoint", content=signed(300, bytes(32)))
    await refused(LogForked, "does not continue", changed="checkpoint", content=signed(299, bytes(32)))
    await refused(ProofError, None, changed="checkpoint", content=note.replace("shop", "chop").encode())
    await refused(ProofError, None, changed="checkpoint", content=b"")
    # A tile of the next size is already there and is another.
    await grow(shop, 100)
    await refused(ProofError, "tile/0/001.p/144: the mirror holds", changed="tile/0/001.p/144", content=b"x")
    assert (mirror / "checkpoint").read_text() == note
    async with opened(mirror) as target:
        assert (await publish_once(logs, "shop", target)).size == 400
    assert verified(mirror, shop) == 400


async def test_a_bucket_can_be_served_by_a_cdn(
    shop: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects as a CDN fetches them: read without Sayso, they verify."""
    await grow(shop, 300)
    async with real_store() as endpoint, client_of(endpoint) as client:
        for name, value in environment_of(endpoint).items():
            monkeypatch.setenv(name, value)
        for count in (0, 300):
            await grow(shop, count) if count else None
            await run_publish("shop", f"s3://{BUCKET}/logs/shop", follow=False)
        listing = await client.list_objects_v2(Bucket=BUCKET, Prefix="logs/shop/")
        for item in listing["Contents"]:
            answer = await client.get_object(Bucket=BUCKET, Key=item["Key"])
            raw = await answer["Body"].read()
            path = tmp_path / item["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.decompress(raw) if answer.get("ContentEncoding") == "gzip" else raw)
    assert verified(tmp_path / "logs" / "shop", shop) == 600


async def test_followed_the_mirror_keeps_up_until_it_is_stopped(shop: Controller, tmp_path: Path) -> None:
    mirror, said = tmp_path / "m", tmp_path / "said"

    def says(size: int) -> bool:
        assert process.poll() is None, said.read_text()
        return f"size {size}" in said.read_text()

    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.cli.main", "publish", "shop", str(mirror), "--follow"],
            stdout=output,
            stderr=output,
            env=dict(os.environ),
        )
    try:
        for size in (0, 10, 300):
            await grow(shop, size - len(shop.entries)) if size else None
            await until(lambda: says(size), what=f"the mirror is at {size}", deadline_s=30)
            assert verified(mirror, shop) == size
    finally:
        process.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(process.wait, 20)
    assert code == 0, said.read_text()
    assert "size 300, 5 files were new" in said.read_text()


async def test_mistakes_are_sentences(shop: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="no log nobody"):
        await run_publish("nobody", str(tmp_path / "m"), follow=False)
    monkeypatch.setenv("SAYSO_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/x")
    with pytest.raises(ConfigurationError, match="does not let us in"):
        await run_publish("shop", str(tmp_path / "m"), follow=False)
    monkeypatch.delenv("SAYSO_DATABASE_URL")
    with pytest.raises(ConfigurationError, match="set SAYSO_DATABASE_URL"):
        await run_publish("shop", str(tmp_path / "m"), follow=False)
