"""Signed answers over HTTP, on a real Postgres: what they claim, what they rest on, and that they verify offline."""

import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.answers import ANSWER_TYPE, verify_answer
from schemas.canonical import canonical_json
from schemas.errors import ProofError
from schemas.receipts_verify import read_jwks
from schemas.record import format_time
from schemas.sealing import key_id
from schemas.steps import Step
from services.keys import signing_key
from tests.integration.query.conftest import Caller
from tests.integration.query.test_decisions import DENIAL, day, event
from tests.support.erased_rows import leave_erasure
from tests.support.linking import leave_link, link_event
from tests.support.rows import Controller, Person, World, notice_content

pytestmark = pytest.mark.integration

PURPOSE = "chat-history"


async def signed(caller: Caller, subject: UUID, **asked: str) -> httpx2.Response:
    return await caller.client.get(
        f"/v1/subjects/{subject}/status",
        params={"purpose": PURPOSE, **asked},
        headers={"authorization": f"Bearer {caller.key}", "accept": "application/jose"},
    )


async def keys_of(caller: Caller) -> dict[str, bytes]:
    return read_jwks((await caller.client.get("/.well-known/jwks.json")).content)


async def claims_of(caller: Caller, shop: Controller, subject: UUID, **asked: str) -> dict[str, Any]:
    """The claims of an answer that must verify."""
    response = await signed(caller, subject, **asked)
    assert response.status_code == 200, response.text
    assert (response.headers["content-type"], response.headers["vary"]) == ("application/jose", "accept")
    return verify_answer(response.text, await keys_of(caller), vkey=shop.vkey, origin=shop.origin)


@pytest.fixture
async def person(shop: Controller) -> Person:
    """Agreed on day 0 to a published notice, in the middle of a published log."""
    notice = await shop.notice(notice_content(), day(-10))
    await shop.fill(300)
    person = await shop.person()
    await shop.record(person, event(1, day(0), notice={"sha256": notice, "language": "fr"}), day(0), notice=notice)
    await shop.fill(2)
    await shop.publish()
    return person


async def test_a_consent_that_stands(dpo: Caller, shop: Controller, person: Person) -> None:
    claims = await claims_of(dpo, shop, person.subject)
    said = await dpo.ask(f"/v1/subjects/{person.subject}/status", purpose=PURPOSE)
    moments = ("at", "known_at")
    assert {k: v for k, v in claims["answer"].items() if k not in moments} == {
        k: v for k, v in said.items() if k not in moments
    }
    assert claims["answer"]["valid"] is True
    assert claims["answer"]["notice"]["notice_id"] == "chat"
    assert (claims["rests_on"]["origin"], claims["rests_on"]["index"]) == (shop.origin, 300)
    (log,) = claims["logs"]
    assert (log["origin"], log["size"], log["vkey"]) == (shop.origin, 303, shop.vkey)
    assert claims["controller"] == {"name": "shop", "legal_name": "shop", "contact": "dpo@example"}


async def test_that_there_is_no_consent(dpo: Caller, shop: Controller, person: Person) -> None:
    """Never asked; not yet at a moment; withdrawn since; erased: each as of the same checkpoint."""
    claims = await claims_of(dpo, shop, person.subject, purpose="scoring")
    assert (claims["answer"]["valid"], claims["answer"]["reasons"]) == (False, ["never_asked"])
    assert "rests_on" not in claims
    claims = await claims_of(dpo, shop, person.subject, at=format_time(day(-1)))
    assert claims["answer"]["reasons"] == ["never_asked"]
    await shop.record(person, event(2, day(1), DENIAL, type="consent.withdrawn"), day(1))
    await shop.publish()
    claims = await claims_of(dpo, shop, person.subject)
    assert (claims["answer"]["reasons"], claims["rests_on"]["index"]) == (["withdrawn"], 303)
    await leave_erasure(shop, person, day(2))
    await shop.publish()
    claims = await claims_of(dpo, shop, person.subject)
    assert (claims["answer"]["reasons"], "rests_on" in claims) == (["erased"], False)


async def test_a_checkpoint_must_cover_all_of_the_person(dpo: Caller, shop: Controller, person: Person) -> None:
    """Also what changes nothing, and what a linked device said."""
    device = await shop.person()
    linked = link_event(7, "tablet", "ann", time=format_time(day(1)))
    await leave_link(shop, device, person, linked, day(1))
    assert (await signed(dpo, person.subject)).status_code == 503
    await shop.publish()
    assert (await claims_of(dpo, shop, person.subject))["answer"]["valid"] is True
    of_another_purpose = DENIAL | {"purpose": "scoring"}
    await shop.record(device, event(3, day(2), of_another_purpose, type="consent.refused"), day(2))
    response = await signed(dpo, person.subject)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["type"] == "/problems/not-published-yet"


