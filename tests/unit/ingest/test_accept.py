"""Judging an event by what a site has published: the words it may claim, and the bounds of clocks to the second."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.canonical import canonical_json
from schemas.event_types import SERVER_TYPES
from schemas.limits import CLOCK_SKEW_S_MAX
from schemas.record import Reception, format_time
from services.capabilities import Capabilities
from services.ingest.accept import LATE_AFTER_S, Judging, Moment, judge
from services.ingest.auth import Caller
from services.ingest.notices import NoticeTokens
from services.ingest.proving import Proving
from services.ingest.reading import Readable
from services.ingest.shapes import Shapes
from services.ingest.sites import Notice, SiteId, Words
from tests.support.deployment import consent_event

pytestmark = pytest.mark.unit

NOW = Moment.of(1_795_341_600_250_000)
PUBLISHED, MATCHED, UNKNOWN = "ab" * 32, "cd" * 32, "ef" * 32
TOKENS = NoticeTokens(Ed25519PrivateKey.generate())
CALLER = Caller(
    kind="sk",
    site=SiteId(1, 1),
    controller_name="shop",
    site_name="shop.example",
    log="shop",
    secret_sha256=None,
    origins=frozenset(),
    source="/sites/shop.example",
    types=SERVER_TYPES,
    posted_by="server",
)
PURPOSES = frozenset({"chat-history", "chat-proactive"})
SITE = Words(
    {PUBLISHED: Notice(PUBLISHED, "fr", b"{}", PURPOSES, frozenset({"chatra"}))},
    matched=frozenset({MATCHED}),
    purposes=PURPOSES,
    services=frozenset({"chatra"}),
)


async def nobody(name: str) -> None:
    """No server key signed anything here."""


BY = Judging(TOKENS, Shapes(), Proving(Capabilities(bytes(32)), nobody), grant_age_s=30 * 24 * 3600)


def judged(**changes: Any) -> Reception:
    event = consent_event(1, **({"time": format_time(NOW.at)} | changes))
    return judge(Readable(event, canonical_json(event)), CALLER, SITE, BY, {}, NOW).reception


@pytest.mark.parametrize(
    ("sha256", "with_token", "captured", "words", "marks"),
    [
        (PUBLISHED, True, False, "rendered", []),
        (PUBLISHED, True, True, "rendered", []),
        (PUBLISHED, False, True, "captured", []),
        (PUBLISHED, False, False, "unverified", []),
        (MATCHED, False, False, "matched", []),
        (MATCHED, False, True, "captured", []),
        # Our token for words that are not this site's own upgrades nothing.
        (MATCHED, True, False, "matched", []),
        (UNKNOWN, True, False, "unverified", ["notice-unknown"]),
        (UNKNOWN, True, True, "unverified", ["notice-unknown"]),
        (UNKNOWN, False, True, "unverified", ["notice-unknown"]),
    ],
)
def test_how_sure_of_the_words(sha256: str, with_token: bool, captured: bool, words: str, marks: list[str]) -> None:
    notice = {"sha256": sha256, "language": "fr"}
    if with_token:
        notice["token"] = TOKENS.issue("shop.example", sha256, NOW.us // 1_000_000).token
    capture = {"mechanism": "button"} | ({"words": "captured"} if captured else {})
    reception = judged(notice=notice, capture=capture)
    assert (reception.words, reception.marks) == (words, marks)


@pytest.mark.parametrize(
    ("seconds", "marks"),
    [
        (CLOCK_SKEW_S_MAX, []),
        (CLOCK_SKEW_S_MAX + 1, ["clock-ahead"]),
        (-LATE_AFTER_S, []),
        (-LATE_AFTER_S - 1, ["late"]),
    ],
)
@pytest.mark.parametrize("fraction", ["", ".999999", ".0"])
def test_clocks_are_compared_to_the_second(seconds: int, marks: list[str], fraction: str) -> None:
    second = format_time(NOW.at + timedelta(seconds=seconds))[:19]
    assert judged(time=f"{second}{fraction}Z").marks == marks


def test_what_ingest_adds_is_its_own() -> None:
    reception = judged()
    assert (reception.site, reception.received_at, reception.posted_by) == ("shop.example", NOW.at, "server")


@pytest.mark.parametrize(
    ("posted", "kept"),
    [
        ({"page": "/cart"}, {}),
        ({"page": "/cart?mail=a@b.example"}, {"page": "/cart"}),
        ({"page": "#token"}, {"page": "/"}),
        ({"referrer_host": "news.example:8080"}, {}),
        ({"referrer_host": "https://eve:pw@news.example/x@y?u=https://b.example"}, {"referrer_host": "news.example"}),
        ({"referrer_host": "news.example#eve"}, {"referrer_host": "news.example"}),
    ],
)
def test_of_addresses_only_the_place_is_kept(posted: dict[str, str], kept: dict[str, str]) -> None:
    assert judged(context=posted).context == kept
