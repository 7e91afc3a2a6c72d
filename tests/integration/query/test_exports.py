"""Exports over HTTP: what they hold, that they verify, who fetches them, and what becomes of some that stop halfway."""

import base64
import csv
import errno
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pyarrow.parquet
import pyrage
import pytest

from schemas.bundle_check import Pins
from schemas.canonical import canonical_json
from schemas.exports import COLUMNS, sampled, unguarded
from schemas.record import commitment, part_digest
from schemas.steps import Step
from services.capabilities import Capabilities
from services.cli.verify_export import is_manifest, verify_export
from services.keys import read_secret
from services.query import state
from services.query.bundles.bundles import Bundles
from services.query.exports import sink, worker, writers
from services.query.exports.job import Workshop
from tests.integration.query.conftest import serving, settings_of
from tests.support.many_records import BEGINNING, ManyRecords
from tests.support.rows import Controller, World
from tests.support.tsa import TimestampAuthority, authorities_file
from tests.support.wait import until

pytestmark = pytest.mark.integration

FILE_RECORDS = 40
ALL = {"from": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}


@dataclass
class Desk:
    """A data protection officer at a service that exports."""

    client: httpx2.AsyncClient
    key: str
    directory: Path
    shop: Controller
    rows: ManyRecords
    stack: AsyncExitStack

    async def stop(self) -> None:
        """End the service."""
        await self.stack.aclose()

    async def call(self, method: str, path: str, *, key: str | None = None, **options: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {key or self.key}"}
        return await self.client.request(method, path, headers=headers, **options)

    async def ask(self, **body: Any) -> str:
        response = await self.call(
            "POST", "/v1/exports", json={"of": ALL, "why": "audit of 2026", "format": "ndjson", **body}
        )
        assert response.status_code == 202, response.text
        return str(response.json()["export"])

    async def one(self, export: str) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.call("GET", f"/v1/exports/{export}")).json()
        return answer

    async def ends(self, export: str, state: str = "done") -> dict[str, Any]:
        async def has_ended() -> bool:
            found = await self.one(export)
            assert found["state"] in {"waiting", "running", state}, found
            return bool(found["state"] == state)

        await until(has_ended, what=f"the export is {state}")
        return await self.one(export)

    async def fetch_all(self, export: str, folder: Path) -> Path:
        """Every file into a folder; the path of the manifest."""
        folder.mkdir()
        for file in (await self.one(export))["files"]:
            response = await self.call("GET", f"/v1/exports/{export}/files/{file['name']}")
            assert response.status_code == 200, response.text
            (folder / file["name"]).write_bytes(response.content)
        return folder / "manifest.json"

    async def verified(self, export: str, folder: Path, **pins: Any) -> list[Step]:
        manifest = await self.fetch_all(export, folder)
        assert is_manifest(manifest)
        jwks = (await self.client.get("/.well-known/jwks.json")).content
        return verify_export(manifest, Pins(vkeys=[self.shop.vkey], jwks=jwks), pins.get("identity"))


def failures(steps: list[Step]) -> list[str]:
    return [step.text for step in steps if step.outcome == "failed"]


def records_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.ndjson")) for line in path.read_bytes().splitlines()]


@pytest.fixture
async def desk(world: World, shop: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(state, "Workshop", partial(Workshop, file_records=FILE_RECORDS))
    monkeypatch.setattr(worker, "POLL_S", 0.02)
    monkeypatch.setattr(worker, "SWEEP_S", 0.1)
    rows = ManyRecords(shop)
    await rows.fill(130)
    directory = tmp_path / "exports"
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(settings_of(world, export_dir=directory)))
        client = await stack.enter_async_context(httpx2.AsyncClient(base_url=address))
        yield Desk(client, await shop.access_key("dpo"), directory, shop, rows, stack)


async def looks(desk: Desk) -> list[dict[str, Any]]:
    said = [what for what, _, _ in await desk.shop.world.messages() if what["type"] == "access.exported"]
    return [what["access"] for what in said]


