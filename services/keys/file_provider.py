"""Keys in local files, the default provider: the root key wraps controller keys (AES-KW, RFC 3394), seeds sign.

The root key is read at every use and never kept: a rotation is seen at once, and a destroyed root is in no memory.
"""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from schemas.errors import ConfigurationError
from services.keys.files import destroy_secret, forget_unfinished, make_secret, read_secret, signing_key, sync_directory

FILE_SCHEME: Final = "file:"


class SeedFiles:
    """Ed25519 seeds in `ledger_key_dir`/logs; the reference `file:NAME.key` names the file."""

    def __init__(self, ledger_key_dir: Path | None) -> None:
        """None: a process that signs for no log."""
        self._directory = None if ledger_key_dir is None else ledger_key_dir / "logs"

    def create_signing_key(self, name: str) -> str:
        """Make the seed file, unless it is there."""
        reference = f"{FILE_SCHEME}{name}.key"
        make_secret(self._path(reference))
        return reference

    def public_key(self, reference: str) -> bytes:
        """Raises ConfigurationError if the file is missing or open to others."""
        return signing_key(self._existing(reference)).public_key().public_bytes_raw()

    def sign(self, reference: str, message: bytes) -> bytes:
        """Raises ConfigurationError if the file is missing or open to others."""
        return signing_key(self._existing(reference)).sign(message)

    def destroy_signing_key(self, reference: str) -> None:
        """Remove the file."""
        destroy_secret(self._path(reference))

    def _path(self, reference: str) -> Path:
        if self._directory is None or not reference.startswith(FILE_SCHEME):
            raise ConfigurationError(
                f"the key provider 'file:' does not hold the key {reference}: set SAYSO_KEY_PROVIDER"
            )
        return self._directory / Path(reference.removeprefix(FILE_SCHEME)).name

    def _existing(self, reference: str) -> Path:
        path = self._path(reference)
        if not path.exists():
            raise ConfigurationError(
                f"the signing key {path} of an open log is missing: restore it from your key backup"
            )
        return path


class FileProvider(SeedFiles):
    """The root key in one file; during a rotation the next one lies beside it, in FILE.next."""

    def __init__(self, root_key_file: Path, ledger_key_dir: Path | None = None) -> None:
        """Raises ConfigurationError if the root key cannot be read, or others can read it."""
        super().__init__(ledger_key_dir)
        self._root = root_key_file
        self._next = root_key_file.with_name(f"{root_key_file.name}.next")
        read_secret(self._root)

    def wrap(self, _name: str, key: bytes, /) -> bytes:
        """40 bytes for a key of 32; the name is not bound into them."""
        return aes_key_wrap(read_secret(self._next if self._next.exists() else self._root), key)

    def unwrap(self, name: str, blob: bytes, /) -> bytes:
        """Under the root, the next one, and the root again, which the next one may have become meanwhile."""
        for root in (self._root, self._next, self._root):
            try:
                return aes_key_unwrap(read_secret(root), blob)
            except InvalidUnwrap:
                continue
            except ConfigurationError:
                # Only the next one may be missing: at any time but during a rotation.
                if root is self._root or root.exists():
                    raise
        raise ConfigurationError(
            f"the controller key {name} was wrapped by another root key than {self._root}: restore the right one"
        )

    def begin_root_rotation(self) -> "FileProvider":
        """Make FILE.next, unless it is there: a crash left it, or the operator laid it there."""
        make_secret(self._next)
        return FileProvider(self._next)

    def end_root_rotation(self) -> str:
        """FILE.next becomes FILE: one step, after which the old root is nowhere."""
        self._next.replace(self._root)
        # Of the next one as well: the pattern covers its name.
        forget_unfinished(self._root)
        sync_directory(self._root.parent)
        return f"{self._root} holds the new root key; the old one is destroyed. Replace its copies on other machines."
