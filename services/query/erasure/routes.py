"""The routes of erasure: ask for one, see what became of it, close its docket, release what a rule kept.

Each names its roles by its dependency and calls one service; nothing is decided here.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from schemas.canonical import INTEGER_MAX
from services.http import read_model
from services.query.auth import ACTS, SEES_ACTS, Caller
from services.query.parameters import ErasureBody, LookupBody, ManyErasuresBody, ReleaseBody
from services.stream.waiting import preferred_wait

JSON: Final = "application/json"

erasures = APIRouter(tags=["erasures"])
minimal_proofs = APIRouter(tags=["minimal proofs"])

Number = Annotated[int, Path(ge=0, le=INTEGER_MAX)]
_ERASURE_BODY: Final = {
    "requestBody": {"required": True, "content": {JSON: {"schema": ErasureBody.model_json_schema()}}}
}
_MANY_BODY: Final = {
    "requestBody": {"required": True, "content": {JSON: {"schema": ManyErasuresBody.model_json_schema()}}}
}
_SEARCH_BODY: Final = {"requestBody": {"required": True, "content": {JSON: {"schema": LookupBody.model_json_schema()}}}}
_RELEASE_BODY: Final = {
    "requestBody": {"required": True, "content": {JSON: {"schema": ReleaseBody.model_json_schema()}}}
}


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, JSON)


def _waited(request: Request) -> tuple[int, dict[str, str]]:
    """Seconds of Prefer: wait=N, and the header that says they were kept to (RFC 7240)."""
    wait_s = preferred_wait(request.headers.get("prefer", ""))
    return wait_s, {"preference-applied": f"wait={wait_s}"} if wait_s else {}


@erasures.post("/v1/subjects/{subject}/erasure", openapi_extra=_ERASURE_BODY)
async def erase(request: Request, subject: UUID, caller: Annotated[Caller, Depends(ACTS)]) -> Response:
    """Ask for a person to be erased: 202 accepted, 201 erased (Prefer: wait=N), 200 erased before, or held."""
    body = await read_model(request, ErasureBody)
    wait_s, headers = _waited(request)
    answer, asked = await request.state.erasures.ask(caller, subject, body, wait_s)
    if "erasure" in answer:
        headers["location"] = f"/v1/erasures/{answer['erasure']}"
    if answer["state"] == "held":
        return _json(answer, HTTPStatus.OK, headers)
    if answer["state"] != "erased":
        return _json(answer, HTTPStatus.ACCEPTED, headers)
    return _json(answer, HTTPStatus.CREATED if asked else HTTPStatus.OK, headers)


@erasures.post("/v1/erasures", openapi_extra=_MANY_BODY)
async def erase_many(request: Request, caller: Annotated[Caller, Depends(ACTS)]) -> Response:
    """Ask for many people to be erased: another person must approve, and then a stated delay passes (202)."""
    body = await read_model(request, ManyErasuresBody)
    approval = await request.state.mass_erasures.ask(caller, body)
    answer = await request.state.approvals.one(caller, approval)
    return _json(answer, HTTPStatus.ACCEPTED, {"location": f"/v1/approvals/{approval}"})


@erasures.get("/v1/erasures/{erasure}")
async def standing(request: Request, erasure: UUID, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """What became of an ask: its state, the counts of each log, the docket, and what a rule kept."""
    return _json(await request.state.erasures.of_event(caller, erasure))


@erasures.post("/v1/dockets/{number}/close")
async def close_docket(request: Request, number: Number, caller: Annotated[Caller, Depends(ACTS)]) -> Response:
    """Every downstream system has answered and the person was told: 202 accepted, 200 closed."""
    wait_s, headers = _waited(request)
    answer = await request.state.erasures.close_docket(caller, number, wait_s)
    return _json(answer, HTTPStatus.OK if answer["state"] == "closed" else HTTPStatus.ACCEPTED, headers)


@minimal_proofs.post("/v1/minimal-proofs/search", openapi_extra=_SEARCH_BODY)
async def search(request: Request, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """What a written rule kept of the person behind an identifier: where it stands and until when, not what it says."""
    body = await read_model(request, LookupBody)
    found = await request.state.minimal_proofs.search(caller, body.identifier)
    await request.state.looks.note(caller, request, look="minimal-proofs", proofs=len(found))
    return _json({"minimal_proofs": found})


@minimal_proofs.post("/v1/minimal-proofs/{log}/{index}/release", openapi_extra=_RELEASE_BODY)
async def release(request: Request, log: str, index: Number, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """The first of two people asks, with a reason (202); the second, with another key, releases: the proof (200)."""
    body = await read_model(request, ReleaseBody)
    proof = await request.state.minimal_proofs.release(caller, log, index, body.reason)
    if proof is None:
        return _json({"state": "asked"}, HTTPStatus.ACCEPTED)
    await request.state.looks.note(caller, request, look="minimal-proof", place=f"{log}/{index}")
    return Response(proof.json(), media_type=JSON)
