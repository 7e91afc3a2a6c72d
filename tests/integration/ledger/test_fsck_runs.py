"""How a run of fsck goes: side by side, killed and gone on with, told as JSON, and held against what lies outside."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deploy.kafka.node import free_port
from schemas.errors import ConfigurationError
from services.ledger.fsck import findings
from services.ledger.fsck.check import Run, check
from services.ledger.fsck.findings import Report
from services.ledger.fsck.growth import CHUNK
from services.stream.kafka_client import cluster_id
from services.suppression import Suppression
from tests.support.databases import SchemaTemplate, drop_database
from tests.support.deployment import Deployment, consent_event
from tests.support.kafka import KafkaServer
from tests.support.sample_log import DENIED
from tests.support.wait import until

pytestmark = pytest.mark.integration

SIZE = 2 * CHUNK + 300
ENTRIES = "shop: entries and tiles"
PAYLOADS = "shop: payloads"


class Killed(Exception):
    """In the place of a kill: nothing behind it is done."""


@pytest.fixture(scope="module")
async def recorded(
    schema_template: SchemaTemplate, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """A log of three chunks. Who changes it puts it back."""
    database = schema_template.clone()
    deployment = Deployment(database, tmp_path_factory.mktemp("runs"))
    await deployment.create()
    async with deployment.ledger():
        await deployment.publish(deployment.seal(consent_event(n, subject=f"v-{n % 50}")) for n in range(SIZE))
        await deployment.recorded(SIZE)
    yield deployment
    drop_database(database)


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told, and what was reached is kept, at each step instead of once a second."""
    monkeypatch.setattr(findings, "PROGRESS_S", 0.0)


class Watched:
    """One run with its steps; `kill_at` ends it when that step of that walk is told for the nth time."""

    def __init__(self, deployment: Deployment, kill_at: tuple[str, int] | None = None) -> None:
        self.deployment = deployment
        self.kill_at = kill_at
        self.steps: list[tuple[str, int]] = []

    def progress(self, text: str, done: int, _total: int) -> None:
        self.steps.append((text, done))
        if self.kill_at is not None and self.kill_at == (text, sum(told == text for told, _ in self.steps)):
            raise Killed

    async def run(self, file: Path, **changes: Any) -> Report:
        run = Run(resume=file, **changes)
        return await check(self.deployment.settings(), run, progress=self.progress)

    def done(self, text: str) -> list[int]:
        return [done for told, done in self.steps if told == text]


async def damage(deployment: Deployment, change: str) -> None:
    """As a superuser can who turns the triggers off."""
    connection = await deployment.connect()
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(change)
    finally:
        await connection.close()


async def killed(deployment: Deployment, file: Path, text: str, nth: int) -> None:
    with pytest.raises(Killed):
        await Watched(deployment, (text, nth)).run(file)


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize(
    ("text", "nth", "entries", "payloads"),
    [
        (ENTRIES, 1, [CHUNK, 2 * CHUNK, SIZE], [CHUNK, 2 * CHUNK, SIZE]),
        (ENTRIES, 3, [SIZE], [CHUNK, 2 * CHUNK, SIZE]),
        (PAYLOADS, 2, [], [2 * CHUNK, SIZE]),
        ("shop: state", 1, [], []),
    ],
    ids=["at-once", "in-the-last-chunk", "in-the-payloads", "in-the-state"],
)
async def test_a_run_that_was_killed_goes_on(
    recorded: Deployment, tmp_path: Path, text: str, nth: int, entries: list[int], payloads: list[int]
) -> None:
    await killed(recorded, tmp_path / "progress", text, nth)
    again = Watched(recorded)
    report = await again.run(tmp_path / "progress")
    assert (again.done(ENTRIES), again.done(PAYLOADS)) == (entries, payloads)
    assert (report.findings, report.logs, report.records) == ([], 1, SIZE)
    (walk,) = (stage for stage in report.stages if stage["stage"] == "log of shop")
    assert walk["resumed"] == (entries[:1] != [CHUNK])
    # What ended by itself leaves nothing to go on with.
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize(
    ("change", "text", "nth", "places"),
    [
        (
            "UPDATE payloads SET who = set_byte(who, 0, get_byte(who, 0) # 1) WHERE index IN (7, 4200)",
            PAYLOADS,
            2,
            [("index 7, part who", 7), ("index 4200, part who", 4200)],
        ),
        (
            "UPDATE tiles SET hashes = set_byte(hashes, 64, get_byte(hashes, 64) # 1) WHERE level = 0 AND tile % 15=1",
            ENTRIES,
            3,
            [("level 0, tile 1, offset 2", 258), ("level 0, tile 16, offset 2", 4098)],
        ),
    ],
    ids=["payloads", "tiles"],
)
async def test_what_was_found_before_the_kill_is_told_after_it(
    recorded: Deployment, tmp_path: Path, change: str, text: str, nth: int, places: list[tuple[str, int]]
) -> None:
    await damage(recorded, change)
    try:
        await killed(recorded, tmp_path / "progress", text, nth)
        report = await Watched(recorded).run(tmp_path / "progress")
    finally:
        await damage(recorded, change)
    table = change.split()[1]
    assert [(f.where, f.index) for f in report.findings if f.table == table] == places
    assert report.first_bad == next(f for f in report.findings if f.table == table)


