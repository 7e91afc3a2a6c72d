"""Append to logs inside one transaction: the fence, the chain, the tree, the rows. Used by batches and by the ledger's
own records.

Invariant: whoever holds the row lock of a head is the one writer of that log, and appends to the tree that the head's
root says. The locks, in this order: heads by (controller, log), subjects by id.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

import orjson

from schemas.errors import LedgerHalted
from schemas.topics import RECORDS_TOPIC
from services.keys import ControllerKeys
from services.ledger.chain import Chained, Head, chain
from services.ledger.opening import Opened
from services.ledger.registry import Log
from services.ledger.store import Row, Store
from services.ledger.subjects import Resolved, resolve
from services.ledger.tree import TreeEdge, edge_tiles
from services.ledger.writes import Writes
from services.postgres import PooledConnection

LogId = tuple[int, int]

# Events chained before the connection gets a turn to send what is written already.
CHAIN_AT_ONCE: Final = 64


class LogNotOpen(Exception):
    """A message for a log that has no head yet; open the logs and do the batch again."""


class LogClosed(Exception):
    """A message for a log that takes no more records: look again where it belongs, and open the message anew."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A cached tree edge with the root that the head must have for it to be used."""

    edge: TreeEdge
    root: bytes


class Appending:
    """The appends of one transaction; made anew for each attempt."""

    def __init__(
        self,
        connection: PooledConnection,
        keys: ControllerKeys,
        edges: Mapping[LogId, Edge],
        signed_sizes: Mapping[str, int],
        *,
        announce: bool,
    ) -> None:
        """`edges` are cached from committed transactions; `signed_sizes` is the high-water mark by origin."""
        self.store = Store(connection)
        self._keys = keys
        self._signed_sizes = signed_sizes
        self._announce = announce
        self.heads: dict[LogId, Head] = {}
        self.edges: dict[LogId, Edge] = dict(edges)

    async def lock_heads(self, logs: Iterable[Log], *, to_begin: bool = False) -> None:
        """Become the one writer of these logs. Raises LogNotOpen, LogClosed, LedgerHalted.

        A successor log is open once its first entries are there; with `to_begin` the caller is about to write them.
        """
        by_id = {(log.controller, log.log): log for log in logs}
        if not by_id:
            return
        for row in await self.store.lock_heads(sorted(by_id)):
            key = row["controller"], row["log"]
            if row["size"] < self._signed_sizes.get(by_id[key].origin, 0):
                raise LedgerHalted(
                    f"log {by_id[key].name} has {row['size']} records, but more were signed: the database was restored "
                    "or failed over to a lagging copy; see docs/operations.md, 'The ledger halted'"
                )
            if by_id[key].follows and row["size"] == 0 and not to_begin:
                raise LogNotOpen
            self.heads[key] = Head(row["size"], row["prev"], row["recorded_at"])
            cached = self.edges.get(key)
            # The fence: somebody else appended since, so what we remember of the tree is void.
            if cached is None or cached.edge.size != row["size"] or cached.root != row["root"]:
                self.edges[key] = await self._load_edge(key, row)
        if len(self.heads) < len(by_id):
            raise LogNotOpen
        # Asked behind the lock, which whoever closes a log holds too: what we know of the logs may be old.
        if await self.store.any_closed(sorted(by_id)):
            raise LogClosed

    async def _load_edge(self, key: LogId, head: Row) -> Edge:
        wanted = [(level, tile) for level, tile, _ in edge_tiles(head["size"])]
        edge = TreeEdge.from_tiles(head["size"], await self.store.tiles(*key, wanted))
        if edge.root() != head["root"]:
            raise LedgerHalted("the stored tiles do not make the root in the head of a log: run sayso fsck")
        return Edge(edge, head["root"])

    async def write(self, events: Sequence[Opened]) -> Resolved:
        """Resolve the subjects of events of one controller and append them to their logs, whose heads are locked.

        Returns the subjects. Raises SubjectVanished.
        """
        # (4) Resolve subjects, lock them, make keys.
        resolved = await resolve(self.store, self._keys, events[0].log, events)
        async with Writes() as writes:
            self.put_subjects(resolved, writes)
            await self.put_appends(events, resolved, writes)
        return resolved

    def put_subjects(self, resolved: Resolved, writes: Writes) -> None:
        """The rows of new subjects."""
        writes.put(lambda: self.store.copy_subjects(resolved.new_subjects))
        writes.put(lambda: self.store.copy_identifiers(resolved.new_identifiers))

    async def put_appends(self, events: Sequence[Opened], resolved: Resolved, writes: Writes) -> None:
        """(5) and (6) Build and write, log by log: the chain is the log's, the subjects are the controller's."""
        for _, group in groupby(sorted(events, key=lambda o: o.log.log), key=lambda o: o.log.log):
            await self._append(list(group), resolved, writes)

    async def _append(self, events: list[Opened], resolved: Resolved, writes: Writes) -> None:
        log, store = events[0].log, self.store
        key = log.controller, log.log
        standing, now = self.heads[key], datetime.now(UTC)
        chained = Chained(Head(standing.size, standing.prev, standing.recorded_at))
        for start in range(0, len(events), CHAIN_AT_ONCE):
            # Let the writes go on.
            await asyncio.sleep(0)
            chain(log, chained, [(o, resolved.of(o)) for o in events[start : start + CHAIN_AT_ONCE]], now)
        appended = self.edges[key].edge.append(chained.leaves)
        head = chained.head
        writes.put(lambda: store.copy_records(chained.records))
        writes.put(lambda: store.copy_payloads(chained.payloads))
        writes.put(lambda: store.copy_dedupe(chained.dedupe))
        moved = head.size, appended.root, head.prev, head.recorded_at
        announcement = (RECORDS_TOPIC, log.name, _places(log, standing.size, events)) if self._announce else None
        writes.put(lambda: store.append(key, moved, appended.tiles, announcement))
        await asyncio.sleep(0)
        self.heads[key] = head
        self.edges[key] = Edge(appended.edge, appended.root)


def _places(log: Log, first: int, events: Sequence[Opened]) -> bytes:
    """The message on sayso.records.v1: which event went where."""
    places = [{"id": opened.what["id"], "index": index} for index, opened in enumerate(events, first)]
    return orjson.dumps({"log": log.origin, "events": places})
