"""Notice tokens: valid for one site, one notice and a day; one spelling each; shared, so that they follow nobody."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.limits import TOKEN_CHARS_MAX
from services.ingest.notices import TOKEN_LIFE_S, TOKEN_SHARED_S, TOKEN_SKEW_S, NoticeTokens

pytestmark = pytest.mark.unit

SITE, NOTICE, NOW = "shop.example", "ab" * 32, 1_795_341_600
KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def tokens() -> NoticeTokens:
    return NoticeTokens(KEY)


def test_a_token_is_valid_on_every_process_with_the_key(tokens: NoticeTokens) -> None:
    token, expires_at = tokens.issue(SITE, NOTICE, NOW)
    assert expires_at == NOW + TOKEN_LIFE_S
    assert len(token) <= TOKEN_CHARS_MAX
    for process in (tokens, NoticeTokens(KEY)):
        assert process.is_valid(token, SITE, NOTICE, NOW)
        assert process.is_valid(token, SITE, NOTICE, expires_at - 1)


@pytest.mark.parametrize(
    ("site", "notice", "now"),
    [
        ("other.example", NOTICE, NOW),
        (SITE, "cd" * 32, NOW),
        (SITE, NOTICE, NOW + TOKEN_LIFE_S),
        (SITE, NOTICE, NOW - TOKEN_SKEW_S - 1),
    ],
)
def test_a_token_is_for_one_site_one_notice_and_a_time(tokens: NoticeTokens, site: str, notice: str, now: int) -> None:
    token, _ = tokens.issue(SITE, NOTICE, NOW)
    assert tokens.is_valid(token, SITE, NOTICE, NOW)  # remembered; what is asked next must not rest on that
    assert not tokens.is_valid(token, site, notice, now)
    assert not NoticeTokens(KEY).is_valid(token, site, notice, now)


def test_another_key_is_refused(tokens: NoticeTokens) -> None:
    token, _ = tokens.issue(SITE, NOTICE, NOW)
    assert not NoticeTokens(Ed25519PrivateKey.generate()).is_valid(token, SITE, NOTICE, NOW)


def test_no_character_may_change(tokens: NoticeTokens) -> None:
    token, _ = tokens.issue(SITE, NOTICE, NOW)
    for at, character in enumerate(token):
        changed = token[:at] + ("A" if character != "A" else "B") + token[at + 1 :]
        assert not tokens.is_valid(changed, SITE, NOTICE, NOW), at


@pytest.mark.parametrize("spoil", ["", ".", "..", "=", "\n", " ", "é"])
def test_a_token_has_one_spelling(tokens: NoticeTokens, spoil: str) -> None:
    token, _ = tokens.issue(SITE, NOTICE, NOW)
    claims, _, signature = token.partition(".")
    spellings = {spoil, spoil + token, token + spoil, f"{claims}{spoil}.{signature}", token.replace(".", spoil)} - {
        token
    }
    assert not any(tokens.is_valid(spelling, SITE, NOTICE, NOW) for spelling in spellings)


def test_all_who_ask_within_a_while_get_the_same(tokens: NoticeTokens) -> None:
    first = tokens.issue(SITE, NOTICE, NOW).token
    assert tokens.issue(SITE, NOTICE, NOW + TOKEN_SHARED_S - 1).token == first
    assert tokens.issue(SITE, NOTICE, NOW + TOKEN_SHARED_S).token != first
    assert tokens.issue(SITE, "cd" * 32, NOW).token != first
    assert tokens.issue("other.example", NOTICE, NOW).token != first


def test_what_is_remembered_is_bounded(tokens: NoticeTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.notices._VERIFIED_MAX", 5)
    for n in range(20):
        tokens.is_valid(f"nonsense {n}", SITE, NOTICE, NOW)
    assert len(tokens._verified) == 5
