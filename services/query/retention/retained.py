"""What a controller states of how long it keeps what, runs that it asks for, and what a person reads of it.

Invariant: query deletes nothing and decides nothing: the ledger does, by the rules as they stand; a rule once stated is
never changed, the latest statement counts.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import orjson

from schemas.errors import NotFound
from schemas.record import format_time
from schemas.retention import RetentionRule, duration_of, read_rule
from services.postgres import Pool, PooledConnection, controller_transaction, named_queries
from services.query.auth import Caller, Myself
from services.query.decisions import Decisions

Row = asyncpg.Record
_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "retention.sql")
RUNS_SHOWN_MAX: Final = 100
_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Retained:
    """Reads and statements of one controller, each in one transaction behind its wall."""

    pool: Pool
    subjects: Decisions

    async def rules(self, caller: Caller) -> dict[str, Any]:
        """Every rule in force."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            rows = await connection.fetch(_QUERIES["rules_now"], caller.controller)
        return {"rules": [{"rule": row["rule"], **_stated(row)} for row in rows if row["content"] is not None]}

    async def rule(self, caller: Caller, rule: str) -> dict[str, Any]:
        """One rule with everything that was ever stated of it, the latest first. Raises NotFound."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            rows = await connection.fetch(_QUERIES["rule_history"], caller.controller, rule)
        if not rows:
            raise NotFound
        return {"rule": rule, "stated": [_stated(row) for row in rows]}

    async def state(self, caller: Caller, rule: str, content: RetentionRule) -> bool:
        """Whether this is news."""
        return await self._state(caller, rule, content.content())

    async def end(self, caller: Caller, rule: str) -> None:
        """The rule takes and keeps nothing any more. Raises NotFound for one that is not in force."""
        if not await self._state(caller, rule, None):
            raise NotFound

    async def _state(self, caller: Caller, rule: str, content: bytes | None) -> bool:
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            values = caller.controller, rule, content, caller.key
            return await connection.fetchval(_QUERIES["state_rule"], *values) is not None

    async def ask(self, caller: Caller, *, is_preview: bool, wait_s: int) -> dict[str, Any]:
        """Ask the ledger for a run; how it stands after so many seconds, or when it is done."""
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            run = await connection.fetchval(_QUERIES["ask_run"], caller.controller, uuid4(), caller.key, is_preview)
        deadline = time.monotonic() + wait_s
        while (standing := await self.run(caller, run))["state"] != "done" and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_S)
        return standing

    async def run(self, caller: Caller, run: UUID) -> dict[str, Any]:
        """What became of a run. Raises NotFound."""
        return _run(await self._one(caller, "run", run))

    async def runs(self, caller: Caller) -> dict[str, Any]:
        """The latest, without previews."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            rows = await connection.fetch(_QUERIES["runs"], caller.controller, RUNS_SHOWN_MAX)
        return {"runs": [_run(row) for row in rows]}

    async def preview(self, caller: Caller) -> dict[str, Any]:
        """The latest preview that is done. Raises NotFound before there is one."""
        return _run(await self._one(caller, "last_preview"))

    async def mine(self, me: Myself) -> dict[str, Any]:
        """What the one who asks is told. Raises NotFound if nothing is known of this browser."""
        subject = await self.subjects.find(me.caller, me.identifier)
        async with controller_transaction(self.pool, me.caller.controller) as connection:
            return await told(connection, me.caller.controller, subject)

    async def _one(self, caller: Caller, query: str, *values: Any) -> Row:
        async with controller_transaction(self.pool, caller.controller) as connection:
            row = await connection.fetchrow(_QUERIES[query], caller.controller, *values)
        if row is None:
            raise NotFound
        return row


async def told(connection: PooledConnection, controller: int, subject: UUID) -> dict[str, Any]:
    """What a person is told: each rule's sentence and periods, and the days from which rules take what is theirs.

    A law that keeps something may move such a day back, as may a hold; nothing goes before it. For the person's file.
    """
    rows = await connection.fetch(_QUERIES["rules_now"], controller)
    rules = {row["rule"]: read_rule(row["content"]) for row in rows if row["content"] is not None}
    deleted_at = await connection.fetchval(_QUERIES["deletion"], controller, subject)
    withdrawn = {
        row["purpose"]: row["since"] for row in await connection.fetch(_QUERIES["withdrawn"], controller, subject)
    }
    due = [one for name, rule in rules.items() for one in _due(name, rule, deleted_at, withdrawn)]
    answer: dict[str, Any] = {"rules": [_told(name, rule) for name, rule in rules.items()], "due": due}
    if deleted_at is not None:
        answer["account_deleted_at"] = format_time(deleted_at)
    return answer


def _told(name: str, rule: RetentionRule) -> dict[str, Any]:
    stated = rule.model_dump(mode="json", exclude_none=True)
    return {"rule": name, "is_kept_by_law": rule.then == "keep", **stated}


def _due(
    name: str, rule: RetentionRule, deleted_at: datetime | None, withdrawn: Mapping[str, datetime]
) -> Sequence[dict[str, str]]:
    """The ends of periods that run for a person."""
    if rule.after is None or rule.begins not in {"withdrawn", "account-deleted"}:
        return []
    period = duration_of(rule.after)
    if rule.begins == "account-deleted":
        return [] if deleted_at is None else [{"rule": name, "from": format_time(period.after(deleted_at))}]
    named = rule.applies_to.purposes
    return [
        {"rule": name, "purpose": purpose, "from": format_time(period.after(since))}
        for purpose, since in withdrawn.items()
        if rule.applies_to.category is None and (named is None or purpose in named)
    ]


def _stated(row: Row) -> dict[str, Any]:
    """A statement; the end of a rule has no content."""
    answer: dict[str, Any] = {"stated_at": format_time(row["stated_at"]), "stated_by": row["stated_by"]}
    return answer if row["content"] is None else {**answer, "content": orjson.loads(row["content"])}


def _run(row: Row) -> dict[str, Any]:
    state = "done" if row["finished_at"] is not None else "running" if row["has_begun"] else "waiting"
    answer: dict[str, Any] = {
        "run": str(UUID(int=row["run"].int)),
        "preview": row["is_preview"],
        "state": state,
        "asked_by": row["asked_by"],
        "asked_at": format_time(row["asked_at"]),
        "as_of": format_time(row["as_of"]),
        "parts_deleted": row["cleared"],
    }
    if row["finished_at"] is not None:
        answer["finished_at"] = format_time(row["finished_at"])
    nothing: dict[str, Any] = {"parts": {}, "erased": {}, "told": {}, "held": 0, "unreadable": 0, "sample": []}
    counts = nothing if row["counts"] is None else orjson.loads(row["counts"])
    if not row["is_preview"]:
        del counts["sample"]
    return answer | counts
