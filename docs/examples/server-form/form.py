"""A form that a server renders, whose answer the server posts with its own key. Standard library only; run it with

    SAYSO_INGEST=https://consent.shop.example SAYSO_SITE=shop.example SAYSO_SERVER_KEY=sk_... python form.py

1. The words come from Sayso, with a token that proves who served them; the token travels in the form.
2. The event's id is made with the form: a form that is sent twice is recorded once.
3. Whom the answer is of comes from the session, never from the form.
4. The visitor is told "recorded" once ingest has taken it, and otherwise that it did not work.
"""

import html
import json
import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote
from wsgiref.simple_server import make_server

INGEST = os.environ["SAYSO_INGEST"]
SITE = os.environ["SAYSO_SITE"]
SERVER_KEY = os.environ["SAYSO_SERVER_KEY"]
PURPOSE = "newsletter"

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def signed_in(environ: dict[str, Any]) -> str:
    """Your session knows who this is."""
    return str(environ.get("REMOTE_USER", "u-17"))


def fetch_notice(language: str) -> dict[str, Any]:
    """What to show: {"sha256", "language", "token", "content"}."""
    with urllib.request.urlopen(f"{INGEST}/v1/notices/{quote(SITE)}?language={quote(language)}", timeout=10) as answer:
        notice: dict[str, Any] = json.load(answer)
        return notice


def render(language: str) -> str:
    notice = fetch_notice(language)
    content = notice["content"]
    asked = next(purpose for purpose in content["purposes"] if purpose["purpose"] == PURPOSE)
    shown = {"sha256": notice["sha256"], "language": notice["language"], "token": notice["token"]}
    hidden = {"id": str(uuid.uuid4()), "notice": json.dumps(shown)}
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in hidden.items()
    )
    return f"""<!doctype html><html lang="{html.escape(notice["language"])}"><meta charset="utf-8">
<title>Choices</title>
<h1>{html.escape(content["title"])}</h1><p>{html.escape(content["text"])}</p>
<form method="post">{fields}
<p><label><input type="checkbox" name="wanted" value="yes"> {html.escape(asked["title"])}</label>
<br>{html.escape(asked["description"])}</p><p>{html.escape(content["withdrawal"])}</p><button>Save</button></form></html>"""


def post_answer(form: dict[str, str], account: str) -> bool:
    """Whether ingest took it; after False the same form may be sent again."""
    granted = form.get("wanted") == "yes"
    event = {
        "specversion": "1.0",
        "id": form["id"],
        "source": f"/sites/{SITE}",
        "type": "consent.given" if granted else "consent.refused",
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "data": {
            "subject": {"identifiers": [{"type": "account", "value": account}]},
            "decisions": [
                {"purpose": PURPOSE, "decision": "granted" if granted else "denied", "legal_basis": "consent"}
            ],
            "notice": json.loads(form["notice"]),
            "capture": {"mechanism": "form", "element": "form", "action": "save"},
            "actor": {"entity": "subject", "auth": "session"},
        },
    }
    request = urllib.request.Request(
        f"{INGEST}/v1/events",
        json.dumps(event).encode(),
        {"authorization": f"Bearer {SERVER_KEY}", "content-type": "application/cloudevents+json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status in (HTTPStatus.ACCEPTED, HTTPStatus.CREATED))
    except urllib.error.HTTPError as error:
        # A problem document says what was wrong and what to do; it never repeats what was sent.
        print(error.read().decode())
        return False
    except urllib.error.URLError:
        return False


def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """WSGI (PEP 3333)."""
    status, body = "200 OK", ""
    if environ["REQUEST_METHOD"] == "POST":
        raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
        form = {name: values[0] for name, values in parse_qs(raw).items()}
        if post_answer(form, signed_in(environ)):
            body = "<!doctype html><title>Choices</title><p>Your answer is recorded."
        else:
            status, body = "503 Service Unavailable", "<!doctype html><title>Choices</title><p>Please send it again."
    else:
        body = render(environ.get("HTTP_ACCEPT_LANGUAGE", "en")[:2])
    start_response(status, [("content-type", "text/html; charset=utf-8"), ("cache-control", "no-store")])
    return [body.encode()]


if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), application) as server:
        server.serve_forever()
