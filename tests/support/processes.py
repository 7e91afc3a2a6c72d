"""Services as processes of their own, for tests that stop, stall and kill them. Always ended by their own pid."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
STOP_S = 20


class ServiceProcess:
    """`python -m services.<name>` with an environment of its own; stdout and stderr go to a file."""

    def __init__(
        self, name: str, environment: Mapping[str, str], log: Path, *, through: Sequence[str | Path] = ()
    ) -> None:
        """`through`: a module that runs the service, with its own arguments."""
        self._command = [sys.executable, "-m", *through, f"services.{name}"]
        self._environment = {"PATH": os.environ["PATH"], **environment}
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, or start again after a kill."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=REPOSITORY, stdout=output, stderr=output
            )

    @property
    def alive(self) -> bool:
        """Whether the process runs (a stalled one does)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill9(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stall(self) -> None:
        """SIGSTOP: it holds its connections and locks and does nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int | None:
        """SIGTERM and the exit code; SIGKILL if it does not listen."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill9()
            return None

    def said(self) -> str:
        """Everything it printed so far."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""
