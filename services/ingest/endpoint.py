"""POST /v1/events and the drop-ins as a bare ASGI endpoint: here the framework would cost more than the work.

It answers only what is durable (202, 201) or a problem. What FastAPI would add is here by hand: limits, headers, CORS,
and the 500 that says nothing of what was posted; services/ingest/openapi.py holds the description.
"""

import os
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from schemas.errors import BodyTooLarge, Problem, TooManyRequests, UnsupportedMediaType
from schemas.events import Uuid
from schemas.limits import BODY_BYTES_MAX
from services.http import SECURITY_HEADERS, blank_problem, problem_response, unforeseen
from services.ingest.auth import Caller, Callers, check_origin
from services.ingest.clients import Clients
from services.ingest.dropin import read_drop_in
from services.ingest.intake import RETRY_AFTER_S, Intake, Outcome, Refused, Taken
from services.ingest.limits import Limits
from services.ingest.reading import Body, Read, read_events
from services.observability import counter
from services.stream.waiting import preferred_wait

PATH: Final = "/v1/events"
PREFLIGHT_AGE_S: Final = 600

RawHeaders = list[tuple[bytes, bytes]]

# Every header costs the server a microsecond. The answer to a POST is not cached unless it says so (RFC 9110, 9.3.3),
# and an accepted event is named by its own id; problems carry the full set.
_JSON: Final = (b"content-type", b"application/json")
_PREFLIGHT_HEADERS: Final[RawHeaders] = [
    (b"access-control-allow-methods", b"POST"),
    # No authorization: a server key has no business in a page.
    (b"access-control-allow-headers", b"content-type, prefer"),
    (b"access-control-max-age", b"%d" % PREFLIGHT_AGE_S),
]
# A page reads no other header of an answer than those named to it (Fetch, CORS-safelisted response-header name).
_EXPOSED: Final = (b"access-control-expose-headers", b"retry-after")
# Refusals that sending the same again may mend, the one that counts first.
_AGAIN: Final = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
_COUNTED: Final = b'{"status":"counted"}'
_UUID: Final = TypeAdapter(Uuid)


