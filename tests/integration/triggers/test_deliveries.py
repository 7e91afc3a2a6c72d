"""What goes out, how it is signed, when it is tried again, and what an answer does; the engine under a moved clock."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.ledger.downstream.answers import Noting
from services.ledger.downstream.triggers import Cause, make_triggers, put_delivery, systems_told
from tests.integration.triggers.conftest import Engine
from tests.support.deployment import Deployment, consent_event
from tests.support.downstream import add_system, opened, outcomes, secret_of
from tests.support.receiver import Receiver
from tests.support.wait import until

MakeEngine = Callable[..., AbstractAsyncContextManager[Engine]]


async def erased(deployment: Deployment, *events: dict[str, Any], **ask: Any) -> None:
    """Record events, each of a subject of its own, and erase all of them with a real ledger that tells nobody."""
    size = await deployment.size()
    async with deployment.ledger():
        await deployment.publish([deployment.seal(event) for event in events])
        await deployment.recorded(size + len(events))
        rows = await deployment.fetch("SELECT subject FROM subjects WHERE log IS NULL")
        before = len(await deployment.fetch("SELECT FROM erasures"))
        await deployment.publish([_ask(deployment, row["subject"], ask) for row in rows])

        async def applied() -> bool:
            return len(await deployment.fetch("SELECT FROM erasures")) == before + len(rows)

        await until(applied, what="the erasures are applied")


def _ask(deployment: Deployment, subject: UUID, members: dict[str, Any]) -> Any:
    erasure = {"subject": str(subject), "ground": "17(1)(b)"}
    return deployment.seal_asked("subject.erased", {"erasure": erasure, **members})


@pytest.fixture
def nobody_delivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The running ledger leaves deliveries alone: the test's engine sends them."""
    from services.ledger import service

    monkeypatch.setattr(service, "now_utc", lambda: datetime(2020, 1, 1, tzinfo=UTC))


pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nobody_delivers")]


async def one(deployment: Deployment, sql: str) -> Any:
    rows = await deployment.fetch(sql)
    assert len(rows) == 1, rows
    return rows[0]


async def test_a_trigger_is_a_signed_cloud_event_that_only_its_system_can_read(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    await add_system(deployment, "later", url=f"{receiver.address}/later")
    # It is changing to another secret, and still knows the one before.
    await deployment.fetch("UPDATE downstreams SET secret_number = 3")
    await erased(deployment, consent_event(1, subject="v-hidden"))
    async with engine() as running:
        await running.round()
    (message,) = receiver.received("later")
    for number in (2, 3):
        Webhook(secret_of(deployment, "later", number)).verify(message["body"], message["headers"])
    for system, number in (("later", 1), ("other", 3)):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret_of(deployment, system, number)).verify(message["body"], message["headers"])
    event = json.loads(message["body"])
    trigger = await one(deployment, "SELECT * FROM triggers")
    assert (event["id"], message["headers"]["webhook-id"]) == (str(trigger["trigger"]),) * 2
    assert (event["specversion"], event["type"], event["source"]) == ("1.0", "trigger.erase", "/controllers/shop")
    assert set(event["data"]) == {"trigger", "action", "due_at", "sealed"}
    assert "v-hidden" not in message["body"]
    known = {"type": "cookie", "value": "v-hidden"}
    assert opened(event["data"]["sealed"]) == {"identifiers": [known], "docket": 1}
    # It was taken and not answered: nothing is sent again, and the one answer is awaited.
    assert (trigger["sent_at"] is None, trigger["outcome"]) == (False, None)
    async with engine() as running:
        running.clock.forward(days=2)
        await running.round()
    assert len(receiver.received("later")) == 1


