"""A real ledger on Postgres and a local authority: tokens at the interval, for a wish, and after a restart."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.timestamp import read_roots, verify_timestamp
from services.ledger.evidence.authorities import read_authorities
from services.ledger.service import LedgerService
from tests.support.databases import Database
from tests.support.deployment import Deployment
from tests.support.timestamps import asking, record, sample, tokens, until_fulfilled, until_tokens, wish
from tests.support.tsa import TimestampAuthority
from tests.support.tsa_tokens import issue

pytestmark = pytest.mark.integration


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


async def test_a_token_stands_over_the_note_and_a_wish_does_not_wait_for_the_interval(
    deployment: Deployment, timestamp_authority: TimestampAuthority
) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    async with deployment.ledger(**asking(deployment, timestamp_authority)) as ledger:
        await record(deployment, 1)
        await until_tokens(deployment, (1, "local"))
        assert sample(ledger, "sayso_ledger_timestamps_total", authority="local", outcome="obtained") == 1
        assert sample(ledger, "sayso_ledger_timestamps_total", authority="local", outcome="away") == 0
        age = sample(ledger, "sayso_ledger_seconds_since_timestamp", authority="local")
        assert age is not None
        assert 0 <= age < 10
        await record(deployment, 2)
        await wish(deployment, 2)
        await until_fulfilled(deployment)
        assert await tokens(deployment) == [(1, "local"), (2, "local")]
    roots = read_roots(timestamp_authority.roots_pem.read_bytes())
    for row in await deployment.fetch(
        "SELECT t.*, c.note FROM timestamps t JOIN checkpoints c USING (controller, log, size)"
    ):
        stamp = verify_timestamp(row["response"], row["note"].encode(), roots, nonce=row["nonce"])
        assert (row["gen_time"], row["verified_by"]) == (stamp.gen_time, "rfc3161-client")
        assert began <= stamp.gen_time <= datetime.now(UTC) + timedelta(seconds=1)
        assert row["note"].count("\u2014") == 1


async def test_one_token_an_interval_and_only_for_what_is_new(
    deployment: Deployment, timestamp_authority: TimestampAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployment.ledger(**asking(deployment, timestamp_authority, interval_s=1)):
        await record(deployment, 1)
        await until_tokens(deployment, (1, "local"))
        await record(deployment, 2)
        await until_tokens(deployment, (1, "local"), (2, "local"))
    times = await deployment.fetch("SELECT obtained_at FROM timestamps ORDER BY seq")
    assert times[1]["obtained_at"] - times[0]["obtained_at"] >= timedelta(seconds=1)
    asked = timestamp_authority.asked
    # The hour is still running after a restart, and what has a token needs none.
    monkeypatch.setattr("services.ledger.evidence.timestamps.LOOK_AT_HEADS_S", 0)
    async with deployment.ledger(**asking(deployment, timestamp_authority)):
        await record(deployment, 3)
        for _ in range(3):
            # A wish is settled at the begin of a round that looks at what is published too: rounds have been.
            await wish(deployment, 2)
            await until_fulfilled(deployment)
    assert timestamp_authority.asked == asked
    assert await tokens(deployment) == [(1, "local"), (2, "local")]


async def test_without_authorities_no_wish_keeps_a_proof_waiting(deployment: Deployment) -> None:
    async with deployment.ledger():
        await record(deployment, 1)
        await wish(deployment, 1)
        await until_fulfilled(deployment)
    assert await tokens(deployment) == []


async def test_what_the_strict_parser_refuses_openssl_verifies(deployment: Deployment, tmp_path: Path) -> None:
    with TimestampAuthority(tmp_path / "chained", "chained", chain=True).served() as authority:
        async with deployment.ledger(**asking(deployment, authority)):
            await record(deployment, 1)
            await until_tokens(deployment, (1, "chained"))
    assert [row["verified_by"] for row in await deployment.fetch("SELECT verified_by FROM timestamps")] == ["openssl"]


async def test_of_two_ledgers_one_asks(deployment: Deployment, timestamp_authority: TimestampAuthority) -> None:
    settings = asking(deployment, timestamp_authority)
    asked = timestamp_authority.asked
    async with deployment.ledger(**settings), deployment.ledger(**settings):
        for number in (1, 2, 3):
            await record(deployment, number)
            await wish(deployment, number)
        await until_fulfilled(deployment)
    assert timestamp_authority.asked == asked + 3
    # Whoever had the turn has given it away.
    async with deployment.ledger(**settings):
        await record(deployment, 4)
        await wish(deployment, 4)
        await until_fulfilled(deployment)
    assert (4, "local") in await tokens(deployment)


class TestAuthoritiesFile:
    """A mistake in the file keeps the ledger from starting, with a sentence that says where."""

    def read(self, folder: Path, text: str) -> None:
        path = folder / "authorities.yaml"
        path.write_text(text)
        read_authorities(path)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "not valid at /"),
            ("[]", "not valid at /"),
            ("- name: a\n", "not valid at /0/url"),
            ("- {name: A b, url: 'http://x/', roots: roots.pem}", "not valid at /0/name"),
            ("- {name: a, url: 'ftp://x/', roots: roots.pem}", "not valid at /0/url"),
            ("- {name: a, url: 'http://me:secret@x/', roots: roots.pem}", "not valid at /0/url"),
            ("- {name: a, url: 'http://x:99999999/', roots: roots.pem}", "the url or the policy of a"),
            ("- {name: a, url: 'http://x/', roots: roots.pem, policy: 1.2}", "not valid at /0/policy"),
            ("- {name: a, url: 'http://x/', roots: roots.pem, policy: 0.50.1}", "the url or the policy of a"),
            ("- {name: a, url: 'http://x/', roots: roots.pem, timeout: 3}", "not valid at /0/timeout"),
            ("- {name: a, url: 'http://x/', roots: gone.pem}", "cannot read the roots of a"),
            ("- {name: a, url: 'http://x/', roots: empty.pem}", "holds no certificates in PEM"),
            ("- {name: a, url: 'http://x/', roots: signer.pem}", "no root"),
            ("- {name: a, url: 'http://x/', roots: issuer.pem}", "no root"),
            ("- &a {name: a, url: 'http://x/', roots: roots.pem}\n- *a", "twice"),
            ("- {", "cannot be read as YAML"),
        ],
    )
    def test_mistakes(self, text: str, said: str, tmp_path: Path) -> None:
        root = issue("root", ca=True)
        (tmp_path / "roots.pem").write_bytes(root.root_pem)
        (tmp_path / "empty.pem").write_bytes(b"")
        (tmp_path / "signer.pem").write_bytes(issue("self-signed").root_pem)
        issuer = issue("issuer", root, ca=True)
        (tmp_path / "issuer.pem").write_bytes(type(issuer)(issuer.certificate, issuer.key).root_pem)
        with pytest.raises(ConfigurationError) as refused:
            self.read(tmp_path, text)
        assert said in str(refused.value)
        assert "secret" not in str(refused.value)

    def test_the_ledger_refuses_to_start(self, tmp_path: Path, database: Database) -> None:
        deployment = Deployment(database, tmp_path)
        with pytest.raises(ConfigurationError, match="cannot be read as YAML"):
            LedgerService(deployment.settings(timestamp_authorities_file=tmp_path / "gone.yaml"))
