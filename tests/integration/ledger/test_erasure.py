"""Erasure of a subject by a running ledger: what goes, what stays, what comes too late, what every log says."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from schemas.docket import NONCE_BYTES, place_of_docket
from schemas.payload import place_of
from schemas.record import PartName, part_digest, read_entry, verify_commitment
from services.keys import ControllerKeys, event_mac, identifier_mac
from services.keys.file_provider import FileProvider
from services.ledger.fsck.check import check
from services.suppression import Suppression
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.wait import until

pytestmark = pytest.mark.integration

# Between the events' own time and now.
LATE = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


def keys_of(deployment: Deployment) -> ControllerKeys:
    return ControllerKeys(deployment.keys / "controllers", FileProvider(deployment.keys / "root.key"))


async def subject_of(deployment: Deployment, value: str) -> UUID:
    subject = await deployment.subject_of(value)
    assert subject is not None
    return subject


async def erased(deployment: Deployment, count: int = 1) -> list[asyncpg.Record]:
    """Wait until so many erasures are applied and signed."""

    async def there() -> bool:
        rows = await deployment.fetch("SELECT FROM erasures")
        heads = await deployment.fetch("SELECT FROM log_heads WHERE signed_size <> size")
        return len(rows) >= count and not heads

    await until(there, what=f"{count} erasures are applied")
    return await deployment.fetch("SELECT * FROM erasures ORDER BY number")


async def entries(deployment: Deployment, log: str = "shop") -> list[dict[str, Any]]:
    rows = await deployment.fetch(
        "SELECT entry FROM records JOIN logs USING (controller, log) WHERE name = $1 ORDER BY index", log
    )
    return [read_entry(row["entry"]) for row in rows]


async def fits(deployment: Deployment) -> None:
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings


async def test_everything_of_the_subject_goes_and_each_log_says_how_much(deployment: Deployment) -> None:
    connection = await deployment.connect()
    await deployment.add_log(connection, "blog", "blog.example")
    await connection.close()
    async with deployment.ledger():
        events = [consent_event(n, subject="gone") for n in range(3)] + [consent_event(9, subject="stays")]
        await deployment.publish(deployment.seal(event) for event in events)
        blog = consent_event(20, subject="gone", source="/sites/blog.example")
        await deployment.publish([deployment.seal(blog, log="blog")])
        await deployment.recorded(4)
        await deployment.recorded(1, log="blog")
        gone, stays = await subject_of(deployment, "gone"), await subject_of(deployment, "stays")
        ask = deployment.seal_erasure(gone)
        await deployment.publish([ask])
        (erasure,) = await erased(deployment)
    assert (erasure["number"], erasure["subject"], erasure["ground"]) == (1, gone, "17(1)(b)")
    assert await deployment.subject_of("gone") is None
    for table in ("subjects", "payloads", "consent_state", "identifiers"):
        assert not await deployment.fetch(f"SELECT FROM {table} WHERE subject = $1", gone), table
        # A log's stand-in has no state and no identifiers; the other subject keeps all of its rows.
        assert await deployment.fetch(f"SELECT FROM {table} WHERE subject = $1", stays), table
    assert [e.get("erased") for e in await entries(deployment)] == [None] * 4 + [{"who": 3, "what": 3, "context": 3}]
    assert [e.get("erased") for e in await entries(deployment, "blog")] == [None, {"who": 1, "what": 1, "context": 1}]
    assert {e["class"] for e in (await entries(deployment))[4:]} == {"erasure"}
    rows = await deployment.fetch("SELECT event, content, received_at FROM dedupe WHERE content IS NULL")
    names = {event_mac(deployment.event_id_key, "shop", e["id"]) for e in [*events[:3], blog]}
    assert {row["event"] for row in rows} == names
    assert all(row["received_at"] is None for row in rows)
    places = await deployment.fetch("SELECT log, declared_log, declared_index FROM erased_parts ORDER BY log")
    assert [(row["log"] == row["declared_log"], row["declared_index"]) for row in places] == [(True, 4), (True, 1)]
    (line,) = Suppression(deployment.settings().suppression_dir).read()
    assert (line.number, line.controller, line.subject) == (1, "shop", gone)
    await fits(deployment)


async def test_late_and_replayed_acts_stay_erased_and_a_later_one_begins_anew(deployment: Deployment) -> None:
    async with deployment.ledger() as ledger:
        message = deployment.seal(consent_event(1, subject="gone"))
        await deployment.publish([message])
        await deployment.recorded(1)
        gone = await subject_of(deployment, "gone")
        await deployment.publish([deployment.seal_erasure(gone)])
        await erased(deployment)
        size = await deployment.size()
        # The same message again; another act from before; one whose clock is ahead but that was received before.
        ahead = (datetime.now(UTC) + timedelta(days=9)).strftime("%Y-%m-%dT%H:%M:%SZ")
        late = [
            message,
            deployment.seal(consent_event(2, subject="gone")),
            deployment.seal(consent_event(3, subject="gone", time=ahead), received_at=LATE),
        ]
        await deployment.publish(late)
        await deployment.drained()
        assert await deployment.size() == size
        assert await deployment.subject_of("gone") is None
        rows = await deployment.fetch("SELECT event FROM dedupe WHERE index IS NULL AND content IS NULL")
        names = [event_mac(deployment.event_id_key, "shop", consent_event(n)["id"]) for n in (2, 3)]
        assert sorted(row["event"] for row in rows) == sorted(names)
        assert ledger.metrics.dropped._value.get() == 2
        again = consent_event(4, subject="gone", time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        await deployment.publish([deployment.seal(again, received_at=datetime.now(UTC))])
        await deployment.recorded(size + 1)
        fresh = await subject_of(deployment, "gone")
    assert fresh != gone
    await fits(deployment)


async def test_asking_twice_or_for_nobody_does_no_harm(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        await deployment.recorded(1)
        gone = await subject_of(deployment, "gone")
        ask = deployment.seal_erasure(gone)
        await deployment.publish([ask, ask, deployment.seal_erasure(gone), deployment.seal_erasure(uuid4())])
        await erased(deployment)
        await deployment.drained()
        await deployment.recorded(2)
    assert await deployment.size() == 2
    assert len(await deployment.fetch("SELECT FROM erasures")) == 1
    assert not await deployment.fetch("SELECT FROM dead_letters")
    await fits(deployment)


async def test_a_stand_in_is_nobody_who_could_be_erased(deployment: Deployment) -> None:
    async with deployment.ledger():
        anonymous = consent_event(1, type="consent.refused")
        del anonymous["data"]["subject"]
        anonymous["data"]["decisions"] = anonymous["data"]["decisions"][1:]
        await deployment.publish([deployment.seal(anonymous)])
        await deployment.recorded(1)
        (row,) = await deployment.fetch("SELECT subject FROM subjects")
        await deployment.publish([deployment.seal_erasure(UUID(int=row["subject"].int))])
        await deployment.drained()
    assert not await deployment.fetch("SELECT FROM erasures")
    assert await deployment.fetch("SELECT FROM payloads")


async def test_ingest_may_not_ask_for_an_erasure_and_a_broken_ask_is_set_aside(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="stays"))])
        await deployment.recorded(1)
        stays = await subject_of(deployment, "stays")
        deployment.keys.joinpath("query", "epochs.key").rename(deployment.keys / "query" / "kept.key")
        deployment.keys.joinpath("query", "epochs.key").write_bytes(
            (deployment.keys / "ingest" / "epochs.key").read_bytes()
        )
        deployment.keys.joinpath("query", "epochs.key").chmod(0o600)
        forged = deployment.seal_erasure(stays)
        deployment.keys.joinpath("query", "kept.key").rename(deployment.keys / "query" / "epochs.key")
        broken = deployment.seal_asked("subject.erased", {"erasure": {"subject": "nobody", "ground": "17(1)(b)"}})
        groundless = deployment.seal_asked("subject.erased", {"erasure": {"subject": str(stays), "ground": "because"}})
        await deployment.publish([forged, broken, groundless])
        await deployment.drained()
    letters = await deployment.fetch("SELECT reason FROM dead_letters ORDER BY letter")
    assert [row["reason"] for row in letters] == ["type-not-allowed", "parts-invalid", "parts-invalid"]
    assert await deployment.subject_of("stays") == stays


async def test_the_docket_outlives_the_erasure_until_it_is_closed(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        await deployment.recorded(1)
        await deployment.publish([deployment.seal_erasure(await subject_of(deployment, "gone"))])
        await erased(deployment)
        (docket,) = await deployment.fetch("SELECT * FROM dockets")
        wrapping = keys_of(deployment).wrapping_key("shop", docket["key_epoch"])
        cipher = AESGCM(aes_key_unwrap(wrapping, docket["wrapped_key"]))
        nonce, sealed = docket["sealed"][:NONCE_BYTES], docket["sealed"][NONCE_BYTES:]
        content = cipher.decrypt(nonce, sealed, place_of_docket(deployment.controller, 1))
        assert b'"identifiers":[{"type":"cookie","value":"gone"}]' in content
        assert docket["limit_at"] - docket["opened_at"] == timedelta(days=30)
        await deployment.publish([deployment.seal_asked("request.answered", {"request": {"docket": 1}})])
        await until(lambda: _closed(deployment), what="the docket is closed")
    (docket,) = await deployment.fetch("SELECT * FROM dockets")
    assert (docket["sealed"], docket["wrapped_key"], docket["outcome"]) == (None, None, "answered")
    assert [e["class"] for e in await entries(deployment)] == ["consent", "erasure", "request"]
    await fits(deployment)


async def _closed(deployment: Deployment) -> bool:
    return bool(await deployment.fetch("SELECT FROM dockets WHERE closed_at IS NOT NULL"))


async def test_a_written_rule_keeps_a_minimal_proof(deployment: Deployment) -> None:
    await deployment.fetch(
        "INSERT INTO minimal_proof_rules (controller, purpose, ground, keep_days)"
        " VALUES ($1, 'chat-history', '17(3)(e)', 100) RETURNING 1",
        deployment.controller,
    )
    async with deployment.ledger():
        other = consent_event(2, subject="gone")
        other["data"]["decisions"] = other["data"]["decisions"][1:]
        await deployment.publish([deployment.seal(consent_event(1, subject="gone")), deployment.seal(other)])
        await deployment.recorded(2)
        await deployment.publish([deployment.seal_erasure(await subject_of(deployment, "gone"))])
        (erasure,) = await erased(deployment)
    (proof,) = await deployment.fetch("SELECT * FROM minimal_proofs")
    kept = (await entries(deployment))[proof["index"]]
    key = keys_of(deployment).proof_key("shop")
    opened = AESGCM(key).decrypt(proof["nonce"], proof["what"], place_of("log.example/logs/shop", proof["index"]))
    (row,) = await deployment.fetch("SELECT entry FROM records WHERE index = $1", proof["index"])
    digests: dict[PartName, bytes] = {"who": proof["who_digest"], "context": proof["context_digest"]}
    verify_commitment(row["entry"], {"what": (opened[:32], opened[32:])}, digests)
    assert proof["identifier"] == identifier_mac(key, "cookie", "gone")
    assert proof["keep_until"] - erasure["erased_at"] == timedelta(days=100)
    assert (await entries(deployment))[2]["erased"] == {"who": 2, "what": 1, "context": 2}
    assert kept["class"] == "consent"
    assert part_digest("what", opened[:32], opened[32:]) not in digests.values()
    await fits(deployment)


async def test_a_crash_between_line_and_commit_ends_in_one_erasure(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.ledger.erasure import dockets
    from services.ledger.erasure import subject as erasure

    calls = 0
    real = dockets.open_docket

    async def fail_once(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise asyncpg.DeadlockDetectedError
        await real(*args)

    monkeypatch.setattr(erasure, "open_docket", fail_once)
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        await deployment.recorded(1)
        await deployment.publish([deployment.seal_erasure(await subject_of(deployment, "gone"))])
        (row,) = await erased(deployment)
    assert calls == 2
    assert [line.number for line in Suppression(deployment.settings().suppression_dir).read()] == [row["number"]]
    await fits(deployment)