class EventsEndpoint:
    """The ASGI application of PATH and the drop-ins; one per process."""

    def __init__(
        self, callers: Callers, clients: Clients, limits: Limits, intake: Intake, registry: CollectorRegistry
    ) -> None:
        self._callers = callers
        self._clients = clients
        self._limits = limits
        self._intake = intake
        events = counter(registry, "sayso_ingest_events_total", "Events by what became of them.", ["outcome"])
        self._accepted = events.labels("accepted")
        self._recorded = events.labels("recorded")
        self._refused = events.labels("refused")
        self._served = events.labels("served")
        self._problems = counter(
            registry, "sayso_ingest_problems_total", "Problems answered, for requests and single events.", ["problem"]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        cors: RawHeaders = []
        try:
            if scope["method"] == "POST":
                status, body, more = await self._post(scope, headers, receive, cors)
                await _send(send, status, [_JSON, (b"content-length", b"%d" % len(body)), *more, *cors], body)
                return
            response = await self._other_method(scope, headers, cors)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - the last line: answered without a word of the payload
            response = self._problem(error)
            if isinstance(error, TooManyRequests):
                self._clients.remark_limit(headers)
            if cors and "retry-after" in response.headers:
                cors.append(_EXPOSED)
        for name, value in SECURITY_HEADERS.items():
            response.headers[name] = value
        await _send(send, response.status_code, [*response.raw_headers, *cors], bytes(response.body))

    def _problem(self, error: Exception) -> Response:
        request_id = os.urandom(8).hex()
        if isinstance(error, Problem):
            self._problems.labels(error.slug).inc()
            response = problem_response(error)
        else:
            response = unforeseen(error, request_id)
        response.headers["x-request-id"] = request_id
        return response

    async def _other_method(self, scope: Scope, headers: Mapping[bytes, bytes], cors: RawHeaders) -> Response:
        if scope["method"] != "OPTIONS":
            return blank_problem(HTTPStatus.METHOD_NOT_ALLOWED, {"allow": "POST, OPTIONS"})
        await self._identify(scope, headers, cors)
        cors += _PREFLIGHT_HEADERS
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _post(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, cors: RawHeaders
    ) -> tuple[int, bytes, RawHeaders]:
        """Status, body and further headers of the answer. Raises Problem."""
        caller = await self._identify(scope, headers, cors)
        client = self._clients.of(scope, headers)
        await self._limits.admit(caller, client.network, 1)
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedMediaType
        raw = await _read_body(receive, headers.get(b"content-length"))
        now_us = time.time_ns() // 1000
        content_type = headers.get(b"content-type", b"")
        if scope["path"] == PATH:
            body = read_events(content_type, raw)
        else:
            act = read_drop_in(scope, content_type, raw, caller.source, now_us)
            if act is None:
                self._served.inc()
                return HTTPStatus.ACCEPTED, _COUNTED, []
            body = act
        if len(body.events) > 1:
            # The first was paid for before the body was read.
            await self._limits.admit(caller, client.network, len(body.events) - 1)
        prefer = headers.get(b"prefer")
        wait_s = 0 if prefer is None else preferred_wait(prefer.decode("latin-1"))
        more: RawHeaders = [(b"preference-applied", b"wait=%d" % wait_s)] if wait_s > 0 else []
        if body.single and isinstance(body.events[0], Problem):
            raise body.events[0]
        outcomes = await self._intake.take(body.events, caller, now_us, wait_s, client)
        if not body.single:
            status, answer = self._answer_batch(body, outcomes)
            if status in _AGAIN:
                more.append((b"retry-after", b"%d" % RETRY_AFTER_S))
                if cors:
                    more.append(_EXPOSED)
            return status, answer, more
        return *self._answer_one(outcomes[0]), more

    async def _identify(self, scope: Scope, headers: Mapping[bytes, bytes], cors: RawHeaders) -> Caller:
        """The caller, allowed to post from where it posts; from then on its page may read the answer."""
        caller = await self._callers.identify(headers.get(b"authorization"), scope["query_string"])
        check_origin(caller, headers)
        origin = headers.get(b"origin")
        if caller.kind != "sk" and origin is not None:
            cors += [(b"access-control-allow-origin", origin), (b"vary", b"origin")]
        return caller

    def _answer_one(self, outcome: Outcome) -> tuple[int, bytes]:
        if isinstance(outcome, Refused):
            self._refused.inc()
            raise outcome.problem
        if outcome.place is None:
            self._accepted.inc()
            if outcome.capability is not None or outcome.dropped:
                return 202, orjson.dumps(_said(outcome))
            return 202, b'{"id":"%b","status":"accepted"}' % outcome.event_id.encode()
        self._recorded.inc()
        return 201, orjson.dumps(_said(outcome))

    def _answer_batch(self, body: Body, outcomes: Sequence[Outcome]) -> tuple[int, bytes]:
        results: list[dict[str, Any]] = []
        refusals: list[Problem] = []
        for position, (event, outcome) in enumerate(zip(body.events, outcomes, strict=True)):
            result: dict[str, Any] = {"position": position}
            if isinstance(outcome, Refused):
                refusals.append(outcome.problem)
                self._problems.labels(outcome.problem.slug).inc()
                result |= {**_known_id(event), "status": "refused", "problem": outcome.problem.body()}
            else:
                result |= _said(outcome)
            results.append(result)
        recorded = sum(isinstance(outcome, Taken) and outcome.place is not None for outcome in outcomes)
        self._refused.inc(len(refusals))
        self._recorded.inc(recorded)
        self._accepted.inc(len(outcomes) - len(refusals) - recorded)
        return _batch_status(refusals, len(outcomes)), orjson.dumps({"events": results})


def _batch_status(refusals: Sequence[Problem], count: int) -> int:
    """202 when at least one event was taken; else 422, or 503 or 429 when sending the same again may help."""
    if len(refusals) < count:
        return HTTPStatus.ACCEPTED
    statuses = {problem.status for problem in refusals}
    return next((status for status in _AGAIN if status in statuses), HTTPStatus.UNPROCESSABLE_ENTITY)


def _said(taken: Taken) -> dict[str, Any]:
    said: dict[str, Any] = {"id": taken.event_id, "status": "accepted"}
    if taken.place is not None:
        said |= {"status": "recorded", "log": taken.place.log, "index": taken.place.index}
    if taken.dropped:
        said["status"] = "dropped"
    if taken.capability is not None:
        said["capability"] = taken.capability
    return said


def _known_id(event: Read) -> dict[str, str]:
    """The id of a refused event if it is a UUID; anything else that stood there is not repeated."""
    if isinstance(event, Problem) or not isinstance(event.value, dict):
        return {}
    try:
        return {"id": _UUID.validate_python(event.value.get("id"), strict=True)}
    except ValidationError:
        return {}


async def _read_body(receive: Receive, stated: bytes | None) -> bytes:
    """The body; BodyTooLarge as soon as it must be longer than the limit. Raises ClientDisconnect."""
    if stated is not None and stated.isdigit() and int(stated) > BODY_BYTES_MAX:
        raise BodyTooLarge
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            # The server throws the rest away as it comes; closing now would lose our answer on the way.
            raise BodyTooLarge
        if not message.get("more_body", False):
            return bytes(body)


async def _send(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