async def test_an_answer_to_the_post_ends_it_and_closes_the_docket_when_nobody_has_to_be_told(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    for name in ("good", "infeasible", "refuses"):
        await add_system(deployment, name, url=f"{receiver.address}/{name}")
    await erased(deployment, consent_event(1))
    assert (await one(deployment, "SELECT outcome FROM dockets"))["outcome"] is None
    async with engine() as running:
        await running.round()
        assert running.metrics.deliveries.labels("answered")._value.get() == 3
    rows = await deployment.fetch("SELECT system, outcome, reason, sealed FROM triggers ORDER BY system")
    assert [tuple(row) for row in rows] == [
        ("good", "done", None, None),
        ("infeasible", "not_feasible", "the archive is written once", None),
        ("refuses", "refused", "a law says to keep it", None),
    ]
    assert not await deployment.fetch("SELECT FROM deliveries")
    docket = await one(deployment, "SELECT sealed, wrapped_key, outcome FROM dockets")
    assert tuple(docket) == (None, None, "answered")


async def test_a_docket_stays_open_until_whoever_asked_was_told(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    await add_system(deployment, "good", url=f"{receiver.address}/good")
    await erased(deployment, consent_event(1), request={"request": str(uuid4())})
    async with engine() as running:
        await running.round()
    assert (await one(deployment, "SELECT sealed FROM dockets"))["sealed"] is not None

    async def closed() -> bool:
        return bool((await one(deployment, "SELECT outcome FROM dockets"))["outcome"] == "answered")

    async with deployment.ledger():
        await deployment.publish([deployment.seal_asked("request.told", {"request": {"docket": 1}})])
        await until(closed, what="the docket is closed")


async def test_whoever_was_told_before_all_have_answered_closes_nothing(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    await add_system(deployment, "good", url=f"{receiver.address}/good")
    await erased(deployment, consent_event(1), request={"request": str(uuid4())})

    async def told() -> bool:
        return (await one(deployment, "SELECT told_at FROM dockets"))["told_at"] is not None

    async with deployment.ledger():
        await deployment.publish([deployment.seal_asked("request.answered", {"request": {"docket": 1}})])
        await until(told, what="the docket knows that the person was told")
    assert (await one(deployment, "SELECT sealed FROM dockets"))["sealed"] is not None
    async with engine() as running:
        await running.round()
    assert (await one(deployment, "SELECT outcome FROM dockets"))["outcome"] == "answered"


async def test_what_is_no_good_answer_is_tried_again_until_it_is_a_dead_letter(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    """A redirect is not followed; the pauses grow; in the end it is given up, and overdue at its docket's limit."""
    statuses = {"broken": 500, "moved": 302, "wrong": 200}
    for system in (*statuses, "long"):
        await add_system(deployment, system, url=f"{receiver.address}/{system}", answer_days=1)
    await erased(deployment, consent_event(1))
    async with engine() as running:
        for low in (5, 30, 300, 1800):
            await running.round()
            rows = await deployment.fetch("SELECT * FROM deliveries WHERE delivered_at IS NULL")
            assert {row["system"]: row["last_status"] for row in rows} == statuses
            pauses = [(row["next_at"] - running.clock.now).total_seconds() for row in rows]
            assert all(low <= pause <= low * 1.2 for pause in pauses)
            running.clock.forward(seconds=low * 1.2 + 1)
        # Nothing that long is an answer: the message was taken, and sent once.
        assert len(receiver.received("long")) == 1
        running.clock.forward(days=4)
        await running.round()
        assert len(await deployment.fetch("SELECT FROM deliveries WHERE dead_at IS NOT NULL")) == 3
        assert (running.metrics.deliveries_dead._value.get(), running.metrics.triggers_overdue._value.get()) == (3, 4)
        assert len(await deployment.fetch("SELECT FROM triggers WHERE sealed IS NOT NULL")) == 4
        running.clock.forward(days=31)
        await running.round()
    assert await outcomes(deployment) == {(system, "overdue"): 1 for system in (*statuses, "long")}
    assert not await deployment.fetch("SELECT FROM triggers WHERE sealed IS NOT NULL")
    assert not receiver.received("good")


async def test_a_crash_between_sending_and_noting_sends_it_again_under_the_same_id(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_system(deployment, "good", url=f"{receiver.address}/good")
    await erased(deployment, consent_event(1))

    async def crash(*_: Any) -> None:
        raise RuntimeError("pulled the plug")

    async with engine() as running:
        with monkeypatch.context() as patched:
            patched.setattr(Noting, "note", crash)
            await running.deliveries.work()
            await running.deliveries.settled()
        # Leased: nobody sends it now.
        await running.round()
        assert len(receiver.received("good")) == 1
    async with engine() as another:
        another.clock.forward(seconds=61)
        await another.round()
    first, second = receiver.received("good")
    assert first["headers"]["webhook-id"] == second["headers"]["webhook-id"]
    assert first["body"] == second["body"]
    assert await outcomes(deployment) == {("good", "done"): 1}


async def test_two_engines_send_each_message_once(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    await add_system(deployment, "slow", url=f"{receiver.address}/slow")
    await erased(deployment, *(consent_event(n) for n in range(40)))
    async with engine() as first, engine() as second:
        for running in (first, second, first, second):
            await running.deliveries.work()
        await first.deliveries.settled()
        await second.deliveries.settled()
    assert len(receiver.received("slow")) == 40
    assert await outcomes(deployment) == {("slow", "done"): 40}


async def test_only_systems_that_hold_data_of_a_decided_service_are_told(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    decision = {"purpose": "ads", "decision": "granted", "legal_basis": "consent"}
    await add_system(deployment, "chat", "task", services=["chatra"])
    await add_system(deployment, "ads", "task", services=["google-ads", "other"])
    await add_system(deployment, "crm", "task")
    await erased(deployment, consent_event(1))
    assert await outcomes(deployment) == {("chat", None): 1, ("crm", None): 1}
    # A decision whose services nobody can name: any system may hold something.
    await erased(deployment, consent_event(2, decisions=[decision]))
    assert await outcomes(deployment) == {("chat", None): 2, ("crm", None): 2, ("ads", None): 1}


async def test_a_restriction_finds_who_lives_on_by_their_own_records_and_is_carried_over_by_their_erasure(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    await add_system(deployment, "later", url=f"{receiver.address}/later", services=["chatra"])
    await add_system(deployment, "good", url=f"{receiver.address}/good", services=["other"])
    await add_system(deployment, "human", "task", services=["chatra"])
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="v-lives"))])
        await deployment.recorded(1)
    subject = await deployment.subject_of("v-lives")
    cause = Cause(deployment.controller, "event:1", "restrict", subject=subject, purpose="chat-history")
    connection = await deployment.connect()
    try:
        assert await make_triggers(connection, cause, datetime.now(UTC)) == 3
        assert await make_triggers(connection, cause, datetime.now(UTC)) == 0
    finally:
        await connection.close()
    async with engine() as running:
        await running.round()
    # The system without a service of theirs was never told of them.
    assert (receiver.received("good"), await outcomes(deployment)) == ([], {("later", None): 1, ("human", None): 1})
    data = json.loads(receiver.received("later")[0]["body"])["data"]
    assert (data["action"], data["purpose"]) == ("restrict", "chat-history")
    assert opened(data["sealed"]) == {"identifiers": [{"type": "cookie", "value": "v-lives"}]}
    await erased(deployment, consent_event(2, subject="v-lives"))
    rows = await deployment.fetch("SELECT subject, docket FROM triggers WHERE action = 'restrict'")
    assert {tuple(row) for row in rows} == {(None, 1)}


async def test_who_lives_on_is_overdue_by_the_date(deployment: Deployment, engine: MakeEngine) -> None:
    await add_system(deployment, "human", "task", answer_days=2)
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="v-lives"))])
        await deployment.recorded(1)
    connection = await deployment.connect()
    cause = Cause(deployment.controller, "event:1", "restrict", subject=await deployment.subject_of("v-lives"))
    try:
        await make_triggers(connection, cause, datetime.now(UTC))
    finally:
        await connection.close()
    async with engine() as running:
        await running.round()
        assert await outcomes(deployment) == {("human", None): 1}
        running.clock.forward(days=3)
        await running.round()
    assert await outcomes(deployment) == {("human", "overdue"): 1}


