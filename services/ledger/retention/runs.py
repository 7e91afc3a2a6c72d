"""Runs of retention: every hour by themselves, and whenever somebody asks for one or for a preview.

Invariant: a run is a row. Whichever ledger gets its lock does its next page, in a transaction that also moves the row
on; so two ledgers take turns, and one that is killed is gone on from where the last commit left it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import orjson
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

from schemas.canonical import canonical_json
from schemas.durations import Duration
from schemas.errors import ConfigurationError, ProofError
from schemas.retaining import Place
from schemas.retention import Ruling, read_rule, resolve
from schemas.terms import read_terms
from services.ledger.appending import Appending, LogClosed, LogNotOpen
from services.ledger.erasure.housekeeping import House
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.subject import Eraser
from services.ledger.retention.facts import NoticeFacts, Reading, notice_facts
from services.ledger.retention.page import Done, Page, Tools, open_logs
from services.ledger.retention.store import SQL, RetentionStore
from services.ledger.retention.walks import Span, Walk, walks
from services.ledger.store import Row, Store
from services.observability import get_logger
from services.postgres import PooledConnection

# How often the ledger runs by itself, and looks for what was asked for.
EVERY: Final = timedelta(hours=1)
LOOK_S: Final = 1.0
# Candidates in one transaction: heads are locked meanwhile, and recording waits.
AT_ONCE: Final = 32

_log = get_logger()


@dataclass(slots=True)
class _Plan:
    """What a run goes by, worked out once by each process that works on it."""

    run: UUID
    rulings: Sequence[Ruling]
    notices: NoticeFacts
    walks: Sequence[Walk]


class Retention:
    """Runs of all controllers, for one ledger process."""

    def __init__(self, house: House, eraser: Eraser, *, announce: bool) -> None:
        """`announce` like a recorder's."""
        self._pool = house.pool
        self._tools = Tools(house.keys, house.event_id_key, eraser)
        self._high_water = house.high_water
        self._announce = announce
        self._plan: _Plan | None = None
        self._opened_at: datetime | None = None

    async def work(self, now: datetime | None = None) -> int:
        """Open the runs that are due, then do all that there is to do; how many parts went.

        `now` is given so that a test can move the clock.
        """
        moment = datetime.now(UTC) if now is None else now
        if self._opened_at is None or moment - self._opened_at >= EVERY / 60:
            self._opened_at = moment
            await self._open(moment)
        return await self.carry_on(moment)

    async def carry_on(self, now: datetime) -> int:
        """Do what is asked for and not done, by whichever ledger gets there first; how many parts went here."""
        cleared = 0
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(SQL["unfinished_runs"])
        for row in rows:
            owner = row["controller"], row["controller_name"]
            while (gone := await self._page(owner, row["run"], now)) is not None:
                cleared += gone
        return cleared

    async def _open(self, now: datetime) -> None:
        async with self._pool.acquire() as connection:
            for row in await connection.fetch(SQL["controllers"]):
                await connection.execute(SQL["open_run"], row["controller"], uuid4(), now, now - EVERY)

    async def _page(self, owner: tuple[int, str], run: UUID, now: datetime) -> int | None:
        """One page of a run; None if there is none to do: it is through, or another ledger is at it."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                return await self._claimed(connection, owner, run, now)
        except (LogNotOpen, LogClosed):
            # A successor log is about to begin: the next look finds it.
            return None
        except (ProofError, InvalidUnwrap, ConfigurationError):
            return await self._pass_over(owner, run)
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            return 0

    async def _pass_over(self, owner: tuple[int, str], run: UUID) -> int | None:
        """A page of which something cannot be projected anew: it is left as it is, and counted."""
        _log.warning("Records could not be read, so retention passes over them: run sayso fsck.")
        async with self._pool.acquire() as connection, connection.transaction():
            store = RetentionStore(connection, owner[0])
            row = await store.claim_run(run)
            if row is None:
                return None
            plan = await self._planned(store, run, row)
            progress = _progress(row)
            done = _done(row)
            done.unreadable += 1
            if progress["walk"] < len(plan.walks):
                _, _, progress = await _candidates(store, plan.walks[progress["walk"]], progress)
            await store.move_run(run, canonical_json(progress), _counts(done), row["cleared"])
            return 0

    async def _claimed(
        self, connection: PooledConnection, owner: tuple[int, str], run: UUID, now: datetime
    ) -> int | None:
        """1. The run's row; 2. the next candidates; 3. the heads; 4. decide; 5. do; 6. the run's row says so.

        Commit. A crash before: whoever looks next does this page again. A crash after: the row says how far it is.
        """
        store = RetentionStore(connection, owner[0])
        row = await store.claim_run(run)
        if row is None:
            return None
        plan, progress, done = await self._planned(store, run, row), _progress(row), _done(row)
        if progress["walk"] == len(plan.walks):
            await store.finish_run(run, now)
            self._plan = None
            return None
        walk = plan.walks[progress["walk"]]
        subjects, places, progress = await _candidates(store, walk, progress)
        gone = 0
        if subjects or places:
            page = await self._begin(connection, owner, plan, is_preview=row["is_preview"])
            if walk.kind == "access":
                await page.decide_access(places, row["as_of"], done)
            else:
                await page.decide(subjects, places, row["as_of"], done)
            if not row["is_preview"]:
                gone = await page.do(done, run, now)
        await store.move_run(run, canonical_json(progress), _counts(done), row["cleared"] + gone)
        return gone

    async def _begin(
        self, connection: PooledConnection, owner: tuple[int, str], plan: _Plan, *, is_preview: bool
    ) -> Page:
        """A page, whose heads are locked unless it deletes nothing."""
        appending, opened = None, {}
        if not is_preview:
            opened = await open_logs(ErasureStore(connection), owner[0])
            appending = Appending(connection, self._tools.keys, {}, self._high_water.sizes(), announce=self._announce)
            await appending.lock_heads(opened.values())
        reading = Reading(Store(connection), self._tools.event_id_key, owner, plan.notices)
        logs = await RetentionStore(connection, owner[0]).logs()
        page = Page(connection, self._tools, reading, plan.rulings, logs, appending=appending)
        page.open = opened
        return page

    async def _planned(self, store: RetentionStore, run: UUID, row: Row) -> _Plan:
        if self._plan is None or self._plan.run != run:
            notices = notice_facts(await store.notices())
            rulings = [
                resolve(one["rule"], read_rule(one["content"]), notices.categories)
                for one in await store.rules(row["as_of"])
                if one["content"] is not None
            ]
            days = read_terms(await store.terms(row["as_of"])).access_log_days
            span = Span(row["as_of"], row["since"])
            ways = await walks(store, await store.logs(), rulings, Duration(0, days), span)
            self._plan = _Plan(run, rulings, notices, ways)
        return self._plan


async def _candidates(
    store: RetentionStore, walk: Walk, progress: dict[str, Any]
) -> tuple[list[UUID], list[Place], dict[str, Any]]:
    """The next people, the next records that are nobody's (or, of an access log, anybody's), and where to go on."""
    at = progress["at"]
    following = {"walk": progress["walk"] + 1, "at": None}
    if walk.kind in {"log", "access"}:
        first = walk.first if at is None else int(at) + 1
        rows = await store.aged_places(walk.log, first, walk.end, walk.parts, AT_ONCE)
        if len(rows) == AT_ONCE:
            following = {"walk": progress["walk"], "at": str(rows[-1]["index"])}
        by_itself = [(walk.log, row["index"]) for row in rows if walk.kind == "access" or row["is_nobodys"]]
        people = {UUID(int=row["subject"].int) for row in rows if walk.kind == "log" and not row["is_nobodys"]}
        return sorted(people), by_itself, following
    after = None if at is None else UUID(at)
    ranks = walk.after, walk.until
    if walk.kind == "accounts":
        found = await store.deleted_subjects(after, ranks, AT_ONCE)
    else:
        found = await store.decided_subjects(after, walk.purposes, walk.decisions, ranks, AT_ONCE)
    if len(found) == AT_ONCE:
        following = {"walk": progress["walk"], "at": str(found[-1])}
    return found, [], following


def _progress(row: Row) -> dict[str, Any]:
    """`walk`: the number of the walk at hand; `at`: the last candidate of it that was looked at."""
    if row["progress"] is None:
        return {"walk": 0, "at": None}
    value: dict[str, Any] = orjson.loads(row["progress"])
    return value


def _done(row: Row) -> Done:
    return Done() if row["counts"] is None else Done.from_json(orjson.loads(row["counts"]))


def _counts(done: Done) -> bytes | None:
    value = done.as_json()
    return None if value is None else canonical_json(value)
