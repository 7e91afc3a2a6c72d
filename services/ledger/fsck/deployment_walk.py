"""What lies beside the database: the high-water directory, the suppression file, and the stream the positions are in.

Invariant: of two sides the one that follows is read first (marks, then logs; erasures, then the lines they are of;
positions, then the ends of the stream), so that work that goes on meanwhile is never a finding.
"""

import asyncio
from collections.abc import Collection
from uuid import UUID

from schemas.errors import ConfigurationError, StreamUnavailable
from services.ledger.fsck.findings import Report
from services.ledger.fsck.snapshot import Snapshot
from services.ledger.settings import LedgerSettings
from services.ledger.store import Row
from services.postgres import Connection
from services.stream.address import kafka_bootstrap
from services.stream.kafka_offsets import topic_offsets
from services.suppression import Suppression


class DeploymentWalk:
    """Looks at the deployment once."""

    def __init__(self, connection: Connection, settings: LedgerSettings, report: Report) -> None:
        """The connection is used alone."""
        self._connection = connection
        self._settings = settings
        self._report = report

    async def run(self, bound: UUID | None, marked: Collection[str], origins: Collection[str]) -> None:
        """`bound` and `marked` are the high-water directory's id and origins, `origins` those of the database's logs.

        1. The database and the directory belong together, and no marked log is gone; 2. every erasure is in the
        suppression file and the other way round; 3. positions lie in the stream.
        """
        async with Snapshot.of(self._connection) as snapshot:
            named = await snapshot.high_water_id()
            erasures = await snapshot.erasure_numbers()
            positions = await snapshot.positions()
        await self._check_suppression(erasures)
        if named != bound and (marked or named is not None):
            what = "the database is not bound to the high-water directory in the settings"
            self._report.add("deployment", None, "high_water_id", what)
        for origin in sorted(set(marked) - set(origins)):
            self._report.add("high_water", None, origin, "the database has no log of this origin, but it was signed")
        bootstrap = kafka_bootstrap(self._settings.stream)
        ours = {row["partition"]: row for row in positions if row["topic"] == self._settings.events_topic}
        if bootstrap is not None and ours:
            await self._check_positions(bootstrap, {n: (row["cluster"], row["next_offset"]) for n, row in ours.items()})

    async def _check_suppression(self, erasures: list[Row]) -> None:
        """The file is read after the rows: a line is there before its erasure is, never the other way round."""
        suppression = Suppression(self._settings.suppression_dir)
        try:
            lines = await asyncio.to_thread(suppression.read)
            missing = await suppression.missing(self._connection)
        except ConfigurationError as error:
            self._report.add("suppression", None, "file", str(error))
            return
        for lacking in missing:
            what = "the suppression file has this erasure and the database has not: run sayso restore-check"
            self._report.add("erasures", None, f"erasure {lacking.number}", what)
        known = {line.number: line for line in lines}
        for row in erasures:
            where, line = f"erasure {row['number']}", known.get(row["number"])
            if line is None:
                # Lines that no kept backup needs have gone from the file; its last one never goes.
                if row["number"] > max(known, default=0):
                    self._report.add("suppression", None, where, "the suppression file ends before this erasure")
                continue
            said = line.controller, line.subject, line.event, line.ground, line.erased_at
            subject = None if row["subject"] is None else UUID(int=row["subject"].int)
            if said != (row["controller"], subject, row["event"], row["ground"], row["erased_at"]):
                self._report.add("erasures", None, where, "the row is not what the suppression file says")

    async def _check_positions(self, bootstrap: str, positions: dict[int, tuple[str, int]]) -> None:
        topic = self._settings.events_topic
        try:
            cluster, offsets = await topic_offsets(bootstrap, topic)
        except StreamUnavailable:
            self._report.add("positions", None, topic, "Kafka does not answer, so they could not be compared")
            return
        for partition, (recorded_from, position) in sorted(positions.items()):
            where = f"{topic}[{partition}]"
            if recorded_from != cluster:
                self._report.add("positions", None, where, "the position belongs to another Kafka cluster")
            elif partition not in offsets:
                self._report.add("positions", None, where, "the topic has no such partition")
            elif position < offsets[partition][0]:
                self._report.add("positions", None, where, "Kafka no longer has the messages from there on")
            elif position > offsets[partition][1]:
                self._report.add("positions", None, where, "the position is past the end of the partition")
