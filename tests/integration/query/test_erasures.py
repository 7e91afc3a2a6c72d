"""Asking for an erasure and answering about it, over rows as the ledger leaves them; the ledger's own part is e2e's."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import jwt
import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from schemas.archive import read_archive
from schemas.bundle import verify_bundle
from schemas.sealing import SealedBody
from services.keys import event_mac
from services.query.asking import is_ours, new_event_id
from tests.integration.query.conftest import Caller, serving, settings_of
from tests.support.deployment import BASE_TIME, consent_event
from tests.support.erased_rows import keep_minimal_proof, leave_erasure
from tests.support.kafka import KafkaServer
from tests.support.rows import Controller, Person, World
from tests.support.wait import until

pytestmark = pytest.mark.integration

GROUND = {"ground": "17(1)(b)"}


async def post(caller: Caller, path: str, body: Any = None, **headers: str) -> httpx2.Response:
    headers["authorization"] = f"Bearer {caller.key}"
    return await caller.client.post(path, json=body, headers=headers)


@pytest.fixture
async def eve(shop: Controller) -> Person:
    """Somebody with one published consent."""
    person = await shop.person("email", "eve@example.com")
    await shop.record(person, consent_event(1), BASE_TIME)
    await shop.publish()
    return person


async def waiting_messages(world: World) -> list[tuple[dict[str, Any], SealedBody, Any]]:
    """What lies in the inbox, opened as the ledger opens it: (what, body, row); but for who looked at what."""
    return [message for message in await world.messages() if not message[0]["type"].startswith("access.")]


# --- asking ---


async def test_an_ask_is_a_sealed_event_of_the_subjects_log(
    world: World, shop: Controller, privacy: Caller, eve: Person
) -> None:
    reply_to = {"channel": "email", "address": "eve@example.com"}
    answer = await post(privacy, f"/v1/subjects/{eve.subject}/erasure", {**GROUND, "reply_to": reply_to})
    assert answer.status_code == 202, answer.text
    said = answer.json()
    assert said["state"] == "accepted"
    assert answer.headers["location"] == f"/v1/erasures/{said['erasure']}"
    ((what, body, row),) = await waiting_messages(world)
    assert (str(row["event_id"]), row["log"], row["site"]) == (said["erasure"], "shop", "shop.example")
    assert (body.parts.who, orjson.loads(body.parts.context)) == (b"{}", {"reply_to": reply_to})
    assert what == {
        "v": 1,
        "id": said["erasure"],
        "site": "shop.example",
        "type": "subject.erased",
        "time": what["received_at"],
        "received_at": what["received_at"],
        "posted_by": "server",
        "words": "unverified",
        "erasure": {"subject": str(eve.subject), "ground": "17(1)(b)"},
    }
    # On its way, and said to be so by any process that holds the key of event ids.
    assert await privacy.ask(f"/v1/erasures/{said['erasure']}") == {"erasure": said["erasure"], "state": "accepted"}


async def test_a_wait_that_nobody_ends_is_still_accepted(privacy: Caller, eve: Person) -> None:
    answer = await post(privacy, f"/v1/subjects/{eve.subject}/erasure", GROUND, prefer="wait=1")
    assert (answer.status_code, answer.json()["state"]) == (202, "accepted")
    assert answer.headers["preference-applied"] == "wait=1"


async def test_a_waiting_caller_is_told_what_was_erased(
    world: World, shop: Controller, privacy: Caller, eve: Person
) -> None:
    """The rows of an erasure and the end of its message appear together, as in the ledger's transaction."""

    async def ledger() -> None:
        async def asked() -> bool:
            return bool(await waiting_messages(world))

        await until(asked, what="the ask is in the inbox")
        ((what, _, _),) = await waiting_messages(world)
        await leave_erasure(shop, eve, BASE_TIME, event=what["id"])
        await world.execute("DELETE FROM inbox")

    answer, _ = await asyncio.gather(
        post(privacy, f"/v1/subjects/{eve.subject}/erasure", GROUND, prefer="wait=20"), ledger()
    )
    assert (answer.status_code, answer.json()["state"], answer.json()["number"]) == (201, "erased", 1)


@pytest.mark.kafka
async def test_with_kafka_an_ask_goes_to_the_topic_and_says_nothing_there(
    world: World, shop: Controller, eve: Person, kafka_server: KafkaServer, topic: str
) -> None:
    settings = settings_of(world, stream=f"kafka://{kafka_server.bootstrap}", events_topic=topic)
    async with serving(settings) as address, httpx2.AsyncClient(base_url=address) as client:
        privacy = Caller(client, await shop.access_key("privacy"))
        answer = await post(privacy, f"/v1/subjects/{eve.subject}/erasure", GROUND)
    assert answer.status_code == 202
    assert await world.execute("SELECT count(*) FROM inbox") == 0
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka_server.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        message = await asyncio.wait_for(consumer.getone(), 20)
    finally:
        await consumer.stop()
    said = b"".join([message.key, message.value, *(value for _, value in message.headers)])
    assert answer.json()["erasure"].encode() in said, "the id of the ask is no secret"
    for secret in (str(eve.subject).encode(), eve.subject.bytes, b"17(1)", b"subject.erased"):
        assert secret not in said


