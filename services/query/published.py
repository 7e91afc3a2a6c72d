"""What of a log is public: its checkpoint, and the tiles and entries that the checkpoint covers (C2SP tlog-tiles).

Invariant: nothing at or past the size of the last signed checkpoint leaves this module, also where rows hold more.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter

from schemas.errors import NotFound, ProofError, SizeNotPublished
from schemas.log_keys import LogKeys
from schemas.merkle import HASH_BYTES, Node, consistency_path, inclusion_path
from schemas.tiles import ENTRIES, TILE_WIDTH, Tile, encode_bundle, tile_nodes, tile_width
from services.query.log_keys import log_keys
from services.query.store import Reader, Store

# How a log's files are served (tlog-tiles), here and by whoever mirrors them.
TEXT_TYPE: Final = "text/plain; charset=utf-8"
TILE_TYPE: Final = "application/octet-stream"
# The name of a tile says which bytes it holds, for ever; the checkpoint is new every second.
IMMUTABLE: Final = "public, max-age=31536000, immutable"
FRESH: Final = "public, max-age=1"
GZIP_LEVEL: Final = 6

# Tiles and partial tiles of a given width never change; 1,024 of them are at most 8 MiB.
TILES_CACHED_MAX: Final = 1024
LOG_CACHE_S: Final = 60

# As the database's own check; anything else is not worth a question.
_LOG_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

Place = tuple[int, int, int]  # level, tile, width


@dataclass(frozen=True, slots=True)
class Log:
    """A log by its public name."""

    controller: int
    log: int
    name: str
    origin: str
    vkey: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The last published checkpoint: its size, and the signed note verbatim."""

    size: int
    note: str


class PublishedLogs:
    """Reads logs as the public sees them."""

    def __init__(self, store: Store, tiles_read: Counter) -> None:
        self._store = store
        self._tiles_read = tiles_read
        self._logs: dict[str, tuple[float, Log]] = {}
        self._tiles: OrderedDict[tuple[int, int, Place], bytes] = OrderedDict()

    async def log(self, name: str) -> Log:
        """Raises NotFound, also for a log that its ledger has not opened yet."""
        now = time.monotonic()
        cached = self._logs.get(name)
        if cached is not None and now - cached[0] < LOG_CACHE_S:
            return cached[1]
        row = await self._store.log(name) if _LOG_NAME.fullmatch(name) else None
        if row is None or row["vkey"] is None:
            raise NotFound
        log = Log(row["controller"], row["log"], name, row["origin"], row["vkey"])
        self._logs[name] = now, log
        return log

    async def checkpoint(self, name: str) -> Checkpoint:
        """Raises NotFound."""
        log = await self.log(name)
        async with self._store.reading(log.controller) as reader:
            checkpoint = await last_checkpoint(reader, log.log)
        if checkpoint is None:
            raise NotFound
        return checkpoint

    async def keys(self, name: str) -> LogKeys:
        """The chain of the log's keys in time. Raises NotFound, ProofError."""
        log = await self.log(name)
        async with self._store.reading(log.controller) as reader:
            return log_keys(log.name, log.origin, await reader.log_keys(log.log))

    async def tile(self, name: str, tile: Tile) -> bytes:
        """The bytes of one tile or entry bundle. Raises NotFound for any that the last checkpoint does not cover."""
        log = await self.log(name)
        async with self._store.reading(log.controller) as reader:
            checkpoint = await last_checkpoint(reader, log.log)
            level = 0 if tile.level == ENTRIES else tile.level
            if checkpoint is None or tile.width > tile_width(level, tile.n, checkpoint.size):
                raise NotFound
            if tile.level == ENTRIES:
                return await _bundle(reader, log.log, tile)
            tiles = await self._read(reader, log.log, [(level, tile.n, tile.width)])
        return tiles[level, tile.n, tile.width]

    async def inclusion(self, reader: Reader, log: int, index: int, size: int) -> tuple[bytes, ...]:
        """The inclusion path of a leaf in the published tree of that size: at most 5 tiles. Raises ProofError."""
        return await self._path(reader, log, size, lambda node: inclusion_path(index, size, node))

    async def consistency(self, name: str, old: int, new: int) -> tuple[Log, Checkpoint, tuple[bytes, ...]]:
        """The log, its last checkpoint, and the path between two sizes, old <= new.

        Raises NotFound, SizeNotPublished, ProofError.
        """
        log = await self.log(name)
        async with self._store.reading(log.controller) as reader:
            checkpoint = await last_checkpoint(reader, log.log)
            if checkpoint is None:
                raise NotFound
            if new > checkpoint.size:
                raise SizeNotPublished
            path = await self._path(reader, log.log, new, lambda node: consistency_path(old, new, node))
        return log, checkpoint, path

    async def _path(
        self, reader: Reader, log: int, size: int, walk: Callable[[Node], list[bytes]]
    ) -> tuple[bytes, ...]:
        """A path in the published tree of that size, from tiles alone.

        1. Walk once with empty hashes: which tiles are needed does not depend on what they hold; 2. read those that are
        not cached with one statement; 3. walk again.
        """
        needed: list[Place] = []

        def note(level: int, n: int, width: int) -> bytes:
            needed.append((level, n, width))
            return bytes(width * HASH_BYTES)

        walk(tile_nodes(size, note))
        tiles = await self._read(reader, log, needed)
        return tuple(walk(tile_nodes(size, lambda *place: tiles[place])))

    async def _read(self, reader: Reader, log: int, places: Sequence[Place]) -> dict[Place, bytes]:
        """Tiles, from memory or the database. Raises ProofError when one is missing or too short."""
        found: dict[Place, bytes] = {}
        for place in places:
            key = reader.controller, log, place
            if key in self._tiles:
                self._tiles.move_to_end(key)
                found[place] = self._tiles[key]
        self._tiles_read.labels(outcome="memory").inc(len(found))
        missing = [place for place in places if place not in found]
        if missing:
            self._tiles_read.labels(outcome="database").inc(len(missing))
            stored = await reader.tiles(log, missing)
            for place in missing:
                hashes = stored.get(place, b"")
                if len(hashes) != place[2] * HASH_BYTES:
                    raise ProofError("a published tile is missing or too short in the database: run sayso fsck")
                found[place] = self._tiles[reader.controller, log, place] = hashes
            while len(self._tiles) > TILES_CACHED_MAX:
                self._tiles.popitem(last=False)
        return found


async def last_checkpoint(reader: Reader, log: int) -> Checkpoint | None:
    """The last signed checkpoint of a log, None before the first."""
    row = await reader.last_checkpoint(log)
    return None if row is None else Checkpoint(row["size"], row["note"])


async def _bundle(reader: Reader, log: int, tile: Tile) -> bytes:
    first = tile.n * TILE_WIDTH
    entries = await reader.entries(log, first, first + tile.width)
    if len(entries) != tile.width:
        raise ProofError("a published entry is missing in the database: run sayso fsck")
    return encode_bundle(entries)