async def test_a_period_as_ndjson_verifies_and_every_step_is_noted(desk: Desk, tmp_path: Path) -> None:
    export = await desk.ask(keep="P2D")
    done = await desk.ends(export)
    assert [file["name"] for file in done["files"]] == [
        "manifest.json",
        "manifest.jws",
        *(f"records-0000{n}.ndjson" for n in range(1, 5)),
    ]
    assert (done["records"], done["looked_at"], done["records_of"]) == (130, 130, 130)
    steps = await desk.verified(export, tmp_path / "got")
    assert failures(steps) == []
    assert "130 records fit their entries" in steps[-1].text
    records = records_of(tmp_path / "got")
    assert [record["index"] for record in records] == list(range(130))
    assert all(set(record["parts"]) == {"what"} and set(record["digests"]) == {"who", "context"} for record in records)
    noted = await looks(desk)
    assert noted[0] == {
        "role": "dpo",
        "why": "audit of 2026",
        "export": export,
        "step": "begun",
        "format": "ndjson",
        "parts": ["what"],
        "records_at_most": 130,
    }
    assert [look["file"] for look in noted[1:]] == [file["name"] for file in done["files"]]
    manifest = json.loads((tmp_path / "got" / "manifest.json").read_bytes())
    assert manifest["asked"]["why"] == "audit of 2026"
    assert [(log["origin"], log["size"]) for log in manifest["logs"]] == [(desk.shop.origin, 130)]


async def test_what_is_outside_the_scope_is_not_there(desk: Desk, tmp_path: Path) -> None:
    named = [str(subject) for subject in desk.rows.subjects[:2]]
    gone = str(uuid4())
    of_people = await desk.ask(of={"subjects": [*named, gone]}, parts=["what", "who"])
    at = [(BEGINNING + timedelta(seconds=second)).isoformat().replace("+00:00", "Z") for second in (15, 25)]
    of_time = await desk.ask(of={"from": at[0], "until": at[1]})
    of_purpose = await desk.ask(purposes=["newsletter"])
    of_site = await desk.ask(sites=["other.example"])
    grant = await desk.shop.grant(subjects=[desk.rows.subjects[3]], purposes=["chat-history"])
    of_case = await desk.ask(of={"case": str(grant)}, purposes=["chat-history", "chat-proactive"])
    found = {}
    for number, export in enumerate((of_people, of_time, of_purpose, of_site, of_case)):
        await desk.ends(export)
        assert failures(await desk.verified(export, tmp_path / str(number))) == []
        found[export] = [record["index"] for record in records_of(tmp_path / str(number))]
    assert found[of_people] == list(range(20))
    assert found[of_time] == list(range(15, 25))
    assert found[of_purpose] == found[of_site] == []
    assert found[of_case] == list(range(30, 40))
    manifest = json.loads((tmp_path / "0" / "manifest.json").read_bytes())
    assert manifest["left_out"]["subjects"] == 1
    assert manifest["scope"]["subjects"] == sorted([*named, gone])
    whos = [json.dumps(record["parts"]["who"]["json"]) for record in records_of(tmp_path / "0")]
    assert all("=person" in who for who in whos)
    refused = await desk.call("POST", "/v1/exports", json={"of": {"case": gone}, "why": "x", "format": "csv"})
    assert refused.status_code == 404


async def test_the_erased_are_skipped_and_counted(desk: Desk, tmp_path: Path) -> None:
    await desk.shop.world.execute("DELETE FROM payloads WHERE subject = $1", desk.rows.subjects[1])
    await desk.shop.world.execute("DELETE FROM subjects WHERE subject = $1", desk.rows.subjects[1])
    await desk.shop.world.execute("UPDATE payloads SET what = NULL, what_digest = $1 WHERE index = 129", bytes(32))
    export = await desk.ask()
    await desk.ends(export)
    assert failures(await desk.verified(export, tmp_path / "got")) == []
    manifest = json.loads((tmp_path / "got" / "manifest.json").read_bytes())
    assert manifest["left_out"] == {"erased": 10, "incomplete": 1, "subjects": 0}
    assert manifest["records"] == 119