async def test_without_a_registration_nothing_is_accepted(world: World, privacy: Caller, eve: Person) -> None:
    await world.execute("UPDATE publishers SET revoked_at = now()")
    answer = await post(privacy, f"/v1/subjects/{eve.subject}/erasure", GROUND)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/stream-away")
    assert await world.execute("SELECT count(*) FROM inbox") == 0
    ready = (await privacy.client.get("/health/ready")).json()
    assert ready["status"] == "ready"
    assert "not registered" in ready["dependencies"]["registration"]


@pytest.mark.parametrize("body", [{}, {"ground": "17(3)(b)"}, {**GROUND, "subject": "x"}, {**GROUND, "reply_to": {}}])
async def test_an_ask_states_its_ground(privacy: Caller, eve: Person, body: dict[str, Any]) -> None:
    assert (await post(privacy, f"/v1/subjects/{eve.subject}/erasure", body)).status_code == 422


async def test_nobody_else_can_be_erased(world: World, shop: Controller, privacy: Caller) -> None:
    other = await world.controller("other")
    theirs = await other.person("cookie", "v-1")
    for subject in (theirs.subject, (await shop.stand_in()).subject, uuid4()):
        assert (await post(privacy, f"/v1/subjects/{subject}/erasure", GROUND)).status_code == 404
    assert await world.execute("SELECT count(*) FROM inbox") == 0


async def test_where_sites_moved_to_a_successor_the_ask_goes_there(
    world: World, shop: Controller, privacy: Caller, eve: Person
) -> None:
    successor = await world.execute(
        "INSERT INTO logs (controller, name, origin) VALUES ($1, 'shop-2', 'log.example/logs/shop-2') RETURNING log",
        shop.controller,
    )
    await world.execute("UPDATE sites SET log = $1", successor)
    await world.execute("UPDATE logs SET closed_at = now() WHERE log = $1", shop.log)
    assert (await post(privacy, f"/v1/subjects/{eve.subject}/erasure", GROUND)).status_code == 202
    ((_, _, row),) = await waiting_messages(world)
    assert row["log"] == "shop-2"


def test_ids_of_asks_are_known_by_their_check() -> None:
    key = os.urandom(32)
    ours = new_event_id(key, "shop")
    assert ours.version == 8
    assert ours.variant == "specified in RFC 4122"
    assert is_ours(key, "shop", ours)
    assert not is_ours(key, "other", ours)
    assert not is_ours(os.urandom(32), "shop", ours)
    assert not is_ours(key, "shop", uuid4())
    for bit in range(128):
        assert not is_ours(key, "shop", UUID(int=ours.int ^ 1 << bit)), bit
    assert len({new_event_id(key, "shop") for _ in range(100)}) == 100


# --- answering ---


async def test_an_erased_subject_is_said_to_be_erased(
    shop: Controller, privacy: Caller, eve: Person, with_role: Any, world: World
) -> None:
    await leave_erasure(shop, eve, BASE_TIME)
    path = f"/v1/subjects/{eve.subject}"
    erased_at = "2026-11-01T09:00:00.000000Z"
    status = await privacy.ask(f"{path}/status", purpose="chat-history", at="2026-11-01T09:00:01Z")
    assert (status["valid"], status["reasons"], status["erased_at"]) == (False, ["erased"], erased_at)
    consents = await privacy.ask(f"{path}/consents")
    assert (consents["decisions"], consents["erased_at"]) == ([], erased_at)
    history = await privacy.ask(f"{path}/history")
    assert history == {"subject": str(eve.subject), "records": [], "next": None, "erased_at": erased_at}
    other = await with_role(await world.controller("other"), "privacy")
    for page, asked in (("status", {"purpose": "chat-history"}), ("consents", {}), ("history", {})):
        assert (await other.get(f"{path}/{page}", **asked)).status_code == 404


