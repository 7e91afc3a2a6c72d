"""A web server of a test's pages, on every host name of the test: Chromium is told that *.example is this machine.

`/npm/...` serves the published packages under snippet/node_modules, as a site would serve its own copy.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

SNIPPET: Final = Path(__file__).resolve().parents[3] / "snippet"
PACKAGES: Final = SNIPPET / "node_modules"


class Pages:
    """What is served, by path; a test adds what it needs before it opens a page."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[str, bytes]] = {}
        self._headers: dict[str, dict[str, str]] = {}
        # (host, path) of every request: what a browser asked the site itself for.
        self.requests: list[tuple[str, str]] = []
        pages = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                pages.answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server gives it
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def put(self, path: str, content: str | bytes, media_type: str = "text/html", **headers: str) -> None:
        """Serve `content` at `path` from now on, with further headers (content_security_policy="...")."""
        raw = content.encode() if isinstance(content, str) else content
        charset = "; charset=utf-8" if media_type.startswith("text/") else ""
        self._answers[path] = (media_type + charset, raw)
        self._headers[path] = {name.replace("_", "-"): value for name, value in headers.items()}

    def origin(self, host: str) -> str:
        """The origin of the site under a host name."""
        return f"http://{host}:{self.port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        self.requests.append((request.headers.get("host", ""), path))
        found = self._answers.get(path) or _package_file(path)
        media_type, content = found or ("text/plain", b"not here")
        request.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
        request.send_header("content-type", media_type)
        request.send_header("content-length", str(len(content)))
        request.send_header("cache-control", "no-store")
        for name, value in self._headers.get(path, {}).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    @contextmanager
    def served(self) -> Iterator["Pages"]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield self
        self._server.shutdown()
        self._server.server_close()
        thread.join()


def _package_file(path: str) -> tuple[str, bytes] | None:
    if not path.startswith("/npm/"):
        return None
    file = (PACKAGES / path.removeprefix("/npm/")).resolve()
    if not file.is_relative_to(PACKAGES) or not file.is_file():
        return None
    return guess_type(file.name)[0] or "application/octet-stream", file.read_bytes()
