"""Setting the demo up, once: controller, sites, notices, keys, and what the controller states of its chat service.
A second run finds what the first one made.

Keys live in .sayso/demo.env alone (mode 600); the database holds only digests of their secrets.
"""

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.catalogue.merging import own_bytes
from schemas.catalogue.reading import read_yaml
from schemas.errors import ConfigurationError
from schemas.parties import details_bytes
from services.cli import admin, registry
from services.cli.demo.cast import FOLDER, Cast
from services.cli.notices import read_notice
from services.cli.up.layout import Addresses, Layout, write_settings
from services.postgres import Connection
from services.query.catalogue.store import CatalogueStore

# Where the posted events and the fetched proofs are kept, under the layout's directory.
JOURNAL: Final = "demo"
# The addresses and the demo's keys, to be sourced; under the layout's directory.
ENV_FILE: Final = "demo.env"
ACCESS_KEY: Final = "SAYSO_DEMO_ACCESS_KEY"
# For what the demo does not play: erasures and requests, keys and people.
OTHER_KEYS: Final[dict[str, registry.AccessRole]] = {
    "SAYSO_DEMO_PRIVACY_KEY": "privacy",
    "SAYSO_DEMO_ADMIN_KEY": "admin",
}
VERIFIER_KEY: Final = "SAYSO_DEMO_VKEY"
CAST: Final = "SAYSO_DEMO_CAST"
_PLAYS: Final[registry.AccessRole] = "dpo"
# What the controller states of a service beside the catalogue.
STATED: Final = "chatra"


@dataclass(frozen=True)
class Stage:
    """Everything that a site's browser and server, and the DPO, know."""

    ingest_url: str
    query_url: str
    keys: dict[str, str]
    env_file: Path

    def browser_key(self, site: str) -> str:
        return self.keys[_setting(site, "PK")]

    def server_key(self, site: str) -> str:
        return self.keys[_setting(site, "SK")]

    @property
    def access_key(self) -> str:
        return self.keys[ACCESS_KEY]

    @property
    def vkey(self) -> str:
        return self.keys[VERIFIER_KEY]


def _setting(site: str, kind: str) -> str:
    """SAYSO_DEMO_SHOP_PK: the first label of the site's name."""
    return f"SAYSO_DEMO_{site.partition('.')[0].upper()}_{kind}"


async def set_up(cast: Cast, layout: Layout, addresses: Addresses) -> Stage:
    """Make what is not there. The ledger opens the new log meanwhile; its verifier key is added by `with_vkey`."""
    env_file = layout.home / ENV_FILE
    async with admin.connect(addresses.admin_dsn) as connection:
        known = {row["name"] for row in await connection.fetch(admin.QUERIES["list_controllers"])}
        is_new = cast.controller.name not in known
        # Keys and events of another database would only be refused.
        keys = {} if is_new else _read_keys(env_file)
        if keys and keys.get(CAST) != cast.version:
            raise ConfigurationError(
                f"{layout.home} holds the demo of an older version, whose people are others: "
                "give another --directory, or remove it if you need nothing of it"
            )
        keys[CAST] = cast.version
        await _set_up_controller(connection, cast, is_new=is_new)
        # Pages of the shop that `sayso up` serves may post for the first site.
        await registry.allow_origin(connection, cast.sites[0].name, addresses.shop_url)
        if is_new:
            shutil.rmtree(layout.home / JOURNAL, ignore_errors=True)
        for site in cast.sites:
            for kind in ("pk", "sk"):
                if _setting(site.name, kind.upper()) not in keys:
                    key = await registry.create_site_key(connection, site.name, kind)
                    keys[_setting(site.name, kind.upper())] = key
        for name, role in {ACCESS_KEY: _PLAYS, **OTHER_KEYS}.items():
            if name not in keys:
                keys[name] = await registry.create_access_key(connection, cast.controller.name, role)
    stage = Stage(addresses.ingest_url, addresses.query_url, keys, env_file)
    _write(stage, layout)
    return stage


async def _set_up_controller(connection: Connection, cast: Cast, *, is_new: bool) -> None:
    controller = cast.controller
    if is_new:
        await registry.create_controller(connection, controller.name, controller.legal_name, controller.contact)
    details = details_bytes(controller.details.model_dump(exclude_none=True))
    await registry.describe_controller(connection, controller.name, details)
    sites = {row["name"] for row in await connection.fetch(admin.QUERIES["list_sites"], controller.name)}
    for site in cast.sites:
        if site.name not in sites:
            await registry.create_site(
                connection,
                site.name,
                controller.name,
                log=cast.log,
                log_host=cast.log_host,
                origins=[site.origin],
            )
        for notice in site.notices:
            await registry.publish_notice(connection, site.name, read_notice(FOLDER / "notices" / f"{notice}.yaml"))
    own = CatalogueStore(connection, await registry.find_controller(connection, controller.name))
    await own.state(STATED, own_bytes(STATED, read_yaml(FOLDER / f"{STATED}.yaml")))


async def find_vkey(connection: Connection, log: str) -> str | None:
    """The log's verifier key, once the ledger has opened it and signed its first checkpoint."""
    for row in await connection.fetch(admin.QUERIES["opened_logs"]):
        if row["name"] == log and row["signed_size"] is not None:
            vkey: str | None = row["vkey"]
            return vkey
    return None


def with_vkey(stage: Stage, layout: Layout, vkey: str) -> Stage:
    """The stage with the log's key pinned. Raises ConfigurationError if an earlier run has seen another key."""
    pinned = stage.keys.get(VERIFIER_KEY, vkey)
    if pinned != vkey:
        raise ConfigurationError(f"the log's verifier key is not the one that {stage.env_file} has pinned")
    stage.keys[VERIFIER_KEY] = vkey
    _write(stage, layout)
    return stage


def read_stage(env_file: Path) -> Stage:
    """The stage as an earlier or another process wrote it. Raises KeyError for a file that holds no addresses."""
    settings = _read_settings(env_file)
    return Stage(settings.pop("INGEST"), settings.pop("QUERY"), settings, env_file)


def _write(stage: Stage, layout: Layout) -> None:
    settings = {"INGEST": stage.ingest_url, "QUERY": stage.query_url, **stage.keys}
    heading = "Written by `sayso up --demo`: addresses and the demo's keys. Source it; keep it to yourself."
    write_settings(stage.env_file, settings, heading, opening=f". {shlex.quote(str(layout.settings_file))}\n")


def _read_keys(path: Path) -> dict[str, str]:
    """The demo's keys as an earlier run wrote them; empty at the first run."""
    return {name: value for name, value in _read_settings(path).items() if name.startswith("SAYSO_DEMO_")}


def _read_settings(path: Path) -> dict[str, str]:
    """What the file exports; nothing if it is not there."""
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        words = shlex.split(line, comments=True)
        if len(words) == 2 and words[0] == "export":
            name, _, value = words[1].partition("=")
            found[name] = value
    return found
