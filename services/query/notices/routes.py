"""The routes of notices. A notice is the controller's own word: whoever acts for it publishes and matches."""

from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from schemas.canonical import read_strict
from schemas.events import Name, Sha256
from schemas.notice_making import NoticeSource, read_source
from services.http import read_body, read_model
from services.query.auth import ACTS, READS_HISTORY, SEES_ACTS, Caller

JSON: Final = "application/json"

notices = APIRouter(tags=["notices"])

SiteName = Annotated[Name, Path()]
NoticeName = Annotated[Name, Path(description="Its SHA-256, in hex.")]


class MatchBody(BaseModel):
    """`shown` is what an adapter read off the screen; `notice` has the same words."""

    model_config = ConfigDict(extra="forbid", strict=True)

    shown: Sha256
    notice: Sha256


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {JSON: {"schema": model.model_json_schema()}}}}


@notices.post("/v1/sites/{site}/notices", status_code=201, openapi_extra=_body_of(NoticeSource))
async def publish(request: Request, site: SiteName, caller: Annotated[Caller, Depends(ACTS)]) -> Response:
    """Publish a version of a notice in all its languages; what changed for those who answered the one before."""
    value, _ = read_strict(await read_body(request))
    made = await request.state.notices.publish(caller, site, read_source(value))
    return Response(orjson.dumps({"notices": made}), 201, media_type=JSON)


@notices.get("/v1/sites/{site}/notices")
async def published(request: Request, site: SiteName, caller: Annotated[Caller, Depends(READS_HISTORY)]) -> Response:
    """Every notice that a site has published."""
    return Response(orjson.dumps({"notices": await request.state.notices.published(caller, site)}), media_type=JSON)


@notices.get("/v1/sites/{site}/notices/{notice}")
async def words(
    request: Request, site: SiteName, notice: NoticeName, caller: Annotated[Caller, Depends(READS_HISTORY)]
) -> Response:
    """The exact bytes of a notice: their SHA-256 is its name."""
    return Response(await request.state.notices.content(caller, site, notice), media_type=JSON)


@notices.post("/v1/notice-matches", status_code=204, openapi_extra=_body_of(MatchBody))
async def match(request: Request, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """State that words seen on a page are those of a published notice; consents under that hash count from then on."""
    body = await read_model(request, MatchBody)
    await request.state.notices.match(caller, bytes.fromhex(body.shown), bytes.fromhex(body.notice))
    return Response(status_code=204)
