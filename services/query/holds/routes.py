"""The routes of legal holds. Each names its roles by its dependency and calls one service; nothing is decided here."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.http import read_model
from services.query.auth import OVERSEES, SEES_ACTS, VISITOR, Caller, Myself
from services.query.holds.bodies import HoldBody, ReleaseHoldBody, ReviewBody

JSON: Final = "application/json"

holds = APIRouter(tags=["holds"])


class HoldsParameters(BaseModel):
    """Which holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    subject: Annotated[UUID | None, Field(description="What stops the erasure of this one alone.")] = None
    ended: Annotated[bool, Field(description="Also those that were released or have expired.")] = False


def _body(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {JSON: {"schema": model.model_json_schema()}}}}


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, JSON)


async def _note_hold(request: Request, caller: Caller, found: Mapping[str, Any]) -> None:
    subject = UUID(found["subject"]) if "subject" in found else None
    await request.state.looks.note(caller, request, look="hold", subject=subject, hold=found["hold"])


@holds.post("/v1/holds", openapi_extra=_body(HoldBody))
async def place(request: Request, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """Hold somebody's data by law: 201 once that is recorded and stands, 202 while it is on its way."""
    body = await read_model(request, HoldBody)
    placed = await request.state.holds.place(caller, body)
    stands = all(hold["state"] != "accepted" for hold in placed)
    headers = {"location": f"/v1/holds/{placed[0]['hold']}"} if len(placed) == 1 else None
    return _json({"holds": placed}, HTTPStatus.CREATED if stands else HTTPStatus.ACCEPTED, headers)


@holds.get("/v1/holds")
async def all_of_them(
    request: Request, asked: Annotated[HoldsParameters, Query()], caller: Annotated[Caller, Depends(SEES_ACTS)]
) -> Response:
    """Holds that stand, or all of them, without their reasons."""
    found = await request.state.holds.all(caller, asked.subject, ended=asked.ended)
    await request.state.looks.note(caller, request, look="holds", subject=asked.subject, count=len(found))
    return _json({"holds": found})


@holds.get("/v1/holds/{hold}")
async def one(request: Request, hold: UUID, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """One of them, with the reason for it."""
    found = await request.state.holds.one(caller, hold)
    await _note_hold(request, caller, found)
    return _json(found)


@holds.post("/v1/holds/{hold}/review", openapi_extra=_body(ReviewBody))
async def review(request: Request, hold: UUID, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """Somebody looked whether it is still needed: until when, and when to look again."""
    body = await read_model(request, ReviewBody)
    found = await request.state.holds.review(caller, hold, body)
    await _note_hold(request, caller, found)
    return _json(found)


@holds.post("/v1/holds/{hold}/release", openapi_extra=_body(ReleaseHoldBody))
async def release(request: Request, hold: UUID, caller: Annotated[Caller, Depends(OVERSEES)]) -> Response:
    """The DPO asks for the release (202); another person approves it with POST /v1/approvals/{approval}."""
    body = await read_model(request, ReleaseHoldBody)
    approval = await request.state.holds.ask_release(caller, hold, body)
    answer = {"approval": str(approval), "state": "asked"}
    return _json(answer, HTTPStatus.ACCEPTED, {"location": f"/v1/approvals/{approval}"})


@holds.get("/v1/me/holds")
async def mine(request: Request, myself: Annotated[Myself, Depends(VISITOR)]) -> Response:
    """What keeps this browser's records although its visitor may ask for their erasure: ground and end."""
    subject = await request.state.subjects.find(myself.caller, myself.identifier)
    return _json({"holds": await request.state.holds.told(myself.caller, subject)})
