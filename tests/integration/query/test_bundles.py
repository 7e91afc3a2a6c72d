"""Proof bundles over HTTP: what they hold for whom, which checkpoint they lead to, that strangers verify them."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pypdf
import pytest
from pydantic import SecretStr

from schemas.archive import read_archive, write_archive
from schemas.bundle import parse_bundle
from schemas.bundle_check import Pins
from schemas.canonical import canonical_json
from schemas.log_keys import read_log_keys
from schemas.steps import Step
from schemas.verifier import DIRECTORY
from schemas.verify import verify_whole
from services.keys.file_provider import FileProvider
from services.keys.provider import SigningKeys
from services.ledger.log_keys import rotate_log_key
from services.query.bundles import bundles
from services.query.settings import QuerySettings
from tests.integration.query.conftest import Caller, serving, settings_of
from tests.support.bundles import listed
from tests.support.databases import Database
from tests.support.deployment import BASE_TIME, Deployment, consent_event
from tests.support.rows import Controller, Person, Recorded, World, notice_content
from tests.support.timestamps import asking, record
from tests.support.tsa import TimestampAuthority, authorities_file
from tests.support.wait import until
from tests.support.witness import cosign, key_pair

pytestmark = pytest.mark.integration

ZIP, PDF = "application/zip", "application/pdf"
RECEIVED = BASE_TIME + timedelta(seconds=2)
NONCE = bytes(range(1, 9))
WITNESS = ("witness.example.com/w1", 4, bytes(range(32)))
CHAT = ("chat-history", "chat-proactive")


async def fetched(caller: Caller, path: str, accept: str = ZIP, **params: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {caller.key}", "accept": accept}
    return await caller.client.get(path, params=params, headers=headers)


async def downloaded(caller: Caller, path: str, **params: Any) -> dict[str, bytes]:
    response = await fetched(caller, path, **params)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == ZIP
    return read_archive(response.content)


def outcomes(raw: bytes, pins: Pins | None = None) -> dict[str, str]:
    steps: list[Step] = verify_whole(raw, pins or Pins())
    assert steps[-1].outcome != "failed", steps[-1]
    return {step.name: step.outcome for step in steps}


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(BytesIO(pdf)).pages)


def report_of(files: dict[str, bytes]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(files["report.json"])
    return report


async def told(shop: Controller, number: int, person: Person, *, notice: str | None = None) -> Recorded:
    """A consent of a person to a published notice."""
    if notice is None:
        asked = notice_content()["purposes"][0]
        purposes = [{**asked, "purpose": name} for name in CHAT]
        notice = await shop.notice(notice_content(purposes=purposes, html="<p>Garder ?</p>"), BASE_TIME)
    event = consent_event(
        number,
        notice={"sha256": notice, "language": "fr"},
        context={"country": "FR"},
        source=f"/sites/{shop.site_name}",
        subject="ève@example.com",
    )
    return await shop.record(person, event, RECEIVED, notice=notice, words="rendered")


def notice_of(record: Recorded) -> str:
    return str(json.loads(record.entry)["notice"])


def _lacks(response: httpx2.Response) -> list[str]:
    lacks: list[str] = report_of(read_archive(response.content))["logs"][0]["lacks"]
    return lacks


# --- what a bundle holds ----------------------------------------------------------------------------------------------


async def test_the_bundle_of_an_event_verifies_and_can_be_read(dpo: Caller, shop: Controller) -> None:
    await shop.describe()
    await shop.fill(300)
    made = await told(shop, 1, await shop.person("email", "eve@example.com"))
    await shop.publish()
    response = await fetched(dpo, f"/v1/events/{made.event}/proof")
    assert response.headers["content-disposition"] == f'attachment; filename="event-{made.event}.zip"'
    assert response.headers["vary"] == "accept"
    assert outcomes(response.content, Pins((shop.vkey,))) == {
        "archive": "ok",
        "manifest": "ok",
        "contents": "ok",
        "keys": "ok",
        "checkpoint": "ok",
        "witnesses": "remark",
        "timestamps": "remark",
        "proofs": "ok",
        "notices": "ok",
        "catalogue": "ok",
        "receipts": "remark",
        "report": "ok",
    }
    files = read_archive(response.content)
    assert {"catalogue/chatra.yaml", "verify.py", f"events/{made.event}/receipt.jws"} <= set(files)
    assert [name.rpartition(".")[2] for name in files if name.startswith("notices/")] == ["html", "json", "txt"]
    single = parse_bundle((await dpo.get(f"/v1/events/{made.event}/proof")).content)
    assert parse_bundle(files[f"events/{made.event}/proof.json"]) == single
    report = report_of(files)
    assert report["records"][0]["who"]["identifiers"][0]["value"] == "ève@example.com"
    assert [one["valid"] for one in report["state"]["decisions"]] == [True, False]
    words = " ".join(text_of(files["report.pdf"]).split())
    for said in (
        "ève@example.com",
        "2026-11-01T09:00:00Z",
        "Acceptez-vous",
        "mechanism button",
        "chat-history consent is valid",
        "chat-proactive no valid consent (denied)",
        "log.example/logs/shop at place 300",
        "No witness has cosigned this checkpoint.",
        "python verify.py",
    ):
        assert said in words
    pdf = await fetched(dpo, f"/v1/events/{made.event}/proof", PDF)
    assert pdf.headers["content-type"] == PDF
    assert "ève@example.com" in text_of(pdf.content)


@pytest.mark.parametrize(("role", "shown"), [("site", {"what"}), ("auditor", {"what", "context"})])
async def test_nobody_sees_more_in_a_bundle_than_in_a_proof(
    shop: Controller, with_role: Callable[[Controller, str], Any], role: str, shown: set[str]
) -> None:
    made = await told(shop, 1, await shop.person("email", "eve@example.com"))
    await shop.publish()
    caller = await with_role(shop, role)
    response = await fetched(caller, f"/v1/events/{made.event}/proof")
    outcomes(response.content)
    files = read_archive(response.content)
    report = report_of(files)["records"][0]
    assert {name for name in ("who", "what", "context") if report[name] is not None} == shown
    assert not [name for name, content in files.items() if "ève".encode() in content]
    assert "ève" not in text_of(files["report.pdf"])
    refused = await fetched(caller, f"/v1/events/{made.event}/proof", disclose="who,what")
    assert refused.status_code == 403
    narrowed = await downloaded(caller, f"/v1/events/{made.event}/proof", disclose="what")
    assert report_of(narrowed)["records"][0]["context"] is None


async def test_the_bundle_of_a_subject_holds_every_record_page_by_page(
    dpo: Caller, shop: Controller, with_role: Callable[[Controller, str], Any]
) -> None:
    person = await shop.person("email", "eve@example.com")
    first = await told(shop, 1, person)
    await told(shop, 2, await shop.person("email", "bob@example.com"), notice=notice_of(first))
    second = await told(shop, 3, person, notice=notice_of(first))
    await shop.publish()
    await told(shop, 4, person, notice=notice_of(first))  # not published yet
    path = f"/v1/subjects/{person.subject}/proof"
    response = await fetched(dpo, path)
    outcomes(response.content)
    report = report_of(read_archive(response.content))
    assert report["about"] == {"kind": "subject", "subject": str(person.subject), "complete": True}
    assert [one["event"] for one in report["records"]] == [first.event, second.event]
    page = await downloaded(dpo, path, limit=1)
    report = report_of(page)
    assert (report["about"]["complete"], len(report["records"])) == (False, 1)
    rest = report_of(await downloaded(dpo, path, cursor=report["next"]))
    assert ([one["event"] for one in rest["records"]], rest["next"]) == ([second.event], None)
    assert rest["about"]["complete"] is False
    site = await with_role(shop, "site")
    assert (await fetched(site, path)).status_code == 403
    stranger = await with_role(await shop.world.controller("rival"), "dpo")
    assert (await fetched(stranger, path)).status_code == 404
    assert (await fetched(stranger, f"/v1/events/{first.event}/proof")).status_code == 404
    assert (await fetched(dpo, path, "image/png")).status_code == 406


async def test_a_record_that_lost_its_decision_is_counted_and_left_out(dpo: Caller, shop: Controller) -> None:
    person = await shop.person("email", "eve@example.com")
    first = await told(shop, 1, person)
    lost = await told(shop, 2, person, notice=notice_of(first))
    await shop.publish()
    await shop.world.execute(
        "UPDATE payloads SET what = NULL, what_digest = $2 WHERE index = $1", lost.index, bytes(32)
    )
    report = report_of(await downloaded(dpo, f"/v1/subjects/{person.subject}/proof"))
    assert ([one["event"] for one in report["records"]], report["left_out"]) == ([first.event], 1)


# --- which checkpoint, and who vouches for it -------------------------------------------------------------------------


@pytest.fixture
def trusting(world: World, tmp_path: Path, timestamp_authority: TimestampAuthority) -> QuerySettings:
    """Settings with a witness policy and the roots of an authority."""
    policy = tmp_path / "policy.txt"
    policy.write_text(f"witness w1 {key_pair(*WITNESS)[0]}\nquorum w1\n")
    authorities = authorities_file(tmp_path / "authorities.yaml", timestamp_authority)
    return settings_of(world, witness_policy_file=policy, timestamp_authorities_file=authorities)


async def vouch(shop: Controller, note: str, authority: TimestampAuthority | None) -> None:
    """A cosignature, and a timestamp, of the checkpoint in a note."""
    text = note.partition("\n\n")[0] + "\n"
    size = int(text.split("\n")[1])
    place = shop.controller, shop.log, size
    await shop.world.execute(
        "INSERT INTO cosignatures (controller, log, size, witness, key_id, line, cosigned_at)"
        " VALUES ($1, $2, $3, 'w1', '\\x01020304', $4, $5)",
        *place,
        cosign(text, *WITNESS, 1793530800),
        RECEIVED,
    )
    if authority is not None:
        await shop.world.execute(
            "INSERT INTO timestamps (controller, log, size, authority, response, nonce, gen_time, verified_by)"
            " VALUES ($1, $2, $3, $4, $5, $6, now(), 'rfc3161-client')",
            *place,
            authority.name,
            authority.stamp(note.encode(), NONCE),
            NONCE,
        )


async def test_a_proof_leads_to_the_newest_checkpoint_that_is_timestamped(
    shop: Controller, trusting: QuerySettings, timestamp_authority: TimestampAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is away: what has a timestamp is proved under it, what has none goes without after the wait."""
    monkeypatch.setattr(bundles, "STAMP_WAIT_S", 0.2)
    person = await shop.person("email", "eve@example.com")
    covered = await told(shop, 1, person)
    await shop.fill(4)
    note = await shop.publish()
    assert note is not None
    await vouch(shop, note, timestamp_authority)
    late = await told(shop, 9, person, notice=notice_of(covered))
    note = await shop.publish()
    assert note is not None
    await vouch(shop, note, None)
    assert trusting.witness_policy_file is not None
    pins = Pins((shop.vkey,), trusting.witness_policy_file.read_bytes(), timestamp_authority.roots_pem.read_bytes())
    async with serving(trusting) as address, httpx2.AsyncClient(base_url=address) as client:
        dpo = Caller(client, await shop.access_key("dpo"))
        stamped = await fetched(dpo, f"/v1/events/{covered.event}/proof")
        assert set(outcomes(stamped.content, pins).values()) == {"ok"}
        assert report_of(read_archive(stamped.content))["records"][0]["size"] == 5
        assert not await shop.world.execute("SELECT size FROM timestamp_wishes")
        bare = await fetched(dpo, f"/v1/events/{late.event}/proof")
        assert outcomes(bare.content, Pins(pins.vkeys, pins.policy))["timestamps"] == "remark"
        assert verify_whole(bare.content, pins)[-1].name == "timestamps"
        assert report_of(read_archive(bare.content))["logs"][0]["lacks"] == [
            "No authority has timestamped this checkpoint."
        ]
        assert await shop.world.execute("SELECT size FROM timestamp_wishes") == 6


