"""A streaming replica of a test's cluster, fed through a cable that can be cut, so that it lags; then promoted."""

import subprocess

from tests.support.databases import run_sql
from tests.support.postgres import SUPERUSER, PostgresCluster
from tests.support.postgres_binaries import PostgresError, run_as


class Replica(PostgresCluster):
    """Made by pg_basebackup from a running primary; `feed_port` is where it reads the primary's WAL from."""

    def __init__(self, primary: PostgresCluster, *, feed_port: int) -> None:
        super().__init__()
        self._primary = primary
        self._feed_port = feed_port

    def _init(self) -> None:
        command = [str(self._binaries / "pg_basebackup"), "-D", str(self._data), "-U", SUPERUSER, "-h", self.host]
        done = subprocess.run(
            [*command, "-p", str(self._feed_port), "-R", "-X", "stream", "-c", "fast"],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            **run_as(self._user),
        )
        if done.returncode != 0:
            raise PostgresError(f"pg_basebackup failed:\n{done.stdout}{done.stderr}")

    def promote(self) -> None:
        """Become a primary with what has been received so far."""
        run_sql(self.dsn(), "SELECT pg_promote(true, 30)")