async def test_an_erasure_says_what_is_gone_and_what_is_left(shop: Controller, privacy: Caller, eve: Person) -> None:
    kept = await shop.record(eve, consent_event(2), BASE_TIME)
    event = await leave_erasure(shop, eve, BASE_TIME)
    until_then = datetime(2030, 1, 1, tzinfo=UTC)
    await keep_minimal_proof(shop, ("email", "eve@example.com"), [kept], until_then)
    said = await privacy.ask(f"/v1/erasures/{event}")
    assert said.pop("applied_at")
    assert said == {
        "erasure": event,
        "state": "erased",
        "number": 1,
        "subject": str(eve.subject),
        "ground": "17(1)(b)",
        "asked_at": "2026-11-01T08:59:53.000000Z",
        "erased_at": "2026-11-01T09:00:00.000000Z",
        "logs": [
            {
                "log": "shop",
                "origin": "log.example/logs/shop",
                "who": 2,
                "what": 2,
                "context": 2,
                "declared": {"log": "shop", "origin": "log.example/logs/shop", "index": 2},
            }
        ],
        "docket": {
            "docket": 1,
            "state": "open",
            "opened_at": "2026-11-01T09:00:00.000000Z",
            "limit_at": "2026-12-01T09:00:00.000000Z",
        },
        "minimal_proofs": [{"ground": "17(3)(b)", "until": "2030-01-01T00:00:00.000000Z", "proofs": 1}],
    }


async def test_asking_again_is_answered_with_the_erasure_that_stands(
    world: World, shop: Controller, privacy: Caller, eve: Person
) -> None:
    event = await leave_erasure(shop, eve, BASE_TIME, declared=False)
    again = await post(privacy, f"/v1/subjects/{eve.subject}/erasure", GROUND)
    assert (again.status_code, again.json()["state"], again.json()["number"]) == (200, "erased", 1)
    assert again.json()["logs"][0]["declared"] is None
    assert again.json() == await privacy.ask(f"/v1/erasures/{event}")
    assert await world.execute("SELECT count(*) FROM inbox") == 0


async def test_an_ask_that_led_to_nothing_says_so(world: World, shop: Controller, privacy: Caller, eve: Person) -> None:
    passed, refused = (new_event_id(world.event_id_key, "shop") for _ in range(2))
    await world.execute(
        "INSERT INTO dedupe (controller, event, log) VALUES ($1, $2, $3)",
        shop.controller,
        event_mac(world.event_id_key, "shop", str(passed)),
        shop.log,
    )
    await world.execute(
        "INSERT INTO dead_letters (controller, reason, transport, partition, seq, event, value)"
        " VALUES ($1, 'publisher-unknown', 'inbox', 1, 1, $2, '')",
        shop.controller,
        event_mac(world.event_id_key, "shop", str(refused)),
    )
    assert (await privacy.ask(f"/v1/erasures/{passed}"))["state"] == "nothing"
    said = await privacy.ask(f"/v1/erasures/{refused}")
    assert (said["state"], said["reason"]) == ("set_aside", "publisher-unknown")
    # The id of a consent is not the id of an ask.
    assert (await privacy.get(f"/v1/erasures/{consent_event(1)['id']}")).status_code == 404


# --- the docket ---


async def test_a_docket_is_closed_by_an_event_that_names_it(
    world: World, shop: Controller, privacy: Caller, eve: Person
) -> None:
    assert (await post(privacy, "/v1/dockets/1/close")).status_code == 404
    await leave_erasure(shop, eve, BASE_TIME)
    answer = await post(privacy, "/v1/dockets/1/close")
    assert (answer.status_code, answer.json()["state"]) == (202, "open")
    ((what, body, row),) = await waiting_messages(world)
    assert (what["type"], what["request"], row["log"]) == ("request.answered", {"docket": 1}, "shop")
    assert (body.parts.who, body.parts.context) == (b"{}", b"{}")
    await world.execute(
        "UPDATE dockets SET sealed = NULL, wrapped_key = NULL, key_epoch = NULL, closed_at = now(), outcome = 'limit'"
    )
    closed = await post(privacy, "/v1/dockets/1/close")
    assert (closed.status_code, closed.json()["state"], closed.json()["outcome"]) == (200, "closed", "limit")
    assert len(await waiting_messages(world)) == 1, "a closed docket is not closed again"


# --- the certificate ---


async def test_a_certificate_says_what_is_gone_and_is_signed(
    world: World, shop: Controller, privacy: Caller, eve: Person
) -> None:
    event = await leave_erasure(shop, eve, BASE_TIME, docket=None)
    await shop.publish()
    made = await privacy.get(f"/v1/erasures/{event}/certificate")
    assert made.status_code == 200, made.text
    keys = (await privacy.get("/.well-known/jwks.json")).json()["keys"]
    signed = read_archive(made.content)["certificate.jws"].decode()
    claims = jwt.decode(signed, jwt.PyJWK(keys[0]), algorithms=["EdDSA"])
    assert claims.pop("issued_at") >= claims.pop("applied_at")
    assert claims == {
        "format": "sayso-erasure/v1",
        "controller": {"name": "shop", "legal_name": "shop", "contact": "dpo@example"},
        "erasure": event,
        "number": 1,
        "subject": str(eve.subject),
        "ground": "17(1)(b)",
        "asked_at": "2026-11-01T08:59:53.000000Z",
        "erased_at": "2026-11-01T09:00:00.000000Z",
        "deleted": ["identifiers", "key", "payloads", "state", "dead letters"],
        "logs": (await privacy.ask(f"/v1/erasures/{event}"))["logs"],
        "only_copy": None,
        "docket": {
            "docket": 1,
            "state": "closed",
            "outcome": "answered",
            "opened_at": "2026-11-01T09:00:00.000000Z",
            "limit_at": "2026-12-01T09:00:00.000000Z",
            "closed_at": "2026-11-01T09:00:00.000000Z",
        },
        "minimal_proofs": [],
    }


