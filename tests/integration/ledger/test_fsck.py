"""fsck on real Postgres where nothing was tampered with, or everything was declared: it is clean, beside a ledger too.

What it finds after tampering is in tests/fault/test_tampering.py.
"""

import os
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.canonical import canonical_json
from schemas.checkpoint import Checkpoint
from schemas.errors import ConfigurationError
from schemas.merkle import leaf_hash
from schemas.note import log_key
from schemas.payload import NONCE_BYTES, place_of, seal_part
from schemas.record import PART_NAMES, SALT_BYTES, PartName, commitment, entry_bytes, format_minute, part_digest
from services.keys import ControllerKeys, event_mac, make_secret
from services.keys.file_provider import FileProvider
from services.ledger.fsck.check import Run, check
from services.ledger.fsck.findings import LISTED_OF_A_KIND, Report
from services.ledger.high_water import HighWater
from services.ledger.store import Store
from services.ledger.subjects import unwrap
from services.ledger.tree import TreeEdge
from services.postgres import Connection
from tests.support.databases import Database, SchemaTemplate, drop_database
from tests.support.deployment import BASE_TIME, Deployment, consent_event, fresh_uuid
from tests.support.sample_log import DENIED, SampleLog

pytestmark = pytest.mark.integration

ORIGIN = "log.example/logs/shop"
NOTICE = "ab" * 32


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    """A deployment with an empty log and no ledger running."""
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


@pytest.fixture(scope="module")
async def recorded(
    schema_template: SchemaTemplate, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SampleLog]:
    """A recorded log that no test changes."""
    database = schema_template.clone()
    sample = SampleLog(database, tmp_path_factory.mktemp("recorded"))
    await sample.record()
    yield sample
    drop_database(database)


async def fsck(deployment: Deployment, run: Run | None = None, **changes: Any) -> Report:
    return await check(deployment.settings(**changes), run, progress=lambda *_: None)


def refusal(number: int) -> dict[str, Any]:
    """A refusal that identifies nobody."""
    event = consent_event(number, type="consent.refused", decisions=DENIED)
    del event["data"]["subject"]
    return event


async def test_a_recorded_log_is_clean(recorded: SampleLog) -> None:
    report = await fsck(recorded.deployment)
    assert report.findings == []
    assert report.as_json() == {
        "clean": True,
        "logs": 2,
        "records": 602,
        "first_bad": None,
        "findings": [],
        "unlisted": 0,
    }


async def test_progress_names_each_stage_and_ends_at_its_total(recorded: SampleLog) -> None:
    told: list[tuple[str, int, int]] = []
    await check(recorded.deployment.settings(), progress=lambda *step: told.append(step))
    done = {text: (at, total) for text, at, total in told}
    assert done["shop: entries and tiles"] == done["shop: payloads"] == (582, 582)
    assert done["blog: payloads"] == (20, 20)
    assert done["shop: state"][0] == done["shop: state"][1] > 300


async def test_one_log_alone(recorded: SampleLog) -> None:
    report = await fsck(recorded.deployment, Run(only_log="blog"))
    assert (report.clean, report.logs, report.records) == (True, 1, 20)


async def test_a_log_that_is_not_there_is_refused(recorded: SampleLog) -> None:
    with pytest.raises(ConfigurationError, match="no log has that name"):
        await fsck(recorded.deployment, Run(only_log="nowhere"))


async def test_another_root_key_is_refused_before_it_accuses_anybody(recorded: SampleLog, tmp_path: Path) -> None:
    make_secret(tmp_path / "other.key")
    with pytest.raises(ConfigurationError, match="another root key"):
        await fsck(recorded.deployment, root_key_file=tmp_path / "other.key")


async def test_a_log_nobody_opened_and_an_empty_log_are_clean(deployment: Deployment) -> None:
    assert (await fsck(deployment)).clean
    async with deployment.ledger():
        await deployment.recorded(0)
    report = await fsck(deployment)
    assert (report.findings, report.logs, report.records) == ([], 1, 0)


