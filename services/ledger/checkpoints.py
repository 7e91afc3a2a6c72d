"""Open logs and sign their checkpoints: re-read, re-hash, raise the high-water mark, sign, compare-and-swap, publish.

Invariant: nothing is signed that was not read back from storage and hashed here; a log's first act is its signed
checkpoint of size 0; of two ledgers at most one publishes for a size.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.checkpoint import Checkpoint
from schemas.errors import LedgerHalted
from schemas.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash
from schemas.note import KeyKind, VerifierKey, signed_note
from services.keys import ControllerKeys, SigningKeys
from services.ledger.high_water import HighWater
from services.ledger.log_keys import KeyInForce, check_signing_keys, keys_in_force
from services.ledger.store import Store
from services.ledger.tree import TreeEdge, edge_tiles
from services.postgres import Pool, PooledConnection

# Entries read back at a time: a tile's worth keeps memory flat and gives the recorder its turns.
READ_BACK: Final = 256

# A row of `heads_to_sign`: controller, log, name, origin, size, root, signed_size.
Head = Mapping[str, Any]


class _KeysChanged(Exception):
    """A log's keys are not those that signed: nothing was published, the next round signs anew."""


class Checkpoints:
    """Signs for every log; one task per ledger process."""

    def __init__(
        self, pool: Pool, signing: SigningKeys, controller_keys: ControllerKeys, high_water: HighWater, *, hold: bool
    ) -> None:
        """`signing` holds private keys. With `hold` nothing is shown before witnesses agree (witnesses.py)."""
        self._hold = hold
        self._pool = pool
        self._signing = signing
        self._controller_keys = controller_keys
        self._high_water = high_water
        # What this process has itself read back and hashed, by (controller, log).
        self._verified: dict[tuple[int, int], TreeEdge] = {}

    async def open_logs(self) -> int:
        """Give every new log its keys and its empty head; return how many were opened.

        A crash between the key and the row leaves a key that the next try finds and uses.
        """
        async with self._pool.acquire() as connection:
            store = Store(connection)
            rows = await store.unopened_logs()
            for row in rows:
                if row["vkey"] is None:
                    reference = await asyncio.to_thread(self._signing.create, row["name"])
                    public_key = await asyncio.to_thread(self._signing.public_key, reference)
                    self._controller_keys.create_identifier_key(row["controller_name"])
                    vkey = VerifierKey(row["origin"], KeyKind.ED25519, public_key)
                    await store.publish_vkey(row["controller"], row["log"], str(vkey), reference)
                await store.open_head(row["controller"], row["log"], EMPTY_ROOT, bytes(HASH_BYTES))
            return len(rows)

    async def check_keys(self) -> None:
        """Whether every signing key in force is at hand. Raises ConfigurationError or KeyProviderAway."""
        async with self._pool.acquire() as connection:
            await check_signing_keys(connection, self._signing)

    async def sign_due(self) -> int:
        """Sign every log that has grown; return how many checkpoints were published. Raises LedgerHalted."""
        async with self._pool.acquire() as connection:
            rows = await Store(connection).heads_to_sign()
        published = 0
        for row in rows:
            head = dict(row)
            if head["signed_size"] is None and head["size"]:
                # Opened and recorded to between two rounds: its first checkpoint is still that of the empty log.
                published += await self._sign(head | {"size": 0, "root": EMPTY_ROOT})
                head["signed_size"] = 0
            published += await self._sign(head)
        return published

    async def _sign(self, head: Head) -> bool:
        """Publish one checkpoint.

        (1) Re-read and re-hash what is new; (2) fsync the high-water mark; (3) sign with every key in force; (4)
        compare-and-swap and publish, unless another key has come into force. A crash after (2) leaves a mark without a
        checkpoint: the records are there, the next round signs them.
        """
        key = head["controller"], head["log"]
        async with self._pool.acquire() as connection:
            edge = await self._read_back(Store(connection), head)
            keys = await keys_in_force(connection, *key)
        if edge.root() != head["root"]:
            raise LedgerHalted(f"the entries of log {head['name']} do not make its root: run sayso fsck")
        checkpoint = Checkpoint(head["origin"], head["size"], head["root"])
        if not await asyncio.to_thread(self._high_water.raise_to, checkpoint):
            return False
        note = await asyncio.to_thread(self._signed, checkpoint, keys)
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                store = Store(connection)
                if not await store.claim_signature(key, head["signed_size"], checkpoint.size, hold=self._hold):
                    return False
                await _require_keys(connection, key, keys)
                await store.publish_checkpoint(*key, checkpoint.size, checkpoint.root, note)
        except _KeysChanged:
            return False
        self._verified[key] = edge
        return True

    def _signed(self, checkpoint: Checkpoint, keys: Sequence[KeyInForce]) -> str:
        """The note with a signature line of each key, the oldest first."""
        text = checkpoint.text()
        message = text.encode()
        return signed_note(text, [(key.vkey, self._signing.sign(key.reference, message)) for key in keys])

    async def _read_back(self, store: Store, head: Head) -> TreeEdge:
        """Extend what was verified by what storage gives back; chain and tiles must agree with it."""
        key = head["controller"], head["log"]
        edge = self._verified.get(key)
        if edge is None or edge.size > head["size"] or edge.size != (head["signed_size"] or 0):
            edge = await self._signed_edge(store, head)
        prev = await self._leaf_before(store, key, edge.size)
        while edge.size < head["size"]:
            end = min(head["size"], (edge.size // READ_BACK + 1) * READ_BACK)
            leaves = []
            for row in await store.entries(*key, edge.size, end):
                if b'"prev":"%b"' % prev.hex().encode() not in row["entry"]:
                    raise LedgerHalted(f"entry {row['index']} of log {head['name']} breaks the chain: run sayso fsck")
                prev = leaf_hash(row["entry"])
                leaves.append(prev)
            if len(leaves) != end - edge.size:
                raise LedgerHalted(f"log {head['name']} lacks entries before {end}: run sayso fsck")
            appended = edge.append(leaves)
            stored = await store.tiles(*key, list(appended.tiles))
            for place, content in appended.tiles.items():
                if not stored.get(place, b"").startswith(content):
                    level, tile = place
                    raise LedgerHalted(
                        f"tile {level}/{tile} of log {head['name']} differs from its entries: run sayso fsck"
                    )
            edge = appended.edge
        return edge

    async def _signed_edge(self, store: Store, head: Head) -> TreeEdge:
        """The edge at the last checkpoint, from tiles that must make its signed root."""
        last = await store.last_checkpoint(head["controller"], head["log"])
        if last is None:
            return TreeEdge.empty()
        wanted = [(level, tile) for level, tile, _ in edge_tiles(last["size"])]
        edge = TreeEdge.from_tiles(last["size"], await store.tiles(head["controller"], head["log"], wanted))
        if edge.root() != last["root"]:
            raise LedgerHalted(f"the tiles of log {head['name']} do not make its last signed root: run sayso fsck")
        return edge

    async def _leaf_before(self, store: Store, key: tuple[int, int], index: int) -> bytes:
        if index == 0:
            return bytes(HASH_BYTES)
        rows = await store.entries(*key, index - 1, index)
        return leaf_hash(rows[0]["entry"]) if rows else bytes(HASH_BYTES)


async def _require_keys(connection: PooledConnection, log: tuple[int, int], signed_by: Sequence[KeyInForce]) -> None:
    """Raise _KeysChanged unless those still sign. Under the head's lock: nobody adds a key before this is published."""
    if await keys_in_force(connection, *log) != signed_by:
        raise _KeysChanged
