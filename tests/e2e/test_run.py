"""`sayso up` as a stranger uses it, and what it survives: kill -9 of any process while events are posted."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from schemas.record import format_time
from services.cli.demo import fetch
from services.cli.demo.commands import CURL
from services.cli.up.binaries import Runner
from tests.support.databases import run_sql
from tests.support.embedded import SaysoUp, processes_in, wait_until_gone

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
SHOP = "shop.lumiere-nord.example"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[SaysoUp]:
    run = SaysoUp(tmp_path)
    yield run
    run.destroy()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SaysoUp]:
    """A demo that stays up, shared by the tests that leave it as they found it."""
    run = SaysoUp(tmp_path_factory.mktemp("demo"))
    run.start("--demo")
    run.wait_until_up()
    yield run
    run.destroy()


class Poster(threading.Thread):
    """Posts events one after the other until told to stop; the same id again until it is accepted."""

    def __init__(self, settings: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self._stop_asked = threading.Event()
        self.who = {"type": "email", "value": f"{uuid.uuid4()}@mail.example"}
        self.accepted: list[str] = []
        self.failures = 0

    def run(self) -> None:
        while not self._stop_asked.is_set():
            event = self._event()
            while not self._post(event):
                self.failures += 1
                self._stop_asked.wait(0.02)
                if self._stop_asked.is_set():
                    return
            self.accepted.append(str(event["id"]))

    def _event(self) -> dict[str, object]:
        decision = {"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}
        return {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": f"/sites/{SHOP}",
            "type": "consent.refused",
            "time": format_time(datetime.now(UTC)),
            "data": {"subject": {"identifiers": [self.who]}, "decisions": [decision]},
        }

    def _post(self, event: dict[str, object]) -> bool:
        try:
            answer = httpx2.post(
                f"{self._settings['INGEST']}/v1/events",
                json=event,
                headers={"authorization": f"Bearer {self._settings['SAYSO_DEMO_SHOP_SK']}"},
                timeout=10,
                trust_env=False,
            )
        except httpx2.HTTPError:
            return False
        assert answer.status_code in {202, 500, 503}, answer.text
        return answer.status_code == httpx2.codes.ACCEPTED

    def wait_for(self, more: int) -> None:
        """Until so many more are accepted."""
        wanted = len(self.accepted) + more
        deadline = time.monotonic() + 60
        while len(self.accepted) < wanted:
            assert self.is_alive(), "posting ended by an error"
            assert time.monotonic() < deadline, f"only {len(self.accepted)} of {wanted} accepted"
            time.sleep(0.01)

    def finish(self) -> None:
        self._stop_asked.set()
        self.join(30)

    def recorded(self) -> list[str]:
        """The ids of this person's records, in the order of their places."""
        headers = {"authorization": f"Bearer {self._settings['SAYSO_DEMO_ACCESS_KEY']}"}
        with httpx2.Client(base_url=self._settings["QUERY"], headers=headers, timeout=20, trust_env=False) as client:
            found = client.post("/v1/subjects/lookup", json={"identifier": self.who})
            if found.status_code != httpx2.codes.OK:
                return []
            ids: list[str] = []
            cursor: dict[str, str] = {}
            while True:
                page = client.get(f"/v1/subjects/{found.json()['subject']}/history", params=cursor).raise_for_status()
                ids += [record["event"] for record in page.json()["records"]]
                if page.json()["next"] is None:
                    return ids
                cursor = {"cursor": page.json()["next"]}

    def wait_until_all_are_recorded(self) -> None:
        """Every accepted event is recorded, and none twice."""
        deadline = time.monotonic() + 30
        missing = set(self.accepted)
        while missing:
            assert time.monotonic() < deadline, f"{len(missing)} of {len(self.accepted)} accepted events are lost"
            try:
                recorded = self.recorded()
            except httpx2.TransportError:
                # Query itself may be starting again.
                time.sleep(0.1)
                continue
            missing -= set(recorded)
            assert len(recorded) == len(set(recorded))


def test_the_demo_once_and_again(up: SaysoUp) -> None:
    up.start("--demo", "--once")
    assert up.wait() == 0, up.said()
    assert "Verified." in up.said()
    assert "NOT VERIFIED" in up.said()
    assert "claire.delattre@mail.example" in up.said()
    assert "shop       open at http://127.0.0.1:" in up.said()
    for name in ("demo.env", "sayso.env"):
        assert stat.S_IMODE((up.home / name).stat().st_mode) == 0o600
    up.start("--demo", "--once")
    assert up.wait() == 0, up.said()
    assert "9 of them were posted by an earlier run and stayed single" in up.said()
    keys = up.home / "demo.env"
    keys.write_text(keys.read_text().replace("SAYSO_DEMO_CAST=", "SAYSO_DEMO_CAST=before-"))
    up.start("--demo", "--once")
    assert up.wait() == os.EX_CONFIG
    assert "holds the demo of an older version" in up.said()


