"""What ingest and query share of HTTP: RFC 9457 problems, body limits, request ids, health, headers.

Invariant: no answer repeats what was posted. A problem's pointer holds names of the schema and numbers, nothing else.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any, Final, TypeVar

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.canonical import read_strict
from schemas.errors import (
    BodyTooLarge,
    ConfigurationError,
    InvalidParameter,
    KeyProviderAway,
    KeysAway,
    LedgerAway,
    MalformedJson,
    NotFound,
    Problem,
)
from schemas.limits import BODY_BYTES_MAX
from services.observability import describe, get_logger, render_metrics
from services.postgres import DATABASE_AWAY

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
PROBE_TIMEOUT_S: Final = 2
KEYS_RETRY_AFTER_S: Final = 10
DATABASE_RETRY_AFTER_S: Final = 2
DOCS_PATH: Final = "/docs"
_NO_TELEMETRY: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

# Set unless a route set its own (tiles are cacheable, pages of the console have their own policy).
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
# FastAPI's page at /docs loads Swagger UI from there and starts it inline; it shows nothing but our own description.
_DOCS_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src https://cdn.jsdelivr.net; "
    "img-src data: https://fastapi.tiangolo.com; connect-src 'self'; frame-ancestors 'none'"
)

# None when the dependency is there, else a constant sentence that says what is missing.
Probe = Callable[[Request], Awaitable[str | None]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]
M = TypeVar("M", bound=BaseModel)


def create_service_app(
    *,
    title: str,
    description: str,
    lifespan: Lifespan,
    registry: CollectorRegistry,
    probes: Mapping[str, Probe],
    remarks: Mapping[str, Probe] | None = None,
    long_bodies: Mapping[str, int] | None = None,
) -> FastAPI:
    """A FastAPI app with problems, health, metrics and headers. Its own telemetry is off: it would record payloads.

    A probe that finds something missing makes the process not ready; a remark is only shown. `long_bodies`: by path the
    bytes that it takes at most, for routes that read their bodies piece by piece.
    """
    app = FastAPI(
        title=title,
        description=description,
        lifespan=lifespan,
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
        redoc_url=None,
    )
    app.add_middleware(Edge, long_bodies=long_bodies or {})
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    for away in DATABASE_AWAY:
        app.add_exception_handler(away, _answer_away)
    for unusable in (KeyProviderAway, ConfigurationError):
        app.add_exception_handler(unusable, _answer_keys_away)
    _add_operations(app, registry, probes, remarks or {})
    return app


def problem_bytes(problem: Problem) -> bytes:
    """The problem document (RFC 9457, 3)."""
    return orjson.dumps(problem.body())


def problem_response(problem: Problem) -> Response:
    headers = {} if problem.retry_after_s is None else {"retry-after": str(problem.retry_after_s)}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return Response(problem_bytes(problem), problem.status, headers, PROBLEM_MEDIA_TYPE)


async def read_body(request: Request, limit: int = BODY_BYTES_MAX) -> bytes:
    """The body, or BodyTooLarge as soon as it must be longer than `limit` bytes; nothing beyond is kept."""
    if _states_more(request.headers.get("content-length"), limit):
        raise BodyTooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLarge
    return bytes(body)


def _states_more(content_length: str | None, limit: int) -> bool:
    return content_length is not None and content_length.isdecimal() and int(content_length) > limit


async def read_model(request: Request, model: type[M], limit: int = BODY_BYTES_MAX) -> M:
    """One strict JSON body as `model`. Raises the problems of schemas.canonical, or InvalidParameter with a pointer."""
    value, _ = read_strict(await read_body(request, limit))
    try:
        return model.model_validate(value)
    except ValidationError as error:
        loc = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
        raise InvalidParameter(pointer_of(loc, schema_names(model.model_json_schema()))) from None


def takes_gzip(accept_encoding: Sequence[str]) -> bool:
    """Whether Accept-Encoding header lines (RFC 9110, 12.5.3) ask for gzip; one that is not sent asks for nothing."""
    weights: dict[str, str] = {}
    for item in ",".join(accept_encoding).lower().split(","):
        coding, *parameters = (piece.strip() for piece in item.split(";"))
        weights[coding] = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
    weight = weights.get("gzip", weights.get("*", "0"))
    return weight.strip("0.") != ""


def schema_names(schema: object) -> frozenset[str]:
    """Every member name and parameter name that a JSON Schema or OpenAPI description knows."""
    names: set[str] = set()
    stack = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            properties = node.get("properties")
            if isinstance(properties, dict):
                names.update(properties)
            if "in" in node and isinstance(node.get("name"), str):
                names.add(node["name"])
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return frozenset(names)


def pointer_of(loc: Iterable[int | str], known: frozenset[str]) -> str:
    """A JSON pointer (RFC 6901) down to the first step that the schema does not know: that one was posted."""
    steps: list[str] = []
    for step in loc:
        if isinstance(step, str) and step not in known:
            break
        steps.append(str(step))
    return "".join(f"/{step}" for step in steps)


async def _answer_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem_response(MalformedJson())
    if not hasattr(request.app.state, "known_names"):
        request.app.state.known_names = schema_names(request.app.openapi())
    # The first step says where the parameter was: query, path, header or body.
    return problem_response(InvalidParameter(pointer_of(first["loc"][1:], request.app.state.known_names)))


async def _answer_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return problem_response(NotFound())
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem_response(BodyTooLarge())
    return blank_problem(error.status_code, error.headers)


async def _answer_away(_request: Request, error: Exception) -> Response:
    get_logger().warning("database away", error=type(error).__name__)
    return problem_response(LedgerAway(retry_after_s=DATABASE_RETRY_AFTER_S))


async def _answer_keys_away(_request: Request, error: Exception) -> Response:
    """A key file, or whoever unwraps it, cannot be used now; the log says what to do, the caller cannot."""
    get_logger().error("keys cannot be used", **describe(error))
    return problem_response(KeysAway(retry_after_s=KEYS_RETRY_AFTER_S))


def unforeseen(error: Exception, request_id: str) -> Response:
    """A 500 with a random incident id; the log has the same id, the error's class and where it rose, no payload."""
    incident = os.urandom(8).hex()
    get_logger().error("unforeseen error", incident=incident, request_id=request_id, **describe(error))
    detail = "This is a mistake of the service; name the incident to its operator."
    return blank_problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail=detail, incident=incident)


