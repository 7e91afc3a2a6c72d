"""The routes of terms: an administrator states them, whoever works with them reads them."""

from http import HTTPStatus
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from schemas.terms import Terms
from services.http import read_model
from services.query.auth import ARRANGES, SEES_ARRANGED, Caller

JSON: Final = "application/json"

terms = APIRouter(tags=["terms"])

_BODY: Final = {"requestBody": {"required": True, "content": {JSON: {"schema": Terms.model_json_schema()}}}}


@terms.get("/v1/terms")
async def read(request: Request, caller: Annotated[Caller, Depends(SEES_ARRANGED)]) -> Response:
    """What the controller states of its time zone, holidays, promise, authority and more; every default is shown."""
    return Response(orjson.dumps(await request.state.terms.now(caller)), media_type=JSON)


@terms.put("/v1/terms", openapi_extra=_BODY)
async def state(request: Request, caller: Annotated[Caller, Depends(ARRANGES)]) -> Response:
    """State them anew, all of them: 201, or 200 if they stand so already. What began before keeps its dates."""
    is_new = await request.state.terms.state(caller, await read_model(request, Terms))
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return Response(orjson.dumps(await request.state.terms.now(caller)), status, media_type=JSON)
