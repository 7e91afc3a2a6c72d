"""The operator's commands against real Postgres, through the console script's own entry, as an operator types them."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
import yaml

from schemas.notices import notice_hash
from schemas.parties import details_bytes
from services.capabilities import Capabilities
from services.cli.notices import read_notice
from services.keys import make_secret, secret_digest
from tests.support.databases import Database
from tests.support.rows import controller_details

pytestmark = pytest.mark.integration

NOTICE = Path(__file__).resolve().parents[3] / "services" / "cli" / "demo" / "notices" / "shop-en.yaml"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(database: Database, tmp_path: Path) -> Run:
    """Type a command."""

    def type_it(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "services.cli.main", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "SAYSO_ADMIN_DATABASE_URL": database.dsn(), **environment},
        )

    return type_it


@pytest.fixture
def site(run: Run) -> str:
    """A site with its controller and log."""
    done = run("controller", "create", "acme", "--legal-name", "Acme SA", "--contact", "dpo@acme.example")
    assert done.returncode == 0, done.stderr
    done = run(
        *("site", "create", "shop.acme.example", "--controller", "acme", "--log", "acme"),
        *("--log-host", "proof.acme.example", "--origin", "https://shop.acme.example"),
    )
    assert done.returncode == 0, done.stderr
    return "shop.acme.example"


async def fetch(database: Database, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(database.dsn())
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def test_a_site_has_its_log_and_origins(run: Run, site: str, database: Database) -> None:
    assert run("site", "allow-origin", site, "https://m.acme.example").returncode == 0
    assert run("site", "allow-origin", site, "https://m.acme.example").returncode == 0
    done = run("site", "list", "--controller", "acme")
    assert "https://shop.acme.example https://m.acme.example" in done.stdout
    (log,) = await fetch(database, "SELECT name, origin, vkey FROM logs WHERE kind = 'consent'")
    assert tuple(log.values()) == ("acme", "proof.acme.example/logs/acme", None)
    assert "acme" in run("controller", "list").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("controller", "create", "acme", "--legal-name", "x", "--contact", "x"), "a controller acme already"),
        (("controller", "create", "Acme", "--legal-name", "x", "--contact", "x"), "a controller's name is"),
        (("site", "create", "b", "--controller", "none", "--log", "b"), "no controller none"),
        (("site", "create", "b", "--controller", "acme", "--log", "b"), "--log-host"),
        (("site", "create", "shop.acme.example", "--controller", "acme", "--log", "acme"), "exists already"),
        (("site", "allow-origin", "shop.acme.example", "shop.acme.example"), "as a browser sends it"),
        (("site", "allow-origin", "none", "https://x.example"), "no site none"),
        (("key", "create", "--site", "shop.acme.example"), "--site and --kind"),
        (("key", "create", "--site", "none", "--kind", "pk"), "no site none"),
        (("key", "revoke", "pk_none"), "no key of this name"),
        (("key", "create", "--controller", "acme", "--role", "dpo", "--limit-to", "shop.acme.example"), "role site"),
        (("key", "rotate", "access", "ak_none"), "no key of this name"),
        (("person", "invite", "acme", "--name", "Ada", "--role", "dpo"), "SAYSO_QUERY_PUBLIC_URL"),
        (("controller", "show", "none"), "no controller none"),
        (("controller", "describe", "acme", "/nowhere.yaml"), "cannot be read"),
        (("controller", "describe", "acme", str(NOTICE)), "see its member /"),
        (("notice", "publish", "/nowhere.yaml", "--site", "shop.acme.example"), "cannot be read"),
        (("notice", "match", "xyz", "0" * 64, "--controller", "acme"), "64 lower-case hex digits"),
        (("notice", "match", "0" * 64, "0" * 64, "--controller", "acme"), "has not published that notice"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(run: Run, site: str, words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.returncode == os.EX_CONFIG
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


async def test_a_controller_is_described_and_shown(run: Run, site: str, tmp_path: Path, database: Database) -> None:
    assert "sayso controller describe acme FILE.yaml" in run("controller", "show", "acme").stdout
    file = tmp_path / "acme.yaml"
    file.write_text(yaml.safe_dump(controller_details()), encoding="utf-8")
    assert run("controller", "describe", "none", str(file)).returncode == os.EX_CONFIG
    assert run("controller", "describe", "acme", str(file)).returncode == 0
    (row,) = await fetch(database, "SELECT details FROM controllers")
    assert row["details"] == details_bytes(controller_details())
    file.write_text(run("controller", "show", "acme").stdout, encoding="utf-8")
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == controller_details()


async def test_keys_are_printed_once_and_kept_as_digests(run: Run, site: str, database: Database) -> None:
    server = run("key", "create", "--site", site, "--kind", "sk").stdout.strip()
    app = run("key", "create", "--site", site, "--kind", "app").stdout.strip()
    browser = run("key", "create", "--site", site, "--kind", "pk").stdout.strip()
    access = run("key", "create", "--controller", "acme", "--role", "dpo").stdout.strip()
    assert await fetch(database, "SELECT FROM access_keys WHERE expires_at IS NULL") == []
    name, _, secret = server.rpartition("_")
    stored = {row["site_key"]: row["secret_sha256"] for row in await fetch(database, "SELECT * FROM site_keys")}
    assert stored == {name: secret_digest(secret), browser: None, app: None}
    (found,) = await fetch(database, f"SELECT * FROM find_site_key('{name}')")
    assert (found["site_name"], found["kind"], found["origins"]) == (site, "sk", ["https://shop.acme.example"])
    listed = run("key", "list").stdout
    assert secret not in listed
    assert access.rpartition("_")[2] not in listed
    # With its secret or without: both name the key.
    assert run("key", "revoke", server).returncode == 0
    assert run("key", "revoke", app).returncode == 0
    assert run("key", "revoke", access.rpartition("_")[0]).returncode == 0
    assert await fetch(database, f"SELECT * FROM find_site_key('{name}')") == []
    assert await fetch(database, f"SELECT * FROM find_access_key('{access.rpartition('_')[0]}')") == []


async def test_an_access_key_is_limited_ends_and_is_replaced(run: Run, site: str, database: Database) -> None:
    words = ("--controller", "acme", "--role", "site", "--label", "newsletter", "--days", "30", "--limit-to", site)
    old = run("key", "create", *words).stdout.strip()
    replaced = run("key", "rotate", "access", old, "--overlap", "2h")
    assert replaced.returncode == 0, replaced.stderr
    names = [key.rpartition("_")[0] for key in (old, replaced.stdout.strip())]
    rows = [(await fetch(database, f"SELECT * FROM find_access_key('{name}')"))[0] for name in names]
    assert [(row["role"], row["sites"]) for row in rows] == [("site", [site])] * 2
    left = [(row["expires_at"] - datetime.now(UTC)) / timedelta(hours=1) for row in rows]
    assert left == [pytest.approx(2, abs=0.1), pytest.approx(30 * 24, abs=0.1)]


async def test_the_first_person_is_invited_on_the_command_line(
    run: Run, site: str, tmp_path: Path, database: Database
) -> None:
    secret = make_secret(tmp_path / "links.key")
    settings = {
        "SAYSO_LINK_KEY_FILE": str(tmp_path / "links.key"),
        "SAYSO_QUERY_PUBLIC_URL": "https://answers.acme.example",
    }
    done = run("person", "invite", "acme", "--name", "Ada", "--role", "admin", **settings)
    assert done.returncode == 0, done.stderr
    url, _, token = done.stdout.splitlines()[-1].partition("?invitation=")
    assert url == "https://answers.acme.example/v1/sign-in"
    claims = Capabilities(secret).open("invite", token, 0)
    assert claims is not None
    (row,) = await fetch(database, "SELECT person, name, role, issuer FROM people")
    assert tuple(row.values())[1:] == ("Ada", "admin", None)
    assert (claims["controller"], claims["person"]) == ("acme", str(row["person"]))
    assert str(row["person"]) in run("person", "list").stdout
    assert run("person", "remove", str(row["person"])).returncode == 0
    assert "nobody of this number" in run("person", "remove", str(row["person"])).stderr


async def test_a_publisher_is_registered_once_and_can_be_revoked(run: Run, tmp_path: Path, database: Database) -> None:
    make_secret(tmp_path / "epochs.key")
    first = run("key", "register-publisher", str(tmp_path / "epochs.key"))
    assert first.returncode == 0, first.stderr
    assert run("key", "register-publisher", str(tmp_path / "epochs.key")).stdout == first.stdout
    (row,) = await fetch(database, "SELECT encode(publisher, 'hex') AS name, service, types FROM publishers")
    assert row["name"] in first.stdout
    assert (row["service"], "consent.given" in row["types"], "subject.erased" in row["types"]) == (
        "ingest",
        True,
        False,
    )
    make_secret(tmp_path / "query.key")
    assert run("key", "register-publisher", "--service", "query", str(tmp_path / "query.key")).returncode == 0
    (asker,) = await fetch(database, "SELECT types FROM publishers WHERE service = 'query'")
    assert ("consent.given" in asker["types"], "subject.erased" in asker["types"]) == (False, True)
    assert run("key", "revoke", row["name"]).returncode == 0
    assert len(await fetch(database, "SELECT FROM publishers WHERE revoked_at IS NOT NULL")) == 1


async def test_a_notice_is_its_hash(run: Run, site: str, database: Database) -> None:
    name = notice_hash(read_notice(NOTICE)).hex()
    for _ in range(2):
        done = run("notice", "publish", str(NOTICE), "--site", site)
        assert (done.stdout.strip(), done.stderr) == (name, "")
    assert name in run("notice", "list", "--site", site).stdout
    assert run("notice", "match", "ab" * 32, name, "--controller", "acme").returncode == 0
    (match,) = await fetch(database, "SELECT shown, notice FROM notice_matches")
    assert (match["shown"].hex(), match["notice"].hex()) == ("ab" * 32, name)


def test_a_doubtful_notice_is_published_and_the_doubt_said(run: Run, site: str, tmp_path: Path) -> None:
    doubtful = tmp_path / "notice.yaml"
    doubtful.write_text(NOTICE.read_text().replace("legal_basis: consent", "legal_basis: legitimate_interest"))
    done = run("notice", "publish", str(doubtful), "--site", site)
    assert done.returncode == 0
    assert "doubt: chat-history: the notice rests on legitimate_interest" in done.stderr


def test_a_notice_that_is_none_names_the_member(run: Run, site: str, tmp_path: Path) -> None:
    wrong = tmp_path / "notice.yaml"
    wrong.write_text(NOTICE.read_text().replace("language: en", "language: English"))
    done = run("notice", "publish", str(wrong), "--site", site)
    assert done.returncode == os.EX_CONFIG
    assert "/language" in done.stderr


def test_a_database_without_schema_names_the_command(
    run: Run, empty_database: Database, schema_template: object
) -> None:
    # The roles are there because the template was made.
    address = {"SAYSO_ADMIN_DATABASE_URL": empty_database.dsn()}
    assert "run `sayso migrate`" in run("site", "list", **address).stderr


def test_the_doctor_says_what_to_do(run: Run, site: str, tmp_path: Path) -> None:
    key = tmp_path / "root.key"
    make_secret(key)
    key.chmod(0o644)
    gone = str(tmp_path / "authorities.yaml")
    done = run(
        "doctor",
        SAYSO_ROOT_KEY_FILE=str(key),
        SAYSO_STREAM="kafka://127.0.0.1:1",
        SAYSO_TIMESTAMP_AUTHORITIES_FILE=gone,
    )
    assert done.returncode == 1
    said = [line for line in done.stdout.splitlines() if line.startswith("not ok")]
    for expected in (
        "chmod 600",
        "register-publisher",
        "start a ledger",
        "has not opened it",
        "Kafka does not answer",
        "cannot be read as YAML",
    ):
        assert any(expected in line for line in said), expected
    assert "fsync, full_page_writes and synchronous_commit are on" in done.stdout


def test_a_database_that_is_away_is_one_line(run: Run) -> None:
    done = run("site", "list", SAYSO_ADMIN_DATABASE_URL="postgresql://nobody@127.0.0.1:1/x")
    assert done.returncode == os.EX_CONFIG
    assert done.stderr.count("\n") == 1
    assert "does not let us in (ConnectionRefusedError)" in done.stderr


def test_without_a_setting_the_embedded_one_is_named(run: Run) -> None:
    done = run("site", "list", SAYSO_ADMIN_DATABASE_URL="")
    assert ". .sayso/sayso.env" in done.stderr
