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
    stated = _stated(act)
    if stated is not None and act.subject is not None:
        await connection.execute(
            _SQL["place_restriction"],
            act.controller,
            act.subject,
            _purposes(stated),
            act.received_at,
            act.event,
            stated.request,
        )


async def lift_restriction(connection: Connection | PooledConnection, act: Act) -> None:
    """restriction.lifted: of the same purposes, placed by the same request; those of other requests stay."""
    stated = _stated(act)
    if stated is not None and act.subject is not None:
        await connection.execute(
            _SQL["lift_restriction"], act.controller, act.subject, _purposes(stated), act.received_at, stated.request
        )


def _stated(act: Act) -> Restricted | None:
    try:
        return Restricted.model_validate(act.what.get("restriction"))
    except ValidationError:
        return None


def _purposes(stated: Restricted) -> list[str]:
    return [ALL] if stated.purposes is None else sorted(set(stated.purposes))
