"""What a run of fsck has finished, in a file, so that a run that was killed goes on where it was.

One entry a stage: what it was checked against (its basis), how far it came, what it found. Invariant: what was checked
against another basis is not taken over; the file is replaced whole, and gone once a run has come to its end.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from schemas.errors import ConfigurationError
from services.ledger.fsck import findings

_FORMAT: Final = "sayso-fsck-progress/v1"


class Memory:
    """The file of one run, or nothing if no file was asked for."""

    def __init__(self, path: Path | None, binding: str) -> None:
        """`binding` names database and choice of logs. Raises ConfigurationError for a file of something else."""
        self._path = path
        self._binding = binding
        self._stages: dict[str, Any] = {}
        self._written_at = float("-inf")
        if path is not None and path.exists():
            self._stages = self._read(path)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            kept = orjson.loads(path.read_bytes())
            if kept["format"] == _FORMAT and kept["binding"] == self._binding:
                stages: dict[str, Any] = kept["stages"]
                return stages
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise ConfigurationError(
            f"{path} is not what a run of fsck over this database and these logs left: name another file, or remove it"
        )

    def of(self, stage: str) -> Mapping[str, Any] | None:
        """What was kept of a stage."""
        found: Mapping[str, Any] | None = self._stages.get(stage)
        return found

    def keep(self, stage: str, kept: Mapping[str, Any]) -> None:
        """Take the place of what was kept of a stage; on disk about once a second. Raises ConfigurationError."""
        self._stages[stage] = kept
        now = time.monotonic()
        if self._path is None or now - self._written_at < findings.PROGRESS_S:
            return
        self._written_at = now
        document = {"format": _FORMAT, "binding": self._binding, "stages": self._stages}
        temporary = self._path.with_name(self._path.name + ".new")
        try:
            temporary.write_bytes(orjson.dumps(document))
            temporary.replace(self._path)
        except OSError as error:
            raise ConfigurationError(f"cannot write {self._path}: {error.strerror}") from None

    def end(self) -> None:
        """Everything was checked: there is nothing to go on with."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
