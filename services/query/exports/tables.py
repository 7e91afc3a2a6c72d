"""The tables of an export: records in the order of their places, in files of at most so many records.

Memory is one page of rows, one row group and the places of one file; it does not grow with the export.
"""

import asyncio
import contextlib
from array import array
from collections.abc import Sequence
from typing import Final

from schemas.exports import Row as Exported
from schemas.exports import Sample, sampled
from schemas.note import encode_base64
from schemas.strict_json import write_json
from services.postgres import controller_transaction
from services.query.exports.job import Job, storing, uninterrupted
from services.query.exports.progress import FileFacts, Progress
from services.query.exports.selection import Opening
from services.query.exports.sink import Sink, write_durably
from services.query.exports.writers import make_writer
from services.query.store import Reader, Row

PAGE_RECORDS: Final = 1_000


class _File:
    """A table on its way, and where its rows come from."""

    def __init__(self, job: Job, nth: int) -> None:
        ending = job.body.format if job.body.encrypt_to is None else f"{job.body.format}.age"
        self.name = f"records-{nth:05d}.{ending}"
        self.sink = Sink(job.folder / self.name, job.body.encrypt_to)
        self.writer = make_writer(job.body.format, self.sink)
        # The nth log of the job and the index, row by row.
        self.logs = array("h")
        self.indexes = array("q")

    @property
    def records(self) -> int:
        return len(self.indexes)

    def write(self, log: int, rows: Sequence[Exported]) -> None:
        self.writer.write(rows)
        self.logs.extend([log] * len(rows))
        self.indexes.extend(row.index for row in rows)

    def finish(self, by: str) -> FileFacts:
        self.writer.finish()
        written = self.sink.finish()
        return FileFacts(
            name=self.name,
            by=by,
            sha256=written.sha256,
            bytes=written.size,
            records=self.records,
            content_sha256=written.content_sha256,
        )

    def abandon(self) -> None:
        """Leave nothing; a Parquet writer must be closed, or it would write when it is collected."""
        with contextlib.suppress(OSError):
            self.writer.finish()
        with contextlib.suppress(OSError):
            self.sink.abandon()


class Tables:
    """Writes the files of a job that are not there yet."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._scope = job.progress.selected
        self._file: _File | None = None

    async def run(self) -> None:
        """1. Read a page; 2. open and write it, away from the loop; 3. a full file is made durable, and counts.

        Raises ExportStopped, JobLost, ProofError, ConfigurationError.
        """
        live = self._job.progress.model_copy(deep=True)
        try:
            while live.nth < len(live.logs):
                span = live.logs[live.nth]
                rows = await self._job.shop.store.rows(
                    self._job.caller.controller, span.log, (live.next, span.size), PAGE_RECORDS, self._scope.subjects
                )
                live = await self._write(live, rows)
                if len(rows) < PAGE_RECORDS:
                    self._end_log(live)
            if self._file is not None:
                live = await self._complete(live)
            await self._job.commit(live)
        finally:
            if self._file is not None:
                self._file.abandon()

    def _end_log(self, live: Progress) -> None:
        span = live.logs[live.nth]
        if self._scope.subjects is None:
            live.leave_out("erased", span.size - live.next)
            live.looked_at += span.size - live.next
        live.nth += 1
        live.next = live.logs[live.nth].first if live.nth < len(live.logs) else 0

    async def _write(self, live: Progress, rows: Sequence[Row]) -> Progress:
        opening = Opening(self._job.shop.keys, self._job.caller.controller_name, self._scope)
        while rows:
            taken = await uninterrupted(self._take, live, opening, rows)
            rows = rows[taken:]
            if self._file is not None and self._file.records >= self._job.shop.file_records:
                live = await self._complete(live)
        return live

    def _take(self, live: Progress, opening: Opening, rows: Sequence[Row]) -> int:
        """Write rows until the file is full; how many were passed."""
        room = self._job.shop.file_records - (0 if self._file is None else self._file.records)
        passed, wanted = 0, []
        for row in rows:
            self._pass(live, row["index"])
            passed += 1
            exported = opening.open(row)
            if isinstance(exported, Exported):
                wanted.append(exported)
                if len(wanted) == room:
                    break
            elif exported == "incomplete":
                live.leave_out("incomplete")
        if wanted:
            with storing():
                if self._file is None:
                    self._file = _File(self._job, len(live.files) + 1)
                self._file.write(live.nth, wanted)
        return passed

    def _pass(self, live: Progress, index: int) -> None:
        """A place without a row is one whose parts went with their subject; of named subjects only theirs are read."""
        gone = 0 if self._scope.subjects is not None else index - live.next
        live.leave_out("erased", gone)
        live.looked_at += gone + 1
        live.next = index + 1

    async def _complete(self, live: Progress) -> Progress:
        """The file at hand: durable, proven by samples, counted."""
        file, self._file = self._file, None
        assert file is not None
        try:
            facts = await uninterrupted(self._finish, file)
        except BaseException:
            file.abandon()
            raise
        samples = await self._samples(live, file, facts)
        with storing():
            await asyncio.to_thread(write_durably, self._job.folder / samples_name(file.name), samples)
        live.files.append(facts)
        live.records += facts.records
        # A crash before this leaves files that nobody knows; they are written anew, into another folder.
        await self._job.commit(live)
        return live.model_copy(deep=True)

    def _finish(self, file: _File) -> FileFacts:
        with storing():
            return file.finish(self._job.worker.hex)

    async def _samples(self, live: Progress, file: _File, facts: FileFacts) -> bytes:
        """Inclusion paths of some rows, under the checkpoints of the job."""
        found = []
        controller = self._job.caller.controller
        async with controller_transaction(self._job.shop.bundles.pool, controller) as connection:
            reader = Reader(connection, controller)
            for row in sampled(facts.content_sha256, facts.records):
                span, index = live.logs[file.logs[row]], file.indexes[row]
                path = await self._job.shop.published.inclusion(reader, span.log, index, span.size)
                hashes = [encode_base64(sibling) for sibling in path]
                found.append(Sample(row=row, log=span.origin, index=index, path=hashes).model_dump())
        return write_json(found)


def samples_name(name: str) -> str:
    """The file beside a table that holds its samples until the manifest takes them."""
    return f"{name}.samples"
