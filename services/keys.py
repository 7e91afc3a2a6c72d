"""Keys at rest and the keyed names made with them. Secrets live in files of mode 600, by reference, never in a setting.

Who holds what: docs/architecture.md. Controller keys are wrapped by the root key and lie outside the database, so that
no dump holds them; destroying an epoch's file destroys every old backup of the subject keys wrapped under it.
"""

import hashlib
import hmac
import os
import stat
import time
import unicodedata
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from schemas.errors import ConfigurationError

SECRET_BYTES: Final = 32
MAC_BYTES: Final = 16
EPOCH_S: Final = 30 * 24 * 3600
# How long an unwrapped controller key may stay in a process's memory (design, section 3).
KEY_CACHE_S: Final = 60


def read_secret(path: Path) -> bytes:
    """Read a 32-byte secret from a file of mode 600 or stricter. Raises ConfigurationError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read the key file {path}: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigurationError(f"the key file {path} is open to others: chmod 600 it")
    if len(secret) != SECRET_BYTES:
        raise ConfigurationError(f"the key file {path} does not hold {SECRET_BYTES} bytes")
    return secret


def write_secret(path: Path, secret: bytes) -> bool:
    """Create a key file (600) durably; False if one is there already, which then stays as it is.

    Link from a finished temporary file: two processes that race agree on one key; a crash leaves none or a whole one.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        sync_directory(path.parent)
        return True
    finally:
        temporary.unlink()


def sync_directory(directory: Path) -> None:
    """Make a new name in `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_secret(path: Path) -> bytes:
    """The secret in `path`, made with fresh random bytes if there is none."""
    write_secret(path, os.urandom(SECRET_BYTES))
    return read_secret(path)


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key whose seed is in `path`. Raises ConfigurationError."""
    return Ed25519PrivateKey.from_private_bytes(read_secret(path))


def sealing_key(path: Path) -> X25519PrivateKey:
    """The X25519 key whose private bytes are in `path`. Raises ConfigurationError."""
    return X25519PrivateKey.from_private_bytes(read_secret(path))


def event_mac(key: bytes, controller: str, event_id: str) -> bytes:
    """The name of an event id in the dedupe, 16 bytes; ingest and ledger compute the same."""
    return hmac.digest(key, b"%b\n%b" % (controller.encode(), event_id.encode()), "sha256")[:MAC_BYTES]


def identifier_mac(key: bytes, kind: str, value: str) -> bytes:
    """The name an identifier is found by, 16 bytes, under the controller's identifier secret.

    E-mail addresses compare without case, phone numbers without spacing; the rest compare exactly.
    """
    if kind == "email":
        value = unicodedata.normalize("NFC", value).strip().casefold()
    elif kind == "phone":
        value = "".join(c for c in value if c.isdigit() or c == "+")
    return hmac.digest(key, b"%b\n%b" % (kind.encode(), value.encode()), "sha256")[:MAC_BYTES]


def content_mac(subject_key: bytes, content: bytes) -> bytes:
    """The content of an event as the dedupe remembers it; useless once the subject's key is gone."""
    return hmac.digest(subject_key, b"sayso/content/v1\n" + content, "sha256")[:MAC_BYTES]


def secret_digest(secret: str) -> bytes:
    """How the secret part of a server or access key is stored: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def key_epoch(now: float) -> int:
    """The number of the 30-day epoch that `now` (seconds since 1970) lies in."""
    return int(now // EPOCH_S)


class ControllerKeys:
    """Controller keys in files, wrapped (AES-KW) by the root key. The ledger creates them; query only reads.

    One file a controller and epoch wraps subject keys; one more a controller names identifiers.
    """

    def __init__(self, directory: Path, root_key: bytes) -> None:
        """`directory` may be shared by several ledgers and query processes."""
        self._directory = directory
        self._root_key = root_key
        # By the file's name below the directory; a Path a look-up would cost more than the key does.
        self._cache: dict[str, tuple[float, bytes]] = {}

    def create_identifier_key(self, controller: str) -> bytes:
        """The secret of the controller's identifier names, made at first use (ledger only)."""
        return self._key(f"{controller}/identifiers.key", create=True)

    def identifier_key(self, controller: str) -> bytes:
        """Raises ConfigurationError if the ledger has not made it or the root key is another."""
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

    def epochs(self, controller: str) -> list[int]:
        """The epochs that there is a wrapping key of, in order."""
        paths = (self._directory / controller).glob("epoch-*.key")
        return sorted(int(path.stem.removeprefix("epoch-")) for path in paths)

    def destroy_wrapping_key(self, controller: str, epoch: int) -> None:
        """From now on no backup that was wrapped under it can be read (ledger only). Durable on return."""
        self._destroy(f"{controller}/epoch-{epoch}.key")

    def destroy_controller(self, controller: str) -> None:
        """Every key of an erased controller: wrapping, identifiers, proofs (ledger only). Durable on return."""
        for path in sorted((self._directory / controller).glob("*.key")):
            self._destroy(f"{controller}/{path.name}")

    def _destroy(self, name: str) -> None:
        path = self._directory / name
        self._cache.pop(name, None)
        path.unlink(missing_ok=True)
        if path.parent.exists():
            sync_directory(path.parent)

    def _key(self, name: str, *, create: bool = False) -> bytes:
        now = time.monotonic()
        cached = self._cache.get(name)
        if cached is not None and now - cached[0] < KEY_CACHE_S:
            return cached[1]
        path = self._directory / name
        if create and not path.exists():
            write_secret(path, aes_key_wrap(self._root_key, os.urandom(SECRET_BYTES)))
        try:
            key = aes_key_unwrap(self._root_key, path.read_bytes())
        except OSError as error:
            raise ConfigurationError(f"cannot read the controller key {path}: {error.strerror}") from None
        except InvalidUnwrap:
            raise ConfigurationError(f"the controller key {path} was wrapped by another root key") from None
        self._cache[name] = (now, key)
        return key
