"""One log from its raw rows: entries, chain, tiles of every level, then (signed.py) head, checkpoints, high-water mark.

A leaf hash has up to three witnesses: the entry, the level-0 tile, and `prev` of the entry behind it. Where they
differ, the odd one out is the finding and the walk goes on with what the other two say, so that the damage is named
where it lies. Whoever changed all three meets the signed roots.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from hashlib import sha256
from typing import Any, Final

from schemas.errors import ProofError
from schemas.merkle import HASH_BYTES
from schemas.record import read_entry
from schemas.tiles import TILE_LEVELS, TILE_WIDTH, tile_width
from services.ledger.fsck.entries import EntryFormat, prev_of
from services.ledger.fsck.findings import Pace, Report
from services.ledger.fsck.growth import CHUNK, Growth, hash_at
from services.ledger.fsck.signed import SignedStatements
from services.ledger.fsck.snapshot import Chunk, SeenLog, Snapshot

_NO_LEAF: Final = bytes(HASH_BYTES)
_TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES

# Takes what a run that is killed can go on from.
Remember = Callable[[Mapping[str, Any]], None]


async def settled_size(snapshot: Snapshot, log: SeenLog) -> tuple[int, dict[str, int]]:
    """The size that two of head, records and tiles agree on, and what each of the three says by itself."""
    ends = await snapshot.ends(log)
    records = 0 if ends["last_record"] is None else ends["last_record"] + 1
    tiles = 0 if ends["last_tile"] is None else ends["last_tile"] * TILE_WIDTH + ends["last_width"]
    head = min(records, tiles) if log.size is None else log.size
    end: int = sorted([records, tiles, head])[1]
    return max(end, 0), {"records": records, "head": head, "first": ends["first_record"] or 0, "end": end}


class LogWalk:
    """Walks one log once, in chunks; memory does not grow with the log."""

    def __init__(
        self, snapshot: Snapshot, log: SeenLog, known_notices: frozenset[str], report: Report, pace: Pace
    ) -> None:
        """`known_notices`: hashes in hex that an entry may name."""
        self._snapshot = snapshot
        self._log = log
        self._report = report
        self._pace = pace
        self._format = EntryFormat(log.origin, known_notices)
        self._growth = Growth()
        # The accepted hash of the last leaf.
        self._leaf = _NO_LEAF

    async def run(self, signed: SignedStatements, begun: Mapping[str, Any] | None, remember: Remember) -> int:
        """Check everything public; return the number of entries this log should have.

        `begun` is what an earlier run remembered of this walk. 1. Settle the size; 2. chunk by chunk: entries, chain,
        tiles, checkpoints; 3. the unfinished tiles and tiles beyond the tree; 4. the head, and checkpoints beyond it.
        """
        log = self._log
        end = await self._settle_size()
        if begun is None:
            await signed.begin(self._growth.root_at)
            await self._check_follows(end)
        else:
            self._go_on(begun, signed)
        async with aclosing(self._chunks(self._growth.size, end)) as chunks:
            async for first, last, chunk in chunks:
                await self._chunk(chunk, (first, last, end))
                signed.check(chunk.checkpoints, last, self._growth.root_at)
                is_due = self._pace.step(f"{log.name}: entries and tiles", last, end)
                # Below the signed size nothing is added any more.
                if is_due and last - first == CHUNK and last <= (log.signed_size or 0):
                    remember(self._remembered(signed))
        await self._compare(self._growth.unfinished())
        await self._tiles_outside(end)
        await signed.check_head(end, self._growth.root_at(end), self._leaf, self._format.minute)
        return end

    def _remembered(self, signed: SignedStatements) -> dict[str, Any]:
        return {
            "growth": self._growth.as_json(),
            "leaf": self._leaf.hex(),
            "minute": self._format.minute_text,
            "good": signed.good,
            "report": self._report.as_json(),
        }

    def _go_on(self, begun: Mapping[str, Any], signed: SignedStatements) -> None:
        self._growth = Growth.from_json(begun["growth"])
        self._leaf = bytes.fromhex(begun["leaf"])
        self._format.go_on_after(begun["minute"])
        signed.go_on_after(self._growth.size, begun["good"])
        self._report.merge(begun["report"])

    async def _settle_size(self) -> int:
        """The size of the log; the odd one out of head, records and tiles is reported here or by the walk."""
        size, said = await settled_size(self._snapshot, self._log)
        end, records = said["end"], said["records"]
        if said["head"] != end:
            self._add("log_heads", "size", f"records and tiles end at {end}")
        if records > end:
            self._at(records - 1, "there are entries past the end of the log")
        if said["first"] < 0:
            self._at(said["first"], "an index is below 0")
        return size

    async def _check_follows(self, end: int) -> None:
        """A successor log's first entry says which log it follows, and no other log's does."""
        log = self._log
        if end == 0:
            return
        rows = await self._snapshot.entries(log, 0, 1)
        try:
            said = read_entry(rows[0]["entry"]).get("follows") if rows else None
        except ProofError:
            # Reported by the walk.
            return
        follows = None
        if log.follows_size is not None and log.follows_root is not None:
            follows = {"log": log.follows_origin, "root": log.follows_root.hex(), "size": log.follows_size}
        if rows and said != follows:
            self._add("logs", "follows", "the first entry does not name the same log, size and root")

    async def _chunks(self, first: int, end: int) -> AsyncGenerator[tuple[int, int, Chunk], None]:
        """(first, last, chunk) to the end; while one is hashed here, Postgres puts the next one together."""
        ahead: asyncio.Task[Chunk] | None = None
        try:
            while first < end:
                last = min(first + CHUNK, end)
                chunk = await (ahead or self._snapshot.chunk(self._log, first, last))
                ahead = None
                if last < end:
                    ahead = asyncio.create_task(self._snapshot.chunk(self._log, last, min(last + CHUNK, end)))
                    # One turn of the loop sends it.
                    await asyncio.sleep(0)
                yield first, last, chunk
                first = last
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.wait([ahead])

    async def _chunk(self, chunk: Chunk, span: tuple[int, int, int]) -> None:
        leaves = self._quick(chunk, *span[:2])
        if leaves is None:
            leaves = await self._slow(chunk.tiles, span)
        self._leaf = leaves[-1]
        await self._compare(self._growth.add(leaves))

    def _quick(self, chunk: Chunk, first: int, last: int) -> list[bytes] | None:
        """The leaf hashes, if every witness of every leaf agrees. A handful of calls and one hash an entry."""
        if (chunk.records, chunk.first, chunk.last) != (last - first, first, last - 1):
            return None
        entries = chunk.lines.split(b"\n")
        if len(entries) != last - first:
            return None
        leaves = [sha256(b"\x00" + entry).digest() for entry in entries]
        joined = b"".join(leaves)
        wanted = {
            (0, (first + at // HASH_BYTES) // TILE_WIDTH): joined[at : at + _TILE_BYTES]
            for at in range(0, len(joined), _TILE_BYTES)
        }
        prevs = (self._leaf + joined)[:-HASH_BYTES]
        if wanted != chunk.tiles or not self._format.all_well(chunk.lines, last - first, first, prevs):
            return None
        return leaves

    async def _slow(self, tiles: Mapping[tuple[int, int], bytes], span: tuple[int, int, int]) -> list[bytes]:
        """Name every disagreement in [first, last) and settle each leaf."""
        first, last, end = span
        for number in range(first // TILE_WIDTH, -(-last // TILE_WIDTH)):
            self._check_width(0, number, tiles.get((0, number)), tile_width(0, number, end))
        rows = await self._snapshot.entries(self._log, first, last + 1)
        entries: dict[int, bytes] = {row["index"]: row["entry"] for row in rows}
        leaves = []
        before = self._leaf
        for index in range(first, last):
            entry = entries.get(index)
            problems: list[str] = []
            if entry is None:
                self._at(index, "the record is missing")
            else:
                problems = self._format.problems(entry, index)
                if prev_of(entry) != before:
                    problems.append("prev is not the leaf hash of the entry before it")
                for what in problems:
                    self._at(index, what)
            following = self._log.prev if index + 1 == end else prev_of(entries.get(index + 1))
            tile, offset = divmod(index, TILE_WIDTH)
            before = self._settle_leaf(
                index, entry, hash_at(tiles.get((0, tile)), offset), following, is_well=not problems
            )
            leaves.append(before)
        return leaves

    def _settle_leaf(
        self, index: int, entry: bytes | None, tile: bytes | None, following: bytes | None, *, is_well: bool
    ) -> bytes:
        """The hash that most witnesses give, the tile's if all differ and the entry is not even well by itself.

        `following` is prev of the entry behind, which is checked there.
        """
        if entry is None:
            return tile or following or _NO_LEAF
        own = sha256(b"\x00" + entry).digest()
        if tile is None or tile == own:
            return own
        if tile == following or (own != following and not is_well):
            self._at(index, "the entry was changed: its leaf hash is neither in tile nor in chain")
            return tile
        self._in_tile(0, *divmod(index, TILE_WIDTH), "the hash is not that of the entry")
        return own

    async def _compare(self, tiles: list[tuple[int, int, bytes]]) -> None:
        """Hold recomputed tiles above level 0 against the stored ones."""
        if not tiles:
            return
        wanted = [(level, number) for level, number, _ in tiles]
        stored = await self._snapshot.tiles(self._log, wanted)
        for level, number, content in tiles:
            found = stored.get((level, number))
            self._check_width(level, number, found, len(content) // HASH_BYTES)
            for offset in range(len(content) // HASH_BYTES):
                if hash_at(found, offset) not in (None, hash_at(content, offset)):
                    self._in_tile(level, number, offset, "the hash is not that of the subtree below it")
                    break

    def _check_width(self, level: int, number: int, stored: bytes | None, expected: int) -> None:
        width = 0 if stored is None else len(stored) // HASH_BYTES
        if stored is None:
            self._in_tile(level, number, None, "the tile is missing")
        elif width < expected or len(stored) % HASH_BYTES:
            self._in_tile(level, number, None, f"the tile does not hold {expected} whole hashes")
        elif width > expected:
            what = f"the tile is wider than the log: {width} hashes where {expected} belong"
            self._in_tile(level, number, None, what)

    async def _tiles_outside(self, end: int) -> None:
        counts: list[int] = []
        while hashes := end >> (TILE_LEVELS * len(counts)):
            counts.append(-(-hashes // TILE_WIDTH))
        for row in await self._snapshot.tiles_outside(self._log, counts):
            self._in_tile(row["level"], row["tile"], None, "a log of this size has no such tile")

    def _at(self, index: int, what: str) -> None:
        self._report.add("records", self._log.name, f"index {index}", what, index=index)

    def _in_tile(self, level: int, number: int, offset: int | None, what: str) -> None:
        """`offset` None: the whole tile. The first record that the hash is over stands beside it."""
        where = f"level {level}, tile {number}" + ("" if offset is None else f", offset {offset}")
        first = (number * TILE_WIDTH + (offset or 0)) << (TILE_LEVELS * level)
        self._report.add("tiles", self._log.name, where, what, index=first)

    def _add(self, table: str, where: str, what: str) -> None:
        self._report.add(table, self._log.name, where, what)