async def test_a_log_with_a_key_and_no_head_yet_is_clean(deployment: Deployment) -> None:
    """What a crash in the middle of opening a log leaves; the next round repairs it."""
    connection = await deployment.connect()
    vkey = str(log_key(ORIGIN, Ed25519PrivateKey.generate()))
    await Store(connection).publish_vkey(deployment.controller, deployment.log, vkey, "file:elsewhere.key")
    await connection.close()
    assert (await fsck(deployment)).findings == []


async def test_a_recording_ledger_is_never_accused(deployment: Deployment) -> None:
    """Until fsck has seen the log at four sizes, with more on its way each time."""
    sizes: set[int] = set()
    published = 0
    async with deployment.ledger(batch_events_max=20):
        while len(sizes) < 4:
            await deployment.publish(deployment.seal(consent_event(n)) for n in range(published, published + 100))
            published += 100
            report = await fsck(deployment)
            assert report.findings == []
            sizes.add(report.records)
        await deployment.recorded(published)
    assert (await fsck(deployment)).records == published


async def test_a_log_made_while_the_ledger_runs_begins_with_the_checkpoint_of_size_zero(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(checkpoint_interval_ms=1000):
        await deployment.recorded(0)
        connection = await deployment.connect()
        await deployment.add_log(connection, "blog", "blog.example")
        await connection.close()
        events = (consent_event(n, source="/sites/blog.example") for n in range(30))
        await deployment.publish(deployment.seal(event, log="blog") for event in events)
        await deployment.recorded(30, log="blog")
    assert (await fsck(deployment)).findings == []


async def test_an_earlier_copy_of_a_refusal_gives_a_stand_in_no_state(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(refusal(1))])
        await deployment.recorded(1)
        await deployment.publish([deployment.seal(refusal(1), received_at=BASE_TIME)])
        await deployment.publish([deployment.seal(consent_event(2))])
        await deployment.recorded(2)
    assert (await fsck(deployment)).findings == []


async def test_a_state_of_many_records_is_folded_in_any_order(deployment: Deployment) -> None:
    """More records of one subject than fsck reads at a time, received in no order."""
    events = [
        consent_event(n, subject="v", type="consent.withdrawn", decisions=DENIED)
        if n % 2
        else consent_event(n, subject="v")
        for n in range(1100)
    ]
    async with deployment.ledger():
        received = (BASE_TIME + timedelta(seconds=n * 7919 % 1100) for n in range(1100))
        messages = [deployment.seal(event, received_at=at) for event, at in zip(events, received, strict=True)]
        await deployment.publish(messages)
        await deployment.recorded(1100)
    assert (await fsck(deployment)).findings == []


async def test_another_high_water_directory_is_a_finding(recorded: SampleLog, tmp_path: Path) -> None:
    HighWater(tmp_path)
    findings = (await fsck(recorded.deployment, high_water_dir=tmp_path)).findings
    assert {(f.table, f.log, f.where) for f in findings} == {
        ("deployment", None, "high_water_id"),
        ("high_water", "shop", "size 582"),
        ("high_water", "blog", "size 20"),
    }


async def test_looking_at_a_directory_that_is_not_there_does_not_make_it(recorded: SampleLog, tmp_path: Path) -> None:
    assert not (await fsck(recorded.deployment, high_water_dir=tmp_path / "gone")).clean
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("mark", "log", "where"),
    [
        (Checkpoint("log.example/logs/shop", 583, bytes(32)), "shop", "size 583"),
        (Checkpoint("log.example/logs/shop", 300, bytes(32)), "shop", "size 300"),
        (Checkpoint("log.example/logs/gone", 5, bytes(32)), None, "log.example/logs/gone"),
    ],
    ids=["beyond-the-log", "another-root", "no-such-log"],
)
async def test_a_mark_that_the_database_does_not_hold_is_a_finding(
    recorded: SampleLog, tmp_path: Path, mark: Checkpoint, log: str | None, where: str
) -> None:
    HighWater(tmp_path).raise_to(mark)
    findings = (await fsck(recorded.deployment, high_water_dir=tmp_path)).findings
    assert ("high_water", log, where) in {(f.table, f.log, f.where) for f in findings}


