"""The routes of retention. Each names its roles and calls one service; nothing is decided here."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from schemas.events import Name
from schemas.retention import RetentionRule
from services.http import read_model
from services.query.auth import ACTS, ARRANGES, SEES_ARRANGED, VISITOR, Caller, Myself
from services.query.retention.retained import Retained
from services.stream.waiting import preferred_wait

JSON: Final = "application/json"

retention = APIRouter(prefix="/v1/retention", tags=["retention"])
mine = APIRouter(prefix="/v1/me", tags=["visitors"])

RuleName = Annotated[Name, Path()]
_RULE_BODY: Final = {
    "requestBody": {"required": True, "content": {JSON: {"schema": RetentionRule.model_json_schema()}}}
}


@retention.get("/rules")
async def rules(request: Request, caller: Annotated[Caller, Depends(SEES_ARRANGED)]) -> Response:
    """Every rule in force: what goes how long after what, what a law keeps, and what the person is told of it."""
    return _json(await _retained(request).rules(caller))


@retention.get("/rules/{rule}")
async def rule_history(request: Request, rule: RuleName, caller: Annotated[Caller, Depends(SEES_ARRANGED)]) -> Response:
    """One rule with its history, the latest statement first; the end of a rule has no content."""
    return _json(await _retained(request).rule(caller, rule))


@retention.put("/rules/{rule}", openapi_extra=_RULE_BODY)
async def state(request: Request, rule: RuleName, caller: Annotated[Caller, Depends(ARRANGES)]) -> Response:
    """State a rule: 201 stated, 200 if that held already. It holds for what is there, too: ask for a preview first."""
    news = await _retained(request).state(caller, rule, await read_model(request, RetentionRule))
    return _json({"rule": rule}, HTTPStatus.CREATED if news else HTTPStatus.OK)


@retention.delete("/rules/{rule}", status_code=HTTPStatus.NO_CONTENT)
async def end(request: Request, rule: RuleName, caller: Annotated[Caller, Depends(ARRANGES)]) -> Response:
    """End a rule: 204. Its history stays."""
    await _retained(request).end(caller, rule)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@retention.post("/preview")
async def ask_preview(request: Request, caller: Annotated[Caller, Depends(SEES_ARRANGED)]) -> Response:
    """Have the ledger work out what would go now, deleting nothing: 202 asked for, 200 worked out (Prefer: wait=N)."""
    return await _asked(request, caller, is_preview=True)


@retention.get("/preview")
async def preview(request: Request, caller: Annotated[Caller, Depends(SEES_ARRANGED)]) -> Response:
    """The latest preview: counts by rule and part, and some places, without anybody's name."""
    return _json(await _retained(request).preview(caller))


@retention.post("/runs")
async def ask_run(request: Request, caller: Annotated[Caller, Depends(ACTS)]) -> Response:
    """Have the ledger run the rules now; it does so every hour anyway. 202 asked for, 200 done (Prefer: wait=N)."""
    return await _asked(request, caller, is_preview=False)


@retention.get("/runs")
async def runs(request: Request, caller: Annotated[Caller, Depends(SEES_ARRANGED)]) -> Response:
    """The latest runs: when, who asked, what went by which rule."""
    return _json(await _retained(request).runs(caller))


@retention.get("/runs/{run}")
async def run_standing(request: Request, run: UUID, caller: Annotated[Caller, Depends(SEES_ARRANGED)]) -> Response:
    """How one run stands, a preview too."""
    return _json(await _retained(request).run(caller, run))


@mine.get("/retention")
async def my_retention(request: Request, myself: Annotated[Myself, Depends(VISITOR)]) -> Response:
    """How long what is recorded of this browser is kept, what a law keeps, and when rules will take something."""
    return _json(await _retained(request).mine(myself))


async def _asked(request: Request, caller: Caller, *, is_preview: bool) -> Response:
    wait_s = preferred_wait(request.headers.get("prefer", ""))
    answer = await _retained(request).ask(caller, is_preview=is_preview, wait_s=wait_s)
    headers = {"location": f"/v1/retention/runs/{answer['run']}"}
    if wait_s:
        headers["preference-applied"] = f"wait={wait_s}"
    return _json(answer, HTTPStatus.OK if answer["state"] == "done" else HTTPStatus.ACCEPTED, headers)


def _retained(request: Request) -> Retained:
    retained: Retained = request.state.retained
    return retained


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, JSON)
