"""POST /v1/links for a site's server, and the pages /c/{token} and /u/{token} that its links lead to.

A GET records nothing, whoever sends it; a POST must carry what only the button sends, or what RFC 8058 lays down.
"""

import time
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.parser import BytesParser
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from schemas.errors import InvalidParameter, Problem, TypeNotAllowed
from schemas.record import format_time
from services.http import read_body, read_model
from services.ingest.auth import Callers
from services.ingest.visitors.acting import Acts
from services.ingest.visitors.links import (
    POST_FIELD,
    POST_VALUE,
    Link,
    LinkBody,
    LinkKind,
    LinkNotice,
    Links,
    Pressed,
    link_of,
)
from services.ingest.visitors.pages import asking_page, done_page, problem_page, shown_notice
from services.ingest.visitors.texts import language_beside, language_of

FORM_BYTES_MAX: Final = 8 * 1024
# What our own button sends, so that a program that posts an empty body presses nothing.
CONFIRM_FIELD: Final = "confirm"
CONFIRM_VALUE: Final = "yes"
PAGE_FIELD: Final = "page"
TOKEN_FIELD: Final = "notice_token"  # noqa: S105 - the name of a field
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

visitors = APIRouter(tags=["links"])


def _body_schema() -> dict[str, Any]:
    """The body's schema; what it shares with events stands among the components already."""
    schema = LinkBody.model_json_schema(ref_template="#/components/schemas/{model}")
    del schema["$defs"]
    schema["properties"]["notice"] = LinkNotice.model_json_schema()
    return schema


_BODY: Final = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _body_schema()}}},
    "security": [{"serverKey": []}],
}
_FORM: Final = {
    "requestBody": {
        "content": {
            media_type: {"schema": {"type": "object", "properties": {POST_FIELD: {"const": POST_VALUE}}}}
            for media_type in ("application/x-www-form-urlencoded", "multipart/form-data")
        }
    }
}


@visitors.post("/v1/links", status_code=HTTPStatus.CREATED, openapi_extra=_BODY)
async def make_link(request: Request) -> Response:
    """A link for an e-mail: to confirm (double opt-in), or to withdraw with one click. For server keys only."""
    callers: Callers = request.state.callers
    links: Links = request.state.links
    acts: Acts = request.state.acts
    authorization = request.headers.get("authorization")
    caller = await callers.identify(None if authorization is None else authorization.encode("latin-1"), b"")
    if caller.kind != "sk":
        raise TypeNotAllowed
    await acts.admit_server(caller)
    body = await read_model(request, LinkBody)
    now_us = _now_us()
    link = link_of(body, caller.site_name, _EPOCH + timedelta(microseconds=now_us))
    made = links.make(link, body.life_days, now_us // 1_000_000)
    await acts.check(link, now_us)
    answer = {"url": made.url, "token": made.token, "expires_at": format_time(made.expires_at)}
    if link.event is not None:
        return _json({**answer, "event": link.event})
    headers = {"List-Unsubscribe": f"<{made.url}>", "List-Unsubscribe-Post": f"{POST_FIELD}={POST_VALUE}"}
    return _json({**answer, "headers": headers})


@visitors.get("/c/{token}")
async def confirm_page(request: Request, token: str) -> Response:
    """What would be confirmed, and a button. Opening it records nothing."""
    return await _ask(request, "confirm", token)


@visitors.post("/c/{token}")
async def confirm(request: Request, token: str) -> Response:
    """Record the consent with both times; pressing again changes nothing."""
    return await _act(request, "confirm", token)


@visitors.get("/u/{token}")
async def unsubscribe_page(request: Request, token: str) -> Response:
    """What would be withdrawn, and a button. Opening it records nothing."""
    return await _ask(request, "unsubscribe", token)


@visitors.post("/u/{token}", openapi_extra=_FORM)
async def unsubscribe(request: Request, token: str) -> Response:
    """Record the withdrawal, from the page or from a mail program (RFC 8058): no key, no cookie, no redirect."""
    return await _act(request, "unsubscribe", token)


async def _ask(request: Request, kind: LinkKind, token: str) -> Response:
    acts: Acts = request.state.acts
    language = language_of(request.headers.get("accept-language"))
    try:
        await acts.admit(request.scope, token)
        now_us = _now_us()
        link = _opened(request, kind, token, now_us)
        language = language_beside(link.language, request.headers.get("accept-language"))
        notice = shown_notice(link, await acts.words(link), language)
        if kind == "unsubscribe":
            fields = {POST_FIELD: POST_VALUE, PAGE_FIELD: CONFIRM_VALUE}
        else:
            fields = {CONFIRM_FIELD: CONFIRM_VALUE}
            issued = acts.notice_token(link, notice, now_us)
            fields |= {} if issued is None else {TOKEN_FIELD: issued}
        return asking_page(link, notice, language, fields)
    except Problem as problem:
        return problem_page(problem, language, request.headers.get("accept"))


async def _act(request: Request, kind: LinkKind, token: str) -> Response:
    """1. Let it in; 2. open the link; 3. look that the button was pressed; 4. record; 5. say so: a crash before that
    leaves a page without an answer, and whoever sees it presses again.
    """
    acts: Acts = request.state.acts
    language = language_of(request.headers.get("accept-language"))
    try:
        await acts.admit(request.scope, token)
        now_us = _now_us()
        link = _opened(request, kind, token, now_us)
        language = language_beside(link.language, request.headers.get("accept-language"))
        sent = await read_form(request)
        field, value = (POST_FIELD, POST_VALUE) if kind == "unsubscribe" else (CONFIRM_FIELD, CONFIRM_VALUE)
        if sent.get(field) != value:
            raise InvalidParameter(f"/{field}")
        pressed: Pressed = "page" if kind == "confirm" or PAGE_FIELD in sent else "mail-program"
        await acts.record(link, now_us, pressed, sent.get(TOKEN_FIELD))
        return done_page(link, shown_notice(link, await acts.words(link), language), language)
    except Problem as problem:
        return problem_page(problem, language, request.headers.get("accept"))


def _opened(request: Request, kind: LinkKind, token: str, now_us: int) -> Link:
    links: Links = request.state.links
    return links.open(kind, token, now_us // 1_000_000)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a small form, of either media type that RFC 8058 allows; the first of a name counts."""
    raw = await read_body(request, FORM_BYTES_MAX)
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        try:
            return {name: values[0] for name, values in parse_qs(raw.decode("latin-1"), max_num_fields=16).items()}
        except ValueError:
            return {}
    head = f"content-type: {content_type}\r\n\r\n".encode("latin-1")
    try:
        return _fields(BytesParser().parsebytes(head + raw).get_payload())
    except ValueError:
        return {}


def _fields(parts: object) -> dict[str, str]:
    """Fields of a parsed form. Raises ValueError for names that the standard library cannot put together."""
    found: dict[str, str] = {}
    for part in parts if isinstance(parts, list) else []:
        name = part.get_param("name", header="content-disposition") if isinstance(part, Message) else None
        if isinstance(part, Message) and isinstance(name, str):
            payload = part.get_payload(decode=True)
            found.setdefault(name, payload.decode("latin-1").strip() if isinstance(payload, bytes) else "")
    return found


def _now_us() -> int:
    return time.time_ns() // 1000


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), HTTPStatus.CREATED, media_type="application/json")
