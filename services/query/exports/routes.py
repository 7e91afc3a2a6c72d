"""The routes of exports, for the data protection officer; and of their links, which need no key (docs/exports.md)."""

import base64
import binascii
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from schemas.durations import DurationText
from schemas.errors import InvalidParameter
from schemas.exports import ExportBody
from schemas.record import format_time
from services.http import read_model
from services.query.auth import OVERSEES, PUBLIC, Caller
from services.query.exports.exports import Ready
from services.query.parameters import PAGE_DEFAULT, PAGE_MAX

exports = APIRouter(tags=["exports"])

_BODY: Final = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": ExportBody.model_json_schema()}}}
}
_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file", "content": {"application/octet-stream": {}}}
}


class LinksBody(BaseModel):
    """`files` left out: all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: Annotated[list[str] | None, Field(min_length=1, max_length=1000)] = None
    valid_for: Annotated[DurationText, Field(description="How long the link opens them, at most P31D.")] = "P1D"


class PageParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cursor: Annotated[str | None, Field(max_length=128, description="`next` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, description="Exports a page at most.")] = PAGE_DEFAULT

    def before(self) -> tuple[datetime | None, UUID | None]:
        """Raises InvalidParameter."""
        if self.cursor is None:
            return None, None
        try:
            time, export = base64.urlsafe_b64decode(self.cursor).decode().split(" ")
            # As UTC, so that it is a moment, and one that Postgres knows.
            return datetime.fromisoformat(time).astimezone(UTC), UUID(export)
        except (binascii.Error, ValueError, OverflowError):
            raise InvalidParameter("/cursor") from None


@exports.post("/v1/exports", status_code=HTTPStatus.ACCEPTED, openapi_extra=_BODY)
async def ask(request: Request, caller: Annotated[Caller, Depends(OVERSEES)]) -> dict[str, Any]:
    """Ask for an export of a case, a period or some subjects. It is made in the background; ask for its state."""
    body = await read_model(request, ExportBody)
    answer: dict[str, Any] = await request.state.exports.ask(caller, body)
    return answer


@exports.get("/v1/exports")
async def page(
    request: Request, page: Annotated[PageParameters, Query()], caller: Annotated[Caller, Depends(OVERSEES)]
) -> dict[str, Any]:
    """The controller's exports, the newest first."""
    found, following = await request.state.exports.page(caller, page.before(), page.limit)
    text = None if following is None else f"{following[0].isoformat()} {following[1]}"
    return {"exports": found, "next": None if text is None else base64.urlsafe_b64encode(text.encode()).decode()}


@exports.get("/v1/exports/{export}")
async def one(request: Request, export: UUID, caller: Annotated[Caller, Depends(OVERSEES)]) -> dict[str, Any]:
    """An export: its state, how far it is, its files once it is done, or why it failed."""
    answer: dict[str, Any] = await request.state.exports.one(caller, export)
    return answer


@exports.post("/v1/exports/{export}/cancel")
async def cancel(request: Request, export: UUID, caller: Annotated[Caller, Depends(OVERSEES)]) -> dict[str, Any]:
    """Stop an export, or take a finished one back: its files are deleted and its links open nothing any more."""
    answer: dict[str, Any] = await request.state.exports.cancel(caller, export)
    return answer


@exports.post("/v1/exports/{export}/resume")
async def resume(request: Request, export: UUID, caller: Annotated[Caller, Depends(OVERSEES)]) -> dict[str, Any]:
    """Go on with an export that failed, behind the last file that was complete."""
    answer: dict[str, Any] = await request.state.exports.resume(caller, export)
    return answer


@exports.get("/v1/exports/{export}/files/{name}", response_class=FileResponse, responses=_FILE)
async def file(request: Request, export: UUID, name: str, caller: Annotated[Caller, Depends(OVERSEES)]) -> FileResponse:
    """One file of an export that is done. Each time it is fetched stands in the access log."""
    return _sent(await request.state.exports.file(caller, export, name))


@exports.post("/v1/exports/{export}/links", status_code=HTTPStatus.CREATED)
async def links(request: Request, export: UUID, caller: Annotated[Caller, Depends(OVERSEES)]) -> dict[str, Any]:
    """A link that opens files of an export without a key, for a while. Send it as you would send the files."""
    body = await read_model(request, LinksBody)
    answer: dict[str, Any] = await request.state.exports.links(caller, export, body.files, body.valid_for)
    return answer


@exports.get("/v1/exports/download/{token}")
async def linked(request: Request, token: str, _: Annotated[None, Depends(PUBLIC)]) -> dict[str, Any]:
    """The files that a link opens, and until when."""
    opened = await request.state.exports.opened(token)
    files = [{**file, "link": f"/v1/exports/download/{token}/{file['name']}"} for file in opened.files]
    return {"files": files, "expires_at": format_time(opened.expires_at)}


@exports.get("/v1/exports/download/{token}/{name}", response_class=FileResponse, responses=_FILE)
async def linked_file(request: Request, token: str, name: str, _: Annotated[None, Depends(PUBLIC)]) -> FileResponse:
    """One file that a link opens."""
    return _sent(await request.state.exports.linked_file(token, name))


def _sent(ready: Ready) -> FileResponse:
    return FileResponse(ready.path, media_type="application/octet-stream", filename=ready.name)
