"""One export at work: settle the scope and the checkpoints, write file after file, and the manifest over all of them.

Invariant: a file counts once the row says so, and the row says so only of files that are durable; whoever takes over
goes on behind the last of them. A process that lost the job writes nothing that counts.
"""

import asyncio
import errno
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, ParamSpec, TypeVar
from uuid import UUID

from prometheus_client import Counter

from schemas.durations import Duration
from schemas.errors import ExportStopped, NotPublishedYet
from schemas.events import parse_time
from schemas.exports import FILE_RECORDS_MAX, ExportBody, OfCase
from schemas.record import format_time, read_entry
from services.keys import ControllerKeys
from services.query.auth import Caller
from services.query.bundles.bundles import Bundles
from services.query.exports.progress import FileFacts, Progress, Span
from services.query.exports.selection import Scope, scope_of
from services.query.exports.store import ExportStore
from services.query.published import PublishedLogs
from services.query.receipts import Receipts

PUBLISH_WAIT_S: Final = 60
PUBLISH_POLL_S: Final = 0.2
# Clocks of ingest and ledger differ, and an entry says its minute only.
_CLOCKS_DIFFER: Final = timedelta(days=1)

P = ParamSpec("P")
T = TypeVar("T")


class JobLost(Exception):
    """Another process has the job by now, or it was cancelled."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What jobs work with; one per process."""

    store: ExportStore
    keys: ControllerKeys
    bundles: Bundles
    published: PublishedLogs
    receipts: Receipts
    directory: Path
    failed: Counter
    file_records: int = FILE_RECORDS_MAX


@contextmanager
def storing() -> Iterator[None]:
    """Around whatever writes files: what the disk refuses ends the job with a reason, and it can be resumed."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ExportStopped("The disk is full. Make room in the export directory, then resume.") from error
        raise ExportStopped(
            f"The export directory cannot be written or read ({errno.errorcode.get(error.errno or 0, 'EIO')}). "
            "Check that all query processes share it, then resume."
        ) from error


async def uninterrupted(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run in a thread; whoever cancels waits for its end, so that nobody closes a file that is being written to."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **named))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise


class Job:
    """A claimed export in the hands of one worker."""

    def __init__(
        self, shop: Workshop, caller: Caller, export: UUID, worker: UUID, body: ExportBody, progress: Progress | None
    ) -> None:
        self.shop = shop
        self.caller = caller
        self.export = export
        self.worker = worker
        self.body = body
        self._progress = progress

    @property
    def progress(self) -> Progress:
        """What is durable, once `settle` is over."""
        if self._progress is None:
            raise RuntimeError("the job was not settled")
        return self._progress

    @property
    def folder(self) -> Path:
        """This worker's own folder: a process that lost the job cannot touch what another has written since."""
        return export_folder(self.shop.directory, self.caller.controller, self.export) / self.worker.hex

    async def settle(self) -> None:
        """1. The scope; 2. one checkpoint a log that covers all that is recorded by now; 3. keep both for good.

        Raises ExportStopped when the ledger does not publish, JobLost.
        """
        with storing():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._progress is None:
            began_at = datetime.now(UTC)
            scope = await resolve(self.shop.store, self.caller.controller, self.body)
            spans = await self._published_spans(scope)
            progress = Progress(began_at=format_time(began_at), scope=scope.json(), logs=spans)
            progress.next = spans[0].first if spans else 0
            await self.commit(progress)

    async def _published_spans(self, scope: Scope) -> list[Span]:
        """Each log's places, up to a checkpoint that covers all of it, timestamped if that can be."""
        spans = await find_spans(self.shop.store, self.caller.controller, scope)
        deadline = time.monotonic() + PUBLISH_WAIT_S
        for span in spans:
            while True:
                try:
                    span.size = await self.shop.bundles.covering_size(self.caller, span.log, span.size - 1)
                    break
                except NotPublishedYet:
                    if time.monotonic() > deadline:
                        raise ExportStopped(
                            "The ledger has not published what is recorded. See whether it runs, then resume."
                        ) from None
                await asyncio.sleep(PUBLISH_POLL_S)
        return spans

    async def commit(self, progress: Progress) -> None:
        """Everything that `progress` says is durable: from now on it counts. Raises JobLost."""
        done = await self.shop.store.commit(
            self.caller.controller, self.export, self.worker, progress.content(), progress.looked_at
        )
        if not done:
            raise JobLost
        self._progress = progress

    async def finish(self, progress: Progress) -> None:
        """The manifest is there. Raises JobLost."""
        keep_until = Duration.parse(self.body.keep).after(datetime.now(UTC))
        done = await self.shop.store.finish(
            self.caller.controller, self.export, self.worker, progress.content(), keep_until
        )
        if not done:
            raise JobLost


def export_folder(directory: Path, controller: int, export: UUID) -> Path:
    """Where the files of an export lie."""
    return directory / str(controller) / str(export)


def path_of(directory: Path, controller: int, export: UUID, file: FileFacts) -> Path:
    """Where a complete file lies."""
    return export_folder(directory, controller, export) / file.by / file.name


async def resolve(store: ExportStore, controller: int, body: ExportBody) -> Scope:
    """What is asked for as a scope. Raises ExportStopped for a case that is not there."""
    grant = None
    if isinstance(body.of, OfCase):
        grant = await store.granted_scope(controller, body.of.case)
        if grant is None:
            raise ExportStopped("There is no such grant. Ask for an export of one that exists.")
    return scope_of(body, grant)


async def find_spans(store: ExportStore, controller: int, scope: Scope) -> list[Span]:
    """The logs that hold anything, with their sizes now; a log is looked through from where the period begins."""
    spans = []
    for row in await store.logs(controller):
        if row["size"] > 0:
            span = Span(log=row["log_number"], origin=row["origin"], first=0, size=row["size"])
            if scope.since is not None:
                span.first = await _first_since(store, controller, span, parse_time(scope.since))
            spans.append(span)
    return spans


async def places(store: ExportStore, controller: int, scope: Scope, spans: Sequence[Span]) -> int:
    """How many places there are to look through."""
    if scope.subjects is not None:
        return await store.places_of(controller, scope.subjects)
    return sum(span.size - span.first for span in spans)


async def _first_since(store: ExportStore, controller: int, span: Span, since: datetime) -> int:
    """The first place that can hold what was received since then: entries say when they were recorded, in order."""
    limit = since - _CLOCKS_DIFFER
    low, high = 0, span.size
    while low < high:
        middle = (low + high) // 2
        entry = await store.entry(controller, span.log, middle)
        if entry is not None and parse_time(read_entry(entry)["recorded_at"]) < limit:
            low = middle + 1
        else:
            high = middle
    return low
