"""The signing keys of logs in time: which sign now, how the next takes over, how an ended one is destroyed.

Invariant: every checkpoint larger than a key's `from_size`, made while the key is in force, carries its signature: a
new key is added, and a checkpoint published, only by whoever holds the lock of the log's head.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from schemas.errors import ConfigurationError
from schemas.log_keys import KeyStatement, read_statement
from schemas.note import KeyKind, VerifierKey, parse_verifier_key
from services.keys import SigningKeys
from services.ledger.store import Row
from services.postgres import Connection, PooledConnection, named_queries

_SQL: Final = named_queries(Path(__file__).parent / "sql" / "log_keys.sql")


@dataclass(frozen=True, slots=True)
class KeyInForce:
    """A key that signs now: its number, its verifier key, and where its private half is."""

    number: int
    vkey: VerifierKey
    reference: str


async def keys_in_force(connection: Connection | PooledConnection, controller: int, log: int) -> list[KeyInForce]:
    """The keys that sign a log's checkpoints now, the oldest first; never none once the log is open."""
    rows = await connection.fetch(_SQL["log_keys_in_force"], controller, log)
    return [KeyInForce(row["number"], parse_verifier_key(row["vkey"]), row["reference"]) for row in rows]


async def check_signing_keys(connection: Connection | PooledConnection, signing: SigningKeys) -> None:
    """Whether every key that signs now is at hand and is the one it is published as. Raises ConfigurationError."""
    for row in await connection.fetch(_SQL["all_log_keys_in_force"]):
        public_key = await asyncio.to_thread(signing.public_key, row["reference"])
        if public_key != parse_verifier_key(row["vkey"]).public_key:
            raise ConfigurationError(
                f"the key {row['reference']} is not the one that the log {row['name']} was published with: restore it "
                "from your key backup"
            )


async def rotate_log_key(
    connection: Connection | PooledConnection, signing: SigningKeys, name: str, overlap: timedelta
) -> VerifierKey:
    """Give the log called `name` its next signing key; the one before signs beside it until `overlap` has passed.

    1. Lock the head: nobody signs meanwhile; 2. make the key, durably; 3. both keys sign the statement, which is read
    back; 4. the rows. A crash before (4) leaves a key that the next try finds and uses.
    Raises ConfigurationError, KeyProviderAway, or CheckpointError if a signature of the provider does not verify.
    """
    async with connection.transaction():
        before = await connection.fetchrow(_SQL["lock_log_for_new_key"], name)
        if before is None:
            raise ConfigurationError(f"there is no open log {name}: see `sayso site list`, and start a ledger once")
        number = before["number"] + 1
        reference = await asyncio.to_thread(signing.create, f"{name}.{number}")
        public_key = await asyncio.to_thread(signing.public_key, reference)
        new = VerifierKey(before["origin"], KeyKind.ED25519, public_key)
        statement = KeyStatement(number, parse_verifier_key(before["vkey"]), new, before["signed_size"])
        note = await asyncio.to_thread(
            statement.sign, partial(signing.sign, before["reference"]), partial(signing.sign, reference)
        )
        read_statement(note)
        place = before["controller"], before["log"], number
        await connection.execute(_SQL["add_log_key"], *place, str(new), reference, note, overlap)
    return new


async def retire_log_keys(connection: Connection | PooledConnection, signing: SigningKeys, name: str) -> list[Row]:
    """Destroy the private keys of a log that have ended; those rows (number, reference, ends_at). Again is as good.

    Raises ConfigurationError if none has.
    """
    rows = await connection.fetch(_SQL["log_keys_of"], name)
    ended = [row for row in rows if row["has_ended"]]
    if not ended:
        waiting = [f"key {row['number']} at {row['ends_at']:%Y-%m-%d %H:%M} UTC" for row in rows if row["ends_at"]]
        raise ConfigurationError(f"no key of the log {name} has ended; the next to end: {', '.join(waiting) or 'none'}")
    for row in ended:
        await asyncio.to_thread(signing.destroy, row["reference"])
    return ended
