"""The current epoch of a publishing process (ingest, query): which key seals messages now, and whether the ledger will
take what this process signs.

Invariant: an epoch lives at most EPOCH_LIFE_S and EPOCH_MESSAGES_MAX messages, and no event is accepted while this
process is known not to be registered: the ledger would set it aside.
"""

import time
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from schemas.errors import StreamAway
from schemas.limits import BATCH_EVENTS_MAX
from schemas.sealing import EPOCH_LIFE_S, EPOCH_MESSAGES_MAX, Epoch, key_id
from services.postgres import Pool, named_queries

RETRY_AFTER_S: Final = 30
# A request takes its epoch once and seals a whole batch with it.
_SEALED_MAX: Final = EPOCH_MESSAGES_MAX - BATCH_EVENTS_MAX

STATEMENTS = named_queries(Path(__file__).parent / "sql" / "queries.sql")


class Epochs:
    """One per process: its counter must never repeat. Used on one event loop."""

    def __init__(self, publisher: Ed25519PrivateKey, types: frozenset[str]) -> None:
        """`types` are those that the registration must hold before anything is sealed."""
        self._publisher = publisher
        self._types = types
        self._sealing_key: bytes | None = None
        self._epoch: Epoch | None = None
        # What keeps this process from accepting events; None when nothing does. Read by the readiness probe.
        self.missing: str | None = "the registration was not read yet"

    async def refresh(self, pool: Pool) -> None:
        """Read this process's registration and the ledger's current sealing key."""
        public_key = self._publisher.public_key()
        types = await pool.fetchval(STATEMENTS["registration"], key_id(public_key), public_key.public_bytes_raw())
        sealing_key = await pool.fetchval(STATEMENTS["current_sealing_key"])
        if types is None:
            self.missing = f"this process's epoch key {key_id(public_key).hex()} is not registered, or was revoked"
        elif not set(types) >= self._types:
            self.missing = (
                f"the registration of epoch key {key_id(public_key).hex()} lacks types that this process publishes"
            )
        elif sealing_key is None:
            self.missing = "there is no sealing key: start a ledger once"
        else:
            self.missing = None
        if sealing_key != self._sealing_key or self.missing is not None:
            self._sealing_key, self._epoch = sealing_key, None

    def current(self) -> Epoch:
        """The epoch to seal with now. Raises StreamAway while something is missing."""
        epoch = self._epoch
        now_us = time.time_ns() // 1000
        if epoch is None or epoch.sealed > _SEALED_MAX or now_us - epoch.created_at_us >= EPOCH_LIFE_S * 1_000_000:
            epoch = self._epoch = self._begin(now_us)
        return epoch

    def _begin(self, now_us: int) -> Epoch:
        if self.missing is not None or self._sealing_key is None:
            raise StreamAway(retry_after_s=RETRY_AFTER_S)
        return Epoch(self._publisher, X25519PublicKey.from_public_bytes(self._sealing_key), now_us)
