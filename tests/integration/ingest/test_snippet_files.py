"""GET /s/...: the snippet as any page of any site may load it, fresh under v1 and for ever under its version."""

import base64
import hashlib
import json

import pytest

from services.ingest.snippet import DIRECTORY
from tests.integration.ingest.conftest import Shop

pytestmark = pytest.mark.integration

MANIFEST = json.loads((DIRECTORY / "manifest.json").read_bytes())


@pytest.mark.parametrize("file", sorted(MANIFEST["files"]))
async def test_every_file_is_served_as_it_was_built(shop: Shop, file: str) -> None:
    fresh = await shop.client.get(f"/s/v1/{file}", headers={"origin": "https://elsewhere.example"})
    exact = await shop.client.get(f"/s/{MANIFEST['version']}/{file}")
    assert (fresh.status_code, exact.status_code) == (200, 200)
    assert fresh.content == exact.content
    digest = hashlib.sha384(exact.content).digest()
    assert base64.b64encode(digest).decode() == MANIFEST["files"][file]["sha384"]
    for answer in (fresh, exact):
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers
    assert fresh.headers["cache-control"] == "public, max-age=300"
    assert exact.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_it_travels_in_less_than_six_kilobytes(shop: Shop) -> None:
    plain = await shop.client.get("/s/v1/sayso.js", headers={"accept-encoding": "identity"})
    zipped = await shop.client.get("/s/v1/sayso.js", headers={"accept-encoding": "br, gzip"})
    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) <= 6 * 1024 < len(plain.content)
    assert zipped.content == plain.content
    assert zipped.headers["etag"] != plain.headers["etag"]
    assert zipped.headers["vary"] == plain.headers["vary"] == "accept-encoding"


async def test_a_file_that_has_not_changed_is_not_sent_again(shop: Shop) -> None:
    first = await shop.client.get("/s/v1/sayso.js")
    again = await shop.client.get("/s/v1/sayso.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "public, max-age=300"
    other = await shop.client.get("/s/v1/sayso.js", headers={"if-none-match": '"another"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/s/v2/sayso.js",
        "/s/v1/nothing.js",
        "/s/0.0.1/sayso.js",
        "/s/v1/manifest.json",
        "/s/v1/..%2fmanifest.json",
        "/s/%2e%2e/manifest.json",
        f"/s/{MANIFEST['version']}/sayso.js%00",
    ],
)
async def test_what_was_not_built_is_not_there(shop: Shop, path: str) -> None:
    answer = await shop.client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
