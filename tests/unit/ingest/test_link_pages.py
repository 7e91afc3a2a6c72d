"""The pages behind links: their language, whose words they show and how, and what their policy allows."""

import base64
import hashlib
import re
from typing import Any

import pytest

from schemas.canonical import canonical_json
from schemas.errors import InvalidParameter, StreamAway
from services.capabilities import Capabilities
from services.ingest.sites import Notice, Words
from services.ingest.visitors.links import Link, LinkKind, Links
from services.ingest.visitors.pages import asking_page, done_page, problem_page, shown_notice
from services.ingest.visitors.texts import TEXTS, language_of
from tests.support.rows import notice_content

pytestmark = pytest.mark.unit

YES = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent"}
NO = {"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}


def link(kind: LinkKind = "unsubscribe", *decisions: dict[str, Any], **changes: Any) -> Link:
    values: dict[str, Any] = {"identifier": {"type": "email", "value": "eve@example.com"}, "notice": None}
    values |= {"kind": kind, "site": "shop.example", "decisions": list(decisions) or [NO], "requested_at": None}
    return Link(**(values | {"event": None} | changes))


def notice(**changes: Any) -> Notice:
    content = canonical_json(notice_content(**changes))
    purposes = frozenset(purpose["purpose"] for purpose in notice_content(**changes)["purposes"])
    sha256 = hashlib.sha256(content).hexdigest()
    return Notice(sha256, notice_content(**changes)["language"], content, purposes, frozenset())


def words(*notices: Notice) -> Words:
    return Words({n.sha256: n for n in notices}, frozenset(), frozenset(), frozenset())


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("fr", "fr"),
        ("de-AT,de;q=0.9", "de"),
        ("pl, es;q=0.4, fr;q=0.7", "fr"),
        ("fr;q=0, es;q=0.1", "es"),
        ("es;q=x, *;q=0.5", "en"),
        ("DE", "de"),
    ],
)
def test_the_language_that_the_browser_wants_most(header: str | None, language: str) -> None:
    assert language_of(header) == language


def test_every_language_says_everything() -> None:
    for texts in TEXTS.values():
        assert texts.keys() == TEXTS["en"].keys()
        assert all(text.strip() for text in texts.values())


def test_whose_words_are_shown() -> None:
    """The link's own notice, or one that names all its purposes, best in the language of the page."""
    french, german = notice(), notice(language="de")
    other = notice(purposes=[{**notice_content()["purposes"][0], "purpose": "newsletter"}])
    assert shown_notice(link(), words(other, french, german), "de") is german
    assert shown_notice(link(), words(other, french, german), "es") is french
    assert shown_notice(link(), words(other), "fr") is None
    own = {"sha256": french.sha256, "language": "fr"}
    assert shown_notice(link(notice=own), words(german, french), "de") is french
    assert shown_notice(link(notice={**own, "sha256": "ab" * 32}), words(french), "fr") is None


def test_words_are_escaped() -> None:
    evil = notice(title="<script>alert(1)</script>", text='"><img src=x onerror=alert(2)>')
    page = bytes(asking_page(link("confirm", YES), evil, "en", {"x": '"><b>'}).body).decode()
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_policy_allows_our_style_and_nothing_else() -> None:
    response = asking_page(link(), notice(), "en", {})
    (style,) = re.findall(r"<style>(.*?)</style>", bytes(response.body).decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = response.headers["content-security-policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert not re.findall(r"\s(?:src|href|on\w+|style)=", bytes(response.body).decode())


def test_a_yes_beside_a_no_is_told_apart() -> None:
    mixed = bytes(asking_page(link("confirm", YES, {**NO, "purpose": "ads"}), notice(), "fr", {}).body).decode()
    assert ('<span class="answer">Oui</span>' in mixed, '<span class="answer">Non</span>' in mixed) == (True, True)
    assert "<strong>ads</strong>" in mixed or ">ads</strong>" in mixed  # no notice names it: its own name
    alone = bytes(asking_page(link("confirm", YES), notice(), "fr", {}).body).decode()
    assert "answer" not in alone.partition("</style>")[2]


def test_what_did_not_work_is_said_and_nothing_else() -> None:
    problem = StreamAway(retry_after_s=5)
    page = problem_page(problem, "de", "text/html")
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")
    assert "Es wurde nichts festgehalten." in bytes(page.body).decode()
    assert problem_page(problem, "de", "*/*").media_type == "application/problem+json"
    done = bytes(done_page(link(), None, "de").body).decode()
    assert "<h1>Widerrufen</h1>" in done
    assert "<form" not in done


def test_a_link_fits_into_a_line_of_a_mail() -> None:
    links = Links(Capabilities(bytes(32)), "https://consent.shop.example")
    decisions = [{**NO, "purpose": f"purpose-{number}"} for number in range(9)]
    made = links.make(link("unsubscribe", *decisions[:8]), None, 0)
    assert 900 < len(f"<{made.url}>") <= 998
    with pytest.raises(InvalidParameter) as refused:
        links.make(link("unsubscribe", *decisions), None, 0)
    assert refused.value.pointer == "/decisions"
