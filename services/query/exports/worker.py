"""The process's hand in exports: takes up jobs that nobody works at, says that it is alive, sweeps what is over.

Invariant: a job has one worker that counts; one that was silent too long stops as soon as it notices.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from pydantic import ValidationError

from schemas.errors import ConfigurationError, ExportStopped, KeyProviderAway, NotFound, ProofError
from schemas.exports import ExportBody
from services.observability import describe, get_logger
from services.postgres import DATABASE_AWAY
from services.query.auth import Caller
from services.query.exports.bundle_files import BundleFiles
from services.query.exports.job import Job, JobLost, Workshop
from services.query.exports.manifests import finish_export
from services.query.exports.progress import Progress
from services.query.exports.tables import Tables
from services.query.store import Row

POLL_S: Final = 1.0
BEAT_S: Final = 1.5
# Longer than a pause of this process, shorter than anybody's patience: then another goes on.
SILENT_S: Final = 10.0
SWEEP_S: Final = 60.0


class ExportWorker:
    """One job at a time; as many of these as there are query processes."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self._worker = uuid4()

    async def run(self) -> None:
        """Until cancelled; what cannot be done now is tried again."""
        await asyncio.gather(self._take_up(), self._sweep())

    async def _take_up(self) -> None:
        while True:
            try:
                for row in await self._shop.store.waiting(SILENT_S):
                    await self._work(row["controller"], row["controller_name"], UUID(int=row["export"].int))
            except (*DATABASE_AWAY, KeyProviderAway) as error:
                # The job has this worker still, who is silent now: after a while it is taken up again.
                get_logger().warning("An export pauses: what it needs does not answer.", error=type(error).__name__)
            await asyncio.sleep(POLL_S)

    async def _work(self, controller: int, controller_name: str, export: UUID) -> None:
        row = await self._shop.store.claim(controller, export, self._worker, SILENT_S)
        if row is None:
            return
        job: Job | None = None
        try:
            job = _job(
                self._shop, Caller(controller, controller_name, "dpo", row["asked_by"]), export, self._worker, row
            )
            await self._alive(job)
        except JobLost:
            get_logger().info("an export was cancelled, or another process has it", controller=controller_name)
        except asyncio.CancelledError:
            await asyncio.shield(self._shop.store.release(controller, export, self._worker))
            raise
        except ExportStopped as error:
            await self._fail(controller, export, str(error))
        except (ProofError, ConfigurationError, NotFound, ValidationError) as error:
            get_logger().error("an export failed", controller=controller_name, **describe(error))
            await self._fail(controller, export, "A record or a key cannot be used. The operator runs `sayso fsck`.")

    async def _fail(self, controller: int, export: UUID, failure: str) -> None:
        if await self._shop.store.fail(controller, export, self._worker, failure):
            self._shop.failed.inc()

    async def _alive(self, job: Job) -> None:
        """Do the job while its heart beats; the first of the two to end ends the other."""
        working = asyncio.create_task(_do(job))
        beating = asyncio.create_task(self._beat(job))
        try:
            await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, beating):
                task.cancel()
            await asyncio.gather(working, beating, return_exceptions=True)
        if working.cancelled():
            beating.result()
        working.result()

    async def _beat(self, job: Job) -> None:
        """Ends by raising JobLost, or when the database is away too long."""
        while True:
            await asyncio.sleep(BEAT_S)
            if not await self._shop.store.beat(job.caller.controller, job.export, self._worker):
                raise JobLost

    async def _sweep(self) -> None:
        """Files of exports that are over go; the folders say which controllers have any."""
        while True:
            try:
                await self.sweep_once()
            except DATABASE_AWAY as error:
                get_logger().warning("Exports were not swept.", error=type(error).__name__)
            await asyncio.sleep(SWEEP_S)

    async def sweep_once(self) -> None:
        """1. List folders; 2. only then ask which stay, so that one which was begun meanwhile is among them."""
        for folder in _numbered(self._shop):
            found = list(folder.iterdir())
            kept = {str(export) for export in await self._shop.store.expire(int(folder.name))}
            for export in found:
                if export.name not in kept:
                    await asyncio.to_thread(shutil.rmtree, export, ignore_errors=True)


def _numbered(shop: Workshop) -> list[Path]:
    return [folder for folder in shop.directory.iterdir() if folder.name.isdecimal()]


def _job(shop: Workshop, caller: Caller, export: UUID, worker: UUID, row: Row) -> Job:
    body = ExportBody.model_validate_json(row["content"])
    progress = None if row["progress"] is None else Progress.model_validate_json(row["progress"])
    return Job(shop, caller, export, worker, body, progress)


async def _do(job: Job) -> None:
    await job.settle()
    await (BundleFiles(job) if job.body.format == "bundles" else Tables(job)).run()
    await finish_export(job)


@asynccontextmanager
async def exporting(shop: Workshop | None) -> AsyncIterator[None]:
    """Work at exports as long as the app lives; not where there is no place for them."""
    if shop is None:
        yield
        return
    shop.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    task = asyncio.create_task(ExportWorker(shop).run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