async def test_messages_of_other_kinds_go_as_they_are_and_leave_nothing_behind(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    await add_system(deployment, "later", url=f"{receiver.address}/later", tells=["notices"])
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.recorded(1)
    connection = await deployment.connect()
    name = uuid4()
    try:
        assert [row["system"] for row in await systems_told(connection, deployment.controller, "notices")] == ["later"]
        assert await systems_told(connection, deployment.controller, "triggers") == []
        for _ in range(2):
            await put_delivery(
                connection, (deployment.controller, "later"), "notice", b'{"n": 1}', datetime.now(UTC), name
            )
    finally:
        await connection.close()
    async with engine() as running:
        await running.round()
    (message,) = receiver.received("later")
    assert (message["body"], message["headers"]["webhook-id"]) == ('{"n": 1}', str(name))
    Webhook(secret_of(deployment, "later")).verify(message["body"], message["headers"])
    assert not await deployment.fetch("SELECT FROM deliveries")


async def test_a_system_that_changes_its_key_can_read_what_is_sent_again(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    from joserfc.jwk import ECKey

    await add_system(deployment, "broken", url=f"{receiver.address}/broken")
    another = ECKey.generate_key("P-256").as_dict(private=False)
    await deployment.fetch("UPDATE downstreams SET sealed_to = $1", json.dumps(another).encode())
    await erased(deployment, consent_event(1, subject="v-1"))
    async with engine() as running:
        await running.round()
        await deployment.fetch("DELETE FROM downstreams")
        await add_system(deployment, "broken", url=f"{receiver.address}/broken")
        running.clock.forward(seconds=7)
        await running.round()
    last = json.loads(receiver.received("broken")[-1]["body"])
    assert opened(last["data"]["sealed"])["identifiers"] == [{"type": "cookie", "value": "v-1"}]


async def test_a_task_taken_down_by_nobody_and_a_removed_system_end_overdue(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    await add_system(deployment, "good", url=f"{receiver.address}/good")
    await erased(deployment, consent_event(1))
    await deployment.fetch("UPDATE downstreams SET removed_at = now()")
    async with engine() as running:
        await running.round()
        assert not receiver.received("good")
        running.clock.forward(days=30)
        await running.round()
    assert await outcomes(deployment) == {("good", "overdue"): 1}
    assert timedelta(0) < (await one(deployment, "SELECT limit_at - opened_at AS life FROM dockets"))["life"]
