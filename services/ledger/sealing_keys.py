"""The ledger's sealing keys in time: made, replaced on schedule, and destroyed once nothing sealed to them can arrive.

Files: `sealing.key` (the first) and `sealing/ID.key` in the ledger's key directory. Invariant: a key is published only
after its file is durable, and its file is removed before it is marked as destroyed.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schemas.errors import ConfigurationError
from schemas.sealing import EPOCH_LIFE_S, key_id
from services.keys import SECRET_BYTES, destroy_secret, make_secret, sealing_key, write_secret
from services.observability import get_logger
from services.postgres import Connection, Pool, PooledConnection, named_queries

# How often messages that name one and the same missing key may make us look for its file.
LOOK_AGAIN_S: Final = 1.0

_SQL: Final = named_queries(Path(__file__).parent / "sql" / "sealing_keys.sql")
_log = get_logger()


class SealingKeys:
    """The private halves that exist, by key id. Another process may add and remove files at any time."""

    def __init__(self, ledger_key_dir: Path) -> None:
        """Reads nothing yet."""
        self._first = ledger_key_dir / "sealing.key"
        self._folder = ledger_key_dir / "sealing"
        self._keys: dict[bytes, X25519PrivateKey] = {}
        self._paths: dict[bytes, Path] = {}
        # Ids that were looked for in vain, and when the first of them was.
        self._missing: set[bytes] = set()
        self._missing_since = 0.0
        # Rises whenever the keys change: whoever cached what one of them opened forgets it.
        self.generation = 0

    def read(self) -> None:
        """Look at the files again. Raises ConfigurationError for one that cannot be read."""
        keys, paths = {}, {}
        for path in self._files():
            try:
                private = sealing_key(path)
            except ConfigurationError:
                if path.exists():
                    raise
                continue  # destroyed between the listing and the reading
            keys[key_id(private.public_key())] = private
            paths[key_id(private.public_key())] = path
        if keys.keys() != self._keys.keys():
            self.generation += 1
        self._keys, self._paths = keys, paths

    def _files(self) -> Iterator[Path]:
        if self._first.exists():
            yield self._first
        yield from sorted(self._folder.glob("*.key"))

    def find(self, name: bytes) -> X25519PrivateKey | None:
        """The key with this id. The files are read again for one that is unknown: a key is published after its file
        is there, so the first look finds it; for one that was not found, at most once a second.
        """
        if name in self._keys:
            return self._keys[name]
        now = time.monotonic()
        if now - self._missing_since >= LOOK_AGAIN_S:
            self._missing.clear()
            self._missing_since = now
        if name not in self._missing:
            self._missing.add(name)
            self.read()
        return self._keys.get(name)

    def __iter__(self) -> Iterator[bytes]:
        """The ids of all keys read last."""
        return iter(self._keys)

    def make_first(self) -> None:
        """The key of a new deployment."""
        make_secret(self._first)
        self.read()

    def make(self) -> bytes:
        """A fresh key, durable; its id."""
        secret = os.urandom(SECRET_BYTES)
        name = key_id(X25519PrivateKey.from_private_bytes(secret).public_key())
        write_secret(self._folder / f"{name.hex()}.key", secret)
        self.read()
        return name

    def destroy(self, name: bytes) -> None:
        """Remove a key's file, durably; none there is as good."""
        self.read()
        if name in self._paths:
            destroy_secret(self._paths[name])
            self.read()


async def open_sealing_keys(pool: Pool, keys: SealingKeys, now: datetime) -> None:
    """At the start: make the first key, publish what a crash left unpublished, insist on the one in use.

    Raises ConfigurationError if the key that publishers seal to now is not here.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_SQL["lock_sealing_keys"])
        await asyncio.to_thread(keys.read)
        rows = await connection.fetch(_SQL["sealing_keys"])
        current = next((row["sealing_key"] for row in rows if row["replaced_at"] is None), None)
        if current is not None and current not in set(keys):
            raise ConfigurationError(
                f"the sealing key {current.hex()} that messages are sealed to is missing: restore it from your key "
                "backup, or give it up together with those messages: sayso key rotate sealing"
            )
        if current is None and not list(keys):
            await asyncio.to_thread(keys.make_first)
        for name in set(keys) - {row["sealing_key"] for row in rows}:
            await _publish(connection, keys, name, now)


async def _publish(connection: Connection | PooledConnection, keys: SealingKeys, name: bytes, now: datetime) -> None:
    private = keys.find(name)
    assert private is not None
    await connection.execute(_SQL["publish_sealing_key"], name, private.public_key().public_bytes_raw(), now)
    _log.info("A new sealing key is in use.", sealing_key=name.hex())


async def rotate_sealing_key(
    connection: Connection | PooledConnection,
    keys: SealingKeys,
    now: datetime,
    *,
    only_if_older: timedelta | None = None,
) -> bytes | None:
    """Replace the key that messages are sealed to; the new one's id, None if it is younger than `only_if_older`.

    A crash after the file leaves a key that the next start publishes.
    """
    async with connection.transaction():
        await connection.execute(_SQL["lock_sealing_keys"])
        rows = await connection.fetch(_SQL["sealing_keys"])
        current = [row["created_at"] for row in rows if row["replaced_at"] is None]
        if only_if_older is not None and any(created_at + only_if_older > now for created_at in current):
            return None
        name = await asyncio.to_thread(keys.make)
        await _publish(connection, keys, name, now)
        return name


async def tend_sealing_keys(
    pool: Pool, keys: SealingKeys, now: datetime, *, replace_after: timedelta, retention: timedelta
) -> int:
    """Replace the key in use when its time is up, destroy what nobody needs; how many were destroyed.

    A key is needed until the last epoch that was sealed to it has ended and the stream keeps none of its messages
    (`retention`), and as long as a message in the inbox or among the dead letters is sealed to it.
    """
    async with pool.acquire() as connection:
        await rotate_sealing_key(connection, keys, now, only_if_older=replace_after)
        async with connection.transaction():
            await connection.execute(_SQL["lock_sealing_keys"])
            last_use = now - timedelta(seconds=EPOCH_LIFE_S) - retention
            unneeded = [row["sealing_key"] for row in await connection.fetch(_SQL["unneeded_sealing_keys"], last_use)]
            rows = await connection.fetch(_SQL["sealing_keys"])
            # A file of a key that was destroyed before has come back with a backup.
            returned = [row["sealing_key"] for row in rows if row["destroyed_at"] is not None]
            await asyncio.to_thread(keys.read)
            for name in [*unneeded, *(name for name in returned if name in set(keys))]:
                await asyncio.to_thread(keys.destroy, name)
                await connection.execute(_SQL["mark_destroyed"], name, now)
                _log.info("Destroyed a sealing key.", sealing_key=name.hex())
    return len(unneeded)
