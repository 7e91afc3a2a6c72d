"""The suppression file: every erasure as a numbered line outside the database, so that no restore brings a person back.

Invariant: a line is durable before the erasure it numbers is committed. A database that lacks a number was restored
from before that erasure: every service refuses it until the ledger (or `sayso restore-check`) has applied the line.
Lines hold a random subject id and keyed names of identifiers, nothing in clear, and go when no backup is older.
"""

import asyncio
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from uuid import UUID

import orjson

from schemas.errors import ConfigurationError
from services.keys import sync_directory
from services.postgres import named_queries

if TYPE_CHECKING:
    from services.postgres import Connection, PooledConnection

# An erasure's line is there a moment before its transaction commits; a younger line than this is not yet missed.
IN_FLIGHT: Final = timedelta(seconds=30)
ENDS_TOO_EARLY: Final = (
    "the suppression file ends before the last erasure that this database knows: restore the file from its copy, or "
    "point SAYSO_SUPPRESSION_DIR at the right directory; never invent one"
)
_FILE: Final = "suppression.jsonl"
_LOCK: Final = "lock"
_SQL: Final = named_queries(Path(__file__).parent / "sql" / "suppression.sql")
_MEMBERS: Final = frozenset({"n", "controller", "subject", "identifiers", "erased_at", "event", "ground"})


