"""GET /v1/notices/{site}: the words to show, with their hash and a token that proves when we served them.

Nothing of the visitor is kept: a serving that nobody answers is a number in a metric.
"""

import time
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from schemas.ages import minimum_age
from schemas.errors import NotFound
from schemas.events import Language, Name
from services.http import problem_response
from services.ingest.notices import NoticeTokens
from services.ingest.sites import Sites
from services.ingest.visitors.acting import Acts

router = APIRouter(tags=["notices"])

# Anybody may show a public notice; nothing of the visitor goes into the answer.
_ANYBODY: Final = {"access-control-allow-origin": "*"}


@router.get("/v1/notices/{site}")
async def notice_to_show(
    request: Request, site: str, language: Annotated[Language, Query()], notice: Annotated[Name | None, Query()] = None
) -> Response:
    """The notice to show, its hash, and a token to send back with the answer to it.

    Where the site has none in the language, `language` is that of the notice which stands in. `notice` is the id of one
    of several; without it the one published last is shown.
    """
    sites: Sites = request.state.sites
    tokens: NoticeTokens = request.state.tokens
    now_s = time.time()
    found = await sites.named(site)
    shown = None if found is None else (await sites.words(found)).to_show(language, now_s, notice)
    if shown is None:
        refused = problem_response(NotFound())
        # A page that may not read the answer would see a failed network.
        refused.headers.update(_ANYBODY)
        return refused
    request.state.served.labels(site, shown.language).inc()
    acts: Acts = request.state.acts
    country = acts.clients.of(request.scope, dict(request.scope["headers"])).context.get("country")
    issued = tokens.issue(site, shown.sha256, int(now_s))
    document = {
        "sha256": shown.sha256,
        "language": shown.language,
        "requested_language": language,
        "token": issued.token,
        "token_expires_at": issued.expires_at,
        # What a page asks before it takes an answer: over or under, by the notice and the country we see.
        "minimum_age": minimum_age(shown.minimum_age, country),
        # Verbatim: the hash names exactly these bytes.
        "content": orjson.Fragment(shown.content),
    }
    return Response(orjson.dumps(document), headers=_ANYBODY, media_type="application/json")
