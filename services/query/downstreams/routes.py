"""The routes of downstream systems: arrange them, see what they were told, answer for one.

Each names who may use it by its dependency and calls one service; nothing is decided here.
"""

from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from schemas.triggers import TriggerAnswer
from services.http import read_model
from services.query.auth import ACTS, ARRANGES, SEES_ACTS, SEES_ARRANGED, SYSTEM, Answering, Caller
from services.query.downstreams.bodies import (
    SYSTEM_PATTERN,
    DeliveriesParameters,
    DownstreamBody,
    TasksParameters,
    TriggersParameters,
)
from services.query.looks.looks import Looks, why

JSON: Final = "application/json"

downstreams = APIRouter(tags=["downstream systems"])
triggers = APIRouter(tags=["triggers"])

System = Annotated[str, Path(pattern=SYSTEM_PATTERN)]


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


_DOWNSTREAM: Final = _body(DownstreamBody.model_json_schema())
_ANSWER: Final = _body(TriggerAnswer.model_json_schema())


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(value), status, media_type=JSON)


async def _note(request: Request, caller: Caller, event_type: str, system: str) -> None:
    """In the access log: who arranges where personal data goes could have it sent to themselves."""
    looks: Looks = request.state.looks
    await looks.record(caller, event_type, why(caller, request), {"to": f"system:{system}"})


@downstreams.put("/v1/downstreams/{system}", openapi_extra=_DOWNSTREAM)
async def put(request: Request, system: System, caller: Annotated[Caller, Depends(ARRANGES)]) -> Response:
    """State a system: 201 with its secret, shown this once, or 200 if there is one of this name."""
    body = await read_model(request, DownstreamBody)

    async def note() -> None:
        await _note(request, caller, "access.granted", system)

    answer, is_new = await request.state.downstreams.put(caller, system, body, note)
    return _json(answer, HTTPStatus.CREATED if is_new else HTTPStatus.OK)


@downstreams.get("/v1/downstreams")
async def listed(request: Request, caller: Annotated[Caller, Depends(SEES_ARRANGED)]) -> Response:
    """Every system, without its secret."""
    return _json(await request.state.downstreams.list(caller))


@downstreams.get("/v1/downstreams/{system}")
async def one(request: Request, system: System, caller: Annotated[Caller, Depends(SEES_ARRANGED)]) -> Response:
    """One system, without its secret."""
    return _json(await request.state.downstreams.one(caller, system))


@downstreams.delete("/v1/downstreams/{system}")
async def remove(request: Request, system: System, caller: Annotated[Caller, Depends(ARRANGES)]) -> Response:
    """Nothing more is sent to it (204); what it owes an answer to is overdue one day, or a human answers for it."""
    await request.state.downstreams.remove(caller, system)
    await _note(request, caller, "access.revoked", system)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@downstreams.post("/v1/downstreams/{system}/secret")
async def secret(request: Request, system: System, caller: Annotated[Caller, Depends(ARRANGES)]) -> Response:
    """A new secret, shown this once; messages are signed with the one before as well."""
    replaced = await request.state.downstreams.replace_secret(caller, system)
    await _note(request, caller, "access.granted", system)
    return _json(replaced, HTTPStatus.CREATED)


@downstreams.get("/v1/deliveries")
async def deliveries(
    request: Request,
    caller: Annotated[Caller, Depends(SEES_ARRANGED)],
    page: Annotated[DeliveriesParameters, Query()],
) -> Response:
    """Messages on their way to systems, or given up (`dead`)."""
    return _json(await request.state.downstreams.deliveries(caller, page))


@downstreams.post("/v1/deliveries/{delivery}/again")
async def again(request: Request, delivery: UUID, caller: Annotated[Caller, Depends(ARRANGES)]) -> Response:
    """Try a dead letter once more: 202."""
    await request.state.downstreams.deliver_again(caller, delivery)
    return _json({"delivery": str(delivery), "state": "waiting"}, HTTPStatus.ACCEPTED)


@triggers.get("/v1/triggers")
async def listed_triggers(
    request: Request, caller: Annotated[Caller, Depends(SEES_ACTS)], page: Annotated[TriggersParameters, Query()]
) -> Response:
    """What systems were told to do and what became of it; names nobody."""
    return _json(await request.state.triggers.page(caller, page))


@triggers.get("/v1/triggers/{trigger}")
async def one_trigger(request: Request, trigger: UUID, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """One trigger; names nobody."""
    return _json(await request.state.triggers.one(caller, trigger))


@triggers.post("/v1/triggers/{trigger}/answer", openapi_extra=_ANSWER)
async def answer(request: Request, trigger: UUID, answering: Annotated[Answering, Depends(SYSTEM)]) -> Response:
    """What a system has done: 200 once it is recorded. Signed as the messages to it are (Standard Webhooks)."""
    body = await read_model(request, TriggerAnswer)
    return _json(await request.state.triggers.answer(answering.caller, trigger, body))


@triggers.get("/v1/tasks")
async def listed_tasks(
    request: Request, caller: Annotated[Caller, Depends(ACTS)], page: Annotated[TasksParameters, Query()]
) -> Response:
    """What the controller's own people have to do in systems that no machine tells; names nobody."""
    return _json(await request.state.triggers.tasks(caller, page))


@triggers.get("/v1/tasks/{trigger}")
async def one_task(request: Request, trigger: UUID, caller: Annotated[Caller, Depends(ACTS)]) -> Response:
    """One task, with what finds the person while it is open: then the look is recorded."""
    task = await request.state.triggers.task(caller, trigger)
    if "subject" in task or "identifiers" in task:
        subject = UUID(task["subject"]) if "subject" in task else None
        await request.state.looks.note(caller, request, look="task", subject=subject, trigger=str(trigger))
    return _json(task)


@triggers.post("/v1/tasks/{trigger}/answer", openapi_extra=_ANSWER)
async def answer_task(request: Request, trigger: UUID, caller: Annotated[Caller, Depends(ACTS)]) -> Response:
    """What a human has done, or was told for a system that cannot answer by itself: 200 once it is recorded."""
    body = await read_model(request, TriggerAnswer)
    return _json(await request.state.triggers.answer(caller, trigger, body))
