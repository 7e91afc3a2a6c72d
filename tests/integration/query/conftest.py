"""The query service on a real port over a real Postgres, and rows of two controllers to ask it about."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from pydantic import SecretStr

from services.query.app import create_app
from services.query.settings import QuerySettings
from tests.support.databases import Database
from tests.support.rows import Controller, World
from tests.support.wait import until

ROLES = ("site", "privacy", "dpo", "auditor", "admin")


def settings_of(world: World, **changes: Any) -> QuerySettings:
    values: dict[str, Any] = {
        "database_url": SecretStr(world.database.dsn()),
        "root_key_file": world.directory / "root.key",
        "event_id_key_file": world.directory / "event-ids.key",
        "controller_key_dir": world.directory / "controllers",
        "suppression_dir": world.directory / "suppression",
        "query_epoch_key_file": world.directory / "query" / "epochs.key",
        "capability_key_file": world.directory / "capabilities.key",
        "receipt_key_file": world.directory / "query" / "receipts.key",
        "link_key_file": world.directory / "query" / "links.key",
        "query_pool_size": 2,
    }
    return QuerySettings(**(values | changes))


@asynccontextmanager
async def serving(settings: QuerySettings, port: int = 0) -> AsyncIterator[str]:
    """The service on a free port of its own, or the one given; yields its address."""
    # With the protocol named, asyncio turns Nagle's algorithm off: without, each answer waits 40 ms for an ACK.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", port))
        config = uvicorn.Config(create_app(settings), log_config=None, access_log=False)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        await until(lambda: server.started or task.done(), what="query serves")
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@dataclass
class Caller:
    """A client with one access key."""

    client: httpx2.AsyncClient
    key: str

    async def get(self, path: str, **params: Any) -> httpx2.Response:
        return await self.client.get(path, params=params, headers={"authorization": f"Bearer {self.key}"})

    async def ask(self, path: str, **params: Any) -> dict[str, Any]:
        """The JSON of an answer that must be 200."""
        response = await self.get(path, **params)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def lookup(self, kind: str, value: str) -> httpx2.Response:
        return await self.client.post(
            "/v1/subjects/lookup",
            json={"identifier": {"type": kind, "value": value}},
            headers={"authorization": f"Bearer {self.key}"},
        )


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path / "keys")


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(settings_of(world)) as address, httpx2.AsyncClient(base_url=address) as client:
        yield client


@pytest.fixture
async def shop(world: World) -> Controller:
    return await world.controller("shop")


@pytest.fixture
async def dpo(client: httpx2.AsyncClient, shop: Controller) -> Caller:
    return Caller(client, await shop.access_key("dpo"))


@pytest.fixture
async def privacy(client: httpx2.AsyncClient, shop: Controller) -> Caller:
    return Caller(client, await shop.access_key("privacy"))


@pytest.fixture
def with_role(client: httpx2.AsyncClient) -> Callable[[Controller, str], Any]:
    """A caller of any controller and role."""

    async def make(controller: Controller, role: str) -> Caller:
        return Caller(client, await controller.access_key(role))

    return make
