"""The public routes of the catalogue: anybody may read them, from any page; an answer holds nothing of the visitor."""

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from schemas.catalogue import said, services
from schemas.catalogue.service import CatalogueLanguage, Category
from schemas.errors import NotFound
from schemas.events import Language
from schemas.policy_texts import MEDIA_TYPES, PolicyFormat, served_language
from services.ingest.catalogue.pages import service_page
from services.ingest.catalogue.site_catalogue import SiteCatalogue, as_json
from services.ingest.visitors.texts import language_of

router = APIRouter(tags=["catalogue"])

_ANYBODY: Final = {"access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin"}
# Ours changes with a release only; what a controller states is to be seen within a minute or two.
_CATALOGUE: Final = {**_ANYBODY, "cache-control": "public, max-age=300", "vary": "accept, accept-language"}
_SITE: Final = {**_ANYBODY, "cache-control": "public, max-age=60"}
_JSON: Final = "application/json"
_PAGES: Final = {"text/html": {"schema": {"type": "string"}}}


@router.get("/v1/catalogue")
async def catalogue(
    request: Request,
    category: Annotated[Category | None, Query(description="Only services of this category.")] = None,
    language: Annotated[Language | None, Query(description="Of the descriptions; else by Accept-Language.")] = None,
) -> Response:
    """Every service of the catalogue in a line."""
    served = _language(request, language)
    lines = [
        {
            "service": service.service,
            "name": service.name,
            **({} if service.category is None else {"category": service.category}),
            **({} if service.kind is None else {"kind": said(service.kind, served)[0]}),
            "href": f"/v1/catalogue/{service.service}",
        }
        for service in services().values()
        if category is None or service.category == category
    ]
    return Response(orjson.dumps({"language": served, "services": lines}), headers=_CATALOGUE, media_type=_JSON)


@router.get("/v1/catalogue/{service}", responses={200: {"content": _PAGES}})
async def one_service(
    request: Request,
    service: str,
    language: Annotated[Language | None, Query(description="Of the page: en, fr, de or es.")] = None,
) -> Response:
    """All that the catalogue says of a service: JSON (schemas/json/service.v1.json), or a page if HTML is accepted."""
    found = services().get(service)
    if found is None:
        raise NotFound
    if "text/html" not in request.headers.get("accept", ""):
        return Response(orjson.dumps(as_json(found)), headers=_CATALOGUE, media_type=_JSON)
    page = service_page(service, _language(request, language))
    page.headers.update(_CATALOGUE)
    return page


@router.get("/v1/sites/{site}/services")
async def site_services(request: Request, site: str) -> Response:
    """What the script in a page of this site holds back and cleans up: the services that its notices name."""
    catalogue: SiteCatalogue = request.state.catalogue
    return Response(await catalogue.rules(site), headers=_SITE, media_type=_JSON)


@router.get("/v1/sites/{site}/policy", responses={200: {"content": {**_PAGES, "text/markdown": {}, _JSON: {}}}})
async def site_policy(
    request: Request,
    site: str,
    language: Annotated[Language, Query(description="en, fr, de or es; others are served in English.")] = "en",
    form: Annotated[PolicyFormat, Query(alias="format", description="A fragment of HTML, Markdown, or JSON.")] = "html",
) -> Response:
    """The cookie table and the paragraphs for a privacy policy, from the site's notices and the catalogue."""
    catalogue: SiteCatalogue = request.state.catalogue
    # The tag only chooses one of four languages; what was asked for is recorded as sent.
    content = await catalogue.policy(site, language, form)
    headers = {**_SITE, "content-language": served_language(language)}
    return Response(content, headers=headers, media_type=MEDIA_TYPES[form])


def _language(request: Request, asked: str | None) -> CatalogueLanguage:
    return language_of(request.headers.get("accept-language")) if asked is None else served_language(asked)
