"""`rebuild` of what acts left behind: requests, holds, restrictions, accounts and ages come back from their records."""

from pathlib import Path
from uuid import UUID

import pytest

from services.ledger.rebuild import rebuild
from tests.support.acts import PROJECTED, hold, of_site, step_of
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event

pytestmark = pytest.mark.integration


async def standing(deployment: Deployment) -> dict[str, list[str]]:
    return {
        table: sorted(str(tuple(row.items())) for row in await deployment.fetch(f"SELECT * FROM {table}"))
        for table in PROJECTED
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
        asked = [
            ("request.identity", step_of(received["id"], 1), about[first]),
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
