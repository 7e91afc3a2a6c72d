"""Ingest, ledger and query over one real Postgres, for everything a visitor does with keys, capabilities and links."""

import base64
import hmac
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson
import pytest
from pydantic import SecretStr

from schemas.notices import notice_bytes, notice_hash
from schemas.parties import details_bytes
from schemas.record import format_time
from schemas.visitors import visitor_id
from services.keys import secret_digest
from services.query.settings import QuerySettings
from tests.integration.ingest.conftest import ORIGIN, SECRET, SERVER_KEY, SITE, Shop, event_now
from tests.integration.query.conftest import Caller, serving
from tests.support.databases import SchemaTemplate, drop_database
from tests.support.deployment import Deployment, fresh_uuid
from tests.support.receipts import shown_notice
from tests.support.rows import controller_details
from tests.support.wait import until

PUBLIC_URL = "https://consent.shop.example"
GRANT = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent"}
DENIAL = {"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}
BODY = {"content-type": "application/x-www-form-urlencoded"}


@dataclass
class Browser:
    """A visitor's browser: the key that it made for itself, and the capability that it was given."""

    key: str = field(default_factory=lambda: "vk_" + base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode())
    capability: str = ""

    @property
    def cookie(self) -> dict[str, str]:
        return {"type": "cookie", "value": visitor_id(self.key)}

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.capability}"}


class House:
    """Everything that runs, as the site's pages, its server, its visitors and its DPO meet it."""

    def __init__(self, shop: Shop, query: httpx2.AsyncClient, dpo: Caller) -> None:
        self.shop = shop
        self.query = query
        self.dpo = dpo
        self.notice = {"sha256": "", "language": "fr"}

    async def act(self, *identifiers: dict[str, str], type: str = "consent.given", **members: Any) -> httpx2.Response:  # noqa: A002 - the event's own word
        """One act from a page, recorded when this returns; `members` are of the envelope or of the data."""
        event = self.event(*identifiers, type=type, **members)
        answer = await self.shop.post(event, prefer="wait=20")
        if answer.status_code == 202:  # nobody is told what became of an act that is not shown to be theirs
            await self.shop.deployment.drained()
            return answer
        assert answer.status_code == 201, answer.text
        return answer

    async def act_of_server(self, *identifiers: dict[str, str], **members: Any) -> httpx2.Response:
        """The same, from the site's server."""
        answer = await self.shop.post_server(self.event(*identifiers, **members), prefer="wait=20")
        assert answer.status_code == 201, answer.text
        return answer

    def event(self, *identifiers: dict[str, str], type: str = "consent.given", **members: Any) -> dict[str, Any]:  # noqa: A002 - the event's own word
        event = event_now(1, type=type, subject={"identifiers": list(identifiers)}, decisions=[GRANT])
        event |= {"id": fresh_uuid(), "time": format_time(datetime.now(UTC))}
        event["data"]["notice"] = self.notice
        event["data"]["subject"] = {"identifiers": list(identifiers)}
        envelope = {"time", "visitorkey", "capability", "identity"}
        for name, value in members.items():
            (event if name in envelope else event["data"])[name] = value
        return {
            name: {n: v for n, v in value.items() if v is not None} if name == "data" else value
            for name, value in event.items()
        }

    async def browser(self, **members: Any) -> Browser:
        """A visitor who consented a moment ago."""
        browser = Browser()
        answer = await self.act(browser.cookie, visitorkey=browser.key, **members)
        browser.capability = answer.json()["capability"]
        return browser

    async def link(self, **body: Any) -> httpx2.Response:
        """What the site's server is answered when it asks for a link."""
        bearer = {"authorization": f"Bearer {SERVER_KEY}_{SECRET}"}
        return await self.shop.client.post("/v1/links", json=body, headers=bearer)

    async def linked(self, **body: Any) -> dict[str, Any]:
        """A link that must be made, with the path of its address as `path`."""
        answer = await self.link(**body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return {**made, "path": urlsplit(made["url"]).path}

    async def publish(self, content: dict[str, Any]) -> str:
        """Publish a notice of the site; its hash in hex."""
        raw = notice_bytes(content)
        await self.shop.deployment.fetch(
            "INSERT INTO notices (controller, notice, site, language, content)"
            " SELECT controller, $1, site, $2, $3 FROM sites WHERE name = $4",
            notice_hash(raw),
            content["language"],
            raw,
            SITE,
        )
        return notice_hash(raw).hex()

    async def standing(self, identifier: dict[str, str], purpose: str = "chat-history") -> tuple[bool, list[str]]:
        """What the controller is told of a purpose now."""
        found = await self.dpo.lookup(identifier["type"], identifier["value"])
        assert found.status_code == 200, found.text
        answer = await self.dpo.ask(f"/v1/subjects/{found.json()['subject']}/status", purpose=purpose)
        return answer["valid"], answer["reasons"]

    async def whats(self, identifier: dict[str, str]) -> list[dict[str, Any]]:
        """The decision part of every record of a subject, in order, once the ledger has passed all that was posted."""
        await self.shop.deployment.drained()
        found = await self.dpo.lookup(identifier["type"], identifier["value"])
        if found.status_code == 404:
            return []
        answer = await self.dpo.ask(f"/v1/subjects/{found.json()['subject']}/history")
        return [record["parts"]["what"] for record in answer["records"]]

    async def mine(self, browser: Browser, path: str, **headers: str) -> httpx2.Response:
        """What a browser is answered with its capability, from a page of the site."""
        return await self.query.get(f"/v1/me/{path}", headers={"origin": ORIGIN, **browser.bearer, **headers})

    async def dead_letters(self) -> int:
        return len(await self.shop.deployment.fetch("SELECT FROM dead_letters"))


def person() -> dict[str, str]:
    """An address that no other test knows."""
    return {"type": "email", "value": f"{os.urandom(6).hex()}@example.com"}


def identity(browser: Browser, identifier: dict[str, str], **changes: Any) -> str:
    """What the site's server signs when a visitor has signed in, by the recipe of docs/visitors.md."""
    payload = {"key": SERVER_KEY, "site": SITE, "visitor": browser.cookie["value"], "identifier": identifier}
    raw = orjson.dumps({**payload, "exp": int(time.time()) + 600, **changes})
    mac = hmac.digest(secret_digest(SECRET), b"sayso/identity/v1\n" + raw, "sha256")
    texts = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (raw, mac))
    return "id_" + ".".join(texts)


