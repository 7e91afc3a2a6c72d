"""Triggers as query sees them: who was told, what each answered, and answers that come over HTTP or from a human.

Invariant: query changes no trigger; an answer is an event, and counts once the ledger has recorded it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from schemas.errors import ConfigurationError, NotFound, StreamAway, WrongKey
from schemas.record import format_time
from schemas.rights_errors import TriggerAnswered
from schemas.triggers import TriggerAnswer
from services.keys import ControllerKeys
from services.keys.webhooks import HEADER_ID, is_signed, webhook_secret
from services.postgres import Pool, controller_transaction
from services.query.asking import RETRY_AFTER_S, Asking, Site
from services.query.auth import Caller
from services.query.downstreams.bodies import TasksParameters, TriggersParameters
from services.query.downstreams.store import DownstreamStore, find_trigger
from services.query.erasure.dockets import docket_content
from services.query.store import Row

ANSWERED: Final = "trigger.answered"
OVERDUE: Final = "overdue"
# Whoever answers waits so long for it to be recorded.
WAIT_S: Final = 5
# Takes the place of the secret of a system that is not there, so that both look the same.
_NO_SECRET: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Triggers:
    """Reads triggers, asks for answers to be recorded; holds the keys that open dockets."""

    pool: Pool
    keys: ControllerKeys
    asking: Asking

    async def page(self, caller: Caller, page: TriggersParameters) -> dict[str, Any]:
        """Triggers of a state."""
        return await self._page(caller, page.state, page.after, page.limit, "triggers")

    async def tasks(self, caller: Caller, page: TasksParameters) -> dict[str, Any]:
        """What the controller's own people have to do; nobody is named."""
        return await self._page(caller, "task", page.after, page.limit, "tasks")

    async def _page(self, caller: Caller, state: str | None, after: UUID, limit: int, name: str) -> dict[str, Any]:
        async with controller_transaction(self.pool, caller.controller) as connection:
            rows = await DownstreamStore(connection, caller.controller).rows("triggers", state, after, limit + 1)
        now = datetime.now(UTC)
        shown = [described(row, now) for row in rows[:limit]]
        return {name: shown, **({"next": shown[-1]["trigger"]} if len(rows) > limit else {})}

    async def one(self, caller: Caller, trigger: UUID) -> dict[str, Any]:
        """Raises NotFound."""
        return described(await self._row(caller, trigger), datetime.now(UTC))

    async def task(self, caller: Caller, trigger: UUID) -> dict[str, Any]:
        """A task with what finds the person: the docket's identifiers, or the id of who lives on. Raises NotFound.

        Nothing once it is answered: whoever sees to it has no need of it any more.
        """
        row = await self._row(caller, trigger)
        if row["kind"] != "task":
            raise NotFound
        answer = described(row, datetime.now(UTC))
        if row["answered_at"] is not None:
            return answer
        if row["subject"] is not None:
            return {**answer, "subject": str(UUID(int=row["subject"].int))}
        return {**answer, "identifiers": await self._identifiers(caller, row["docket"])}

    async def answer(self, caller: Caller, trigger: UUID, answer: TriggerAnswer) -> dict[str, Any]:
        """Have an answer recorded; what stands then. The same answer again does no harm.

        Raises NotFound, TriggerAnswered for another one after the first, StreamAway.
        """
        row = await self._row(caller, trigger)
        if not _is_open(row):
            return _agreed(row, answer)
        members: dict[str, Any] = {"trigger": str(trigger), "system": row["system"], "action": row["action"]}
        if row["purpose"]:
            members["purpose"] = row["purpose"]
        if row["docket"] is not None:
            members["docket"] = row["docket"]
        members |= {"by": caller.role, **answer.model_dump(exclude_none=True)}
        place = await self._place(caller)
        await self.asking.ask(caller, place, ANSWERED, {"trigger": members}, {}, WAIT_S)
        row = await self._row(caller, trigger)
        return described(row, datetime.now(UTC)) if _is_open(row) else _agreed(row, answer)

    async def system_caller(self, trigger: UUID, headers: Mapping[str, str], body: bytes) -> Caller:
        """The system that has signed an answer to this trigger, as who asks.

        Raises WrongKey, for a trigger that is not there as for a signature that is not its system's, or that was made
        for another trigger: the id under the signature has to name this one.
        """
        row = await find_trigger(self.pool, trigger)
        secret = _NO_SECRET
        if row is not None:
            try:
                key = self.keys.webhook_key(row["controller_name"])
            except ConfigurationError:
                raise WrongKey from None
            secret = webhook_secret(key, row["system"], row["secret_number"])
        is_about_it = str(trigger) in headers.get(HEADER_ID, "")
        if not is_signed(secret, headers, body, time.time()) or not is_about_it or row is None:
            raise WrongKey
        return Caller(row["controller"], row["controller_name"], "system", f"system:{row['system']}")

    async def _row(self, caller: Caller, trigger: UUID) -> Row:
        async with controller_transaction(self.pool, caller.controller) as connection:
            row = await DownstreamStore(connection, caller.controller).row("trigger", trigger)
        if row is None:
            raise NotFound
        return row

    async def _place(self, caller: Caller) -> Site:
        async with controller_transaction(self.pool, caller.controller) as connection:
            row = await DownstreamStore(connection, caller.controller).row("site_for_triggers")
        if row is None:
            raise StreamAway(retry_after_s=RETRY_AFTER_S)
        return Site(row["site"], row["log"])

    async def _identifiers(self, caller: Caller, docket: int) -> list[dict[str, str]]:
        """Of a docket; empty once it is closed. Raises ProofError for one that does not open."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            store = DownstreamStore(connection, caller.controller)
            content = await docket_content(store, self.keys, caller, docket)
        identifiers: list[dict[str, str]] = content.get("identifiers", [])
        return identifiers


async def told(store: DownstreamStore, docket: int) -> list[dict[str, Any]]:
    """Per system: who was told of an erasure, and what they answered (GDPR Art. 19)."""
    now = datetime.now(UTC)
    return [described(row, now) for row in await store.rows("triggers_of_docket", docket)]


def described(row: Row, now: datetime) -> dict[str, Any]:
    """A trigger: waiting (not taken yet), dead (given up), sent, answered, or overdue."""
    shown: dict[str, Any] = {
        "trigger": str(row["trigger"]),
        "system": row["system"],
        "kind": row["kind"],
        "action": row["action"],
        "purpose": row["purpose"] or None,
        "state": _state(row, now),
        "made_at": format_time(row["made_at"]),
        "due_at": format_time(row["due_at"]),
        "sent_at": None if row["sent_at"] is None else format_time(row["sent_at"]),
        "answered_at": None if _is_open(row) else format_time(row["answered_at"]),
        "outcome": row["outcome"],
        "reason": row["reason"],
        "docket": row["docket"],
        "instructions": row["instructions"] if row["kind"] == "task" else None,
        "is_given_up": True if row["dead_at"] is not None else None,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _state(row: Row, now: datetime) -> str:
    if not _is_open(row):
        return "answered"
    if row["due_at"] <= now or row["outcome"] == OVERDUE:
        return OVERDUE
    return "sent" if row["sent_at"] is not None else "waiting"


def _is_open(row: Row) -> bool:
    """Whether an answer is still news; one that comes after the date is better than none."""
    return row["answered_at"] is None or row["outcome"] == OVERDUE


def _agreed(row: Row, answer: TriggerAnswer) -> dict[str, Any]:
    """What stands, if that is what is answered now. Raises TriggerAnswered."""
    if (row["outcome"], row["reason"]) != (answer.outcome, answer.reason):
        raise TriggerAnswered
    return described(row, datetime.now(UTC))
