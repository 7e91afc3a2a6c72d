"""A person is erased: 32 random bytes that stood in the identifier, in every free field and under the person's key are
found nowhere any more, and everything about others still verifies. Three real processes over one real Postgres.
"""

import os
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import orjson
import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from deploy.kafka.node import free_port
from schemas.archive import read_archive
from schemas.bundle import verify_bundle
from schemas.bundle_check import Pins
from schemas.verify import verify_whole
from services.keys import ControllerKeys
from services.keys.file_provider import FileProvider
from services.ledger.fsck.check import check
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.memory_probe import seen_in
from tests.support.postgres_binaries import find_binaries, unprivileged_user
from tests.support.processes import ServiceProcess
from tests.support.spellings import spellings
from tests.support.wait import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

# Of an unknown notice no purpose is checked.
NOTICE = {"sha256": "ab" * 32, "language": "en"}
SERVICES = ("ledger", "ingest", "query")
MODULES = [f"services.{name}" for name in SERVICES]
# How long after the answer something may still be held.
GONE_S = 60


@dataclass
class Stack:
    """Three running services, each with a thread that tells what its live objects hold."""

    deployment: Deployment
    folder: Path
    services: dict[str, ServiceProcess]
    ports: dict[str, int]
    server_key: str = ""
    access_key: str = ""

    async def call(self, service: str, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """One request on a connection of its own, so that none keeps what it brought."""
        key = self.server_key if service == "ingest" else self.access_key
        headers |= {"authorization": f"Bearer {key}"}
        if service == "ingest":
            headers["content-type"] = "application/cloudevents+json"
        content = None if body is None else orjson.dumps(body)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.ports[service]}", timeout=40) as client:
            return await client.request(method, path, content=content, headers=headers)

    async def subject(self, kind: str, value: str) -> UUID:
        found = await self.call("query", "POST", "/v1/subjects/lookup", {"identifier": {"type": kind, "value": value}})
        assert found.status_code == 200, found.text
        return UUID(found.json()["subject"])

    async def ready(self, service: str) -> bool:
        assert self.services[service].alive, self.services[service].said()
        try:
            return (await self.call(service, "GET", "/health/ready")).is_success
        except httpx2.TransportError:
            return False


@asynccontextmanager
async def running(deployment: Deployment) -> AsyncIterator[Stack]:
    """Start everything through the probe; stop it by its own pid."""
    await deployment.create()
    folder = deployment.directory / "probe"
    folder.mkdir()
    ports = {"ingest": free_port(), "query": free_port()}
    environments = {
        "ledger": deployment.ledger_environment(),
        "ingest": deployment.ingest_environment(ports["ingest"]),
        "query": deployment.query_environment(ports["query"]),
    }
    logs = deployment.directory / "log"
    logs.mkdir()
    services = {
        name: ServiceProcess(name, environment, logs / f"{name}.log", through=("tests.support.memory_probe", folder))
        for name, environment in environments.items()
    }
    stack = Stack(deployment, folder, services, ports)
    stack.server_key, stack.access_key = await deployment.add_server_key(), await deployment.add_access_key("privacy")
    async with AsyncExitStack() as ending:
        for service in services.values():
            ending.callback(service.stop)
            service.start()
        for service in services.values():
            # Until the service sets it, its parent's limit stands there.
            await until(partial(core_is_off, service.pid), deadline_s=30, what="core dumps are off")
        for name in ports:
            await until(partial(stack.ready, name), deadline_s=60, what=f"{name} is ready")
        yield stack


def core_is_off(pid: int) -> bool:
    """Whether a process that crashes leaves no picture of its memory."""
    lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
    return [line.split()[4:6] for line in lines if line.startswith("Max core file size")] == [["0", "0"]]


def holding(files: Iterable[Path], needles: list[bytes]) -> list[str]:
    """The files that hold any of the needles."""
    found = []
    for path in files:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # Postgres recycles its files
        found += [f"{path}: needle {n}" for n, needle in enumerate(needles) if needle in content]
    return found


def dump(database: Database) -> bytes:
    """Every row and definition, as pg_dump writes them."""
    program = find_binaries(unprivileged_user()) / "pg_dump"
    return subprocess.run([program, database.dsn()], capture_output=True, check=True, timeout=60).stdout