async def test_of_one_kind_some_are_listed_and_the_rest_counted(recorded: SampleLog) -> None:
    copied = recorded.clone()
    try:
        await copied.fetch("UPDATE payloads SET who = set_byte(who, 0, get_byte(who, 0) # 1) WHERE index % 5 = 0")
        report = await fsck(copied, Run(only_log="shop"))
    finally:
        drop_database(copied.database)
    assert [f.where for f in report.findings][:2] == ["index 0, part who", "index 5, part who"]
    assert (len(report.findings), report.unlisted) == (LISTED_OF_A_KIND, 117 - LISTED_OF_A_KIND)


class Forger:
    """Appends one record as the ledger would write it, but with any content; only a faulty ledger could.

    The ledger is stopped meanwhile. The payload is sealed under the log's stand-in key.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._what: dict[str, Any] = {
            "id": fresh_uuid(),
            "site": "shop.example",
            "type": "consent.refused",
            "time": "2026-11-01T09:00:00Z",
            "received_at": "2026-11-01T09:00:01.000000Z",
            "posted_by": "server",
        }

    async def append(self, what: Mapping[str, Any] | None = None, context: bytes = b"{}", **members: Any) -> None:
        """`what` replaces members of that part (None removes one), `members` those of the entry."""
        connection = await self._deployment.connect()
        try:
            changed = {name: value for name, value in (self._what | dict(what or {})).items() if value is not None}
            await self._write(connection, {"who": b"{}", "what": canonical_json(changed), "context": context}, members)
        finally:
            await connection.close()

    async def _write(self, connection: Connection, parts: Mapping[PartName, bytes], members: Mapping[str, Any]) -> None:
        deployment = self._deployment
        head = await connection.fetchrow("SELECT * FROM log_heads")
        stand_in = await connection.fetchrow("SELECT * FROM subjects WHERE log IS NOT NULL")
        assert head is not None
        assert stand_in is not None
        index = head["size"]
        entry, payload = self._seal(index, head, stand_in, parts, members)
        stored = await connection.fetch("SELECT level, tile, hashes FROM tiles")
        tiles = {(row["level"], row["tile"]): row["hashes"] for row in stored}
        appended = TreeEdge.from_tiles(index, tiles).append([leaf_hash(entry)])
        place = deployment.controller, deployment.log
        await connection.execute("INSERT INTO records VALUES ($1, $2, $3, $4)", *place, index, entry)
        await connection.execute(
            "INSERT INTO payloads VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", *place, index, stand_in["subject"], *payload
        )
        event = event_mac(deployment.event_id_key, "shop", self._what["id"])
        await connection.execute(
            "INSERT INTO dedupe VALUES ($1, $2, $3, $4, $5, $6)",
            place[0], event, place[1], index, bytes(16), BASE_TIME,
        )  # fmt: skip
        for (level, tile), hashes in appended.tiles.items():
            await connection.execute(
                "INSERT INTO tiles VALUES ($1, $2, $3, $4, $5)"
                " ON CONFLICT (controller, log, level, tile) DO UPDATE SET hashes = excluded.hashes",
                *place, level, tile, hashes,
            )  # fmt: skip
        await connection.execute(
            "UPDATE log_heads SET size = $1, root = $2, prev = $3", index + 1, appended.root, leaf_hash(entry)
        )

    def _seal(
        self, index: int, head: Any, stand_in: Any, parts: Mapping[PartName, bytes], members: Mapping[str, Any]
    ) -> tuple[bytes, list[bytes]]:
        """The entry, and its payload's nonce and three parts."""
        salts = {name: os.urandom(SALT_BYTES) for name in PART_NAMES}
        digests = {name: part_digest(name, salts[name], parts[name]) for name in PART_NAMES}
        values: dict[str, Any] = {
            "log": ORIGIN,
            "index": index,
            "prev": head["prev"].hex(),
            "ref": os.urandom(16).hex(),
            "entry_class": "consent",
            "recorded_at": format_minute(head["recorded_at"]),
            "commitment": commitment(digests["who"], digests["what"], digests["context"]).hex(),
        }
        keys = ControllerKeys(self._deployment.keys / "controllers", FileProvider(self._deployment.keys / "root.key"))
        cipher = AESGCM(unwrap(keys, "shop", stand_in))
        nonce = os.urandom(NONCE_BYTES)
        place = place_of(ORIGIN, index)
        sealed = [seal_part(cipher, nonce, name, place, salts[name] + parts[name]) for name in PART_NAMES]
        return entry_bytes(**(values | dict(members))), [nonce, *sealed]


