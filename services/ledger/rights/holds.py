"""Holds (GDPR Art. 17(3)) projected from their records, and the question that every erasure asks of them.

Invariant: a hold stands from the moment its record is there until it expires or two people release it; whoever deletes
asks behind the lock of the subject, which recording a hold needs too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from schemas.events import parse_time
from schemas.holds import Applied, HoldGround, Placed, Released, Reviewed
from services.ledger.rights.act import Act
from services.postgres import Connection, PooledConnection, named_queries

_SQL: Final = named_queries(Path(__file__).parents[1] / "sql" / "holds.sql")


@dataclass(frozen=True, slots=True)
class Hold:
    """One that stands."""

    hold: UUID
    ground: HoldGround
    expires_at: datetime
    is_confidential: bool


async def standing_hold(
    connection: Connection | PooledConnection, controller: int, subjects: Sequence[UUID], moment: datetime
) -> Hold | None:
    """A hold on any of these subjects, on somebody they are erased with, or on everybody; None if there is none.

    Of several: one that people may be told of, and of those the one that ends last. Asked behind the subjects' locks.
    """
    row = await connection.fetchrow(_SQL["standing_hold"], controller, subjects, moment)
    if row is None:
        return None
    return Hold(UUID(int=row["hold"].int), row["ground"], row["expires_at"], row["is_confidential"])


async def has_standing_hold(connection: Connection | PooledConnection, controller: int, moment: datetime) -> bool:
    """Whether anything of the controller is held."""
    return bool(await connection.fetchval(_SQL["has_standing_hold"], controller, moment))


async def forget_holds(connection: Connection | PooledConnection, controller: int, subject: UUID) -> None:
    """What is left of the holds, which stand no longer, and restrictions of a subject that is erased."""
    await _execute(connection, "forget_holds", controller, subject)


async def place_hold(connection: Connection | PooledConnection, act: Act) -> None:
    """hold.placed. Of somebody who was gone by then there is nothing to hold."""
    try:
        placed = Placed.model_validate(act.what.get("hold"))
    except ValidationError:
        return
    if act.subject is None and not placed.everybody:
        return
    await _execute(
        connection,
        "place_hold",
        act.controller,
        placed.hold,
        None if placed.everybody else act.subject,
        placed.ground,
        placed.case_reference,
        placed.grant,
        act.received_at,
        placed.review_on,
        parse_time(placed.expires_at),
        placed.confidential,
        act.event,
    )


async def review_hold(connection: Connection | PooledConnection, act: Act) -> None:
    """hold.reviewed: of one that was released nothing changes."""
    try:
        reviewed = Reviewed.model_validate(act.what.get("hold"))
    except ValidationError:
        return
    expires_at = parse_time(reviewed.expires_at)
    await _execute(
        connection, "review_hold", act.controller, reviewed.hold, act.received_at, reviewed.review_on, expires_at
    )


async def release_hold(connection: Connection | PooledConnection, act: Act) -> None:
    """hold.released: the first one counts."""
    try:
        released = Released.model_validate(act.what.get("hold"))
    except ValidationError:
        return
    await _execute(connection, "release_hold", act.controller, released.hold, act.received_at)


async def apply_hold(connection: Connection | PooledConnection, act: Act) -> None:
    """hold.applied, which the ledger itself records in the place of an erasure."""
    try:
        applied = Applied.model_validate(act.what.get("hold"))
    except ValidationError:
        return
    await _execute(connection, "apply_hold", act.controller, act.event, applied.hold, act.received_at)


async def _execute(connection: Connection | PooledConnection, name: str, *args: Any) -> None:
    await connection.execute(_SQL[name], *args)