def blank_problem(status: int, headers: Mapping[str, str] | None = None, **members: str) -> Response:
    """A problem that HTTP's own status explains (RFC 9457, 4.2.1)."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, **members}
    return Response(orjson.dumps(document), status, headers, PROBLEM_MEDIA_TYPE)


class Edge:
    """Around every route: names the request, limits its body, sets headers, turns the unforeseen into a 500."""

    def __init__(self, app: ASGIApp, long_bodies: Mapping[str, int]) -> None:
        self._app = app
        self._long_bodies = long_bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._long_bodies.get(scope["path"], BODY_BYTES_MAX)
        request_id = os.urandom(8).hex()
        started = False
        received = 0

        async def receive_with_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # FastAPI passes this one on while it reads a body; any other error it would answer with its own 400.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                if scope["path"] == DOCS_PATH:
                    headers["content-security-policy"] = _DOCS_POLICY
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if "\x00" in scope["path"]:
            # Postgres takes no such text, so nothing has such a name.
            await problem_response(NotFound())(scope, receive, send_with_headers)
            return
        if _states_more(Headers(scope=scope).get("content-length"), limit):
            await problem_response(BodyTooLarge())(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive_with_limit, send_with_headers)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:
            response = unforeseen(error, request_id)
            if started:
                raise
            await response(scope, receive, send_with_headers)


def _add_operations(
    app: FastAPI, registry: CollectorRegistry, probes: Mapping[str, Probe], remarks: Mapping[str, Probe]
) -> None:
    """Routes for the machines that watch this process."""

    @app.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/health/ready", tags=["health"])
    async def ready(request: Request) -> Response:
        """200 when every dependency answers, else 503 with a reason for each that does not."""
        asked = {**probes, **remarks}
        reasons = await asyncio.gather(*(_probe(probe, request) for probe in asked.values()))
        found = dict(zip(asked, reasons, strict=True))
        document = {
            "status": "ready" if all(found[name] is None for name in probes) else "not-ready",
            "dependencies": {name: reason or "ok" for name, reason in found.items()},
        }
        status = HTTPStatus.OK if document["status"] == "ready" else HTTPStatus.SERVICE_UNAVAILABLE
        return Response(orjson.dumps(document), status, media_type="application/json")

    @app.get("/metrics", tags=["health"])
    async def metrics() -> Response:
        text, content_type = render_metrics(registry)
        return Response(text, headers={"content-type": content_type})


async def _probe(probe: Probe, request: Request) -> str | None:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await probe(request)
    except TimeoutError:
        return f"no answer within {PROBE_TIMEOUT_S} s"
    except Exception as error:  # noqa: BLE001 - whatever a probe raises means that the dependency is not there
        return type(error).__name__
