"""The routes of visitors: GET alone, opened by the capability of the browser that asks. Nothing is decided here."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.record import format_time
from services.query.auth import VISITOR, Myself
from services.query.me.mine import Mine
from services.query.parameters import HistoryParameters, MyReceiptParameters, encode_cursor, preferred
from services.query.routes import JOSE, JSON, RECEIPT_RESPONSE
from services.query.status import describe, erased

me = APIRouter(prefix="/v1/me", tags=["visitors"])


@me.get("/choices")
async def choices(request: Request, myself: Annotated[Myself, Depends(VISITOR)]) -> Response:
    """Every decision of this browser that stands."""
    mine: Mine = request.state.mine
    state = await mine.choices(myself)
    answer = {
        "at": format_time(state.at),
        "decisions": [describe(judged) for judged in state.judged],
        **erased(state.erased_at),
    }
    return Response(orjson.dumps(answer), media_type=JSON)


@me.get("/history")
async def history(
    request: Request, page: Annotated[HistoryParameters, Query()], myself: Annotated[Myself, Depends(VISITOR)]
) -> Response:
    """Every record of this browser with all its parts, in the order of their places."""
    mine: Mine = request.state.mine
    found = await mine.history(myself, page.after(), page.limit)
    following = None if found.more is None else encode_cursor(found.more)
    answer = {"records": found.records, "next": following, **erased(found.erased_at)}
    return Response(orjson.dumps(answer), media_type=JSON)


@me.get("/events/{event}/receipt", responses={200: RECEIPT_RESPONSE})
async def receipt(
    request: Request,
    event: UUID,
    asked: Annotated[MyReceiptParameters, Query()],
    myself: Annotated[Myself, Depends(VISITOR)],
) -> Response:
    """The receipt of one of this browser's own decisions about consent, as a JWS or with its claims, by Accept."""
    media_type = preferred(request.headers.get("accept"), (JOSE, JSON))
    if media_type is None:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE)
    mine: Mine = request.state.mine
    made = await mine.receipt(myself, event, asked.form)
    content = made.jws if media_type == JOSE else orjson.dumps({"receipt": made.jws, "claims": made.claims})
    return Response(content, media_type=media_type, headers={"vary": "accept"})
