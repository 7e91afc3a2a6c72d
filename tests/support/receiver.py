"""Downstream systems in a process of their own: `python -m tests.support.receiver PORT FOLDER`.

Each path is a system. What it answers is its name's (ANSWERS); every message that came is a line of FOLDER/received.
"""

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from tests.support.processes import REPOSITORY

START_S: Final = 20
SLOW_S: Final = 0.1
# (status, body) by the last part of the path.
ANSWERS: Final[dict[str, tuple[int, bytes]]] = {
    "good": (200, b'{"outcome": "done"}'),
    "slow": (200, b'{"outcome": "done"}'),
    "down": (200, b'{"outcome": "done"}'),
    "later": (204, b""),
    "wrong": (200, b'{"outcome": "perhaps"}'),
    "infeasible": (200, b'{"outcome": "not_feasible", "reason": "the archive is written once"}'),
    "refuses": (200, b'{"outcome": "refused", "reason": "a law says to keep it"}'),
    "moved": (302, b""),
    "broken": (500, b"a page"),
    "long": (200, b'{"outcome": "done", "reason": "' + b"x" * 100_000 + b'"}'),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without: each answer waits 40 ms for an acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    file: Path
    writing = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        name = self.path.rpartition("/")[2]
        headers = {key.lower(): value for key, value in self.headers.items()}
        line = json.dumps({"system": name, "headers": headers, "body": body.decode()})
        with self.writing, self.file.open("a", encoding="utf-8") as out:
            out.write(line + "\n")
        if name == "slow":
            time.sleep(SLOW_S)  # not to wait for anything: this is how a slow system behaves
        status, answer = ANSWERS[name]
        self.send_response(status)
        if status == 302:
            self.send_header("location", self.path.replace("moved", "good"))
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """The file says more."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


class Receiver:
    """The process, as a test starts and ends it; the same port each time."""

    def __init__(self, port: int, folder: Path) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.file = folder / f"received-{port}"
        self._command = [sys.executable, "-m", "tests.support.receiver", str(port), str(self.file)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers."""
        self._process = subprocess.Popen(self._command, cwd=REPOSITORY)
        deadline = time.monotonic() + START_S
        while True:
            try:
                with urllib.request.urlopen(self.address, timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def stop(self) -> None:
        """Down: connections are refused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def received(self, system: str) -> list[dict[str, Any]]:
        """What came for a system so far: {headers, body}, the oldest first."""
        if not self.file.exists():
            return []
        lines = [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if line["system"] == system]


if __name__ == "__main__":
    _Handler.file = Path(sys.argv[2])
    _Server(("127.0.0.1", int(sys.argv[1])), _Handler).serve_forever()
