"""Somebody who used every right is erased, two systems answer, they are told, the docket closes: what is left of them.

Searched is whatever anybody could still read: the rows as pg_dump writes them, every part and docket that a key still
opens, the files beside the database. What may stay is named here (KEPT), by table.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from deploy.kafka.node import free_port
from schemas.payload import open_part, place_of
from schemas.record import format_time
from services.ledger.fsck.check import check
from services.ledger.rebuild import rebuild
from services.ledger.subjects import unwrap
from tests.e2e.test_erasure import dump
from tests.integration.query.conftest import serving
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event, fresh_uuid
from tests.support.downstream import keys_of, public_key, query_settings
from tests.support.many_erasures import post_signed
from tests.support.receiver import Receiver
from tests.support.spellings import spellings
from tests.support.wait import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CANARY = "canary-5b1d0e6f93"
# Where the id of the person, which leads nowhere any more, may stand: what says that they were erased, and the count of
# who asked for how many erasures.
KEPT = {"erasures", "erasure_asks"}
OBJECTED = {"purpose": "statistics", "decision": "objected", "legal_basis": "legitimate_interest"}
GRANTED = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent"}


class Office(NamedTuple):
    """Everything that runs, and its people's keys."""

    deployment: Deployment
    client: httpx2.AsyncClient
    keys: dict[str, str]

    async def ask(self, method: str, path: str, body: Any = None, *, role: str = "privacy", status: int = 200) -> Any:
        headers = {"authorization": f"Bearer {self.keys[role]}", "prefer": "wait=20", "sayso-why": "a test"}
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def post(self, event_type: str, **members: Any) -> None:
        event = consent_event(1, id=fresh_uuid(), time=format_time(datetime.now(UTC)), type=event_type, **members)
        event["data"]["subject"] = {"identifiers": [{"type": "account", "value": CANARY}]}
        if not event_type.startswith("consent."):
            for name in ("decisions", "capture"):
                event["data"].pop(name, None)
        await self.deployment.publish([self.deployment.seal(event)])
        await self.deployment.drained()


@pytest.fixture
async def office(database: Database, tmp_path: Path) -> AsyncIterator[Office]:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    keys = {role: await deployment.add_access_key(role) for role in ("admin", "privacy", "dpo", "site")}
    async with (
        deployment.ledger(),
        serving(query_settings(deployment)) as address,
        httpx2.AsyncClient(base_url=address, timeout=40) as client,
    ):

        async def open_everywhere() -> bool:
            return len(await deployment.fetch("SELECT FROM log_heads WHERE signed_size IS NOT NULL")) >= 2

        await until(open_everywhere, what="the logs are open")
        yield Office(deployment, client, keys)


async def test_nothing_is_left_but_what_is_meant_to_be(office: Office, tmp_path: Path) -> None:
    receiver = Receiver(free_port(), tmp_path)
    receiver.start()
    try:
        secret = await two_systems(office, receiver)
        subject, request = await every_right_is_used(office)
        # What looks finds what is there.
        assert CANARY in await readable(office.deployment)
        assert await tables_with(office.deployment, subject) >= {"subjects", "payloads", "holds", "restrictions"}

        answered: dict[str, Any] = {"ground": "17(1)(b)", "said": f"Done, {CANARY}"}
        answered["reply_to"] = {"channel": "email", "address": f"{CANARY}@x.example"}
        await office.ask("POST", f"/v1/requests/{request}/answer", answered, status=422)
        del answered["said"]
        await office.ask("POST", f"/v1/requests/{request}/answer", answered)
        await both_have_answered(office, secret)
        assert CANARY in await readable(office.deployment), "the docket finds them still"
        await office.ask("POST", f"/v1/requests/{request}/told", {"channel": "email"})

        async def closed() -> bool:
            rows = await office.deployment.fetch("SELECT FROM dockets WHERE closed_at IS NOT NULL AND sealed IS NULL")
            return len(rows) == 1

        await until(closed, what="the docket is closed")
        view = await office.ask("GET", f"/v1/requests/{request}", role="dpo")
        assert (view["state"], CANARY in str(view)) == ("answered", False)
    finally:
        receiver.stop()
    await office.deployment.drained()
    await nothing_is_left(office.deployment, subject)
    await fits(office.deployment)
    # In whatever order: what is rebuilt is not brought back.
    await rebuild(office.deployment.settings(), progress=lambda *_: None)
    await nothing_is_left(office.deployment, subject)
    await fits(office.deployment)


async def two_systems(office: Office, receiver: Receiver) -> str:
    """One answers at once, one later; the secret of the second."""
    secret = ""
    for system in ("good", "later"):
        body: dict[str, Any] = {"kind": "webhook", "tells": ["triggers", "records"]}
        body["url"] = f"{receiver.address}/{system}"
        body["sealed_to"] = public_key()

        async def stated(path: str = f"/v1/downstreams/{system}", body: dict[str, Any] = body) -> bool:
            nonlocal secret
            headers = {"authorization": f"Bearer {office.keys['admin']}"}
            answer = await office.client.put(path, json=body, headers=headers)
            if answer.status_code == 201:
                secret = answer.json()["secret"]
            return answer.status_code == 201

        await until(stated, what="the system is stated")
    return secret


