"""The children of `sayso up`: started, watched, started again when they die, stopped in order.

Invariant: no child outlives this process. The kernel signals each of them when the thread that started it ends, so
everything here runs on the main thread.
"""

import asyncio
import ctypes
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from schemas.errors import ConfigurationError

BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
# A child that lived this long starts its back-off anew.
STEADY_S: Final = 30.0
STOP_S_MAX: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1
_POLL_S: Final = 0.05
_TAIL_LINES: Final = 6
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


async def spawn(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    own_session: bool = False,
    death_signal: signal.Signals = signal.SIGKILL,
    **identity: Any,
) -> Process:
    """Start a child that gets `death_signal` when this process dies; what it prints is appended to `log`."""
    parent = os.getpid()

    def die_with_parent() -> None:
        # After the change of user, which clears it.
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal))
            if os.getppid() != parent:
                os._exit(1)

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=environment,
            cwd="/" if identity else None,
            start_new_session=own_session,
            preexec_fn=die_with_parent,
            **identity,
        )
    finally:
        os.close(descriptor)


@dataclass
class Child:
    """A supervised process. `start` starts it, `ready` says whether it does its work."""

    name: str
    start: Callable[[], Awaitable[Process]]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    process: Process | None = None
    restarts: int = 0
    _watching: "asyncio.Task[None] | None" = field(default=None, repr=False)

    async def launch(self, say: Callable[[str], None]) -> None:
        """Start it for the first time and keep it running from now on."""
        self.process = await self.start()
        self._watching = asyncio.create_task(self._watch(self.process, say), name=f"watch {self.name}")

    async def _watch(self, process: Process, say: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started = loop.time()
            code = await process.wait()
            failures = 1 if loop.time() - started > STEADY_S else failures + 1
            pause = BACKOFF_S[min(failures, len(BACKOFF_S)) - 1]
            # A Ctrl-C reaches the children as well; in this pause our own handler has long stopped this task.
            await asyncio.sleep(pause)
            say(f"{self.name:<10} {how_it_ended(code)}: started again after {pause:g} s")
            self.restarts += 1
            try:
                process = await self.start()
            except ConfigurationError as error:
                say(f"{self.name:<10} cannot be started: {error}")
                continue
            self.process = process

    async def wait_until(self, ready: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Return once `ready`. Raises ConfigurationError if the child ends first or takes too long."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await ready():
            if self.restarts or (self.process is not None and self.process.returncode is not None):
                raise ConfigurationError(f"{self.name} does not start; {self.log} ends with:\n{tail(self.log)}")
            if asyncio.get_running_loop().time() > deadline:
                raise ConfigurationError(f"{self.name} is not ready after {seconds:g} s: see {self.log}")
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """Stop watching, ask it to end, insist after STOP_S_MAX."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        process = self.process
        if process is None or process.returncode is not None:
            return
        process.send_signal(self.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), STOP_S_MAX)
        except TimeoutError:
            process.kill()
            await process.wait()


def how_it_ended(code: int) -> str:
    """In words: a signal by its name, otherwise the exit code."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def tail(log: Path) -> str:
    """The last lines of a log."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:])
    except OSError:
        return "(nothing)"
