"""Where `sayso up` keeps things, and the environment that each process gets. The key layout is production's as well.

Everything lies under one closed directory, .sayso by default: data, keys, high-water marks, logs, settings to source.
"""

import contextlib
import fcntl
import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from schemas.errors import ConfigurationError
from services.keys import make_secret
from services.ledger.settings import LedgerSettings

# What no service makes for itself. The ledger makes its signing and sealing keys and the controllers' keys.
KEY_FILES: Final = (
    "root.key",
    "event-ids.key",
    "capabilities.key",
    "ingest/epochs.key",
    "ingest/notices.key",
    "query/epochs.key",
    "query/receipts.key",
    "query/links.key",
)
# Where the ledger puts its own, closed before the first one is in them.
KEY_FOLDERS: Final = ("ledger", "controllers")


def make_keys(directory: Path) -> list[tuple[Path, bool]]:
    """Make the key files that are not there; each path, and whether it is new."""
    for folder in (directory, *(directory / name for name in KEY_FOLDERS)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = [(directory / name, not (directory / name).exists()) for name in KEY_FILES]
    for path, _ in found:
        make_secret(path)
    return found


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1."""

    ingest: int
    query: int
    ledger_metrics: int


@dataclass(frozen=True)
class Addresses:
    """Where a running Sayso is reached: services and the demo's shop by URL, Postgres as operator and as ledger."""

    ingest_url: str
    query_url: str
    shop_url: str
    admin_dsn: str
    ledger_dsn: str


@dataclass(frozen=True)
class Layout:
    """Paths under one directory; `home` is absolute."""

    home: Path

    @classmethod
    def make(cls, directory: Path) -> "Layout":
        """The layout of `directory`, which is made and closed to others. Raises ConfigurationError."""
        home = directory.absolute()
        try:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            layout = cls(home.resolve())
            for path in (layout.keys, layout.logs, layout.high_water, layout.suppression, layout.exports):
                path.mkdir(exist_ok=True, mode=0o700)
            if not os.access(layout.keys, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError
        except OSError as error:
            raise ConfigurationError(
                f"{home} cannot be used ({type(error).__name__}): was it made by another user? "
                "Give another one with --directory"
            ) from None
        return layout

    @property
    def keys(self) -> Path:
        return self.home / "keys"

    @property
    def logs(self) -> Path:
        return self.home / "log"

    @property
    def high_water(self) -> Path:
        return self.home / "high-water"

    @property
    def suppression(self) -> Path:
        return self.home / "suppression"

    @property
    def exports(self) -> Path:
        return self.home / "exports"

    @property
    def cluster(self) -> Path:
        """The Postgres cluster, or as root a link to it."""
        return self.home / "postgres"

    @property
    def settings_file(self) -> Path:
        return self.home / "sayso.env"

    @property
    def digest(self) -> str:
        """Names this directory where only a short or flat name can stand: sockets, /var/lib/sayso."""
        return hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]

    def key_settings(self) -> dict[str, str]:
        """The settings that name key files and directories."""
        return {
            "SAYSO_ROOT_KEY_FILE": str(self.keys / "root.key"),
            "SAYSO_EVENT_ID_KEY_FILE": str(self.keys / "event-ids.key"),
            "SAYSO_CAPABILITY_KEY_FILE": str(self.keys / "capabilities.key"),
            "SAYSO_EPOCH_KEY_FILE": str(self.keys / "ingest" / "epochs.key"),
            "SAYSO_NOTICE_KEY_FILE": str(self.keys / "ingest" / "notices.key"),
            "SAYSO_QUERY_EPOCH_KEY_FILE": str(self.keys / "query" / "epochs.key"),
            "SAYSO_RECEIPT_KEY_FILE": str(self.keys / "query" / "receipts.key"),
            "SAYSO_LINK_KEY_FILE": str(self.keys / "query" / "links.key"),
            "SAYSO_LEDGER_KEY_DIR": str(self.keys / "ledger"),
            "SAYSO_CONTROLLER_KEY_DIR": str(self.keys / "controllers"),
            "SAYSO_HIGH_WATER_DIR": str(self.high_water),
            "SAYSO_SUPPRESSION_DIR": str(self.suppression),
        }

    def ledger_settings(self, dsn: str) -> LedgerSettings:
        """The ledger's settings, for what acts as the ledger in this process."""
        return LedgerSettings(
            database_url=SecretStr(dsn),
            root_key_file=self.keys / "root.key",
            event_id_key_file=self.keys / "event-ids.key",
            ledger_key_dir=self.keys / "ledger",
            controller_key_dir=self.keys / "controllers",
            high_water_dir=self.high_water,
            suppression_dir=self.suppression,
        )

    def environment(self, dsn: str, ports: Ports) -> dict[str, str]:
        """The environment of one service: what the operator set, and over it what this run decides."""
        return {
            # Where the operator's proxy is, if there is one; links in e-mails begin with it.
            "SAYSO_INGEST_PUBLIC_URL": f"http://127.0.0.1:{ports.ingest}",
            "SAYSO_EXPORT_DIR": str(self.exports),
            # One machine, one operator: a system to try it with listens here.
            "SAYSO_WEBHOOK_INSIDE": "true",
            **os.environ,
            **self.key_settings(),
            "SAYSO_DATABASE_URL": dsn,
            "SAYSO_STREAM": "inbox:",
            "SAYSO_INGEST_HOST": "127.0.0.1",
            "SAYSO_INGEST_PORT": str(ports.ingest),
            "SAYSO_QUERY_HOST": "127.0.0.1",
            "SAYSO_QUERY_PORT": str(ports.query),
            "SAYSO_LEDGER_METRICS_HOST": "127.0.0.1",
            "SAYSO_LEDGER_METRICS_PORT": str(ports.ledger_metrics),
        }


def write_settings(path: Path, settings: Mapping[str, str], heading: str, opening: str = "") -> None:
    """A file to source in a shell, mode 600 from its first byte, replaced as a whole."""
    lines = [f"# {heading}\n", opening, *(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())]
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("".join(lines))
    temporary.replace(path)


@contextlib.contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Hold the directory's lock; the kernel drops it when this process ends, however it ends.

    Raises ConfigurationError if another `sayso up` holds it.
    """
    with (directory / "up.lock").open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigurationError(
                f"sayso up already runs on {directory} (process {file.read().strip()}): use it, or stop it first"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