@pytest.mark.parametrize("client", ["as printed", "without curl"])
def test_the_printed_commands_can_be_pasted(demo: SaysoUp, client: str) -> None:
    text = demo.said()
    if client == "without curl":
        text = text.replace(CURL, f"{sys.executable} -m {fetch.__name__}")
    commands = text[text.index("# Now you.") : text.index("Sayso stays up")]
    done = subprocess.run(["bash", "-e"], input=commands, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"status":"recorded"') == 2
    assert "\nVerified.\n" in done.stdout
    # The receipt names the notice by its hash, and its verification says so.
    assert done.stdout.endswith("Verified, with the notes above.\n")


def test_a_second_one_on_the_same_directory_says_so(demo: SaysoUp) -> None:
    second = SaysoUp(demo.home.parent)
    second.output = demo.home.parent / "second.txt"
    second.start()
    assert second.wait() == os.EX_CONFIG
    assert f"already runs on {demo.home} (process {demo.pid})" in second.said()


def test_the_doctor_finds_everything_in_order(demo: SaysoUp) -> None:
    environment = {**os.environ, **demo.settings("demo.env")}
    done = subprocess.run(
        [ROOT / ".venv/bin/sayso", "doctor"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    states = {
        line.split()[0] if line.startswith("ok") else " ".join(line.split()[:3]) for line in done.stdout.splitlines()
    }
    # Nobody outside is asked for evidence until an operator names somebody.
    assert states == {"ok", "not checked witnesses", "not checked timestamps"}


def test_fsck_ends_with_1_when_a_row_was_changed(up: SaysoUp) -> None:
    up.start("--demo")
    up.wait_until_up()
    settings = up.settings("sayso.env")

    def fsck() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "services.cli.main", "fsck"]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **settings})

    assert fsck().returncode == 0
    superuser = settings["SAYSO_ADMIN_DATABASE_URL"].replace("operator@", "postgres@")
    run_sql(superuser, "UPDATE payloads SET what = set_byte(what, 40, get_byte(what, 40) # 1) WHERE index = 3")
    found = fsck()
    assert found.returncode == 1
    assert "WRONG  payloads of lumiere-nord, index 3" in found.stdout


@pytest.mark.parametrize("victim", ["postgres", "ingest", "ledger", "query"])
def test_kill_9_of_a_child_loses_nothing_accepted(demo: SaysoUp, victim: str) -> None:
    poster = Poster(demo.settings("demo.env"))
    poster.start()
    poster.wait_for(20)
    pid = demo.children()[victim]
    os.kill(pid, signal.SIGKILL)
    demo.wait_until_it_says("was ended by SIGKILL: started again")
    poster.wait_for(20)
    poster.finish()
    poster.wait_until_all_are_recorded()
    assert demo.children()[victim] != pid


def test_kill_9_of_the_supervisor_takes_the_children_along_and_loses_nothing(up: SaysoUp) -> None:
    up.start("--demo")
    up.wait_until_up()
    poster = Poster(up.settings("demo.env"))
    poster.start()
    poster.wait_for(20)
    cluster = (up.home / "postgres").resolve()
    left_behind = [*up.children().values(), *processes_in(cluster)]
    lock = cluster / "postmaster.pid"
    _, _, rest = lock.read_text().partition("\n")
    up.end(signal.SIGKILL)
    wait_until_gone(left_behind, 20)
    poster.finish()
    # The numbers of processes are used again: a lock file that stayed names a living stranger of the server's user.
    stranger = subprocess.Popen(["sleep", "600"], **Runner.choose().arguments())
    try:
        lock.write_text(f"{stranger.pid}\n{rest}")
        up.start("--demo")
        up.wait_until_up()
    finally:
        stranger.kill()
        stranger.wait()
    poster.wait_until_all_are_recorded()


def test_an_old_copy_of_the_data_is_neither_recorded_to_nor_signed(up: SaysoUp, tmp_path: Path) -> None:
    up.start("--demo", "--once")
    assert up.wait() == 0, up.said()
    cluster = (up.home / "postgres").resolve()
    subprocess.run(["cp", "-a", cluster, tmp_path / "old"], check=True)
    up.start("--demo")
    up.wait_until_up()
    poster = Poster(up.settings("demo.env"))
    poster.start()
    poster.wait_for(5)
    poster.finish()
    poster.wait_until_all_are_recorded()
    up.end()
    shutil.rmtree(cluster)
    subprocess.run(["cp", "-a", tmp_path / "old", cluster], check=True)
    up.start("--demo")
    assert up.wait() == os.EX_CONFIG
    assert "the ledger has halted, because the database lacks what was signed" in up.said()


def test_ctrl_c_stops_everything_within_seconds(up: SaysoUp) -> None:
    up.start()
    up.wait_until_up()
    assert "shown this once" in up.said()
    left_behind = [*up.children().values(), *processes_in((up.home / "postgres").resolve())]
    assert len(left_behind) > 4
    began = time.monotonic()
    # A terminal sends it to the whole process group.
    os.killpg(up.pid, signal.SIGINT)
    assert up.wait() == 0
    assert time.monotonic() - began < 5
    wait_until_gone(left_behind, 1)
    assert "started again" not in up.said()


def test_taken_ports_are_left_alone(up: SaysoUp) -> None:
    with socket.socket() as usual:
        usual.bind(("127.0.0.1", 0))
        usual.listen()
        taken = str(usual.getsockname()[1])
        up.start(environment={"SAYSO_INGEST_PORT": taken})
        assert up.wait() == os.EX_CONFIG
    assert f"port {taken}, which SAYSO_INGEST_PORT asks for, is taken" in up.said()
