"""The routes of query. Each names its roles by its dependency and calls one service; nothing is decided here."""

from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.errors import NotFound, ProofError
from schemas.note import parse_verifier_key
from schemas.record import format_time
from schemas.tiles import parse_tile_path
from services.http import read_model
from services.query.auth import ANY_ROLE, KNOWS_IDENTIFIERS, PUBLIC, READS_HISTORY, Caller
from services.query.decisions import describe
from services.query.parameters import (
    HistoryParameters,
    LookupBody,
    MomentParameters,
    ProofParameters,
    StatusParameters,
    encode_cursor,
    preferred,
)

JSON: Final = "application/json"
TLOG_PROOF: Final = "application/vnd.c2sp.tlog-proof"
TEXT: Final = "text/plain"
# The name of a tile says which bytes it holds, for ever; the checkpoint is new every second.
IMMUTABLE: Final = "public, max-age=31536000, immutable"
FRESH: Final = "public, max-age=1"

subjects = APIRouter(tags=["subjects"])
proofs = APIRouter(tags=["proofs"])
logs = APIRouter(tags=["logs"])

_LOOKUP_BODY: Final = {"requestBody": {"required": True, "content": {JSON: {"schema": LookupBody.model_json_schema()}}}}
_PROOF_RESPONSE: Final = {
    "description": "The proof document (docs/proof-format.md)",
    "content": {JSON: {}, TLOG_PROOF: {}, TEXT: {}},
}


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type=JSON)


@subjects.post("/v1/subjects/lookup", openapi_extra=_LOOKUP_BODY)
async def lookup(request: Request, caller: Annotated[Caller, Depends(KNOWS_IDENTIFIERS)]) -> Response:
    """The subject that an identifier belongs to."""
    body = await read_model(request, LookupBody)
    subject = await request.state.subjects.find(caller, body.identifier)
    return _json({"subject": str(subject)})


@subjects.get("/v1/subjects/{subject}/consents")
async def consents(
    request: Request,
    subject: UUID,
    moment: Annotated[MomentParameters, Query()],
    caller: Annotated[Caller, Depends(ANY_ROLE)],
) -> Response:
    """Every decision that stands, with the record that made it."""
    state = await request.state.subjects.state(caller, subject, moment.moment())
    return _json(
        {
            "subject": str(subject),
            "at": format_time(state.at),
            "known_at": format_time(state.known_at),
            "decisions": [describe(judged) for judged in state.judged],
        }
    )


@subjects.get("/v1/subjects/{subject}/status")
async def status(
    request: Request,
    subject: UUID,
    asked: Annotated[StatusParameters, Query()],
    caller: Annotated[Caller, Depends(ANY_ROLE)],
) -> Response:
    """Whether a consent to one purpose stands, with reasons."""
    state = await request.state.subjects.state(caller, subject, asked.moment())
    judged = state.of(asked.purpose)
    answer: dict[str, Any] = {
        "subject": str(subject),
        "purpose": asked.purpose,
        "at": format_time(state.at),
        "known_at": format_time(state.known_at),
    }
    if judged is None:
        reason = "erased" if state.lost else "never_asked"
        return _json({**answer, "valid": False, "reasons": [reason], "decision": None})
    return _json({**answer, **describe(judged)})


@subjects.get("/v1/subjects/{subject}/history")
async def history(
    request: Request,
    subject: UUID,
    page: Annotated[HistoryParameters, Query()],
    caller: Annotated[Caller, Depends(READS_HISTORY)],
) -> Response:
    """Every record of a subject in the order of their places; an auditor does not see `who`."""
    records, more = await request.state.subjects.history(caller, subject, page.after(), page.limit)
    following = None if more is None else encode_cursor(more)
    return _json({"subject": str(subject), "records": records, "next": following})


@proofs.get("/v1/events/{event}/proof", responses={200: _PROOF_RESPONSE})
async def proof(
    request: Request,
    event: UUID,
    asked: Annotated[ProofParameters, Query()],
    caller: Annotated[Caller, Depends(ANY_ROLE)],
) -> Response:
    """The proof of one event, as JSON or as a C2SP tlog-proof by Accept.

    A reader is shown `what`, an auditor `what` and `context`, the controller's own people every part.
    """
    media_type = preferred(request.headers.get("accept"), (JSON, TLOG_PROOF, TEXT))
    if media_type is None:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE)
    bundle = await request.state.proofs.bundle(caller, event, asked.parts())
    content = bundle.json() if media_type == JSON else bundle.tlog_proof()
    return Response(content, media_type=media_type, headers={"vary": "accept"})


@logs.get("/logs/{log}/checkpoint", dependencies=[Depends(PUBLIC)])
async def checkpoint(request: Request, log: str) -> Response:
    """The last signed checkpoint (C2SP tlog-checkpoint)."""
    last = await request.state.published.checkpoint(log)
    return Response(last.note, headers={"cache-control": FRESH}, media_type=TEXT)


@logs.get("/logs/{log}/vkey", dependencies=[Depends(PUBLIC)])
async def verifier_key(request: Request, log: str) -> Response:
    """The log's verifier key (C2SP signed-note)."""
    known = await request.state.published.log(log)
    return Response(f"{known.vkey}\n", media_type=TEXT)


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
    return Response(content, headers={"cache-control": IMMUTABLE}, media_type="application/octet-stream")


@logs.get("/keys", dependencies=[Depends(PUBLIC)])
async def keys(request: Request, log: Annotated[str, Query(max_length=63)]) -> Response:
    """The keys that sign for one log, to compare with the key in a proof. There is no list of all logs: it would name
    every controller.
    """
    known = await request.state.published.log(log)
    key = parse_verifier_key(known.vkey)
    return _json(
        {
            "log": known.name,
            "origin": known.origin,
            "keys": [{"signs": "checkpoints", "vkey": known.vkey, "key_id": key.key_id.hex(), "type": key.kind.value}],
        }
    )
