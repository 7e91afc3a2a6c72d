"""Which records change more than the state of consents, and who projects them (services/ledger/rights).

Invariant: a projector sees each event once, behind the locks of its head and its subject, in the transaction that
records it: what it writes is there exactly if the record is.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import orjson
from pydantic import ValidationError

from schemas.requests import STEPS
from services.ledger.opening import HOLD_APPLIED, Opened
from services.ledger.registry import Log
from services.ledger.rights.accounts import delete_account, restore_account
from services.ledger.rights.act import Act, Projector
from services.ledger.rights.ages import state_age
from services.ledger.rights.holds import apply_hold, place_hold, release_hold, review_hold
from services.ledger.rights.requests import receive, take_step
from services.ledger.rights.restrictions import lift_restriction, place_restriction
from services.ledger.rights.triggers import trigger_answered
from services.ledger.store import Store
from services.ledger.subjects import Resolved
from services.observability import describe, get_logger
from services.postgres import Connection, PooledConnection

# A member of any record that says it, whatever its type.
AGE: Final = "age"
ACTS: Final[dict[str, Projector]] = {
    "account.deleted": delete_account,
    "account.restored": restore_account,
    "hold.placed": place_hold,
    "hold.reviewed": review_hold,
    "hold.released": release_hold,
    HOLD_APPLIED: apply_hold,
    "restriction.placed": place_restriction,
    "restriction.lifted": lift_restriction,
    "trigger.answered": trigger_answered,
    "request.received": receive,
    **dict.fromkeys(STEPS, take_step),
}
# What members that make no sense raise when they are read. What the database refuses is another matter (batch.POISON).
_SENSELESS: Final = (ValidationError, KeyError, TypeError, AttributeError, ValueError, OverflowError)

_log = get_logger()


async def project_acts(connection: PooledConnection, log: Log, events: Sequence[Opened], resolved: Resolved) -> None:
    """Project those of the events just recorded that change something; `log` is any log of their controller."""
    acting = {opened.event: opened for opened in events if opened.what["type"] in ACTS or AGE in opened.what}
    if not acting:
        return
    for row in await Store(connection).places_of(log.controller, list(acting)):
        opened = acting[row["event"]]
        subject = UUID(bytes=resolved.of(opened).subject) if resolved.is_somebodys(opened) else None
        act = Act(
            controller=log.controller,
            controller_name=log.controller_name,
            log=row["log"],
            log_name=opened.log.name,
            index=row["index"],
            event=opened.event,
            subject=subject,
            received_at=opened.received_at,
            who=orjson.loads(opened.parts.who),
            what=opened.what,
            context=orjson.loads(opened.parts.context),
        )
        if AGE in act.what:
            await state_age(connection, act)
        if act.what["type"] in ACTS:
            await project_act(connection, act)


async def project_act(connection: "Connection | PooledConnection", act: Act) -> None:
    """Project one act of ACTS. One whose members make no sense stands as a record and changes nothing: whoever signed
    it may send anything, and no event stops a ledger.
    """
    try:
        await ACTS[act.what["type"]](connection, act)
    except _SENSELESS as error:
        _log.warning("A record changes nothing: what it says makes no sense.", **describe(error))
