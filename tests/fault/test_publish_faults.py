"""A publish that fails or is killed at any step leaves a mirror that verifies as it is, and the next goes on."""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from schemas.mirror import verify_mirror
from schemas.note import parse_verifier_key
from schemas.tiles import Tile
from services.cli.publish.directory import DirectoryTarget
from services.cli.publish.run import AT_ONCE, _write, publish_once, reading_logs, run_publish
from services.cli.publish.target import Target
from services.cli.verify import listed, reader_of
from services.query.published import PublishedLogs
from tests.support.databases import Database
from tests.support.rows import Controller, World

pytestmark = pytest.mark.fault

# 300 to 600 entries: a partial tile is filled, others are new, one level's last tile grows.
OLD, NEW = 300, 600
# Everything a directory is written with; pathlib's methods call these.
CALLS = ("open", "write", "fsync", "mkdir", "replace", "unlink", "rmdir")
KILLER = """
import os, signal, sys
place, at, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
replace, count = os.replace, 0
def counted(*names):
    global count
    count += 1
    if count == at and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
    if count == at and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = counted
import asyncio
from services.cli.publish.run import run_publish
asyncio.run(run_publish("shop", place, follow=False))
"""


@pytest.fixture
async def shop(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    """A log of 600 entries, of which the mirror at `tmp_path/old` has 300."""
    monkeypatch.setenv("SAYSO_DATABASE_URL", database.dsn())
    world = World(database, tmp_path / "keys")
    shop = await world.controller("shop")
    await shop.fill(OLD)
    await shop.publish()
    await run_publish("shop", str(tmp_path / "old"), follow=False)
    await shop.fill(NEW - OLD)
    await shop.publish()
    return shop


@pytest.fixture
async def logs(shop: Controller) -> AsyncIterator[PublishedLogs]:
    async with reading_logs() as logs:
        yield logs


async def publish(logs: PublishedLogs, directory: Path) -> None:
    target = DirectoryTarget(directory)
    try:
        await target.open()
        await publish_once(logs, "shop", target)
    finally:
        await target.close()


def verified(directory: Path, shop: Controller) -> int:
    keys = [parse_verifier_key(shop.vkey)]
    read = reader_of(str(directory))
    return verify_mirror(read, origin=shop.origin, vkeys=keys, files=listed(directory)).size


class Faults:
    """Counts the calls that write, and lets the one numbered `fail_at` fail, a write after half of its bytes."""

    def __init__(self, fail_at: int | None, code: int = 0) -> None:
        self.count = 0
        self.seen: list[str] = []
        self._fail_at = fail_at
        self._code = code

    def wrap(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            self.seen.append(name)
            if self.count == self._fail_at:
                if name == "write":
                    original(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                raise OSError(self._code, os.strerror(self._code))
            return original(*arguments, **named)

        return call


@contextmanager
def failing(faults: Faults) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, faults.wrap(name, getattr(os, name)))
        yield


async def test_every_step_may_fail(shop: Controller, logs: PublishedLogs, tmp_path: Path) -> None:
    """The disk is full, or answers EIO, at one call after the other."""
    mirror = tmp_path / "mirror"

    async def publish_failing(fail_at: int | None, code: int = 0) -> Faults:
        faults = Faults(fail_at, code)
        with failing(faults):
            await publish(logs, mirror)
        return faults

    shutil.copytree(tmp_path / "old", mirror)
    whole = await publish_failing(None)
    assert set(CALLS) <= set(whole.seen)
    assert verified(mirror, shop) == NEW
    shown = set()
    for step in range(1, whole.count + 1):
        shutil.rmtree(mirror)
        shutil.copytree(tmp_path / "old", mirror)
        with pytest.raises(OSError, match=r"space left|Input/output"):
            await publish_failing(step, errno.ENOSPC if step % 2 else errno.EIO)
        shown.add(verified(mirror, shop))
        await publish(logs, mirror)
        assert verified(mirror, shop) == NEW, step
    assert shown == {OLD, NEW}


@pytest.mark.parametrize(
    ("at", "when", "shown"),
    # Bundle and tile of two tiles of level 0 and one of level 1: five renames, then the checkpoint's.
    [(1, "before", OLD), (3, "after", OLD), (6, "before", OLD), (6, "after", NEW)],
)
async def test_killed_at_a_rename(
    shop: Controller, logs: PublishedLogs, tmp_path: Path, at: int, when: str, shown: int
) -> None:
    mirror = tmp_path / "old"
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLER, str(mirror), str(at), when],
        env=dict(os.environ),
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert verified(mirror, shop) == shown
    await publish(logs, mirror)
    assert verified(mirror, shop) == NEW


async def test_the_checkpoint_is_the_last_thing_written(shop: Controller, logs: PublishedLogs, tmp_path: Path) -> None:
    """Everything it points to is synced before it, its own bytes and name after; only then do partial tiles go."""
    mirror = tmp_path / "old"
    order: list[str] = []
    descriptors: dict[int, str] = {}
    originals = {name: getattr(os, name) for name in ("open", "fsync", "replace", "unlink")}

    def opened(path: Any, *rest: Any) -> int:
        descriptor: int = originals["open"](path, *rest)
        descriptors[descriptor] = str(Path(path).relative_to(mirror)) if Path(path) != mirror else "."
        return descriptor

    def replaced(source: Any, target: Any) -> None:
        originals["replace"](source, target)
        order.append(f"name {Path(target).relative_to(mirror)}")

    def synced(descriptor: int) -> None:
        originals["fsync"](descriptor)
        order.append(f"sync {descriptors[descriptor]}")

    def unlinked(path: Any, *rest: Any, **named: Any) -> None:
        originals["unlink"](path, *rest, **named)
        order.append("unlink")

    with pytest.MonkeyPatch.context() as patch:
        for name, call in (("open", opened), ("replace", replaced), ("fsync", synced), ("unlink", unlinked)):
            patch.setattr(os, name, call)
        await publish(logs, mirror)
    last = order.index("name checkpoint")
    assert order[last - 1] == "sync .publishing"
    assert "sync ." in order[last + 1 :]
    names = [step.removeprefix("name ") for step in order if step.startswith("name ")]
    for name in names[:-1]:
        at = order.index(f"name {name}")
        assert order[at - 1] == "sync .publishing"
        for directory in Path(name).parents:
            assert f"sync {directory}" in order[at:last], (name, directory)
    assert order.index("unlink") > last


async def test_the_database_goes_away_in_the_middle(shop: Controller, logs: PublishedLogs, tmp_path: Path) -> None:
    mirror = tmp_path / "old"
    answered: list[Tile] = []
    original = logs.tile

    async def tile(name: str, wanted: Tile) -> bytes:
        if len(answered) == 3:
            raise ConnectionResetError(errno.ECONNRESET, "gone")
        answered.append(wanted)
        return await original(name, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "tile", tile)
        with pytest.raises(ConnectionResetError):
            await publish(logs, mirror)
    assert verified(mirror, shop) == OLD
    await publish(logs, mirror)
    assert verified(mirror, shop) == NEW


async def test_a_publish_that_failed_waits_for_what_its_threads_still_store() -> None:
    """Else the next try shares its staging file with a thread of the one before."""
    release, stored = threading.Event(), []

    class Tiles:
        async def tile(self, name: str, tile: Tile) -> bytes:
            return b""

    class Disk:
        async def add(self, path: str, content: bytes) -> bool:
            if path.endswith("/000"):
                raise OSError(errno.EIO, "Input/output error")
            await asyncio.to_thread(release.wait)
            stored.append(path)
            return True

    tiles = iter([Tile(0, number) for number in range(5 * AT_ONCE)])
    publishing = asyncio.create_task(_write(cast("PublishedLogs", Tiles()), "shop", cast("Target", Disk()), tiles))
    for _ in range(100):
        await asyncio.sleep(0)  # every turn that it could take, were it not waiting for the threads
    assert not publishing.done()
    release.set()
    with pytest.raises(OSError, match="Input/output"):
        await publishing
    # Those that were on their way, and none after the failure.
    assert len(stored) == AT_ONCE - 1
