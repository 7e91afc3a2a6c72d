"""History from before: forms of exports, reasons to refuse a line, a kill half-way, and who was erased since."""

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import yaml

from deploy.kafka.node import free_port
from schemas.errors import ConfigurationError
from services.cli.importing.command import meaning_of
from services.cli.importing.events import Events, NoEvent
from services.cli.importing.lines import Line, file_hash, read_csv, read_ndjson
from services.cli.importing.mapping import presets, read_mapping
from tests.support.databases import Database
from tests.support.deployment import Deployment
from tests.support.processes import REPOSITORY, ServiceProcess
from tests.support.wait import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SHA256 = "ab" * 32
PLAIN: dict[str, Any] = {
    "about": "a shop's own list",
    "format": "csv",
    "identifiers": [{"type": "email", "column": "mail"}],
    "time": {"column": "when", "form": "iso"},
    "act": {"column": "how"},
    "decisions": {"columns": {"news": "news"}},
    "purposes": {"news": "newsletter"},
    "language": "fr",
}


def mapping(**changes: Any) -> Any:
    return read_mapping({**PLAIN, **changes})


def event(values: dict[str, Any] | None, number: int = 1, **changes: Any) -> dict[str, Any]:
    return Events(mapping(**changes), "shop.example", SHA256).event(Line(number, values))


GOOD = {"mail": "Ada@Mail.Example", "when": "2024-03-01T10:00:00Z", "how": "form", "news": "yes"}


# --- one line -----------------------------------------------------------------------------------------------------


def test_a_line_becomes_an_event_that_says_where_it_is_from() -> None:
    made = event(GOOD, 7)
    assert (made["type"], made["time"], made["source"]) == (
        "consent.given",
        "2024-03-01T10:00:00.000000Z",
        "/sites/shop.example",
    )
    data = made["data"]
    assert data["subject"]["identifiers"] == [{"type": "email", "value": "ada@mail.example"}]
    assert data["decisions"] == [{"purpose": "newsletter", "decision": "granted", "legal_basis": "consent"}]
    assert data["capture"] == {"mechanism": "import", "file_sha256": SHA256, "file_line": 7}
    assert event(GOOD, 7)["id"] == made["id"] != event(GOOD, 8)["id"]
    by_id = {"id": "receipt"}
    assert event(GOOD | {"receipt": "r-1"}, 7, **by_id)["id"] == event(GOOD | {"receipt": "r-1"}, 9, **by_id)["id"]


