"""Reminds of requests that are due: seven days and two days before, and when the day is over. Each is a record.

Invariant: one reminder of a kind for one due day, whoever runs this and how often; a due day that moves is reminded of
anew. Nothing is sent to anybody: the record, the list of requests and a metric are where people look.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

from services.deadlines import Counting, ends_at
from services.ledger.appending import Appending, LogClosed, LogNotOpen
from services.ledger.erasure.housekeeping import House
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.subject import log_of
from services.ledger.opening import Opened
from services.ledger.own_records import own_record
from services.ledger.registry import Log
from services.ledger.rights.act import Act
from services.ledger.rights.requests import take_step, terms_at
from services.ledger.store import Row
from services.postgres import PooledConnection, named_queries

REMINDED: Final = "request.reminded"
# Days before the last one, the latest reminder last.
Reminder = Literal["7_days", "2_days", "overdue"]
_BEFORE: Final[tuple[tuple[Reminder, int], ...]] = (("7_days", 7), ("2_days", 2))
# No zone is further ahead of UTC.
_AHEAD: Final = timedelta(days=1)
_SQL: Final = named_queries(Path(__file__).parents[1] / "sql" / "requests.sql")


async def remind(house: House, now: datetime) -> int:
    """One round over all controllers; how many open requests are overdue. `now` is given so that a test can move it."""
    due = now.date() + _AHEAD + timedelta(days=_BEFORE[0][1])
    async with house.pool.acquire() as connection:
        controllers = [row["controller"] for row in await connection.fetch(_SQL["controllers_with_due"], due)]
    overdue = 0
    for controller in controllers:
        try:
            overdue += await _remind_of(house, controller, due, now)
        except (LogNotOpen, LogClosed):
            # A successor log is about to begin: the next round finds it.
            continue
    return overdue


def reminder_of(due: date, counting: Counting, now: datetime) -> Reminder | None:
    """The reminder whose time has come for a request that is due on a day."""
    if now >= ends_at(due, counting):
        return "overdue"
    left = (due - counting.day_of(now)).days
    reminders = [name for name, before in _BEFORE if left <= before]
    return reminders[-1] if reminders else None


async def _remind_of(house: House, controller: int, due: date, now: datetime) -> int:
    """1. Lock the heads, as whoever writes does; 2. look which reminders are due and were not given; 3. write them, as
    records of nobody: they name a request and a day; 4. project them like any step.
    """
    async with house.pool.acquire() as connection, connection.transaction():
        logs = {row["log"]: log_of(row) for row in await ErasureStore(connection).open_logs(controller)}
        appending = Appending(connection, house.keys, {}, house.high_water.sizes(), announce=False)
        await appending.lock_heads(logs.values())
        rows = await connection.fetch(_SQL["due_soon"], controller, due)
        records: list[Opened] = []
        overdue = 0
        for row in rows:
            counting = Counting.by(await terms_at(connection, controller, row["received_at"]))
            reminder = reminder_of(row["due_on"], counting, now)
            overdue += reminder == "overdue"
            given = row["reminded_at"] and reminder_of(row["due_on"], counting, row["reminded_at"])
            if reminder is not None and reminder != given and row["log"] in logs:
                records.append(_record(logs[row["log"]], house.event_id_key, row, reminder, now))
        if records:
            await _write(connection, appending, records)
        return overdue


def _record(log: Log, event_id_key: bytes, row: Row, reminder: Reminder, now: datetime) -> Opened:
    said = {
        "request": str(UUID(int=row["request"].int)),
        "nth": row["steps"],
        "reminder": reminder,
        "due_on": row["due_on"].isoformat(),
    }
    if row["docket"] is not None:
        said["docket"] = row["docket"]
    return own_record(log, event_id_key, REMINDED, {"request": said}, now)


async def _write(connection: PooledConnection, appending: Appending, records: Sequence[Opened]) -> None:
    ends = {record.log.log: appending.heads[record.log.controller, record.log.log].size for record in records}
    await appending.write(records)
    for record in records:
        log = record.log
        act = Act(
            controller=log.controller,
            controller_name=log.controller_name,
            log=log.log,
            log_name=log.name,
            index=ends[log.log],
            event=record.event,
            subject=None,
            received_at=record.received_at,
            who={},
            what=record.what,
            context={},
        )
        ends[log.log] += 1
        await take_step(connection, act)
