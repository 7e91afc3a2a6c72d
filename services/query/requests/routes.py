"""The routes of requests: the controller's people work on them, a visitor makes and reads their own.

Nothing is decided here. Every answer that shows a request to a human is noted in the access log first.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.rights_errors import LookNotRecorded
from services.http import read_model
from services.query.auth import ACTS, SEES_ACTS, VISITOR, Caller, Myself
from services.query.parameters import preferred
from services.query.requests.bodies import (
    AnswerBody,
    ExtendBody,
    IdentityBody,
    LetterBody,
    LiftBody,
    ListParameters,
    MineBody,
    PauseBody,
    RefuseBody,
    ResumeBody,
    ToldBody,
    VerifiedBody,
    WithdrawBody,
)
from services.query.requests.file_pdf import file_pdf
from services.query.requests.requests import Answered, Requests, Rule

JSON: Final = "application/json"
PDF: Final = "application/pdf"

requests = APIRouter(tags=["requests"])
mine = APIRouter(prefix="/v1/me", tags=["visitors"])

Acting = Annotated[Caller, Depends(ACTS)]
Seeing = Annotated[Caller, Depends(SEES_ACTS)]
Me = Annotated[Myself, Depends(VISITOR)]
# The name of the request in the path; the HTTP request has the word in our functions.
Number = Annotated[UUID, Path(alias="request")]
_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {JSON: {}, PDF: {}}, "description": "The person's file, by Accept."}
}


def _body(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {JSON: {"schema": model.model_json_schema()}}}}


async def _said(request: Request, caller: Caller, answered: Answered, done: HTTPStatus = HTTPStatus.OK) -> Response:
    """202: durable, and not recorded yet; or, of an erasure, not done yet.

    A human who takes a step is shown the request: a look. The step stands whether or not that can be noted; if it
    cannot, nothing more is said than that.
    """
    view = answered.view
    if "asked_for" in view:
        try:
            await request.state.looks.note(caller, request, look="request", subject=_subject(view))
        except LookNotRecorded:
            view = {name: view[name] for name in ("request", "state")}
    return Response(orjson.dumps(view), done if answered.recorded else HTTPStatus.ACCEPTED, media_type=JSON)


@requests.post("/v1/requests", status_code=201, openapi_extra=_body(LetterBody))
async def take(request: Request, caller: Acting) -> Response:
    """Enter a request that came by letter, mail, telephone: 201 recorded, 202 on its way."""
    answered = await request.state.requests.take_letter(caller, await read_model(request, LetterBody))
    return await _said(request, caller, answered, HTTPStatus.CREATED)


@requests.get("/v1/requests")
async def listing(request: Request, asked: Annotated[ListParameters, Query()], caller: Seeing) -> Response:
    """Requests with where they stand and when they are due, those that are due first in front."""
    found = await request.state.requests.listing(caller, asked)
    await request.state.looks.note(caller, request, look="requests", count=len(found))
    return Response(orjson.dumps({"requests": found}), media_type=JSON)


@requests.get("/v1/requests/{request}")
async def show(request: Request, number: Number, caller: Seeing) -> Response:
    """One request with its steps."""
    view = await request.state.requests.view(caller, number)
    await request.state.looks.note(caller, request, look="request", subject=_subject(view))
    return Response(orjson.dumps(view), media_type=JSON)


@requests.get("/v1/requests/{request}/file", responses=_FILE)
async def person_file(request: Request, number: Number, caller: Seeing) -> Response:
    """Everything that is kept of the person who asks for access or portability, as JSON or as PDF, by Accept."""
    media_type = preferred(request.headers.get("accept"), (JSON, PDF))
    if media_type is None:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE)
    subject, facts = await request.state.person_files.of_request(caller, number)
    await request.state.looks.note(caller, request, look="file", subject=subject)
    content = orjson.dumps(facts) if media_type == JSON else file_pdf(facts)
    return Response(content, media_type=media_type, headers={"vary": "accept"})


@requests.post("/v1/requests/{request}/identity", openapi_extra=_body(IdentityBody))
async def identity(request: Request, number: Number, caller: Acting) -> Response:
    """There is reasonable doubt: the person is asked to show who they are. The first step, at once, or never."""
    body = await read_model(request, IdentityBody)
    return await _step(
        request, caller, number, "request.identity", lambda standing: standing.ask_identity(body), {"doubt": body.doubt}
    )


@requests.post("/v1/requests/{request}/verified", openapi_extra=_body(VerifiedBody))
async def verified(request: Request, number: Number, caller: Acting) -> Response:
    """What became of the identity check: how, and whether it was shown; never what was shown."""
    body = await read_model(request, VerifiedBody)
    return await _step(request, caller, number, "request.verified", lambda standing: standing.verify(body))


@requests.post("/v1/requests/{request}/pause", openapi_extra=_body(PauseBody))
async def pause(request: Request, number: Number, caller: Acting) -> Response:
    """The clock stands still until the person answers; the days are added."""
    body = await read_model(request, PauseBody)
    return await _step(
        request, caller, number, "request.paused", lambda standing: standing.pause(body), {"why": body.why}
    )


@requests.post("/v1/requests/{request}/resume", openapi_extra=_body(ResumeBody))
async def resume(request: Request, number: Number, caller: Acting) -> Response:
    """The person has answered: the clock runs again."""
    body = await read_model(request, ResumeBody)
    return await _step(request, caller, number, "request.resumed", lambda standing: standing.resume(body))


@requests.post("/v1/requests/{request}/extend", openapi_extra=_body(ExtendBody))
async def extend(request: Request, number: Number, caller: Acting) -> Response:
    """Two months more, once; only if the person was told of it with the reasons within the first month."""
    body = await read_model(request, ExtendBody)
    return await _step(
        request, caller, number, "request.extended", lambda standing: standing.extend(body), {"why": body.why}
    )


@requests.post("/v1/requests/{request}/answer", openapi_extra=_body(AnswerBody))
async def answer(request: Request, number: Number, caller: Acting) -> Response:
    """Do what was asked for, and say so: 200 answered; 202 asked for and not done yet, the request is still open."""
    answered = await request.state.answering.answer(caller, number, await read_model(request, AnswerBody))
    return await _said(request, caller, answered)


@requests.post("/v1/requests/{request}/lift", openapi_extra=_body(LiftBody))
async def lift(request: Request, number: Number, caller: Acting) -> Response:
    """End the restriction that a request was answered with; the person was told before."""
    answered = await request.state.answering.lift(caller, number, await read_model(request, LiftBody))
    return await _said(request, caller, answered)


@requests.post("/v1/requests/{request}/refuse", openapi_extra=_body(RefuseBody))
async def refuse(request: Request, number: Number, caller: Acting) -> Response:
    """Refuse, with the ground; the answer names the authority and the remedy that the person must be told of."""
    answered = await request.state.requests.refuse(caller, number, await read_model(request, RefuseBody))
    return await _said(request, caller, answered)


@requests.post("/v1/requests/{request}/withdraw", openapi_extra=_body(WithdrawBody))
async def withdraw(request: Request, number: Number, caller: Acting) -> Response:
    """The person takes the request back."""
    body = await read_model(request, WithdrawBody)
    note = {} if body.note is None else {"note": body.note}
    return await _step(request, caller, number, "request.withdrawn", lambda standing: standing.withdraw(), note)


@requests.post("/v1/requests/{request}/told", openapi_extra=_body(ToldBody))
async def told(request: Request, number: Number, caller: Acting) -> Response:
    """The person was told of the answer, the refusal or the extension."""
    body = await read_model(request, ToldBody)
    return await _step(request, caller, number, "request.told", lambda standing: standing.tell(body))


@mine.post("/requests", status_code=201, openapi_extra=_body(MineBody))
async def take_mine(request: Request, myself: Me) -> Response:
    """A visitor's own request; the capability shows whose it is, so nobody asks for more."""
    answered = await request.state.requests.take_mine(myself, await read_model(request, MineBody))
    return await _said(request, myself.caller, answered, HTTPStatus.CREATED)


@mine.get("/requests")
async def list_mine(request: Request, myself: Me) -> Response:
    """A visitor's own requests, with every step and the day by which the answer is due."""
    return Response(orjson.dumps({"requests": await request.state.requests.mine(myself)}), media_type=JSON)


async def _step(
    request: Request,
    caller: Caller,
    number: UUID,
    event_type: str,
    rule: Rule,
    context: Mapping[str, Any] | None = None,
) -> Response:
    service: Requests = request.state.requests
    return await _said(request, caller, await service.step(caller, number, event_type, rule, context))


def _subject(view: Mapping[str, Any]) -> UUID | None:
    subject = view.get("subject")
    return None if subject is None else UUID(subject)
