"""Triggers: what a cause (an erasure, a withdrawal, a restriction) has other systems do (design, section 3, Erasure).

Invariant: they are made in the transaction of their cause, so that none is lost and none is without one; the same cause
again makes nothing new. What finds the person is sealed later, when the engine sends (deliveries.py).
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import asyncpg
import orjson

from services.ledger.erasure.gathering import Gathered
from services.ledger.store import Row
from services.postgres import Connection, PooledConnection, named_queries

QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "triggers.sql")

# unrestrict: a restriction of the same purpose is over; for those who were told of it.
Action = Literal["erase", "anonymise", "restrict", "unrestrict"]
MessageKind = Literal["records", "notice"]
Told = Literal["triggers", "records", "notices"]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why systems have to act.

    cause: names it once for all, as "erasure:12" or "event:" and the hex of the event's dedupe name.
    docket: the erasure whose docket finds the person; subject: who lives on and is found by their own records.
    purpose: what is meant there, '' everything.
    """

    controller: int
    cause: str
    action: Action
    docket: int | None = None
    subject: UUID | None = None
    purpose: str = ""


async def make_triggers(
    connection: Connection | PooledConnection, cause: Cause, now: datetime, services: frozenset[str] | None = None
) -> int:
    """A trigger for each system that is told triggers and holds data of one of `services`; how many are new.

    `services` None is every system: of who lives on, the engine looks at their own records before it sends. Runs in the
    caller's transaction as sayso_ledger, without any key, so a projector may call it.
    """
    status = await connection.execute(
        QUERIES["make_triggers"],
        cause.controller,
        cause.cause,
        cause.action,
        cause.purpose,
        cause.docket,
        cause.subject,
        now,
        None if services is None else sorted(services),
    )
    return int(status.rpartition(" ")[2])


async def make_erasure_triggers(
    connection: Connection | PooledConnection, erasure: tuple[int, int], now: datetime, gathered: Gathered
) -> int:
    """Those of an erasure, (controller, number), whose docket is open; how many are new."""
    controller, number = erasure
    cause = Cause(controller, f"erasure:{number}", "erase", docket=number)
    return await make_triggers(connection, cause, now, await services_of(connection, controller, gathered))


async def adopt_triggers(
    connection: Connection | PooledConnection, erasure: tuple[int, int], subjects: list[UUID]
) -> None:
    """What is open for people who are erased now: the docket of (controller, number) finds them from now on."""
    await connection.execute(QUERIES["adopt_triggers"], *erasure, subjects)


async def services_of(
    connection: Connection | PooledConnection, controller: int, gathered: Gathered
) -> frozenset[str] | None:
    """The services that a person's decisions were about; None if one cannot be known, and any system may hold data."""
    if gathered.has_unnamed or gathered.has_unknown_services:
        return None
    if not await connection.fetchval(QUERIES["has_chosen_services"], controller):
        return None
    services = set(gathered.services)
    for notice, purpose in sorted(gathered.unserviced):
        named = _services_in(await connection.fetchval(QUERIES["notice_content"], controller, notice), purpose)
        if named is None:
            return None
        services |= named
    return frozenset(services)


def _services_in(content: bytes | None, purpose: str) -> set[str] | None:
    """Of a purpose in a notice; None for words that nobody has published, or without that purpose."""
    if content is None:
        return None
    for stated in orjson.loads(content)["purposes"]:
        if stated["purpose"] == purpose:
            return set(stated["services"])
    return None


async def put_delivery(
    connection: Connection | PooledConnection,
    to: tuple[int, str],
    kind: MessageKind,
    body: bytes,
    now: datetime,
    delivery: UUID | None = None,
) -> None:
    """A message of another kind to the webhook system `to` (controller, system): the exact bytes that are posted.

    `delivery` is its id and its webhook-id, random if left out; the same twice does no harm. Caller's transaction.
    """
    controller, system = to
    await connection.execute(
        QUERIES["put_delivery"], controller, uuid4() if delivery is None else delivery, system, kind, body, now
    )


async def systems_told(connection: Connection | PooledConnection, controller: int, told: Told) -> list[Row]:
    """system, kind, services of those that are told of it."""
    rows: list[asyncpg.Record] = await connection.fetch(QUERIES["systems_told"], controller, told)
    return rows


def trigger_members(row: Row | dict[str, Any]) -> dict[str, Any]:
    """What a record says of a trigger: which, where, what, and the docket; nobody's name."""
    members: dict[str, Any] = {"trigger": str(row["trigger"]), "system": row["system"], "action": row["action"]}
    if row["purpose"]:
        members["purpose"] = row["purpose"]
    if row["docket"] is not None:
        members["docket"] = row["docket"]
    return members
