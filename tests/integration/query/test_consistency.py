"""Consistency between two sizes: over HTTP, and `sayso verify` on two checkpoints that a stranger kept."""

import asyncio
import os
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.consistency import parse_consistency
from schemas.errors import ConfigurationError
from schemas.merkle import verify_consistency
from services.cli.main import app
from tests.integration.query.conftest import serving, settings_of
from tests.support import oracle
from tests.support.rows import Controller, World

pytestmark = pytest.mark.integration


def roots(shop: Controller) -> list[bytes]:
    """The root at every size."""
    leaves = [oracle.leaf(entry) for entry in shop.entries]
    return [oracle.mth(leaves[:size]) for size in range(len(leaves) + 1)]


async def test_any_two_published_sizes(client: httpx2.AsyncClient, shop: Controller) -> None:
    await shop.fill(260)
    note = await shop.publish()
    await shop.fill(9)
    await shop.publish(sign=False)
    root = roots(shop)
    for old, new in ((0, 0), (0, 260), (1, 260), (3, 7), (255, 256), (256, 257), (259, 260), (260, 260)):
        answer = await client.get("/v1/logs/shop/consistency", params={"from": old, "to": new})
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "public, max-age=1"
        proof = parse_consistency(answer.content)
        assert answer.json()["log"] == "shop"
        assert (proof.origin, proof.old_size, proof.new_size) == (shop.origin, old, new)
        assert proof.checkpoint == note
        verify_consistency(old, new, proof.path, root[old], root[new])


async def test_sizes_that_are_not_published(client: httpx2.AsyncClient, shop: Controller) -> None:
    await shop.fill(3)
    await shop.publish()
    await shop.fill(3)
    await shop.publish(sign=False)
    for new in (4, 6, 7, 2**63 - 1):
        answer = await client.get("/v1/logs/shop/consistency", params={"from": 1, "to": new})
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/size-not-published"), new
    answer = await client.get("/v1/logs/nobody/consistency", params={"from": 1, "to": 2})
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_a_size_has_one_spelling(client: httpx2.AsyncClient, shop: Controller) -> None:
    await shop.fill(3)
    await shop.publish()
    for bad in ("", "-1", "+1", "01", "1_0", "1.0", "0x1", " 1", "1\n", "\u0661", str(2**63), "9" * 30):
        for old, new, pointer in ((bad, "3", "/from"), ("1", bad, "/to")):
            answer = await client.get("/v1/logs/shop/consistency", params={"from": old, "to": new})
            problem = answer.json()
            assert (answer.status_code, problem["type"]) == (422, "/problems/invalid-parameter"), (old, new)
            assert problem["pointer"] == pointer


async def test_sizes_that_shrink_or_are_missing(client: httpx2.AsyncClient, shop: Controller) -> None:
    for params in ({"from": "1", "to": "0"}, {"from": "0"}, {"to": "0"}, {}):
        assert (await client.get("/v1/logs/shop/consistency", params=params)).status_code == 422, params


async def verify(*words: str | Path) -> tuple[int, str]:
    """`sayso verify`, on a thread, since the log it asks is served by this one; exit code and what was printed."""
    done = await asyncio.to_thread(CliRunner().invoke, app, ["verify", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit | ConfigurationError)
    return (os.EX_CONFIG if isinstance(done.exception, ConfigurationError) else done.exit_code), done.stdout


async def test_a_stranger_verifies_two_checkpoints(
    client: httpx2.AsyncClient, world: World, shop: Controller, tmp_path: Path
) -> None:
    """By a proof on disk, and by the tiles of the served log; of one size, and of two."""
    for count, name in ((200, "old"), (400, "new")):
        await shop.fill(count)
        (tmp_path / name).write_text(str(await shop.publish()))
    await shop.fill(100)
    await shop.publish()
    answer = await client.get("/v1/logs/shop/consistency", params={"from": 200, "to": 600})
    (tmp_path / "proof.json").write_bytes(answer.content)
    both = ("--from", tmp_path / "old", "--to", tmp_path / "new", "--vkey", shop.vkey)
    code, said = await verify(*both, "--proof", tmp_path / "proof.json")
    assert (code, said.splitlines()[-1][:9]) == (0, "Verified:"), said
    async with serving(settings_of(world)) as address:
        code, said = await verify(*both, "--log", f"{address}/logs/shop")
        assert (code, "computed from the log's tiles" in said) == (0, True), said
        code, said = await verify("--log", f"{address}/logs/shop", "--vkey", shop.vkey)
        assert (code, "700 entries recomputed" in said) == (0, True), said
        assert (await verify("--log", f"{address}/logs/nobody", "--vkey", shop.vkey))[0] == 1
    code, said = await verify("--from", tmp_path / "new", "--to", tmp_path / "new", "--vkey", shop.vkey)
    assert (code, "one size and one root" in said) == (0, True)
    wrong_way = ("--from", tmp_path / "new", "--to", tmp_path / "old", "--vkey", shop.vkey)
    refused: list[tuple[str | Path, ...]] = [
        (*wrong_way, "--proof", tmp_path / "proof.json"),
        (*both[:4], "--vkey", shop.vkey.replace("shop", "chop"), "--proof", tmp_path / "proof.json"),
        (*both, "--proof", tmp_path / "old"),
    ]
    for words in refused:
        code, said = await verify(*words)
        assert (code, "NOT VERIFIED" in said) == (1, True), said
    nowhere = tmp_path / "nowhere"
    lacking: list[tuple[str | Path, ...]] = [
        both,
        both[:4],
        ("--log", nowhere, "--vkey", shop.vkey),
        (*both, "--proof", nowhere),
    ]
    for words in lacking:
        assert (await verify(*words))[0] == os.EX_CONFIG, words
    unclear: list[tuple[str | Path, ...]] = [(), (tmp_path / "old", *both), both[:2], ("--log", nowhere, *both[:2])]
    for words in unclear:
        assert (await verify(*words))[0] == 2, words


async def test_a_fork_is_said_aloud(shop: Controller, tmp_path: Path) -> None:
    forked = signed_checkpoint(Checkpoint(shop.origin, 5, bytes(32)), shop.signing_key)
    await shop.fill(5)
    (tmp_path / "one").write_text(str(await shop.publish()))
    (tmp_path / "two").write_text(forked)
    code, said = await verify("--from", tmp_path / "one", "--to", tmp_path / "two", "--vkey", shop.vkey)
    assert code == 1
    assert "FORKED: the log's key has signed two histories" in said
    assert said.count("size 5, root ") == 2
