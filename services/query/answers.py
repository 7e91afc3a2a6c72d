"""Answers that are kept: signed under the receipts' key, and tied to checkpoints that cover all that they rest on.

Invariant: whatever the answer says was found, or was not, was looked for in logs of at least the sizes that it names,
and nothing of the people asked about lies beyond them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

from schemas.answers import ANSWER_FORMAT, ANSWER_TYPE
from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import NotPublishedYet, ProofError
from schemas.note import encode_base64
from schemas.record import format_time
from services.postgres import named_queries
from services.query.auth import Caller
from services.query.decisions import Judged, Moment
from services.query.log_keys import log_keys, signer_of
from services.query.proofs import RETRY_AFTER_S
from services.query.published import PublishedLogs, last_checkpoint
from services.query.receipts import Receipts
from services.query.status import Status, Statuses
from services.query.store import Reader, Store

_QUERIES: Final = named_queries(Path(__file__).with_name("sql") / "answers.sql")


class _Log(NamedTuple):
    """A log of the controller with its published checkpoint."""

    number: int
    name: str
    origin: str
    vkey: str
    note: str
    checkpoint: Checkpoint

    def claims(self) -> dict[str, Any]:
        return {
            "origin": self.origin,
            "vkey": self.vkey,
            "size": self.checkpoint.size,
            "root": encode_base64(self.checkpoint.root),
            "checkpoint": self.note,
        }


class SignedAnswers:
    """Makes them; the key is the receipts'."""

    def __init__(self, store: Store, statuses: Statuses, published: PublishedLogs, receipts: Receipts) -> None:
        self._store = store
        self._statuses = statuses
        self._published = published
        self._receipts = receipts

    async def of(self, caller: Caller, subject: UUID, purpose: str, moment: Moment) -> tuple[Status, str]:
        """The answer about a purpose, and its JWS. Raises NotFound; NotPublishedYet, ProofError.

        1. Read the checkpoints, before anything else: what they cover is seen by all that follows; 2. answer; 3. see
        that no record of the people asked about lies beyond them; 4. prove the record that it rests on; 5. sign.
        """
        async with self._store.reading(caller.controller, caller.scope) as reader:
            logs = [await _log(reader, row) for row in await self._rows(reader, "answering_logs")]
            status = await self._statuses.of_in(reader, caller, subject, purpose, moment)
            people = {subject, *(one for act in await reader.link_acts(subject) for one in (act.weak, act.strong))}
            sizes = {log.number: log.checkpoint.size for log in logs}
            for row in await self._rows(reader, "answering_ends", list(people)):
                if row["index"] >= sizes.get(row["log_number"], 0):
                    raise NotPublishedYet(retry_after_s=RETRY_AFTER_S)
            (controller,) = await self._rows(reader, "answering_controller")
            claims: dict[str, Any] = {
                "format": ANSWER_FORMAT,
                "issued_at": format_time(datetime.now(UTC)),
                "controller": dict(controller),
                "answer": status.said,
                "logs": [log.claims() for log in logs],
            }
            if not logs:
                raise NotPublishedYet(retry_after_s=RETRY_AFTER_S)
            if status.judged is not None:
                claims["rests_on"] = await self._place(reader, status.judged, logs)
        return status, self._receipts.sign(claims, ANSWER_TYPE)

    async def _rows(self, reader: Reader, query: str, *arguments: Any) -> list[Any]:
        return await reader.rows(_QUERIES[query], *arguments)

    async def _place(self, reader: Reader, judged: Judged, logs: Sequence[_Log]) -> dict[str, Any]:
        """The deciding record's public entry, and its way into the checkpoint."""
        log = next(log for log in logs if log.name == judged.answer.log)
        index, size = judged.answer.index, log.checkpoint.size
        if index >= size:
            raise NotPublishedYet(retry_after_s=RETRY_AFTER_S)
        path = await self._published.inclusion(reader, log.number, index, size)
        entries = await reader.entries(log.number, index, index + 1)
        if not entries:
            raise ProofError("a published entry is missing in the database: run sayso fsck")
        return {
            "origin": log.origin,
            "index": index,
            "entry": entries[0].decode(),
            "path": [encode_base64(sibling) for sibling in path],
        }


async def _log(reader: Reader, row: Any) -> _Log:
    checkpoint = await last_checkpoint(reader, row["log_number"])
    if checkpoint is None:
        raise NotPublishedYet(retry_after_s=RETRY_AFTER_S)
    keys = log_keys(row["log"], row["origin"], await reader.log_keys(row["log_number"]))
    key = signer_of(keys, checkpoint.note, checkpoint.size)
    opened = open_checkpoint(checkpoint.note, row["origin"], [key])
    return _Log(row["log_number"], row["log"], row["origin"], str(key), checkpoint.note, opened)
