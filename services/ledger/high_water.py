"""The high-water mark: the largest (origin, size, root) ever signed, on disk outside the database.

Invariant: it is durable before a checkpoint is published, and it never goes back. A database that does not contain
it (a restored dump, a promoted lagging replica) is refused, so two roots for one size can never be signed.
Trust: whoever can write this directory can disarm the check; keep it beside the signing keys.
"""

import asyncio
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from schemas.checkpoint import Checkpoint, parse_checkpoint
from schemas.errors import ConfigurationError, LedgerHalted, ProofError
from services.keys import sync_directory
from services.ledger.store import Store
from services.ledger.tree import TreeEdge, edge_tiles

_ID_FILE: Final = "id"
_LOCK_FILE: Final = "lock"
_SUFFIX: Final = ".mark"
# Of a log that a successor took over from: kept for the record, never compared or raised again.
_CLOSED_SUFFIX: Final = ".closed"


def read_high_water(directory: Path) -> tuple[UUID | None, dict[str, Checkpoint]]:
    """The directory's id and its marks by origin; writes nothing and takes no lock, because files are replaced whole.

    Raises ConfigurationError.
    """
    try:
        path = directory / _ID_FILE
        bound = UUID(path.read_text(encoding="ascii").strip()) if path.exists() else None
        return bound, _marks_in(directory)
    except (OSError, ValueError, ProofError) as error:
        raise ConfigurationError(f"the high-water directory {directory} cannot be read: {error}") from None


def _marks_in(directory: Path) -> dict[str, Checkpoint]:
    paths = sorted(directory.glob("*" + _SUFFIX))
    marks = [parse_checkpoint(path.read_text(encoding="utf-8")) for path in paths]
    return {mark.origin: mark for mark in marks}


class HighWater:
    """One directory: a file a log, and an id that binds the directory to one database."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigurationError if the directory cannot be used."""
        self._directory = directory
        self._marks: dict[str, Checkpoint] = {}
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._locked():
                self.id = self._read_id()
                self._marks = _marks_in(directory)
        except (OSError, ValueError, ProofError) as error:
            raise ConfigurationError(f"the high-water directory {directory} cannot be used: {error}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._directory / _LOCK_FILE).open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read_id(self) -> UUID:
        path = self._directory / _ID_FILE
        if not path.exists():
            if any(self._directory.glob("*" + _SUFFIX)):
                raise ConfigurationError(f"{path} is missing beside existing marks: restore it, never invent it")
            self._write(path, f"{uuid4()}\n")
        return UUID(path.read_text(encoding="ascii").strip())

    def _write(self, path: Path, text: str) -> None:
        """Replace a file durably: a crash leaves the old one or the new one."""
        temporary = path.with_name(path.name + ".new")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(self._directory)

    def _path(self, origin: str) -> Path:
        return self._directory / (hashlib.sha256(origin.encode()).hexdigest() + _SUFFIX)

    def sizes(self) -> dict[str, int]:
        """Origin -> size, as this process knows it."""
        # A copy, made in one step: a thread may be raising a mark.
        return {origin: mark.size for origin, mark in dict(self._marks).items()}

    def raise_to(self, mark: Checkpoint) -> bool:
        """Make (origin, size, root) durable; blocking. False if more was signed already, so that this came too late.

        Under the directory's lock, because another ledger may have signed since this one last looked. Raises
        LedgerHalted if the same size was signed with another root. Whether the database contains a larger mark is
        asked on every new connection (`check`) and in every batch.
        """
        with self._locked():
            path = self._path(mark.origin)
            if path.with_suffix(_CLOSED_SUFFIX).exists():
                raise LedgerHalted(f"{mark.origin} has a successor: nothing is signed for it any more")
            if path.exists():
                standing = parse_checkpoint(path.read_text(encoding="utf-8"))
                self._marks[mark.origin] = standing
                if standing == mark:
                    return True
                if standing.size > mark.size:
                    return False
                if standing.size == mark.size:
                    raise LedgerHalted(
                        f"{mark.origin} was signed at size {mark.size} with another root; refusing another: "
                        "see docs/operations.md, 'The ledger halted'"
                    )
            self._write(path, mark.text())
            self._marks[mark.origin] = mark
            return True

    def last_signed(self, origin: str) -> Checkpoint | None:
        """What was last signed for an origin, also if it is closed by now. Blocking."""
        for path in (self._path(origin), self._path(origin).with_suffix(_CLOSED_SUFFIX)):
            if path.exists():
                return parse_checkpoint(path.read_text(encoding="utf-8"))
        return None

    def close(self, origin: str) -> None:
        """A successor took over: from now on this origin's mark binds nobody, and nothing is ever signed for it.

        Blocking. A crash before leaves the mark, and with it every ledger halted: close again.
        """
        with self._locked():
            path = self._path(origin)
            if path.exists():
                path.rename(path.with_suffix(_CLOSED_SUFFIX))
                sync_directory(self._directory)
            self._marks.pop(origin, None)

    async def check(self, store: Store) -> None:
        """Raise LedgerHalted unless this database contains everything that was ever signed.

        1. The database must be bound to this directory (or have signed nothing: then it is bound now);
        2. for each mark, the log must exist and be at least as long; 3. its tiles must make the marked root.
        """
        # As they lie on disk, because another ledger may have signed since this one last looked.
        _, marks = await asyncio.to_thread(read_high_water, self._directory)
        bound = await store.high_water_id()
        if bound is None and not marks:
            await store.adopt_high_water(self.id)
            bound = await store.high_water_id()
        if bound != self.id:
            raise LedgerHalted(
                "this database and this high-water directory do not belong together: several ledgers must share one "
                "directory, and a restored database needs a successor log; see docs/operations.md, 'The ledger halted'"
            )
        for mark in marks.values():
            await self._check_mark(store, mark)
        signed = await store.signed_logs()
        if not signed.keys() <= marks.keys():
            # A log signed for the first time in between: its mark was there before its checkpoint.
            _, marks = await asyncio.to_thread(read_high_water, self._directory)
        if missing := signed.keys() - marks.keys():
            raise LedgerHalted(f"the high-water mark of {len(missing)} signed logs is missing: restore the directory")

    async def _check_mark(self, store: Store, mark: Checkpoint) -> None:
        head = await store.head_by_origin(mark.origin)
        if head is None or head["size"] < mark.size:
            have = "no such log" if head is None else f"{head['size']} records"
            raise LedgerHalted(
                f"{mark.origin} was signed at size {mark.size}, but this database has {have}: it was restored or lags "
                "behind; see docs/operations.md, 'The ledger halted'"
            )
        wanted = [(level, tile) for level, tile, _ in edge_tiles(mark.size)]
        edge = TreeEdge.from_tiles(mark.size, await store.tiles(head["controller"], head["log"], wanted))
        if edge.root() != mark.root:
            raise LedgerHalted(f"{mark.origin} has another root at the signed size {mark.size}: run sayso fsck")