class DatabaseNotReplayed(ConfigurationError, ConnectionError):
    """This database must not be opened yet. A process that starts refuses; one that runs treats it as away."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """One erasure. `subject` None: the whole controller. `identifiers` and `event` are keyed names of 16 bytes."""

    number: int
    controller: str
    subject: UUID | None
    identifiers: tuple[bytes, ...]
    erased_at: datetime
    event: bytes | None
    ground: str

    def encode(self) -> bytes:
        """One line of JSON with its newline."""
        members: dict[str, Any] = {
            "n": self.number,
            "controller": self.controller,
            "subject": None if self.subject is None else str(self.subject),
            "identifiers": [name.hex() for name in self.identifiers],
            "erased_at": self.erased_at.astimezone(UTC).isoformat(),
            "event": None if self.event is None else self.event.hex(),
            "ground": self.ground,
        }
        return orjson.dumps(members) + b"\n"


def _decode(line: bytes) -> Suppressed:
    value = orjson.loads(line)
    if not isinstance(value, dict) or set(value) != _MEMBERS:
        raise ValueError("not a line of a suppression file")
    return Suppressed(
        number=int(value["n"]),
        controller=str(value["controller"]),
        subject=None if value["subject"] is None else UUID(value["subject"]),
        identifiers=tuple(bytes.fromhex(name) for name in value["identifiers"]),
        erased_at=datetime.fromisoformat(value["erased_at"]),
        event=None if value["event"] is None else bytes.fromhex(value["event"]),
        ground=str(value["ground"]),
    )


class Suppression:
    """The file of one deployment. Ledgers append to it; every service reads it. Blocking: call it from a thread."""

    def __init__(self, directory: Path) -> None:
        """Neither makes nor reads anything."""
        self._directory = directory

    def create(self) -> None:
        """Make the directory and an empty file (ledger only). Raises ConfigurationError."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._locked() as file:
                os.fsync(file.fileno())
            sync_directory(self._directory)
        except OSError as error:
            raise ConfigurationError(
                f"the suppression directory {self._directory} cannot be used: {error.strerror}"
            ) from None

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        descriptor = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = os.open(self._directory / _FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(file, "r+b") as opened:
                yield opened

    def read(self) -> list[Suppressed]:
        """Every line, in the order of the numbers. Raises ConfigurationError if the file is missing or damaged."""
        path = self._directory / _FILE
        try:
            return _parse(path.read_bytes())
        except FileNotFoundError:
            raise DatabaseNotReplayed(
                f"there is no suppression file {path}: start a ledger once, or restore the directory; never invent it"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"the suppression file {path} cannot be read ({type(error).__name__}): restore it from its copy"
            ) from None

    def append(
        self,
        *,
        controller: str,
        subject: UUID | None,
        identifiers: Sequence[bytes],
        erased_at: datetime,
        event: bytes | None,
        ground: str,
        after: int,
    ) -> Suppressed:
        """The line of this erasure, written and fsynced unless it is there already; numbers go on behind `after`.

        `after` is the largest number that the database has. A crash behind this leaves a line that is applied again at
        the next start, which then finds nothing or finishes what was begun. Raises ConfigurationError if the file lacks
        what the database has, OSError if the line cannot be made durable: then it was never begun.
        """
        with self._locked() as file:
            raw = file.read()
            whole = raw[: raw.rfind(b"\n") + 1]
            known = _find(whole, controller, subject)
            if known is not None:
                # Whoever wrote it may have been killed before it was durable.
                os.fsync(file.fileno())
                return known
            last = _decode(whole[whole.rfind(b"\n", 0, -1) + 1 :]).number if whole else 0
            if last < after:
                raise ConfigurationError(ENDS_TOO_EARLY)
            line = Suppressed(last + 1, controller, subject, tuple(identifiers), erased_at, event, ground)
            if len(whole) != len(raw):
                # A crash in the middle of a line: that erasure was never begun.
                os.ftruncate(file.fileno(), len(whole))
            try:
                _write_durably(file.fileno(), line.encode())
            except OSError:
                # Once fsync has failed a second one may say yes without having written anything.
                os.ftruncate(file.fileno(), len(whole))
                raise
            return line

    def forget(self, before: datetime) -> int:
        """Drop the lines of erasures before `before`, which no backup is older than; how many. Atomic."""
        with self._locked() as file:
            raw = file.read()
            lines = _parse(raw[: raw.rfind(b"\n") + 1])
            # The last line stays: it carries the number.
            kept = [line for line in lines[:-1] if line.erased_at >= before] + lines[-1:]
            if len(kept) == len(lines):
                return 0
            temporary = self._directory / f"{_FILE}.new"
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as fresh:
                fresh.write(b"".join(line.encode() for line in kept))
                fresh.flush()
                os.fsync(fresh.fileno())
            temporary.replace(self._directory / _FILE)
            sync_directory(self._directory)
            return len(lines) - len(kept)

    async def missing(
        self, connection: "Connection | PooledConnection", *, in_flight: timedelta = IN_FLIGHT
    ) -> list[Suppressed]:
        """The lines older than `in_flight` that this database has not applied. Raises ConfigurationError."""
        youngest = datetime.now(UTC) - in_flight
        lines = {line.number: line for line in await asyncio.to_thread(self.read) if line.erased_at <= youngest}
        if not lines:
            return []
        names = [line.controller for line in lines.values()]
        rows = await connection.fetch(_SQL["missing_erasures"], list(lines), names)
        return [lines[number] for number in sorted(row["number"] for row in rows)]

    async def check(self, connection: "Connection") -> None:
        """Refuse a database that was restored from before an erasure. Raises DatabaseNotReplayed."""
        missing = await self.missing(connection)
        if missing:
            raise DatabaseNotReplayed(
                f"this database lacks {len(missing)} erasures of the suppression file: it was restored from before "
                "them; run sayso restore-check before anything opens it"
            )


def _write_durably(descriptor: int, line: bytes) -> None:
    """Without a buffer of ours, which would be written when the file is closed. Raises OSError."""
    if os.write(descriptor, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def _find(whole: bytes, controller: str, subject: UUID | None) -> Suppressed | None:
    """The line of this erasure. Only lines that may be it are parsed: the heads of the logs are locked meanwhile."""
    needle = orjson.dumps({"subject": None if subject is None else str(subject)})[1:-1]
    at = whole.find(needle)
    while at >= 0:
        end = whole.index(b"\n", at)
        line = _decode(whole[whole.rfind(b"\n", 0, at) + 1 : end])
        if (line.controller, line.subject) == (controller, subject):
            return line
        at = whole.find(needle, end)
    return None


def _parse(raw: bytes) -> list[Suppressed]:
    """The whole lines; what follows the last newline is a line that a crash cut off."""
    return [_decode(line) for line in raw[: raw.rfind(b"\n") + 1].splitlines()]
