"""`sayso catalogue` against real Postgres, in this process: a process a command would cost a second each."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.catalogue import DIRECTORY
from services.cli.main import main
from tests.integration.cli.test_commands import NOTICE, Run, site
from tests.support.databases import Database

pytestmark = pytest.mark.integration

__all__ = ["site"]  # a fixture


@pytest.fixture
def run(database: Database, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Type a command."""
    monkeypatch.setenv("SAYSO_ADMIN_DATABASE_URL", database.dsn())

    def type_it(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["sayso", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfdbinary.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(words, code, said.out.decode(), said.err.decode())

    return type_it


def file_of(folder: Path, name: str, value: Any) -> str:
    path = folder / name
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    return str(path)


def test_files_are_checked_with_the_place_of_the_fault(run: Run, tmp_path: Path) -> None:
    assert "26 services in the catalogue are valid" in run("catalogue", "check").stdout
    assert run("catalogue", "check", str(DIRECTORY / "chatra.yaml")).returncode == 0
    bad = file_of(tmp_path, "chatra.yaml", {"cookies": [{"name": "a", "type": "tasty", "purpose": {"en": "x"}}]})
    unread = tmp_path / "map.yaml"
    unread.write_text("name: [")
    done = run("catalogue", "check", bad, str(unread))
    assert done.returncode == 1
    assert "chatra.yaml: not valid at /cookies/0/type" in done.stderr
    assert "map.yaml cannot be read as YAML at line 1, column" in done.stderr


def test_a_controller_states_services_and_dates_steps(run: Run, site: str, tmp_path: Path) -> None:
    own = file_of(tmp_path, "map.yaml", {"name": "Our map", "category": "preferences"})
    assert run("catalogue", "put", own, "--controller", "acme").stdout == "Stated: map.\n"
    assert "that holds for map already" in run("catalogue", "put", own, "--controller", "acme").stdout
    lighter = file_of(tmp_path, "ours.yaml", {"risk": "low"})
    assert run("catalogue", "put", lighter, "--service", "chatra", "--controller", "acme").returncode == 0
    listed = run("catalogue", "list", "--controller", "acme", "--category", "preferences").stdout
    stated = {line.split()[0]: line.split()[-1] for line in listed.splitlines()}
    assert (stated["map"], stated["chatra"], stated["chaport"]) == ("controller", "override", "catalogue")
    done = run("catalogue", "step", "chatra", "agreement-signed", "--controller", "acme", "--done-on", "2024-01-05")
    assert done.stdout == "chatra: agreement-signed done on 2024-01-05.\n"
    steps = run("catalogue", "steps", "--controller", "acme").stdout
    assert any(line.split()[:4] == ["chatra", "agreement-signed", "due", "2024-01-05"] for line in steps.splitlines())


MISTAKES = [
    (("put", "/nowhere.yaml", "--controller", "acme"), "cannot be read"),
    (("put", str(NOTICE), "--service", "map", "--controller", "acme"), "not valid at /"),
    (("step", "chatra", "bribe-paid", "--controller", "acme"), "sayso catalogue steps --controller acme"),
    (("step", "chatra", "retention-set", "--controller", "acme", "--done-on", "soon"), "YYYY-MM-DD"),
    (("steps", "--controller", "none"), "no controller none"),
    (("policy", "--site", "none"), "no site none"),
]


def test_a_mistake_is_one_line_that_says_what_to_do(run: Run, site: str) -> None:
    for words, said in MISTAKES:
        done = run("catalogue", *words)
        assert done.returncode == os.EX_CONFIG, words
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_site_is_checked_and_its_policy_printed(run: Run, site: str, tmp_path: Path) -> None:
    assert run("notice", "publish", str(NOTICE), "--site", site).returncode == 0
    assert run("catalogue", "check", "--site", site).stdout.endswith("Nothing is amiss.\n")
    policy = json.loads(run("catalogue", "policy", "--site", site, "--language", "fr", "--format", "json").stdout)
    assert policy["cookies"][0]["duration_text"].replace("\xa0", " ") == "1 an"
    assert "Chatra" in run("catalogue", "policy", "--site", site, "--format", "md").stdout
    asks = {"use": "chat-session", "title": {"en": "Chat"}, "legal_basis": ["contract"]}
    members = {"uses": [asks], "cookies": [], "storage": [], "withdrawal": None}
    own = file_of(tmp_path, "chatra.yaml", members)
    assert run("catalogue", "put", own, "--controller", "acme").returncode == 0
    doubted = run("catalogue", "check", "--site", site)
    assert doubted.returncode == 1
    assert "shop-chat 1 (en): chat-session: the notice rests on legitimate_interest" in doubted.stderr
    assert "chat-history: the catalogue does not know this use of Chatra" in doubted.stderr
