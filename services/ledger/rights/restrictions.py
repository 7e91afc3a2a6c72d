"""Restrictions of processing (GDPR Art. 18) projected from their records: per purpose, or of everything.

Invariant: a row says from when until when; one that was lifted stays, so that the past can be asked about.
"""

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from schemas.holds import Restricted
from services.ledger.rights.act import Act
from services.postgres import Connection, PooledConnection, named_queries

# Every purpose.
ALL: Final = ""
_SQL: Final = named_queries(Path(__file__).parents[1] / "sql" / "holds.sql")


async def place_restriction(connection: Connection | PooledConnection, act: Act) -> None:
    """restriction.placed, of somebody who is still there."""
    purposes = _purposes(act)
    if purposes is not None and act.subject is not None:
        await connection.execute(
            _SQL["place_restriction"], act.controller, act.subject, purposes, act.received_at, act.event
        )


async def lift_restriction(connection: Connection | PooledConnection, act: Act) -> None:
    """restriction.lifted: of these purposes, or of every one."""
    purposes = _purposes(act)
    if purposes is not None and act.subject is not None:
        await connection.execute(
            _SQL["lift_restriction"], act.controller, act.subject, purposes, ALL in purposes, act.received_at
        )


def _purposes(act: Act) -> list[str] | None:
    try:
        stated = Restricted.model_validate(act.what.get("restriction"))
    except ValidationError:
        return None
    return [ALL] if stated.purposes is None else sorted(set(stated.purposes))
