"""The signing keys that a log has had: numbered without a gap, each introduced by the one before it.

logs.vkey and log_keys number 1 say the same twice, so that the odd one out can be named. Where the private key is at
hand, whoever rewrote a whole log under a key of their own is found here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import CheckpointError, ConfigurationError
from schemas.log_keys import read_statement
from schemas.note import KeyKind, Signature, VerifierKey, open_note, parse_verifier_key
from services.keys import SigningKeys
from services.ledger.fsck.findings import Report
from services.ledger.fsck.snapshot import SeenLog, Signed, Snapshot
from services.ledger.store import Row


@dataclass(frozen=True, slots=True)
class _Known:
    """A key and the largest size that was signed before it was made, -1 for the first."""

    number: int
    key: VerifierKey
    from_size: int


class LogKeys:
    """The keys of one log, for its checkpoints; `read` makes it."""

    def __init__(self, log: SeenLog, report: Report) -> None:
        """Knows no key yet."""
        self._log = log
        self._report = report
        self._known: list[_Known] = []

    @property
    def vkeys(self) -> Sequence[VerifierKey]:
        """Every key that could be read; a checkpoint must open under them."""
        return [known.key for known in self._known]

    @classmethod
    async def read(cls, snapshot: Snapshot, log: SeenLog, signing: SigningKeys, report: Report) -> "LogKeys":
        """Check the rows and the statements. `signing` holds the private keys; one that is not there is not compared.

        1. The first key, from both tables; 2. the others, in order.
        """
        keys = cls(log, report)
        rows = await snapshot.log_keys(log)
        if log.vkey is None:
            if log.size is not None:
                keys._add("logs", "vkey", "the log is open but names no verifier key")
        elif not rows or rows[0]["number"] != 1:
            keys._add("log_keys", "number 1", "the key that the log was opened with is missing")
        keys._first(rows, signing, await snapshot.checkpoints(log, -1, 0))
        before = keys._known[0].key if keys._known else None
        for number, row in enumerate(rows[1:], start=2):
            if row["number"] != number:
                keys._add("log_keys", f"number {row['number']}", f"the numbers have a gap before it, at {number}")
            before = keys._next(row, before, signing)
        for row in rows:
            if (row["ends_at"] is None) != (row is rows[-1]):
                what = (
                    "it ends, but no other key follows" if row is rows[-1] else "another key follows, but it has no end"
                )
                keys._add("log_keys", f"number {row['number']}", what)
        return keys

    def _first(self, rows: Sequence[Row], signing: SigningKeys, first_checkpoint: Sequence[Signed]) -> None:
        """Take in what both tables say of the first key, and settle which is wrong if they differ."""
        said = [("logs", "vkey", self._log.vkey)] if self._log.vkey is not None else []
        if rows and rows[0]["number"] == 1:
            said.append(("log_keys", "number 1", rows[0]["vkey"]))
        true = _private(rows[0]["reference"] if rows else f"file:{self._log.name}.key", signing, self._log.origin)
        read: list[tuple[str, str, VerifierKey]] = []
        for table, where, vkey in said:
            key = self._parsed(table, where, vkey)
            if key is not None:
                read.append((table, where, key))
        differ = len({str(key) for _, _, key in read}) > 1
        for table, where, key in read:
            if true is not None and key != true:
                self._add(table, where, "the verifier key is not that of the log's signing key")
            elif true is None and differ and not any(_opens(row.note, key) for row in first_checkpoint):
                self._add(table, where, "the verifier key has not signed the log's first checkpoint")
            if all(known.key != key for known in self._known):
                self._known.append(_Known(1, key, -1))

    def _next(self, row: Row, before: VerifierKey | None, signing: SigningKeys) -> VerifierKey | None:
        """Take in one key after the first; it, or None if it cannot be read."""
        where = f"number {row['number']}"
        key = self._parsed("log_keys", where, row["vkey"])
        if key is None:
            return None
        true = _private(row["reference"], signing, self._log.origin)
        if true is not None and true != key:
            self._add("log_keys", where, "the verifier key is not that of the log's signing key")
        try:
            statement = read_statement(row["statement"] or "")
        except CheckpointError as error:
            self._add("log_keys", where, f"its statement does not hold: {error}")
            return key
        if (statement.number, statement.new, key.name) != (row["number"], key, self._log.origin):
            self._add("log_keys", where, "its statement is about another key")
        elif before is not None and statement.before != before:
            self._add("log_keys", where, "its statement follows another key than the one before it")
        else:
            self._known.append(_Known(row["number"], key, statement.from_size))
        return key

    def _parsed(self, table: str, where: str, vkey: str) -> VerifierKey | None:
        try:
            return parse_verifier_key(vkey)
        except CheckpointError as error:
            self._add(table, where, str(error))
            return None

    def in_force(self, signatures: Sequence[Signature], size: int) -> bool:
        """Whether the newest key of that time has signed a checkpoint of this size, and no later one has."""
        starts = {known.key: known.from_size for known in self._known}
        signers = {signature.key for signature in signatures}
        begun = [known for known in self._known if known.from_size < size]
        newest = max((known.number for known in begun), default=1)
        return any(known.number == newest and known.key in signers for known in begun) and not any(
            starts.get(key, -1) >= size for key in signers
        )

    def _add(self, table: str, where: str, what: str) -> None:
        self._report.add(table, self._log.name, where, what)


def _private(reference: str, signing: SigningKeys, origin: str) -> VerifierKey | None:
    """The verifier key of a private key, None for one that is not to be had here."""
    try:
        return VerifierKey(origin, KeyKind.ED25519, signing.public_key(reference))
    except ConfigurationError:
        return None


def _opens(note: str, key: VerifierKey) -> bool:
    try:
        open_note(note, [key])
    except CheckpointError:
        return False
    return True