def query_settings(deployment: Deployment) -> QuerySettings:
    keys = deployment.keys
    return QuerySettings(
        database_url=SecretStr(deployment.database.dsn()),
        root_key_file=keys / "root.key",
        event_id_key_file=keys / "event-ids.key",
        controller_key_dir=keys / "controllers",
        suppression_dir=deployment.directory / "suppression",
        query_epoch_key_file=keys / "query" / "epochs.key",
        capability_key_file=keys / "capabilities.key",
        receipt_key_file=keys / "query" / "receipts.key",
        link_key_file=keys / "query" / "links.key",
        query_pool_size=2,
    )


@pytest.fixture(scope="session")
async def house(schema_template: SchemaTemplate, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One house for all tests of this folder; each uses identifiers of its own."""
    database = schema_template.clone()
    deployment = Deployment(database, tmp_path_factory.mktemp("house"))
    shop = Shop(deployment)
    await shop.create()
    await deployment.add_access_log()
    await deployment.fetch("UPDATE controllers SET details = $1", details_bytes(controller_details()))
    key = await deployment.add_access_key("dpo")
    async with (
        deployment.ledger(),
        shop.running(ingest_public_url=PUBLIC_URL),
        serving(query_settings(deployment)) as address,
        httpx2.AsyncClient(base_url=address) as query,
    ):
        made = House(shop, query, Caller(query, key))
        purposes = tuple(purpose["purpose"] for purpose in shown_notice()["purposes"])
        made.notice["sha256"] = await shop.publish_notice(purposes=(*purposes, "newsletter"), version="2")
        await until(partial(_registered, deployment), what="the ledger is ready")
        yield made
    drop_database(database)


async def _registered(deployment: Deployment) -> bool:
    return bool(await deployment.fetch("SELECT FROM log_heads WHERE signed_size IS NOT NULL"))