async def test_a_timestamp_that_the_verifier_would_refuse_is_left_out(
    shop: Controller, trusting: QuerySettings, timestamp_authority: TimestampAuthority
) -> None:
    made = await told(shop, 1, await shop.person("email", "eve@example.com"))
    await shop.publish()
    await shop.world.execute(
        "INSERT INTO timestamps (controller, log, size, authority, response, nonce, gen_time, verified_by)"
        " VALUES ($1, $2, 1, $3, $4, $5, now(), 'openssl')",
        shop.controller,
        shop.log,
        timestamp_authority.name,
        timestamp_authority.stamp(b"other bytes", NONCE),
        NONCE,
    )
    for settings, lack in (
        (trusting, "A timestamp by local exists that only other tools can verify"),
        (
            settings_of(shop.world),
            "A timestamp by local exists; its roots are not known",
        ),
    ):
        async with serving(settings) as address, httpx2.AsyncClient(base_url=address) as client:
            response = await fetched(Caller(client, await shop.access_key("dpo")), f"/v1/events/{made.event}/proof")
        assert outcomes(response.content)["timestamps"] == "remark"
        assert lack in " ".join(_lacks(response))


# --- a deployment, from the ledger to a stranger's machine ------------------------------------------------------------


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


def query_settings(deployment: Deployment, authorities: Path) -> QuerySettings:
    keys = deployment.keys
    return QuerySettings(
        database_url=SecretStr(deployment.database.dsn()),
        root_key_file=keys / "root.key",
        event_id_key_file=keys / "event-ids.key",
        controller_key_dir=keys / "controllers",
        suppression_dir=deployment.directory / "suppression",
        query_epoch_key_file=keys / "query" / "epochs.key",
        capability_key_file=keys / "capabilities.key",
        receipt_key_file=keys / "query" / "receipts.key",
        link_key_file=keys / "query" / "links.key",
        timestamp_authorities_file=authorities,
    )


