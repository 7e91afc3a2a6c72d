"""The route of bulk checks. It names its roles by its dependency and calls one service; nothing is decided here."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from services.query.auth import KNOWS_IDENTIFIERS, Caller
from services.query.checks.checks import Question
from services.query.checks.lines import Line
from services.query.parameters import StatusParameters

NDJSON: Final = "application/x-ndjson"
CHECKS_PATH: Final = "/v1/checks"
# About three million people.
CHECKS_BYTES_MAX: Final = 256 * 1024 * 1024

checks = APIRouter(tags=["checks"])

_BODY: Final = {
    "requestBody": {
        "required": True,
        "description": "Whom to check: one object a line.",
        "content": {NDJSON: {"schema": Line.model_json_schema()}},
    }
}
_RESPONSE: Final = {
    "description": "One answer a line, in the order posted, and a last line that says how many (docs/state.md)",
    "content": {NDJSON: {}},
}


@checks.post(CHECKS_PATH, openapi_extra=_BODY, responses={200: _RESPONSE})
async def check(
    request: Request,
    asked: Annotated[StatusParameters, Query()],
    caller: Annotated[Caller, Depends(KNOWS_IDENTIFIERS)],
) -> Response:
    """Of a list of people, whether a consent to one purpose stands, with reasons; the access log gets one record."""
    question = Question(asked.purpose, asked.moment())
    checked = await request.state.checks.check(caller, question, request.stream())
    try:
        await request.state.looks.note_job(
            caller, request, "access.checked", purpose=question.purpose, count=checked.count
        )
    except BaseException:
        checked.lines.close()
        raise
    return StreamingResponse(checked.pieces(), media_type=NDJSON)
