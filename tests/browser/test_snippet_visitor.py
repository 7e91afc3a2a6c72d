"""The visitor's own say from the page: the capability that the first answer brings, history, and an account's link."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.site.service import SITE, Service
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser

DOMAIN = b"sayso/identity/v1\n"


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def identity(service: Service, visitor: str, account: str) -> str:
    """What the site's server signs once somebody has signed in (docs/visitors.md)."""
    name, _, secret = service.server_key.rpartition("_")
    payload: dict[str, Any] = {
        "key": name,
        "site": SITE,
        "visitor": visitor,
        "identifier": {"type": "account", "value": account},
        "exp": int(time.time()) + 600,
    }
    raw = json.dumps(payload).encode()
    key = hashlib.sha256(secret.encode()).digest()
    return f"id_{encode(raw)}.{encode(hmac.digest(key, DOMAIN + raw, 'sha256'))}"


def accepted(visit: Visit) -> Page:
    """A page of somebody who has said yes."""
    visit.serve(head=visit.snippet(query=visit.service.query_url))
    page = visit.open()
    page.evaluate("sayso.record({decisions: [{purpose: 'analytics', granted: true}]})")
    visit.delivered(page)
    return page


def test_the_visitor_reads_the_history_and_nobody_else_does(visit: Visit) -> None:
    page = accepted(visit)
    (given,) = visit.events(1)
    history = page.evaluate("() => sayso.history()")
    assert [record["event"] for record in history["records"]] == [given.what["id"]]
    page.evaluate("() => localStorage.removeItem('sayso.visitor')")
    said = page.evaluate("() => sayso.history().catch((error) => error.message)")
    assert said == "sayso: 401 from /v1/me/history"


def test_an_account_is_linked_after_sign_in_until_sign_out(visit: Visit) -> None:
    page = accepted(visit)
    signed = identity(visit.service, page.evaluate("() => sayso.visitor()"), "ünser-17")
    page.evaluate("signed => sayso.link(signed)", signed)
    visit.delivered(page)
    page.reload()
    page.wait_for_function("() => window.sayso")
    page.evaluate("() => sayso.unlink()")
    visit.delivered(page)
    given, linked, ended = visit.events(3)
    both = [*given.who["identifiers"], {"type": "account", "value": "ünser-17"}]
    for record, link_state in ((linked, "linked"), (ended, "ended")):
        assert (record.type, record.what["link"]) == ("identity.linked", {"state": link_state})
        assert sorted(record.who["identifiers"], key=str) == sorted(both, key=str)
    # Signed out, the page has forgotten the account; a second sign-out says nothing.
    assert sorted(json.loads(visit.storage(page)["local"]["sayso.visitor"])) == ["capability", "key"]
    assert page.evaluate("() => sayso.unlink()") is None


def test_nobody_is_linked_before_an_act(visit: Visit) -> None:
    visit.serve()
    page = visit.open()
    assert page.evaluate("signed => sayso.link(signed)", identity(visit.service, "v1." + "A" * 24, "u-17")) is None
    visit.events(0)
    assert (visit.posts, visit.storage(page)["local"]) == ([], {})
