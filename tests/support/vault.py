"""A stand-in for Vault's Transit engine over HTTP, as its API documentation has it; no registry has a Vault server.

It does what our client asks for (keys, encrypt, decrypt, sign, rotate, config, trim) with the real algorithms and
checks what the real one checks; the same contract tests passed against the real engine once, by hand.
"""

import base64
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PATH = re.compile(
    r"/v1/transit/(?P<verb>keys|encrypt|decrypt|sign)/(?P<name>[\w.-]+)(?:/(?P<action>rotate|config|trim))?"
)


@dataclass
class _Key:
    kind: str
    versions: dict[int, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def latest(self) -> int:
        return max(self.versions)

    def add_version(self) -> None:
        secret = Ed25519PrivateKey.generate() if self.kind == "ed25519" else AESGCM(os.urandom(32))
        self.versions[max(self.versions, default=0) + 1] = secret

    def described(self) -> dict[str, Any]:
        keys: dict[str, Any] = {str(version): 1 for version in self.versions}
        if self.kind == "ed25519":
            keys = {
                str(version): {"public_key": _b64(secret.public_key().public_bytes_raw())}
                for version, secret in self.versions.items()
            }
        return {"type": self.kind, "latest_version": self.latest, "keys": keys}


class _Refused(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


class Transit:
    """The engine. `refuse_with`: answer every request with this status and this body."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.address = ""
        self.keys: dict[str, _Key] = {}
        self.refuse_with: tuple[int, bytes] | None = None
        self.requests: list[tuple[str, str]] = []

    def answer(self, method: str, path: str, token: str | None, body: dict[str, Any]) -> dict[str, Any]:
        match = _PATH.fullmatch(path)
        if match is None:
            raise _Refused(404)
        if token != self.token:
            raise _Refused(403)
        verb, name, action = match["verb"], match["name"], match["action"]
        if verb == "keys" and action is None and method == "POST":
            if name not in self.keys:
                self.keys[name] = _Key(body.get("type", "aes256-gcm96"))
                self.keys[name].add_version()
            return self.keys[name].described()
        key = self.keys.get(name)
        if key is None:
            # The real one answers 404 to a read, and 400 to anything else.
            raise _Refused(404 if method == "GET" else 400)
        if verb != "keys":
            return {"encrypt": _encrypt, "decrypt": _decrypt, "sign": _sign}[verb](key, body)
        return self._keep(method, name, action, key, body)

    def _keep(self, method: str, name: str, action: str | None, key: _Key, body: dict[str, Any]) -> dict[str, Any]:
        if method == "GET":
            return key.described()
        if method == "DELETE":
            if not key.config.get("deletion_allowed"):
                raise _Refused(400)
            del self.keys[name]
        elif action == "rotate":
            key.add_version()
        elif action == "config":
            key.config |= body
        elif action == "trim":
            least = body["min_available_version"]
            if least > key.config.get("min_decryption_version", 0) or not key.config.get("min_encryption_version"):
                raise _Refused(400)
            key.versions = {version: secret for version, secret in key.versions.items() if version >= least}
        return {}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _encrypt(key: _Key, body: dict[str, Any]) -> dict[str, Any]:
    nonce = os.urandom(12)
    associated = base64.b64decode(body["associated_data"])
    sealed = nonce + key.versions[key.latest].encrypt(nonce, base64.b64decode(body["plaintext"]), associated)
    return {"ciphertext": f"vault:v{key.latest}:{_b64(sealed)}"}


def _decrypt(key: _Key, body: dict[str, Any]) -> dict[str, Any]:
    version, _, blob = body["ciphertext"].removeprefix("vault:v").partition(":")
    if not version.isdecimal() or int(version) not in key.versions:
        raise _Refused(400)
    try:
        sealed = base64.b64decode(blob, validate=True)
        associated = base64.b64decode(body["associated_data"])
        return {"plaintext": _b64(key.versions[int(version)].decrypt(sealed[:12], sealed[12:], associated))}
    except (ValueError, InvalidTag):
        raise _Refused(400) from None


def _sign(key: _Key, body: dict[str, Any]) -> dict[str, Any]:
    if key.kind != "ed25519":
        raise _Refused(400)
    version = body.get("key_version", key.latest)
    return {"signature": f"vault:v{version}:{_b64(key.versions[version].sign(base64.b64decode(body['input'])))}"}


@contextmanager
def serving(token: str) -> Iterator[Transit]:
    """A Transit engine mounted at `transit`, on a free port, with the wrapping key that the operator makes."""
    transit = Transit(token)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # one packet an answer: two would wait for each other's ACK

        def _handle(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            transit.requests.append((self.command, self.path))
            status, said = 200, b""
            if transit.refuse_with is not None:
                status, said = transit.refuse_with
            else:
                try:
                    data = transit.answer(self.command, self.path, self.headers.get("x-vault-token"), body)
                    status, said = (200, json.dumps({"data": data}).encode()) if data else (204, b"")
                except _Refused as refusal:
                    # As talkative as the real one can be: nothing of it may reach our messages.
                    status, said = (
                        refusal.status,
                        json.dumps({"errors": [f"{self.headers['x-vault-token']} {body}"]}).encode(),
                    )
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - the names that http.server calls

        def log_message(self, *args: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    transit.address = f"127.0.0.1:{server.server_address[1]}"
    transit.answer("POST", "/v1/transit/keys/sayso-controllers", token, {"type": "aes256-gcm96"})
    try:
        yield transit
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
