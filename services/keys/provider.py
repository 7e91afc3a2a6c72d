"""The key provider, named by SAYSO_KEY_PROVIDER: whoever wraps the controllers' keys and signs for the logs.

Three implementations pass one class of contract tests: files (the default), HashiCorp Vault's Transit engine, AWS KMS.
"""

import hmac
import os
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from schemas.errors import ConfigurationError, KeyProviderAway
from services.keys.file_provider import FILE_SCHEME, FileProvider, SeedFiles
from services.keys.files import SECRET_BYTES

# A provider over the network answers within this time or counts as away; an event loop may be waiting.
REQUEST_TIMEOUT_S: Final = 3.0
FORMS: Final = "'file:', 'vault://HOST:PORT/MOUNT' or 'aws-kms:ALIAS-OR-KEY-ID'"


class KeyProvider(Protocol):
    """Holds the root key and the logs' signing keys, or asks whoever holds them.

    Guarantees, of every implementation:
    * What `wrap` returned, `unwrap` gives back under the same name, also in another process and after a restart, until
      the root was rotated. Any other bytes, and any other root, raise ConfigurationError, never a wrong key.
    * `create_signing_key` returns a reference only once the key is durable. The same name again gives the same key.
    * `sign` returns 64 bytes that verify under `public_key` of the same reference (Ed25519, RFC 8032), or raises.
    * After `destroy_signing_key` the reference signs nothing any more; a key that is gone already is as good.
    * Nothing blocks for longer than a few REQUEST_TIMEOUT_S. What does not answer raises KeyProviderAway, what answers
      with a refusal ConfigurationError. Neither message holds a key, a token, or what the other side said.
    * Methods may be called from several threads at once.
    """

    def wrap(self, name: str, key: bytes, /) -> bytes:
        """The controller key called `name`, encrypted under the root."""

    def unwrap(self, name: str, blob: bytes, /) -> bytes:
        """The controller key that `wrap` encrypted."""

    def create_signing_key(self, name: str) -> str:
        """The reference of the Ed25519 key called `name`, made if there is none."""

    def public_key(self, reference: str) -> bytes:
        """The 32 raw bytes of the public half."""

    def sign(self, reference: str, message: bytes) -> bytes:
        """The Ed25519 signature of a message of at most 4,096 bytes."""

    def destroy_signing_key(self, reference: str) -> None:
        """Destroy a key that no log needs any more."""


@runtime_checkable
class RootRotation(Protocol):
    """A provider that can put another root key in the place of its own and destroy the old one (AWS KMS cannot).

    From `begin_root_rotation` to `end_root_rotation` the provider unwraps what either root wrapped, and wraps under the
    new one. Both may be called again after a crash at any point.
    """

    def begin_root_rotation(self) -> KeyProvider:
        """Make a new root, or go on with the one that a crash left; a provider that knows only that one."""

    def end_root_rotation(self) -> str:
        """Destroy the old root; a sentence that says what became of it."""


class ProviderSettings(Protocol):
    """What the settings of every process that opens a provider have."""

    @property
    def key_provider(self) -> str:
        """SAYSO_KEY_PROVIDER."""

    @property
    def root_key_file(self) -> Path | None:
        """SAYSO_ROOT_KEY_FILE."""

    @property
    def vault_token_file(self) -> Path | None:
        """SAYSO_VAULT_TOKEN_FILE."""


def open_provider(settings: ProviderSettings, ledger_key_dir: Path | None = None) -> KeyProvider:
    """The provider that the settings name. `ledger_key_dir` is for the ledger alone: others sign for no log.

    Raises ConfigurationError: not of a known form, a setting it needs is missing, or its package is not installed.
    """
    address = settings.key_provider
    if address == FILE_SCHEME:
        if settings.root_key_file is None:
            raise ConfigurationError("SAYSO_ROOT_KEY_FILE is not set: the key provider 'file:' needs it")
        return FileProvider(settings.root_key_file, ledger_key_dir)
    if address.startswith("vault://"):
        if settings.vault_token_file is None:
            raise ConfigurationError("SAYSO_VAULT_TOKEN_FILE is not set: the key provider 'vault:' needs it")
        try:
            from services.keys.vault_provider import VaultProvider  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise ConfigurationError("the key provider 'vault:' needs an extra: pip install 'sayso[vault]'") from None
        return VaultProvider(address, settings.vault_token_file, timeout_s=REQUEST_TIMEOUT_S)
    if address.startswith("aws-kms:"):
        try:
            from services.keys.aws_provider import AwsKmsProvider  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise ConfigurationError("the key provider 'aws-kms:' needs an extra: pip install 'sayso[aws]'") from None
        return AwsKmsProvider(address, timeout_s=REQUEST_TIMEOUT_S)
    raise ConfigurationError(f"SAYSO_KEY_PROVIDER is none of {FORMS}")


def check_provider(provider: KeyProvider) -> None:
    """Wrap and unwrap something of no value. Raises ConfigurationError also when the provider does not answer."""
    probe = os.urandom(SECRET_BYTES)
    try:
        held = hmac.compare_digest(provider.unwrap("probe", provider.wrap("probe", probe)), probe)
    except KeyProviderAway as error:
        raise ConfigurationError(str(error)) from None
    if not held:
        raise ConfigurationError("the key provider gives back other bytes than it was given: do not use it")


class SigningKeys:
    """The signing keys of logs, wherever each is: a log opened with a key in a file keeps it under any provider."""

    def __init__(self, provider: KeyProvider, ledger_key_dir: Path) -> None:
        """Keys in files lie in `ledger_key_dir`/logs; new keys are the provider's."""
        self._provider = provider
        self._files = SeedFiles(ledger_key_dir)

    def create(self, name: str) -> str:
        """As KeyProvider.create_signing_key."""
        return self._provider.create_signing_key(name)

    def public_key(self, reference: str) -> bytes:
        """As KeyProvider.public_key."""
        return self._holder(reference).public_key(reference)

    def sign(self, reference: str, message: bytes) -> bytes:
        """As KeyProvider.sign."""
        return self._holder(reference).sign(reference, message)

    def destroy(self, reference: str) -> None:
        """As KeyProvider.destroy_signing_key."""
        self._holder(reference).destroy_signing_key(reference)

    def _holder(self, reference: str) -> "KeyProvider | SeedFiles":
        return self._files if reference.startswith(FILE_SCHEME) else self._provider
