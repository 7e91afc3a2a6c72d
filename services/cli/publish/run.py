"""One pass from the log to its mirror, and passes for ever (`--follow`). Reads as the role sayso_query.

Invariant: the checkpoint is the last thing written, so at every moment, also after a kill, the mirror verifies at the
checkpoint it shows; a checkpoint is never replaced by one that does not continue it.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg
from prometheus_client import CollectorRegistry

from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import ConfigurationError, LogForked, MirrorAway, NotFound, ProofError
from schemas.merkle import verify_consistency
from schemas.mirror import CHECKPOINT_FILE, KEYS_FILE
from schemas.strict_json import write_json
from schemas.tiles import ENTRIES, TILE_LEVELS, TILE_WIDTH, Tile, tile_width
from services.cli.admin import ADMIN_URL, SERVICE_URL
from services.cli.publish.directory import DirectoryTarget
from services.cli.publish.target import Target
from services.observability import counter
from services.postgres import DATABASE_AWAY, create_pool
from services.query.log_keys import signer_of
from services.query.published import PublishedLogs
from services.query.store import Store

FOLLOW_EVERY_S: Final = 1
AWAY_PAUSE_S: Final = 5
# Files under way at once: a bucket answers in tens of milliseconds.
AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass did: the size now shown, and how many files it wrote (checkpoint and keys not counted)."""

    size: int
    written: int
    checkpoint_replaced: bool


async def publish_once(logs: PublishedLogs, name: str, target: Target) -> Pass:
    """Bring the mirror to the log's last checkpoint.

    Raises NotFound; LogForked, ProofError when mirror and log contradict each other, having changed nothing that a
    reader of the mirror relies on; MirrorAway, ConfigurationError, OSError from the target.
    """
    # 1. What is shown now, and what shall be: both signed by this log, the second continuing the first.
    log = await logs.log(name)
    last = await logs.checkpoint(name)
    chain = await logs.keys(name)
    keys = [key.vkey for key in chain.keys]
    newer = open_checkpoint(last.note, log.origin, keys)
    seen = await target.get(CHECKPOINT_FILE)
    older = None
    if seen is not None:
        older = open_checkpoint(seen, log.origin, keys)
        await _continues(logs, name, older, newer)
    # 2. The bundles and tiles that the newer one covers and the older one does not. A crash here leaves files that the
    #    shown checkpoint does not cover; the next pass finds them there.
    old_size = 0 if older is None else older.size
    written = await _write(logs, name, target, _new_tiles(old_size, newer.size))
    signer = signer_of(chain, last.note, newer.size)
    for path, content in (("vkey", f"{signer}\n".encode()), (KEYS_FILE, write_json(chain.document()))):
        if await target.get(path) != content:
            await target.put(path, content)
    # 3. All of it durable, before anything points to it.
    await target.settle()
    # 4. The checkpoint, in one step. Of the same size it may have gained cosignatures.
    note = last.note.encode()
    if note != seen:
        await target.replace(CHECKPOINT_FILE, note, seen)
    # 5. Partial tiles that are full now may go (tlog-tiles): a reader who finds none takes the full one. A crash before
    #    this leaves them, which hurts nobody.
    for tile in _filled(old_size, newer.size):
        await target.discard(f"{tile.path()}.p")
    return Pass(newer.size, written, note != seen)


async def _continues(logs: PublishedLogs, name: str, older: Checkpoint, newer: Checkpoint) -> None:
    """Raise unless the mirror's checkpoint is one that the log's continues."""
    if older.size > newer.size:
        raise ProofError(
            f"the mirror shows size {older.size}, the log {newer.size}: the database was restored from an older state; "
            "leave the mirror as it is and see docs/operations.md, 'The ledger halted'"
        )
    _, _, path = await logs.consistency(name, older.size, newer.size)
    try:
        verify_consistency(older.size, newer.size, path, older.root, newer.root)
    except ProofError as error:
        raise LogForked(
            f"the log at size {newer.size} does not continue what the mirror shows at size {older.size}: keep the "
            "mirror as evidence, and run sayso fsck"
        ) from error


