"""Keys in HashiCorp Vault's Transit engine, over its HTTP API (developer.hashicorp.com/vault/api-docs/secret/transit).

`sayso-controllers` (aes256-gcm96) wraps controller keys; every log has an ed25519 key of its own, used at version 1.
Invariant: no message holds the token, a key, or what Vault answered.
"""

import ssl
import stat
from copy import copy
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx2
import orjson

from schemas.errors import ConfigurationError, KeyProviderAway
from schemas.note import decode_base64, encode_base64

SCHEME: Final = "vault:"
WRAPPING_KEY: Final = "sayso-controllers"
SIGNING_KEY_PREFIX: Final = "sayso-log-"
# Vault Agent and tests listen on the machine itself, in clear; everything else is TLS.
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_TOKEN_CHARS_MAX: Final = 4096


class VaultProvider:
    """One Transit mount. The token is read from its file at every request: whoever renews it replaces the file."""

    def __init__(self, address: str, token_file: Path, *, timeout_s: float) -> None:
        """`address` is vault://HOST:PORT/MOUNT. Raises ConfigurationError; connects at the first request."""
        parts = urlsplit(address)
        mount = parts.path.strip("/")
        if parts.hostname is None or not mount or parts.username is not None or parts.query or parts.fragment:
            raise ConfigurationError("SAYSO_KEY_PROVIDER is not of the form vault://HOST:PORT/MOUNT")
        scheme = "http" if parts.hostname in _LOOPBACK else "https"
        self._place = parts.netloc
        self._token_file = token_file
        # What every ciphertext begins with that this provider is to decrypt.
        self._prefix = b"vault:v"
        self._client = httpx2.Client(
            base_url=f"{scheme}://{parts.netloc}/v1/{mount}/",
            timeout=timeout_s,
            # SSL_CERT_FILE names a private authority. No proxy and no .netrc of the environment sees these requests.
            verify=ssl.create_default_context(),
            trust_env=False,
            # Requests are rare: what lies idle between them would be closed by somebody on the way.
            limits=httpx2.Limits(max_keepalive_connections=0),
        )
        self._token()

    def wrap(self, name: str, key: bytes) -> bytes:
        """Transit's ciphertext, `vault:vN:...`, with the name as associated data."""
        asked = {"plaintext": encode_base64(key), "associated_data": encode_base64(name.encode())}
        ciphertext = self._ask("POST", f"encrypt/{WRAPPING_KEY}", asked).get("ciphertext")
        if not isinstance(ciphertext, str) or not ciphertext.startswith("vault:v"):
            raise self._odd()
        return ciphertext.encode()

    def unwrap(self, name: str, blob: bytes) -> bytes:
        """Raises ConfigurationError when Vault does not decrypt it."""
        if not blob.startswith(self._prefix) or not blob.isascii():
            raise ConfigurationError(f"the controller key {name} was wrapped by another root key than that in Vault")
        asked = {"ciphertext": blob.decode(), "associated_data": encode_base64(name.encode())}
        return self._bytes(self._ask("POST", f"decrypt/{WRAPPING_KEY}", asked), "plaintext")

    def begin_root_rotation(self) -> "VaultProvider":
        """A new version of the wrapping key; one more after a crash does no harm."""
        self._ask("POST", f"keys/{WRAPPING_KEY}/rotate")
        newest = copy(self)
        newest._prefix = f"vault:v{self._latest_version()}:".encode()  # noqa: SLF001 - its own kind
        return newest

    def end_root_rotation(self) -> str:
        """Trim all versions but the newest: Transit keeps no copy of what is trimmed."""
        latest = self._latest_version()
        self._ask(
            "POST", f"keys/{WRAPPING_KEY}/config", {"min_decryption_version": latest, "min_encryption_version": latest}
        )
        self._ask("POST", f"keys/{WRAPPING_KEY}/trim", {"min_available_version": latest})
        return f"{WRAPPING_KEY} is at version {latest}; the versions before it are destroyed."

    def create_signing_key(self, name: str) -> str:
        """Transit leaves a key that is there as it is."""
        self._ask("POST", f"keys/{SIGNING_KEY_PREFIX}{name}", {"type": "ed25519"})
        return f"{SCHEME}{SIGNING_KEY_PREFIX}{name}"

    def public_key(self, reference: str) -> bytes:
        """Raises ConfigurationError if the key is not there or is of another type."""
        data = self._ask("GET", f"keys/{_key_name(reference)}")
        if data.get("type") != "ed25519":
            raise ConfigurationError(f"the key {reference} at {self._place} is not of type ed25519")
        return self._bytes(data, "keys", "1", "public_key")

    def sign(self, reference: str, message: bytes) -> bytes:
        """Pure Ed25519 by version 1 of the key."""
        asked = {"input": encode_base64(message), "key_version": 1}
        return self._bytes(self._ask("POST", f"sign/{_key_name(reference)}", asked), "signature")

    def destroy_signing_key(self, reference: str) -> None:
        """Transit deletes only what was marked as deletable before."""
        name = _key_name(reference)
        self._ask("POST", f"keys/{name}/config", {"deletion_allowed": True}, gone=True)
        self._ask("DELETE", f"keys/{name}", gone=True)

    def _latest_version(self) -> int:
        latest = self._ask("GET", f"keys/{WRAPPING_KEY}").get("latest_version")
        if type(latest) is not int:
            raise self._odd()
        return latest

    def _token(self) -> str:
        try:
            mode = stat.S_IMODE(self._token_file.stat().st_mode)
            token = self._token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"cannot read the token file {self._token_file} ({type(error).__name__})"
            ) from None
        if mode & 0o077:
            raise ConfigurationError(f"the token file {self._token_file} is open to others: chmod 600 it")
        if not token.isprintable() or not 0 < len(token) <= _TOKEN_CHARS_MAX:
            raise ConfigurationError(f"the token file {self._token_file} does not hold a token")
        return token

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None, *, gone: bool = False) -> dict[str, Any]:
        """The `data` of Vault's answer. `gone`: a key that is not there any more is what was asked for."""
        request = self._client.build_request(
            method,
            quote(path),
            headers={"x-vault-token": self._token()},
            content=None if body is None else orjson.dumps(body),
        )
        try:
            response = self._client.send(request)
        except httpx2.HTTPError as error:
            raise KeyProviderAway(
                f"the key provider Vault at {self._place} does not answer ({type(error).__name__})"
            ) from None
        status = response.status_code
        if status == HTTPStatus.NO_CONTENT or (gone and status in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}):
            return {}
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            raise KeyProviderAway(
                f"the key provider Vault at {self._place} answers {status}: is it sealed or overloaded?"
            )
        if status != HTTPStatus.OK:
            raise ConfigurationError(
                f"the key provider Vault at {self._place} refuses {method} {path} with {status}: check that the key is "
                "there, the policy of the token, and that this deployment wrapped what it asks for"
            )
        return self._read(response.content)

    def _read(self, answer: bytes) -> dict[str, Any]:
        try:
            data = orjson.loads(answer)["data"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise self._odd() from None
        if not isinstance(data, dict):
            raise self._odd()
        return data

    def _bytes(self, data: Any, *steps: str) -> bytes:
        """The base64 found at the end of these steps."""
        for step in steps:
            data = data.get(step) if isinstance(data, dict) else None
        decoded = decode_base64(data.rpartition(":")[2]) if isinstance(data, str) else None
        if decoded is None:
            raise self._odd()
        return decoded

    def _odd(self) -> KeyProviderAway:
        return KeyProviderAway(
            f"the key provider Vault at {self._place} answers what Transit does not: check the address"
        )


def _key_name(reference: str) -> str:
    if not reference.startswith(SCHEME):
        raise ConfigurationError(
            f"the key provider '{SCHEME}' does not hold the key {reference}: set SAYSO_KEY_PROVIDER"
        )
    return reference.removeprefix(SCHEME)
