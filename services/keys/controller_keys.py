"""Controller keys: files outside the database, each wrapped by the key provider; no dump holds them.

Who holds what: docs/architecture.md. Destroying an epoch's file destroys every old backup of the subject keys that were
wrapped under it.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from schemas.errors import ConfigurationError
from services.keys.files import SECRET_BYTES, destroy_secret, write_secret
from services.keys.provider import KeyProvider

# How long an unwrapped controller key may stay in a process's memory (design, section 3).
KEY_CACHE_S: Final = 60


class ControllerKeys:
    """Controller keys in files, wrapped by the key provider. The ledger creates them; query only reads.

    A look-up that misses the cache asks the provider and blocks for that one short request (decision 0008).

    One file a controller and epoch wraps subject keys; one more a controller names identifiers.
    """

    def __init__(self, directory: Path, provider: KeyProvider) -> None:
        """`directory` may be shared by several ledgers and query processes."""
        self._directory = directory
        self._provider = provider
        # By the file's name below the directory; a Path a look-up would cost more than the key does.
        self._cache: dict[str, tuple[float, bytes]] = {}
        self._forgetting: threading.Timer | None = None

    def create_identifier_key(self, controller: str) -> bytes:
        """The secret of the controller's identifier names, made at first use (ledger only)."""
        return self._key(f"{controller}/identifiers.key", create=True)

    def identifier_key(self, controller: str) -> bytes:
        """Raises ConfigurationError if the ledger has not made it or the provider cannot unwrap it."""
        return self._key(f"{controller}/identifiers.key")

    def create_wrapping_key(self, controller: str, epoch: int) -> bytes:
        """The key that wraps subject keys in `epoch`, made at first use (ledger only)."""
        return self._key(f"{controller}/epoch-{epoch}.key", create=True)

    def wrapping_key(self, controller: str, epoch: int) -> bytes:
        """Raises ConfigurationError if this epoch's key was destroyed or never made."""
        return self._key(f"{controller}/epoch-{epoch}.key")

    def create_proof_key(self, controller: str) -> bytes:
        """The key of the minimal proofs that outlive an erasure, made at first use (ledger only)."""
        return self._key(f"{controller}/proofs.key", create=True)

    def proof_key(self, controller: str) -> bytes:
        """Raises ConfigurationError if the ledger has not made it."""
        return self._key(f"{controller}/proofs.key")

    def create_webhook_key(self, controller: str) -> bytes:
        """The key that the secrets of downstream systems are derived from, made at first use (ledger only)."""
        return self._key(f"{controller}/webhooks.key", create=True)

    def webhook_key(self, controller: str) -> bytes:
        """Raises ConfigurationError if the ledger has not made it."""
        return self._key(f"{controller}/webhooks.key")

    def epochs(self, controller: str) -> list[int]:
        """The epochs that there is a wrapping key of, in order."""
        paths = (self._directory / controller).glob("epoch-*.key")
        return sorted(int(path.stem.removeprefix("epoch-")) for path in paths)

    def unused_since(self, controller: str, epoch: int, now: datetime, *, in_use: bool) -> datetime | None:
        """Since when the key of `epoch` has wrapped nothing, noted beside it; None while it is in use (ledger only)."""
        note = self._directory / controller / f"epoch-{epoch}.unused"
        if in_use:
            note.unlink(missing_ok=True)
            return None
        if not note.exists():
            write_secret(note, now.astimezone(UTC).isoformat().encode())
        return datetime.fromisoformat(note.read_text(encoding="ascii"))

    def destroy_wrapping_key(self, controller: str, epoch: int) -> None:
        """From now on no backup that was wrapped under it can be read (ledger only). Durable on return."""
        self._destroy(f"{controller}/epoch-{epoch}.key")
        (self._directory / controller / f"epoch-{epoch}.unused").unlink(missing_ok=True)

    def destroy_controller(self, controller: str) -> None:
        """Every key of an erased controller: wrapping, identifiers, proofs (ledger only). Durable on return."""
        for path in sorted((self._directory / controller).glob("*.key")):
            self._destroy(f"{controller}/{path.name}")

    def _destroy(self, name: str) -> None:
        self._cache.pop(name, None)
        with only_writer(self._directory):
            destroy_secret(self._directory / name)

    def _key(self, name: str, *, create: bool = False) -> bytes:
        now = time.monotonic()
        cached = self._cache.get(name)
        if cached is not None and now - cached[0] < KEY_CACHE_S:
            return cached[1]
        path = self._directory / name
        if create and not path.exists():
            with only_writer(self._directory):
                write_secret(path, self._provider.wrap(name, os.urandom(SECRET_BYTES)))
        try:
            blob = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"cannot read the controller key {path}: {error.strerror}") from None
        key = self._provider.unwrap(name, blob)
        self._cache[name] = (now, key)
        if self._forgetting is None:
            self._forget_later()
        return key

    def _forget_later(self) -> None:
        """Nobody has to ask for a key again for it to leave the memory; one thread waits for all of them."""
        self._forgetting = threading.Timer(KEY_CACHE_S, self._forget)
        self._forgetting.daemon = True
        self._forgetting.start()

    def _forget(self) -> None:
        self._forgetting = None
        now = time.monotonic()
        for name, (since, _) in list(self._cache.items()):
            if now - since >= KEY_CACHE_S:
                self._cache.pop(name, None)
        if self._cache:
            self._forget_later()


@contextmanager
def only_writer(directory: Path) -> Iterator[None]:
    """One process at a time makes, re-wraps or destroys controller keys; whoever reads them waits for nobody.

    So no new file is wrapped under a root that is about to go, and no rotation puts back what was just destroyed.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (directory / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
