"""The routes of the access log: all for the DPO, a grant's for a regulator, one's own for oneself. Decides nothing."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from services.query.auth import SEES_LOOKS, VISITOR, Caller, Myself
from services.query.looks.looks import Looks
from services.query.parameters import AccessLogParameters, HistoryParameters, encode_cursor

looks = APIRouter(tags=["access log"])

_JSON = "application/json"


@looks.get("/v1/access-log")
async def access_log(
    request: Request, page: Annotated[AccessLogParameters, Query()], caller: Annotated[Caller, Depends(SEES_LOOKS)]
) -> Response:
    """Who looked at personal data, what at, why and under which grant; a regulator is shown the own grant's alone."""
    looks: Looks = request.state.looks
    found = await looks.all(caller, page.after(), page.limit, page.grant)
    await looks.note(caller, request, look="access-log", records=len(found.looks))
    following = None if found.more is None else encode_cursor(found.more)
    return Response(orjson.dumps({"records": found.looks, "next": following}), media_type=_JSON)


@looks.get("/v1/me/looks")
async def my_looks(
    request: Request, page: Annotated[HistoryParameters, Query()], myself: Annotated[Myself, Depends(VISITOR)]
) -> Response:
    """When people of the controller or a regulator looked at what is recorded of you, at what, and in which role."""
    looks: Looks = request.state.looks
    subject = await request.state.subjects.find(myself.caller, myself.identifier)
    found = await looks.at_subject(myself.caller, subject, page.after(), page.limit)
    following = None if found.more is None else encode_cursor(found.more)
    return Response(orjson.dumps({"looks": found.looks, "next": following}), media_type=_JSON)
