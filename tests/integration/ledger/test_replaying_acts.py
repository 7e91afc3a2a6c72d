"""`rebuild` of what acts left behind: requests, holds, restrictions, accounts and ages come back from their records."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from schemas.record import format_time
from services.ledger.rebuild import rebuild
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event, fresh_uuid

pytestmark = pytest.mark.integration

PROJECTED = ("requests", "request_steps", "holds", "held_erasures", "restrictions", "account_deletions", "ages")


async def standing(deployment: Deployment) -> dict[str, list[str]]:
    return {
        table: sorted(str(tuple(row.items())) for row in await deployment.fetch(f"SELECT * FROM {table}"))
        for table in PROJECTED
    }


def of_site(number: int, event_type: str, subject: str, **data: Any) -> dict[str, Any]:
    """What a site's server posts of somebody, without a decision."""
    event = consent_event(number, subject=subject, type=event_type, time=format_time(datetime.now(UTC)))
    event["data"] = {"subject": event["data"]["subject"], **data}
    return event


def hold(**members: Any) -> dict[str, Any]:
    until = datetime.now(UTC) + timedelta(days=90)
    return {
        "hold": {
            "hold": fresh_uuid(),
            "ground": "17(3)(e)",
            "case_reference": "C-7",
            "review_on": f"{until:%Y-%m-%d}",
            "expires_at": format_time(until),
            **members,
        }
    }


async def test_acts_come_back_from_their_records(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        received = of_site(1, "request.received", "v-1", request={"right": "access"})
        site_events = [
            received,
            of_site(2, "account.deleted", "v-2"),
            of_site(3, "age.stated", "v-3", age={"over": False}),
            consent_event(4, subject="v-4", age={"over": True}),
        ]
        await deployment.publish(deployment.seal(event) for event in site_events)
        await deployment.recorded(4)
        people = [await deployment.subject_of(f"v-{n}") for n in (1, 2, 3, 4)]
        assert None not in people
        about = {UUID(str(person)): {"subject": str(person)} for person in people}
        first, second, third, fourth = about
        step = {"request": {"request": received["id"], "nth": 1, "on": f"{datetime.now(UTC):%Y-%m-%d}"}}
        asked = [
            ("request.identity", step, about[first]),
            ("hold.placed", hold(), about[second]),
            ("hold.placed", hold(everybody=True), {}),
            ("restriction.placed", {"restriction": {"ground": "18(1)(a)"}}, about[third]),
        ]
        await deployment.publish(deployment.seal_asked(kind, members, who=who) for kind, members, who in asked)
        await deployment.recorded(8)
        await deployment.publish([deployment.seal_erasure(fourth)])
        await deployment.recorded(9)
        before = await standing(deployment)
        for table in PROJECTED:
            assert before[table], table
        for table in PROJECTED:
            await deployment.fetch(f"DELETE FROM {table}")
        await rebuild(deployment.settings(), progress=lambda *_: None)
        assert await standing(deployment) == before
        # And again, over what is there already.
        await rebuild(deployment.settings(), progress=lambda *_: None)
        assert await standing(deployment) == before
