"""The pages behind links: what is confirmed or withdrawn in the notice's words, and one button. No script, no cookie.

Invariant: everything shown is escaped, and the policy lets the page load nothing and post to this address alone.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

from schemas.errors import LinkNotValid, Problem
from schemas.events import PERMISSIVE
from services.http import problem_response
from services.ingest.sites import Notice, Words
from services.ingest.visitors.links import Link
from services.ingest.visitors.texts import TEXTS, PageLanguage

_FOLDER: Final = Path(__file__).parent / "templates"
_STYLE: Final = (_FOLDER / "page.css").read_text(encoding="utf-8")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "vary": "accept-language, accept",
}
_TEMPLATE: Final = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
).get_template("page.html")
_BLANK: Final[Mapping[str, Any]] = {
    # Our own file, and the policy names its hash.
    "style": Markup(_STYLE),  # noqa: S704 - not made of anything that was posted
    **dict.fromkeys(("told", "lead", "button", "hint", "notice", "words_language", "full_words", "site")),
    "decided": (),
    "fields": {},
}


class Line(NamedTuple):
    """One decision as shown. `answer` is set where a page holds a yes beside a no."""

    title: str
    description: str
    answer: str


def shown_notice(link: Link, words: Words, language: PageLanguage) -> Notice | None:
    """The published notice whose words the page shows: the link's own, else one with its purposes, best in `language`.

    The link's own may be a banner's hash that was matched: those words are not ours to show.
    """
    if link.notice is not None:
        return words.notices.get(link.notice["sha256"])
    purposes = {decision["purpose"] for decision in link.decisions}
    fitting = [notice for notice in words.notices.values() if purposes <= notice.purposes]
    return max(fitting, key=lambda notice: notice.language.partition("-")[0] == language, default=None)


def asking_page(link: Link, notice: Notice | None, language: PageLanguage, fields: Mapping[str, str]) -> Response:
    """The page with the button. `fields` are what the button sends."""
    texts = TEXTS[language]
    return _page(
        200,
        language,
        title=texts[f"{link.kind}_title"],
        site=link.site,
        lead=texts[f"{link.kind}_lead"],
        decided=_lines(link, notice, language),
        button=texts[f"{link.kind}_button"],
        hint=texts[f"{link.kind}_hint"],
        fields=fields,
        **_words(notice, language),
    )


def done_page(link: Link, notice: Notice | None, language: PageLanguage) -> Response:
    """What is said once the act is durable."""
    texts = TEXTS[language]
    return _page(
        200,
        language,
        title=texts[f"{link.kind}_done"],
        site=link.site,
        told=texts[f"{link.kind}_done_text"],
        decided=_lines(link, notice, language),
        words_language=None if notice is None else notice.language,
    )


def problem_page(problem: Problem, language: PageLanguage, accept: str | None) -> Response:
    """A problem for a person, or for a program that did not ask for HTML."""
    response = problem_response(problem)
    if "text/html" not in (accept or ""):
        return response
    which = "invalid" if isinstance(problem, LinkNotValid) else "failed"
    texts = TEXTS[language]
    page = _page(problem.status, language, title=texts[f"{which}_title"], told=texts[f"{which}_text"])
    if "retry-after" in response.headers:
        page.headers["retry-after"] = response.headers["retry-after"]
    return page


def _page(status: int, language: PageLanguage, **members: Any) -> Response:
    html = _TEMPLATE.render({**_BLANK, "language": language, **members})
    return Response(html, status, _HEADERS, media_type="text/html")


def _words(notice: Notice | None, language: PageLanguage) -> dict[str, Any]:
    if notice is None:
        return {}
    return {
        "notice": orjson.loads(notice.content),
        "words_language": notice.language,
        "full_words": TEXTS[language]["full_words"],
    }


def _lines(link: Link, notice: Notice | None, language: PageLanguage) -> list[Line]:
    """Each decision by the title its notice gives the purpose, or by the purpose's name."""
    purposes = {} if notice is None else {p["purpose"]: p for p in orjson.loads(notice.content)["purposes"]}
    mixed = len({decision["decision"] in PERMISSIVE for decision in link.decisions}) > 1
    lines = []
    for decision in link.decisions:
        named = purposes.get(decision["purpose"], {})
        answer = TEXTS[language]["yes" if decision["decision"] in PERMISSIVE else "no"] if mixed else ""
        lines.append(Line(named.get("title", decision["purpose"]), named.get("description", ""), answer))
    return lines
