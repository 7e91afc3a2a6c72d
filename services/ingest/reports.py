"""POST /v1/reports: anybody may tell a site that a child's data is here (GDPR Art. 8 and 17(1)(f)); no key, no account.

Invariant: a report is a request of a stranger. It is recorded and answered like any other, and changes nothing itself:
whoever it names is neither erased nor declared a child by a stranger's word.
"""

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from schemas.canonical import canonical_json
from schemas.errors import LinkNotValid, NotFound
from schemas.events import Identifier, Name, Text, Uuid
from schemas.record import format_time
from schemas.topics import source_of
from services.http import problem_response, read_model
from services.ingest.intake import Refused
from services.ingest.reading import Readable
from services.ingest.visitors.acting import Acts

router = APIRouter(tags=["reports"])

# Any page may ask; nothing of the visitor goes into the answer.
_ANYBODY: Final = {"access-control-allow-origin": "*"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ReportBody(BaseModel):
    """Whom it is about, as far as the reporter knows, and where an answer may go."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    site: Name
    about: Literal["child"]
    identifier: Annotated[
        Identifier | None, Field(description="How the site knows the child: an e-mail address, an account.")
    ] = None
    receipt: Annotated[Uuid | None, Field(description="The number of a receipt that the child's browser holds.")] = None
    text: Annotated[Text | None, Field(description="What the reporter wants to say.")] = None
    reply_to: Annotated[Text | None, Field(description="An address for the answer; none is needed.")] = None


def _body_schema() -> dict[str, Any]:
    """The body's schema; what it shares with events stands among the components already."""
    schema = ReportBody.model_json_schema(ref_template="#/components/schemas/{model}")
    del schema["$defs"]
    return schema


_BODY: Final = {"requestBody": {"required": True, "content": {"application/json": {"schema": _body_schema()}}}}


@router.post("/v1/reports", status_code=HTTPStatus.ACCEPTED, openapi_extra=_BODY)
async def report(request: Request) -> Response:
    """Report that a child's data is here: 202 with the number of the request it became."""
    acts: Acts = request.state.acts
    client = acts.clients.of(request.scope, dict(request.scope["headers"]))
    await acts.limits.admit_unconfirmed(client.network)
    body = await read_model(request, ReportBody)
    try:
        site = await acts.places.caller(body.site)
    except LinkNotValid:
        refused = problem_response(NotFound())
        refused.headers.update(_ANYBODY)
        return refused
    stranger = replace(site, kind="pk", types=frozenset({"request.received"}), posted_by="browser")
    now_us = time.time_ns() // 1000
    event = _event_of(body, _EPOCH + timedelta(microseconds=now_us))
    (outcome,) = await acts.intake.take([event], stranger, now_us, 0, client)
    if isinstance(outcome, Refused):
        raise outcome.problem
    return Response(
        orjson.dumps({"request": outcome.event_id}), HTTPStatus.ACCEPTED, _ANYBODY, media_type="application/json"
    )


def _event_of(body: ReportBody, now: datetime) -> Readable:
    said = {"text": body.text, "reporter": body.reply_to}
    data: dict[str, Any] = {
        "request": {"right": "erasure", "channel": "form", "about": body.about},
        "ext": {name: value for name, value in said.items() if value is not None},
    }
    if body.receipt is not None:
        data["request"]["receipt"] = body.receipt
    if body.identifier is not None:
        data["subject"] = {"identifiers": [body.identifier.model_dump()]}
    event = {
        "specversion": "1.0",
        "id": str(UUID(bytes=os.urandom(16), version=4)),
        "source": source_of(body.site),
        "type": "request.received",
        "time": format_time(now),
        "data": data,
    }
    return Readable(event, canonical_json(event))
