"""The service as a process: starting, stopping, and answering about what a real ledger recorded."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from deploy.kafka.node import free_port
from schemas.verify import verify_file
from tests.integration.query.conftest import Caller, serving, settings_of
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.rows import Controller, World, notice_content
from tests.support.wait import until

pytestmark = pytest.mark.integration


def environment(world: World, **changes: str) -> dict[str, str]:
    settings = {
        "SAYSO_DATABASE_URL": world.database.dsn(),
        "SAYSO_ROOT_KEY_FILE": str(world.directory / "root.key"),
        "SAYSO_EVENT_ID_KEY_FILE": str(world.directory / "event-ids.key"),
        "SAYSO_CONTROLLER_KEY_DIR": str(world.directory / "controllers"),
        "SAYSO_SUPPRESSION_DIR": str(world.directory / "suppression"),
        "SAYSO_QUERY_EPOCH_KEY_FILE": str(world.directory / "query" / "epochs.key"),
        "SAYSO_CAPABILITY_KEY_FILE": str(world.directory / "capabilities.key"),
        "SAYSO_RECEIPT_KEY_FILE": str(world.directory / "query" / "receipts.key"),
        "SAYSO_LINK_KEY_FILE": str(world.directory / "query" / "links.key"),
    }
    return {"PATH": os.environ["PATH"], **settings, **changes}


@contextmanager
def process(variables: Mapping[str, str], output: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with output.open("wb") as file:
        started = subprocess.Popen([sys.executable, "-m", "services.query"], env=variables, stdout=file, stderr=file)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_is_told_to_stop(world: World, tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    with process(environment(world, SAYSO_QUERY_PORT=str(port)), tmp_path / "out") as query:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def ready() -> bool:
                assert query.poll() is None, (tmp_path / "out").read_text()
                try:
                    return (await client.get("/health/ready")).status_code == 200
                except httpx2.TransportError:
                    return False

            await until(ready, deadline_s=30, what="query is ready")
        query.send_signal(number)
        assert query.wait(timeout=20) == 0, (tmp_path / "out").read_text()
    assert b"Traceback" not in (tmp_path / "out").read_bytes()


def test_it_waits_for_nobody(world: World, tmp_path: Path) -> None:
    """Without a database it says so and leaves; whoever started it may try again."""
    away = f"postgresql://postgres@127.0.0.1:{free_port()}/none"
    with process(environment(world, SAYSO_DATABASE_URL=away), tmp_path / "out") as query:
        assert query.wait(timeout=30) == os.EX_TEMPFAIL
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) == 1
    assert "does not answer" in lines[0]


async def test_what_a_ledger_recorded_is_answered_and_proved(database: Database, tmp_path: Path) -> None:
    """Nothing here is made by the tests' own row builder but the access key and the notice."""
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    await deployment.add_access_log()
    world = World(database, deployment.keys)
    shop = Controller(world, deployment.controller, "shop")
    shop.site = (await deployment.fetch("SELECT site FROM sites"))[0]["site"]
    shown = {
        "sha256": await shop.notice(notice_content(), (await deployment.fetch("SELECT now()"))[0][0]),
        "language": "fr",
    }
    events = [consent_event(n, subject="v-eve" if n % 7 == 0 else None, notice=shown) for n in range(300)]
    async with deployment.ledger():
        await deployment.publish(deployment.seal(event) for event in events)
        await deployment.recorded(300)
        async with serving(settings_of(world)) as address, httpx2.AsyncClient(base_url=address) as client:
            dpo = Caller(client, await shop.access_key("dpo"))
            subject = (await dpo.lookup("cookie", "v-eve")).json()["subject"]
            records = (await dpo.ask(f"/v1/subjects/{subject}/history"))["records"]
            said = await dpo.ask(f"/v1/subjects/{subject}/status", purpose="chat-history")
            proof = await dpo.get(f"/v1/events/{events[280]['id']}/proof")
            vkey = (await client.get("/logs/shop/vkey")).text.strip()
    assert [record["event"] for record in records] == [event["id"] for event in events[::7]]
    assert {record["state"] for record in records} == {"published"}
    assert (said["valid"], said["decision"]) == (True, "granted")
    (tmp_path / "proof.json").write_bytes(proof.content)
    steps = verify_file(tmp_path / "proof.json", vkey, origin="log.example/logs/shop")
    assert [step.outcome for step in steps] == ["ok"] * 8, steps
