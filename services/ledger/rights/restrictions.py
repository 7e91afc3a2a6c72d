"""Restrictions of processing (GDPR Art. 18) projected from their records: per purpose, or of everything.

Invariant: a row says from when until when; one that was lifted stays, so that the past can be asked about. Other
systems are told with the row; rebuild tells nobody anything.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from schemas.holds import Restricted
from services.ledger.downstream.triggers import Action, Cause, make_triggers
from services.ledger.rights.act import Act
from services.postgres import Connection, PooledConnection, named_queries

# Every purpose.
ALL: Final = ""
_SQL: Final = named_queries(Path(__file__).parents[1] / "sql" / "holds.sql")


async def place_restriction(connection: Connection | PooledConnection, act: Act) -> None:
    """restriction.placed, of somebody who is still there."""
    stated = _stated(act)
    if stated is not None and act.subject is not None:
        purposes = _purposes(stated)
        await connection.execute(
            _SQL["place_restriction"],
            act.controller,
            act.subject,
            purposes,
            act.received_at,
            act.event,
            stated.request,
        )
        await _tell(connection, act, "restrict", purposes)


async def lift_restriction(connection: Connection | PooledConnection, act: Act) -> None:
    """restriction.lifted: of the same purposes, placed by the same request; those of other requests stay.

    Systems that were told to restrict a purpose are told that it is over once nothing restricts it any more.
    """
    stated = _stated(act)
    if stated is not None and act.subject is not None:
        about = act.controller, act.subject, _purposes(stated)
        await connection.execute(_SQL["lift_restriction"], *about, act.received_at, stated.request)
        over = [row["purpose"] for row in await connection.fetch(_SQL["restricted_no_more"], *about)]
        await _tell(connection, act, "unrestrict", over)


async def _tell(connection: Connection | PooledConnection, act: Act, action: Action, purposes: Sequence[str]) -> None:
    if act.is_again:
        return
    for purpose in purposes:
        cause = Cause(act.controller, f"event:{act.event.hex()}", action, subject=act.subject, purpose=purpose)
        await make_triggers(connection, cause, act.received_at)


def _stated(act: Act) -> Restricted | None:
    try:
        return Restricted.model_validate(act.what.get("restriction"))
    except ValidationError:
        return None


def _purposes(stated: Restricted) -> list[str]:
    return [ALL] if stated.purposes is None else sorted(set(stated.purposes))
