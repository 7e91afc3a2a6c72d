"""A real Redis on a free port, in a process of this test's own, ended by its own pid.

Debian's redis-tools carries the server in redis-check-rdb: one program that looks at the name it is started under.
"""

import shutil
import socket
import subprocess
from pathlib import Path

from tests.support.wait import until

STOP_S = 10


class RedisServer:
    """Nothing is written to disk; `stop` and `start` keep the port."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("redis-server") or shutil.which("redis-check-rdb")
        assert program is not None, "no Redis: .ci/prerequisites test names the package"
        self._program = program
        self._directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start, and wait until it answers."""
        command = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            command, executable=self._program, cwd=self._directory, stdout=subprocess.DEVNULL
        )
        await until(self._answers, what="Redis answers")

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_S)
            self._process = None

    def _answers(self) -> bool:
        return self.ask("PING") == b"+PONG\r\n"

    def ask(self, *words: str) -> bytes:
        """The raw answer to one short command; empty if nobody listens."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=2) as line:
                line.sendall(" ".join(words).encode() + b"\r\n")
                return line.recv(65536)
        except OSError:
            return b""
