"""Row 8, whole-log audit: fsck's walk over a log in Postgres, beside SHA-256 over the same leaves and nodes.

The walk reads every entry, tile and checkpoint, and holds format, chain, tree, signatures and head against each other;
the limit hashes what it has in memory already, on one thread. Judged is wall time; both are measured in turn.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from statistics import median
from typing import Any, Final, NamedTuple

import asyncpg
import uvloop

from bench.children import BenchError
from bench.report import Row, Say
from bench.world import BenchDeployment, World
from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.merkle import leaf_hash
from schemas.note import log_key
from schemas.record import NO_PREVIOUS, entry_bytes
from services.keys import make_secret, signing_key
from services.ledger.fsck.findings import Pace
from services.ledger.fsck.stages import Stage, Stages
from services.ledger.high_water import HighWater
from services.ledger.store import Store
from services.ledger.tree import TreeEdge

# A ledger signs about once a second.
ENTRIES_A_CHECKPOINT: Final = 1000
ORIGIN: Final = "log.example/logs/shop"
MINUTE: Final = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class _Cost(NamedTuple):
    """Seconds of wall time and of this process's CPU."""

    wall: float
    cpu: float


def measure(world: World, say: Say, *, entries: int, rounds: int) -> Row:
    ours: list[_Cost] = []
    limits: list[_Cost] = []
    with world.deployment() as deployment:
        log = asyncio.run(_fill(deployment, entries))
        for number in range(rounds):
            limits.append(_limit(log))
            ours.append(uvloop.run(_audit(deployment)))
            say(
                f"audit, {number + 1}/{rounds}: {entries / ours[-1].wall:,.0f} entries/s, "
                f"SHA-256 {entries / limits[-1].wall:,.0f} entries/s"
            )
    wall, limit = median(c.wall for c in ours), median(c.wall for c in limits)
    return Row(
        number=8,
        what="whole-log audit",
        measured=f"{entries / wall:,.0f} entries/s",
        beside=f"SHA-256 {entries / limit:,.0f} entries/s",
        ratio=limit / wall,
        at_least=0.30,
        details={
            "entries": entries,
            "bytes": sum(map(len, log)),
            "audit s": [c._asdict() for c in ours],
            "sha-256 s": [c._asdict() for c in limits],
            "cpu ratio": median(c.cpu for c in limits) / median(c.cpu for c in ours),
        },
    )


def _limit(log: Sequence[bytes]) -> _Cost:
    """Hash every leaf and every node once."""
    wall, cpu = time.perf_counter(), time.process_time()
    row = [sha256(b"\x00" + entry).digest() for entry in log]
    while len(row) > 1:
        above = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)]
        row = above + row[len(row) & ~1 :]
    return _Cost(time.perf_counter() - wall, time.process_time() - cpu)


async def _audit(deployment: BenchDeployment) -> _Cost:
    connection = await asyncpg.connect(deployment.database.dsn())
    try:
        stages = Stages(connection, _settings(deployment))
        stage = Stage("log", deployment.controller, "shop", deployment.log, "shop")
        wall, cpu = time.perf_counter(), time.process_time()
        kept = await stages.run(stage, None, Pace(lambda *_: None), lambda _: None)
        cost = _Cost(time.perf_counter() - wall, time.process_time() - cpu)
    finally:
        await connection.close()
    if kept["report"]["findings"]:
        raise BenchError(f"the audit found something in an undamaged log: {kept['report']['findings'][0]}")
    return cost


def _settings(deployment: BenchDeployment) -> Any:
    return deployment.settings(high_water_dir=deployment.world.directory / f"high-water-{deployment.database.name}")


async def _fill(deployment: BenchDeployment, count: int) -> list[bytes]:
    """Write a whole signed log, as a ledger would have left it; its entries."""
    entries: list[bytes] = []
    leaves: list[bytes] = []
    prev = NO_PREVIOUS
    for index in range(count):
        entries.append(
            entry_bytes(
                log=ORIGIN,
                index=index,
                prev=prev,
                ref=os.urandom(16).hex(),
                entry_class="consent",
                recorded_at="2026-11-22T10:00:00Z",
                commitment=hashlib.sha256(b"%d" % index).hexdigest(),
                notice=deployment.notice.sha256,
            )
        )
        leaves.append(leaf_hash(entries[-1]))
        prev = leaves[-1].hex()
    connection = await asyncpg.connect(deployment.database.dsn())
    try:
        await _write(connection, deployment, entries, leaves)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return entries


async def _write(
    connection: "asyncpg.Connection[asyncpg.Record]",
    deployment: BenchDeployment,
    entries: Sequence[bytes],
    leaves: Sequence[bytes],
) -> None:
    key_file = deployment.keys / "ledger" / "logs" / "shop.key"
    make_secret(key_file)
    key, store, place = signing_key(key_file), Store(connection), (deployment.controller, deployment.log)
    await store.publish_vkey(*place, str(log_key(ORIGIN, key)), "file:shop.key")
    edge, tiles, notes = TreeEdge.empty(), {}, []
    for first in range(0, len(leaves) + 1, ENTRIES_A_CHECKPOINT):
        checkpoint = Checkpoint(ORIGIN, edge.size, edge.root())
        notes.append((*place, checkpoint.size, checkpoint.root, signed_checkpoint(checkpoint, key)))
        appended = edge.append(leaves[first : first + ENTRIES_A_CHECKPOINT])
        edge = appended.edge
        tiles.update(appended.tiles)
    written: dict[str, list[tuple[Any, ...]]] = {
        "records": [(*place, index, entry) for index, entry in enumerate(entries)],
        "tiles": [(*place, *tile, hashes) for tile, hashes in tiles.items()],
        "checkpoints": [(*note, MINUTE) for note in notes],
        "log_heads": [(*place, edge.size, edge.root(), leaves[-1], MINUTE, checkpoint.size, checkpoint.size)],
    }
    for table, rows in written.items():
        await connection.copy_records_to_table(table, records=rows)
    HighWater(_settings(deployment).high_water_dir).raise_to(checkpoint)
