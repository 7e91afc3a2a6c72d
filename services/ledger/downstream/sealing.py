"""What a downstream system finds the person by: from the docket of an erasure, or the records of whoever lives on.

Invariant: outside these two, identifiers stand only in what is sealed to a system (services/keys/jwe.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.docket import NONCE_BYTES, place_of_docket
from services.keys import ControllerKeys
from services.ledger.downstream.triggers import services_of
from services.ledger.erasure.gathering import Gathered, Gatherer
from services.ledger.erasure.store import ErasureStore
from services.ledger.store import Row, Store
from services.ledger.subjects import unwrap
from services.postgres import PooledConnection

Owner = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Found:
    """The identifiers of a person, as systems get them, and the services that decisions named (None: unknown)."""

    identifiers: Sequence[Mapping[str, str]]
    services: frozenset[str] | None

    def content(self, docket: int | None) -> dict[str, Any]:
        """What is sealed."""
        known: dict[str, Any] = {"identifiers": list(self.identifiers)}
        return known if docket is None else {**known, "docket": docket}

    def concerns(self, services: Sequence[str]) -> bool:
        """Whether a system with the data of these services (none stands for all) may hold something of the person."""
        return not services or self.services is None or not self.services.isdisjoint(services)


class Finder:
    """Finds out what finds a person; holds the keys that open dockets and records."""

    def __init__(self, keys: ControllerKeys, event_id_key: bytes) -> None:
        self._keys = keys
        self._gatherer = Gatherer(keys, event_id_key)

    async def find(self, connection: PooledConnection, owner: Owner, trigger: Row) -> Found | None:
        """From the trigger's docket, or from the records of whoever lives on; None if nothing is left to find them by.

        `trigger` is a row of `triggers_to_send`. Raises ConfigurationError for a key that cannot be used.
        """
        if trigger["docket"] is not None:
            return self._in_docket(owner, trigger)
        return None if trigger["subject"] is None else await self._in_records(connection, owner, trigger["subject"])

    def _in_docket(self, owner: Owner, row: Row) -> Found | None:
        if row["docket_sealed"] is None:
            return None
        sealed: bytes = row["docket_sealed"]
        cipher = AESGCM(unwrap(self._keys, owner[1], row))
        try:
            content = cipher.decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place_of_docket(owner[0], row["docket"])
            )
        except InvalidTag:
            # Damaged; fsck says so. Nothing else is left to find the person by.
            return None
        identifiers: list[dict[str, str]] = orjson.loads(content)["identifiers"]
        # Which systems are concerned was decided when the records could still be read.
        return Found(identifiers, None)

    async def _in_records(self, connection: PooledConnection, owner: Owner, subject: Any) -> Found | None:
        erasures = ErasureStore(connection)
        row = await Store(connection).subject_key(owner[0], subject)
        if row is None:
            return None
        gathered = await self._gatherer.gather(erasures, owner, subject, row, Gathered())
        identifiers = [{"type": kind, "value": value} for kind, value in sorted(gathered.identifiers)]
        return Found(identifiers, await services_of(connection, owner[0], gathered)) if identifiers else None
