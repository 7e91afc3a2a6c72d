"""One log from its raw rows: entries, chain, tiles of every level, then (signed.py) head, checkpoints, high-water mark.

A leaf hash has up to three witnesses: the entry, the level-0 tile, and `prev` of the entry behind it. Where they
differ, the odd one out is the finding and the walk goes on with what the other two say, so that the damage is named
where it lies. Whoever changed all three meets the signed roots.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from schemas.merkle import HASH_BYTES
from schemas.tiles import TILE_LEVELS, TILE_WIDTH, tile_width
from services.ledger.fsck.entries import EntryFormat, prev_of
from services.ledger.fsck.findings import Pace, Report
from services.ledger.fsck.growth import CHUNK, Growth, hash_at
from services.ledger.fsck.signed import SignedStatements
from services.ledger.fsck.snapshot import SeenLog, Snapshot
from services.ledger.store import Row

_NO_LEAF: Final = bytes(HASH_BYTES)


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

    async def run(self, signed: SignedStatements) -> int:
        """Check everything public; return the number of entries this log should have.

        1. Settle the size; 2. chunk by chunk: entries, chain, tiles, checkpoints; 3. the unfinished tiles and tiles
        beyond the tree; 4. the head, and checkpoints beyond it.
        """
        log = self._log
        end = await self._settle_size()
        await signed.check_up_to(0, self._growth.root_at)
        for first in range(0, end, CHUNK):
            last = min(first + CHUNK, end)
            await self._chunk(first, last, end)
            await signed.check_up_to(last, self._growth.root_at)
            self._pace.step(f"{log.name}: entries and tiles", last, end)
        await self._compare(self._growth.unfinished())
        await self._tiles_outside(end)
        await signed.check_head(end, self._growth.root_at(end), self._leaf, self._format.minute)
        return end

    async def _settle_size(self) -> int:
        """The size that two of head, records and tiles agree on; the odd one out is reported here or by the walk."""
        ends = await self._snapshot.ends(self._log)
        records = 0 if ends["last_record"] is None else ends["last_record"] + 1
        tiles = 0 if ends["last_tile"] is None else ends["last_tile"] * TILE_WIDTH + ends["last_width"]
        head = min(records, tiles) if self._log.size is None else self._log.size
        end: int = sorted([records, tiles, head])[1]
        if head != end:
            self._add("log_heads", "size", f"records and tiles end at {end}")
        if records > end:
            self._add("records", f"index {records - 1}", f"there are entries past the end of the log at {end}")
        if ends["first_record"] is not None and ends["first_record"] < 0:
            self._add("records", f"index {ends['first_record']}", "an index is below 0")
        return max(end, 0)

    async def _chunk(self, first: int, last: int, end: int) -> None:
        store, key = self._snapshot.store, (self._log.controller, self._log.log)
        rows = await store.entries(*key, first, last)
        tiles = await store.tiles(*key, [(0, n) for n in range(first // TILE_WIDTH, -(-last // TILE_WIDTH))])
        leaves = self._quick(rows, tiles, first, last)
        if leaves is None:
            leaves = await self._slow(rows, tiles, (first, last, end))
        self._leaf = leaves[-1]
        await self._compare(self._growth.add(leaves))

    def _quick(
        self, rows: list[Row], tiles: Mapping[tuple[int, int], bytes], first: int, last: int
    ) -> list[bytes] | None:
        """The leaf hashes, if every witness of every leaf agrees. A handful of calls and one hash an entry."""
        if len(rows) != last - first:
            return None
        entries = [row["entry"] for row in rows]
        leaves = [sha256(b"\x00" + entry).digest() for entry in entries]
        joined = b"".join(leaves)
        width = TILE_WIDTH * HASH_BYTES
        wanted = {
            (0, (first * HASH_BYTES + at) // width): joined[at : at + width] for at in range(0, len(joined), width)
        }
        if wanted != tiles or not self._format.all_well(entries, first, (self._leaf + joined)[:-HASH_BYTES]):
            return None
        return leaves

    async def _slow(
        self, rows: list[Row], tiles: Mapping[tuple[int, int], bytes], span: tuple[int, int, int]
    ) -> list[bytes]:
        """Name every disagreement in [first, last) and settle each leaf."""
        first, last, end = span
        for number in range(first // TILE_WIDTH, -(-last // TILE_WIDTH)):
            self._check_width(0, number, tiles.get((0, number)), tile_width(0, number, end))
        entries: dict[int, bytes] = {row["index"]: row["entry"] for row in rows}
        behind = await self._snapshot.store.entries(self._log.controller, self._log.log, last, last + 1)
        entries |= {row["index"]: row["entry"] for row in behind}
        leaves = []
        before = self._leaf
        for index in range(first, last):
            entry = entries.get(index)
            problems: list[str] = []
            if entry is None:
                self._add("records", f"index {index}", "the record is missing")
            else:
                problems = self._format.problems(entry, index)
                if prev_of(entry) != before:
                    problems.append("prev is not the leaf hash of the entry before it")
                for what in problems:
                    self._add("records", f"index {index}", what)
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
            self._add(
                "records", f"index {index}", "the entry was changed: its leaf hash is neither in tile nor in chain"
            )
            return tile
        level_0, offset = divmod(index, TILE_WIDTH)
        self._add("tiles", f"level 0, tile {level_0}, offset {offset}", "the hash is not that of the entry")
        return own

    async def _compare(self, tiles: list[tuple[int, int, bytes]]) -> None:
        """Hold recomputed tiles above level 0 against the stored ones."""
        if not tiles:
            return
        wanted = [(level, number) for level, number, _ in tiles]
        stored = await self._snapshot.store.tiles(self._log.controller, self._log.log, wanted)
        for level, number, content in tiles:
            found = stored.get((level, number))
            self._check_width(level, number, found, len(content) // HASH_BYTES)
            for offset in range(len(content) // HASH_BYTES):
                if hash_at(found, offset) not in (None, hash_at(content, offset)):
                    place = f"level {level}, tile {number}, offset {offset}"
                    self._add("tiles", place, "the hash is not that of the subtree below it")
                    break

    def _check_width(self, level: int, number: int, stored: bytes | None, expected: int) -> None:
        place = f"level {level}, tile {number}"
        width = 0 if stored is None else len(stored) // HASH_BYTES
        if stored is None:
            self._add("tiles", place, "the tile is missing")
        elif width < expected or len(stored) % HASH_BYTES:
            self._add("tiles", place, f"the tile does not hold {expected} whole hashes")
        elif width > expected:
            self._add("tiles", place, f"the tile is wider than the log: {width} hashes where {expected} belong")

    async def _tiles_outside(self, end: int) -> None:
        counts: list[int] = []
        while hashes := end >> (TILE_LEVELS * len(counts)):
            counts.append(-(-hashes // TILE_WIDTH))
        for row in await self._snapshot.tiles_outside(self._log, counts):
            self._add("tiles", f"level {row['level']}, tile {row['tile']}", "a log of this size has no such tile")

    def _add(self, table: str, where: str, what: str) -> None:
        self._report.add(table, self._log.name, where, what)
