"""Ingest as a process of its own: it starts, says so, and refuses to start rather than guess."""

import asyncio
import os
import socket
from pathlib import Path

import httpx2
import pytest

from tests.integration.ingest.conftest import BROWSER_KEY, ORIGIN, Shop, event_now
from tests.support.processes import ServiceProcess
from tests.support.wait import until

pytestmark = pytest.mark.integration


def environment(shop: Shop, **changes: str) -> dict[str, str]:
    settings = shop.settings()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "SAYSO_DATABASE_URL": settings.database_url.get_secret_value(),
        "SAYSO_EVENT_ID_KEY_FILE": str(settings.event_id_key_file),
        "SAYSO_SUPPRESSION_DIR": str(settings.suppression_dir),
        "SAYSO_EPOCH_KEY_FILE": str(settings.epoch_key_file),
        "SAYSO_CAPABILITY_KEY_FILE": str(settings.capability_key_file),
        "SAYSO_NOTICE_KEY_FILE": str(settings.notice_key_file),
        "SAYSO_INGEST_PORT": str(port),
        "SAYSO_INGEST_START_S": "1",
    } | changes


async def refused(environment: dict[str, str], log: Path) -> str:
    """Start, wait for the end, and return what it said; it must be EX_CONFIG."""
    process = ServiceProcess("ingest", environment, log)
    process.start()
    await until(lambda: not process.alive, what="ingest ends by itself", deadline_s=30)
    assert process.stop() == os.EX_CONFIG
    return process.said()


async def test_the_process_serves_and_stops(made_shop: Shop, tmp_path: Path) -> None:
    variables = environment(made_shop)
    process = ServiceProcess("ingest", variables, tmp_path / "ingest.log")
    process.start()
    try:
        address = f"http://127.0.0.1:{variables['SAYSO_INGEST_PORT']}"
        async with httpx2.AsyncClient(base_url=address) as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/health/ready")).status_code == 200
                except httpx2.TransportError:
                    return False

            await until(ready, what="ingest is ready", deadline_s=30)
            answer = await client.post(
                f"/v1/events?key={BROWSER_KEY}", json=event_now(subject="v-secret"), headers={"origin": ORIGIN}
            )
            assert answer.status_code == 202
    finally:
        code = await asyncio.to_thread(process.stop)
    assert code == 0
    assert len(await made_shop.inbox()) == 1
    assert "ingest takes events" in process.said()
    assert BROWSER_KEY not in process.said()
    assert "v-secret" not in process.said()


async def test_it_names_the_settings_that_are_missing(made_shop: Shop, tmp_path: Path) -> None:
    variables = environment(made_shop, SAYSO_INGEST_PORT="zero-with-a-secret")
    del variables["SAYSO_DATABASE_URL"]
    said = await refused(variables, tmp_path / "log")
    assert "SAYSO_DATABASE_URL, SAYSO_INGEST_PORT" in said
    assert "zero-with-a-secret" not in said
    assert "Traceback" not in said


async def test_it_refuses_a_key_file_open_to_others(made_shop: Shop, tmp_path: Path) -> None:
    made_shop.settings().notice_key_file.chmod(0o644)
    assert "chmod 600" in await refused(environment(made_shop), tmp_path / "log")


async def test_it_refuses_a_stream_it_does_not_know(made_shop: Shop, tmp_path: Path) -> None:
    assert "SAYSO_STREAM" in await refused(environment(made_shop, SAYSO_STREAM="rabbit://x"), tmp_path / "log")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE publishers SET revoked_at = now()", "is not registered, or was revoked"),
        ("UPDATE publishers SET types = '{consent.given}'", "lacks types"),
        ("UPDATE sealing_keys SET destroyed_at = now()", "no sealing key"),
    ],
)
async def test_it_refuses_what_the_ledger_would_set_aside(
    made_shop: Shop, tmp_path: Path, statement: str, reason: str
) -> None:
    await made_shop.deployment.fetch(statement)
    assert reason in await refused(environment(made_shop), tmp_path / "log")


async def test_it_refuses_without_a_database(made_shop: Shop, tmp_path: Path) -> None:
    url = "postgresql://postgres:a-password@127.0.0.1:9/nowhere"
    said = await refused(environment(made_shop, SAYSO_DATABASE_URL=url), tmp_path / "log")
    assert "the database does not answer" in said
    assert "a-password" not in said