@pytest.mark.usefixtures("every_step")
async def test_a_notice_published_meanwhile_has_the_entries_looked_at_again(
    recorded: Deployment, tmp_path: Path
) -> None:
    await killed(recorded, tmp_path / "progress", ENTRIES, 3)
    await recorded.fetch(
        "INSERT INTO notice_matches (controller, shown, notice) VALUES ($1, sha256('x'), sha256('y'))",
        recorded.controller,
    )
    try:
        again = Watched(recorded)
        await again.run(tmp_path / "progress")
    finally:
        await recorded.fetch("DELETE FROM notice_matches")
    assert again.done(ENTRIES) == [CHUNK, 2 * CHUNK, SIZE]


@pytest.mark.usefixtures("every_step")
async def test_a_log_that_grew_meanwhile_goes_on_at_the_last_chunk(database: Any, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    async with deployment.ledger():
        await deployment.publish(deployment.seal(consent_event(n, subject="v")) for n in range(CHUNK + 10))
        await deployment.recorded(CHUNK + 10)
        await killed(deployment, tmp_path / "progress", "shop: state", 1)
        # A withdrawal changes state and head, an erasure what the payloads are held against.
        withdrawn = consent_event(CHUNK + 10, subject="v", type="consent.withdrawn", decisions=DENIED)
        await deployment.publish([deployment.seal(withdrawn), deployment.seal(consent_event(9000, subject="w"))])
        await deployment.recorded(CHUNK + 12)
        again = Watched(deployment)
        report = await again.run(tmp_path / "progress")
        assert (report.findings, report.records) == ([], CHUNK + 12)
        assert again.done(ENTRIES) == again.done(PAYLOADS) == [CHUNK + 12]
        await killed(deployment, tmp_path / "progress", "shop: state", 1)
        subject = await deployment.subject_of("w")
        assert subject is not None
        await deployment.publish([deployment.seal_erasure(subject)])
        await deployment.recorded(CHUNK + 13)
        again = Watched(deployment)
        report = await again.run(tmp_path / "progress")
    assert (report.findings, report.records) == ([], CHUNK + 13)
    assert again.done(ENTRIES) == [CHUNK + 13]
    assert again.done(PAYLOADS) == [CHUNK, CHUNK + 13]


async def test_a_file_of_something_else_is_refused_and_left_alone(recorded: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "progress"
    file.write_text("my diary")
    with pytest.raises(ConfigurationError, match="name another file"):
        await Watched(recorded).run(file)
    assert file.read_text() == "my diary"
    file.unlink()
    await killed(recorded, file, PAYLOADS, 1)
    with pytest.raises(ConfigurationError, match="name another file"):
        await Watched(recorded).run(file, only_log="shop")


async def test_two_processes_find_the_same_as_one(recorded: Deployment, tmp_path: Path) -> None:
    change = "UPDATE records SET entry = set_byte(entry, 45, get_byte(entry, 45) # 1) WHERE index = 300"
    await damage(recorded, change)
    try:
        reports = [await Watched(recorded).run(tmp_path / "progress", jobs=jobs) for jobs in (1, 2)]
    finally:
        await damage(recorded, change)
    assert reports[0].as_json() == reports[1].as_json()
    assert {(f.table, f.index) for f in reports[0].findings if f.index is not None} >= {
        ("records", 300),
        ("payloads", 300),
    }
    assert [stage["stage"] for stage in reports[0].stages] == [stage["stage"] for stage in reports[1].stages]


async def test_what_stops_one_process_stops_the_run(recorded: Deployment, tmp_path: Path) -> None:
    settings = recorded.settings(event_id_key_file=tmp_path / "gone.key")
    with pytest.raises(ConfigurationError, match=r"gone\.key"):
        await check(settings, Run(jobs=2), progress=lambda *_: None)


async def test_the_command_writes_a_report_and_goes_on_after_a_kill(recorded: Deployment, tmp_path: Path) -> None:
    """With two processes; the third of them, the command itself, gets a SIGKILL."""
    command = [sys.executable, "-m", "services.cli.main", "fsck", "--jobs", "2"]
    command += ["--resume", str(tmp_path / "progress"), "--report", str(tmp_path / "report.json")]
    environment = {"PATH": os.environ["PATH"], **recorded.ledger_environment()}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def begun() -> bool:
        return (tmp_path / "progress").exists() or process.poll() is not None

    await until(begun, deadline_s=30, what="something is remembered")
    process.send_signal(signal.SIGKILL)
    process.wait()

    async def ended() -> bool:
        return not await recorded.fetch(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    await until(ended, deadline_s=30, what="no process of the killed run is left")
    assert not (tmp_path / "report.json").exists()
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (
        0,
        f"{SIZE} records in 1 logs were recomputed from raw rows: everything fits.\n",
    )
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert (report["format"], report["clean"], report["first_bad"]) == ("sayso-fsck/v1", True, None)
    assert any(stage["resumed"] for stage in report["stages"])


async def test_erasures_and_the_suppression_file_are_the_same(database: Any, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    file = tmp_path / "suppression" / "suppression.jsonl"
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="v"))])
        await deployment.recorded(1)
        subject = await deployment.subject_of("v")
        assert subject is not None
        await deployment.publish([deployment.seal_erasure(subject)])
        await deployment.recorded(2)

    async def found() -> list[tuple[str, str]]:
        report = await check(deployment.settings(), progress=lambda *_: None)
        return [(f.table, f.where) for f in report.findings]

    assert await found() == []
    kept = file.read_bytes()
    file.write_bytes(b"")
    assert await found() == [("suppression", "erasure 1")]
    file.unlink()
    assert await found() == [("suppression", "file")]
    file.write_bytes(kept.replace(b'"n":1', b'"n":7').replace(b'"erased_at":"20', b'"erased_at":"19'))
    assert await found() == [("erasures", "erasure 7")]
    assert [line.number for line in Suppression(tmp_path / "suppression").read()] == [7]


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("partition", "cluster", "position", "what"),
    [
        (0, None, 0, None),
        (0, None, 1, "past the end"),
        (0, None, -1, "no longer has"),
        (0, "another", 0, "another Kafka cluster"),
        (7, None, 0, "no such partition"),
    ],
    ids=["in-it", "past-the-end", "before-the-beginning", "other-cluster", "other-partition"],
)
async def test_positions_lie_in_the_stream(
    recorded: Deployment,
    kafka_server: KafkaServer,
    topic: str,
    partition: int,
    cluster: str | None,
    position: int,
    what: str | None,
) -> None:
    await recorded.fetch(
        "INSERT INTO positions (topic, partition, cluster, next_offset) VALUES ($1, $2, $3, $4)",
        topic,
        partition,
        cluster or await cluster_id(kafka_server.bootstrap),
        position,
    )
    settings = recorded.settings(stream=f"kafka://{kafka_server.bootstrap}", events_topic=topic)
    report = await check(settings, Run(only_log="shop"), progress=lambda *_: None)
    assert [(f.table, f.where) for f in report.findings] == ([("positions", f"{topic}[{partition}]")] if what else [])
    assert all(what is not None and what in f.what for f in report.findings)


async def test_positions_that_cannot_be_compared_are_said_to_be(recorded: Deployment) -> None:
    await recorded.fetch("INSERT INTO positions VALUES ('there', 0, 'a cluster', 5)")
    settings = recorded.settings(stream=f"kafka://127.0.0.1:{free_port()}", events_topic="there")
    report = await check(settings, Run(only_log="shop"), progress=lambda *_: None)
    assert [(f.table, f.where) for f in report.findings] == [("positions", "there")]
