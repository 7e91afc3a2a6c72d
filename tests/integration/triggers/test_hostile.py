"""Systems that mean no good, and answers that come at the worst moment: nobody else waits, nothing is left undone."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from services.ledger.downstream.triggers import QUERIES
from tests.integration.triggers.conftest import Engine
from tests.integration.triggers.test_deliveries import erased, nobody_delivers
from tests.support.deployment import Deployment, consent_event
from tests.support.downstream import add_system, outcomes
from tests.support.receiver import Receiver
from tests.support.wait import until

MakeEngine = Callable[..., AbstractAsyncContextManager[Engine]]

__all__ = ["nobody_delivers"]
pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nobody_delivers")]


async def test_an_answer_that_comes_while_its_trigger_is_about_to_be_sent_waits_for_nobody(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    """Who answers locks the trigger, then its delivery; who sends holds the delivery."""
    await add_system(deployment, "good", url=f"{receiver.address}/good")
    await erased(deployment, consent_event(1))
    (trigger,) = [row["trigger"] for row in await deployment.fetch("SELECT trigger FROM triggers")]
    connection = await deployment.connect()
    try:
        async with engine() as running:
            async with connection.transaction():
                locked = await connection.fetch(QUERIES["lock_triggers"], deployment.controller, [trigger])
                assert len(locked) == 1
                await running.deliveries.work()

                async def claimed_or_waits() -> bool:
                    waiting = "SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'"
                    return not running.deliveries._under_way or bool(await deployment.fetch(waiting, "test-engine"))

                await until(claimed_or_waits, what="the engine has claimed the delivery")
                now = datetime.now(UTC)
                async with asyncio.timeout(5):
                    await connection.execute(QUERIES["answer"], deployment.controller, trigger, now, "done", None)
            await running.round()
    finally:
        await connection.close()
    assert await outcomes(deployment) == {("good", "done"): 1}
    assert (receiver.received("good"), running.deliveries._troubled) == ([], {})


def test_a_reason_is_text_that_can_be_kept() -> None:
    from schemas.triggers import read_answer

    assert read_answer({"outcome": "refused", "reason": "a law:\nkeep it"}) is not None
    for reason in ("a\x00b", "\x1b[2J", "a\u2028b"):
        assert read_answer({"outcome": "refused", "reason": reason}) is None


class _Hangs(BaseHTTPRequestHandler):
    """Takes a message and never answers, until it is let go."""

    let_go: threading.Event

    def do_POST(self) -> None:
        self.let_go.wait(60)

    def log_message(self, *args: Any) -> None:
        """Nothing to say."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


@contextmanager
def hanging() -> Iterator[str]:
    """The address of a system that hangs."""
    let_go = threading.Event()
    handler = type("Hangs", (_Hangs,), {"let_go": let_go})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


async def test_systems_that_hang_delay_themselves_alone(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine
) -> None:
    """However many connections they hold."""
    await add_system(deployment, "zz-good", url=f"{receiver.address}/good")
    with hanging() as address:
        for number in range(3):
            await add_system(deployment, f"hangs-{number}", url=f"{address}/{number}")
        await erased(deployment, *(consent_event(n) for n in range(40)))
        async with engine() as running:
            # Those that hang are first in the queue for whatever all share.
            held = await deployment.fetch("UPDATE deliveries SET next_at = next_at + '1 hour' WHERE system = 'zz-good'")
            assert held == []
            await running.deliveries.work()
            await until(lambda: _posted(running), what="the systems hang")
            await deployment.fetch(
                "UPDATE deliveries SET next_at = next_at - interval '1 hour' WHERE system = 'zz-good'"
            )
            await running.deliveries.work()

            async def told() -> bool:
                return len(receiver.received("good")) == 40

            await until(told, deadline_s=6, what="the one that answers was told")


async def test_a_name_that_nobody_resolves_takes_no_thread_of_the_ledger(
    deployment: Deployment, receiver: Receiver, engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signing and erasing use the process's own threads (asyncio.to_thread)."""
    let_go, asked, really = threading.Event(), threading.Event(), socket.getaddrinfo

    def hangs(host: Any, *args: Any, **more: Any) -> Any:
        if host == "dead.example":
            asked.set()
            let_go.wait(30)
            raise socket.gaierror("nobody knows")
        return really(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    await add_system(deployment, "dead", url="http://dead.example/")
    await add_system(deployment, "good", url=receiver.address.replace("127.0.0.1", "localhost") + "/good")
    await erased(deployment, *(consent_event(n) for n in range(40)))
    try:
        async with engine() as running:
            await running.deliveries.work()
            await until(lambda: _is_set(asked), what="the name is looked up")
            async with asyncio.timeout(3):
                await asyncio.gather(*(asyncio.to_thread(int) for _ in range(8)))

            async def told() -> bool:
                return len(receiver.received("good")) == 40

            await until(told, deadline_s=6, what="the other system was told")
            let_go.set()
    finally:
        let_go.set()


async def _is_set(event: threading.Event) -> bool:
    return event.is_set()


async def _posted(running: Engine) -> bool:
    """Whether every system that hangs is being posted to."""
    return len(running.deliveries._under_way) == 3


async def test_a_damaged_key_stops_no_feed(deployment: Deployment, receiver: Receiver) -> None:
    """What does not open is told without its id, and fsck says why; the others are told."""
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(n, subject=f"v-{n}")) for n in range(2)])
        await deployment.recorded(2)
    await deployment.fetch(
        "UPDATE subjects SET wrapped_key = set_byte(wrapped_key, 0, get_byte(wrapped_key, 0) # 1) WHERE subject = $1",
        await deployment.subject_of("v-0"),
    )
    await add_system(deployment, "feed", url=f"{receiver.address}/later", tells=["records"])
    await deployment.fetch("UPDATE downstreams SET added_at = now() - interval '1 day'")
    async with deployment.ledger():

        async def told() -> bool:
            return bool(await deployment.fetch("SELECT FROM deliveries WHERE kind = 'records'"))

        await until(told, what="the records are told")
    (row,) = await deployment.fetch("SELECT body FROM deliveries WHERE kind = 'records'")
    records = json.loads(row["body"])["data"]["records"]
    assert [("id" in record, record["index"]) for record in records] == [(False, 0), (True, 1)]
