"""Retention in a test: rules stated, events at days of one's choosing, runs under a clock that the test moves."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from schemas.canonical import canonical_json
from schemas.retention import RetentionRule
from services.ledger.acting import acting
from services.ledger.erasure.housekeeping import House
from services.ledger.fsck.check import check
from services.ledger.retention.runs import Retention
from services.stream.protocol import Message
from tests.support.deployment import BASE_TIME, Deployment, consent_event
from tests.support.wait import until

DAY = timedelta(days=1)
_NOTHING: dict[str, Any] = {"parts": {}, "erased": {}, "told": {}, "held": 0, "unreadable": 0, "sample": []}


def rule(then: str, begins: str = "received", after: str | None = "P90D", **members: Any) -> dict[str, Any]:
    """A rule with a sentence; `part`, `purposes` and `category` go where they belong."""
    applies = {name: members.pop(name) for name in ("part", "purposes", "category") if name in members}
    stated = {"applies_to": applies, "begins": begins, "then": then, "told": "We keep it as long as we say.", **members}
    return stated if after is None else {**stated, "after": after}


def decided(purpose: str, decision: str, legal_basis: str = "consent") -> dict[str, Any]:
    return {"purpose": purpose, "decision": decision, "legal_basis": legal_basis}


class Retaining:
    """One deployment, and the days since BASE_TIME on which things happen in it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._number = 0
        self._waiting: list[Message] = []

    async def state(self, name: str, **members: Any) -> None:
        """State a rule as of long ago, so that any clock finds it."""
        content = RetentionRule.model_validate(rule(**members)).content()
        await self.deployment.fetch(
            "INSERT INTO retention_rules (controller, rule, stated_at, content, stated_by)"
            " VALUES ($1, $2, $3, $4, 'me')",
            self.deployment.controller,
            name,
            BASE_TIME - DAY,
            content,
        )

    def happens(self, day: float, visitor: str | None, *decisions: dict[str, Any], **changes: Any) -> str:
        """An event that is received that day, recorded before anything is asked; its id.

        Of a visitor's cookie, of nobody, or of those whose `identifiers` are given.
        """
        self._number += 1
        moment = BASE_TIME + day * DAY
        identifiers = changes.pop("identifiers", None)
        changes.setdefault("context", {"country": "FR", "page": "https://shop.example/"})
        event = consent_event(self._number, subject=visitor, time=moment.strftime("%Y-%m-%dT%H:%M:%SZ"), **changes)
        event["data"]["decisions"] = list(decisions)
        if not decisions:
            del event["data"]["decisions"]
        if identifiers is not None:
            event["data"]["subject"] = {"identifiers": identifiers}
        elif visitor is None:
            del event["data"]["subject"]
        self._waiting.append(self.deployment.seal(event, received_at=moment))
        event_id: str = event["id"]
        return event_id

    async def settle(self) -> None:
        """Have recorded what happened."""
        if self._waiting:
            before = await self.deployment.size()
            await self.deployment.publish(self._waiting)
            await self.deployment.recorded(before + len(self._waiting))
            self._waiting.clear()

    async def run(self, at: datetime, *, is_preview: bool = False) -> dict[str, Any]:
        """A run on demand at a moment; what it counted."""
        await self.settle()
        run = await self.ask(at, is_preview=is_preview)
        async with self._acting() as retention:
            await retention.carry_on(at)
        # The ledger that records looks too, and may be at it.
        await until(lambda: self._is_done(run), what="the run is done")
        return await self.counts(run)

    async def _is_done(self, run: UUID) -> bool:
        return bool(
            await self.deployment.fetch("SELECT FROM retention_runs WHERE run = $1 AND finished_at IS NOT NULL", run)
        )

    async def ask(self, at: datetime, *, is_preview: bool = False) -> UUID:
        """Ask for a run as of a moment, as query does."""
        run = uuid4()
        await self.deployment.fetch(
            "INSERT INTO retention_runs (controller, run, asked_by, asked_at, as_of, is_preview)"
            " VALUES ($1, $2, 'ak_me', $3, $3, $4)",
            self.deployment.controller,
            run,
            at,
            is_preview,
        )
        return run

    async def work(self, at: datetime) -> int:
        """What a ledger does when it looks; with the runs that it opens itself."""
        async with self._acting() as retention:
            return await retention.work(at)

    @asynccontextmanager
    async def _acting(self) -> AsyncIterator[Retention]:
        settings = self.deployment.settings()
        async with acting(settings) as ledger:
            key, window = self.deployment.event_id_key, settings.backup_window
            house = House(ledger.pool, ledger.keys, key, ledger.high_water, ledger.suppression, window)
            yield Retention(house, ledger.eraser, announce=False)

    async def stop_ledgers(self) -> None:
        """From running by themselves: as if one had just now, for a long time."""
        await self.deployment.fetch(
            "INSERT INTO retention_runs (controller, run, asked_by, asked_at, as_of, finished_at, counts)"
            " VALUES ($1, gen_random_uuid(), 'ledger', '2099-01-01', now(), now(), $2)",
            self.deployment.controller,
            canonical_json(_NOTHING),
        )

    async def counts(self, run: UUID) -> dict[str, Any]:
        """Of a run that must be done."""
        (row,) = await self.deployment.fetch("SELECT finished_at, counts FROM retention_runs WHERE run = $1", run)
        assert row["finished_at"] is not None
        counts: dict[str, Any] = dict(_NOTHING) if row["counts"] is None else orjson.loads(row["counts"])
        return counts

    async def parts(self) -> list[str]:
        """Of each record of an event in the order of places: the first letters of the parts that are there."""
        rows = await self.deployment.fetch(
            "SELECT p.who, p.what, p.context FROM payloads p JOIN records r USING (controller, log, index)"
            ' WHERE position(\'"class":"erasure"\'::bytea IN r.entry) = 0 ORDER BY p.log, p.index'
        )
        names = ("who", "what", "context")
        return ["".join("WHC"[n] for n, name in enumerate(names) if row[name] is not None) for row in rows]

    async def fits(self) -> None:
        """Nothing is found by fsck but the rows that a test wrote as if there were a record: they go before."""
        for table in ("holds", "restrictions"):
            await self.deployment.fetch(
                f"DELETE FROM {table} t WHERE NOT EXISTS (SELECT FROM dedupe d WHERE d.event = t.event)"
            )
        await self.deployment.fetch(
            "DELETE FROM requests r WHERE NOT EXISTS (SELECT FROM request_steps s WHERE s.request = r.request)"
        )
        report = await check(self.deployment.settings(), progress=lambda *_: None)
        assert report.clean, report.findings

    async def stands(self) -> dict[str, str]:
        """By purpose: what was decided, of everybody."""
        rows = await self.deployment.fetch("SELECT purpose, decision FROM consent_state ORDER BY purpose, subject")
        return {row["purpose"]: row["decision"] for row in rows}


async def hold(deployment: Deployment, subject: UUID | None, until: datetime) -> UUID:
    """The row that a recorded hold leaves."""
    name = uuid4()
    await deployment.fetch(
        "INSERT INTO holds (controller, hold, subject, ground, case_reference, placed_at, review_on, expires_at, event)"
        " VALUES ($1, $2, $3, 'order', 'case 1', $4, ($5::timestamptz)::date, $5, $6)",
        deployment.controller,
        name,
        subject,
        BASE_TIME,
        until,
        os.urandom(16),
    )
    return name
