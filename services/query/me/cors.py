"""CORS (Fetch standard) for the routes of visitors: the site's own pages read them from another origin.

Only they do: `Visitors.myself` refuses every origin that the site has not listed, so that the one header here lets a
foreign page read no more than the problem that says so. A preflight names no capability, and learns nothing.
"""

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFIX: Final = "/v1/me/"
PREFLIGHT_AGE_S: Final = 600
_PREFLIGHT: Final = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "authorization, content-type, sayso-identity",
    "access-control-max-age": str(PREFLIGHT_AGE_S),
}


class PagesMayRead:
    """Middleware around the whole app; touches paths below PREFIX only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is None or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return

        async def send_with_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["access-control-allow-origin"] = origin
                headers["access-control-expose-headers"] = "retry-after"
                headers.add_vary_header("origin")
            await send(message)

        if scope["method"] != "OPTIONS":
            await self._app(scope, receive, send_with_origin)
            return
        raw = [(name.encode(), value.encode()) for name, value in _PREFLIGHT.items()]
        await send_with_origin({"type": "http.response.start", "status": 204, "headers": raw})
        await send({"type": "http.response.body", "body": b""})
