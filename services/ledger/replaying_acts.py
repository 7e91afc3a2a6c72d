"""Requests, holds, restrictions and accounts again from their records (`sayso rebuild`), in one transaction.

Invariant: the result is what recording left: the same projectors, in the order of the records. What
belongs to somebody who was erased is left as it is: its records are gone, and the docket's number stands for them.
"""

from pathlib import Path
from typing import Any, Final
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
from services.postgres import Pool, named_queries

ROWS_AT_ONCE: Final = 200
_SQL: Final = named_queries(Path(__file__).parent / "sql" / "rebuild.sql")


async def replay_acts(pool: Pool, keys: ControllerKeys, event_id_key: bytes, owner: tuple[int, str]) -> int:
    """Project every act of a controller anew; how many there were.

    1. Lock its heads, so that no recorder adds one meanwhile; 2. empty what is projected; 3. project, act by act.
    `owner` is the controller's id and name. Raises ProofError if a payload does not open.
    """
    controller, name = owner
    ciphers: dict[UUID, AESGCM] = {}
    acts = 0
    async with pool.acquire() as connection, connection.transaction():
        logs = [
            (row["controller"], row["log"]) for row in await Store(connection).logs() if row["controller"] == controller
        ]
        await Store(connection).lock_heads(sorted(logs))
        for statement in ("clear_requests", "clear_holds", "clear_restrictions", "clear_accounts"):
            await connection.execute(_SQL[statement], controller)
        async for row in connection.cursor(_SQL["acting_records"], controller, prefetch=ROWS_AT_ONCE):
            subject: UUID = row["subject"]
            if subject not in ciphers:
                if len(ciphers) >= ROWS_AT_ONCE:
                    ciphers.clear()
                ciphers[subject] = AESGCM(unwrap(keys, name, row))
            what = _read(ciphers[subject], row, "what")
            if what.get("type") not in ACTS:
                continue
            await project_act(
                connection,
                Act(
                    controller=controller,
                    controller_name=name,
                    log=row["log"],
                    log_name=row["log_name"],
                    index=row["index"],
                    event=event_mac(event_id_key, name, what["id"]),
                    subject=None if row["is_nobodys"] else UUID(int=subject.int),
                    received_at=row["received_at"],
                    who=_read(ciphers[subject], row, "who"),
                    what=what,
                    context=_read(ciphers[subject], row, "context"),
                    is_again=True,
                ),
            )
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