async def database_files(deployment: Deployment) -> list[Path]:
    """The heap, index and log files that Postgres keeps of this database, dead rows included."""
    ((folder, oid),) = await deployment.fetch(
        "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
    )
    home = Path(folder)
    return [path for below in (home / "base" / str(oid), home / "pg_wal") for path in below.iterdir() if path.is_file()]


async def stored_secrets(deployment: Deployment, subject: UUID) -> tuple[bytes, list[bytes]]:
    """A person's key, and everything stored that it opens or that it is wrapped in."""
    ((wrapped, epoch),) = await deployment.fetch(
        "SELECT wrapped_key, key_epoch FROM subjects WHERE subject = $1", subject
    )
    keys = ControllerKeys(deployment.keys / "controllers", FileProvider(deployment.keys / "root.key"))
    parts = await deployment.fetch("SELECT who, what, context FROM payloads WHERE subject = $1", subject)
    return aes_key_unwrap(keys.wrapping_key("shop", epoch), wrapped), [wrapped, *(p for row in parts for p in row)]


def eves(canary: str) -> dict[str, Any]:
    """A consent with the canary wherever a sender may write freely."""
    event = consent_event(1, notice=NOTICE)
    event["data"] |= {
        "subject": {"identifiers": [{"type": "account", "value": canary}, {"type": "email", "value": f"{canary}@x"}]},
        "context": {"page": f"https://shop.example/{canary}", "user_agent_family": canary},
        "ext": {"basket": canary},
        "jurisdiction": canary,
        "guardian": {"identifier": {"type": "email", "value": f"{canary}@parent"}},
    }
    event["data"]["decisions"][0]["purpose_version"] = canary
    return event


async def gone_from_memory(stack: Stack, needles: list[bytes]) -> None:
    """Wait until no live object of any service holds a needle."""
    seen: dict[str, list[list[str]]] = {}

    async def none() -> bool:
        nonlocal seen
        seen = await seen_in(stack.folder, MODULES, needles)
        return not any(holders for answer in seen.values() for holders in answer)

    try:
        await until(none, deadline_s=GONE_S, poll_s=0.5, what="no live object holds it")
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen}") from None


async def test_nothing_of_an_erased_person_is_left(database: Database, tmp_path: Path) -> None:
    async with running(Deployment(database, tmp_path)) as stack:
        deployment = stack.deployment
        secret = os.urandom(32)
        canary = secret.hex()
        for event in (eves(canary), consent_event(2, subject="v-bob", notice=NOTICE)):
            answer = await stack.call("ingest", "POST", "/v1/events", event, prefer="wait=20")
            assert answer.status_code == 201, answer.text
        eve, bob = await stack.subject("account", canary), await stack.subject("cookie", "v-bob")
        await deployment.recorded(2)
        key, stored = await stored_secrets(deployment, eve)
        before = await proof_of(stack, 2)
        for path in (f"subjects/{eve}/history", f"subjects/{eve}/consents", f"events/{eves(canary)['id']}/proof"):
            assert canary in (await stack.call("query", "GET", f"/v1/{path}")).text or path.endswith("consents")
        # What looks for needles finds what is there: rows, and an object of the process that caches it.
        assert stored[0].hex().encode() in dump(database)
        name = stack.access_key.rpartition("_")[0].encode()
        assert any((await seen_in(stack.folder, ["services.query"], [name]))["services.query"])

        reply_to = {"channel": "email", "address": f"{canary}@x.example"}
        body = {"ground": "17(1)(b)", "reply_to": reply_to}
        erased = await stack.call("query", "POST", f"/v1/subjects/{eve}/erasure", body, prefer="wait=20")
        assert (erased.status_code, erased.json()["state"]) == (201, "erased"), erased.text
        assert erased.json()["asked_at"] < erased.json()["erased_at"]
        answer = erased.json()
        # The looks at her stood in the controller's other log, and are gone with her.
        assert {log["log"]: log["who"] for log in answer["logs"]} == {"shop": 1, "shop-access": 4}

        clear = [*spellings(secret), *spellings(canary.encode()), *spellings(key)]
        await gone_from_memory(stack, [canary.encode(), secret, key])
        rows = dump(database)
        assert [n for n, needle in enumerate(clear) if needle in rows] == []
        assert [n for n, part in enumerate(stored) if part.hex().encode() in rows] == []
        await deployment.fetch("CHECKPOINT")
        assert holding(await database_files(deployment), clear) == []
        kept = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {"ledger.log", "ingest.log", "query.log", "suppression.jsonl"} <= {path.name for path in kept}
        assert holding(kept, [*clear, *(spelled for part in stored for spelled in spellings(part))]) == []
        await deployment.recorded(3)
        public = (await stack.call("query", "GET", "/logs/shop/tile/entries/000.p/3")).content
        assert [n for n, needle in enumerate(clear) if needle in public] == []

        await others_still_verify(stack, bob, before)
        await the_certificate_verifies(stack, answer["erasure"], [*clear, canary.encode()])
        await late_copies_stay_erased(stack, eve, canary)
        await the_docket_closes(stack, answer["docket"]["docket"], clear)
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert not report.findings, report.findings


