"""What was said about a log against what its records say: head, verifier key, checkpoints, high-water mark.

A root that is signed or marked outside the database is the last word: records that do not make it were changed after.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import CheckpointError
from schemas.note import open_note
from services.ledger.fsck.findings import Report
from services.ledger.fsck.log_keys import LogKeys
from services.ledger.fsck.snapshot import SeenLog, Signed, Snapshot

# Size -> root recomputed from the entries.
RootAt = Callable[[int], bytes]
_BELOW_EVERY_SIZE = -(2**63)
_ABOVE_EVERY_SIZE = 2**63 - 1


class SignedStatements:
    """The signed and marked roots of one log, checked as the walk passes their sizes."""

    def __init__(
        self, snapshot: Snapshot, log: SeenLog, mark: Checkpoint | None, keys: LogKeys, report: Report
    ) -> None:
        """`mark` was read before the snapshot was taken: it can only be behind it, never ahead of it."""
        self._snapshot = snapshot
        self._log = log
        self._mark = mark
        self._keys = keys
        self._report = report
        self._checked_to = _BELOW_EVERY_SIZE
        # The largest size whose signed root the records make.
        self.good: int | None = None

    async def begin(self, root_at: RootAt) -> None:
        """Check the checkpoint of the empty log, and that there is none below it."""
        rows = await self._snapshot.checkpoints(self._log, _BELOW_EVERY_SIZE, 0)
        if self._log.signed_size is not None and [row.size for row in rows] != [0]:
            self._add("checkpoints", "size 0", "the log's first checkpoint, of size 0, is not there")
        self.check(rows, 0, root_at)

    def go_on_after(self, size: int, good: int | None) -> None:
        """Everything up to `size` was checked by an earlier run; `good` as it was then."""
        self._checked_to, self.good = size, good

    def check(self, rows: Sequence[Signed], size: int, root_at: RootAt) -> None:
        """Check these checkpoints, which are all between the size before and `size`, and the mark if it lies there."""
        for row in rows:
            self._check_row(row, None if row.size < 0 else root_at(row.size))
        mark = self._mark
        if mark is not None and self._checked_to < mark.size <= size and root_at(mark.size) != mark.root:
            self._add("high_water", f"size {mark.size}", "the records do not make the root that was marked as signed")
        self._checked_to = size

    def _check_row(self, row: Signed, root: bytes | None) -> None:
        """One checkpoint: the note opens, says what the columns say, and the records make what it says."""
        where = f"size {row.size}"
        said = self._open(row.note, where)
        if said is None:
            return
        if (said.size, said.root) != (row.size, row.root):
            self._add("checkpoints", where, "size and root of the row are not those in the signed note")
        if said.size == row.size and said.root == root:
            self.good = said.size
        elif said.size == row.size:
            good = "at none before it" if self.good is None else f"still at size {self.good}"
            self._add("checkpoints", where, f"the records do not make the signed root; they do {good}")

    def _open(self, note: str, where: str) -> Checkpoint | None:
        vkeys = self._keys.vkeys
        if not vkeys:
            return None
        try:
            checkpoint = open_checkpoint(note, self._log.origin, vkeys)
            if len(vkeys) > 1 and not self._keys.in_force(open_note(note, vkeys).signatures, checkpoint.size):
                self._add("checkpoints", where, "it is not signed by the keys of its time")
        except CheckpointError as error:
            self._add("checkpoints", where, str(error))
            return None
        return checkpoint

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
            self._add("checkpoints", f"size {row.size}", f"a checkpoint covers more than the {end} records there are")
        if self._mark is not None and self._mark.size > end:
            self._add("high_water", f"size {self._mark.size}", f"more was signed than the {end} records there are")

    def _add(self, table: str, where: str, what: str) -> None:
        self._report.add(table, self._log.name, where, what)