def _new_tiles(old_size: int, new_size: int) -> Iterator[Tile]:
    """Tiles and bundles of a log of `new_size` that one of `old_size` does not have at the same width."""
    level = 0
    while new_size >> (TILE_LEVELS * level):
        first = (old_size >> (TILE_LEVELS * level)) // TILE_WIDTH
        end = -(-(new_size >> (TILE_LEVELS * level)) // TILE_WIDTH)
        for n in range(first, end):
            width = tile_width(level, n, new_size)
            if width != tile_width(level, n, old_size):
                if level == 0:
                    yield Tile(ENTRIES, n, width)
                yield Tile(level, n, width)
        level += 1


def _filled(old_size: int, new_size: int) -> Iterator[Tile]:
    """Full tiles that had partial ones at the size before."""
    level = 0
    while old_size >> (TILE_LEVELS * level):
        n, partial = divmod(old_size >> (TILE_LEVELS * level), TILE_WIDTH)
        if partial and tile_width(level, n, new_size) == TILE_WIDTH:
            yield Tile(level, n)
            if level == 0:
                yield Tile(ENTRIES, n)
        level += 1


async def _write(logs: PublishedLogs, name: str, target: Target, tiles: Iterator[Tile]) -> int:
    """Read and store the tiles, a few at once; how many were not there yet."""
    written = 0
    failed = False

    async def work() -> None:
        nonlocal written
        # The iterator is shared: each worker takes the next tile that nobody has.
        for tile in tiles:
            if failed:
                return
            new = await target.add(tile.path(), await logs.tile(name, tile))
            written += new

    workers = [asyncio.create_task(work()) for _ in range(AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    except Exception:
        # A thread that stores a file cannot be cancelled: each ends with the tile it has, before anybody tries again.
        failed = True
        await asyncio.gather(*workers, return_exceptions=True)
        raise
    return written


# --- the command ----------------------------------------------------------------------------------------------


async def run_publish(name: str, place: str, *, follow: bool) -> None:
    """Mirror the log once, or until Ctrl-C or SIGTERM. Raises what `publish_once` raises, but what passes by itself."""
    target = target_of(place)
    async with reading_logs() as logs:
        try:
            await target.open()
            done = await _pass(logs, name, target)
            print(f"{name}: size {done.size} is mirrored, {done.written} files were new.", flush=True)
            if follow:
                await _follow(logs, name, target)
        finally:
            await target.close()


async def _follow(logs: PublishedLogs, name: str, target: Target) -> None:
    following = asyncio.create_task(_passes(logs, name, target))
    for number in (signal.SIGINT, signal.SIGTERM):
        # At any point: what is shown verifies, and the next publish goes on from there.
        asyncio.get_running_loop().add_signal_handler(number, following.cancel)
    with suppress(asyncio.CancelledError):
        await following


async def _passes(logs: PublishedLogs, name: str, target: Target) -> None:
    while True:
        await asyncio.sleep(FOLLOW_EVERY_S)
        try:
            done = await _pass(logs, name, target)
        except (*DATABASE_AWAY, MirrorAway) as error:
            print(f"{name}: away ({type(error).__name__}), the mirror stays as it is.", flush=True)
            await asyncio.sleep(AWAY_PAUSE_S)
            continue
        if done.checkpoint_replaced:
            print(f"{name}: size {done.size}, {done.written} files were new.", flush=True)


async def _pass(logs: PublishedLogs, name: str, target: Target) -> Pass:
    try:
        return await publish_once(logs, name, target)
    except NotFound:
        raise ConfigurationError(f"no log {name} with a checkpoint: sayso site list names the logs") from None


def target_of(place: str) -> Target:
    """The place a mirror is written to: a directory, or s3://bucket/prefix. Raises ConfigurationError."""
    address = urlsplit(place)
    if not address.scheme:
        return DirectoryTarget(Path(place))
    if address.scheme != "s3" or not address.netloc:
        raise ConfigurationError("mirror to a directory or to s3://BUCKET/PREFIX")
    try:
        from services.cli.publish.bucket import BucketTarget
    except ModuleNotFoundError:
        raise ConfigurationError("a bucket needs the extra aws: pip install 'sayso[aws,query]'") from None
    return BucketTarget(address.netloc, address.path.strip("/"))


@asynccontextmanager
async def reading_logs() -> AsyncIterator[PublishedLogs]:
    """The logs as query publishes them, from the configured database. Raises ConfigurationError."""
    dsn = os.environ.get(SERVICE_URL) or os.environ.get(ADMIN_URL)
    if not dsn:
        raise ConfigurationError(f"set {SERVICE_URL} to query's login; for `sayso up`, type:  . .sayso/sayso.env")
    try:
        pool = await create_pool(dsn, role="sayso_query", size=AT_ONCE, application="sayso publish")
    except (asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError):
        raise ConfigurationError("this login may not act as sayso_query: use query's") from None
    except (*DATABASE_AWAY, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise ConfigurationError(f"the database does not let us in ({type(error).__name__})") from None
    async with pool:
        reads = counter(CollectorRegistry(), "sayso_publish_tiles_total", "Hash tiles read", ("outcome",))
        yield PublishedLogs(Store(pool), reads)
