"""Many erasures told to systems that are down, slow, answer twice or wrongly, cannot do it, or come back after days.

Shared by `make test` (60) and `make test-exhaustive` (10,000). The ledger is a process that is killed (SIGKILL)
while it erases and while it tells; its clock for deliveries is moved.
"""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import orjson
from standardwebhooks import Webhook

from deploy.kafka.node import free_port
from services.ledger.fsck.check import check
from tests.integration.query.conftest import serving
from tests.support.deployment import Deployment, consent_event
from tests.support.downstream import add_system, opened, outcomes, query_settings
from tests.support.moved_clock import move
from tests.support.processes import ServiceProcess
from tests.support.receiver import Receiver
from tests.support.wait import until

AT_ONCE = 500
LEASE = timedelta(seconds=61)
OPEN_TO_THE_END = ("wrong", "human")


class Play:
    """The ledger, the systems and the clock of one run."""

    def __init__(self, deployment: Deployment, folder: Path, count: int) -> None:
        self.deployment = deployment
        self.count = count
        self.deadline_s = 60 + count / 10
        self.clock, self.ahead = folder / "clock", timedelta(0)
        self.up, self.down = Receiver(free_port(), folder), Receiver(free_port(), folder)
        environment = deployment.ledger_environment()
        through = ("tests.support.moved_clock", self.clock)
        self.ledger = ServiceProcess("ledger", environment, folder / "ledger.log", through=through)

    def forward(self, by: timedelta) -> None:
        self.ahead += by
        move(self.clock, self.ahead)

    def kill(self) -> None:
        """At any point; the next one finds what this one left, once its leases have ended."""
        self.ledger.kill9()
        self.forward(LEASE)
        self.ledger.start()

    async def arrange(self) -> None:
        for name in ("good", "slow", "later", "wrong", "infeasible"):
            await add_system(self.deployment, name, url=f"{self.up.address}/{name}")
        await add_system(self.deployment, "down", url=f"{self.down.address}/down")
        await add_system(self.deployment, "human", "task", instructions="Look in the paper archive.")

    async def erase(self) -> None:
        """Everybody consents, and asks for erasure; in the middle of that the ledger is killed."""
        deployment = self.deployment
        for start in range(0, self.count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, self.count))
            await deployment.publish([deployment.seal(consent_event(n)) for n in numbers])
        await deployment.recorded(self.count, deadline_s=self.deadline_s)
        rows = await deployment.fetch("SELECT subject FROM subjects WHERE log IS NULL")
        asks = [deployment.seal_erasure(row["subject"]) for row in rows]
        for start in range(0, len(asks), AT_ONCE):
            await deployment.publish(asks[start : start + AT_ONCE])
        await self._until("SELECT count(*) >= $1 FROM erasures", self.count // 3, "a third is erased")
        self.kill()
        await self._until("SELECT count(*) = $1 FROM erasures", self.count, "everybody is erased")

    async def tell(self) -> None:
        """Those who answer at once have; killed in between."""
        enough = "SELECT count(*) >= $1 FROM triggers WHERE answered_at IS NOT NULL"
        await self._until(enough, self.count, "some have answered")
        self.kill()
        await self._until(enough, self.count * 3, "whoever answers at once has answered")
        sent = "SELECT count(*) = $1 FROM triggers WHERE sent_at IS NOT NULL"
        await self._until(sent, self.count * 5, "all others but those down and wrong were told")

    async def what_finds_them_is_there(self) -> None:
        """Of whoever has not answered the sealed identifiers and the docket, of the others the docket alone."""
        rows = await self.deployment.fetch(
            "SELECT t.system, t.sealed, t.docket, d.sealed IS NOT NULL AS is_open FROM triggers t"
            " JOIN dockets d ON d.controller = t.controller AND d.docket = t.docket"
        )
        assert all(row["is_open"] for row in rows)
        # A human is shown the docket; nothing is sealed for a task.
        sealed = Counter(row["system"] for row in rows if row["sealed"] is not None)
        assert sealed == dict.fromkeys(("down", "later", "wrong"), self.count)
        for row in rows[:: max(1, self.count // 10)]:
            if row["sealed"] is not None:
                content = opened(row["sealed"].decode())
                assert content["docket"] == row["docket"]
                assert [known["type"] for known in content["identifiers"]] == ["cookie"]

    async def come_back(self) -> None:
        """Down for two days; the pauses between attempts are 12 hours by then."""
        self.down.start()
        self.forward(timedelta(days=2))
        back = "SELECT count(*) = $1 FROM triggers WHERE system = 'down' AND outcome = 'done'"
        await self._until(back, self.count, "whoever was down has answered")

    async def answer_twice(self, secret: str) -> None:
        """The system that answers later does so over HTTP; some of its answers twice, and then otherwise."""
        settings = query_settings(self.deployment)
        messages = {m["headers"]["webhook-id"] for m in self.up.received("later")}
        assert len(messages) == self.count
        turns = asyncio.Semaphore(32)
        async with serving(settings) as address, httpx2.AsyncClient(base_url=address, timeout=30) as client:

            async def answer(trigger: str, again: bool) -> None:
                async with turns:
                    answers = [({"outcome": "done"}, 200)]
                    if again:
                        answers += [({"outcome": "done"}, 200), ({"outcome": "refused", "reason": "no"}, 409)]
                    for said, status in answers:
                        assert (await post_signed(client, secret, trigger, said)).status_code == status

            await asyncio.gather(*(answer(one, nth % 6 == 0) for nth, one in enumerate(sorted(messages))))

    async def end(self) -> None:
        """A month on: whoever has still not answered is overdue, in the log too, and nothing finds anybody any more."""
        self.forward(timedelta(days=31))
        over = "SELECT count(*) = 0 FROM triggers WHERE answered_at IS NULL"
        await self._until(over, None, "every trigger has ended")
        count = self.count
        assert await outcomes(self.deployment) == {
            ("good", "done"): count,
            ("slow", "done"): count,
            ("down", "done"): count,
            ("later", "done"): count,
            ("infeasible", "not_feasible"): count,
            ("wrong", "overdue"): count,
            ("human", "overdue"): count,
        }
        assert not await self.deployment.fetch("SELECT FROM triggers WHERE sealed IS NOT NULL")
        dockets = await self.deployment.fetch("SELECT sealed, outcome FROM dockets")
        assert {(row["sealed"], row["outcome"]) for row in dockets} == {(None, "limit")}
        assert len(dockets) == count
        for receiver, system in ((self.up, "good"), (self.up, "slow"), (self.up, "wrong"), (self.down, "down")):
            told = {orjson.loads(m["body"])["data"]["trigger"] for m in receiver.received(system)}
            assert len(told) == count, system
        assert self.ledger.stop() == 0
        await self._the_log_says_so()

    async def _the_log_says_so(self) -> None:
        """A record for each that was sent and for each that was answered; none twice, and the log is whole."""
        size = await self.deployment.size()
        answered, sent = 7 * self.count, 6 * self.count
        assert size == self.count * 2 + answered + sent
        report = await check(self.deployment.settings(), progress=lambda *_: None)
        assert report.clean, report.findings

    async def _until(self, sql: str, argument: Any, what: str) -> None:
        connection = await self.deployment.connect()

        async def holds() -> bool:
            assert self.ledger.alive, self.ledger.said()
            return bool(await connection.fetchval(sql, *(() if argument is None else (argument,))))

        try:
            await until(holds, what=what, deadline_s=self.deadline_s, poll_s=0.1)
        finally:
            await connection.close()


async def post_signed(
    client: httpx2.AsyncClient, secret: str, trigger: str, answer: Any, *, path: str = "/v1/triggers/{}/answer"
) -> httpx2.Response:
    """Answer as a system does, signed with the library of Standard Webhooks."""
    body, now = orjson.dumps(answer).decode(), datetime.now(UTC)
    headers = {
        "webhook-id": f"answer-{trigger}",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(f"answer-{trigger}", now, body),
        "content-type": "application/json",
    }
    return await client.post(path.format(trigger), content=body, headers=headers)


async def play(deployment: Deployment, folder: Path, count: int, secret: str) -> None:
    """The whole of it."""
    told = Play(deployment, folder, count)
    told.up.start()
    told.ledger.start()
    try:
        await told.arrange()
        await told.erase()
        await told.tell()
        await told.what_finds_them_is_there()
        await told.come_back()
        await told.answer_twice(secret)
        await told.end()
    finally:
        told.ledger.kill9()
        told.up.stop()
        told.down.stop()
