"""The proof bundles of an export: one for each person and up to 100 of their records, many of them in a zip.

Invariant: every bundle is made under the job's own checkpoints and as of its beginning, so that it comes out the same
when it is made again.
"""

import asyncio
import contextlib
import zipfile
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from schemas.events import parse_time
from schemas.exports import FILE_BUNDLES_MAX
from services.postgres import controller_transaction
from services.query.bundles.bundles import Fixed
from services.query.bundles.store import BundleStore
from services.query.exports.job import Job, storing, uninterrupted
from services.query.exports.progress import NOBODY, FileFacts, Progress
from services.query.exports.selection import Opening
from services.query.exports.sink import Sink
from services.query.parameters import BUNDLE_MAX
from services.query.store import Row

_SUBJECTS_A_PAGE: Final = 100
_BEGINNING: Final = (0, -1)
# 1 January 1980, as in the bundles themselves.
_DATE: Final = (1980, 1, 1, 0, 0, 0)


class _Zip:
    """A zip of bundles on its way."""

    def __init__(self, job: Job, nth: int) -> None:
        ending = "zip" if job.body.encrypt_to is None else "zip.age"
        self.name = f"bundles-{nth:05d}.{ending}"
        self.sink = Sink(job.folder / self.name, job.body.encrypt_to)
        self._zip = zipfile.ZipFile(self.sink, "w")
        self.records = self.bundles = 0

    def add(self, name: str, bundle: bytes, records: int) -> None:
        info = zipfile.ZipInfo(name, _DATE)
        self._zip.writestr(info, bundle)
        self.bundles += 1
        self.records += records

    def finish(self, by: str) -> FileFacts:
        self._zip.close()
        written = self.sink.finish()
        return FileFacts(
            name=self.name,
            by=by,
            sha256=written.sha256,
            bytes=written.size,
            records=self.records,
            content_sha256=written.content_sha256,
            bundles=self.bundles,
        )

    def abandon(self) -> None:
        """Leave nothing; a zip that is not closed would write when it is collected."""
        with contextlib.suppress(OSError, ValueError):
            self._zip.close()
        with contextlib.suppress(OSError):
            self.sink.abandon()


class BundleFiles:
    """Writes the zips of a job that are not there yet."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._scope = job.progress.selected
        progress = job.progress
        self._sizes = {span.log: span.size for span in progress.logs}
        self._fixed = Fixed(self._sizes, parse_time(progress.began_at), self._scope.parts, self._scope.purposes)
        self._zip: _Zip | None = None

    async def run(self) -> None:
        """Person after person, page after page of their records. Raises as Tables.run does."""
        live = self._job.progress.model_copy(deep=True)
        try:
            if live.after[0] != NOBODY:
                live = await self._person(live, live.after[0])
            while people := await self._next(live):
                for subject in people:
                    live.after = (subject, *_BEGINNING)
                    live = await self._person(live, subject)
            if self._zip is not None:
                live = await self._complete(live)
            await self._job.commit(live)
        finally:
            if self._zip is not None:
                self._zip.abandon()

    async def _next(self, live: Progress) -> Sequence[UUID]:
        named = self._scope.subjects
        return await self._job.shop.store.subjects(self._job.caller.controller, live.after[0], named, _SUBJECTS_A_PAGE)

    async def _person(self, live: Progress, subject: UUID) -> Progress:
        """The bundles of a person from the place in `after` on."""
        controller = self._job.caller.controller
        while True:
            async with controller_transaction(self._job.shop.bundles.pool, controller) as connection:
                rows = await BundleStore(connection, controller).records(subject, live.after[1:], BUNDLE_MAX)
            if rows:
                wanted = await asyncio.to_thread(self._wanted, live, rows)
                if wanted:
                    await self._add(live, subject, wanted)
                live.after = (subject, rows[-1]["log_number"], rows[-1]["index"])
                live.looked_at += len(rows)
            if self._zip is not None and self._zip.bundles >= FILE_BUNDLES_MAX:
                live = await self._complete(live)
            if len(rows) < BUNDLE_MAX:
                return live

    def _wanted(self, live: Progress, rows: Sequence[Row]) -> list[Row]:
        opening = Opening(self._job.shop.keys, self._job.caller.controller_name, self._scope)
        wanted = []
        for row in rows:
            if row["index"] >= self._sizes.get(row["log_number"], 0):
                continue  # recorded since the job began
            left = opening.judge(row)
            if left is None:
                wanted.append(row)
            elif left == "incomplete":
                live.leave_out("incomplete")
        return wanted

    async def _add(self, live: Progress, subject: UUID, rows: Sequence[Row]) -> None:
        made = await self._job.shop.bundles.chosen(self._job.caller, subject, rows, self._fixed)
        if made is None:
            live.leave_out("incomplete", len(rows))
            return
        bundle, records = made
        live.leave_out("incomplete", len(rows) - records)
        name = f"{subject}-{rows[0]['log']}-{rows[0]['index']}.zip"
        await uninterrupted(self._put, len(live.files) + 1, name, bundle.zip, records)

    def _put(self, nth: int, name: str, bundle: bytes, records: int) -> None:
        with storing():
            if self._zip is None:
                self._zip = _Zip(self._job, nth)
            self._zip.add(name, bundle, records)

    async def _complete(self, live: Progress) -> Progress:
        zipped, self._zip = self._zip, None
        assert zipped is not None
        try:
            facts = await uninterrupted(self._finish, zipped)
        except BaseException:
            zipped.abandon()
            raise
        live.files.append(facts)
        live.records += facts.records
        await self._job.commit(live)
        return live.model_copy(deep=True)

    def _finish(self, zipped: _Zip) -> FileFacts:
        with storing():
            return zipped.finish(self._job.worker.hex)