async def every_right_is_used(office: Office) -> tuple[str, str]:
    """Consents, an objection, an account, an age, a hold, a restriction, looks, and a letter with words."""
    context = {"page": f"/{CANARY}", "country": "FR"}
    await office.post("consent.given", decisions=[GRANTED, OBJECTED], context=context, age={"over": True})
    await office.post("account.deleted")
    await office.post("account.restored")
    identifier = {"type": "account", "value": CANARY}
    found = await office.ask("POST", "/v1/subjects/lookup", {"identifier": identifier}, role="dpo")
    subject = str(found["subject"])
    for look in ("history", "consents"):
        await office.ask("GET", f"/v1/subjects/{subject}/{look}", role="dpo")
    soon = datetime.now(UTC) + timedelta(days=20)
    hold = {"subject": subject, "ground": "17(3)(e)", "case_reference": "case-1", "reason": f"sued by {CANARY}"}
    hold |= {"review_on": soon.date().isoformat(), "expires_at": format_time(soon)}
    placed = await office.ask("POST", "/v1/holds", hold, role="dpo", status=201)
    held = await office.ask("POST", f"/v1/subjects/{subject}/erasure", {"ground": "17(1)(b)"})
    assert held["state"] == "held"
    said = {"reason": f"{CANARY} lost in court"}
    asked = await office.ask("POST", f"/v1/holds/{placed['holds'][0]['hold']}/release", said, role="dpo", status=202)
    verdict = {"verdict": "approved", "reason": f"{CANARY} did"}
    done = await office.ask("POST", f"/v1/approvals/{asked['approval']}", verdict)
    assert done["state"] == "done"
    today = datetime.now(UTC).date().isoformat()
    letter = {"channel": "post", "received_on": today, "identifier": identifier, "note": f"From {CANARY}."}
    restricted = await office.ask("POST", "/v1/requests", {"asked_for": "restriction", **letter}, status=201)
    await office.ask("POST", f"/v1/requests/{restricted['request']}/answer", {"restriction": "18(1)(a)"})
    doubt = {"method": "call_back", "doubt": f"Is it {CANARY}?"}
    reply_to = {"channel": "post", "address": f"{CANARY} Street"}
    letter |= {"doubt": doubt, "reply_to": reply_to}
    asked = await office.ask("POST", "/v1/requests", {"asked_for": "erasure", **letter}, status=201)
    await office.ask("POST", f"/v1/requests/{asked['request']}/verified", {"method": "call_back", "outcome": "shown"})
    return subject, str(asked["request"])


async def both_have_answered(office: Office, secret: str) -> None:
    async def sent() -> bool:
        return not await office.deployment.fetch("SELECT FROM triggers WHERE sent_at IS NULL")

    await until(sent, what="both systems have the triggers")
    rows = await office.deployment.fetch("SELECT trigger FROM triggers WHERE answered_at IS NULL")
    assert rows
    for row in rows:
        answer = await post_signed(office.client, secret, str(row["trigger"]), {"outcome": "done"})
        assert answer.status_code == 200, answer.text


async def nothing_is_left(deployment: Deployment, subject: str) -> None:
    rows, files = dump(deployment.database), [path for path in deployment.directory.rglob("*") if path.is_file()]
    for needle in spellings(CANARY.encode()):
        assert needle not in rows
        assert [path.name for path in files if needle in path.read_bytes() and "received" not in path.name] == []
    assert CANARY not in await readable(deployment)
    assert await tables_with(deployment, subject) <= KEPT


async def readable(deployment: Deployment) -> str:
    """Every part and docket that a key still opens."""
    keys, found = keys_of(deployment), []
    rows = await deployment.fetch(
        "SELECT p.*, s.wrapped_key, s.key_epoch, l.origin FROM payloads p"
        " JOIN subjects s USING (controller, subject) JOIN logs l ON l.controller = p.controller AND l.log = p.log"
    )
    for row in rows:
        cipher = AESGCM(unwrap(keys, "shop", row))
        for name in ("who", "what", "context"):
            if row[name] is not None:
                place = place_of(row["origin"], row["index"])
                found.append(open_part(cipher, row["nonce"], name, place, row[name])[1].decode())
    # What an open docket holds was seen by the system that it was sealed to.
    found += [CANARY for _ in await deployment.fetch("SELECT FROM dockets WHERE sealed IS NOT NULL")]
    return "\n".join(found)


async def tables_with(deployment: Deployment, subject: str) -> set[str]:
    """The tables in which the person's id stands, as a value or in bytes that are text."""
    names = await deployment.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = set()
    for (name,) in names:
        texts = [subject, subject.encode().hex()]
        if await deployment.fetch(
            f'SELECT FROM "{name}" t WHERE t::text LIKE ANY ($1::text[]) LIMIT 1', [f"%{text}%" for text in texts]
        ):
            found.add(name)
    return found


async def fits(deployment: Deployment) -> None:
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert not report.findings, report.findings
