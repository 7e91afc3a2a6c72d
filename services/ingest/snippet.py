"""The snippet that websites embed: under /s/v1/ as it is now, and under its exact version for ever (SRI).

The files are built by snippet/build.mjs and lie beside the code; they are public and hold nothing of a visitor.
"""

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

import services
from schemas.canonical import read_strict
from schemas.errors import NotFound
from services.http import takes_gzip

DIRECTORY: Final = Path(services.__file__).resolve().parents[1] / "snippet" / "dist"
# A page that names no version gets a corrected snippet within minutes; what an exact version is never changes.
LATEST_CACHED: Final = "public, max-age=300"
EXACT_CACHED: Final = "public, max-age=31536000, immutable"

router = APIRouter(tags=["snippet"])


class _Script(NamedTuple):
    content: bytes
    zipped: bytes
    digest: str


@router.get("/s/{version}/{file}")
async def script(request: Request, version: str, file: str) -> Response:
    """A file of the snippet: `v1` is the latest of that major version, `1.0.0` exactly that one."""
    exact = _latest() if version == f"v{_latest().partition('.')[0]}" else version
    found = _scripts().get((exact, file))
    if found is None:
        raise NotFound
    zipped = takes_gzip(request.headers.getlist("accept-encoding"))
    headers = {
        "access-control-allow-origin": "*",
        "cache-control": EXACT_CACHED if exact == version else LATEST_CACHED,
        "cross-origin-resource-policy": "cross-origin",
        # Another representation is another strong validator (RFC 9110, 8.8.3).
        "etag": f'"{found.digest}-gzip"' if zipped else f'"{found.digest}"',
        "vary": "accept-encoding",
    }
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    if zipped:
        headers["content-encoding"] = "gzip"
    return Response(found.zipped if zipped else found.content, headers=headers, media_type="text/javascript")


@cache
def _latest() -> str:
    """The version that snippet/build.mjs built last."""
    manifest: dict[str, Any] = read_strict((DIRECTORY / "manifest.json").read_bytes())[0]
    version: str = manifest["version"]
    return version


@cache
def _scripts() -> dict[tuple[str, str], _Script]:
    """Every file of every version, read once: no name from outside becomes a path."""
    return {(path.parent.name, path.name): _read(path) for path in DIRECTORY.glob("*/*.js")}


def _read(path: Path) -> _Script:
    content = path.read_bytes()
    return _Script(content, gzip.compress(content, mtime=0), hashlib.sha256(content).hexdigest())
