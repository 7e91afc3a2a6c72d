"""Witnesses for tests: the one of transparency-dev as a process of its own, and a stand-in that can also misbehave.

Both speak C2SP tlog-witness, keep their state over a stop and a start on the same port, and pass the same contract
tests (tests/contract/test_witness.py). The stand-in checks with the oracle's arithmetic, not with ours.
"""

import base64
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from deploy.kafka.node import free_port
from schemas.note import parse_verifier_key
from tests.support import oracle
from tests.support.go_programs import WITNESS, build_go

ED25519, ML_DSA = 4, 6
STOP_S = 20
BUILD_TIMEOUT_S = 600  # the first build on a machine fetches and compiles the modules, SQLite among them


class WitnessServer(Protocol):
    """A witness on 127.0.0.1 whose state outlives `stop`."""

    name: str
    vkey: str
    url: str

    def start(self) -> None: ...
    def stop(self) -> None: ...


def key_pair(name: str, kind: int, seed: bytes) -> tuple[str, str]:
    """The vkey of a witness, and its private key in the form of Go's note tools."""
    public = oracle.public_key(seed) if kind == ED25519 else _ml_dsa(seed).public_key().public_bytes_raw()
    vkey = oracle.vkey(name, kind, public)
    key_id = oracle.key_id(name, kind, public).hex()
    return vkey, f"PRIVATE+KEY+{name}+{key_id}+{oracle.b64(bytes([kind]) + seed)}"


def _unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _ml_dsa(seed: bytes) -> MLDSA44PrivateKey:
    return MLDSA44PrivateKey.from_seed_bytes(seed)


def cosign(text: str, name: str, kind: int, seed: bytes, timestamp: int) -> str:
    """A cosignature line over the text of a checkpoint."""
    if kind == ED25519:
        return oracle.cosignature_line(text, name, seed, timestamp)
    origin, size, root, *_ = text.split("\n")
    message = oracle.subtree_message(name, timestamp, origin, int(size), _unb64(root))
    key = _ml_dsa(seed)
    signature = timestamp.to_bytes(8, "big") + key.sign(message)
    return oracle.signature_line(name, kind, key.public_key().public_bytes_raw(), signature)


def policy_text(*witnesses: WitnessServer, rule: str = "all", logs: tuple[str, ...] = ()) -> str:
    """A policy over these witnesses; `rule` is all, any or a number."""
    lines = [f"log {vkey}" for vkey in logs]
    lines += [f"witness {witness.name} {witness.vkey} {witness.url}" for witness in witnesses]
    lines += [f"group everyone {rule} {' '.join(witness.name for witness in witnesses)}", "quorum everyone"]
    return "".join(f"{line}\n" for line in lines)


