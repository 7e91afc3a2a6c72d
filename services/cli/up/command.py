"""`sayso up`: bring everything up in order, say what happens, stay until told to stop, take everything down in order.

Invariant: whatever ends this process, its children end too, and nothing that was accepted is lost: what ingest
acknowledged is committed in Postgres, with fsync.
"""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from functools import partial
from pathlib import Path
from typing import Final, Literal

import httpx2

from schemas.errors import ConfigurationError
from services.cli import admin, registry
from services.cli.demo import site
from services.cli.demo.play import play
from services.cli.demo.site.check import check_shop
from services.cli.demo.stage import ENV_FILE, read_stage
from services.cli.output import Progress
from services.cli.up.layout import Addresses, Layout, Ports, make_keys, only_one, write_settings
from services.cli.up.ports import HOST, choose_port
from services.cli.up.postgres import EmbeddedPostgres
from services.cli.up.processes import Child, spawn
from services.keys import signing_key
from services.ledger.migrate import migrate

READY_S_MAX: Final = 60.0
WATCH_PAUSE_S: Final = 2.0
FIRST_CONTROLLER: Final = "first"
FIRST_SITE: Final = "first-site"
# Regulators come with the key of a grant; machines get keys that are limited to their sites.
FIRST_ROLES: Final[tuple[registry.AccessRole, ...]] = ("privacy", "dpo", "admin")


def run_up(directory: Path, *, demo: bool, once: bool) -> int:
    """Run until a signal or, with `once`, until everything was checked; the exit code.

    Raises ConfigurationError if something cannot start, SaysoError if a check of the demo does not hold.
    """
    layout = Layout.make(directory)
    with only_one(layout.home):
        return asyncio.run(_run(layout, demo=demo, once=once))


