"""Runs `sayso up` as its user does: a real process in its own directory, watched by what it prints, ended by pid."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from services.cli.up.layout import Layout

UP_S_MAX = 60
END_S_MAX = 30


class SaysoUp:
    """One directory; `start` may be called again after the process ended."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / ".sayso"
        self.output = directory / "output.txt"
        self._process: subprocess.Popen[bytes] | None = None
        self._from = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """Start it in a session of its own, as a terminal would, without waiting."""
        self._from = self.output.stat().st_size if self.output.exists() else 0
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.cli.main", "up", "--directory", self.home, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )

    def said(self) -> str:
        """What it has printed since the last start."""
        return self.output.read_bytes()[self._from :].decode()

    def wait_until_it_says(self, text: str, seconds: float = UP_S_MAX) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.said():
            assert self._process is not None
            assert self._process.poll() is None, f"it ended before it said {text!r}:\n{self.said()}"
            assert time.monotonic() < deadline, f"it does not say {text!r}:\n{self.said()}"
            time.sleep(0.02)

    def wait_until_up(self) -> None:
        self.wait_until_it_says("Sayso stays up")

    def wait(self, seconds: float = UP_S_MAX) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and wait; the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        return self._process.wait(END_S_MAX)

    def destroy(self) -> None:
        """End it and remove what root keeps outside the directory."""
        if self._process is not None:
            self.end(signal.SIGKILL)
        link = self.home / "postgres"
        if link.is_symlink():
            wait_until_gone(processes_in(link.resolve()))
            shutil.rmtree(link.readlink().parent)
        # Killed, it leaves its socket's folder; named as services.cli.up.layout names it.
        shutil.rmtree(Path("/tmp") / f"sayso-{Layout(self.home).digest}", ignore_errors=True)

    def children(self) -> dict[str, int]:
        """The name of each child -> its pid."""
        found = {}
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            name = Path(words[0]).name
            found[words[3].removeprefix("services.") if "python" in name else name] = int(pid)
        return found

    def settings(self, name: str) -> dict[str, str]:
        """The variables of one of its files to source, as a shell reads them."""
        script = f'set -a; . "{self.home / name}"; env -0'
        done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
        return dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if "=" in pair)


def processes_in(directory: Path) -> list[int]:
    """Processes whose working directory it is: a postmaster and its backends."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and (entry / "cwd").readlink() == directory:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_until_gone(pids: list[int], seconds: float = END_S_MAX) -> None:
    """Return once none of them runs; a zombie that nobody reaps counts as gone."""
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if _runs(pid)]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
