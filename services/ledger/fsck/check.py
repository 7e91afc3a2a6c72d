"""The entry point of fsck: every log in a snapshot of its own, then every controller's notices and state in another.

Safe beside a running ledger. Marks outside the database are read before each snapshot and after it, so that a ledger
that signs meanwhile is never mistaken for one that forked.
"""

import asyncio
from collections.abc import Set as AbstractSet
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from schemas.errors import ConfigurationError, Problem
from schemas.notices import notice_bytes, notice_hash
from services.keys import ControllerKeys, read_secret
from services.ledger.fsck.findings import Pace, Progress, Report
from services.ledger.fsck.log_walk import LogWalk
from services.ledger.fsck.payload_walk import PayloadWalk
from services.ledger.fsck.signed import SignedStatements
from services.ledger.fsck.snapshot import Snapshot
from services.ledger.fsck.state_walk import StateWalk
from services.ledger.high_water import read_high_water
from services.ledger.migrate import pending
from services.ledger.settings import LedgerSettings
from services.ledger.store import Row, Store
from services.postgres import CONNECT_TIMEOUT_S, DATABASE_AWAY, Connection

_ROLE: Final = "sayso_ledger"


async def check(settings: LedgerSettings, *, only_log: str | None = None, progress: Progress) -> Report:
    """Recompute everything from raw rows; return what does not fit.

    only_log: the name of one log; then its controller's notices are checked, and the state, which is over all logs,
    is not. progress: called with (what, done, total) about once a second.
    Raises ConfigurationError: no such log, keys that cannot be read, a database that is away or not migrated.
    """
    connection = await _connect(settings)
    try:
        return await _Check(connection, settings, progress).run(only_log)
    finally:
        await connection.close()


async def _connect(settings: LedgerSettings) -> Connection:
    try:
        connection = await asyncpg.connect(settings.database_url.get_secret_value(), timeout=CONNECT_TIMEOUT_S)
    except DATABASE_AWAY as error:
        raise ConfigurationError(f"the database does not answer ({type(error).__name__}): start it first") from None
    try:
        await connection.execute(f'SET ROLE "{_ROLE}"')
        missing = await pending(connection)
    except asyncpg.PostgresError as error:
        await connection.close()
        raise ConfigurationError(f"this login may not act as {_ROLE} ({type(error).__name__})") from None
    if missing:
        await connection.close()
        raise ConfigurationError(f"the database lacks {len(missing)} migrations: run sayso migrate")
    return connection


class _Check:
    """One run."""

    def __init__(self, connection: Connection, settings: LedgerSettings, progress: Progress) -> None:
        self._connection = connection
        self._settings = settings
        self._keys = ControllerKeys(settings.controller_key_dir, read_secret(settings.root_key_file))
        self._event_id_key = read_secret(settings.event_id_key_file)
        self._report = Report()
        self._pace = Pace(progress)

    async def run(self, only_log: str | None) -> Report:
        """1. The deployment; 2. log by log; 3. controller by controller."""
        # Marks first: a log that is made and signed while we look must not seem to be missing.
        bound, marks = await asyncio.to_thread(read_high_water, self._settings.high_water_dir)
        rows = await Store(self._connection).logs()
        logs = [row for row in rows if only_log in (None, row["name"])]
        if only_log is not None and not logs:
            raise ConfigurationError("no log has that name: sayso site list shows the logs")
        await self._check_deployment(bound, marks.keys(), {row["origin"] for row in rows})
        for row in logs:
            await self._check_log(row)
        for owner in sorted({(row["controller"], row["controller_name"]) for row in logs}):
            async with Snapshot.of(self._connection) as snapshot:
                await self._check_notices(snapshot, owner[0])
                if only_log is None:
                    await StateWalk(snapshot, owner, self._keys, self._event_id_key, self._report).run(self._pace)
        return self._report

    async def _check_deployment(self, bound: UUID | None, marked: AbstractSet[str], origins: AbstractSet[str]) -> None:
        """The database and the high-water directory belong together, and no marked log is gone."""
        async with Snapshot.of(self._connection) as snapshot:
            named = await snapshot.high_water_id()
        if named != bound and (marked or named is not None):
            what = "the database is not bound to the high-water directory in the settings"
            self._report.add("deployment", None, "high_water_id", what)
        for origin in sorted(marked - origins):
            self._report.add("high_water", None, origin, "the database has no log of this origin, but it was signed")

    async def _check_log(self, row: Row) -> None:
        settings, report = self._settings, self._report
        _, marks = await asyncio.to_thread(read_high_water, settings.high_water_dir)
        async with Snapshot.of(self._connection) as snapshot:
            log = await snapshot.log(row["controller"], row["log"])
            if log is None:
                return
            key_path = settings.ledger_key_dir / "logs" / f"{log.name}.key"
            signed = SignedStatements(snapshot, log, marks.get(log.origin), key_path, report)
            known_notices = await snapshot.known_notices(log.controller)
            end = await LogWalk(snapshot, log, known_notices, report, self._pace).run(signed)
            await PayloadWalk(snapshot, log, self._keys, self._event_id_key, report).run(end, self._pace)
        _, marks = await asyncio.to_thread(read_high_water, settings.high_water_dir)
        signed.check_mark_covers(marks.get(log.origin))
        report.logs += 1
        report.records += end

    async def _check_notices(self, snapshot: Snapshot, controller: int) -> None:
        for row in await snapshot.notices(controller):
            where = f"notice {row['notice'].hex()}, site {row['site']}"
            if notice_hash(row["content"]) != row["notice"]:
                self._report.add("notices", None, where, "the name is not the SHA-256 of the content")
            elif not _is_notice(row["content"], row["language"]):
                self._report.add("notices", None, where, "the content is not a canonical notice in its language")
        for row in await snapshot.notice_matches(controller):
            if not row["is_published"]:
                where = f"shown {row['shown'].hex()}"
                self._report.add("notice_matches", None, where, "the notice it stands for is not published")


def _is_notice(content: bytes, language: str) -> bool:
    try:
        value = orjson.loads(content)
        return notice_bytes(value) == content and value["language"] == language
    except (orjson.JSONDecodeError, Problem):
        return False
