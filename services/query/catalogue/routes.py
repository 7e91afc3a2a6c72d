"""The routes of a controller's own catalogue. Each names its roles and calls one service; nothing is decided here."""

from datetime import date
from http import HTTPStatus
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Path, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from schemas.canonical import read_strict
from schemas.errors import InvalidParameter
from schemas.events import Name, Text
from services.http import read_body, read_model
from services.query.auth import ACTS, SEES_ACTS, Caller
from services.query.catalogue.own_catalogue import OwnCatalogue

JSON: Final = "application/json"

catalogue = APIRouter(prefix="/v1/catalogue", tags=["catalogue"])


def _is_a_day(value: str) -> str:
    date.fromisoformat(value)
    return value


class StepBody(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Name
    done_on: Annotated[
        str,
        Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="The day it was done, not in the future."),
        AfterValidator(_is_a_day),
    ]
    note: Annotated[Text | None, Field(description="Where the paper lies, for example. Names no visitor.")] = None


ServiceName = Annotated[Name, Path()]
_SERVICE_BODY: Final = {
    "requestBody": {
        "required": True,
        "description": "A whole service (schemas/json/service.v1.json), or of a service of the catalogue the members "
        "that replace its own.",
        "content": {JSON: {"schema": {"type": "object"}}},
    }
}
_STEP_BODY: Final = {"requestBody": {"required": True, "content": {JSON: {"schema": StepBody.model_json_schema()}}}}


@catalogue.get("")
async def view(request: Request, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """The catalogue as it holds for the controller: ours, its overrides, and services of its own."""
    return _json(await _own(request).view(caller))


@catalogue.get("/steps")
async def steps(request: Request, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """The compliance steps of the services used: missing, done, or due again a year after they were done."""
    return _json(await _own(request).steps(caller))


@catalogue.put("/{service}", openapi_extra=_SERVICE_BODY)
async def state(request: Request, service: ServiceName, caller: Annotated[Caller, Depends(ACTS)]) -> Response:
    """State a service of one's own, or override members of ours: 201 stated, 200 if that held already."""
    override, _ = read_strict(await read_body(request))
    if not isinstance(override, dict):
        raise InvalidParameter("")
    return _told(await _own(request).state(caller, service, override), service=service)


@catalogue.post("/{service}/steps", openapi_extra=_STEP_BODY)
async def record_step(request: Request, service: ServiceName, caller: Annotated[Caller, Depends(ACTS)]) -> Response:
    """Date a compliance step: 201 recorded, 200 if that day was known already."""
    body = await read_model(request, StepBody)
    done_on = date.fromisoformat(body.done_on)
    news = await _own(request).record_step(caller, service, body.step, done_on, body.note)
    return _told(news, service=service, step=body.step, done_on=body.done_on)


def _own(request: Request) -> OwnCatalogue:
    own: OwnCatalogue = request.state.own_catalogue
    return own


def _told(news: bool, **members: str) -> Response:  # noqa: FBT001 - what the service answered
    return _json(members, HTTPStatus.CREATED if news else HTTPStatus.OK)


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(value), status, media_type=JSON)
