"""The limit of row 3: COPY of rows that are there already, committed after each batch; nothing else.

`python -m bench.copying DSN FILE`: load the batches, connect, say ready, wait for a line, copy, print what it took.
"""

import asyncio
import json
import pickle
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop

# Table -> columns, in the order in which the ledger writes them.
TABLES: Final = {
    "subjects": ("controller", "subject", "wrapped_key", "key_epoch", "log"),
    "identifiers": ("controller", "identifier", "subject"),
    "records": ("controller", "log", "index", "entry"),
    "payloads": ("controller", "log", "index", "subject", "nonce", "who", "what", "context"),
    "dedupe": ("controller", "event", "log", "index", "content", "received_at"),
    "tiles": ("controller", "log", "level", "tile", "hashes"),
    "consent_state": ("controller", "subject", "purpose", "legal_basis", "decision", "rank", "event"),
}
# Where a row stands in time: the index of the record that it came with.
_INDEX: Final = {
    "subjects": "(SELECT min(p.index) FROM payloads p WHERE p.subject = t.subject)",
    "identifiers": "(SELECT min(p.index) FROM payloads p WHERE p.subject = t.subject)",
    "consent_state": "(SELECT min(p.index) FROM payloads p WHERE p.subject = t.subject)",
    "tiles": "least((t.tile + 1) * (256 ^ (t.level + 1))::bigint, (SELECT size FROM log_heads)) - 1",
}

Rows = list[tuple[Any, ...]]
RowBatch = Mapping[str, Rows]


async def rows_of(dsn: str, batch: int) -> list[RowBatch]:
    """What a ledger left in a database, cut into batches of that many records."""
    connection = await asyncpg.connect(dsn)
    try:
        size = await connection.fetchval("SELECT size FROM log_heads")
        batches: list[dict[str, Rows]] = [{table: [] for table in TABLES} for _ in range(-(-size // batch))]
        for table, columns in TABLES.items():
            at = _INDEX.get(table, "t.index")
            names = ", ".join(f"t.{column}" for column in columns)
            for row in await connection.fetch(f"SELECT {at} AS at, {names} FROM {table} t ORDER BY at"):  # noqa: S608 - names of ours
                batches[row["at"] // batch][table].append(tuple(row)[1:])
    finally:
        await connection.close()
    return list(batches)


async def copy(dsn: str, batches: Sequence[RowBatch]) -> float:
    """Copy them in as the ledger's role, one transaction a batch; the seconds it took."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET ROLE sayso_ledger")
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    started = time.perf_counter()
    for batch in batches:
        async with connection.transaction():
            for table, rows in batch.items():
                if rows:
                    await connection.copy_records_to_table(table, columns=TABLES[table], records=rows)
    return time.perf_counter() - started


def main() -> None:
    dsn, file = sys.argv[1:]
    batches: list[RowBatch] = pickle.loads(Path(file).read_bytes())  # noqa: S301 - written by the bench itself a moment ago
    seconds = uvloop.run(copy(dsn, batches))
    print(json.dumps({"s": seconds}), flush=True)
    # Until the parent has read what this process cost: it goes with the process.
    sys.stdin.read()


if __name__ == "__main__":
    main()
