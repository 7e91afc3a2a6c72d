"""A successor log: how a deployment goes on when the newest state of a log is lost for good.

Invariant: nothing is ever signed again for the origin that was lost; the successor has an origin and a key of its own,
and its first entry names the last checkpoint of the old log that is known outside. So two roots for one size are never
signed.
"""

import asyncio
from pathlib import Path

import asyncpg

from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import ConfigurationError, ProofError
from schemas.note import parse_verifier_key
from services.ledger.high_water import HighWater
from services.ledger.store import Row
from services.postgres import Connection, PooledConnection, named_queries

_SQL = named_queries(Path(__file__).parent / "sql" / "successor.sql")


async def succeed(
    connection: Connection | PooledConnection,
    high_water: HighWater,
    name: str,
    successor: str,
    origin: str,
    note: str | None,
) -> Checkpoint:
    """Let the new log `successor` (with `origin`) take over from the log `name`; the checkpoint that it follows.

    `connection` has the role sayso_ledger. `note` is the newest checkpoint that somebody outside has kept, if it is
    newer than our own mark. Raises ConfigurationError.
    1. What is the last that was signed; 2. make the new log, close the old one, move its sites, in one transaction;
    3. close the old mark. A crash between (2) and (3) leaves all ledgers halted: give the same command again.
    """
    row = await connection.fetchrow(_SQL["log_to_close"], name)
    if row is None or row["is_erased"]:
        raise ConfigurationError(f"there is no log {name} to take over from: see `sayso site list`")
    if row["successor"] not in (None, successor):
        raise ConfigurationError(f"the log {name} has the successor {row['successor']}: see `sayso site list`")
    last = await asyncio.to_thread(_last_known, high_water, row, note)
    if row["successor"] is None:
        try:
            async with connection.transaction():
                # Whoever records holds this lock and then looks whether the log is closed.
                await connection.execute(_SQL["lock_head"], row["controller"], row["log"])
                await connection.execute(
                    _SQL["succeed"], row["controller"], row["log"], successor, origin, last.size, last.root
                )
        except asyncpg.UniqueViolationError:
            raise ConfigurationError(
                "a log of that name or origin exists already: a successor needs ones that were never used"
            ) from None
    await asyncio.to_thread(high_water.close, row["origin"])
    return last


def _last_known(high_water: HighWater, row: Row, note: str | None) -> Checkpoint:
    """The larger of our mark and the checkpoint brought from outside."""
    marked = high_water.last_signed(row["origin"])
    if note is None:
        if marked is None:
            raise ConfigurationError(
                "nothing is known to have been signed for this log: give the newest checkpoint that anybody outside "
                "has kept with --checkpoint"
            )
        return marked
    try:
        brought = open_checkpoint(note, row["origin"], [parse_verifier_key(vkey) for vkey in row["vkeys"]])
    except ProofError as error:
        raise ConfigurationError(f"the checkpoint that was given is not one of this log: {error}") from None
    if marked is not None and marked.size == brought.size and marked.root != brought.root:
        raise ConfigurationError(
            "two roots were signed for one size: this log was forked. Keep both checkpoints as evidence and tell the "
            "controller; give none with --checkpoint to go on from our own mark"
        )
    return brought if marked is None or brought.size > marked.size else marked
