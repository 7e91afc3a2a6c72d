"""New signing and sealing keys under a working ledger, on real Postgres: nothing is lost, and verifiers can follow.

Each test runs a whole ledger in this process. A clock is moved by passing `now` or by changing a row.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from schemas.bundle import verify_bundle
from schemas.checkpoint import open_checkpoint
from schemas.errors import CheckpointError, ConfigurationError
from schemas.log_keys import LogKeys, check_log_keys, keys_at, trusted_keys
from schemas.note import VerifierKey, open_note, parse_verifier_key
from schemas.sealing import EPOCH_LIFE_S, Epoch, key_id
from services.keys import SigningKeys, destroy_secret, make_secret, open_provider, sealing_key, write_secret
from services.ledger.fsck.check import check
from services.ledger.log_keys import retire_log_keys, rotate_log_key
from services.ledger.sealing_keys import SealingKeys, open_sealing_keys, rotate_sealing_key, tend_sealing_keys
from services.ledger.service import LedgerService
from services.postgres import Pool, create_pool
from services.query.settings import QuerySettings
from tests.integration.query.conftest import serving
from tests.support import vault
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.wait import until

pytestmark = pytest.mark.integration

WEEK = timedelta(days=7)
MONTH = timedelta(days=30)
TOKEN = "hvs.canary-token"


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


@pytest.fixture
async def pool(deployment: Deployment) -> AsyncIterator[Pool]:
    """As the ledger."""
    pool = await create_pool(deployment.database.dsn(), role="sayso_ledger", size=2, application="test-rotation")
    async with pool:
        yield pool


def signing_keys(deployment: Deployment) -> SigningKeys:
    settings = deployment.settings()
    return SigningKeys(open_provider(settings, settings.ledger_key_dir), settings.ledger_key_dir)


async def rotate(deployment: Deployment, pool: Pool, overlap: timedelta = WEEK) -> VerifierKey:
    async with pool.acquire() as connection:
        return await rotate_log_key(connection, signing_keys(deployment), "shop", overlap)


async def record(deployment: Deployment, numbers: range) -> None:
    await deployment.publish(deployment.seal(consent_event(number)) for number in numbers)
    await deployment.recorded(numbers.stop)


async def checkpoints(deployment: Deployment) -> list[tuple[int, str]]:
    rows = await deployment.fetch("SELECT size, note FROM checkpoints ORDER BY size")
    return [(row["size"], row["note"]) for row in rows]


class Outside:
    """What a stranger sees of a deployment: the query service."""

    def __init__(self, client: httpx2.AsyncClient, key: str) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {key}"}

    async def proof(self, number: int) -> bytes:
        path = f"/v1/events/{consent_event(number)['id']}/proof"
        response = await self._client.get(path, headers=self._headers)
        assert response.status_code == 200, response.text
        return response.content

    async def proof_problem(self, number: int) -> httpx2.Response:
        return await self._client.get(f"/v1/events/{consent_event(number)['id']}/proof", headers=self._headers)

    async def keys(self) -> LogKeys:
        page: dict[str, Any] = (await self._client.get("/keys", params={"log": "shop"})).json()
        return check_log_keys({name: page[name] for name in ("format", "log", "keys")})

    async def vkey(self) -> str:
        return (await self._client.get("/logs/shop/vkey")).text.strip()


@asynccontextmanager
async def outside(deployment: Deployment, **changes: Any) -> AsyncIterator[Outside]:
    settings: dict[str, Any] = {
        "database_url": SecretStr(deployment.database.dsn()),
        "root_key_file": deployment.keys / "root.key",
        "event_id_key_file": deployment.keys / "event-ids.key",
        "controller_key_dir": deployment.keys / "controllers",
        "suppression_dir": deployment.directory / "suppression",
        "query_epoch_key_file": deployment.keys / "query" / "epochs.key",
        "capability_key_file": deployment.keys / "capabilities.key",
        "receipt_key_file": deployment.keys / "query" / "receipts.key",
        "link_key_file": deployment.keys / "query" / "links.key",
        "query_pool_size": 2,
    }
    async with (
        serving(QuerySettings(**(settings | changes))) as address,
        httpx2.AsyncClient(base_url=address) as client,
    ):
        yield Outside(client, await deployment.add_access_key("dpo"))


# --- signing keys -----------------------------------------------------------------------------------------------


async def test_a_verifier_with_the_first_key_follows_to_the_next(deployment: Deployment, pool: Pool) -> None:
    async with deployment.ledger(), outside(deployment) as stranger:
        await record(deployment, range(3))
        first = await stranger.vkey()
        before = await stranger.proof(0)

        second = await rotate(deployment, pool)
        await record(deployment, range(3, 6))
        during = await stranger.proof(4)
        assert await stranger.vkey() == first

        ended = "UPDATE log_keys SET ends_at = now() WHERE number = 1 AND log = $1"
        await deployment.fetch(ended, deployment.log)
        async with pool.acquire() as connection:
            assert len(await retire_log_keys(connection, signing_keys(deployment), "shop")) == 1
        assert not (deployment.keys / "ledger" / "logs" / "shop.key").exists()
        await record(deployment, range(6, 9))
        after = await stranger.proof(7)
        assert await stranger.vkey() == str(second)
        chain = await stranger.keys()

    # Whoever knows the first key alone verifies what was made before and during the overlap.
    for proof in (before, during):
        verify_bundle(proof, vkey=first)
    # What came later is signed by the second alone, to which the statement leads from the first.
    assert trusted_keys(chain, {first}) == trusted_keys(chain, {str(second)}) == {parse_verifier_key(first), second}
    notes = dict(await checkpoints(deployment))
    assert [signature.key for signature in open_note(notes[6], keys_at(chain, 6)).signatures] == [
        parse_verifier_key(first),
        second,
    ]
    with pytest.raises(CheckpointError, match="no known key"):
        open_checkpoint(notes[9], chain.origin, [parse_verifier_key(first)])
    verify_bundle(after, vkey=str(second))
    # A ledger starts without the key that has ended.
    async with deployment.ledger():
        await record(deployment, range(9, 10))
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings


async def test_a_checkpoint_never_lacks_a_key_that_had_begun(deployment: Deployment, pool: Pool) -> None:
    """Rotations fall between signing and publishing: those checkpoints are signed anew."""
    async with deployment.ledger(batch_events_max=2):
        await deployment.recorded(0)
        await deployment.publish(deployment.seal(consent_event(number)) for number in range(60))
        for _ in range(6):
            await rotate(deployment, pool)
        await deployment.recorded(60)
    rows = await deployment.fetch("SELECT vkey, statement FROM log_keys ORDER BY number")
    assert len(rows) == 7
    async with outside(deployment) as stranger:
        chain = await stranger.keys()
    for size, note in await checkpoints(deployment):
        begun = keys_at(chain, size)
        assert tuple(signature.key for signature in open_note(note, begun).signatures) == begun, size


async def test_a_key_that_changes_while_a_checkpoint_is_signed_makes_it_be_signed_again(
    deployment: Deployment, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign, asked, go_on = SigningKeys.sign, asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(keys: SigningKeys, reference: str, message: bytes) -> bytes:
        if message.split(b"\n")[1:2] == [b"1"] and not go_on.is_set():
            loop.call_soon_threadsafe(asked.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
        return sign(keys, reference, message)

    async with deployment.ledger():
        await deployment.recorded(0)
        monkeypatch.setattr(SigningKeys, "sign", slow)
        await deployment.publish([deployment.seal(consent_event(0))])
        await asyncio.wait_for(asked.wait(), 10)
        monkeypatch.setattr(SigningKeys, "sign", sign)
        second = await rotate(deployment, pool)
        go_on.set()
        await deployment.recorded(1)
    (_, (size, note)) = await checkpoints(deployment)
    assert size == 1
    assert open_checkpoint(note, "log.example/logs/shop", [second]).size == 1


async def test_a_key_that_has_not_ended_is_not_retired(deployment: Deployment, pool: Pool) -> None:
    async with deployment.ledger():
        await deployment.recorded(0)
        await rotate(deployment, pool)
        async with pool.acquire() as connection:
            with pytest.raises(ConfigurationError, match="no key of the log shop has ended; the next to end: key 1"):
                await retire_log_keys(connection, signing_keys(deployment), "shop")
            with pytest.raises(ConfigurationError, match="there is no open log other"):
                await rotate_log_key(connection, signing_keys(deployment), "other", WEEK)


async def test_the_ledger_refuses_to_start_without_its_keys(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.recorded(0)
    path = deployment.keys / "ledger" / "logs" / "shop.key"
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(ConfigurationError, match=r"signing key .* of an open log is missing"):
        await LedgerService(deployment.settings()).run()
    write_secret(path, os.urandom(32))
    with pytest.raises(ConfigurationError, match="not the one that the log shop was published with"):
        await LedgerService(deployment.settings()).run()
    path.unlink()
    write_secret(path, kept)
    (deployment.keys / "ledger" / "sealing.key").unlink()
    with pytest.raises(ConfigurationError, match=r"sealing key [0-9a-f]{16} that messages are sealed to is missing"):
        await LedgerService(deployment.settings()).run()
    token = deployment.directory / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    with pytest.raises(ConfigurationError, match="does not answer") as caught:
        LedgerService(deployment.settings(key_provider="vault://127.0.0.1:1/transit", vault_token_file=token))
    assert TOKEN not in str(caught.value)


async def test_a_ledger_on_vault_waits_while_vault_is_sealed(
    deployment: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = deployment.directory / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    with vault.serving(TOKEN) as transit:
        changes = {"key_provider": f"vault://{transit.address}/transit", "vault_token_file": token}
        async with deployment.ledger(**changes):
            await record(deployment, range(1))
            monkeypatch.setattr(transit, "refuse_with", (503, TOKEN.encode()))
            asked = len(transit.requests)
            await deployment.publish([deployment.seal(consent_event(1))])
            await until(lambda: len(transit.requests) > asked, what="the ledger asks Vault to sign")
            monkeypatch.setattr(transit, "refuse_with", None)
            await deployment.recorded(2)
        assert not list((deployment.keys / "ledger").glob("logs/*"))
        (row,) = await deployment.fetch("SELECT vkey, reference FROM log_keys")
        assert row["reference"] == "vault:sayso-log-shop"
        async with outside(deployment, **changes) as stranger:
            verify_bundle(await stranger.proof(1), vkey=row["vkey"])
            monkeypatch.setattr(transit, "refuse_with", (403, TOKEN.encode()))
        async with outside(deployment, **changes) as stranger:
            problem = await stranger.proof_problem(1)
    assert (problem.status_code, problem.json()["type"]) == (503, "/problems/keys-away")
    assert TOKEN not in problem.text + capsys.readouterr().out


async def test_query_with_another_root_key_says_so_and_nothing_more(deployment: Deployment) -> None:
    async with deployment.ledger():
        await record(deployment, range(1))
    other = deployment.directory / "other.key"
    make_secret(other)
    async with outside(deployment, root_key_file=other) as stranger:
        problem = await stranger.proof_problem(0)
    assert (problem.status_code, problem.json()["type"]) == (503, "/problems/keys-away")
    assert str(deployment.directory) not in problem.text


async def test_the_commands(deployment: Deployment) -> None:
    async def sayso(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.cli.main",
            *arguments,
            env={**os.environ, **deployment.ledger_environment()},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()

    root = (deployment.keys / "root.key").read_bytes()
    async with deployment.ledger():
        await record(deployment, range(1))
        said, sealed, _ = await asyncio.gather(
            sayso("key", "rotate", "signing", "shop", "--overlap", "0m"),
            sayso("key", "rotate", "sealing"),
            sayso("key", "rotate", "root"),
        )
        (row,) = await deployment.fetch("SELECT vkey FROM log_keys WHERE number = 2")
        assert row["vkey"] in said
        (current,) = await deployment.fetch("SELECT sealing_key FROM sealing_keys WHERE replaced_at IS NULL")
        assert current["sealing_key"].hex() in sealed
        assert (deployment.keys / "root.key").read_bytes() != root
        assert "key 1" in await sayso("key", "retire", "signing", "shop")
        await record(deployment, range(1, 3))


# --- sealing keys -----------------------------------------------------------------------------------------------


async def current_epoch(deployment: Deployment) -> Epoch:
    """An epoch of a publisher that has just asked what to seal to."""
    (row,) = await deployment.fetch("SELECT sealing_key FROM sealing_keys WHERE replaced_at IS NULL")
    name = row["sealing_key"]
    private = SealingKeys(deployment.keys / "ledger").find(name)
    assert private is not None
    return Epoch(deployment.publisher, private.public_key(), time.time_ns() // 1000)


async def test_nothing_is_lost_while_sealing_keys_rotate(deployment: Deployment, pool: Pool) -> None:
    keys = SealingKeys(deployment.keys / "ledger")
    old = deployment.epoch
    async with deployment.ledger():
        await deployment.recorded(0)
        for wave in range(3):
            # Both a publisher that knows the newest key and one that still seals to the first of all.
            for epoch, start in ((old, 40 * wave), (await current_epoch(deployment), 40 * wave + 20)):
                deployment.epoch = epoch
                await deployment.publish(deployment.seal(consent_event(n)) for n in range(start, start + 20))
            async with pool.acquire() as connection:
                await rotate_sealing_key(connection, keys, datetime.now(UTC))
        await deployment.recorded(120)
    # A ledger that starts now opens with all of them as well.
    deployment.epoch = old
    await deployment.publish([deployment.seal(consent_event(120))])
    async with deployment.ledger():
        await deployment.recorded(121)
    assert not await deployment.fetch("SELECT FROM dead_letters")
    assert len(await deployment.fetch("SELECT FROM sealing_keys WHERE replaced_at IS NOT NULL")) == 3


async def test_a_sealing_key_is_destroyed_only_when_nothing_sealed_to_it_can_come(
    deployment: Deployment, pool: Pool
) -> None:
    folder = deployment.keys / "ledger"
    path = folder / "sealing.key"
    secret = path.read_bytes()
    name = key_id(sealing_key(path).public_key())
    keys = SealingKeys(folder)
    begun = datetime(2026, 11, 1, tzinfo=UTC)
    await open_sealing_keys(pool, keys, begun)

    async def tend(now: datetime) -> int:
        return await tend_sealing_keys(pool, keys, now, replace_after=MONTH, retention=WEEK)

    async def is_destroyed() -> bool:
        rows = await deployment.fetch("SELECT destroyed_at FROM sealing_keys WHERE sealing_key = $1", name)
        assert path.exists() == (rows[0]["destroyed_at"] is None)
        return not path.exists()

    # Not a day too early, and on the day without anybody's command.
    await tend(begun + MONTH - timedelta(seconds=1))
    assert len(list(keys)) == 1
    replaced = begun + MONTH
    await tend(replaced)
    assert len(list(keys)) == 2
    due = replaced + timedelta(seconds=EPOCH_LIFE_S) + WEEK
    # (1) An epoch may live, and the topic keep its messages, until then.
    assert await tend(due - timedelta(seconds=1)) == 0
    # (2) A message waits in the inbox.
    (copy,) = await deployment.publish([deployment.seal(consent_event(0))])
    assert await tend(due) == 0
    assert not await is_destroyed()
    await deployment.fetch("DELETE FROM inbox")
    # (3) One lies among the dead letters, for whoever repairs what set it aside.
    await deployment.fetch(
        "INSERT INTO dead_letters (controller, reason, transport, partition, seq, log, site, epoch, value)"
        " VALUES ($1, 'site-unknown', 'inbox', 0, $2, 'shop', 'shop.example', $3, ''::bytea)",
        deployment.controller,
        copy.seq,
        deployment.epoch.header,
    )
    assert await tend(due) == 0
    assert not await is_destroyed()
    await deployment.fetch("DELETE FROM dead_letters")
    assert await tend(due) == 1
    assert await is_destroyed()
    assert keys.find(name) is None
    # A backup of the key folder brings it back: not for long.
    write_secret(path, secret)
    assert await tend(due) == 0
    assert await is_destroyed()
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1))])
        await deployment.drained()
    (letter,) = await deployment.fetch("SELECT reason FROM dead_letters")
    assert letter["reason"] == "sealing-key-unknown"


async def test_a_crash_while_a_sealing_key_is_made_is_finished_at_the_next_start(
    deployment: Deployment, pool: Pool
) -> None:
    keys = SealingKeys(deployment.keys / "ledger")
    await open_sealing_keys(pool, keys, datetime.now(UTC))
    orphan = keys.make()
    async with deployment.ledger():
        await deployment.recorded(0)
        (row,) = await deployment.fetch("SELECT sealing_key FROM sealing_keys WHERE replaced_at IS NULL")
        assert row["sealing_key"] == orphan


async def test_a_lost_sealing_key_is_given_up_by_command(deployment: Deployment, pool: Pool) -> None:
    keys = SealingKeys(deployment.keys / "ledger")
    await open_sealing_keys(pool, keys, datetime.now(UTC))
    destroy_secret(deployment.keys / "ledger" / "sealing.key")
    with pytest.raises(ConfigurationError, match="sayso key rotate sealing"):
        await open_sealing_keys(pool, keys, datetime.now(UTC))
    async with pool.acquire() as connection:
        await rotate_sealing_key(connection, keys, datetime.now(UTC))
    deployment.epoch = await current_epoch(deployment)
    async with deployment.ledger():
        await record(deployment, range(1))