@pytest.mark.parametrize(
    ("values", "changes", "reason"),
    [
        (None, {}, "unreadable-line"),
        (GOOD | {"mail": " "}, {}, "nobody-named"),
        (GOOD | {"news": ""}, {}, "nothing-decided"),
        (GOOD | {"news": "perhaps"}, {}, "answer-not-known"),
        (GOOD | {"when": "yesterday"}, {}, "time-not-readable"),
        (GOOD | {"when": ""}, {}, "time-not-readable"),
        (GOOD | {"when": "2999-01-01T00:00:00Z"}, {}, "time-to-come"),
        # What exports write for a time they lack lies outside of the calendar in another zone.
        (
            GOOD | {"when": "0001-01-01T00:00:00"},
            {"time": {"column": "when", "form": "iso", "zone": "Europe/Paris"}},
            "time-not-readable",
        ),
        (GOOD | {"when": "9999-12-31T23:59:59-01:00"}, {}, "time-not-readable"),
        (GOOD | {"how": ""}, {}, "no-act"),
        (GOOD | {"how": "bought list"}, {"act": {"column": "how", "none_in": ["bought list"]}}, "no-act"),
        (GOOD, {"act": {"column": "how", "type_of": {"form": "consent.withdrawn"}}}, "grant-in-a-refusal"),
        (GOOD, {"purposes": {}}, "purpose-not-mapped"),
        (GOOD | {"all": "no object"}, {"decisions": {"object": "all"}}, "object-not-readable"),
        (GOOD | {"all": "no list"}, {"decisions": {"items": "all", "name": "n", "decision": "d"}}, "list-not-readable"),
    ],
)
def test_why_a_line_is_refused(values: dict[str, Any] | None, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(NoEvent, match=f"^{reason}$"):
        event(values, **changes)


def test_a_contact_is_no_consent_but_may_have_said_no() -> None:
    assert event(GOOD | {"how": "", "news": "no"})["type"] == "consent.refused"
    twice: dict[str, Any] = {
        "decisions": {"columns": {"news": "news", "offers": "offers"}},
        "purposes": {"news": "n", "offers": "n"},
    }
    assert event(GOOD | {"offers": "no"}, **twice)["data"]["decisions"][0]["decision"] == "denied"


@pytest.mark.parametrize(
    ("value", "time", "made"),
    [
        ("2024-03-01 10:00:00", {"form": "iso", "zone": "Europe/Paris"}, "2024-03-01T09:00:00.000000Z"),
        ("2024-03-01 10:00:00 UTC", {"form": "iso"}, "2024-03-01T10:00:00.000000Z"),
        ("2024-07-01T10:00:00+02:00", {"form": "iso"}, "2024-07-01T08:00:00.000000Z"),
        (1709287200, {"form": "seconds"}, "2024-03-01T10:00:00.000000Z"),
        ("1709287200123", {"form": "milliseconds"}, "2024-03-01T10:00:00.123000Z"),
        ("01.03.2024 10:00", {"format": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"}, "2024-03-01T09:00:00.000000Z"),
    ],
)
def test_times(value: Any, time: dict[str, str], made: str) -> None:
    assert event(GOOD | {"when": value}, time={"column": "when", **time})["time"] == made


# What each vendor's export holds, by its documentation; the purposes are the site's.
EXPORTS: dict[str, tuple[dict[str, Any], str, dict[str, str]]] = {
    "usercentrics": (
        {
            "Controller ID": "c0ffee",
            "Timestamp": "2024-03-01T10:00:00Z",
            "CMP Configuration ID": "x",
            "CMP Configuration Version": "1.2.3",
            "Consent Action": "onAcceptAllServices",
            "Data Processing Service ID": "HkocEodjb7",
            "Data Processing Service Version": "9",
            "Consent Given": "true",
            "Consent String": "",
        },
        "HkocEodjb7",
        {"cookie": "c0ffee"},
    ),
    "didomi": (
        {
            "id": "9556b7f5-ae22-4616-97f9-3f61e22f0ec7",
            "created_at": "2024-03-01T10:00:00Z",
            "user": {"id": "u-1", "organization_user_id": "a-1"},
            "consents": {"purposes": [{"id": "cookies", "enabled": True}]},
        },
        "cookies",
        {"account": "a-1", "cookie": "u-1"},
    ),
    "iubenda": (
        {
            "id": "3e9a",
            "timestamp": "2024-03-01 10:00:00 UTC",
            "subject": {"id": "s-1", "email": "ada@mail.example"},
            "preferences": {"newsletter": "true"},
            "source": "public",
        },
        "newsletter",
        {"email": "ada@mail.example", "account": "s-1"},
    ),
    "onetrust": (
        {
            "identifier": "ada@mail.example",
            "interactionDate": "2024-03-01T10:00:00Z",
            "purposes": [{"Id": "514780d1", "TransactionType": "CONFIRMED"}],
        },
        "514780d1",
        {"email": "ada@mail.example"},
    ),
    "cookiebot": (
        {
            "Consent ID": "k3y==",
            "Date and time (UTC)": "2024-03-01 10:00:00",
            "Preferences": "true",
            "Statistics": "",
            "Marketing": "",
        },
        "preferences",
        {"cookie": "k3y=="},
    ),
}


@pytest.mark.parametrize("name", sorted(presets()))
def test_each_preset_reads_what_its_vendor_writes(name: str, tmp_path: Path) -> None:
    values, theirs, identifiers = EXPORTS[name]
    ours = tmp_path / "mapping.yaml"
    ours.write_text(yaml.safe_dump({"purposes": {theirs: "newsletter"}}), encoding="utf-8")
    made = Events(meaning_of(name, ours), "shop.example", SHA256).event(Line(1, values))
    assert made["time"] == "2024-03-01T10:00:00.000000Z"
    assert {i["type"]: i["value"] for i in made["data"]["subject"]["identifiers"]} == identifiers
    assert made["data"]["decisions"] == [{"purpose": "newsletter", "decision": "granted", "legal_basis": "consent"}]


def test_a_banner_that_consents_by_itself_is_no_act(tmp_path: Path) -> None:
    values, theirs, _ = EXPORTS["usercentrics"]
    ours = tmp_path / "mapping.yaml"
    ours.write_text(yaml.safe_dump({"purposes": {theirs: "newsletter"}}), encoding="utf-8")
    with pytest.raises(NoEvent, match="no-act"):
        Events(meaning_of("usercentrics", ours), "shop.example", SHA256).event(
            Line(1, values | {"Consent Action": "onInitialPageLoad"})
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "red"},
        {"time": {"column": "when"}},
        {"act": {}},
        {"identifiers": []},
        {"legal_basis": "whim"},
        {"decisions": {"columns": {}}},
    ],
)
def test_a_mapping_that_means_nothing(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="the mapping is not valid at /"):
        mapping(**changes)


# --- the file -----------------------------------------------------------------------------------------------------


def test_a_bad_line_costs_its_neighbours_nothing(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(
        b'\xef\xbb\xbfmail,news\r\na@b.example,"yes\nand more"\r\n\r\nb@b.example\r\n'
        b"c@b.example,no\r\n\xff@b.example,no\r\n"
    )
    lines = list(read_csv(path, ","))
    assert [(line.number, line.values is None) for line in lines] == [(1, False), (2, True), (3, False), (4, False)]
    assert lines[0].values == {"mail": "a@b.example", "news": "yes\nand more"}
    path.write_bytes(b'{"a": 1}\n\nnonsense\n[1]\n{"b": {"c": 2}}\n')
    assert [line.values is None for line in read_ndjson(path)] == [False, True, True, False]
    path.write_bytes(b"")
    with pytest.raises(ConfigurationError, match="no heading"):
        list(read_csv(path, ","))


# --- the whole way ------------------------------------------------------------------------------------------------


class Shop:
    """Ingest as a process of its own, the ledger in this one, and a file to import."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.deployment = Deployment(database, folder)
        self.folder = folder
        self.port = free_port()
        self.ingest = ServiceProcess("ingest", self.deployment.ingest_environment(self.port), folder / "ingest.log")
        self.report = folder / "report.ndjson"

    async def start(self) -> None:
        await self.deployment.create()
        key = await self.deployment.add_server_key()
        (self.folder / "key").write_text(key, encoding="ascii")
        (self.folder / "mapping.yaml").write_text(
            yaml.safe_dump(PLAIN | {"notice": {"column": "version", "hashes": {"1": SHA256}}}), encoding="utf-8"
        )

    async def ready(self) -> None:
        """Ingest needs the ledger's sealing key, so the ledger runs before."""
        self.ingest.start()

        async def answers() -> bool:
            try:
                async with httpx2.AsyncClient() as client:
                    return (await client.get(f"http://127.0.0.1:{self.port}/health/ready")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(answers, deadline_s=30, what="ingest is ready")

    def write(self, rows: list[dict[str, str]]) -> Path:
        path = self.folder / "list.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["mail", "when", "how", "news", "version"])
            writer.writeheader()
            writer.writerows({"version": "1"} | row for row in rows)
        return path

    def command(self, path: Path, *more: str) -> "subprocess.Popen[bytes]":
        asked = [sys.executable, "-m", "services.cli.main", "import", str(path), "--site", "shop.example"]
        asked += ["--key-file", str(self.folder / "key"), "--mapping", str(self.folder / "mapping.yaml")]
        asked += ["--report", str(self.report), "--ingest", f"http://127.0.0.1:{self.port}", *more]
        return subprocess.Popen(
            asked, cwd=REPOSITORY, env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    async def run(self, path: Path, *more: str) -> tuple[int, bytes, bytes]:
        """To its end, while the ledger goes on in this process: exit code, output, errors."""
        process = self.command(path, *more)
        out, err = await asyncio.to_thread(process.communicate, timeout=90)
        return process.returncode, out, err

    def reported(self) -> list[tuple[int, str]]:
        lines = self.report.read_bytes().splitlines()
        return [(row["line"], row["reason"]) for row in map(orjson.loads, lines)]


@pytest.fixture
async def shop(database: Database, tmp_path: Path) -> AsyncIterator[Shop]:
    made = Shop(database, tmp_path)
    await made.start()
    async with made.deployment.ledger():
        await made.ready()
        try:
            yield made
        finally:
            made.ingest.stop()


def rows(count: int) -> tuple[list[dict[str, str]], list[int]]:
    """Lines of which every 97th is bad, and the numbers of those."""
    made = [GOOD | {"mail": f"p{number}@mail.example"} for number in range(1, count + 1)]
    bad = list(range(97, count + 1, 97))
    for position, number in enumerate(bad):
        made[number - 1] = made[number - 1] | ({"how": ""} if position % 2 else {"mail": "p" * 400})
    return made, bad


async def test_killed_half_way_and_started_again_it_is_the_same(shop: Shop) -> None:
    made, bad = rows(5000)
    path = shop.write(made)
    state = shop.report.with_name("report.ndjson.state")
    first = shop.command(path)

    async def began() -> bool:
        return state.exists() and json.loads(state.read_text())["lines"] > 0

    await until(began, deadline_s=60, what="the first window is done")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    done = json.loads(state.read_text())["lines"]
    assert done < 5000
    # What a crash between the report and the state leaves.
    with shop.report.open("ab") as report:
        report.write(b'{"line": 1, "reason": "half a li')
    code, out, err = await shop.run(path)
    assert code == 1, err
    assert f"going on after line {done}".encode() in err
    assert [number for number, _ in shop.reported()] == bad
    assert Counter(reason for _, reason in shop.reported()) == {"no-act": 25, "invalid-value": 26}
    assert await shop.deployment.size() == 5000 - len(bad)
    assert f"{5000 - len(bad)}  recorded".encode() in out
    # Once more changes nothing.
    await shop.run(path)
    assert await shop.deployment.size() == 5000 - len(bad)
    assert [number for number, _ in shop.reported()] == bad
    assert b"p1@mail" not in out + err + shop.report.read_bytes()


async def test_whoever_was_erased_stays_away(shop: Shop) -> None:
    path = shop.write([GOOD, GOOD | {"mail": "bob@mail.example"}])
    await shop.run(path)
    await shop.deployment.recorded(2)
    ada = await shop.deployment.subject_of("ada@mail.example", "email")
    assert ada is not None
    await shop.deployment.publish([shop.deployment.seal_erasure(ada)])

    async def gone() -> bool:
        return await shop.deployment.subject_of("ada@mail.example", "email") is None

    await until(gone, deadline_s=30, what="the person is erased")
    # Another list from another drawer has the same people, from before.
    again = shop.write([GOOD | {"when": "2023-01-01T00:00:00Z"}, GOOD | {"mail": "cleo@mail.example"}])
    shop.report.with_name("report.ndjson.state").unlink()
    await shop.run(again)
    assert shop.reported() == [(1, "erased-person")]
    assert await shop.deployment.subject_of("ada@mail.example", "email") is None
    assert await shop.deployment.subject_of("cleo@mail.example", "email") is not None


async def test_a_dry_run_sends_nothing_and_a_wrong_file_is_told(shop: Shop) -> None:
    made, bad = rows(300)
    path = shop.write(made)
    _, out, _ = await shop.run(path, "--dry-run")
    # What ingest alone refuses, it cannot see.
    assert b"1  no-act" in out
    assert b"299  would-be-sent" in out
    assert await shop.deployment.size() == 0
    await shop.run(path)
    assert file_hash(path) in shop.report.with_name("report.ndjson.state").read_text()
    other = shop.write([GOOD])
    code, _, err = await shop.run(other)
    assert code == 78
    assert b"is of another file, mapping or site" in err
    assert len(bad) == 3