def alone(bundle: Path, *pins: str) -> subprocess.CompletedProcess[str]:
    """The verifier of the bundle on a machine that has nothing of ours."""
    command = [sys.executable, "-I", str(DIRECTORY / "verify.py"), str(bundle), *pins]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


async def test_a_bundle_outlives_key_rotation_and_the_erasure_of_somebody_else(
    deployment: Deployment, timestamp_authority: TimestampAuthority, tmp_path: Path
) -> None:
    """Made before both, verified after both, offline; and the erasure has a certificate of its own."""
    settings = asking(deployment, timestamp_authority)
    async with deployment.ledger(**settings):
        await record(deployment, 1)
        await record(deployment, 2)
        query = query_settings(deployment, settings["timestamp_authorities_file"])
        async with serving(query) as address, httpx2.AsyncClient(base_url=address, timeout=30) as client:
            dpo = Caller(client, await deployment.add_access_key("dpo"))
            # Its checkpoint had no timestamp: the ledger was asked for one while the export waited.
            kept = await fetched(dpo, f"/v1/events/{consent_event(2)['id']}/proof")
            (tmp_path / "kept.zip").write_bytes(kept.content)
            first = (await client.get("/logs/shop/vkey")).text.strip()
            await rotated(deployment)
            subject = await deployment.subject_of("v-1")
            assert subject is not None
            asked = deployment.seal_erasure(subject)
            await deployment.publish([asked])
            await deployment.recorded(3)
            certificate = await until_answered(dpo, f"/v1/erasures/{asked.event_id}/certificate")
            after = await fetched(dpo, f"/v1/events/{consent_event(2)['id']}/proof")
            gone = await fetched(dpo, f"/v1/subjects/{subject}/proof")
            today = read_archive(after.content)["logs/shop/keys.json"]
    assert gone.status_code == 404
    roots = str(timestamp_authority.roots_pem)
    for pins in (["--vkey", first], []):
        done = alone(tmp_path / "kept.zip", "--roots", roots, *pins)
        assert (done.returncode, done.stderr) == (0, "")
        assert "ok      7 timestamps" in done.stdout
    # The reader has today's keys alone.
    (tmp_path / "keys.json").write_bytes(today)
    assert len(read_log_keys(today).keys) == 2
    assert "ok      4 keys" in alone(tmp_path / "kept.zip", "--keys", str(tmp_path / "keys.json")).stdout
    # After the rotation both keys sign, and a reader of either believes.
    for key in read_log_keys(today).keys:
        assert outcomes(after.content, Pins((str(key.vkey),)))["keys"] == "ok"
    (tmp_path / "certificate.zip").write_bytes(certificate.content)
    done = alone(tmp_path / "certificate.zip", "--vkey", first)
    assert (done.returncode, done.stderr) == (0, "")
    report = report_of(read_archive(certificate.content))
    assert report["about"] == {"kind": "erasure", "subject": str(subject)}
    changes: list[dict[str, Any]] = [{"number": 9}, {"logs": []}]
    for change in changes:
        forged = {**report, "erasure": {**report["erasure"], **change}}
        files = {**read_archive(certificate.content), "report.json": canonical_json(forged)}
        step = verify_whole(write_archive(listed(files, certificate.content)), Pins())[-1]
        assert (step.outcome, step.name) == ("failed", "receipts")
    assert "Certificate of erasure" in text_of(read_archive(certificate.content)["report.pdf"])
    files = read_archive(certificate.content)
    assert [name for name, content in files.items() if b"v-1" in content and name.partition(".")[0] != "verify"] == []


async def rotated(deployment: Deployment) -> None:
    """The log's key gets a successor; both sign for a day."""
    connection = await asyncpg.connect(deployment.database.dsn())
    try:
        directory = deployment.keys / "ledger"
        signing = SigningKeys(FileProvider(deployment.keys / "root.key", directory), directory)
        await rotate_log_key(connection, signing, "shop", timedelta(days=1))
    finally:
        await connection.close()


async def until_answered(caller: Caller, path: str) -> httpx2.Response:
    """The answer once there is one: 404 and 503 are what stands before it."""
    found: list[httpx2.Response] = []

    async def there() -> bool:
        found[:] = [await fetched(caller, path)]
        return found[0].status_code == 200

    await until(there, what="an answer")
    return found[0]
