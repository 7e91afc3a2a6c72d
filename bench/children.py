"""Processes of the bench: services, limits and load, each ended by its own pid."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

REPOSITORY: Final = Path(__file__).resolve().parents[1]
STOP_S: Final = 30


class BenchError(Exception):
    """Something could not be measured; the message says what was missing."""


class Child:
    """`python -m MODULE ARGS`, as a context; what it prints goes to a file in `directory`."""

    def __init__(
        self, module: str, directory: Path, *, args: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self._module = module
        self._output = directory / f"{module}-{time.monotonic_ns()}.out"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *args],
                env={"PATH": os.environ["PATH"], **(environment or {})},
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check_alive(self) -> None:
        """Raise BenchError with what it said last if it has ended."""
        if self._process.poll() is not None:
            raise BenchError(f"{self._module} ended with {self._process.returncode}:\n{self._said()[-2000:]}")

    def go(self) -> None:
        """Tell a child that waits for a line to begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def listens(self, port: int, deadline_s: float = 60) -> None:
        """Wait until it takes connections on a port of this machine."""
        deadline = time.monotonic() + deadline_s
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            self.check_alive()
            if time.monotonic() > deadline:
                raise BenchError(f"{self._module} did not listen within {deadline_s:g} s")
            time.sleep(0.02)

    def said(self, word: str, deadline_s: float = 60) -> None:
        """Wait until it has printed `word`."""
        deadline = time.monotonic() + deadline_s
        while word not in self._said():
            self.check_alive()
            if time.monotonic() > deadline:
                raise BenchError(f"{self._module} did not say {word!r} within {deadline_s:g} s")
            time.sleep(0.02)

    def answer(self, deadline_s: float = 120) -> Any:
        """Wait for the one line of JSON that it prints when it is done; it lives on until it is stopped."""
        self.said("\n{", deadline_s)
        self.said("}\n", deadline_s)
        return json.loads(self._said().strip().splitlines()[-1])

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if it does not listen."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _said(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
