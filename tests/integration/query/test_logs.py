"""The public side of a log (C2SP tlog-tiles): what is served, how it may be cached, and what never is."""

import asyncio
import base64
import gzip
import hashlib
import re
from urllib.request import Request, urlopen

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.bundle import verify_bundle
from schemas.checkpoint import open_checkpoint
from schemas.consistency import parse_consistency
from schemas.log_keys import check_log_keys
from schemas.merkle import leaf_hash, verify_consistency
from schemas.note import KeyKind, VerifierKey, open_note, parse_verifier_key
from schemas.tiles import ENTRIES, Tile, decode_bundle, root_from_tiles, tiles_for_size
from tests.integration.query.conftest import serving, settings_of
from tests.support import oracle
from tests.support.deployment import BASE_TIME, consent_event
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


async def test_the_page_of_keys(client: httpx2.AsyncClient, world: World, shop: Controller) -> None:
    page = (await client.get("/keys", params={"log": "shop"})).json()
    chain = check_log_keys({name: page[name] for name in ("format", "log", "keys")})
    assert (chain.name, chain.origin) == (shop.name, shop.origin)
    assert [str(key.vkey) for key in chain.keys] == [shop.vkey]
    assert page["receipts"] == (await client.get("/.well-known/jwks.json")).json()
    registered = await world.execute("SELECT array_agg(public_key ORDER BY service) FROM publishers")
    assert [base64.b64decode(key["public_key"]) for key in page["epochs"]] == (registered or [])
    assert (await client.get("/keys")).status_code == 422
    assert (await client.get("/keys", params={"log": "other"})).status_code == 404


# --- compression, validators, partial tiles -----------------------------------------------------------------------


ENCODINGS = {
    "gzip": True,
    "br, GZIP;q=0.2": True,
    "*": True,
    "identity": False,
    "": False,
    "gzip;q=0, *": False,
    "gzip;q=0.000": False,
    "x-gzip, deflate": False,
}


async def test_bundles_are_compressed_for_those_who_take_it(world: World, shop: Controller) -> None:
    await shop.fill(256)
    await shop.publish()
    async with serving(settings_of(world)) as address:
        for asked, squeezed in ENCODINGS.items():
            sent, raw = await asyncio.to_thread(_fetch, f"{address}/logs/shop/tile/entries/000", asked)
            assert sent.get("content-encoding") == ("gzip" if squeezed else None), asked
            assert sent["vary"] == "accept-encoding"
            assert sent["content-type"] == "application/octet-stream"
            content = gzip.decompress(raw) if squeezed else raw
            assert decode_bundle(content, 256) == shop.entries
            assert len(raw) < len(content) if squeezed else len(raw) == len(content)
            tile, raw = await asyncio.to_thread(_fetch, f"{address}/logs/shop/tile/0/000", asked)
            assert (tile.get("content-encoding"), tile.get("vary"), len(raw)) == (None, None, 8192)


def _fetch(url: str, accept_encoding: str) -> tuple[dict[str, str], bytes]:
    """Headers and the bytes as they came over the wire."""
    with urlopen(Request(url, headers={"accept-encoding": accept_encoding})) as response:
        return {name.lower(): value for name, value in response.headers.items()}, response.read()


async def test_what_is_known_is_not_sent_again(client: httpx2.AsyncClient, shop: Controller) -> None:
    await shop.fill(300)
    await shop.publish()
    for path in ("checkpoint", "tile/0/000", "tile/entries/000", "tile/entries/001.p/44"):
        url = f"/logs/shop/{path}"
        tags = set()
        for accept in ("gzip", "identity"):
            first = await client.get(url, headers={"accept-encoding": accept})
            tag = first.headers["etag"]
            tags.add(tag)
            for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
                again = await client.get(url, headers={"accept-encoding": accept, "if-none-match": known})
                assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
                assert again.headers["cache-control"] == first.headers["cache-control"]
            other = await client.get(url, headers={"accept-encoding": accept, "if-none-match": '"other"'})
            assert other.status_code == 200
        # Two encodings are two representations.
        assert len(tags) == (2 if "entries" in path else 1)


async def test_partial_tiles_outlive_their_filling(client: httpx2.AsyncClient, shop: Controller) -> None:
    """A client with an older checkpoint still finds its partial tiles, and may take the full one instead."""
    await shop.fill(300)
    await shop.publish()
    paths = ("0/001.p/44", "entries/001.p/44", "1/000.p/1")
    before = {path: (await client.get(f"/logs/shop/tile/{path}")).content for path in paths}
    await shop.fill(300)
    await shop.publish()
    for path in paths:
        assert (await client.get(f"/logs/shop/tile/{path}")).content == before[path], path
        full = await client.get(f"/logs/shop/tile/{path.partition('.')[0]}")
        assert full.content.startswith(before[path]) if full.is_success else path == "1/000.p/1"


async def test_the_checkpoint_carries_the_cosignatures_in_order(client: httpx2.AsyncClient, shop: Controller) -> None:
    await shop.fill(3)
    note = await shop.publish()
    assert note is not None
    text = note.partition("\n\n")[0] + "\n"
    lines, keys = [], []
    for witness in ("w2.example", "w1.example"):
        seed = hashlib.sha256(witness.encode()).digest()
        lines.append(oracle.cosignature_line(text, witness, seed, 1_790_000_000))
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        keys.append(VerifierKey(witness, KeyKind.COSIGNATURE_V1, public))
        await shop.world.execute(
            "INSERT INTO cosignatures (controller, log, size, witness, key_id, line, cosigned_at)"
            " VALUES ($1, $2, 3, $3, $4, $5, now())",
            shop.controller,
            shop.log,
            witness,
            keys[-1].key_id,
            lines[-1],
        )
    served = (await client.get("/logs/shop/checkpoint")).text
    assert served == note + lines[1] + lines[0]
    opened = open_note(served, [parse_verifier_key(shop.vkey), *keys])
    assert len(opened.signatures) == 3


async def test_a_proof_reads_at_most_five_tiles(client: httpx2.AsyncClient, shop: Controller) -> None:
    """At 70,000 entries there are three levels of tiles; the counter says what each proof read."""
    size = 70_000
    key = await shop.access_key("dpo")
    person = await shop.person()
    places = [0, 300, 65_535, 69_900, 69_999]
    for number, place in enumerate(places):
        await shop.fill(place - len(shop.entries))
        await shop.record(person, consent_event(number), BASE_TIME)
    assert len(shop.entries) == size
    await shop.publish()
    used = await _tiles_used(client)
    for number, place in enumerate(places):
        answer = await client.get(
            f"/v1/events/{consent_event(number)['id']}/proof", headers={"authorization": f"Bearer {key}"}
        )
        assert verify_bundle(answer.content, vkey=shop.vkey).index == place
        before, used = used, await _tiles_used(client)
        assert 0 < used - before <= 5, place
    root = oracle.mth([oracle.leaf(entry) for entry in shop.entries])
    for old in (1, 255, 256, 40_000, 65_536, 65_537, 69_999):
        answer = await client.get("/v1/logs/shop/consistency", params={"from": old, "to": size})
        path = parse_consistency(answer.content).path
        verify_consistency(old, size, path, oracle.mth([oracle.leaf(entry) for entry in shop.entries[:old]]), root)
        before, used = used, await _tiles_used(client)
        assert 0 < used - before <= 5, old


async def _tiles_used(client: httpx2.AsyncClient) -> int:
    metrics = (await client.get("/metrics")).text
    return sum(
        int(float(count)) for count in re.findall(r"^sayso_query_tiles_total\{.*\} (\S+)$", metrics, re.MULTILINE)
    )
