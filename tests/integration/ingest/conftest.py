"""A running ingest on a real socket: controller `shop`, sites, keys, notices, and what it put into the inbox."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
import uvicorn
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from schemas.notices import notice_bytes, notice_hash
from schemas.sealing import EpochHeader, SealedBody, open_message
from schemas.visitors import visitor_id
from services.ingest.app import IngestApp, create_app
from services.ingest.settings import IngestSettings
from services.ingest.whole_answers import WholeAnswers
from services.keys import make_secret, sealing_key, secret_digest
from services.observability import configure_logging
from tests.support.databases import Database, SchemaTemplate, drop_database
from tests.support.deployment import Deployment, consent_event
from tests.support.rows import notice_content
from tests.support.wait import until

SITE = "shop.example"
PURPOSES = ("chat-history", "chat-proactive")
ORIGIN = "https://shop.example"
BROWSER_KEY = "pk_" + "b" * 24
APP_KEY = "app_" + "a" * 24
VISITOR_KEY = "vk_" + "k" * 43
SERVER_KEY = "sk_" + "s" * 24
SECRET = "S" * 43
BEARER = f"Bearer {SERVER_KEY}_{SECRET}"


@dataclass(frozen=True)
class Opened:
    """One message of the inbox, opened as the ledger would."""

    event_id: str
    site: str
    log: str
    body: SealedBody

    @property
    def what(self) -> bytes:
        return self.body.parts.what


class Shop:
    """The deployment with everything that ingest needs, and a client of the running process."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.notice = ""
        self.app: IngestApp
        self.client: httpx2.AsyncClient

    async def create(self) -> None:
        """Rows as the operator's commands would make them."""
        await self.deployment.create()
        await self.open()

    async def open(self) -> None:
        """What ingest needs besides, of a deployment that is there."""
        deployment = self.deployment
        make_secret(deployment.keys / "ingest" / "notices.key")
        connection = await deployment.connect()
        try:
            public = deployment.sealing_public
            await connection.execute(
                "INSERT INTO sealing_keys (sealing_key, public_key) VALUES (substr(sha256($1), 1, 8), $1)"
                " ON CONFLICT DO NOTHING",
                public.public_bytes_raw(),
            )
            await connection.execute("UPDATE sites SET origins = $1", [ORIGIN])
            for key, kind, digest in (
                (BROWSER_KEY, "pk", None),
                (APP_KEY, "app", None),
                (SERVER_KEY, "sk", secret_digest(SECRET)),
            ):
                await connection.execute(
                    "INSERT INTO site_keys (controller, site_key, site, kind, secret_sha256)"
                    " SELECT controller, $1, site, $2, $3 FROM sites WHERE name = $4",
                    key,
                    kind,
                    digest,
                    SITE,
                )
        finally:
            await connection.close()
        self.notice = await self.publish_notice()

    async def publish_notice(self, *, purposes: tuple[str, ...] = PURPOSES, **changes: Any) -> str:
        """Publish a notice of the site; its hash in hex."""
        (purpose,) = notice_content()["purposes"]
        raw = notice_bytes(notice_content(purposes=[purpose | {"purpose": name} for name in purposes], **changes))
        await self.deployment.fetch(
            "INSERT INTO notices (controller, notice, site, language, content)"
            " SELECT controller, $1, site, $2, $3 FROM sites WHERE name = $4 RETURNING 1",
            notice_hash(raw),
            notice_content(**changes)["language"],
            raw,
            SITE,
        )
        return notice_hash(raw).hex()

    def settings(self, **changes: Any) -> IngestSettings:
        keys = self.deployment.keys
        values: dict[str, Any] = {
            "database_url": SecretStr(self.deployment.database.dsn()),
            "event_id_key_file": keys / "event-ids.key",
            "suppression_dir": self.deployment.directory / "suppression",
            "epoch_key_file": keys / "ingest" / "epochs.key",
            "capability_key_file": keys / "capabilities.key",
            "notice_key_file": keys / "ingest" / "notices.key",
            "ingest_start_s": 5,
            # All tests have one address; those of limits set their own.
            "rate_limit_per_s": 0,
            "rate_limit_network_per_s": 0,
            "rate_limit_unconfirmed_per_s": 0,
        }
        return IngestSettings(**(values | changes))

    @asynccontextmanager
    async def running(self, **changes: Any) -> AsyncIterator["Shop"]:
        """Serve on a free port until the block ends."""
        self.app = create_app(self.settings(**changes))
        config = uvicorn.Config(
            self.app,
            port=0,
            http=WholeAnswers,
            lifespan="on",
            log_config=None,
            access_log=False,
            # As services/ingest/__main__.py has it: uvicorn would believe X-Forwarded-For of this machine.
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        await until(lambda: server.started or task.done(), what="ingest serves")
        assert server.started, self.app.refusal
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=40) as self.client:
                yield self
        finally:
            server.should_exit = True
            await task

    async def post(self, event: Any, **headers: str) -> httpx2.Response:
        """One event as a page of the site posts it."""
        all_headers = {"origin": ORIGIN} | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(f"/v1/events?key={BROWSER_KEY}", json=event, headers=all_headers)

    async def post_server(self, event: Any, **headers: str) -> httpx2.Response:
        """The same as the site's server posts it."""
        all_headers = {"authorization": BEARER} | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post("/v1/events", json=event, headers=all_headers)

    async def post_raw(self, body: bytes, content_type: str = "application/json", **headers: str) -> httpx2.Response:
        """Any bytes as a page of the site posts them."""
        all_headers = {"origin": ORIGIN, "content-type": content_type} | headers
        return await self.client.post(f"/v1/events?key={BROWSER_KEY}", content=body, headers=all_headers)

    async def inbox(self) -> list[Opened]:
        """Everything in the inbox, opened with the ledger's key."""
        rows = await self.deployment.fetch("SELECT event_id, site, log, epoch, value FROM inbox ORDER BY seq")
        secret = sealing_key(self.deployment.keys / "ledger" / "sealing.key")
        opened = []
        for row in rows:
            header = EpochHeader.decode(row["epoch"])
            cipher = AESGCM(header.open(self.deployment.publisher.public_key(), secret))
            event_id = str(row["event_id"])
            body = open_message(cipher, header.epoch, row["log"], row["site"], event_id, row["value"])
            opened.append(Opened(event_id, row["site"], row["log"], body))
        return opened


