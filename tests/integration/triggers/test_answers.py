"""Systems and humans over HTTP: arranging systems, answering triggers, what an erasure and its certificate say."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer

from deploy.kafka.topics import create_topics, load_topics
from schemas.archive import read_archive
from schemas.bundle_check import Pins, verify_archive
from schemas.topics import TRIGGERS_TOPIC
from tests.integration.query.conftest import serving
from tests.support.deployment import Deployment, consent_event
from tests.support.downstream import opened, outcomes, public_key, query_settings
from tests.support.kafka import KafkaServer
from tests.support.many_erasures import post_signed
from tests.support.receiver import Receiver
from tests.support.wait import until

pytestmark = [pytest.mark.integration, pytest.mark.kafka]


class House(NamedTuple):
    """A running ledger and query over one database and one broker."""

    deployment: Deployment
    client: httpx2.AsyncClient
    keys: dict[str, str]
    bootstrap: str

    async def call(self, role: str, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        headers = {"authorization": f"Bearer {self.keys[role]}"}
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def erase(self, value: str, number: int) -> str:
        """Record a consent of somebody and have them erased; the id of the ask."""
        size = await self.deployment.size()
        await self.deployment.publish([self.deployment.seal(consent_event(number, subject=value))])
        await self.deployment.recorded(size + 1)
        subject = await self.deployment.subject_of(value)
        headers = {"authorization": f"Bearer {self.keys['privacy']}", "prefer": "wait=20"}
        path = f"/v1/subjects/{subject}/erasure"
        answer = await self.client.post(path, json={"ground": "17(1)(b)"}, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["erasure"])


@pytest.fixture
async def house(deployment: Deployment, kafka_server: KafkaServer, topic: str) -> AsyncIterator[House]:
    await create_topics(kafka_server.bootstrap, load_topics())
    stream = f"kafka://{kafka_server.bootstrap}"
    settings = query_settings(deployment, stream=stream, events_topic=topic)
    async with (
        deployment.ledger(stream=stream, events_topic=topic),
        serving(settings) as address,
        httpx2.AsyncClient(base_url=address, timeout=30) as client,
    ):
        keys = {role: await deployment.add_access_key(role) for role in ("admin", "privacy", "dpo", "site")}
        yield House(deployment, client, keys, kafka_server.bootstrap)


def webhook(receiver: Receiver, name: str) -> dict[str, Any]:
    url = f"{receiver.address}/{name}"
    return {"kind": "webhook", "tells": ["triggers"], "url": url, "sealed_to": public_key()}


async def test_a_person_is_erased_everywhere_and_the_certificate_says_who_did_what(
    house: House, receiver: Receiver, tmp_path: Path
) -> None:
    """A webhook that answers at once, one that answers later, a topic, and a human."""
    made = await house.call("admin", "PUT", "/v1/downstreams/shop-db", webhook(receiver, "good"), 201)
    assert made["secret"].startswith("whsec_")
    assert "secret" not in await house.call("admin", "PUT", "/v1/downstreams/shop-db", webhook(receiver, "good"))
    mail = await house.call("admin", "PUT", "/v1/downstreams/mailer", webhook(receiver, "later"), 201)
    lake = {"kind": "kafka", "tells": ["triggers"], "sealed_to": public_key()}
    lake = await house.call("admin", "PUT", "/v1/downstreams/lake", lake, 201)
    human = {"kind": "task", "tells": ["triggers"], "instructions": "Look in the paper archive."}
    assert "secret" not in await house.call("admin", "PUT", "/v1/downstreams/archive", human, 201)
    consumer = AIOKafkaConsumer(TRIGGERS_TOPIC, bootstrap_servers=house.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        erasure = await house.erase("v-everywhere", 1)
        triggers = {row["system"]: row["trigger"] for row in await house.deployment.fetch("SELECT * FROM triggers")}
        async with asyncio.timeout(30):
            # The broker is shared with other tests.
            while (record := await consumer.getone()) and json.loads(record.value)["trigger"] != str(triggers["lake"]):
                pass
    finally:
        await consumer.stop()
    headers = {name: value.decode() for name, value in record.headers}
    assert (headers["ce_type"], headers["ce_id"], record.key) == ("trigger.erase", str(triggers["lake"]), b"lake")
    known = [{"type": "cookie", "value": "v-everywhere"}]
    assert opened(json.loads(record.value)["sealed"])["identifiers"] == known

    async def sent() -> bool:
        rows = await house.deployment.fetch("SELECT FROM triggers WHERE sent_at IS NULL")
        return not rows

    await until(sent, what="everybody was told")
    said = await house.call("privacy", "GET", f"/v1/erasures/{erasure}")
    assert {one["system"]: one["state"] for one in said["told"]} == {
        "shop-db": "answered",
        "mailer": "sent",
        "lake": "sent",
        "archive": "sent",
    }
    assert (said["all_answered"], said["docket"]["state"]) == (False, "open")
    (task,) = (await house.call("privacy", "GET", "/v1/tasks"))["tasks"]
    assert (task["instructions"], "identifiers" in task) == ("Look in the paper archive.", False)
    assert (await house.call("privacy", "GET", f"/v1/tasks/{task['trigger']}"))["identifiers"] == known
    await house.call("privacy", "GET", f"/v1/tasks/{triggers['lake']}", status=404)
    await post_ok(house, mail["secret"], triggers["mailer"], {"outcome": "done"})
    refusal = {"outcome": "refused", "reason": "a law says to keep it"}
    await post_ok(house, lake["secret"], triggers["lake"], refusal)
    answered = await house.call("privacy", "POST", f"/v1/tasks/{task['trigger']}/answer", {"outcome": "done"})
    assert answered["state"] == "answered"
    assert "identifiers" not in await house.call("privacy", "GET", f"/v1/tasks/{task['trigger']}")

    async def closed() -> bool:
        return bool((await house.call("privacy", "GET", f"/v1/erasures/{erasure}"))["docket"]["state"] == "closed")

    await until(closed, what="the docket closes by itself")
    await the_certificate_names_them(house, erasure, tmp_path)


async def post_ok(house: House, secret: str, trigger: Any, answer: dict[str, Any]) -> None:
    """The first answer counts, the same again does no harm, another is a conflict."""
    assert (await post_signed(house.client, secret, str(trigger), answer)).status_code == 200
    assert (await post_signed(house.client, secret, str(trigger), answer)).status_code == 200
    other = {"outcome": "not_feasible", "reason": "changed my mind"}
    refused = await post_signed(house.client, secret, str(trigger), other)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/trigger-answered")


async def the_certificate_names_them(house: House, erasure: str, folder: Path) -> None:
    headers = {"authorization": f"Bearer {house.keys['privacy']}", "accept": "application/zip"}

    async def certified() -> bool:
        answer = await house.client.get(f"/v1/erasures/{erasure}/certificate", headers=headers)
        if answer.status_code != 200:
            return False
        (folder / "certificate.zip").write_bytes(answer.content)
        return True

    await until(certified, what="the erasure is published")
    bundle = (folder / "certificate.zip").read_bytes()
    verify_archive(bundle, Pins())
    claims = json.loads(read_archive(bundle)["report.json"])["erasure"]
    assert {one["system"]: one["outcome"] for one in claims["told"]} == {
        "shop-db": "done",
        "mailer": "done",
        "lake": "refused",
        "archive": "done",
    }
    assert (claims["all_answered"], claims["only_copy"], claims["docket"]["outcome"]) == (True, None, "answered")
    assert "v-everywhere" not in json.dumps(claims)


async def test_only_a_well_signed_and_well_formed_answer_of_its_own_system_counts(
    house: House, receiver: Receiver
) -> None:
    mine = await house.call("admin", "PUT", "/v1/downstreams/mine", webhook(receiver, "later"), 201)
    other = await house.call("admin", "PUT", "/v1/downstreams/other", webhook(receiver, "later"), 201)
    await house.erase("v-1", 1)
    rows = await house.deployment.fetch("SELECT trigger FROM triggers WHERE system = 'mine'")
    trigger, done = str(rows[0]["trigger"]), {"outcome": "done"}
    unsigned = await house.client.post(f"/v1/triggers/{trigger}/answer", json=done)
    strange = await post_signed(house.client, other["secret"], trigger, done)
    nowhere = await post_signed(house.client, mine["secret"], str(uuid4()), done)
    # One that was made for another trigger of the same system.
    moved = await post_signed(house.client, mine["secret"], str(uuid4()), done, path=f"/v1/triggers/{trigger}/answer")
    for refused in (unsigned, strange, nowhere, moved):
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/wrong-key")
    none: tuple[Any, ...] = ({"outcome": "perhaps"}, {"outcome": "refused"}, {"outcome": "done", "more": 1}, [], {})
    for wrong in none:
        assert (await post_signed(house.client, mine["secret"], trigger, wrong)).status_code == 422
    # A new secret: the old one signs nothing any more.
    fresh = await house.call("admin", "POST", "/v1/downstreams/mine/secret", status=201)
    assert (await post_signed(house.client, mine["secret"], trigger, done)).status_code == 401
    assert await outcomes(house.deployment) == {("mine", None): 1, ("other", None): 1}
    assert (await post_signed(house.client, fresh["secret"], trigger, done)).status_code == 200
    assert (await outcomes(house.deployment))[("mine", "done")] == 1
    # What a removed system owes, a human may answer for it.
    await house.call("admin", "DELETE", "/v1/downstreams/other", status=204)
    await house.call("admin", "GET", "/v1/downstreams/other", status=404)
    (waiting,) = (await house.call("dpo", "GET", "/v1/triggers?state=open"))["triggers"]
    # Its own word counts no more: perhaps its secret was stolen.
    assert (await post_signed(house.client, other["secret"], waiting["trigger"], done)).status_code == 401
    await house.call("privacy", "POST", f"/v1/tasks/{waiting['trigger']}/answer", {"outcome": "done"})
    assert (await outcomes(house.deployment))[("other", "done")] == 1
