"""What the data protection officer does with exports: ask, watch, cancel, resume, fetch, and hand on by links.

Invariant: an export is asked for, and a file leaves, only once the access log holds the record that says so.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import orjson

from schemas.canonical import canonical_json
from schemas.durations import Duration
from schemas.errors import ExportStopped, InvalidParameter, LinkNotValid, NotFound
from schemas.exports import MANIFEST, SIGNATURE, ExportBody
from schemas.record import format_time
from schemas.rights_errors import ExportsNotSetUp, ExportStepNotPossible
from services.capabilities import Capabilities
from services.query.auth import Caller
from services.query.exports.job import find_spans, path_of, places, resolve
from services.query.exports.progress import FileFacts, Progress
from services.query.exports.sink import age_recipient
from services.query.exports.store import ExportStore
from services.query.exports.writers import check_installed
from services.query.looks.looks import Looks
from services.query.store import Row

KEEP_MAX: Final = timedelta(days=92)
LINKS_MAX: Final = timedelta(days=31)
_EVENT: Final = "access.exported"


class Ready(NamedTuple):
    """A file that may leave."""

    path: Path
    name: str


class Opened(NamedTuple):
    """What a link opens: the export, its files by name, and until when."""

    row: Row
    files: list[dict[str, Any]]
    expires_at: datetime
    caller: Caller


@dataclass(frozen=True, slots=True)
class Exports:
    """Exports of one process; `directory` None: there is no place for any."""

    store: ExportStore
    looks: Looks
    sealing: Capabilities
    directory: Path | None

    async def ask(self, caller: Caller, body: ExportBody) -> dict[str, Any]:
        """A new export, which some process takes up. Raises ExportsNotSetUp, ExportExtraMissing, InvalidParameter,
        NotFound for a case that is not there, LookNotRecorded.

        1. Look whether it can be done; 2. count what it will look through; 3. the access log says so; 4. only then it
        is there to be taken up.
        """
        self._directory()
        check_installed(body.format)
        keep_until = _after(body.keep, KEEP_MAX, "/keep")
        try:
            if body.encrypt_to is not None:
                age_recipient(body.encrypt_to)
        except ValueError:
            raise InvalidParameter("/encrypt_to") from None
        try:
            scope = await resolve(self.store, caller.controller, body)
        except ExportStopped:
            raise NotFound from None
        records_of = await places(
            self.store, caller.controller, scope, await find_spans(self.store, caller.controller, scope)
        )
        export = uuid4()
        said = {
            "export": str(export),
            "step": "begun",
            "format": body.format,
            "parts": list(scope.parts),
            "records_at_most": records_of,
            "subjects": None if scope.subjects is None else len(scope.subjects),
        }
        await self.looks.record(caller, _EVENT, body.why, said)
        content = canonical_json(body.model_dump(mode="json", by_alias=True, exclude_none=True))
        await self.store.insert(caller.controller, export, content, caller.key, records_of, keep_until)
        return await self.one(caller, export)

    async def one(self, caller: Caller, export: UUID) -> dict[str, Any]:
        """An export and how far it is. Raises NotFound."""
        return describe(await self._row(caller, export))

    async def page(
        self, caller: Caller, before: tuple[datetime | None, UUID | None], most: int
    ) -> tuple[list[dict[str, Any]], tuple[datetime, UUID] | None]:
        """Some exports, the newest first, and the place to go on from."""
        rows = await self.store.page(caller.controller, before, most + 1)
        last = rows[most - 1] if len(rows) > most else None
        following = None if last is None else (last["asked_at"], UUID(int=last["export"].int))
        return [describe(row) for row in rows[:most]], following

    async def cancel(self, caller: Caller, export: UUID) -> dict[str, Any]:
        """End a job, or take a finished one back: its files go and its links open nothing. Raises ExportStepNotPossible
        for one that is over, NotFound.
        """
        await self._row(caller, export)
        if not await self.store.cancel(caller.controller, export):
            raise ExportStepNotPossible
        return await self.one(caller, export)

    async def resume(self, caller: Caller, export: UUID) -> dict[str, Any]:
        """Go on where a job failed. Raises ExportStepNotPossible for any other, NotFound, ExportsNotSetUp."""
        self._directory()
        body = ExportBody.model_validate_json((await self._row(caller, export))["content"])
        keep_until = _after(body.keep, KEEP_MAX, "/keep")
        if not await self.store.resume(caller.controller, export, keep_until):
            raise ExportStepNotPossible
        return await self.one(caller, export)

    async def file(self, caller: Caller, export: UUID, name: str) -> Ready:
        """A file of a finished export. Raises NotFound, ExportStepNotPossible, ExportsNotSetUp, LookNotRecorded."""
        row = await self._row(caller, export)
        self._done(row)
        return await self._leaves(caller, row, name, "key")

    async def links(self, caller: Caller, export: UUID, names: list[str] | None, valid_for: str) -> dict[str, Any]:
        """A link to a set of files, all of them if none is named; whoever has it needs no key.

        It opens nothing once it, or the export, has expired. Raises as `file` does, InvalidParameter.
        """
        row = await self._row(caller, export)
        self._done(row)
        known = [file["name"] for file in describe(row)["files"]]
        if names is not None and not set(names) <= set(known):
            raise InvalidParameter("/files")
        expires_at = min(_after(valid_for, LINKS_MAX, "/valid_for"), row["expires_at"])
        claims = {
            "exp": int(expires_at.timestamp()),
            "controller": caller.controller,
            "name": caller.controller_name,
            "export": str(export),
            "by": caller.key,
            # None: every file, so that the link of a large export stays short.
            "files": None if names is None else sorted(set(names)),
        }
        path = f"/v1/exports/download/{self.sealing.seal('export', claims)}"
        chosen = known if names is None else sorted(set(names))
        return {
            "link": path,
            "expires_at": format_time(expires_at),
            "files": [{"name": name, "link": f"{path}/{name}"} for name in chosen],
        }

    async def opened(self, token: str) -> Opened:
        """What a link opens. Raises LinkNotValid."""
        claims = self.sealing.open("export", token, int(time.time()))
        if claims is None or self.directory is None:
            raise LinkNotValid
        caller = Caller(claims["controller"], claims["name"], "dpo", claims["by"])
        row = await self.store.export(caller.controller, UUID(claims["export"]))
        if row is None or row["state"] != "done" or row["expires_at"] <= datetime.now(UTC):
            raise LinkNotValid
        if not await self.store.is_there(caller.controller, caller.key):
            # Whoever was sent away keeps the links that they made.
            raise LinkNotValid
        files = [file for file in describe(row)["files"] if claims["files"] is None or file["name"] in claims["files"]]
        return Opened(row, files, datetime.fromtimestamp(claims["exp"], UTC), caller)

    async def linked_file(self, token: str, name: str) -> Ready:
        """A file that a link opens. Raises LinkNotValid, LookNotRecorded."""
        opened = await self.opened(token)
        if name not in {file["name"] for file in opened.files}:
            raise LinkNotValid
        return await self._leaves(opened.caller, opened.row, name, "link")

    async def _leaves(self, caller: Caller, row: Row, name: str, by: str) -> Ready:
        """1. It is there; 2. the access log says that it leaves; 3. it may."""
        facts = next((file for file in _files(row) if file.name == name), None)
        if facts is None:
            raise NotFound
        path = path_of(self._directory(), caller.controller, row["export"], facts)
        if not path.is_file():
            raise NotFound
        body = orjson.loads(row["content"])
        said = {"export": str(row["export"]), "step": "fetched", "file": name, "by": by, "records": facts.records}
        await self.looks.record(caller, _EVENT, body["why"], said)
        return Ready(path, name)

    async def _row(self, caller: Caller, export: UUID) -> Row:
        row = await self.store.export(caller.controller, export)
        if row is None:
            raise NotFound
        return row

    def _directory(self) -> Path:
        if self.directory is None:
            raise ExportsNotSetUp
        return self.directory

    @staticmethod
    def _done(row: Row) -> None:
        if row["state"] != "done" or row["expires_at"] <= datetime.now(UTC):
            raise ExportStepNotPossible


def describe(row: Row) -> dict[str, Any]:
    """An export as its asker sees it. looked_at: how many records of `records_of` were looked through so far."""
    progress = _progress(row)
    return {
        "export": str(row["export"]),
        "state": row["state"],
        "asked": orjson.loads(row["content"]),
        "asked_by": row["asked_by"],
        "asked_at": format_time(row["asked_at"]),
        "finished_at": None if row["finished_at"] is None else format_time(row["finished_at"]),
        "expires_at": format_time(row["expires_at"]),
        "failure": row["failure"],
        "looked_at": 0 if progress is None else progress.looked_at,
        "records_of": row["records_of"],
        "records": 0 if progress is None else progress.records,
        "files": [
            {"name": file.name, "sha256": file.sha256, "bytes": file.bytes, "records": file.records}
            if file.sha256
            else {"name": file.name}
            for file in (_files(row) if row["state"] == "done" else ())
        ],
    }


def _progress(row: Row) -> Progress | None:
    return None if row["progress"] is None else Progress.model_validate_json(row["progress"])


def _files(row: Row) -> list[FileFacts]:
    """The manifest and its signature, then what they stand for; those two say of themselves where they lie alone."""
    progress = _progress(row)
    if progress is None or progress.manifest_by is None:
        return []
    own = [
        FileFacts(name=name, by=progress.manifest_by, sha256="", bytes=0, records=0, content_sha256="")
        for name in (MANIFEST, SIGNATURE)
    ]
    return own + progress.files


def _after(duration: str, most: timedelta, pointer: str) -> datetime:
    """Raises InvalidParameter for a duration that is too long."""
    now = datetime.now(UTC)
    end = Duration.parse(duration).after(now)
    if end > now + most:
        raise InvalidParameter(pointer)
    return end
