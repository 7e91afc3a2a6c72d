"""The routes of access keys. Nothing is decided here."""

from datetime import timedelta
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from schemas.events import Name, Text, Time, parse_time
from schemas.record import format_time
from services.http import read_model
from services.query.auth import ARRANGES, SEES_ARRANGED, Caller
from services.query.keys.machine_keys import Asked, KeyRole, MachineKeys, Made
from services.query.looks.looks import why

JSON: Final = "application/json"

keys = APIRouter(prefix="/v1/keys", tags=["keys"])


class KeyBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    role: KeyRole
    label: Annotated[Text, Field(description="What it is for; names no visitor.")]
    expires_at: Annotated[Time | None, Field(description="Its end, within two years; in a year if left out.")] = None
    sites: Annotated[
        list[Name] | None,
        Field(
            min_length=1, max_length=100, description="Of a key for a site: whose records it reads; all if left out."
        ),
    ] = None


class RotateParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    overlap_hours: Annotated[int, Field(ge=0, le=168, description="How long the key before stays in force.")] = 24


_BODY: Final = {"requestBody": {"required": True, "content": {JSON: {"schema": KeyBody.model_json_schema()}}}}


@keys.post("", status_code=201, openapi_extra=_BODY)
async def make(request: Request, caller: Annotated[Caller, Depends(ARRANGES)]) -> Response:
    """Make a key. Its secret is answered this once; every key has an end."""
    body = await read_model(request, KeyBody)
    end = None if body.expires_at is None else parse_time(body.expires_at)
    made = await _keys(request).make(caller, Asked(body.role, body.label, end, body.sites), why(caller, request))
    return _json({**_shown(made), "label": body.label, "sites": body.sites}, 201)


@keys.get("")
async def listed(request: Request, caller: Annotated[Caller, Depends(SEES_ARRANGED)]) -> Response:
    """Every key with what it opens, also those that have ended; never a secret, and no regulator's key."""
    return _json({"keys": await _keys(request).listed(caller)})


@keys.post("/{key}/rotate", status_code=201)
async def rotate(
    request: Request,
    key: str,
    asked: Annotated[RotateParameters, Query()],
    caller: Annotated[Caller, Depends(ARRANGES)],
) -> Response:
    """Make a key in the place of another, which ends after the overlap."""
    overlap = timedelta(hours=asked.overlap_hours)
    replaced = await _keys(request).replace(caller, key, overlap, why(caller, request))
    return _json({**_shown(replaced.made), "replaces": key, "replaced_ends_at": format_time(replaced.ends_at)}, 201)


@keys.delete("/{key}", status_code=204)
async def revoke(request: Request, key: str, caller: Annotated[Caller, Depends(ARRANGES)]) -> Response:
    """End a key; every process forgets it within a minute."""
    await _keys(request).revoke(caller, key, why(caller, request))
    return Response(status_code=204)


def _keys(request: Request) -> MachineKeys:
    found: MachineKeys = request.state.machine_keys
    return found


def _shown(made: Made) -> dict[str, Any]:
    return {"key": made.key, "secret": made.secret, "role": made.role, "expires_at": format_time(made.expires_at)}


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type=JSON)
