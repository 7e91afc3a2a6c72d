"""Projects answers of downstream systems that came over HTTP, or from a human: `trigger.answered`.

Invariant: the first answer counts; what finds the person goes with it (services/ledger/downstream/answers.py).
"""

from uuid import UUID

from schemas.triggers import read_answer
from services.ledger.downstream.answers import Said, answer_trigger
from services.ledger.rights.act import Act
from services.postgres import Connection, PooledConnection


async def trigger_answered(connection: Connection | PooledConnection, act: Act) -> None:
    """Apply the answer; what is none, or is about no trigger of the controller, changes nothing."""
    stated = act.what.get("trigger")
    if not isinstance(stated, dict):
        return
    answer = read_answer({name: stated[name] for name in ("outcome", "reason") if name in stated})
    try:
        trigger = UUID(stated["trigger"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return
    if answer is not None:
        said = Said(answer.outcome, answer.reason)
        await answer_trigger(connection, act.controller, trigger, said, act.received_at)
