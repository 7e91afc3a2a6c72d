"""Events that a signed publisher may send and that make no sense: none of them stops the ledger."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.record import format_time
from services.ledger.rebuild import rebuild
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event, fresh_uuid

pytestmark = pytest.mark.integration

REQUEST = {"right": "erasure", "channel": "post"}
HOLD = {
    "hold": fresh_uuid(),
    "ground": "order",
    "case_reference": "a\x00b",
    "review_on": "2027-01-01",
    "expires_at": "2028-01-01T00:00:00Z",
    "everybody": True,
}
DECISIONS = [{"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}]
# Type, members of `what`.
SENSELESS: list[tuple[str, dict[str, Any]]] = [
    # No month after it.
    ("request.received", {"request": REQUEST | {"received_on": "9999-12-31"}}),
    ("request.received", {"request": REQUEST, "actor": {"entity": "subject", "auth": []}}),
    ("request.received", {"request": REQUEST | {"due_on": "0001-01-01"}}),
    ("request.answered", {"request": {"request": fresh_uuid(), "nth": 10**15, "docket": 2**53 - 1}}),
    ("hold.placed", {"hold": HOLD}),
    ("hold.placed", {"hold": []}),
    ("trigger.answered", {"trigger": {"trigger": fresh_uuid(), "outcome": "refused", "reason": "a\x00b"}}),
    ("access.read", {"age": 17}),
    ("access.read", {"age": {"over": "old enough"}}),
    ("access.read", {"age": {"over": True}, "marks": 5}),
    ("consent.withdrawn", {"decisions": DECISIONS, "capture": ["banner"]}),
    ("consent.withdrawn", {"decisions": DECISIONS, "marks": 5}),
    ("correction", {"supersedes": []}),
    ("correction", {"supersedes": "\x00"}),
    ("correction", {"supersedes": fresh_uuid(), "posted_by": None}),
]


async def test_none_of_them_stops_the_ledger(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="v-somebody"))])
        await deployment.recorded(1)
        who = {"subject": str(await deployment.subject_of("v-somebody"))}
        for event_type, members in SENSELESS:
            await deployment.publish([deployment.seal_asked(event_type, members, who=who)])
            await deployment.drained(deadline_s=8)
        good = consent_event(2, id=fresh_uuid(), time=format_time(datetime.now(UTC)), subject="v-else")
        await deployment.publish([deployment.seal(good)])
        await deployment.drained(deadline_s=8)
        assert await deployment.subject_of("v-else") is not None
    for table in ("requests", "holds", "ages"):
        rows = await deployment.fetch(f"SELECT FROM {table}")
        assert len(rows) == (1 if table == "requests" else 0), table
    # It goes through the same records, and stops for none of them either.
    await rebuild(deployment.settings(), progress=lambda *_: None)