async def _run(layout: Layout, *, demo: bool, once: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    embedded = Embedded(layout)
    work = asyncio.create_task(embedded.serve(demo=demo, once=once))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            embedded.say("stopping")
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        else:
            work.result()
    finally:
        stopping.cancel()
        await embedded.stop()
    # Whoever asked for a check and interrupted it did not get one.
    return 128 + signal.SIGINT if once and stop.is_set() else 0


class Embedded:
    """Postgres and the three services of one directory. The caller holds the directory's lock."""

    def __init__(self, layout: Layout) -> None:
        """Raises ConfigurationError before anything is started."""
        self.say = Progress()
        self._layout = layout
        self._children: list[Child] = []
        ingest = choose_port("SAYSO_INGEST_PORT", 8080)
        query = choose_port("SAYSO_QUERY_PORT", 8081, frozenset({ingest}))
        metrics = choose_port("SAYSO_LEDGER_METRICS_PORT", 8082, frozenset({ingest, query}))
        self.ports = Ports(ingest, query, metrics)
        self._shop_port = choose_port("SAYSO_SHOP_PORT", 8083, frozenset({ingest, query, metrics}))
        self._postgres = EmbeddedPostgres(layout, self.say)
        self.addresses = Addresses(
            ingest_url=f"http://{HOST}:{ingest}",
            query_url=f"http://{HOST}:{query}",
            shop_url=f"http://{HOST}:{self._shop_port}",
            admin_dsn=self._postgres.dsn("operator"),
            ledger_dsn=self._postgres.dsn("ledger"),
        )

    async def serve(self, *, demo: bool, once: bool) -> None:
        """Start, set up, play the demo if asked to, and stay unless `once`."""
        await self._start()
        commands = ""
        if demo:
            commands = await play(self._layout, self.addresses, self.say)
            await self._open_the_shop()
        else:
            await self._first_controller()
        self._announce(self.addresses.shop_url if demo else None)
        print(commands, flush=True)
        if not once:
            print("Sayso stays up; Ctrl-C stops all of it.", flush=True)
            await self._watch_the_ledger()

    async def _start(self) -> None:
        """1. Postgres, roles, schema; 2. keys; 3. the ledger, which makes the sealing key; 4. ingest and query."""
        postgres = Child("postgres", self._postgres.start, self._layout.logs / "postgres.log", signal.SIGINT)
        self._children.append(postgres)
        await postgres.launch(self.say)
        await self._postgres.set_up()
        self.say(
            f"postgres   Postgres {self._postgres.binaries.version} answers (fsync on, data in {self._layout.cluster})"
        )
        for name in await migrate(self.addresses.admin_dsn):
            self.say(f"postgres   migration {name} applied")
        made = [path for path, is_new in make_keys(self._layout.keys) if is_new]
        if made:
            self.say(
                f"keys       {len(made)} made in {self._layout.keys}: keep them, and not beside a backup of the data"
            )
        async with admin.connect(self.addresses.admin_dsn) as connection:
            for service in registry.TYPES_OF:
                key = signing_key(self._layout.keys / service / "epochs.key")
                await registry.register_publisher(connection, key.public_key(), service)
        self._write_settings()
        ledger = await self._launch("ledger")
        await ledger.wait_until(self._ledger_is_ready, READY_S_MAX)
        self.say("ledger     ready: it records and signs")
        ingest, query = await self._launch("ingest"), await self._launch("query")
        for child, url in ((ingest, self.addresses.ingest_url), (query, self.addresses.query_url)):
            await child.wait_until(partial(_answers, f"{url}/health/ready"), READY_S_MAX)
            moved = "" if url.endswith((":8080", ":8081")) else " (the usual port is taken or another was asked for)"
            self.say(f"{child.name:<10} ready at {url}{moved}")

    async def _launch(self, service: str) -> Child:
        environment = self._layout.environment(self._postgres.dsn(service), self.ports)
        return await self._launch_module(service, [f"services.{service}"], environment)

    async def _launch_module(self, name: str, module: list[str], environment: dict[str, str] | None = None) -> Child:
        """A child of this Python. `module`: its name, then its arguments."""
        log = self._layout.logs / f"{name}.log"
        # -P: a folder named schemas in the working directory must not stand in for ours.
        command = [sys.executable, "-P", "-m", *module]

        async def start() -> Process:
            return await spawn(command, log=log, environment=environment)

        child = Child(name, start, log)
        self._children.append(child)
        await child.launch(self.say)
        return child

    async def _open_the_shop(self) -> None:
        """The demo's website, which visitors reach; it is told nothing but the addresses and the demo's keys."""
        env_file = self._layout.home / ENV_FILE
        url = self.addresses.shop_url
        shop = await self._launch_module("shop", [site.__name__, str(env_file), str(self._shop_port)])
        await shop.wait_until(partial(_answers, f"{url}/outbox"), READY_S_MAX)
        await check_shop(read_stage(env_file), url)
        self.say(f"shop       open at {url}: page, snippet, notice and rules are served")

    async def _ledger_is_ready(self) -> bool:
        """It has checked the database against what was signed, and records."""
        state = await _ledger_state(self.ports.ledger_metrics)
        if state == "halted":
            raise ConfigurationError(
                "the ledger has halted, because the database lacks what was signed: see docs/operations.md, "
                f"'The ledger halted', and {self._layout.logs / 'ledger.log'}"
            )
        return state == "recording"

    async def _watch_the_ledger(self) -> None:
        """Stay; say so when the ledger halts and when it goes on."""
        halted = False
        while True:
            state = await _ledger_state(self.ports.ledger_metrics)
            if state == "halted" and not halted:
                self.say(
                    "ledger     HALTED: it neither records nor signs; events are still accepted. See log/ledger.log"
                )
                halted = True
            elif state == "recording" and halted:
                self.say("ledger     goes on recording")
                halted = False
            await asyncio.sleep(WATCH_PAUSE_S)

    async def _first_controller(self) -> None:
        """Into an empty database: a controller, a site and a key of each kind, to post the first event with."""
        async with admin.connect(self.addresses.admin_dsn) as connection:
            if await connection.fetch(admin.QUERIES["list_controllers"]):
                await registry.open_missing_access_logs(connection)
                return
            await registry.create_controller(connection, FIRST_CONTROLLER, "First controller", "privacy@localhost")
            await registry.create_site(
                connection, FIRST_SITE, FIRST_CONTROLLER, log=FIRST_CONTROLLER, log_host="localhost", origins=[]
            )
            browser = await registry.create_site_key(connection, FIRST_SITE, "pk")
            server = await registry.create_site_key(connection, FIRST_SITE, "sk")
            keys = {role: await registry.create_access_key(connection, FIRST_CONTROLLER, role) for role in FIRST_ROLES}
        print(f"\nController {FIRST_CONTROLLER} with site {FIRST_SITE}. Its keys, shown this once:")
        print(f"  publishable  {browser}\n  server       {server}")
        for role, key in keys.items():
            print(f"  {role:<11}  {key}")
        print("What each of the last three opens: docs/access.md.")

    def _write_settings(self) -> None:
        settings = {
            "SAYSO_ADMIN_DATABASE_URL": self.addresses.admin_dsn,
            # For fsck and rebuild, which act as the ledger.
            "SAYSO_DATABASE_URL": self.addresses.ledger_dsn,
            **self._layout.key_settings(),
            "SAYSO_INGEST_URL": self.addresses.ingest_url,
            "SAYSO_QUERY_URL": self.addresses.query_url,
        }
        heading = "Written by `sayso up` at every start. For sayso's other commands: source it."
        write_settings(self._layout.settings_file, settings, heading)

    def _announce(self, shop_url: str | None) -> None:
        shop = "" if shop_url is None else f"  shop      {shop_url}   (a website with a banner of its own: visit it)\n"
        print(
            f"\nSayso is up.\n{shop}"
            f"  events    {self.addresses.ingest_url}/v1/events   (described at {self.addresses.ingest_url}/docs)\n"
            f"  answers   {self.addresses.query_url}   (described at {self.addresses.query_url}/docs)\n"
            f"  logs      {self._layout.logs}\n"
            f"  commands  . {self._layout.settings_file}   and then sayso doctor, site, key, notice, fsck ...\n"
        )

    async def stop(self) -> None:
        """Services first, all at once; Postgres when none of them needs it any more."""
        if self._children:
            postgres, *services = self._children
            await asyncio.gather(*(child.stop() for child in services))
            await postgres.stop()
            self._postgres.close()
            self.say("stopped    everything; the data stays")


async def _answers(url: str) -> bool:
    async with httpx2.AsyncClient(timeout=5, trust_env=False) as client:
        try:
            return (await client.get(url)).status_code == httpx2.codes.OK
        except httpx2.HTTPError:
            return False


async def _ledger_state(port: int) -> Literal["away", "starting", "halted", "recording"]:
    """What the ledger's metrics say."""
    async with httpx2.AsyncClient(timeout=5, trust_env=False) as client:
        try:
            text = (await client.get(f"http://{HOST}:{port}/metrics")).text
        except httpx2.HTTPError:
            return "away"
    if "\nsayso_ledger_halted 1.0\n" in text:
        return "halted"
    return "recording" if "\nsayso_ledger_recording 1.0\n" in text else "starting"
