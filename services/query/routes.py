"""The routes of query. Each names its roles by its dependency and calls one service; nothing is decided here."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.record import format_time
from services.http import read_model
from services.query.auth import KNOWS_IDENTIFIERS, PUBLIC, READS_HISTORY, READS_STATE, Caller
from services.query.bundles.routes import PDF, ZIP, bundle_response
from services.query.parameters import (
    HistoryParameters,
    LookupBody,
    MomentParameters,
    ProofParameters,
    ReceiptParameters,
    StatusParameters,
    encode_cursor,
    preferred,
)
from services.query.status import describe, erased

JSON: Final = "application/json"
TLOG_PROOF: Final = "application/vnd.c2sp.tlog-proof"
TEXT: Final = "text/plain"
JOSE: Final = "application/jose"
JWK_SET: Final = "application/jwk-set+json"
# A key is replaced rarely; a reader with an old set meets a kid that it lacks, and fetches anew.
JWKS_CACHED: Final = "public, max-age=300"

subjects = APIRouter(tags=["subjects"])
proofs = APIRouter(tags=["proofs"])

_LOOKUP_BODY: Final = {"requestBody": {"required": True, "content": {JSON: {"schema": LookupBody.model_json_schema()}}}}
_PROOF_RESPONSE: Final = {
    "description": "The proof document (docs/proof-format.md), or a proof bundle (docs/bundle-format.md)",
    "content": {JSON: {}, TLOG_PROOF: {}, TEXT: {}, ZIP: {}, PDF: {}},
}
_STATUS_RESPONSE: Final = {
    "description": "The answer, or that as a JWS that can be checked offline (docs/proof-format.md, Signed answers)",
    "content": {JSON: {}, JOSE: {}},
}
RECEIPT_RESPONSE: Final = {
    "description": "The receipt as a JWS, or that with its claims (docs/proof-format.md, Receipts)",
    "content": {JOSE: {}, JSON: {}},
}


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type=JSON)


def _still_there(subject: UUID, erased_at: datetime | None) -> UUID | None:
    """Whom a look is at; an erased person's id leads nowhere, and nothing is recorded under it."""
    return subject if erased_at is None else None


@subjects.post("/v1/subjects/lookup", openapi_extra=_LOOKUP_BODY)
async def lookup(request: Request, caller: Annotated[Caller, Depends(KNOWS_IDENTIFIERS)]) -> Response:
    """The subject that an identifier belongs to."""
    body = await read_model(request, LookupBody)
    subject = await request.state.subjects.find(caller, body.identifier)
    await request.state.looks.note(caller, request, look="lookup", subject=subject)
    return _json({"subject": str(subject)})


@subjects.get("/v1/subjects/{subject}/consents")
async def consents(
    request: Request,
    subject: UUID,
    moment: Annotated[MomentParameters, Query()],
    caller: Annotated[Caller, Depends(READS_STATE)],
) -> Response:
    """Every decision that stands, with the record that made it."""
    state = await request.state.subjects.state(caller, subject, moment.moment())
    await request.state.looks.note(caller, request, look="consents", subject=_still_there(subject, state.erased_at))
    return _json(
        {
            "subject": str(subject),
            "at": format_time(state.at),
            "known_at": format_time(state.known_at),
            "decisions": [describe(judged) for judged in state.judged],
            **erased(state.erased_at),
        }
    )


@subjects.get("/v1/subjects/{subject}/status", responses={200: _STATUS_RESPONSE})
async def status(
    request: Request,
    subject: UUID,
    asked: Annotated[StatusParameters, Query()],
    caller: Annotated[Caller, Depends(READS_STATE)],
) -> Response:
    """Whether a consent to one purpose stands, with reasons; as a JWS (RFC 7515) tied to checkpoints by Accept."""
    media_type = preferred(request.headers.get("accept"), (JSON, JOSE))
    if media_type is None:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE)
    jws = None
    if media_type == JOSE:
        found, jws = await request.state.signed_answers.of(caller, subject, asked.purpose, asked.moment())
    else:
        found = await request.state.statuses.of(caller, subject, asked.purpose, asked.moment())
    whom = _still_there(subject, found.state.erased_at)
    await request.state.looks.note(caller, request, look="status", subject=whom)
    content = orjson.dumps(found.said) if jws is None else jws
    return Response(content, media_type=media_type, headers={"vary": "accept"})


@subjects.get("/v1/subjects/{subject}/history")
async def history(
    request: Request,
    subject: UUID,
    page: Annotated[HistoryParameters, Query()],
    caller: Annotated[Caller, Depends(READS_HISTORY)],
) -> Response:
    """Every record of a subject in the order of their places; an auditor does not see `who`."""
    found = await request.state.subjects.history(caller, subject, page.after(), page.limit)
    whom = _still_there(subject, found.erased_at)
    await request.state.looks.note(caller, request, look="history", subject=whom, records=len(found.records))
    following = None if found.more is None else encode_cursor(found.more)
    answer = {"subject": str(subject), "records": found.records, "next": following}
    return _json({**answer, **erased(found.erased_at)})


@proofs.get("/v1/events/{event}/proof", responses={200: _PROOF_RESPONSE})
async def proof(
    request: Request,
    event: UUID,
    asked: Annotated[ProofParameters, Query()],
    caller: Annotated[Caller, Depends(READS_STATE)],
) -> Response:
    """The proof of one event by Accept: JSON, a C2SP tlog-proof, a bundle with all that verifies it, or its report.

    A reader is shown `what`, an auditor `what` and `context`, the controller's own people every part.
    """
    media_type = preferred(request.headers.get("accept"), (JSON, TLOG_PROOF, TEXT, ZIP, PDF))
    if media_type is None:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE)
    if media_type in {ZIP, PDF}:
        made = await request.state.bundles.event(caller, event, asked.parts())
        await request.state.looks.note(caller, request, look="proof", event=event)
        return bundle_response(made, media_type, f"event-{event}")
    bundle = await request.state.proofs.bundle(caller, event, asked.parts())
    await request.state.looks.note(caller, request, look="proof", event=event)
    content = bundle.json() if media_type == JSON else bundle.tlog_proof()
    return Response(content, media_type=media_type, headers={"vary": "accept"})


@proofs.get("/v1/events/{event}/receipt", responses={200: RECEIPT_RESPONSE})
async def receipt(
    request: Request,
    event: UUID,
    asked: Annotated[ReceiptParameters, Query()],
    caller: Annotated[Caller, Depends(READS_STATE)],
) -> Response:
    """The receipt of a decision about consent, as a JWS (RFC 7515) or with its claims as JSON by Accept.

    It holds the proof of its record with the decision and, for the controller's own people, the identifiers; the
    circumstances only where `disclose` names them.
    """
    media_type = preferred(request.headers.get("accept"), (JOSE, JSON))
    if media_type is None:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE)
    made = await request.state.receipts.of_event(caller, event, asked.form, asked.parts())
    await request.state.looks.note(caller, request, look="receipt", event=event)
    content = made.jws if media_type == JOSE else orjson.dumps({"receipt": made.jws, "claims": made.claims})
    return Response(content, media_type=media_type, headers={"vary": "accept"})


@proofs.get("/.well-known/jwks.json", dependencies=[Depends(PUBLIC)])
async def receipt_keys(request: Request) -> Response:
    """The public key that receipts are signed under, as a JWK set (RFC 7517)."""
    keys = orjson.dumps(request.state.receipts.jwks())
    return Response(keys, headers={"cache-control": JWKS_CACHED}, media_type=JWK_SET)
