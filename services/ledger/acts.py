"""Which records change more than the state of consents, and who projects them (services/ledger/rights).

Invariant: a projector sees each event once, behind the locks of its head and its subject, in the transaction that
records it: what it writes is there exactly if the record is.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import orjson

from services.ledger.opening import Opened
from services.ledger.registry import Log
from services.ledger.rights.act import Act, Projector
from services.ledger.store import Store
from services.ledger.subjects import Resolved
from services.postgres import PooledConnection

ACTS: Final[dict[str, Projector]] = {}


async def project_acts(connection: PooledConnection, log: Log, events: Sequence[Opened], resolved: Resolved) -> None:
    """Project those of the events just recorded that change something; `log` is any log of their controller."""
    acting = {opened.event: opened for opened in events if opened.what["type"] in ACTS}
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
        await ACTS[opened.what["type"]](connection, act)
