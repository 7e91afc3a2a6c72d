"""The demo's shop as a web application: pages in four languages, the newsletter's form, and the mails it would send.

Invariant: the server key stays in this process; a page holds the publishable key alone.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import httpx2
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.cli.demo.cast import load_cast
from services.cli.demo.site.letters import Letters, is_address
from services.cli.demo.stage import Stage

FOLDER: Final = Path(__file__).parent
FORM_BYTES_MAX: Final = 4096
# A page that lies open offers the buttons of the first language whatever the browser says.
FIRST_LANGUAGE: Final = "fr"


class Shop:
    """What its routes answer. Pages are rendered anew at each request: nothing here is fast on purpose."""

    def __init__(self, stage: Stage, site: str) -> None:
        self._stage = stage
        self._site = site
        self._texts: dict[str, Any] = yaml.safe_load((FOLDER / "texts.yaml").read_text(encoding="utf-8"))
        self._pages = Environment(
            loader=FileSystemLoader(FOLDER / "pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        # No name from outside becomes a path.
        self._files = {
            f"/{path.relative_to(FOLDER).as_posix().replace('_', '-')}": path
            for folder in ("assets", "stand_in")
            for path in (FOLDER / folder).iterdir()
        }
        self._http = httpx2.AsyncClient(timeout=20, trust_env=False)
        self._letters = Letters(stage, site, self._http)

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with self._http:
            yield

    def routes(self) -> list[Route]:
        return [
            Route("/", self.first),
            Route("/outbox", self.outbox),
            Route("/outbox/letter", self.write_letters, methods=["POST"]),
            Route("/assets/{file}", self.file),
            Route("/stand-in/{file}", self.file),
            Route("/{language}/", self.home),
            Route("/{language}/privacy", self.privacy),
            Route("/{language}/letter", self.signed_up),
            Route("/{language}/letter", self.sign_up, methods=["POST"]),
        ]

    async def first(self, request: Request) -> Response:
        """To the page in the language that the browser asks for first."""
        wanted = [tag.strip()[:2] for tag in request.headers.get("accept-language", "").split(",")]
        return RedirectResponse(f"/{next((tag for tag in wanted if tag in self._texts), FIRST_LANGUAGE)}/")

    async def file(self, request: Request) -> Response:
        path = self._files.get(request.url.path)
        if path is None:
            return _not_here()
        return Response(path.read_bytes(), media_type=guess_type(path.name)[0], headers={"cache-control": "no-cache"})

    async def home(self, request: Request) -> Response:
        return self._page("home.html", request.path_params["language"])

    async def privacy(self, request: Request) -> Response:
        """The texts that Sayso makes of the site's notices and the services catalogue."""
        language = request.path_params["language"]
        address = f"{self._stage.ingest_url}/v1/sites/{self._site}/policy"
        answer = await self._http.get(address, params={"language": language, "format": "html"})
        answer.raise_for_status()
        # A fragment that ingest has escaped.
        return self._page("privacy.html", language, policy=Markup(answer.text))  # noqa: S704 - see above

    async def sign_up(self, request: Request) -> Response:
        """The form's own submission; the snippet has posted the act itself by now, still unconfirmed."""
        language = request.path_params["language"]
        form = await _form(request)
        if language not in self._texts or form is None:
            return _not_here()
        if "wanted" not in form or not is_address(form.get("mail", "")):
            return self._page("told.html", language, HTTPStatus.BAD_REQUEST, told="refused")
        await self._letters.ask_to_confirm(form["mail"], language)
        return RedirectResponse(f"/{language}/letter", HTTPStatus.SEE_OTHER)

    async def signed_up(self, request: Request) -> Response:
        return self._page("told.html", request.path_params["language"], told="thanks")

    async def outbox(self, _request: Request) -> Response:
        return self._outbox(None)

    async def write_letters(self, request: Request) -> Response:
        if await _form(request) is None:
            return _not_here()
        written, left_out = await self._letters.write()
        return self._outbox(f"Written: {written}. Left out, because no consent stands: {left_out}.")

    def _outbox(self, told: str | None) -> Response:
        html = self._pages.get_template("outbox.html").render(mails=self._letters.mails, told=told)
        return Response(html, media_type="text/html")

    def _page(self, template: str, language: str, status: int = HTTPStatus.OK, **members: Any) -> Response:
        if language not in self._texts:
            return _not_here()
        html = self._pages.get_template(template).render(
            language=language,
            languages={code: texts["name"] for code, texts in self._texts.items()},
            texts=self._texts[language],
            letter=self._letters.notice(language),
            stage=self._stage,
            site=self._site,
            with_snippet=True,
            **members,
        )
        return Response(html, status, media_type="text/html")


class ShopHeaders:
    """Middleware: a strict policy, as docs/snippet.md asks of a site, and no page in a foreign frame."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"strict-origin-when-cross-origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive, with_headers)


def create_shop(stage: Stage) -> Starlette:
    """The application for the demo's first site."""
    shop = Shop(stage, load_cast().sites[0].name)
    policy = (
        f"default-src 'none'; script-src 'self' {stage.ingest_url}; "
        f"connect-src {stage.ingest_url} {stage.query_url}; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return Starlette(routes=shop.routes(), middleware=[Middleware(ShopHeaders, policy=policy)], lifespan=shop.lifespan)


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of a small form, None for one that another site's page sent."""
    origin = request.headers.get("origin")
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > FORM_BYTES_MAX:
            return None
    if origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host')}":
        return None
    return {name: values[0] for name, values in parse_qs(raw.decode("latin-1")).items()}


def _not_here() -> Response:
    return PlainTextResponse("There is no such page here.", HTTPStatus.NOT_FOUND)