async def test_tables_hold_the_same_in_every_format(desk: Desk, tmp_path: Path) -> None:
    named = [str(desk.rows.subjects[0])]
    made = {}
    for kind in ("csv", "parquet", "ndjson"):
        made[kind] = await desk.ask(of={"subjects": named}, parts=["who", "what", "context"], format=kind)
        await desk.ends(made[kind])
        assert failures(await desk.verified(made[kind], tmp_path / kind)) == []
    text = (tmp_path / "csv" / "records-00001.csv").read_bytes().decode()
    cells = list(csv.DictReader(io.StringIO(text, newline="")))
    rows = pyarrow.parquet.read_table(tmp_path / "parquet" / "records-00001.parquet").to_pylist()
    assert [{name: unguarded(cell) for name, cell in row.items()} for row in cells] == [
        {name: "" if row[name] is None else str(row[name]) for name in COLUMNS} for row in rows
    ]
    assert rows[0]["decisions"] == "chat-history: granted (consent); chat-proactive: denied (consent)"
    nested = records_of(tmp_path / "ndjson")
    assert [json.loads(row["who"]) for row in rows] == [record["parts"]["who"]["json"] for record in nested]


async def test_bundles_of_people_verify_one_by_one(desk: Desk, tmp_path: Path) -> None:
    named = [str(subject) for subject in desk.rows.subjects[:3]]
    export = await desk.ask(of={"subjects": named}, format="bundles", parts=["what"])
    await desk.ends(export)
    steps = await desk.verified(export, tmp_path / "got")
    assert failures(steps) == []
    manifest = json.loads((tmp_path / "got" / "manifest.json").read_bytes())
    assert [(file["name"], file["bundles"], file["records"]) for file in manifest["files"]] == [
        ("bundles-00001.zip", 3, 30)
    ]


