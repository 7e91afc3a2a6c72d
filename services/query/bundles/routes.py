"""The routes of proof bundles: of a person's records, and of an erasure. One event's is a form of its proof."""

from http import HTTPStatus
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.query.auth import READS_HISTORY, SEES_ACTS, Caller
from services.query.bundles.bundles import Made
from services.query.parameters import BundleParameters, preferred

ZIP: Final = "application/zip"
PDF: Final = "application/pdf"

bundles = APIRouter(tags=["proofs"])

_RESPONSE: Final = {"description": "The proof bundle, or its report alone", "content": {ZIP: {}, PDF: {}}}


def bundle_response(made: Made, media_type: str, name: str) -> Response:
    """The zip, or the report in it, as a file called `name`."""
    content, ending = (made.zip, "zip") if media_type == ZIP else (made.pdf, "pdf")
    headers = {"vary": "accept", "content-disposition": f'attachment; filename="{name}.{ending}"'}
    return Response(content, media_type=media_type, headers=headers)


def _wanted(request: Request) -> str:
    media_type = preferred(request.headers.get("accept"), (ZIP, PDF))
    if media_type is None:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE)
    return media_type


@bundles.get("/v1/subjects/{subject}/proof", responses={200: _RESPONSE})
async def subject_proof(
    request: Request,
    subject: UUID,
    page: Annotated[BundleParameters, Query()],
    caller: Annotated[Caller, Depends(READS_HISTORY)],
) -> Response:
    """Every published record of a subject with its proof, as one bundle (docs/bundle-format.md) or only its report.

    An auditor does not see `who`. report.json says in `next` where to go on when there are more than `limit`.
    """
    media_type = _wanted(request)
    made = await request.state.bundles.subject(caller, subject, page.after(), page.limit)
    await request.state.looks.note(caller, request, look="bundle", subject=subject)
    return bundle_response(made, media_type, f"subject-{subject}")


@bundles.get("/v1/erasures/{erasure}/certificate", responses={200: _RESPONSE})
async def certificate(request: Request, erasure: UUID, caller: Annotated[Caller, Depends(SEES_ACTS)]) -> Response:
    """The certificate of an erasure: what each log declares deleted, with its proof, as one bundle or its report."""
    media_type = _wanted(request)
    made = await request.state.bundles.erasure(caller, erasure)
    return bundle_response(made, media_type, f"erasure-{erasure}")
