"""A backup from before an erasure of somebody with a hold, a request and an objection: the replay leads to the same
triggers, under the same ids, and to nothing else that the erasure had not led to.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.kafka.node import free_port
from schemas.record import format_time
from services.ledger.acting import acting
from services.ledger.erasure.replaying import replay
from services.ledger.fsck.check import check
from services.ledger.rebuild import rebuild
from services.ledger.successor import succeed
from services.suppression import Suppression
from tests.fault.test_restored_after_erasure import make_older
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event, fresh_uuid
from tests.support.downstream import add_system, outcomes
from tests.support.dumps import restore, take_dump
from tests.support.receiver import Receiver
from tests.support.wait import until

pytestmark = pytest.mark.fault

OBJECTED = {"purpose": "statistics", "decision": "objected", "legal_basis": "legitimate_interest"}
WHAT_IS_LEFT = (
    "SELECT trigger, cause, docket, subject FROM triggers ORDER BY trigger",
    "SELECT docket FROM dockets ORDER BY docket",
    "SELECT number, subject, ground FROM erasures ORDER BY number",
    "SELECT request, subject, docket FROM requests",
    "SELECT identifier, purpose, legal_basis, objected_at FROM suppressed_objections",
    "SELECT hold FROM holds",
    "SELECT subject FROM restrictions",
)


async def test_the_same_comes_of_it_again(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    receiver = Receiver(free_port(), tmp_path)
    receiver.start()
    try:
        for system in ("good", "later"):
            await add_system(deployment, system, url=f"{receiver.address}/{system}")
        dump = await somebody_with_everything(deployment)
        before = await erased_for_good(deployment)
        make_older(deployment, timedelta(hours=1))
        await asyncio.to_thread(restore, deployment.database, dump)
        told = len(receiver.received("good"))
        suppression = Suppression(deployment.settings().suppression_dir)
        async with acting(deployment.settings(), appends=False) as ledger, ledger.pool.acquire() as connection:
            # The hold stands in this database, and was over when the erasure happened.
            assert await replay(connection, suppression, ledger.eraser, in_flight=timedelta(0)) == [(1, True)]
            assert await replay(connection, suppression, ledger.eraser, in_flight=timedelta(0)) == []
            await succeed(connection, ledger.high_water, "shop", "shop-2", "log.example/logs/shop-2", None)
        assert await what_is_left(deployment) == before
        async with deployment.ledger():

            async def answered() -> bool:
                return (await outcomes(deployment))[("good", "done")] == 2

            await until(answered, what="the system is told and answers again")
        first, again = receiver.received("good")[:told], receiver.received("good")[told:]
        # Under ids that it knows, if it was told before: the same twice does no harm.
        assert {one["headers"]["webhook-id"] for one in again} <= {one["headers"]["webhook-id"] for one in first}
        assert any("trigger.erase" in one["body"] for one in again)
    finally:
        receiver.stop()
    for _ in range(2):
        report = await check(deployment.settings(), progress=lambda *_: None)
        assert report.clean, report.findings
        await rebuild(deployment.settings(), progress=lambda *_: None)
        assert await what_is_left(deployment) == before


async def somebody_with_everything(deployment: Deployment) -> str:
    """A consent, an objection, a request, a hold and a restriction; the dump of it."""
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone", decisions=[OBJECTED]))])
        await deployment.recorded(1)
        who = {"subject": str(await deployment.subject_of("gone"))}
        later = datetime.now(UTC) + timedelta(days=30)
        hold = {"hold": fresh_uuid(), "ground": "17(3)(e)", "case_reference": "case-1"}
        hold |= {"review_on": later.date().isoformat(), "expires_at": format_time(later)}
        acts = (
            ("request.received", {"request": {"right": "erasure", "channel": "post"}}),
            ("hold.placed", {"hold": hold}),
            ("restriction.placed", {"restriction": {"ground": "18(1)(a)"}}),
        )
        await deployment.publish([deployment.seal_asked(kind, members, who=who) for kind, members in acts])
        await deployment.recorded(4)
        assert [len(await deployment.fetch(sql)) for sql in WHAT_IS_LEFT[3:]] == [1, 0, 1, 1]
    return await asyncio.to_thread(take_dump, deployment.database)


async def erased_for_good(deployment: Deployment) -> list[list[tuple[object, ...]]]:
    """The hold is released, the person erased, one system answers; what is left then."""
    (row,) = await deployment.fetch("SELECT hold FROM holds")
    released = {"hold": {"hold": str(row["hold"]), "approval": fresh_uuid()}}
    async with deployment.ledger():
        subject = await deployment.subject_of("gone")
        assert subject is not None
        await deployment.publish([deployment.seal_asked("hold.released", released)])
        await deployment.recorded(5)
        await deployment.publish([deployment.seal_erasure(subject)])

        async def answered() -> bool:
            return (await outcomes(deployment))[("good", "done")] == 2

        await until(answered, what="the system has answered")
    return await what_is_left(deployment)


async def what_is_left(deployment: Deployment) -> list[list[tuple[object, ...]]]:
    return [[tuple(row) for row in await deployment.fetch(sql)] for sql in WHAT_IS_LEFT]