async def proof_of(stack: Stack, number: int) -> bytes:
    event = consent_event(number)["id"]
    answer = await stack.call("query", "GET", f"/v1/events/{event}/proof")
    assert answer.status_code == 200, answer.text
    return answer.content


async def others_still_verify(stack: Stack, bob: UUID, before: bytes) -> None:
    """A proof from before the erasure and one from after it, offline."""
    vkey = (await stack.call("query", "GET", "/logs/shop/vkey")).text.strip()
    for proof in (before, await proof_of(stack, 2)):
        assert verify_bundle(proof, vkey=vkey).index == 1
    status = await stack.call("query", "GET", f"/v1/subjects/{bob}/status?purpose=chat-history")
    assert status.json()["decision"] == "granted"


async def the_certificate_verifies(stack: Stack, event: str, clear: list[bytes]) -> None:
    """Offline, as the bundle that it is, under the log's key and the key of answers from elsewhere."""
    got = await stack.call("query", "GET", f"/v1/erasures/{event}/certificate", accept="application/zip")
    assert got.status_code == 200, got.text
    vkey = (await stack.call("query", "GET", "/logs/shop/vkey")).text.strip()
    keys = (await stack.call("query", "GET", "/.well-known/jwks.json")).content
    steps = verify_whole(got.content, Pins(vkeys=(vkey,), jwks=keys))
    assert [step.text for step in steps if step.outcome == "failed"] == []
    files = read_archive(got.content)
    assert [name for name, content in files.items() for needle in clear if needle in content] == []
    said = orjson.loads(files["report.json"])["erasure"]
    assert (said["erasure"], said["only_copy"]["state"], said["logs"][0]["who"]) == (event, "open", 1)
    assert files["report.pdf"].startswith(b"%PDF")


async def late_copies_stay_erased(stack: Stack, eve: UUID, canary: str) -> None:
    """The same event again has its place; another from before the erasure leaves its name; the subject stays erased."""
    for number, status in ((1, 201), (3, 202)):
        event = eves(canary) | {"id": consent_event(number)["id"]}
        answer = await stack.call("ingest", "POST", "/v1/events", event, prefer="wait=20")
        assert answer.status_code == status, answer.text
    status = (await stack.call("query", "GET", f"/v1/subjects/{eve}/status?purpose=chat-history")).json()
    assert (status["valid"], status["reasons"]) == (False, ["erased"])
    lookup = {"identifier": {"type": "account", "value": canary}}
    assert (await stack.call("query", "POST", "/v1/subjects/lookup", lookup)).status_code == 404
    again = await stack.call("query", "POST", f"/v1/subjects/{eve}/erasure", {"ground": "17(1)(a)"})
    assert (again.status_code, again.json()["ground"]) == (200, "17(1)(b)")


async def the_docket_closes(stack: Stack, docket: int, clear: list[bytes]) -> None:
    """The last copy, sealed, goes when the controller says that everybody has answered."""
    ((sealed, wrapped),) = await stack.deployment.fetch("SELECT sealed, wrapped_key FROM dockets")
    closed = await stack.call("query", "POST", f"/v1/dockets/{docket}/close", prefer="wait=20")
    assert (closed.status_code, closed.json()["outcome"]) == (200, "answered"), closed.text
    rows = dump(stack.deployment.database)
    assert [
        n for n, needle in enumerate([*clear, sealed.hex().encode(), wrapped.hex().encode()]) if needle in rows
    ] == []
