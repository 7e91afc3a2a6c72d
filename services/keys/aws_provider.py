"""Keys in AWS KMS (docs.aws.amazon.com/kms): Encrypt and Decrypt wrap controller keys, ECC_NIST_EDWARDS25519 keys sign.

Credentials, region and endpoint are found as AWS's own tools find them. botocore is called directly, because these are
single calls that block (decision 0008). Invariant: no message holds a key or what KMS answered, but for its error code.
"""

from http import HTTPStatus
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from schemas.errors import ConfigurationError, KeyProviderAway

SCHEME: Final = "aws-kms:"
ALIAS_PREFIX: Final = "alias/sayso-log-"
# Bound into every ciphertext; shown in CloudTrail, so it holds the controller's name and no more.
_CONTEXT_KEY: Final = "sayso"
# The least that KMS allows.
DELETION_DAYS: Final = 7
_AWAY_CODES: Final = frozenset(
    {"DependencyTimeoutException", "KMSInternalException", "KeyUnavailableException", "ThrottlingException"}
)


class AwsKmsProvider:
    """One wrapping key by alias or id; signing keys are found by the id in their reference."""

    def __init__(self, address: str, *, timeout_s: float) -> None:
        """`address` is aws-kms:ALIAS-OR-KEY-ID. Raises ConfigurationError; connects at the first request."""
        self._root = address.removeprefix(SCHEME)
        if not self._root:
            raise ConfigurationError("SAYSO_KEY_PROVIDER is not of the form aws-kms:ALIAS-OR-KEY-ID")
        config = Config(connect_timeout=timeout_s, read_timeout=timeout_s, retries={"total_max_attempts": 1})
        try:
            self._client = botocore.session.get_session().create_client("kms", config=config)
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError(f"AWS KMS cannot be used ({type(error).__name__}): set AWS_REGION") from None

    def wrap(self, name: str, key: bytes) -> bytes:
        """KMS's ciphertext, with the name as encryption context."""
        blob: bytes = self._ask("encrypt", KeyId=self._root, Plaintext=key, EncryptionContext={_CONTEXT_KEY: name})[
            "CiphertextBlob"
        ]
        return blob

    def unwrap(self, name: str, blob: bytes) -> bytes:
        """Only under the configured key: a ciphertext under anybody else's is refused."""
        key: bytes = self._ask(
            "decrypt", KeyId=self._root, CiphertextBlob=blob, EncryptionContext={_CONTEXT_KEY: name}
        )["Plaintext"]
        return key

    def create_signing_key(self, name: str) -> str:
        """The key behind the alias of this name; a crash between key and alias leaves a key that never signs."""
        alias = f"{ALIAS_PREFIX}{name.replace('.', '_')}"
        known = self._ask("describe_key", or_none="NotFoundException", KeyId=alias)
        if known is None:
            known = self._ask("create_key", KeySpec="ECC_NIST_EDWARDS25519", KeyUsage="SIGN_VERIFY")
            self._ask("create_alias", AliasName=alias, TargetKeyId=known["KeyMetadata"]["KeyId"])
        return f"{SCHEME}{known['KeyMetadata']['KeyId']}"

    def public_key(self, reference: str) -> bytes:
        """Raises ConfigurationError if the key is not there or is of another type."""
        key = load_der_public_key(self._ask("get_public_key", KeyId=_key_id(reference))["PublicKey"])
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigurationError(f"the key {reference} is not of type ECC_NIST_EDWARDS25519")
        return key.public_bytes_raw()

    def sign(self, reference: str, message: bytes) -> bytes:
        """Pure Ed25519."""
        signature: bytes = self._ask(
            "sign", KeyId=_key_id(reference), Message=message, MessageType="RAW", SigningAlgorithm="ED25519_SHA_512"
        )["Signature"]
        return signature

    def destroy_signing_key(self, reference: str) -> None:
        """It signs nothing from now on, and KMS destroys it after DELETION_DAYS."""
        known = self._ask("describe_key", or_none="NotFoundException", KeyId=_key_id(reference))
        if known is not None and known["KeyMetadata"]["KeyState"] != "PendingDeletion":
            self._ask("schedule_key_deletion", KeyId=_key_id(reference), PendingWindowInDays=DELETION_DAYS)

    def _ask(self, operation: str, *, or_none: str | None = None, **asked: Any) -> Any:
        """One call; None for the error code `or_none`."""
        try:
            return getattr(self._client, operation)(**asked)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code == or_none:
                return None
            if code in _AWAY_CODES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise KeyProviderAway(f"the key provider AWS KMS answers {_plain(code)} to {operation}") from None
            raise ConfigurationError(
                f"the key provider AWS KMS refuses {operation} with {_plain(code)}: check that the key is there, the "
                "rights of these credentials, and that this deployment wrapped what it asks for"
            ) from None
        except (NoCredentialsError, ParamValidationError) as error:
            raise ConfigurationError(f"AWS KMS cannot be asked to {operation} ({type(error).__name__})") from None
        except BotoCoreError as error:
            raise KeyProviderAway(f"the key provider AWS KMS does not answer ({type(error).__name__})") from None


def _key_id(reference: str) -> str:
    if not reference.startswith(SCHEME):
        raise ConfigurationError(
            f"the key provider '{SCHEME}' does not hold the key {reference}: set SAYSO_KEY_PROVIDER"
        )
    return reference.removeprefix(SCHEME)


def _plain(code: str) -> str:
    """An error code of KMS is one word; anything else is not repeated."""
    return code if code.isalnum() else "an error"
