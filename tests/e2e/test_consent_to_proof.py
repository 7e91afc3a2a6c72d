"""From a posted consent to a proof that a stranger verifies: ingest, Kafka, ledger, Postgres and query, all real.

Everything goes over public interfaces; the proof is checked with schemas.verify alone.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from deploy.kafka.node import free_port
from deploy.kafka.topics import create_topics, load_topics
from schemas.verify import verify_file
from services.ledger.migrate import migrate
from tests.support.databases import Database, run_sql
from tests.support.deployment import Deployment, consent_event, fresh_uuid
from tests.support.kafka import KillableKafka
from tests.support.postgres import KillablePostgres
from tests.support.processes import ServiceProcess
from tests.support.wait import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ROLES = Path(__file__).resolve().parents[2] / "deploy" / "postgres" / "roles.sql"
NOTICE = {"sha256": "ab" * 32, "language": "en"}


@dataclass
class Stack:
    """Three running services and the servers below them."""

    deployment: Deployment
    ingest: httpx2.AsyncClient
    query: httpx2.AsyncClient
    kafka: KillableKafka
    postgres: KillablePostgres

    async def post(self, event: dict[str, Any], **headers: str) -> httpx2.Response:
        """Post one event with the server key."""
        content = {"content-type": "application/cloudevents+json", **headers}
        return await self.ingest.post("/v1/events", content=orjson.dumps(event), headers=content)


async def answers(client: httpx2.AsyncClient) -> bool:
    """Whether a service says that it is ready."""
    try:
        return (await client.get("/health/ready")).is_success
    except httpx2.TransportError:
        return False


@asynccontextmanager
async def running(kafka: KillableKafka, postgres: KillablePostgres, directory: Path) -> AsyncIterator[Stack]:
    """Start everything; stop it by its own pid."""
    run_sql(postgres.dsn(), ROLES.read_text(encoding="utf-8"), "GRANT ALL ON SCHEMA public TO sayso_owner")
    database = Database(postgres, "postgres")
    await migrate(database.dsn())
    deployment = Deployment(database, directory)
    await deployment.create()
    await create_topics(kafka.bootstrap, load_topics())
    stream = {"SAYSO_STREAM": f"kafka://{kafka.bootstrap}"}
    ingest_port, query_port = free_port(), free_port()
    services = [
        ServiceProcess("ledger", deployment.ledger_environment(**stream), directory / "ledger.log"),
        ServiceProcess("ingest", deployment.ingest_environment(ingest_port, **stream), directory / "ingest.log"),
        ServiceProcess("query", deployment.query_environment(query_port), directory / "query.log"),
    ]
    server_key, access_key = await deployment.add_server_key(), await deployment.add_access_key("dpo")
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx2.AsyncClient(
                    base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {key}"}, timeout=30
                )
            )
            for port, key in ((ingest_port, server_key), (query_port, access_key))
        ]
        for service in services:
            stack.callback(service.stop)
            service.start()
        for client in clients:
            await until(partial(answers, client), deadline_s=60, what="a service is ready")
        yield Stack(deployment, clients[0], clients[1], kafka, postgres)


@pytest.mark.kafka
async def test_a_consent_becomes_a_proof_and_a_withdrawal_ends_it(
    killable_kafka: KillableKafka, killable_postgres: KillablePostgres, tmp_path: Path
) -> None:
    async with running(killable_kafka, killable_postgres, tmp_path) as stack:
        given = consent_event(1, subject="v-1", notice=NOTICE)
        answer = await stack.post(given, prefer="wait=20")
        assert answer.status_code == 201, answer.text
        assert answer.json() | {"log": "", "index": 0} == {
            "id": given["id"],
            "status": "recorded",
            "log": "",
            "index": 0,
        }

        looked_up = await stack.query.post(
            "/v1/subjects/lookup", json={"identifier": {"type": "cookie", "value": "v-1"}}
        )
        subject = looked_up.json()["subject"]
        state = (await stack.query.get(f"/v1/subjects/{subject}/status?purpose=chat-history")).json()
        # An unknown notice hash is accepted and marked, and its grant does not count until somebody matches it.
        assert (state["valid"], state["reasons"]) == (False, ["words_unverified"])

        await _verify_proofs(stack, given["id"], tmp_path)

        withdrawn = consent_event(
            2,
            subject="v-1",
            type="consent.withdrawn",
            decisions=[{"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}],
            notice=NOTICE,
        )
        assert (await stack.post(withdrawn, prefer="wait=20")).status_code == 201
        state = (await stack.query.get(f"/v1/subjects/{subject}/status?purpose=chat-history")).json()
        assert (state["valid"], state["reasons"]) == (False, ["withdrawn"])
        history = (await stack.query.get(f"/v1/subjects/{subject}/history")).json()
        assert [record["index"] for record in history["records"]] == [0, 1]

        conflict = await stack.post(given | {"time": "2026-11-01T09:00:01Z"}, prefer="wait=20")
        assert (conflict.status_code, conflict.json()["type"]) == (409, "/problems/id-conflict")
        again = await stack.post(given, prefer="wait=20")
        assert (again.status_code, again.json()["index"]) == (201, 0)


async def _verify_proofs(stack: Stack, event_id: str, directory: Path) -> None:
    """Fetch both forms, verify them offline under the published key, and see damaged copies refused."""
    vkey = (await stack.query.get("/logs/shop/vkey")).text.strip()

    async def published() -> bool:
        return (await stack.query.get(f"/v1/events/{event_id}/proof")).status_code == 200

    await until(published, deadline_s=20, what="the proof can be fetched")
    for accept, name in (("application/json", "proof.json"), ("application/vnd.c2sp.tlog-proof", "b.tlog-proof")):
        proof = (await stack.query.get(f"/v1/events/{event_id}/proof", headers={"accept": accept})).content
        path = directory / name
        path.write_bytes(proof)
        steps = verify_file(path, vkey)
        # The notice is not one we published, and the verifier says so; everything else is proven.
        assert [(step.name, step.outcome) for step in steps if step.outcome != "ok"] == [("notice", "remark")]
        path.write_bytes(
            proof.replace(b'"granted', b'"denied_') if b'"granted' in proof else proof[:-9] + b"A" + proof[-8:]
        )
        assert verify_file(path, vkey)[-1].outcome == "failed"
    document = json.loads((await stack.query.get(f"/v1/events/{event_id}/proof")).content)
    assert "v-1" in json.dumps(document)


@pytest.mark.kafka
async def test_no_broker_and_no_database_lose_nothing(
    killable_kafka: KillableKafka, killable_postgres: KillablePostgres, tmp_path: Path
) -> None:
    async with running(killable_kafka, killable_postgres, tmp_path) as stack:
        accepted = []

        async def post(number: int) -> httpx2.Response:
            answer = await stack.post(consent_event(number, notice=NOTICE) | {"id": fresh_uuid()})
            if answer.status_code == 202:
                accepted.append(answer.json()["id"])
            return answer

        assert (await post(1)).status_code == 202
        await asyncio.to_thread(stack.kafka.kill9)
        assert (await post(2)).status_code == 202, "without a broker the inbox takes it"
        await asyncio.to_thread(stack.postgres.kill9)
        refused = await post(3)
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/stream-away")
        assert int(refused.headers["retry-after"]) > 0
        await asyncio.to_thread(stack.postgres.restart)
        await asyncio.to_thread(stack.kafka.restart)

        async def takes_events() -> bool:
            return (await post(4)).status_code == 202

        await until(takes_events, deadline_s=60, poll_s=0.2, what="ingest takes events again")
        await stack.deployment.recorded(len(accepted), deadline_s=60)
        recorded = await stack.deployment.fetch("SELECT FROM dedupe")
        # The refused one may have become durable all the same: nobody was told so, and nothing was lost.
        assert len(accepted) <= len(recorded) <= len(accepted) + 1