class GoWitness:
    """github.com/transparency-dev/witness with its SQLite store, from tests/interop/gowitness."""

    def __init__(self, name: str, logs: Mapping[str, str], directory: Path, *, kind: int = ED25519) -> None:
        """`logs` is origin -> vkey of those it will cosign."""
        self.name = name
        directory.mkdir(parents=True, exist_ok=True)
        self.vkey, private = key_pair(f"witness.example/{name}", kind, name.encode().ljust(32, b"."))
        (directory / "key").write_text(private)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        key, db = str(directory / "key"), str(directory / "witness.db")
        self._arguments = ["-listen", f"127.0.0.1:{port}", "-db", db, "-key", key, *logs.values()]
        self._log = directory / "witness.log"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; returns when it listens."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [build_go(WITNESS), *self._arguments], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "listening\n":
            self.stop()
            raise AssertionError(f"the witness does not start:\n{self._log.read_text()}")

    def stop(self) -> None:
        """SIGTERM; the database stays."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.communicate(timeout=STOP_S)


# status, body and further headers
Reply = tuple[int, bytes, Mapping[str, str]]
# What a witness that misbehaves answers instead: gets the witness, the note it was sent and its honest reply.
Misbehaviour = Callable[["StandInWitness", str, Reply], Reply]


class StandInWitness:
    """The protocol in process. `misbehave` replaces its answers; `requests` are the bodies it was sent.

    Handlers run on threads of the server; `_lock` makes a check and the update after it one step.
    """

    def __init__(self, name: str, logs: Mapping[str, str], *, kind: int = ED25519) -> None:
        """`logs` is origin -> vkey of those it will cosign."""
        self.name = name
        self.kind = kind
        self.seed = name.encode().ljust(32, b".")
        self.key_name = f"witness.example/{name}"
        self.vkey, _ = key_pair(self.key_name, kind, self.seed)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/prefix"
        self.logs = dict(logs)
        self.requests: list[bytes] = []
        self.state: dict[str, tuple[int, bytes]] = {}
        self.misbehave: Misbehaviour | None = None
        # Cleared, it lets every caller wait until it is set or the server stops.
        self.quick = Event()
        self.quick.set()
        self._lock = Lock()
        self._server: _Server | None = None
        self._thread: Thread | None = None

    def start(self) -> None:
        """Listen."""
        self._server = _Server(self)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections; the state stays."""
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            was_quick = self.quick.is_set()
            self.quick.set()
            server.shutdown()
            self._thread.join()
            server.server_close()
            if not was_quick:
                self.quick.clear()

    def answer(self, path: str, body: bytes) -> Reply:
        """What POST `path` answers."""
        if path != "/prefix/add-checkpoint":
            return 404, b"", {}
        self.requests.append(body)
        self.quick.wait(STOP_S)
        with self._lock:
            reply = self._add_checkpoint(body.decode())
        note = body.decode().partition("\n\n")[2]
        return reply if self.misbehave is None else self.misbehave(self, note, reply)

    def _add_checkpoint(self, body: str) -> Reply:
        """The checks of tlog-witness, in its order."""
        head, _, note = body.partition("\n\n")
        first, *lines = head.split("\n")
        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        if not first.startswith("old ") or text.count("\n") < 3:
            return 400, b"", {}
        old, path = int(first.removeprefix("old ")), [_unb64(line) for line in lines]
        origin, decimal, root_line, *_ = text.split("\n")
        size, root = int(decimal), _unb64(root_line)
        if origin not in self.logs:
            return 404, b"", {}
        if not _signed_by(self.logs[origin], text, signatures):
            return 403, b"", {}
        if old > size:
            return 400, b"", {}
        last, last_root = self.state.get(origin, (0, oracle.EMPTY))
        if old != last:
            return 409, b"%d\n" % last, {"content-type": "text/x.tlog.size"}
        if not oracle.consistency_holds(old, size, path, last_root, root):
            return 422, b"", {}
        self.state[origin] = size, root
        return 200, cosign(text, self.key_name, self.kind, self.seed, int(time.time())).encode(), {}


def _signed_by(vkey: str, text: str, signatures: str) -> bool:
    key = parse_verifier_key(vkey)
    for line in signatures.splitlines():
        _, name, encoded = line.split(" ")
        blob = _unb64(encoded)
        if name == key.name and blob[:4] == key.key_id:
            try:
                Ed25519PublicKey.from_public_bytes(key.public_key).verify(blob[4:], text.encode())
            except InvalidSignature:
                return False
            return True
    return False


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True

    def __init__(self, witness: StandInWitness) -> None:
        self.witness = witness
        super().__init__(("127.0.0.1", witness.port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        # A caller that has waited long enough hangs up.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typeshed names the socket types


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status, answer, headers = self.server.witness.answer(self.path, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass


def _cosigned(witness: StandInWitness, text: str, *, offset_s: int = 0, seed: bytes | None = None) -> Reply:
    moment = max(1, int(time.time()) + offset_s)
    return 200, cosign(text, witness.key_name, witness.kind, seed or witness.seed, moment).encode(), {}


def _text(note: str) -> str:
    return note.rpartition("\n\n")[0] + "\n"


def stranger_line(witness: StandInWitness, note: str, _reply: Reply) -> Reply:
    """Another key under the witness's name."""
    return _cosigned(witness, _text(note), seed=bytes(32))


def forged_line(witness: StandInWitness, note: str, _reply: Reply) -> Reply:
    """The right key, and a signature over another root."""
    origin, size, _, *rest = _text(note).split("\n")
    return _cosigned(witness, "\n".join([origin, size, oracle.b64(bytes(32)), *rest]))


def own_text(witness: StandInWitness, note: str, _reply: Reply) -> Reply:
    """An answer that makes the note end in another text, which the witness does sign."""
    longer = f"{note}more\n"
    status, line, headers = _cosigned(witness, longer)
    return status, b"more\n\n" + line, headers


def at_time(offset_s: int) -> Misbehaviour:
    """A true cosignature whose clock is off."""
    return lambda witness, note, _reply: _cosigned(witness, _text(note), offset_s=offset_s)


def always(status: int, body: bytes = b"", **headers: str) -> Misbehaviour:
    """The same answer to everything."""
    return lambda _witness, _note, _reply: (status, body, headers)


def first_answer_again() -> Misbehaviour:
    """Whatever it cosigned first, for ever."""
    first: list[Reply] = []

    def reply(_witness: StandInWitness, _note: str, honest: Reply) -> Reply:
        if honest[0] == 200 and not first:
            first.append(honest)
        return first[0] if first else honest

    return reply
