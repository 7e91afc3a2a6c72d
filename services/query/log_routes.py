"""The public routes of a log, open to everyone: checkpoint, tiles, bundles, consistency and keys (C2SP tlog-tiles).

A log is what the public path names; nothing here looks at who asks. Invariant: bytes that the checkpoint does not cover
are 404, and whatever is served as immutable never changes under its path.
"""

import asyncio
import gzip
import hashlib
from typing import Annotated, Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from schemas.consistency import consistency_document
from schemas.errors import InvalidParameter, NotFound, ProofError
from schemas.note import decode_decimal, encode_base64
from schemas.sealing import key_id
from schemas.tiles import ENTRIES, parse_tile_path
from services.http import takes_gzip
from services.query.auth import PUBLIC
from services.query.log_keys import signer_of
from services.query.published import FRESH, GZIP_LEVEL, IMMUTABLE, TEXT_TYPE, TILE_TYPE

JSON: Final = "application/json"

logs = APIRouter(tags=["logs"])


async def _cached(
    request: Request, content: bytes, media_type: str, caching: str, *, squeeze: bool = False
) -> Response:
    """The content with a strong ETag, or 304; compressed where it pays (`squeeze`) and the caller takes gzip."""
    headers = {"cache-control": caching}
    tag = hashlib.sha256(content).hexdigest()[:32]
    if squeeze:
        headers["vary"] = "accept-encoding"
        if takes_gzip(request.headers.getlist("accept-encoding")):
            headers["content-encoding"] = "gzip"
            tag += "-gzip"  # another representation is another strong validator (RFC 9110, 8.8.3)
    headers["etag"] = f'"{tag}"'
    known = ",".join(request.headers.getlist("if-none-match")).split(",")
    if any(item.strip().removeprefix("W/") in {headers["etag"], "*"} for item in known):
        headers.pop("content-encoding", None)
        return Response(status_code=304, headers=headers)
    if "content-encoding" in headers:
        content = await asyncio.to_thread(gzip.compress, content, GZIP_LEVEL, mtime=0)
    return Response(content, headers=headers, media_type=media_type)


@logs.get("/logs/{log}/checkpoint", dependencies=[Depends(PUBLIC)])
async def checkpoint(request: Request, log: str) -> Response:
    """The last signed checkpoint (C2SP tlog-checkpoint)."""
    last = await request.state.published.checkpoint(log)
    return await _cached(request, last.note.encode(), TEXT_TYPE, FRESH)


@logs.get("/logs/{log}/vkey", dependencies=[Depends(PUBLIC)])
async def verifier_key(request: Request, log: str) -> Response:
    """A key that has signed the log's last checkpoint, the oldest one that has (C2SP signed-note)."""
    published = request.state.published
    last, chain = await published.checkpoint(log), await published.keys(log)
    return Response(f"{signer_of(chain, last.note, last.size)}\n", media_type=TEXT_TYPE)


@logs.get("/logs/{log}/{path:path}", dependencies=[Depends(PUBLIC)])
async def tile(request: Request, log: str, path: str) -> Response:
    """A hash tile or an entry bundle (C2SP tlog-tiles)."""
    if not request.scope["path"].endswith(f"/{path}"):
        raise NotFound  # the router's pattern lets a newline at the end pass unseen
    try:
        wanted = parse_tile_path(path)
    except ProofError:
        raise NotFound from None
    content = await request.state.published.tile(log, wanted)
    # Hashes do not compress; entries are JSON.
    return await _cached(request, content, TILE_TYPE, IMMUTABLE, squeeze=wanted.level == ENTRIES)


@logs.get("/v1/logs/{log}/consistency", dependencies=[Depends(PUBLIC)])
async def consistency(
    request: Request,
    log: str,
    old: Annotated[str, Query(alias="from", max_length=19, description="The smaller size, decimal.")],
    new: Annotated[str, Query(alias="to", max_length=19, description="The larger size, decimal.")],
) -> Response:
    """The proof that the log of `to` entries begins with that of `from` entries (RFC 6962, 2.1.2)."""
    old_size, new_size = _size(old, "/from"), _size(new, "/to")
    if old_size > new_size:
        raise InvalidParameter("/from")
    known, latest, path = await request.state.published.consistency(log, old_size, new_size)
    document = consistency_document(known.name, known.origin, old_size, new_size, path, latest.note)
    return Response(document, headers={"cache-control": FRESH}, media_type=JSON)


def _size(text: str, pointer: str) -> int:
    """A size without sign, spaces, underscores or leading zeros, below 2^63. Raises InvalidParameter."""
    size = decode_decimal(text)
    if size is None:
        raise InvalidParameter(pointer)
    return size


@logs.get("/keys", dependencies=[Depends(PUBLIC)])
async def keys(request: Request, log: Annotated[str, Query(max_length=63)]) -> Response:
    """Every key that signs for one log: its own in time, epoch headers and receipts. Compare with the key in a proof.

    There is no list of all logs: it would name every controller.
    """
    chain = await request.state.published.keys(log)
    epochs = [
        {
            "service": row["service"],
            "key_id": key_id(Ed25519PublicKey.from_public_bytes(row["public_key"])).hex(),
            "public_key": encode_base64(row["public_key"]),
        }
        for row in await request.state.store.publishers()
    ]
    document = {**chain.document(), "epochs": epochs, "receipts": request.state.receipts.jwks()}
    return Response(orjson.dumps(document), media_type=JSON)
