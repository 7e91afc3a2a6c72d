"""Keys of subjects while fsck reads their records: a bounded number of them, and one finding for a bad one."""

from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

from schemas.errors import ConfigurationError
from services.keys import ControllerKeys
from services.ledger.fsck.findings import Report
from services.ledger.fsck.snapshot import Snapshot
from services.ledger.store import Row
from services.ledger.subjects import unwrap

_SUBJECTS_KEPT_MAX: Final = 10_000


class SubjectCiphers:
    """Ciphers of one controller's subjects; a key that does not unwrap is one finding, however many records it had."""

    def __init__(self, keys: ControllerKeys, controller_name: str, report: Report) -> None:
        """Holds unwrapped keys for as long as the walk lasts, a bounded number of them."""
        self._keys = keys
        self._controller_name = controller_name
        self._report = report
        self._ciphers: dict[UUID, AESGCM | None] = {}

    def add(self, row: Row) -> None:
        """Take in a row of (subject, wrapped_key, key_epoch)."""
        if len(self._ciphers) >= _SUBJECTS_KEPT_MAX:
            self._ciphers.clear()
        self._ciphers[row["subject"]] = self._unwrapped(row)

    def _unwrapped(self, row: Row) -> AESGCM | None:
        try:
            return AESGCM(unwrap(self._keys, self._controller_name, row))
        except InvalidUnwrap:
            what = "the wrapped key was changed, or is of another epoch"
        except ConfigurationError:
            what = "the controller key of its epoch is missing"
        self._report.add("subjects", None, f"subject {row['subject']}", what)
        return None

    async def load(self, snapshot: Snapshot, controller: int, subjects: set[UUID]) -> None:
        """Make sure that those of `subjects` that exist are here."""
        if missing := subjects - self._ciphers.keys():
            for row in await snapshot.subject_keys(controller, missing):
                self.add(row)

    def exists(self, subject: UUID) -> bool:
        """Whether the subject has a row at all."""
        return subject in self._ciphers

    def get(self, subject: UUID) -> AESGCM | None:
        """None if its key cannot be used."""
        return self._ciphers.get(subject)
