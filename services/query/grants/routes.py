"""The routes of grants: the DPO makes, lists, ends them; a regulator reads the own one. Nothing is decided here."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from schemas.events import Name, Text, Time, parse_time
from services.http import read_model
from services.query.auth import OVERSEES, REGULATES, Caller
from services.query.grants.grants import Asked, Grants, Made
from services.query.looks.looks import why

JSON: Final = "application/json"
SUBJECTS_MAX: Final = 1000
PURPOSES_MAX: Final = 100

grants = APIRouter(prefix="/v1/grants", tags=["grants"])


class GrantBody(BaseModel):
    """What a grant is about; a member that is left out does not limit it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    case_reference: Annotated[Text, Field(max_length=200, description="The authority's own name of the case.")]
    authority: Annotated[Text, Field(max_length=200, description="Who it is given to.")]
    subjects: Annotated[list[UUID] | None, Field(min_length=1, max_length=SUBJECTS_MAX)] = None
    purposes: Annotated[list[Name] | None, Field(min_length=1, max_length=PURPOSES_MAX)] = None
    records_from: Annotated[Time | None, Field(description="Only records received then or later.")] = None
    records_until: Annotated[Time | None, Field(description="Only records received then or before.")] = None
    begins_at: Annotated[Time | None, Field(description="At once if left out.")] = None
    ends_at: Annotated[Time, Field(description="From then on the key opens nothing.")]
    confidential_until: Annotated[
        Time | None, Field(description="Ordered by the authority: until then the people concerned are not told.")
    ] = None
    preserve: Annotated[
        bool, Field(description="Ordered by the authority: what it is about is held until the grant ends (holds).")
    ] = False

    def asked(self) -> Asked:
        return Asked(
            case_reference=self.case_reference,
            authority=self.authority,
            subjects=self.subjects,
            purposes=self.purposes,
            records_from=_time(self.records_from),
            records_until=_time(self.records_until),
            begins_at=_time(self.begins_at),
            ends_at=parse_time(self.ends_at),
            confidential_until=_time(self.confidential_until),
            preserve=self.preserve,
        )


_GRANT_BODY: Final = {"requestBody": {"required": True, "content": {JSON: {"schema": GrantBody.model_json_schema()}}}}


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> Response:
    return Response(orjson.dumps(value), status, headers, JSON)


def _made(made: Made) -> Response:
    return _json({**made.shown, "key": made.key}, HTTPStatus.CREATED, location=f"/v1/grants/{made.shown['grant']}")


@grants.post("", openapi_extra=_GRANT_BODY)
async def make(request: Request, caller: Annotated[Caller, Depends(OVERSEES)]) -> Response:
    """Let a regulator look: the grant, and its key, which is shown this once."""
    body = await read_model(request, GrantBody)
    grants: Grants = request.state.grants
    return _made(await grants.make(caller, body.asked(), why(caller, request)))


@grants.get("")
async def listed(request: Request, caller: Annotated[Caller, Depends(OVERSEES)]) -> Response:
    """Every grant with its state, the newest first."""
    grants: Grants = request.state.grants
    return _json({"grants": await grants.listed(caller)})


@grants.get("/own")
async def own(request: Request, caller: Annotated[Caller, Depends(REGULATES)]) -> Response:
    """What the caller's own grant lets it look at."""
    grants: Grants = request.state.grants
    return _json(await grants.own(caller))


@grants.post("/{grant}/revoke")
async def revoke(request: Request, grant: UUID, caller: Annotated[Caller, Depends(OVERSEES)]) -> Response:
    """End a grant now: its keys open nothing from the next request on."""
    grants: Grants = request.state.grants
    return _json(await grants.revoke(caller, grant, why(caller, request)))


@grants.post("/{grant}/key")
async def replace_key(request: Request, grant: UUID, caller: Annotated[Caller, Depends(OVERSEES)]) -> Response:
    """A new key of a grant, shown this once; those before it end now."""
    grants: Grants = request.state.grants
    return _made(await grants.replace_key(caller, grant, why(caller, request)))
