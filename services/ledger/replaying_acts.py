"""Requests, holds, restrictions and accounts again from their records (`sayso rebuild`), in one transaction.

Invariant: the result is what recording left: the same projectors, in the order of the records. What
belongs to somebody who was erased is left as it is: its records are gone, and the docket's number stands for them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.payload import open_part, place_of
from schemas.record import PartName
from services.keys import ControllerKeys, event_mac
from services.ledger.acts import ACTS, project_act
from services.ledger.rights.act import Act
from services.ledger.store import Row, Store
from services.ledger.subjects import unwrap
from services.postgres import Connection, Pool, PooledConnection, named_queries

if TYPE_CHECKING:
    from asyncpg.cursor import CursorFactory

ROWS_AT_ONCE: Final = 200
_SQL: Final = named_queries(Path(__file__).parent / "sql" / "rebuild.sql")


class ActReader:
    """Opens the acting records of one controller; keeps the keys of some subjects meanwhile."""

    def __init__(self, keys: ControllerKeys, event_id_key: bytes, owner: tuple[int, str]) -> None:
        """`owner` is the controller's id and name."""
        self._keys = keys
        self._event_id_key = event_id_key
        self._controller, self._name = owner
        self._ciphers: dict[UUID, AESGCM] = {}

    def rows(self, connection: "Connection | PooledConnection") -> "CursorFactory[Row]":
        """What `read` takes, in the order in which it was recorded. Needs a transaction."""
        return connection.cursor(_SQL["acting_records"], self._controller, prefetch=ROWS_AT_ONCE)

    def read(self, row: Row) -> Act | None:
        """None for a record that changes nothing here. Raises ProofError if a part does not open, InvalidUnwrap or
        ConfigurationError for a key, and what members that make no sense raise (KeyError, TypeError, ValueError).
        """
        cipher = self._cipher(row)
        what = _read(cipher, row, "what")
        if what.get("type") not in ACTS:
            return None
        subject: UUID = row["subject"]
        return Act(
            controller=self._controller,
            controller_name=self._name,
            log=row["log"],
            log_name=row["log_name"],
            index=row["index"],
            event=event_mac(self._event_id_key, self._name, what["id"]),
            subject=None if row["is_nobodys"] else UUID(int=subject.int),
            received_at=row["received_at"],
            who=_read(cipher, row, "who"),
            what=what,
            context=_read(cipher, row, "context"),
            is_again=True,
        )

    def _cipher(self, row: Row) -> AESGCM:
        subject: UUID = row["subject"]
        if subject not in self._ciphers:
            if len(self._ciphers) >= ROWS_AT_ONCE:
                self._ciphers.clear()
            self._ciphers[subject] = AESGCM(unwrap(self._keys, self._name, row))
        return self._ciphers[subject]


async def replay_acts(pool: Pool, keys: ControllerKeys, event_id_key: bytes, owner: tuple[int, str]) -> int:
    """Project every act of a controller anew; how many there were.

    1. Lock its heads, so that no recorder adds one meanwhile; 2. empty what is projected; 3. project, act by act.
    `owner` is the controller's id and name. Raises ProofError if a payload does not open.
    """
    controller, _ = owner
    reader = ActReader(keys, event_id_key, owner)
    acts = 0
    async with pool.acquire() as connection, connection.transaction():
        logs = [
            (row["controller"], row["log"]) for row in await Store(connection).logs() if row["controller"] == controller
        ]
        await Store(connection).lock_heads(sorted(logs))
        for statement in ("clear_requests", "clear_holds", "clear_restrictions", "clear_accounts"):
            await connection.execute(_SQL[statement], controller)
        async for row in reader.rows(connection):
            act = reader.read(row)
            if act is not None:
                await project_act(connection, act)
                acts += 1
    return acts


def _read(cipher: AESGCM, row: Row, name: PartName) -> dict[str, Any]:
    """A part; empty where it was deleted by itself."""
    if row[name] is None:
        return {}
    value: dict[str, Any] = orjson.loads(
        open_part(cipher, row["nonce"], name, place_of(row["origin"], row["index"]), row[name])[1]
    )
    return value
