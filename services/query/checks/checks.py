"""Bulk checks: of many people, whether a consent to one purpose stands, with reasons (docs/state.md).

Invariant: each answer is the one that `status` gives at that moment, made by the same code; nothing is shown before all
of it is worked out and the access log holds the job. Memory does not grow with the list.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, Final
from uuid import UUID

import orjson

from schemas.errors import NotFound, ProofError
from schemas.events import Identifier
from schemas.record import format_time
from services.keys import ControllerKeys, event_mac, identifier_mac
from services.postgres import Pool, controller_transaction
from services.query.auth import Caller
from services.query.checks.ahead import Ahead, NameOf
from services.query.checks.lines import Line, chunks
from services.query.decisions import Moment
from services.query.holds.suppressions import Suppressions
from services.query.payloads import read_part, subject_cipher
from services.query.status import Statuses
from services.query.store import Row

# Kept in memory up to this; then in a file that has no name, so that nothing of it outlives the process.
SPOOL_BYTES: Final = 1024 * 1024
PIECE_BYTES: Final = 64 * 1024
# Let other requests in after this many people: about 2 ms of uninterrupted work.
YIELD_EVERY: Final = 16
# What a list is told of one person: the same as by `status`.
SAID: Final = ("valid", "reasons", "decision", "legal_basis")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of everybody on the list."""

    purpose: str
    moment: Moment


@dataclass(slots=True)
class Checked:
    """The answers, in the order of the lines, and how many there are."""

    question: Question
    began_at: datetime
    lines: IO[bytes]
    count: int = 0
    valid: int = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """The answer's body: a line for each that was asked, then one that says that these were all."""
        try:
            self.lines.seek(0)
            while piece := self.lines.read(PIECE_BYTES):
                yield piece
            yield orjson.dumps(self.summary()) + b"\n"
        finally:
            self.lines.close()

    def summary(self) -> dict[str, Any]:
        """The last line: without it the answer was cut off."""
        asked = self.question
        return {
            "checked": self.count,
            "valid": self.valid,
            "purpose": asked.purpose,
            "at": format_time(self.began_at if asked.moment.at is None else asked.moment.at),
            "known_at": format_time(self.began_at if asked.moment.known_at is None else asked.moment.known_at),
        }


@dataclass(slots=True)
class Checks:
    """Answers lists; holds the keys that open records."""

    pool: Pool
    statuses: Statuses
    suppressions: Suppressions
    keys: ControllerKeys
    event_id_key: bytes
    # One chunk at a time: two lists at once are no faster together, and `status` must not wait for them.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def check(self, caller: Caller, question: Question, body: AsyncIterator[bytes]) -> Checked:
        """Work out the answers to a list. Raises InvalidParameter for a line that cannot be read, ProofError.

        The answers wait in a file, because most clients read nothing before they have sent everything.
        """
        checked = Checked(question, datetime.now(UTC), tempfile.SpooledTemporaryFile(SPOOL_BYTES))  # noqa: SIM115 - closed by whoever reads it, or here
        try:
            async for lines in chunks(body):
                async with self.turn:
                    answers = await self._chunk(caller, question, lines)
                for answer in answers:
                    checked.count += 1
                    checked.valid += answer["valid"]
                    checked.lines.write(orjson.dumps({"line": checked.count, **answer}) + b"\n")
        except BaseException:
            checked.lines.close()
            raise
        return checked

    async def _chunk(self, caller: Caller, question: Question, lines: Sequence[Line]) -> list[dict[str, Any]]:
        """The answers to some lines.

        1. Find the subjects; 2. fetch what they decided; 3. judge each as `status` does; 4. whom nobody knows may be
        somebody who objected, and was erased.
        """
        async with controller_transaction(self.pool, caller.controller) as connection:
            reader = Ahead(connection, caller.controller, question.purpose, self._name_of(caller))
            subjects = await self._subjects(reader, caller, lines)
            known = [one for one in subjects if one is not None]
            await reader.fetch(known, whole=question.moment.at is not None or question.moment.known_at is not None)
            answers: list[dict[str, Any]] = []
            for number, subject in enumerate(subjects):
                if number % YIELD_EVERY == YIELD_EVERY - 1:
                    await asyncio.sleep(0)
                answers.append(await self._answer(reader, caller, subject, question))
            nobodys = [
                (line.identifier, answer)
                for line, subject, answer in zip(lines, subjects, answers, strict=True)
                if subject is None and line.identifier is not None
            ]
            at = question.moment.at or datetime.now(UTC)
            objected = await self._objected(reader, caller, [identifier for identifier, _ in nobodys], at)
        for identifier, answer in nobodys:
            if identifier in objected:
                answer["reasons"].append("objected")
        return answers

    async def _subjects(self, reader: Ahead, caller: Caller, lines: Sequence[Line]) -> list[UUID | None]:
        """Of each line the subject, None of an identifier that nobody has."""
        found: dict[bytes, UUID] = {}
        names: list[bytes] = []
        if any(line.identifier is not None for line in lines) and await reader.has_identifiers():
            key = self.keys.identifier_key(caller.controller_name)
            named = [line.identifier for line in lines if line.identifier is not None]
            names = [identifier_mac(key, one.type, one.value) for one in named]
            found = await reader.subjects_of(names)
        of_identifier = iter(names)
        return [
            UUID(line.subject) if line.subject is not None else found.get(next(of_identifier, b"")) for line in lines
        ]

    async def _answer(self, reader: Ahead, caller: Caller, subject: UUID | None, question: Question) -> dict[str, Any]:
        if subject is not None:
            with suppress(NotFound):
                status = await self.statuses.of_in(reader, caller, subject, question.purpose, question.moment)
                return {name: status.said[name] for name in SAID if name in status.said}
        return {"valid": False, "reasons": ["never_asked"], "decision": None}

    async def _objected(
        self, reader: Ahead, caller: Caller, identifiers: Sequence[Identifier], at: datetime
    ) -> set[Identifier]:
        """Those of these identifiers whose people objected to the purpose and were erased."""
        if not identifiers or not await reader.has_suppressions():
            return set()
        names = {self.suppressions.name(caller, one): one for one in identifiers}
        return {names[name] for name in await reader.suppressed(list(names), at)}

    def _name_of(self, caller: Caller) -> NameOf:
        """Opens a decision part for its event's dedupe name."""

        def name_of(person: Row, row: Row) -> bytes:
            what = read_part(subject_cipher(self.keys, caller.controller_name, person), row, "what")
            if what is None:
                raise ProofError("a decision part vanished while it was read: ask again")
            return event_mac(self.event_id_key, caller.controller_name, what["id"])

        return name_of
