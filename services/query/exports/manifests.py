"""The manifest of a finished export, and its signature: one document that stands for every file."""

import asyncio
from datetime import UTC, datetime

import orjson

from schemas.exports import (
    EXPORT_FORMAT,
    EXPORT_TYPE,
    MANIFEST,
    SIGNATURE,
    ExportedFile,
    ExportedLog,
    Manifest,
    Sample,
    Timestamp,
    signed_claims,
)
from schemas.note import encode_base64
from schemas.record import format_time
from services.postgres import controller_transaction
from services.query.bundles.evidence import log_evidence
from services.query.bundles.files import LogEvidence
from services.query.bundles.store import BundleStore
from services.query.exports.job import Job, path_of, storing
from services.query.exports.progress import FileFacts, Progress
from services.query.exports.sink import write_durably
from services.query.exports.tables import samples_name
from services.query.store import Reader


async def finish_export(job: Job) -> None:
    """1. Who is gone meanwhile; 2. the logs' evidence; 3. the manifest; 4. its signature; 5. done.

    Raises ExportStopped, JobLost, ProofError.
    """
    progress = job.progress.model_copy(deep=True)
    scope = progress.selected
    if scope.subjects is not None:
        known = await job.shop.store.known_subjects(job.caller.controller, scope.subjects)
        progress.left_out["subjects"] = len(scope.subjects) - known
    controller, logs = await _logs(job, progress)
    with storing():
        files = [await asyncio.to_thread(_file, job, facts) for facts in progress.files]
    manifest = Manifest(
        format=EXPORT_FORMAT,
        export=str(job.export),
        controller=controller,
        asked=job.body.model_dump(mode="json", by_alias=True, exclude_none=True),
        scope=progress.scope,
        began_at=progress.began_at,
        made_at=format_time(datetime.now(UTC)),
        records=progress.records,
        left_out=progress.counts(),
        files=files,
        logs=logs,
    ).content()
    signature = job.shop.receipts.sign(signed_claims(str(job.export), manifest), EXPORT_TYPE).encode()
    with storing():
        await asyncio.to_thread(write_durably, job.folder / MANIFEST, manifest)
        await asyncio.to_thread(write_durably, job.folder / SIGNATURE, signature)
    progress.manifest_by = job.worker.hex
    await job.finish(progress)


def _file(job: Job, facts: FileFacts) -> ExportedFile:
    path = path_of(job.shop.directory, job.caller.controller, job.export, facts)
    samples = path.with_name(samples_name(facts.name))
    found = [] if facts.bundles is not None else orjson.loads(samples.read_bytes())
    members = facts.model_dump(exclude={"by"})
    return ExportedFile(**members, samples=[Sample(**sample) for sample in found])


async def _logs(job: Job, progress: Progress) -> tuple[dict[str, str], list[ExportedLog]]:
    """Whose they are, and the one checkpoint of each log with what outsiders say of it."""
    number = job.caller.controller
    rows = {row["log_number"]: row for row in await job.shop.store.logs(number)}
    async with controller_transaction(job.shop.bundles.pool, number) as connection:
        reader, store = Reader(connection, number), BundleStore(connection, number)
        controller = dict(await store.controller())
        logs = [
            _log(await log_evidence(reader, store, job.shop.bundles.trust, rows[span.log], span.size))
            for span in progress.logs
        ]
    return controller, logs


def _log(evidence: LogEvidence) -> ExportedLog:
    return ExportedLog(
        name=evidence.name,
        origin=evidence.checkpoint.origin,
        size=evidence.size,
        root=evidence.checkpoint.root.hex(),
        vkey=evidence.vkey,
        note=evidence.note,
        signed=evidence.signed,
        keys=orjson.loads(evidence.keys),
        timestamps=[
            Timestamp(
                authority=token.authority,
                time=token.gen_time,
                response=encode_base64(token.response),
                nonce=token.nonce.hex(),
                roots=encode_base64(token.roots),
            )
            for token in evidence.tokens
        ],
        lacks=list(evidence.lacks),
    )