async def test_only_a_declared_erasure_has_a_certificate(
    world: World, shop: Controller, privacy: Caller, eve: Person
) -> None:
    undeclared = await leave_erasure(shop, eve, BASE_TIME, declared=False)
    accepted = new_event_id(world.event_id_key, "shop")
    for event, status in ((undeclared, 503), (accepted, 503), (uuid4(), 404), (consent_event(1)["id"], 404)):
        assert (await privacy.get(f"/v1/erasures/{event}/certificate")).status_code == status, event


# --- minimal proofs ---


@pytest.fixture
async def kept(shop: Controller, eve: Person) -> int:
    """The place of a consent whose decision outlives the person's erasure."""
    record = await shop.record(eve, consent_event(2), BASE_TIME)
    await leave_erasure(shop, eve, BASE_TIME)
    await keep_minimal_proof(shop, ("email", "eve@example.com"), [record], datetime.now(UTC) + timedelta(days=1))
    await shop.publish()
    return record.index


def searching(value: str) -> dict[str, Any]:
    return {"identifier": {"type": "email", "value": value}}


async def test_two_people_release_a_minimal_proof(shop: Controller, privacy: Caller, kept: int, with_role: Any) -> None:
    second, third = await with_role(shop, "dpo"), await with_role(shop, "dpo")
    path = f"/v1/minimal-proofs/shop/{kept}/release"
    assert (await post(privacy, path, {})).json()["pointer"] == "/reason"
    first = await post(privacy, path, {"reason": "claim 17"})
    assert (first.status_code, first.json()) == (202, {"state": "asked"})
    alone = await post(privacy, path, {"reason": "claim 17"})
    assert (alone.status_code, alone.json()["type"]) == (409, "/problems/second-person-needed")

    (found,) = (await post(second, "/v1/minimal-proofs/search", searching(" EVE@example.com"))).json()["minimal_proofs"]
    name = privacy.key.rpartition("_")[0]
    assert (found["state"], found["asked_by"], found["reason"]) == ("asked", name, "claim 17")
    released = await post(second, path, {})
    assert released.status_code == 200, released.text
    bundle = verify_bundle(released.content, vkey=shop.vkey, origin=shop.origin)
    assert set(bundle.disclosed) == {"what"}
    assert (set(bundle.digests), b"eve@example.com" in released.content) == ({"who", "context"}, False)

    assert (await post(privacy, path, {})).content == released.content, "both of the two see it"
    assert (await post(third, path, {"reason": "curiosity"})).status_code == 409
    (found,) = (await post(third, "/v1/minimal-proofs/search", searching("eve@example.com"))).json()["minimal_proofs"]
    assert (found["state"], found["released_by"]) == ("released", second.key.rpartition("_")[0])


async def test_two_keys_at_once_are_one_after_the_other(
    shop: Controller, privacy: Caller, kept: int, with_role: Any
) -> None:
    second = await with_role(shop, "privacy")
    path = f"/v1/minimal-proofs/shop/{kept}/release"
    answers = await asyncio.gather(*(post(one, path, {"reason": "claim 17"}) for one in (privacy, second)))
    assert sorted(answer.status_code for answer in answers) == [200, 202]


async def test_what_has_ended_or_is_not_kept_is_not_found(
    world: World, shop: Controller, privacy: Caller, kept: int
) -> None:
    for path in ("shop/0", f"other/{kept}", "shop/9007199254740991"):
        assert (await post(privacy, f"/v1/minimal-proofs/{path}/release", {"reason": "x"})).status_code == 404
    assert (await post(privacy, "/v1/minimal-proofs/search", searching("bob@example.com"))).status_code == 404
    await world.execute("UPDATE minimal_proofs SET keep_until = now()")
    assert (await post(privacy, f"/v1/minimal-proofs/shop/{kept}/release", {"reason": "x"})).status_code == 404
    assert (await post(privacy, "/v1/minimal-proofs/search", searching("eve@example.com"))).status_code == 404
