"""GET /v1/notices/{site}: the words to show, with their hash and a token that proves when we served them.

Nothing of the visitor is kept: a serving that nobody answers is a number in a metric.
"""

import time
from typing import Annotated

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from schemas.errors import NotFound
from schemas.events import Language
from services.ingest.notices import NoticeTokens
from services.ingest.sites import Sites

router = APIRouter(tags=["notices"])


@router.get("/v1/notices/{site}")
async def notice_to_show(request: Request, site: str, language: Annotated[Language, Query()]) -> Response:
    """The notice to show, its hash, and a token to send back with the answer to it.

    Where the site has none in the language, `language` is that of the notice which stands in.
    """
    sites: Sites = request.state.sites
    tokens: NoticeTokens = request.state.tokens
    now_s = time.time()
    found = await sites.named(site)
    notice = None if found is None else (await sites.words(found)).to_show(language, now_s)
    if notice is None:
        raise NotFound
    request.state.served.labels(site, notice.language).inc()
    issued = tokens.issue(site, notice.sha256, int(now_s))
    document = {
        "sha256": notice.sha256,
        "language": notice.language,
        "requested_language": language,
        "token": issued.token,
        "token_expires_at": issued.expires_at,
        # Verbatim: the hash names exactly these bytes.
        "content": orjson.Fragment(notice.content),
    }
    # Anybody may show a public notice; nothing of the visitor goes into the answer.
    headers = {"access-control-allow-origin": "*"}
    return Response(orjson.dumps(document), headers=headers, media_type="application/json")
