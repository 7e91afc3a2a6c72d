"""The routes of sign-in, of the session that follows, and of the people who may. Nothing is decided here."""

from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from schemas.errors import InvalidParameter
from schemas.record import format_time
from services.http import read_model
from services.query.auth import ARRANGES, PUBLIC, SEES_ARRANGED, SIGNED_IN, Caller
from services.query.looks.looks import why
from services.query.sign_in.flow import SignIn
from services.query.sign_in.people import People, PersonRole
from services.query.sign_in.sessions import ATTEMPT_S, Sessions, csrf_of

JSON: Final = "application/json"
AFTER: Final = "/v1/session"

sign_in = APIRouter(prefix="/v1", tags=["people"])


class BeginParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    controller: Annotated[
        str | None,
        Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="The controller to sign in to, by its name."),
    ] = None
    invitation: Annotated[
        str | None, Field(max_length=1024, description="In place of the controller: the token of an invitation.")
    ] = None
    to: Annotated[
        str,
        Field(
            pattern=r"^/([A-Za-z0-9._~-][A-Za-z0-9._~/=&?%-]*)?$",
            max_length=256,
            description="The path on this host to go to afterwards.",
        ),
    ] = AFTER


class CallbackParameters(BaseModel):
    """What the provider sends back (RFC 6749, 4.1.2; RFC 9207); members that we do not know are not ours to refuse."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    state: Annotated[str, Field(max_length=256)] = ""
    code: Annotated[str | None, Field(max_length=4096)] = None
    iss: Annotated[str | None, Field(max_length=1024)] = None


class PersonBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=100, description="As colleagues call them.")]
    role: PersonRole


_PERSON_BODY: Final = {"requestBody": {"required": True, "content": {JSON: {"schema": PersonBody.model_json_schema()}}}}


@sign_in.get("/sign-in", status_code=302, dependencies=[Depends(PUBLIC)])
async def begin(request: Request, asked: Annotated[BeginParameters, Query()]) -> Response:
    """Send the browser to the OpenID provider; the person of an invitation, or of a controller."""
    if (asked.controller is None) == (asked.invitation is None):
        raise InvalidParameter("/controller")
    flow: SignIn = request.state.sign_in
    sessions: Sessions = request.state.sessions
    begun = await flow.begin(asked.controller, asked.invitation, asked.to)
    response = RedirectResponse(begun.url, 302)
    sessions.cookies.put(response, sessions.cookies.attempt, begun.cookie, ATTEMPT_S)
    return response


@sign_in.get("/sign-in/callback", status_code=303, dependencies=[Depends(PUBLIC)])
async def callback(request: Request, sent: Annotated[CallbackParameters, Query()]) -> Response:
    """Where the provider sends the browser back to; the session begins here."""
    flow: SignIn = request.state.sign_in
    cookies = request.state.sessions.cookies
    finished = await flow.finish(request.cookies.get(cookies.attempt), sent.state, sent.code, sent.iss)
    response = RedirectResponse(finished.to, 303)
    cookies.drop(response, cookies.attempt)
    cookies.put(response, cookies.session, finished.cookie, None)
    return response


@sign_in.get("/session")
async def session(request: Request, caller: Annotated[Caller, Depends(SIGNED_IN)]) -> Response:
    """Who the caller is to us; for a browser also the token that it sends with what changes something."""
    answer: dict[str, Any] = {"controller": caller.controller_name, "role": caller.role, "key": caller.key}
    shown = request.state.sessions.shown(request)
    if caller.is_person and shown is not None:
        answer |= {"name": await request.state.people.name_of(caller), "csrf": csrf_of(shown)}
    return Response(orjson.dumps(answer), media_type=JSON)


@sign_in.post("/sign-out", status_code=204)
async def sign_out(request: Request, caller: Annotated[Caller, Depends(SIGNED_IN)]) -> Response:
    """End the session of the cookie at once; a key has none, and stays as it is."""
    response = Response(status_code=204)
    sessions: Sessions = request.state.sessions
    shown = sessions.shown(request)
    if caller.is_person and shown is not None:
        await sessions.end(caller, shown)
        sessions.cookies.drop(response, sessions.cookies.session)
    return response


@sign_in.post("/people", status_code=201, openapi_extra=_PERSON_BODY)
async def invite(request: Request, caller: Annotated[Caller, Depends(ARRANGES)]) -> Response:
    """Invite somebody; the link is shown once, works for seven days and for whoever opens it first."""
    body = await read_model(request, PersonBody)
    invited = await request.state.people.invite(caller, body.name, body.role, why(caller, request))
    answer = {"person": str(invited.person), "url": invited.url, "expires_at": format_time(invited.expires_at)}
    return Response(orjson.dumps(answer), 201, media_type=JSON)


@sign_in.get("/people")
async def people(request: Request, caller: Annotated[Caller, Depends(SEES_ARRANGED)]) -> Response:
    """Everybody who may sign in, and who is invited to."""
    found: People = request.state.people
    return Response(orjson.dumps({"people": await found.listed(caller)}), media_type=JSON)


@sign_in.delete("/people/{person}", status_code=204)
async def remove(request: Request, person: UUID, caller: Annotated[Caller, Depends(ARRANGES)]) -> Response:
    """Remove somebody: their sessions and an invitation that is open end with it."""
    found: People = request.state.people
    await found.remove(caller, person, why(caller, request))
    return Response(status_code=204)
