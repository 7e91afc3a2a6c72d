"""A file of an export on its way: hashed while it is written, sealed to an age recipient if one is asked for.

Invariant: a file has its name only once all of it is durable, and nothing of a sealed file is ever on disk in clear.
"""

import hashlib
import io
import os
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple

from schemas.rights_errors import ExportExtraMissing

try:
    import pyrage
except ImportError:  # the extra `exports`
    pyrage = None

_MODE: Final = 0o600
_PIECE_BYTES: Final = 65_536


class Written(NamedTuple):
    """A finished file. content_sha256: of what was written, before it was sealed."""

    sha256: str
    size: int
    content_sha256: str


def age_recipient(text: str) -> Any:
    """An age recipient. Raises ExportExtraMissing, ValueError for what is none."""
    if pyrage is None:
        raise ExportExtraMissing
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise ValueError("not an age recipient") from None


class Sink(io.RawIOBase):
    """Write to it, then `finish` or `abandon`. Raises OSError where the disk refuses."""

    def __init__(self, path: Path, recipient: str | None) -> None:
        super().__init__()
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")
        self._content = hashlib.sha256()
        self._file = _Hashing(self._partial)
        self._sealing = None if recipient is None else _Sealing(self._file, recipient)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = memoryview(data).cast("B")
        self._content.update(piece)
        if self._sealing is None:
            self._file.write(piece)
        else:
            self._sealing.write(piece)
        return len(piece)

    def finish(self) -> Written:
        """1. Everything sealed; 2. fsync; 3. the name; 4. the folder's fsync. A crash before 3 leaves a dot file."""
        if self._sealing is not None:
            self._sealing.finish()
        self._file.sync()
        self._partial.replace(self._path)
        sync_folder(self._path.parent)
        return Written(self._file.sha256.hexdigest(), self._file.size, self._content.hexdigest())

    def abandon(self) -> None:
        """Leave nothing."""
        if self._sealing is not None:
            self._sealing.abandon()
        self._file.drop()
        self._partial.unlink(missing_ok=True)


class _Hashing:
    """The raw file, its hash and its size."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
        self.sha256 = hashlib.sha256()
        self.size = 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            self.error = error
            raise
        self.sha256.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is buffered here."""

    def sync(self) -> None:
        os.fsync(self._descriptor)
        self.drop()

    def drop(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _Sealing:
    """A thread that reads what is written from a pipe and seals it into the file."""

    def __init__(self, file: _Hashing, recipient: str) -> None:
        self._file = file
        self._recipient = age_recipient(recipient)
        reading, self._pipe = os.pipe()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._seal, args=(reading,), daemon=True)
        self._thread.start()

    def _seal(self, reading: int) -> None:
        try:
            with open(reading, "rb", buffering=_PIECE_BYTES) as pieces:
                pyrage.encrypt_io(pieces, self._file, [self._recipient])
        except Exception as error:  # noqa: BLE001 - told to who writes, in another thread
            self._error = self._file.error or error

    def write(self, piece: memoryview) -> None:
        try:
            while piece:
                piece = piece[os.write(self._pipe, piece) :]
        except BrokenPipeError:
            self.finish()
            raise

    def finish(self) -> None:
        self.abandon()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        self._thread.join()


def sync_folder(folder: Path) -> None:
    """Names in a folder are durable only when the folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes) -> None:
    """A small file, whole or not at all."""
    sink = Sink(path, None)
    try:
        sink.write(content)
        sink.finish()
    except BaseException:
        sink.abandon()
        raise