@pytest.fixture
def _logs(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Our logs on this test's stdout, and the logging of the test runner back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logging("ingest")
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
async def made_shop(database: Database, tmp_path: Path) -> Shop:
    """Rows and keys of this test's own; ingest is not running."""
    shop = Shop(Deployment(database, tmp_path))
    await shop.create()
    return shop


@pytest.fixture(scope="session")
async def running_shop(
    schema_template: SchemaTemplate, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    """One ingest for all tests that only post, with the inbox as its stream."""
    database = schema_template.clone()
    shop = Shop(Deployment(database, tmp_path_factory.mktemp("shop")))
    await shop.create()
    async with shop.running():
        yield shop
    drop_database(database)


@pytest.fixture
async def shop(running_shop: Shop, _logs: None) -> Shop:
    """The shared ingest with an empty inbox; what tests publish there stays published."""
    await running_shop.deployment.fetch("DELETE FROM inbox")
    return running_shop


def event_now(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A valid event that a browser may post now."""
    time = (datetime.now(UTC) - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return consent_event(number, **({"time": time} | changes))


def visitor_event(number: int = 1, **changes: Any) -> dict[str, Any]:
    """The same of a visitor whose browser shows that the number is its own."""
    return event_now(number, subject=visitor_id(VISITOR_KEY), **changes) | {"visitorkey": VISITOR_KEY}
