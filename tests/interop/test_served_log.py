"""Unmodified third-party clients accept the log as the ledger writes it and query serves it, at every awkward size."""

import asyncio
from functools import partial
from pathlib import Path

import httpx2
import pytest

from deploy.kafka.node import free_port
from tests.interop.third_party import check_with_third_party_clients
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.processes import ServiceProcess
from tests.support.wait import until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

# Empty, one, a tile less one, a full tile, one more, a log of three tiles, and one with a third level.
SIZES = (0, 1, 255, 256, 257, 600, 70_000)
GROUP = 2000


async def test_third_party_clients_accept_what_query_serves(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    port = free_port()
    query = ServiceProcess("query", deployment.query_environment(port), tmp_path / "query.log")
    base_url = f"http://127.0.0.1:{port}/logs/shop"
    try:
        query.start()
        async with deployment.ledger(), httpx2.AsyncClient() as client:
            await deployment.recorded(0)
            (log,) = await deployment.fetch("SELECT origin, vkey FROM logs")

            async def serves(size: int) -> bool:
                try:
                    answer = await client.get(f"{base_url}/checkpoint")
                except httpx2.TransportError:
                    return False
                return answer.is_success and answer.text.split("\n")[1] == str(size)

            done = 0
            for size in SIZES:
                while done < size:
                    group = range(done, min(done + GROUP, size))
                    await deployment.publish(deployment.seal(consent_event(n, subject=f"v-{n % 5000}")) for n in group)
                    done = group.stop
                await deployment.recorded(size, deadline_s=120)
                await until(partial(serves, size), deadline_s=20, what=f"query serves size {size}")
                await asyncio.to_thread(check_with_third_party_clients, base_url, log["origin"], log["vkey"], size)
    finally:
        query.stop()
