"""What it ran on, and what it cost: machine, versions, CPU seconds of processes from /proc."""

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

TICKS_A_S: Final = os.sysconf("SC_CLK_TCK")
PACKAGES: Final = (
    "aiokafka",
    "asyncpg",
    "cryptography",
    "fastapi",
    "httptools",
    "orjson",
    "pydantic",
    "uvicorn",
    "uvloop",
)


def machine() -> dict[str, str]:
    """CPU model, cores, memory, kernel, and how busy it is already."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory) // 1024} MiB",
        "kernel": platform.release(),
        "load average at start": f"{os.getloadavg()[0]:.2f}",
    }


def versions() -> dict[str, str]:
    """Python and the packages that the figures depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def cpu_s(pid: int) -> float:
    """User and system CPU seconds of a process so far, in steps of 10 ms."""
    return _times(pid)[0]


@dataclass(frozen=True, slots=True)
class Tree:
    """A server and its children: their CPU time, those that ended meanwhile included."""

    pid: int

    def cpu_s(self, *, without: int | None = None) -> float:
        """`without` is a child not to count, such as the backend that watches."""
        while True:
            before = _times(self.pid)
            pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
            living = sum(sum(_times(pid)) for pid in pids if pid != without and _parent(pid) == self.pid)
            # A child that ended while we looked would be counted neither here nor there.
            if _times(self.pid)[1] == before[1]:
                return sum(before) + living


@dataclass(frozen=True, slots=True)
class Cost:
    """One run: events a second of wall time; microseconds of CPU an event, of the process and of Postgres.

    `others` is how many cores all else was using meanwhile: broker, load, and whoever shares the machine.
    """

    rate: float
    process_us: float
    postgres_us: float
    others: float

    @property
    def cpu_us(self) -> float:
        return self.process_us + self.postgres_us


class Meter:
    """Wall and CPU time from its making on. `watching` is the backend of whoever watches, which does not count."""

    def __init__(self, pid: int, server: Tree, *, watching: int | None = None) -> None:
        self._pid, self._server, self._watching = pid, server, watching
        self._begun = self._read()

    def _read(self) -> tuple[float, float, float, float]:
        return time.perf_counter(), cpu_s(self._pid), self._server.cpu_s(without=self._watching), _busy_s()

    def cost(self, events: int) -> Cost:
        wall, process, server, busy = (now - then for now, then in zip(self._read(), self._begun, strict=True))
        return Cost(events / wall, process / events * 1e6, server / events * 1e6, (busy - process - server) / wall)


def _busy_s() -> float:
    """CPU seconds that all cores together have worked since the machine started."""
    with Path("/proc/stat").open(encoding="utf-8") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    idle, waiting = ticks[3], ticks[4]
    return (sum(ticks) - idle - waiting) / TICKS_A_S


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name, which may hold blanks; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _times(pid: int) -> tuple[float, float]:
    """CPU seconds of a process, and of its children that have ended and were waited for."""
    fields = _fields(pid)
    if not fields:
        return 0.0, 0.0
    user, system, ended_user, ended_system = (int(field) for field in fields[11:15])
    return (user + system) / TICKS_A_S, (ended_user + ended_system) / TICKS_A_S


def _parent(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[1]) if fields else 0
