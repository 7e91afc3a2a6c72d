"""Deliveries to downstream systems: claimed, sent, noted; again until they are taken or their time is up.

Invariant: nothing is sent while a lock is held, so a slow system delays nobody but itself; what was sent and not noted
(a crash) is sent again under the same id. Several ledgers may run: a claimed delivery is leased to one of them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson

from schemas.record import format_time
from services.keys import ControllerKeys
from services.keys.jwe import is_sealed_to, key_id, seal_to
from services.keys.webhooks import webhook_secret
from services.ledger.downstream.answers import BUSY, Failed, Noted, Noting, Said
from services.ledger.downstream.schedule import ends_at, next_attempt
from services.ledger.downstream.sealing import Finder
from services.ledger.downstream.topic import TopicMessage, TriggersTopic
from services.ledger.downstream.triggers import QUERIES
from services.ledger.downstream.webhooks import Attempt, Ended, Webhooks
from services.ledger.metrics import LedgerMetrics
from services.ledger.store import Row
from services.observability import describe, get_logger
from services.postgres import PooledConnection

# How often `work` is to be called.
LOOK_S: Final = 0.2
# Deliveries of one system under way at a time: sent together, noted together.
AT_ONCE: Final = 32
# Longer than an attempt and its noting can take; after it another ledger sends what this one has claimed.
LEASE: Final = timedelta(seconds=60)
# Connections of the pool that deliveries may hold at a time; the others are the recorder's.
CONNECTIONS_AT_ONCE: Final = 2
# A system whose deliveries cannot be claimed or noted is left alone for so long.
TROUBLED_S: Final = 5.0
NOTE_ATTEMPTS_MAX: Final = 5

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Item:
    """One claimed delivery. Of a trigger `data` is what the system is told, None if it could not be sealed."""

    row: Row
    ends_at: datetime
    trigger: UUID | None = None
    event_type: str = ""
    data: dict[str, Any] | None = None

    @property
    def delivery(self) -> UUID:
        found: UUID = self.row["delivery"]
        return found


class Deliveries:
    """Sends what is due; one per ledger process."""

    def __init__(
        self,
        noting: Noting,
        bootstrap: str | None,
        metrics: LedgerMetrics,
        clock: Callable[[], datetime],
        *,
        inside: bool,
    ) -> None:
        """`bootstrap` is the broker's host:port[,host:port], None without one; `clock` says when things are due;
        `inside` whether webhooks may go to private addresses.
        """
        self._noting = noting
        self._pool = noting.pool
        self._keys: ControllerKeys = noting.keys
        self._finder = Finder(noting.keys, noting.event_id_key)
        self._topic = TriggersTopic(bootstrap)
        self._webhooks = Webhooks(inside=inside)
        self._metrics = metrics
        self._clock = clock
        self._turns = asyncio.Semaphore(CONNECTIONS_AT_ONCE)
        # By (controller, system): the task that serves it, and until when (monotonic) one in trouble is left alone.
        self._under_way: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._troubled: dict[tuple[int, str], float] = {}

    async def work(self) -> int:
        """Begin to serve each system that something is due for and nobody serves; how many. Waits for none of them."""
        async with self._turns, self._pool.acquire() as connection:
            due = await connection.fetch(QUERIES["due_systems"], self._clock())
        begun = 0
        for system in due:
            key = system["controller"], system["system"]
            if key in self._under_way or self._troubled.get(key, 0.0) > time.monotonic():
                continue
            task = self._under_way[key] = asyncio.create_task(self._serve(key, system))
            task.add_done_callback(partial(self._done, key))
            begun += 1
        return begun

    def _done(self, key: tuple[int, str], _task: asyncio.Task[None]) -> None:
        self._under_way.pop(key, None)

    async def settled(self) -> None:
        """Wait until nothing is under way any more."""
        while self._under_way:
            await asyncio.gather(*self._under_way.values())

    async def stop(self) -> None:
        """Drop what is under way: it is leased, and sent again."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._webhooks.stop()
        await self._topic.stop()

    async def _serve(self, key: tuple[int, str], system: Row) -> None:
        """Send what is due for one system, some at a time, until there is nothing left."""
        try:
            while items := await self._claim(system):
                attempts = await self._send(system, items)
                for attempt in attempts:
                    self._metrics.deliveries.labels(attempt.ended).inc()
                await self._note(system, items, attempts)
        except Exception as error:  # noqa: BLE001 - whatever one system leads to, recording and the others go on
            self._troubled[key] = time.monotonic() + TROUBLED_S
            _log.warning("Deliveries to a system stopped; trying again later.", backoff_s=TROUBLED_S, **describe(error))

    # --- claim ---

    async def _claim(self, system: Row) -> list[Item]:
        """1. Lease some deliveries; 2. seal what triggers among them need; 3. commit, before anything is sent."""
        now = self._clock()
        controller = system["controller"]
        async with self._turns, self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(QUERIES["claim"], controller, system["system"], now, now + LEASE, AT_ONCE)
            wanted = [row["trigger"] for row in rows if row["trigger"] is not None]
            found = await connection.fetch(QUERIES["triggers_to_send"], controller, wanted) if wanted else []
            triggers = {row["trigger"]: row for row in found}
            items = []
            for row in rows:
                if row["trigger"] is None:
                    items.append(Item(row, ends_at(row["made_at"], None, None)))
                elif (trigger := triggers.get(row["trigger"])) is None:
                    # Being answered just now; if it is not, it is sent when the lease ends.
                    continue
                elif (item := await self._claimed(connection, system, row, trigger)) is not None:
                    items.append(item)
            return items

    async def _claimed(self, connection: PooledConnection, system: Row, row: Row, trigger: Row) -> Item | None:
        """A delivery of a trigger; None if the system turns out to hold nothing of the person."""
        end = ends_at(row["made_at"], trigger["due_at"], trigger["limit_at"])
        event_type = f"trigger.{trigger['action']}"
        if system["kind"] == "task":
            return Item(row, end, row["trigger"], event_type, {})
        sealed = trigger["sealed"]
        if sealed is None or not is_sealed_to(sealed, key_id(system["sealed_to"])):
            found = await self._finder.find(connection, (system["controller"], system["name"]), trigger)
            if found is None:
                return Item(row, end, row["trigger"], event_type)
            if not found.concerns(system["services"]):
                await connection.execute(QUERIES["drop_trigger"], system["controller"], trigger["trigger"])
                return None
            sealed = seal_to(system["sealed_to"], found.content(trigger["docket"]))
            await connection.execute(QUERIES["keep_sealed"], system["controller"], trigger["trigger"], sealed)
        return Item(row, end, row["trigger"], event_type, _data(trigger, sealed))

    # --- send ---

    async def _send(self, system: Row, items: Sequence[Item]) -> list[Attempt]:
        """One attempt for each, all at once."""
        if system["kind"] == "task":
            # It is taken once it stands in the list of tasks.
            return [Attempt(Ended.TAKEN)] * len(items)
        unsealed = Attempt(Ended.NOT_SEALED)
        ready = [item for item in items if item.trigger is None or item.data is not None]
        if system["kind"] == "kafka":
            sent = await self._topic.publish(system["system"], [_topic_message(system, item) for item in ready])
        else:
            sent = await asyncio.gather(*(self._post(system, item) for item in ready))
        attempts = dict(zip((item.delivery for item in ready), sent, strict=True))
        return [attempts.get(item.delivery, unsealed) for item in items]

    async def _post(self, system: Row, item: Item) -> Attempt:
        key = self._keys.create_webhook_key(system["name"])
        # While a system changes to a new secret it still knows the one before.
        numbers = [n for n in (system["secret_number"], system["secret_number"] - 1) if n > 0]
        secrets = [webhook_secret(key, system["system"], number) for number in numbers]
        body = item.row["body"] if item.trigger is None else _cloud_event(system, item)
        sent_at = int(self._clock().timestamp())
        return await self._webhooks.post(system["url"], secrets, str(item.delivery), sent_at, body)

    # --- note ---

    async def _note(self, system: Row, items: Sequence[Item], attempts: Sequence[Attempt]) -> None:
        now = self._clock()
        noted = Noted()
        for item, attempt in zip(items, attempts, strict=True):
            if not attempt.is_taken:
                noted.failed.append(self._failed(item, attempt, now))
                continue
            noted.taken.append(item.delivery)
            if item.trigger is not None:
                noted.sent.append(item.trigger)
                if attempt.answer is not None:
                    noted.said[item.trigger] = Said(attempt.answer.outcome, attempt.answer.reason)
        for attempts_left in range(NOTE_ATTEMPTS_MAX - 1, -1, -1):
            try:
                async with self._turns:
                    await self._noting.note(system["controller"], noted, now)
                return
            except BUSY:
                if not attempts_left:
                    raise
                await asyncio.sleep(LOOK_S)

    def _failed(self, item: Item, attempt: Attempt, now: datetime) -> Failed:
        next_at = next_attempt(item.row["attempts"], now, item.ends_at)
        if next_at is not None:
            return Failed(item.delivery, next_at, attempt.status, None)
        _log.warning("A delivery is given up: a dead letter.", status=attempt.status, outcome=attempt.ended)
        return Failed(item.delivery, now, attempt.status, now)


def _data(trigger: Row, sealed: bytes) -> dict[str, Any]:
    """What a system is told: nothing of the person outside the seal."""
    data: dict[str, Any] = {"trigger": str(trigger["trigger"]), "action": trigger["action"]}
    if trigger["purpose"]:
        data["purpose"] = trigger["purpose"]
    return {**data, "due_at": format_time(trigger["due_at"]), "sealed": sealed.decode()}


def _cloud_event(system: Row, item: Item) -> bytes:
    """Structured mode (CloudEvents 1.0, JSON format)."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": str(item.trigger),
            "source": _source(system),
            "type": item.event_type,
            "time": format_time(item.row["made_at"]),
            "datacontenttype": "application/json",
            "data": item.data,
        }
    )


def _topic_message(system: Row, item: Item) -> TopicMessage:
    assert item.trigger is not None  # a topic is told triggers alone
    return TopicMessage(item.trigger, _source(system), item.event_type, orjson.dumps(item.data))


def _source(system: Row) -> str:
    return f"/controllers/{system['name']}"
