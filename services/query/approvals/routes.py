"""The routes of acts that need two people. Each names its roles by its dependency; nothing is decided here."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from schemas.events import Text
from services.http import read_model
from services.query.auth import SEES_ACTS, Caller

JSON: Final = "application/json"

approvals = APIRouter(tags=["approvals"])


class VerdictBody(BaseModel):
    """What the second person says."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    verdict: Literal["approved", "refused"]
    reason: Annotated[Text | None, Field(description="Why; names nobody.")] = None


_BODY: Final = {"requestBody": {"required": True, "content": {JSON: {"schema": VerdictBody.model_json_schema()}}}}


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type=JSON)


@approvals.get("/v1/approvals")
async def all_of_them(request: Request, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """Acts that need two people, the newest first: what waits, what was decided, what is done."""
    return _json({"approvals": await request.state.approvals.all(caller)})


@approvals.get("/v1/approvals/{approval}")
async def one(request: Request, approval: UUID, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """One of them; of an erasure of many also how far it is."""
    return _json(await request.state.approvals.one(caller, approval))


@approvals.post("/v1/approvals/{approval}", openapi_extra=_BODY)
async def decide(request: Request, approval: UUID, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """Approve what somebody else asked for, or refuse it; a refusal counts until it is done."""
    body = await read_model(request, VerdictBody)
    await request.state.approvals.decide(caller, approval, body.verdict, body.reason)
    decided = await request.state.approvals.one(caller, approval)
    if decided["state"] == "approved":
        await request.state.doing.do_now(caller, approval, decided["act"])
        decided = await request.state.approvals.one(caller, approval)
    return _json(decided)
