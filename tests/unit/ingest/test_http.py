"""What services/http.py gives every service: problems without values, limits, headers, health."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from schemas.errors import StreamAway
from schemas.limits import BODY_BYTES_MAX
from services import http

pytestmark = pytest.mark.unit

SECRET = "somebody@example.org"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: int
    inner: dict[str, int] | None = None


@asynccontextmanager
async def nothing(_app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
    yield {}


async def there(_request: Request) -> str | None:
    return None


async def missing(_request: Request) -> str | None:
    return "not there"


async def broken(_request: Request) -> str | None:
    raise ConnectionRefusedError(SECRET)


async def silent(_request: Request) -> str | None:
    await asyncio.Event().wait()
    return None


def make(probes: Mapping[str, http.Probe], remarks: Mapping[str, http.Probe] | None = None) -> FastAPI:
    app = http.create_service_app(
        title="t", description="d", lifespan=nothing, registry=CollectorRegistry(), probes=probes, remarks=remarks
    )

    @app.get("/number")
    async def number(at: int) -> int:
        return at

    @app.post("/typed")
    async def typed(body: Body) -> int:
        return body.name

    @app.post("/strict")
    async def strict(request: Request) -> int:
        return (await http.read_model(request, Body)).name

    @app.get("/broken")
    async def fails() -> None:
        raise ValueError(SECRET)

    @app.get("/away")
    async def away() -> None:
        raise ConnectionResetError(SECRET)

    @app.get("/later")
    async def later() -> None:
        raise StreamAway(retry_after_s=7)

    return app


async def ask(method: str, path: str, *, app: FastAPI | None = None, **options: Any) -> httpx2.Response:
    transport = httpx2.ASGITransport(app or make({}))
    async with httpx2.AsyncClient(transport=transport, base_url="http://t") as client:
        return await client.request(method, path, **options)


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 65_536


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "problem", "pointer"),
    [
        ("GET", f"/number?at={SECRET}", {}, 422, "/problems/invalid-parameter", "/at"),
        ("GET", "/number", {}, 422, "/problems/invalid-parameter", "/at"),
        ("POST", "/typed", {"json": {"name": SECRET}}, 422, "/problems/invalid-parameter", "/name"),
        ("POST", "/typed", {"json": {"name": 1, SECRET: 1}}, 422, "/problems/invalid-parameter", ""),
        ("POST", "/typed", {"json": {"name": 1, "inner": {SECRET: "x"}}}, 422, "/problems/invalid-parameter", "/inner"),
        ("POST", "/strict", {"json": {"name": 1, SECRET: 1}}, 422, "/problems/invalid-parameter", ""),
        (
            "POST",
            "/strict",
            {"json": {"inner": {SECRET: "x"}, "name": 1}},
            422,
            "/problems/invalid-parameter",
            "/inner",
        ),
        ("POST", "/strict", {"content": b'{"name":1,"name":2}'}, 422, "/problems/duplicate-key", None),
        ("POST", "/strict", {"content": b'{"name":\xff}'}, 422, "/problems/not-utf8", None),
        ("POST", "/strict", {"content": b" " * (BODY_BYTES_MAX + 1)}, 413, "/problems/body-too-large", None),
        ("POST", "/strict", {"content": endless()}, 413, "/problems/body-too-large", None),
        ("POST", "/typed", {"content": endless()}, 413, "/problems/body-too-large", None),
        ("GET", f"/nothing/{SECRET}", {}, 404, "/problems/not-found", None),
        ("PUT", "/number", {}, 405, "about:blank", None),
        ("GET", "/away", {}, 503, "/problems/database-away", None),
        ("GET", "/later", {}, 503, "/problems/stream-away", None),
        ("GET", "/broken", {}, 500, "about:blank", None),
    ],
)
async def test_every_failure_is_a_problem_without_values(
    method: str, path: str, options: dict[str, Any], status: int, problem: str, pointer: str | None
) -> None:
    answer = await ask(method, path, **options)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    document = answer.json()
    assert (document["type"], document["status"], document.get("pointer")) == (problem, status, pointer)
    assert SECRET not in answer.text + str(answer.headers)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert answer.headers["x-request-id"]


async def test_a_500_names_an_incident_that_the_log_has(capsys: pytest.CaptureFixture[str]) -> None:
    answer = await ask("GET", "/broken")
    said = capsys.readouterr().out
    assert answer.json()["incident"] in said
    assert SECRET not in said


async def test_headers_that_protect_a_reader() -> None:
    answer = await ask("GET", "/number?at=1")
    assert {name: answer.headers[name] for name in http.SECURITY_HEADERS} == http.SECURITY_HEADERS
    other = await ask("GET", "/number?at=1")
    assert answer.headers["x-request-id"] != other.headers["x-request-id"]


@pytest.mark.parametrize(
    ("probes", "remarks", "status", "said"),
    [
        ({"a": there}, {}, 200, {"a": "ok"}),
        ({"a": there, "b": missing}, {}, 503, {"a": "ok", "b": "not there"}),
        ({"a": there}, {"b": missing}, 200, {"a": "ok", "b": "not there"}),
        ({"a": broken}, {}, 503, {"a": "ConnectionRefusedError"}),
        ({"a": silent}, {}, 503, {"a": "no answer within 0.1 s"}),
    ],
)
async def test_ready_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    probes: dict[str, http.Probe],
    remarks: dict[str, http.Probe],
    status: int,
    said: dict[str, str],
) -> None:
    monkeypatch.setattr(http, "PROBE_TIMEOUT_S", 0.1)
    answer = await ask("GET", "/health/ready", app=make(probes, remarks))
    assert answer.status_code == status
    assert answer.json() == {"status": "ready" if status == 200 else "not-ready", "dependencies": said}
    assert (await ask("GET", "/health/live", app=make(probes, remarks))).status_code == 200


def test_a_pointer_ends_before_the_first_name_that_was_posted() -> None:
    known = http.schema_names(Body.model_json_schema())
    assert known == {"name", "inner"}
    assert http.pointer_of(("inner", SECRET, "name"), known) == "/inner"
    assert http.pointer_of(("name", 3), known) == "/name/3"
    assert http.pointer_of((), known) == ""


def test_nothing_is_recorded_by_the_frameworks_own_telemetry() -> None:
    app = make({})
    assert not any(app._telemetry[part] for part in ("tracing", "metrics", "logs", "operation_spans"))
