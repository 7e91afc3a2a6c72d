"""The shop as a first visitor's browser meets it, over plain HTTP: page, snippet, notice and chat rules are served."""

import re
from typing import Final

import httpx2
import orjson

from schemas.errors import SaysoError
from services.cli.demo.stage import Stage

BANNER: Final = "shop-chat"
_SNIPPET: Final = re.compile(r'<script async src="([^"]+)" data-site="([^"]+)"')


async def check_shop(stage: Stage, shop_url: str) -> None:
    """Raises SaysoError that names what is not served as it should be."""
    async with httpx2.AsyncClient(timeout=20, trust_env=False, follow_redirects=True) as http:
        page = await _get(http, f"{shop_url}/", "text/html", {"accept-language": "fr"})
        found = _SNIPPET.search(page.text)
        if found is None or 'lang="fr"' not in page.text:
            raise SaysoError("the shop's page is not the French one with the snippet")
        if page.headers.get("set-cookie") is not None:
            raise SaysoError("the shop's page sets a cookie before anybody was asked")
        address, site = found.groups()
        origin = {"origin": shop_url}
        await _get(http, address, "text/javascript", origin)
        notice = await _get(http, f"{stage.ingest_url}/v1/notices/{site}?language=fr", "application/json", origin)
        shown = orjson.loads(notice.content)
        if (shown["language"], shown["content"]["notice_id"]) != ("fr", BANNER):
            raise SaysoError("the shop's banner would show another notice than the French one of its chat")
        rules = await _get(http, f"{stage.ingest_url}/v1/sites/{site}/services", "application/json", origin)
        if orjson.loads(rules.content)["services"]["chatra"].get("stop") is None:
            raise SaysoError("what the controller states of Chatra is not in the rules that the page gets")


async def _get(http: httpx2.AsyncClient, url: str, media_type: str, headers: dict[str, str]) -> httpx2.Response:
    answer = await http.get(url, headers=headers)
    path = httpx2.URL(url).path
    if answer.status_code != httpx2.codes.OK:
        raise SaysoError(f"GET {path} for the shop answered {answer.status_code} instead of 200")
    if answer.headers.get("content-type", "").partition(";")[0] != media_type:
        raise SaysoError(f"GET {path} for the shop is not served as {media_type}")
    return answer
