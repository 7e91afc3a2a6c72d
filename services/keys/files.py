"""Key files: 32 secret bytes each, mode 600, made, replaced and destroyed durably."""

import os
import stat
import time
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schemas.errors import ConfigurationError

SECRET_BYTES: Final = 32


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
    temporary = _write_temporary(path, secret)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    sync_directory(path.parent)
    return True


def replace_secret(path: Path, secret: bytes) -> None:
    """Put a key file (600) in the place of another, durably; a crash leaves the one or the other, whole."""
    _write_temporary(path, secret).replace(path)
    sync_directory(path.parent)


def _write_temporary(path: Path, secret: bytes) -> Path:
    """A finished file beside `path` under a name that nobody reads."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    return temporary


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


def destroy_secret(path: Path) -> None:
    """Remove a key file for good; none there is as good. Durable on return.

    Its blocks are not overwritten: on copy-on-write and flash storage that would prove nothing.
    """
    path.unlink(missing_ok=True)
    forget_unfinished(path)
    if path.parent.exists():
        sync_directory(path.parent)


def forget_unfinished(path: Path) -> None:
    """Remove what a crash left of writing `path`: it may hold the same secret."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)
