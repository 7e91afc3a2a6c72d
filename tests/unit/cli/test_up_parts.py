"""The parts of `sayso up` that need no server: layout, keys, locks, ports, words for what happened, tables."""

import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from services.cli.output import table
from services.cli.up.binaries import Runner, find_binaries
from services.cli.up.layout import KEY_FILES, Layout, make_keys, only_one, write_settings
from services.cli.up.ports import choose_port, is_free
from services.cli.up.processes import how_it_ended, tail

pytestmark = pytest.mark.unit


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_is_closed_to_others(tmp_path: Path) -> None:
    layout = Layout.make(tmp_path / ".sayso")
    made = make_keys(layout.keys)
    assert [is_new for _, is_new in made] == [True] * len(KEY_FILES)
    assert {mode(path) for path, _ in made} == {0o600}
    assert {mode(path) for path in (layout.home, layout.keys, layout.keys / "ledger", layout.high_water)} == {0o700}


def test_keys_that_are_there_stay(tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path, _ in make_keys(tmp_path)}
    assert not any(is_new for _, is_new in make_keys(tmp_path))
    assert before == {path: path.read_bytes() for path in before}


def test_a_directory_of_an_older_release_gets_the_file_that_it_lacks(tmp_path: Path) -> None:
    made = make_keys(tmp_path)
    (tmp_path / "query" / "links.key").unlink()
    again = make_keys(tmp_path)
    assert [path for path, is_new in again if is_new] == [tmp_path / "query" / "links.key"]
    assert {mode(path) for path, _ in made} == {0o600}


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigurationError, match="--directory"):
        Layout.make(tmp_path / "taken")


def test_only_one_holds_the_directory(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(ConfigurationError, match=f"process {os.getpid()}"), only_one(tmp_path):
        pass
    with only_one(tmp_path), (tmp_path / "up.lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_settings_are_quoted_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text("old")
    path.chmod(0o644)
    write_settings(path, {"A": "it's $HOME"}, "Heading", opening=". other\n")
    assert mode(path) == 0o600
    assert path.read_text() == "# Heading\n. other\nexport A='it'\"'\"'s $HOME'\n"


def test_a_taken_port_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAYSO_TEST_PORT", raising=False)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        assert not is_free(taken)
        assert choose_port("SAYSO_TEST_PORT", taken) > taken


@pytest.mark.parametrize("wrong", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_TEST_PORT", wrong)
    with pytest.raises(ConfigurationError, match="SAYSO_TEST_PORT"):
        choose_port("SAYSO_TEST_PORT", 8080)


def test_two_services_get_two_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAYSO_TEST_PORT", raising=False)
    first = choose_port("SAYSO_TEST_PORT", 18_080)
    assert choose_port("SAYSO_TEST_PORT", first, frozenset({first})) != first


def test_binaries_of_another_version_do_not_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_binaries(Runner(None), tmp_path, None)
    assert found.major in range(15, 19)
    assert find_binaries(Runner(None), tmp_path, found.major).major == found.major
    monkeypatch.setenv("SAYSO_PG_BIN", str(found.folder))
    other = 15 if found.major != 15 else 16
    with pytest.raises(ConfigurationError, match=f"no Postgres {other}, which made the data"):
        find_binaries(Runner(None), tmp_path, other)


def test_a_folder_without_postgres_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_PG_BIN", str(tmp_path))
    with pytest.raises(ConfigurationError, match="in SAYSO_PG_BIN"):
        find_binaries(Runner(None), tmp_path, None)


def test_how_it_ended_is_said_in_words() -> None:
    assert how_it_ended(-9) == "was ended by SIGKILL"
    assert how_it_ended(78) == "ended with exit code 78"


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert tail(log) == "(nothing)"
    log.write_text("".join(f"{number}\n" for number in range(20)))
    assert tail(log).splitlines() == ["14", "15", "16", "17", "18", "19"]


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert table(("a", "b"), [("long", 0), ("", None)]) == "a     b\n----  -\nlong  0\n-     -"
