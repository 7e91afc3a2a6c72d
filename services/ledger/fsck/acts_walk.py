"""Requests, holds, restrictions and deleted accounts, again from their records, by the projectors that wrote them.

Invariant: nothing of the database is written. The records of the snapshot are projected into temporary tables of the
session, which bear the names of the true ones; the snapshot is read-only, so a projector that meant another would fail.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

from schemas.errors import ConfigurationError, ProofError
from services.keys import ControllerKeys
from services.ledger.acts import project_act
from services.ledger.fsck.findings import Pace, Report
from services.ledger.replaying_acts import ROWS_AT_ONCE, ActReader
from services.postgres import Connection, named_queries

# What is not projected into a table that is compared: the ledger writes answers by other ways as well.
_ELSEWHERE: Final = frozenset({"trigger.answered"})
# A finding of the payloads or the subjects, which are walked by themselves.
_UNREADABLE: Final = (ProofError, InvalidUnwrap, ConfigurationError, KeyError, TypeError, ValueError, AttributeError)
_SQL: Final = named_queries(Path(__file__).parents[1] / "sql" / "fsck_acts.sql")


@asynccontextmanager
async def blank_tables(connection: Connection) -> AsyncIterator[None]:
    """Tables to project into, around a snapshot. After an error they go with the connection."""
    await connection.execute(_SQL["lay_out"])
    yield
    await connection.execute(_SQL["clear_away"])


class ActsWalk:
    """Walks the acting records of one controller once, inside `blank_tables` and a snapshot on the same connection."""

    def __init__(
        self, connection: Connection, owner: tuple[int, str], keys: ControllerKeys, event_id_key: bytes, report: Report
    ) -> None:
        """`owner` is the controller's id and name."""
        self._connection = connection
        self._controller, self._controller_name = owner
        self._reader = ActReader(keys, event_id_key, owner)
        self._report = report

    async def run(self, pace: Pace) -> None:
        """1. Project every act; 2. compare; 3. rows that name no record, of the erased too."""
        await self._project(pace)
        for row in await self._connection.fetch(_SQL["differences"], self._controller):
            if row["is_missing"]:
                what = "what the records say has no row"
            elif row["is_unfounded"]:
                what = "no record says what the row says"
            else:
                what = "the row is not what the records say"
            self._add(row["found_in"], row["place"], f"{what}; sayso rebuild projects it anew")
        for row in await self._connection.fetch(_SQL["stray_steps"], self._controller):
            what = "there is no such request" if row["no_request"] else "its record is not at the place that it names"
            self._add("request_steps", f"request {row['request']}, step {row['nth']}", what)
        for row in await self._connection.fetch(_SQL["events_of_no_record"], self._controller):
            self._add(row["found_in"], row["place"], "its event is no record")

    async def _project(self, pace: Pace) -> None:
        status = await self._connection.execute(_SQL["begin_with_acting"], self._controller)
        total, done = int(status.rpartition(" ")[2]), 0
        await self._connection.execute(_SQL["begin_with_requests"], self._controller)
        await self._connection.execute(_SQL["begin_with_steps"], self._controller)
        read: list[tuple[int, int]] = []
        async for row in self._reader.rows(self._connection):
            try:
                act = self._reader.read(row)
            except _UNREADABLE:
                continue
            if act is not None and act.what["type"] not in _ELSEWHERE:
                await project_act(self._connection, act)
            read.append((row["log"], row["index"]))
            done += 1
            if len(read) >= ROWS_AT_ONCE:
                await self._mark(read)
                pace.step(f"{self._controller_name}: acts", done, total)
        await self._mark(read)

    async def _mark(self, read: list[tuple[int, int]]) -> None:
        await self._connection.execute(_SQL["mark_read"], [log for log, _ in read], [index for _, index in read])
        read.clear()

    def _add(self, table: str, where: str, what: str) -> None:
        self._report.add(table, None, where, what)
