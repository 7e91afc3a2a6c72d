"""The public side of a log (C2SP tlog-tiles): what is served, how it may be cached, and what never is."""

import hashlib

import httpx2
import pytest

from schemas.checkpoint import open_checkpoint
from schemas.merkle import leaf_hash
from schemas.note import parse_verifier_key
from schemas.tiles import ENTRIES, Tile, decode_bundle, root_from_tiles, tiles_for_size
from tests.support.rows import Controller, World

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600])
async def test_an_auditor_rebuilds_the_log_from_what_is_public(
    client: httpx2.AsyncClient, shop: Controller, size: int
) -> None:
    await shop.fill(size)
    if size:
        await shop.publish()
    note = await client.get("/logs/shop/checkpoint")
    assert note.headers["content-type"] == "text/plain; charset=utf-8"
    assert note.headers["cache-control"] == "public, max-age=1"
    vkey = (await client.get("/logs/shop/vkey")).text.strip()
    checkpoint = open_checkpoint(note.content, shop.origin, [parse_verifier_key(vkey)])
    assert checkpoint.size == size
    content: dict[Tile, bytes] = {}
    for tile in tiles_for_size(size):
        bundles = [Tile(ENTRIES, tile.n, tile.width)] if tile.level == 0 else []
        for wanted in (tile, *bundles):
            response = await client.get(f"/logs/shop/{wanted.path()}")
            assert response.status_code == 200, wanted
            assert response.headers["content-type"] == "application/octet-stream"
            assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
            content[wanted] = response.content
    assert root_from_tiles(size, lambda *place: content[Tile(*place)]) == checkpoint.root
    entries = [entry for tile in content if tile.level == ENTRIES for entry in decode_bundle(content[tile], tile.width)]
    assert entries == shop.entries
    leaves = b"".join(content[tile] for tile in content if tile.level == 0)
    assert leaves == b"".join(leaf_hash(entry) for entry in entries)


async def test_nothing_beyond_the_checkpoint_is_served(client: httpx2.AsyncClient, shop: Controller) -> None:
    await shop.fill(300)
    await shop.publish()
    await shop.fill(300)
    await shop.publish(sign=False)
    served = {"0/001.p/44", "0/001.p/1", "entries/001.p/44", "1/000.p/1", "0/000", "0/000.p/7", "entries/000.p/255"}
    hidden = {"0/001.p/45", "entries/001.p/45", "0/001", "entries/001", "0/002.p/1", "entries/002.p/1", "1/000.p/2"}
    for path in served:
        assert (await client.get(f"/logs/shop/tile/{path}")).status_code == 200, path
    for path in hidden | {"2/000.p/1", "63/000.p/1", "0/x001/000"}:
        response = await client.get(f"/logs/shop/tile/{path}")
        assert (response.status_code, response.headers["cache-control"]) == (404, "no-store"), path
    whole = (await client.get("/logs/shop/tile/0/000")).content
    assert (await client.get("/logs/shop/tile/0/000.p/7")).content == whole[: 7 * 32]


async def test_other_paths_are_not_there(client: httpx2.AsyncClient, shop: Controller) -> None:
    await shop.fill(300)
    await shop.publish()
    widths = ("tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/entries/000.p/1%00")
    numbers = ("tile/0/0", "tile/0/0000", "tile/0/x000/000", "tile/0/00a", "tile/0/%D9%A0%D9%A0%D9%A0")
    levels = ("tile/00/000", "tile/64/000", "tile/-1/000")
    for path in (*widths, *numbers, *levels, "tile/0/000/", "tile/0/000%0A", "tile", "checkpoint/", ""):
        response = await client.get(f"/logs/shop/{path}")
        assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found"), path


@pytest.mark.parametrize("log", ["nobody", "SHOP", "sh%00op", "a" * 300, "..", "%F0%9F%92%A5"])
async def test_other_logs_are_not_there(client: httpx2.AsyncClient, shop: Controller, log: str) -> None:
    for path in ("checkpoint", "vkey", "tile/0/000.p/1"):
        assert (await client.get(f"/logs/{log}/{path}")).status_code == 404


async def test_a_log_without_its_ledger_is_not_there(
    client: httpx2.AsyncClient, world: World, shop: Controller
) -> None:
    await world.execute(
        "INSERT INTO logs (controller, name, origin) VALUES ($1, 'new', 'log.example/logs/new')", shop.controller
    )
    assert (await client.get("/logs/new/checkpoint")).status_code == 404
    assert (await client.get("/logs/new/vkey")).status_code == 404


async def test_the_page_of_keys(client: httpx2.AsyncClient, shop: Controller) -> None:
    page = (await client.get("/keys", params={"log": "shop"})).json()
    assert page["origin"] == shop.origin
    assert page["keys"][0]["vkey"] == shop.vkey
    public = shop.signing_key.public_key().public_bytes_raw()
    key_id = hashlib.sha256(shop.origin.encode() + b"\n\x01" + public).hexdigest()[:8]
    assert page["keys"][0]["key_id"] == key_id
    assert (await client.get("/keys")).status_code == 422
    assert (await client.get("/keys", params={"log": "other"})).status_code == 404