async def test_sealed_files_open_for_the_receiver_alone(desk: Desk, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    export = await desk.ask(encrypt_to=str(identity.to_public()), format="csv")
    await desk.ends(export)
    kept = tmp_path / "identity.txt"
    kept.write_text(f"# made today\n{identity}\n")
    steps = await desk.verified(export, tmp_path / "got", identity=kept)
    assert failures(steps) == []
    assert "130 records" in steps[-1].text
    on_disk = b"".join(path.read_bytes() for path in desk.directory.rglob("*.age*"))
    assert on_disk.startswith(b"age-encryption.org/v1")
    assert b"chat-history" not in on_disk
    kept.write_text(str(pyrage.x25519.Identity.generate()))
    assert "does not open" in failures(verify_export(tmp_path / "got" / "manifest.json", Pins(), kept))[0]
    for recipient in ("age1" + "q" * 58, "ssh-ed25519 AAAA", "age1"):
        refused = await desk.call(
            "POST", "/v1/exports", json={"of": ALL, "why": "x", "format": "csv", "encrypt_to": recipient}
        )
        assert (refused.status_code, refused.json()["pointer"]) == (422, "/encrypt_to")


async def test_what_was_changed_does_not_verify(desk: Desk, tmp_path: Path) -> None:
    export = await desk.ask(of={"subjects": [str(desk.rows.subjects[0])]})
    await desk.ends(export)
    jwks = (await desk.client.get("/.well-known/jwks.json")).content
    expected = {
        "flip": "is not the file",
        "row": "commitment",
        "forged": "root",
        "twice": "twice",
        "manifest": "another manifest",
        "jws": "header",
        "gone": "is not there",
    }
    for damage, said in expected.items():
        manifest = await desk.fetch_all(export, tmp_path / damage)
        spoil(manifest, damage)
        # A maker who changes the file and the manifest alike still has to answer to the log.
        pins = Pins() if damage in {"row", "forged", "twice"} else Pins(jwks=jwks)
        assert said in failures(verify_export(manifest, pins, None))[0], damage


def spoil(manifest: Path, damage: str) -> None:
    file = manifest.with_name("records-00001.ndjson")
    if damage == "flip":
        file.write_bytes(file.read_bytes().replace(b"granted", b"grantee", 1))
    elif damage == "gone":
        file.unlink()
    elif damage == "jws":
        manifest.with_name("manifest.jws").write_bytes(b"e30.e30.e30")
    elif damage == "manifest":
        manifest.write_bytes(manifest.read_bytes().replace(b"audit of 2026", b"audit of 2027"))
    else:
        lines = file.read_bytes().splitlines(keepends=True)
        changed = {
            "row": [lines[0].replace(b"granted", b"denied"), *lines[1:]],
            "forged": [forged(lines[0]), *lines[1:]],
            "twice": [lines[0], *lines[:-1]],
        }
        lines = changed[damage]
        relisted(manifest, file, b"".join(lines))


def forged(line: bytes) -> bytes:
    """The row with another decision, and an entry that commits to it."""
    row = json.loads(line)
    part = row["parts"]["what"]
    part["json"]["decisions"][0]["decision"] = "denied"
    what = part_digest("what", base64.b64decode(part["salt"]), canonical_json(part["json"]))
    who, context = (bytes.fromhex(row["digests"][name]) for name in ("who", "context"))
    row["entry"]["commitment"] = commitment(who, what, context).hex()
    return canonical_json(row) + b"\n"


def relisted(manifest: Path, file: Path, content: bytes) -> None:
    """The file with other content, and the manifest as if it had always been so."""
    file.write_bytes(content)
    said = json.loads(manifest.read_bytes())
    listed = said["files"][0]
    digest = sha256(content).hexdigest()
    listed |= {"sha256": digest, "content_sha256": digest, "bytes": len(content)}
    by_row = {sample["row"]: sample for sample in listed["samples"]}
    listed["samples"] = [by_row[row] for row in sampled(digest, listed["records"])]
    manifest.write_bytes(canonical_json(said))


async def test_it_waits_for_a_checkpoint_over_everything_and_takes_its_timestamp(
    desk: Desk,
    world: World,
    tmp_path: Path,
    timestamp_authority: TimestampAuthority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    note = await world.execute("SELECT note FROM checkpoints WHERE size = 130")
    await world.execute(
        "INSERT INTO timestamps (controller, log, size, authority, response, nonce, gen_time, verified_by)"
        " VALUES ($1, $2, 130, $3, $4, $5, now(), 'rfc3161-client')",
        desk.shop.controller,
        desk.shop.log,
        timestamp_authority.name,
        timestamp_authority.stamp(note.encode(), bytes(8)),
        bytes(8),
    )
    await world.execute("UPDATE log_heads SET published_size = 100 WHERE size = 130")
    trusting = settings_of(
        world,
        export_dir=desk.directory,
        timestamp_authorities_file=authorities_file(tmp_path / "authorities.yaml", timestamp_authority),
    )
    asked: list[int] = []
    covering_size = Bundles.covering_size

    def looking(self: Bundles, caller: Any, log: int, index: int) -> Any:
        asked.append(index)
        return covering_size(self, caller, log, index)

    monkeypatch.setattr(Bundles, "covering_size", looking)
    # The one that does not know the authority's roots must not be the one that does it.
    await desk.stop()
    async with serving(trusting) as address, httpx2.AsyncClient(base_url=address) as desk.client:
        export = await desk.ask(of={"subjects": [str(desk.rows.subjects[0])]})
        await until(lambda: len(asked) > 2, what="it looks again and again")
        assert (await desk.one(export))["state"] == "running"
        await world.execute("UPDATE log_heads SET published_size = 130 WHERE size = 130")
        await desk.ends(export)
        assert failures(await desk.verified(export, tmp_path / "got")) == []
    manifest = tmp_path / "got" / "manifest.json"
    (log,) = json.loads(manifest.read_bytes())["logs"]
    assert (log["size"], [stamp["authority"] for stamp in log["timestamps"]]) == (130, [timestamp_authority.name])
    pins = Pins(vkeys=[desk.shop.vkey], roots=timestamp_authority.roots_pem.read_bytes())
    steps = {step.name: step for step in verify_export(manifest, pins, None)}
    assert steps["checkpoints"].outcome == "ok", steps["checkpoints"]


async def test_links_open_files_for_a_while_without_a_key(desk: Desk) -> None:
    export = await desk.ask(of={"subjects": [str(desk.rows.subjects[0])]})
    early = await desk.call("POST", f"/v1/exports/{export}/links", json={})
    await desk.ends(export)
    made = await desk.call("POST", f"/v1/exports/{export}/links", json={"files": ["records-00001.ndjson"]})
    assert made.status_code == 201
    link = made.json()["link"]
    listed = (await desk.client.get(link)).json()
    assert [file["name"] for file in listed["files"]] == ["records-00001.ndjson"]
    fetched = await desk.client.get(listed["files"][0]["link"])
    assert fetched.status_code == 200
    assert (await looks(desk))[-1] | {"export": ""} == {
        "role": "dpo",
        "why": "audit of 2026",
        "export": "",
        "step": "fetched",
        "file": "records-00001.ndjson",
        "by": "link",
        "records": 10,
    }
    keys = desk.shop.world.directory
    links, visitors = (Capabilities(read_secret(keys / name)) for name in ("query/links.key", "capabilities.key"))
    claims = links.open("export", link.rpartition("/")[2], 0)
    assert claims is not None
    # The key that ingest holds too seals nothing that opens an export.
    forged = link.rpartition("/")[0] + "/" + visitors.seal("export", claims)
    for path in (forged, f"{link}/manifest.json", f"{link[:-2]}xx", f"{link}/../../{export}", f"{link}x/manifest.json"):
        assert (await desk.client.get(path)).status_code in {401, 404}
    assert early.status_code == 409
    for body in ({"valid_for": "P32D"}, {"files": ["records-00009.ndjson"]}):
        assert (await desk.call("POST", f"/v1/exports/{export}/links", json=body)).status_code == 422
    # Taken back: files and links are gone together.
    assert (await desk.call("POST", f"/v1/exports/{export}/cancel")).json()["state"] == "cancelled"
    assert (await desk.client.get(link)).status_code == 404
    assert (await desk.call("GET", f"/v1/exports/{export}/files/manifest.json")).status_code == 409
    assert (await desk.call("POST", f"/v1/exports/{export}/cancel")).status_code == 409


async def test_nobody_elses_export_is_there(
    desk: Desk, with_role: Callable[..., Any], world: World, tmp_path: Path
) -> None:
    export = await desk.ask()
    await desk.ends(export)
    other = await world.controller("other")
    key = await other.access_key("dpo")
    for method, path in (
        ("GET", ""),
        ("POST", "/cancel"),
        ("POST", "/resume"),
        ("POST", "/links"),
        ("GET", "/files/manifest.json"),
    ):
        answers = [
            await desk.call(method, f"/v1/exports/{one}{path}", key=key, **({"json": {}} if path == "/links" else {}))
            for one in (export, uuid4())
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content
    assert (await desk.call("GET", "/v1/exports", key=key)).json() == {"exports": [], "next": None}
    mine = (await desk.call("GET", "/v1/exports", params={"limit": 1})).json()
    assert [one["export"] for one in mine["exports"]] == [export]


async def test_a_full_disk_fails_with_a_reason_and_is_resumed(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = sink._Hashing.write, [3]

    def write(self: Any, data: Any) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "no room")
        return real(self, data)

    monkeypatch.setattr(sink._Hashing, "write", write)
    export = await desk.ask()
    failed = await desk.ends(export, "failed")
    assert failed["failure"].startswith("The disk is full.")
    assert failed["files"] == []
    assert "\nsayso_query_exports_failed_total 1.0\n" in (await desk.client.get("/metrics")).text
    written = {path.name for path in desk.directory.rglob("*") if path.is_file()}
    assert written
    assert not [name for name in written if name.endswith(".part")]
    left[0] = 1_000_000
    assert (await desk.call("POST", f"/v1/exports/{export}/resume")).status_code == 200
    assert (await desk.call("POST", f"/v1/exports/{export}/resume")).status_code == 409
    await desk.ends(export)
    assert failures(await desk.verified(export, tmp_path / "got")) == []


async def test_a_process_that_lost_the_job_changes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another took it over in the middle: this one stops at its next commit, and its files are nobody's."""
    stolen = uuid4()
    real = writers._Ndjson.write

    def slow(self: Any, rows: Any) -> None:
        real(self, rows)
        steal(desk.shop.world, stolen)

    monkeypatch.setattr(writers._Ndjson, "write", slow)
    export = await desk.ask()

    async def is_left() -> bool:
        row = await desk.shop.world.execute("SELECT worker FROM exports WHERE export = $1", UUID(export))
        return row == stolen and not list(desk.directory.rglob("*.part"))

    await until(is_left, what="the first process lets go")
    assert (await desk.one(export))["records"] == 0
    monkeypatch.setattr(writers._Ndjson, "write", real)
    await desk.shop.world.execute("UPDATE exports SET heartbeat_at = now() - interval '1 hour'")
    assert (await desk.ends(export))["records"] == 130


async def test_a_cancelled_job_stops_at_its_next_beat(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the ledger, which publishes nothing: the next one is taken up at once all the same."""
    monkeypatch.setattr(worker, "BEAT_S", 0.02)
    await desk.shop.world.execute("UPDATE log_heads SET published_size = 100 WHERE size = 130")
    export = await desk.ask()
    await desk.ends(export, "running")
    assert (await desk.call("POST", f"/v1/exports/{export}/cancel")).json()["state"] == "cancelled"
    following = await desk.ask()
    await desk.ends(following, "running")
    assert (await desk.one(export))["state"] == "cancelled"


def steal(world: World, thief: UUID) -> None:
    from tests.support.databases import run_sql

    run_sql(world.database.dsn(), f"UPDATE exports SET worker = '{thief}', heartbeat_at = now()")


async def test_files_go_when_their_time_is_over(desk: Desk) -> None:
    export = await desk.ask()
    await desk.ends(export)
    link = (await desk.call("POST", f"/v1/exports/{export}/links", json={})).json()["link"]
    await desk.shop.world.execute("UPDATE exports SET expires_at = now() - interval '1 second'")
    assert (await desk.client.get(link)).status_code == 404
    assert (await desk.call("GET", f"/v1/exports/{export}/files/manifest.json")).status_code == 409
    await until(lambda: not list(desk.directory.rglob("*.ndjson")), what="the files are gone")
    assert (await desk.one(export))["state"] == "expired"


async def test_without_a_place_or_the_extra_it_says_so(
    world: World, shop: Controller, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"of": ALL, "why": "x", "format": "parquet"}
    monkeypatch.setattr(writers, "find_spec", lambda name: None)
    refused = await desk.call("POST", "/v1/exports", json=body)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/export-extra-missing")
    monkeypatch.setattr(sink, "pyrage", None)
    sealed = body | {"format": "csv", "encrypt_to": str(pyrage.x25519.Identity.generate().to_public())}
    refused = await desk.call("POST", "/v1/exports", json=sealed)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/export-extra-missing")
    async with serving(settings_of(world)) as address, httpx2.AsyncClient(base_url=address) as client:
        answer = await client.post("/v1/exports", json=body, headers={"authorization": f"Bearer {desk.key}"})
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/exports-not-set-up")


async def test_what_cannot_be_asked_for_is_refused(desk: Desk) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"keep": "P93D"}, "/keep"),
        ({"parts": ["whom"]}, "/parts/0"),
        ({"parts": []}, "/parts"),
        ({"why": ""}, "/why"),
        ({"why": None}, "/why"),
        ({"format": "xlsx"}, "/format"),
        ({"of": {"from": ALL["until"], "until": ALL["from"]}}, "/of"),
    ]
    for changes, pointer in wrong:
        refused = await desk.call("POST", "/v1/exports", json={"of": ALL, "why": "x", "format": "csv", **changes})
        assert refused.status_code == 422, refused.text
        assert refused.json()["pointer"].startswith(pointer)
    assert (await desk.call("GET", "/v1/exports")).json()["exports"] == []
