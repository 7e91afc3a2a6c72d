"""Postgres as our own child: made once with checksums, on a unix socket in a closed folder only, durable or not at all.

Invariant: a cluster is never started while any process of an earlier start still lives on it, and its lock file is
removed only then; so a stale one is harmless and a live one is never taken for stale.
"""

import asyncio
import os
import shutil
import signal
import stat
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import asyncpg

import services
from schemas.errors import ConfigurationError
from services.cli.up.binaries import Binaries, Runner, find_binaries
from services.cli.up.layout import Layout
from services.cli.up.processes import spawn
from services.postgres import DATABASE_AWAY, check_durability, named_queries

DATABASE: Final = "sayso"
SUPERUSER: Final = "postgres"
ROOT_STORE: Final = Path("/var/lib/sayso")
ROLES: Final = Path(services.__file__).resolve().parents[1] / "deploy" / "postgres" / "roles.sql"
START_S_MAX: Final = 60.0
ORPHAN_S_MAX: Final = 30.0
_POLL_S: Final = 0.05
_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "embedded.sql")

# On the command line, where neither postgresql.conf nor ALTER SYSTEM can undo them.
SETTINGS: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # A failing statement and its DETAIL quote values: nothing personal may stand in a log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class EmbeddedPostgres:
    """The cluster of one layout. The caller holds the layout's lock."""

    def __init__(self, layout: Layout, say: Callable[[str], None]) -> None:
        """Raises ConfigurationError if the cluster and the keys do not belong together or no Postgres can be run."""
        self._layout = layout
        self._say = say
        self._runner = Runner.choose()
        self._store = layout.home if self._runner.account is None else self._make_root_store()
        self._data = self._find_data()
        self._check_keys()
        self.binaries: Binaries = find_binaries(self._runner, self._store, self._major())
        self._sockets = self._make_socket_folder()

    def dsn(self, login: str, database: str = DATABASE) -> str:
        """How `login` connects; no password, because nobody else can enter the socket's folder."""
        return f"postgresql://{login}@/{database}?host={self._sockets}"

    def _make_root_store(self) -> Path:
        store = ROOT_STORE / self._layout.digest
        for folder in (ROOT_STORE, store):
            folder.mkdir(exist_ok=True)
            # Whatever the umask: the server's user must be able to enter.
            folder.chmod(0o755)
        return store

    def _find_data(self) -> Path:
        """Where the cluster is or will be; as root behind a link, which is made before the cluster."""
        link = self._layout.cluster
        if self._runner.account is None:
            if link.is_symlink():
                raise ConfigurationError(
                    f"{link} belongs to a run as root: run as root again, or use another --directory"
                )
            return link
        if not link.is_symlink():
            if link.exists():
                raise ConfigurationError(
                    f"{link} belongs to an ordinary user: run as that user, or use another --directory"
                )
            target = self._store / "postgres"
            if target.exists():
                aside = Path(tempfile.mkdtemp(prefix="orphan-", dir=self._store)) / "postgres"
                target.rename(aside)
                self._say(f"postgres   an older cluster, whose {self._layout.home} was removed, now lies in {aside}")
            link.symlink_to(target)
        return link.readlink()

    def _check_keys(self) -> None:
        """Refuse to put new keys beside old data, or new data beside old marks."""
        if self._data.exists() and not (self._layout.keys / "root.key").exists():
            raise ConfigurationError(
                f"there is data in {self._data} but no root.key in {self._layout.keys}: restore the keys"
            )
        if not self._data.exists() and (self._layout.high_water / "id").exists():
            raise ConfigurationError(
                f"{self._layout.high_water} speaks of signed logs, but there is no data in {self._data}: restore it, "
                f"or move {self._layout.home} away to start anew"
            )

    def _major(self) -> int | None:
        version = self._data / "PG_VERSION"
        return int(version.read_text(encoding="ascii")) if version.exists() else None

    def _make_socket_folder(self) -> Path:
        """A short path that only the server's user can enter; another one if somebody else holds the usual name."""
        account = self._runner.account
        owner = os.geteuid() if account is None else account.pw_uid
        usual = Path("/tmp") / f"sayso-{self._layout.digest}"  # noqa: S108 - checked below: ours, closed, no link
        try:
            usual.mkdir(mode=0o700)
            self._runner.own(usual)
        except FileExistsError:
            found = usual.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) != 0o700:
                other = Path(tempfile.mkdtemp(prefix="sayso-", dir="/tmp"))
                self._runner.own(other)
                return other
        return usual

    async def start(self) -> Process:
        """Make the cluster if there is none, start it, return when it answers and is durable."""
        if not self._data.exists():
            self._say(f"postgres   making the cluster in {self._data} (Postgres {self.binaries.version}, checksums on)")
            await self._init()
        deadline = asyncio.get_running_loop().time() + START_S_MAX
        while True:
            await self._clear_orphans()
            process = await self._spawn()
            if await self._answers(process, deadline):
                return process
            if asyncio.get_running_loop().time() > deadline:
                raise ConfigurationError(f"Postgres does not start: see the end of {self._log}")
            await asyncio.sleep(_POLL_S)

    @property
    def _log(self) -> Path:
        return self._layout.logs / "postgres.log"

    async def _init(self) -> None:
        """Run initdb into a folder of another name first: a crash in the middle leaves no half cluster."""
        unfinished = self._data.with_name("postgres.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._runner.own(unfinished)
        arguments = ["-D", str(unfinished), "-U", SUPERUSER, "-k", "-A", "trust", "-E", "UTF8", "--locale=C"]
        process = await asyncio.create_subprocess_exec(
            self.binaries.folder / "initdb",
            *arguments,
            "--no-instructions",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd="/",
            **self._runner.arguments(),
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            last = output.decode(errors="replace").strip().splitlines()[-1:]
            raise ConfigurationError(f"initdb failed: {' '.join(last)}")
        unfinished.rename(self._data)

    async def _spawn(self) -> Process:
        settings = {**SETTINGS, "unix_socket_directories": str(self._sockets)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return await spawn(
            [str(self.binaries.folder / "postgres"), "-D", str(self._data), *options],
            log=self._log,
            # Not with the terminal's Ctrl-C: the services must be gone first.
            own_session=True,
            # Immediate shutdown, should this process be killed: what was committed is in the WAL.
            death_signal=signal.SIGQUIT,
            **self._runner.arguments(),
        )

    async def _answers(self, process: Process, deadline: float) -> bool:
        """True once the server answers; False if it ended instead. Raises ConfigurationError if it is not durable."""
        while process.returncode is None and asyncio.get_running_loop().time() < deadline:
            try:
                connection = await asyncpg.connect(self.dsn(SUPERUSER, "postgres"), timeout=5)
            except (*DATABASE_AWAY, asyncpg.PostgresError):
                await asyncio.sleep(_POLL_S)
                continue
            try:
                await check_durability(connection)
                if not await connection.fetchval(_QUERIES["checksums"]):
                    self._say("postgres   warning: this cluster has no data checksums; a damaged page goes unnoticed")
                return True
            finally:
                await connection.close()
        return False

    def close(self) -> None:
        """Remove the socket's folder after the server has ended; it stays if anything is left in it."""
        with suppress(OSError):
            self._sockets.rmdir()

    async def set_up(self) -> None:
        """Roles, logins and the database; changes nothing when they are there."""
        connection = await asyncpg.connect(self.dsn(SUPERUSER, "postgres"))
        try:
            await connection.execute(ROLES.read_text(encoding="utf-8"))
            await connection.execute(_QUERIES["make_logins"])
            if not await connection.fetchval(_QUERIES["database_exists"]):
                await connection.execute(_QUERIES["make_database"])
        finally:
            await connection.close()

    async def _clear_orphans(self) -> None:
        """Wait until nothing of an earlier start lives on the cluster, then drop its stale lock file.

        1. A postmaster whose supervisor was killed is told to stop: we hold the lock, so nobody uses it.
        2. Its backends end by themselves once it is gone. 3. Only then is postmaster.pid stale; its number may
        meanwhile be another process's, which would make Postgres refuse to start.
        """
        lock = self._data / "postmaster.pid"
        if not lock.exists() or sys.platform != "linux":
            return
        deadline = asyncio.get_running_loop().time() + ORPHAN_S_MAX
        told = False
        while users := _processes_in(self._data):
            if not told and (postmaster := _first_number(lock)) in users:
                self._say(f"postgres   an earlier server (process {postmaster}) is still there: stopping it")
                os.kill(postmaster, signal.SIGINT)
                told = True
            if asyncio.get_running_loop().time() > deadline:
                raise ConfigurationError(f"processes {users} still use {self._data}: stop them, then start again")
            await asyncio.sleep(_POLL_S)
        lock.unlink(missing_ok=True)


def _first_number(lock: Path) -> int:
    try:
        return int(lock.read_text(encoding="ascii", errors="replace").split("\n", 1)[0])
    except (OSError, ValueError):
        return 0


def _processes_in(directory: Path) -> list[int]:
    """Every live process whose working directory is the cluster: that is how a postmaster and its backends run."""
    wanted = directory.resolve()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if (entry / "cwd").readlink() == wanted:
                    found.append(int(entry.name))
            except OSError:
                continue  # gone meanwhile, a zombie, or somebody else's: not a server on our data
    return found
