"""A mirror in a directory, for any static web server.

Invariant: a file appears under its name only whole and synced, by renaming the one staging file; directories are synced
before the checkpoint that needs them is written. The directory is locked while a publish writes to it.
"""

import asyncio
import errno
import fcntl
import os
from pathlib import Path

from schemas.errors import ConfigurationError, ProofError
from services.cli.publish import STAGING_FILE
from services.cli.publish.target import differs, moved_on


class DirectoryTarget:
    """Files below one directory, made if it is not there."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock: int | None = None
        # Directories with names in them that a power cut could still take back.
        self._unsynced: set[Path] = set()
        # One staging file, so one write at a time.
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        self._make(self._root)
        self._lock = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"another sayso publish writes to {self._root}: let it, or stop it") from None

    async def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def get(self, path: str) -> bytes | None:
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    async def add(self, path: str, content: bytes) -> bool:
        async with self._writing:
            return await asyncio.to_thread(self._add, path, content)

    def _add(self, path: str, content: bytes) -> bool:
        there = self._get(path)
        if there is None:
            self._store(path, content)
            return True
        if there != content:
            raise ProofError(differs(path))
        # Perhaps left by a publish that was killed before it synced the directory.
        self._unsynced.update(self._above(self._root / path))
        return False

    async def put(self, path: str, content: bytes) -> None:
        async with self._writing:
            await asyncio.to_thread(self._store, path, content)

    async def settle(self) -> None:
        async with self._writing:
            await asyncio.to_thread(self._settle)

    def _settle(self) -> None:
        for directory in sorted(self._unsynced):
            _sync_directory(directory)
        self._unsynced.clear()

    async def replace(self, path: str, content: bytes, seen: bytes | None) -> None:
        async with self._writing:
            if await asyncio.to_thread(self._get, path) != seen:
                raise ConfigurationError(moved_on(path))
            await asyncio.to_thread(self._store, path, content)
            await asyncio.to_thread(self._settle)

    async def discard(self, folder: str) -> None:
        async with self._writing:
            await asyncio.to_thread(self._discard, self._root / folder)

    def _discard(self, folder: Path) -> None:
        try:
            for path in list(folder.iterdir()):
                path.unlink()
            folder.rmdir()
        except FileNotFoundError:
            return
        self._unsynced.add(folder.parent)

    def _store(self, path: str, content: bytes) -> None:
        """1. Write and sync the staging file; 2. make the directories; 3. rename. A crash leaves the name as it was."""
        staging, final = self._root / STAGING_FILE, self._root / path
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            _write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._make(final.parent)
        staging.replace(final)
        self._unsynced.update(self._above(final))

    def _make(self, directory: Path) -> None:
        """The directory and those above it; their names are synced with the next `settle`."""
        if directory.is_dir():
            return
        self._make(directory.parent)
        directory.mkdir()
        self._unsynced.add(directory.parent)

    def _above(self, path: Path) -> list[Path]:
        """The directories between a file and the root, the root included."""
        return [parent for parent in path.parents if parent == self._root or self._root in parent.parents]


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        written = os.write(descriptor, rest)
        if written == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest = rest[written:]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
