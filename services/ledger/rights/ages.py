"""Records that say whether somebody is old enough to agree alone (GDPR Art. 8), whatever else they are about.

Invariant: what stands here is over or under, by record; nobody's age, nobody's birthday.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.ledger.rights.act import Act
from services.ledger.store import AgeSaid, Store
from services.postgres import Connection, PooledConnection


def age_said(event: bytes, what: Mapping[str, Any], received_at: datetime) -> AgeSaid | None:
    """None of a stranger's word about somebody, which would end their consents, and of what says neither."""
    age, marks = what.get("age"), what.get("marks", [])
    over = age.get("over") if isinstance(age, dict) else None
    if type(over) is not bool or not isinstance(marks, list) or "unconfirmed" in marks:
        return None
    return AgeSaid(event, over, received_at)


async def state_age(connection: "Connection | PooledConnection", act: Act) -> None:
    """Keep what the record says, from when it came on. Of nobody known, nothing."""
    said = age_said(act.event, act.what, act.received_at)
    if act.subject is not None and said is not None:
        await Store(connection).state_age(act.controller, act.subject, said)