async def test_every_log_is_named(dpo: Caller, shop: Controller, person: Person) -> None:
    """What was not found was looked for in all that could hold it: not in the access log."""
    kinds = await shop.world.execute("SELECT array_agg(kind ORDER BY kind) FROM logs")
    assert kinds == ["access", "consent"]
    origins = [log["origin"] for log in (await claims_of(dpo, shop, person.subject, purpose="scoring"))["logs"]]
    assert origins == [shop.origin]


async def test_who_gets_one(
    with_role: Callable[[Controller, str], Any], shop: Controller, world: World, person: Person
) -> None:
    assert (await signed(await with_role(shop, "site"), person.subject)).status_code == 200
    assert (await signed(await with_role(shop, "admin"), person.subject)).status_code == 403
    rival = await world.controller("rival")
    assert (await signed(await with_role(rival, "dpo"), person.subject)).status_code == 404
    assert (await signed(await with_role(shop, "dpo"), uuid4())).status_code == 404


async def test_the_command_verifies_it(dpo: Caller, shop: Controller, person: Person, tmp_path: Path) -> None:
    answer, keys = tmp_path / "answer.jws", tmp_path / "jwks.json"
    answer.write_text((await signed(dpo, person.subject)).text, encoding="ascii")
    keys.write_bytes((await dpo.client.get("/.well-known/jwks.json")).content)
    command = [sys.executable, "-m", "schemas.verify", str(answer), "--jwks", str(keys), "--vkey", shop.vkey]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a valid consent for chat-history" in done.stdout
    assert done.stdout.endswith("Verified.\n")
    answer.write_text(answer.read_text(encoding="ascii")[:-8] + "AAAAAAAA", encoding="ascii")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change to one member of the claims."""
    *steps, last = path.split(".")

    def change(claims: dict[str, Any]) -> None:
        node: Any = claims
        for step in steps:
            node = node[int(step) if step.isdecimal() else step]
        if value is _GONE:
            del node[last]
        else:
            node[last] = value(node[last]) if callable(value) else value

    return change


_GONE = object()


CHANGES: list[tuple[str, Any, str]] = [
    ("format", "sayso-answer/v2", "answer"),
    ("more", 1, "answer"),
    ("logs", 1, "answer"),
    ("logs", [1], "answer"),
    ("answer", [], "answer"),
    ("answer.valid", False, "answer"),
    ("answer.decision", "denied", "answer"),
    ("answer.at", _GONE, "answer"),
    ("rests_on", _GONE, "answer"),
    ("logs", [], "checkpoints"),
    ("logs", lambda logs: logs * 2, "checkpoints"),
    ("logs.0.size", 302, "checkpoints"),
    ("logs.0.root", "A" * 43 + "=", "checkpoints"),
    ("logs.0.origin", "log.example/logs/rival", "checkpoints"),
    ("logs.0.checkpoint", lambda note: note.replace("\n303\n", "\n304\n"), "checkpoints"),
    ("rests_on.origin", "log.example/logs/rival", "record"),
    ("rests_on.index", 299, "record"),
    ("rests_on.entry", lambda entry: entry.replace('"consent"', '"request"'), "record"),
    ("rests_on.path", lambda path: path[1:], "record"),
    ("rests_on.path", "AA", "record"),
    ("answer.notice.sha256", "0" * 64, "record"),
]


def sign(claims: dict[str, Any], key: Ed25519PrivateKey) -> str:
    """A JWS as the service makes it."""
    header = {"alg": "EdDSA", "kid": key_id(key.public_key()).hex(), "typ": ANSWER_TYPE}
    signed = b".".join(urlsafe_b64encode(canonical_json(part)).rstrip(b"=") for part in (header, claims))
    return f"{signed.decode()}.{urlsafe_b64encode(key.sign(signed)).rstrip(b'=').decode()}"


async def test_what_does_not_verify(dpo: Caller, shop: Controller, person: Person, world: World) -> None:
    """Although the key that signs answers has signed it."""
    answer, keys = (await signed(dpo, person.subject)).text, await keys_of(dpo)
    key = signing_key(world.directory / "query" / "receipts.key")
    for path, value, step in CHANGES:
        claims = verify_answer(answer, keys, vkey=shop.vkey, origin=shop.origin)
        _set(path, value)(claims)
        with pytest.raises(ProofError, match=rf"\({step}\)"):
            verify_answer(sign(claims, key), keys, vkey=shop.vkey, origin=shop.origin)


async def test_whose_word_it_is(dpo: Caller, shop: Controller, person: Person, world: World) -> None:
    answer, keys = (await signed(dpo, person.subject)).text, await keys_of(dpo)
    rival = await world.controller("rival")
    with pytest.raises(ProofError, match=r"\(checkpoints\)"):
        verify_answer(answer, keys, vkey=rival.vkey)
    with pytest.raises(ProofError, match=r"\(checkpoints\)"):
        verify_answer(answer, keys, origin=rival.origin)
    with pytest.raises(ProofError, match=r"\(signature\)"):
        verify_answer(answer, {kid: bytes(32) for kid in keys})
    steps: list[Step] = []
    verify_answer(answer, keys, done=steps.append)
    assert [one.outcome for one in steps] == ["ok", "ok", "remark", "ok"]
