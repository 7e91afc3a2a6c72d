"""Many records at once, as the ledger leaves them: for what must be tried on thousands, or on a million.

Everything is real but the order of the work: keys, salts, ciphertext, chain, tiles and the signed checkpoint.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from schemas.canonical import canonical_json
from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.payload import NONCE_BYTES, place_of, seal_part
from schemas.record import NO_PREVIOUS, PART_NAMES, SALT_BYTES, commitment, entry_bytes, format_time, part_digest
from services.keys import key_epoch
from tests.support import oracle
from tests.support.rows import Controller

BATCH = 10_000
BEGINNING = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)


def what_of(controller: Controller, number: int) -> dict[str, Any]:
    """The decision part of the record with that number; every third refuses the second purpose."""
    moment = format_time(BEGINNING + timedelta(seconds=number))
    second = "denied" if number % 3 == 0 else "granted"
    return {
        "v": 1,
        "id": str(uuid4()),
        "site": controller.site_name,
        "type": "consent.given",
        "time": moment,
        "received_at": moment,
        "posted_by": "server",
        "words": "rendered",
        "decisions": [
            {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent", "services": ["chatra"]},
            {"purpose": "chat-proactive", "decision": second, "legal_basis": "consent", "services": ["chatra"]},
        ],
        "capture": {"mechanism": "button", "element": "banner", "action": "save"},
    }


class ManyRecords:
    """Fills the empty log of a controller."""

    def __init__(self, controller: Controller, *, a_person: int = 10) -> None:
        self.controller = controller
        self.subjects: list[UUID] = []
        self._a_person = a_person
        self._leaves: list[bytes] = []
        self._prev = NO_PREVIOUS
        self._epoch = key_epoch(datetime.now(UTC).timestamp())
        self._wrapping = controller.world.keys.create_wrapping_key(controller.name, self._epoch)

    async def fill(self, count: int) -> None:
        """Append so many records, and sign a checkpoint over all of them."""
        connection = await self.controller.world.connect()
        try:
            for first in range(0, count, BATCH):
                people: list[tuple[Any, ...]] = []
                rows = list(self._rows(first, min(first + BATCH, count), people))
                for table, columns, records in (
                    ("subjects", ("controller", "subject", "wrapped_key", "key_epoch"), people),
                    ("records", ("controller", "log", "index", "entry"), [record for record, _ in rows]),
                    (
                        "payloads",
                        ("controller", "log", "index", "subject", "nonce", *PART_NAMES),
                        [payload for _, payload in rows],
                    ),
                ):
                    await connection.copy_records_to_table(table, columns=columns, records=records)
            await self._publish(connection)
            await connection.execute("ANALYZE")
        finally:
            await connection.close()

    def _rows(self, first: int, end: int, people: list[tuple[Any, ...]]) -> Iterator[tuple[Any, Any]]:
        shop = self.controller
        cipher = AESGCM(bytes(32))
        for index in range(first, end):
            if index % self._a_person == 0 or not people:
                key = os.urandom(32)
                cipher = AESGCM(key)
                self.subjects.append(uuid4())
                wrapped = aes_key_wrap(self._wrapping, key)
                people.append((shop.controller, self.subjects[-1], wrapped, self._epoch))
            who = {"identifiers": [{"type": "email", "value": f"=person{len(self.subjects)}@mail.example"}]}
            parts = [canonical_json(part) for part in (who, what_of(shop, index), {"page": "https://shop.example/"})]
            salts = [os.urandom(SALT_BYTES) for _ in PART_NAMES]
            digests = [part_digest(n, salt, part) for n, salt, part in zip(PART_NAMES, salts, parts, strict=True)]
            entry = entry_bytes(
                log=shop.origin,
                index=index,
                prev=self._prev,
                ref=os.urandom(16).hex(),
                entry_class="consent",
                recorded_at=(BEGINNING + timedelta(seconds=index)).strftime("%Y-%m-%dT%H:%M:00Z"),
                commitment=commitment(*digests).hex(),
            )
            self._leaves.append(oracle.leaf(entry))
            self._prev = self._leaves[-1].hex()
            nonce, place = os.urandom(NONCE_BYTES), place_of(shop.origin, index)
            sealed = [
                seal_part(cipher, nonce, name, place, salt + part)
                for name, salt, part in zip(PART_NAMES, salts, parts, strict=True)
            ]
            yield (
                (shop.controller, shop.log, index, entry),
                (shop.controller, shop.log, index, self.subjects[-1], nonce, *sealed),
            )

    async def _publish(self, connection: Any) -> None:
        shop = self.controller
        hashes, level = self._leaves, 0
        while hashes:
            tiles = [
                (shop.controller, shop.log, level, n // 256, b"".join(hashes[n : n + 256]))
                for n in range(0, len(hashes), 256)
            ]
            await connection.execute("DELETE FROM tiles WHERE controller = $1 AND level = $2", shop.controller, level)
            await connection.copy_records_to_table(
                "tiles", columns=("controller", "log", "level", "tile", "hashes"), records=tiles
            )
            hashes = [oracle.mth(hashes[n : n + 256]) for n in range(0, len(hashes) - 255, 256)]
            level += 1
        size, root = len(self._leaves), oracle.mth(self._leaves)
        await connection.execute(
            "UPDATE log_heads SET size = $3, root = $4, signed_size = $3, published_size = $3"
            " WHERE controller = $1 AND log = $2",
            shop.controller,
            shop.log,
            size,
            root,
        )
        await connection.execute(
            "INSERT INTO checkpoints (controller, log, size, root, note) VALUES ($1, $2, $3, $4, $5)",
            shop.controller,
            shop.log,
            size,
            root,
            signed_checkpoint(Checkpoint(shop.origin, size, root), shop.signing_key),
        )
