"""Runs tests/interop/gocheck: unmodified third-party C2SP clients in Go, against a served log or a note on disk.

A missing `go` is a failure, not a skip: without these clients the claim "others accept our log" is bare.
"""

import subprocess
from pathlib import Path

from tests.support.go_programs import GOCHECK, build_go

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
        [build_go(GOCHECK), *arguments], capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"the third-party clients refuse it:\n{done.stdout}{done.stderr}"
    return done.stdout
