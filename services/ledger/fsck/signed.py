"""What was said about a log against what its records say: head, verifier key, checkpoints, high-water mark.

A root that is signed or marked outside the database is the last word: records that do not make it were changed after.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import CheckpointError
from schemas.note import VerifierKey, log_key, parse_verifier_key
from services.keys import signing_key
from services.ledger.fsck.findings import Report
from services.ledger.fsck.snapshot import SeenLog, Snapshot
from services.ledger.store import Row

# Size -> root recomputed from the entries.
RootAt = Callable[[int], bytes]
_BELOW_EVERY_SIZE = -(2**63)
_ABOVE_EVERY_SIZE = 2**63 - 1


class SignedStatements:
    """The signed and marked roots of one log, checked as the walk passes their sizes."""

    def __init__(
        self, snapshot: Snapshot, log: SeenLog, mark: Checkpoint | None, key_path: Path, report: Report
    ) -> None:
        """`mark` was read before the snapshot was taken: it can only be behind it, never ahead of it."""
        self._snapshot = snapshot
        self._log = log
        self._mark = mark
        self._report = report
        self._vkey = self._verifier_key(key_path)
        self._checked_to = _BELOW_EVERY_SIZE
        # The largest size whose signed root the records make.
        self._good: int | None = None

    def _verifier_key(self, key_path: Path) -> VerifierKey | None:
        if self._log.vkey is None:
            if self._log.size is not None:
                self._add("logs", "vkey", "the log is open but names no verifier key")
            return None
        try:
            vkey = parse_verifier_key(self._log.vkey)
        except CheckpointError as error:
            self._add("logs", "vkey", str(error))
            return None
        # Where the signing key is at hand, whoever rewrote the whole log under a key of their own is found here.
        if key_path.exists() and log_key(self._log.origin, signing_key(key_path)) != vkey:
            self._add("logs", "vkey", "the verifier key is not that of the log's signing key")
        return vkey

    async def check_up_to(self, size: int, root_at: RootAt) -> None:
        """Check every checkpoint after those checked, up to `size`, and the mark if it lies there."""
        rows = await self._snapshot.checkpoints(self._log, self._checked_to, size)
        if size == 0 and self._log.signed_size is not None and [row["size"] for row in rows] != [0]:
            self._add("checkpoints", "size 0", "the log's first checkpoint, of size 0, is not there")
        for row in rows:
            self._check_row(row, None if row["size"] < 0 else root_at(row["size"]))
        mark = self._mark
        if mark is not None and self._checked_to < mark.size <= size and root_at(mark.size) != mark.root:
            self._add("high_water", f"size {mark.size}", "the records do not make the root that was marked as signed")
        self._checked_to = size

    def _check_row(self, row: Row, root: bytes | None) -> None:
        """One checkpoint: the note opens, says what the columns say, and the records make what it says."""
        where = f"size {row['size']}"
        said = self._open(row["note"], where)
        if said is None:
            return
        if (said.size, said.root) != (row["size"], row["root"]):
            self._add("checkpoints", where, "size and root of the row are not those in the signed note")
        if said.size == row["size"] and said.root == root:
            self._good = said.size
        elif said.size == row["size"]:
            good = "at none before it" if self._good is None else f"still at size {self._good}"
            self._add("checkpoints", where, f"the records do not make the signed root; they do {good}")

    def _open(self, note: str, where: str) -> Checkpoint | None:
        if self._vkey is None:
            return None
        try:
            return open_checkpoint(note, self._log.origin, [self._vkey])
        except CheckpointError as error:
            self._add("checkpoints", where, str(error))
            return None

    async def check_head(self, end: int, root: bytes, leaf: bytes, minute: datetime | None) -> None:
        """Check the head against the walk, and what was signed beyond it."""
        log = self._log
        largest = await self._snapshot.largest_checkpoint(log)
        if log.size is None:
            # Between the two statements that open a log there is a key and nothing else.
            if end or largest is not None or self._mark is not None:
                self._add("log_heads", "row", "the log is open but has no head")
        else:
            if log.root != root:
                self._add("log_heads", "root", "the root is not that of the records")
            if log.prev != leaf:
                self._add("log_heads", "prev", "prev is not the leaf hash of the last entry")
            if minute is not None and log.recorded_at != minute:
                self._add("log_heads", "recorded_at", "the minute is not that of the last entry")
        if largest != log.signed_size:
            self._add("log_heads", "signed_size", "the signed size is not that of the largest checkpoint")
        for row in await self._snapshot.checkpoints(log, end, _ABOVE_EVERY_SIZE):
            self._add(
                "checkpoints", f"size {row['size']}", f"a checkpoint covers more than the {end} records there are"
            )
        if self._mark is not None and self._mark.size > end:
            self._add("high_water", f"size {self._mark.size}", f"more was signed than the {end} records there are")

    def check_mark_covers(self, mark: Checkpoint | None) -> None:
        """`mark` was read after the snapshot: what was published by then must be under it."""
        signed = self._log.signed_size
        if signed is not None and (mark is None or mark.size < signed):
            self._add("high_water", f"size {signed}", "a checkpoint was published without a high-water mark")

    def _add(self, table: str, where: str, what: str) -> None:
        self._report.add(table, self._log.name, where, what)
