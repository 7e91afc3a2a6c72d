"""Requests of data subjects projected from their records: where each stands, whose it is, and its steps.

Invariant: a step counts only as the next of its request. Of two people who acted at once the later's is a record and
no step; query, which looked before it asked, tells them so.
"""

from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from schemas.errors import InvalidValue
from schemas.requests import CLOSED, SHOWN, STEPS, STOPPED, Received, Step
from schemas.terms import Terms, read_terms
from services.deadlines import Counting, due_on
from services.ledger.rights.act import Act
from services.postgres import Connection, PooledConnection, named_queries

_SQL: Final = named_queries(Path(__file__).parents[1] / "sql" / "requests.sql")


async def receive(connection: Connection | PooledConnection, act: Act) -> None:
    """request.received. Where nobody stated the days (a site's server posted it) the terms of then count them."""
    try:
        said = Received.model_validate(act.what.get("request"))
        request = UUID(act.what["id"])
    except (ValidationError, ValueError):
        return
    counting = Counting.by(await terms_at(connection, act.controller, act.received_at))
    received_on = said.received_on or counting.day_of(act.received_at)
    due = said.due_on or due_on(received_on, counting)
    is_new = await connection.fetchval(
        _SQL["put_request"],
        act.controller,
        request,
        said.right,
        said.about,
        act.subject,
        act.what["site"],
        received_on,
        act.received_at,
        due,
        _is_shown(act.what.get("actor")),
    )
    if is_new is not None:
        await _put_step(connection, act, request, 0, due)


async def take_step(connection: Connection | PooledConnection, act: Act) -> None:
    """Any later step, if it is the next one; a closed request takes no step but that the person was told."""
    try:
        step = Step.model_validate(act.what.get("request"))
    except ValidationError:
        return
    row = await connection.fetchrow(_SQL["lock_request"], act.controller, step.request)
    kind = act.what["type"]
    if row is None or row["steps"] != step.nth or (row["closed_at"] is not None and kind != "request.told"):
        return
    state = STEPS[kind] or row["state"]
    closed_at: datetime | None = row["closed_at"]
    if closed_at is None and state in CLOSED:
        closed_at = act.received_at
    paused_on: date | None = row["paused_on"]
    if STEPS[kind] is not None:
        paused_on = step.on if state in STOPPED else None
    await connection.execute(
        _SQL["move_request"],
        act.controller,
        step.request,
        state,
        step.due_on,
        kind == "request.extended",
        paused_on,
        step.paused_days,
        closed_at,
        act.subject,
    )
    await _put_step(connection, act, step.request, step.nth, step.due_on)


async def terms_at(connection: Connection | PooledConnection, controller: int, moment: datetime) -> Terms:
    """What the controller had stated by then; the law's own where that cannot be read any more."""
    content = await connection.fetchval(_SQL["terms_at"], controller, moment)
    try:
        return read_terms(content)
    except InvalidValue:
        return Terms()


async def _put_step(
    connection: Connection | PooledConnection, act: Act, request: UUID, nth: int, due: date | None
) -> None:
    await connection.execute(
        _SQL["put_step"],
        act.controller,
        request,
        nth,
        act.event,
        act.what["type"],
        act.received_at,
        due,
        act.log,
        act.index,
    )


def _is_shown(actor: Any) -> bool:
    """Whether the one who asked was shown to be who they say, so that nobody may ask for more."""
    return isinstance(actor, dict) and actor.get("entity") == "subject" and actor.get("auth") in SHOWN