@pytest.fixture
async def forger(deployment: Deployment) -> Forger:
    """Ten refusals, whose stand-in has no state that an erasure would have to delete as well."""
    async with deployment.ledger():
        await deployment.publish(deployment.seal(refusal(n)) for n in range(10))
        await deployment.recorded(10)
    return Forger(deployment)


@pytest.mark.parametrize(
    ("erased", "found"),
    [
        ({"who": 1, "what": 1, "context": 1}, []),
        ({"who": 1, "what": 0, "context": 1}, [("payloads", "index 4")]),
        ({"who": 1, "what": 2, "context": 1}, [("payloads", "index 4")]),
        ({"who": 1, "what": 1}, [("records", "index 10"), ("payloads", "index 4")]),
        ({"who": 1, "what": 1, "context": -1}, [("records", "index 10"), ("payloads", "index 4")]),
    ],
    ids=["all-declared", "too-few", "too-many", "not-every-part", "not-a-count"],
)
async def test_missing_parts_must_equal_what_entries_declare(
    deployment: Deployment, forger: Forger, erased: dict[str, int], found: list[tuple[str, str]]
) -> None:
    await deployment.fetch("DELETE FROM payloads WHERE index = 4")
    await deployment.fetch("UPDATE dedupe SET content = NULL, received_at = NULL WHERE index = 4")
    await forger.append(what={"type": "subject.erased"}, entry_class="erasure", erased=erased)
    async with deployment.ledger():
        await deployment.recorded(11)
    report = await fsck(deployment)
    assert [(f.table, f.where) for f in report.findings] == found


@pytest.mark.parametrize(
    ("record", "where", "what"),
    [
        ({"what": {"id": None}}, "index 10, part what", "names no event id"),
        ({"what": {"site": "blog.example"}}, "index 10, part what", "names no site"),
        ({"what": {"type": None}}, "index 10, part what", "names no known type"),
        ({"what": {"type": "cookie.eaten"}}, "index 10, part what", "names no known type"),
        ({"what": {"type": "access.read"}}, "index 10, part what", "not of the class in the entry"),
        ({"what": {"received_at": "yesterday"}}, "index 10, part what", "times or decisions cannot be read"),
        ({"what": {"decisions": [{}]}}, "index 10, part what", "times or decisions cannot be read"),
        ({"notice": NOTICE}, "index 10, part what", "the notice in the entry is not the one in the part"),
        ({"context": b'{"b":1,"a":2}'}, "index 10, part context", "not a canonical JSON object"),
        ({"context": b"[]"}, "index 10, part context", "not a canonical JSON object"),
        ({"context": b"{"}, "index 10, part context", "not a canonical JSON object"),
    ],
)
async def test_what_only_a_faulty_ledger_could_record_is_found(
    deployment: Deployment, forger: Forger, record: dict[str, Any], where: str, what: str
) -> None:
    await deployment.fetch(
        "INSERT INTO notice_matches (controller, shown, notice)"
        " SELECT controller, decode($1, 'hex'), 'x' FROM controllers",
        NOTICE,
    )
    await forger.append(**record)
    found = {(f.table, f.where, f.what) for f in (await fsck(deployment)).findings}
    assert [seen for seen in found if seen[:2] == ("payloads", where) and what in seen[2]], found
