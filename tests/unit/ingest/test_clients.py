"""What is kept of a visitor: nothing by default, and never a whole address or user agent."""

from typing import Any

import pytest

from services.ingest.clients import Clients
from services.ingest.settings import IngestSettings

pytestmark = pytest.mark.unit

FIREFOX = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
KEEP_ALL = {
    "address_kept": "truncated",
    "user_agent_kept": "family",
    "country_header": "CF-IPCountry",
    "trusted_proxies": "10.0.0.0/8",
}


def clients(**settings: Any) -> Clients:
    return Clients(IngestSettings.model_construct(**settings), bytes(32))


def context(peer: str = "10.0.0.1", *, settings: dict[str, str] = KEEP_ALL, **headers: bytes) -> dict[str, Any]:
    raw = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    scope = {"client": (peer, 1), "headers": list(raw.items())}
    return dict(clients(**settings).of(scope, raw).context)


def test_nothing_is_kept_by_default() -> None:
    assert context("203.0.113.77", settings={}, user_agent=FIREFOX, cf_ipcountry=b"FR") == {}


def test_what_an_operator_may_keep() -> None:
    seen = context(x_forwarded_for=b"203.0.113.77", user_agent=FIREFOX, cf_ipcountry=b"FR")
    assert seen == {"ip_truncated": "203.0.113.0/24", "country": "FR", "user_agent_family": "Firefox"}


def test_a_country_is_a_trusted_proxys_word() -> None:
    assert "country" not in context("203.0.113.77", cf_ipcountry=b"FR")
    for odd in (b"fr", b"XX", b"T1", b"FRA", b"F\xc3", b""):
        assert "country" not in context(cf_ipcountry=odd)


@pytest.mark.parametrize(
    "user_agent",
    [b"", b"someone@mail.example", b"\xff\xfe", b"x" * 100_000, b"Jane Doe Bot/1.0", b"Mozilla/5.0 Jane-Doe-crawler"],
)
def test_an_unknown_browser_is_other(user_agent: bytes) -> None:
    assert context(user_agent=user_agent)["user_agent_family"] == "Other"


def test_a_network_is_known_by_a_hash_under_the_secret() -> None:
    scopes = [{"client": (peer, 1), "headers": []} for peer in ("203.0.113.1", "203.0.113.254", "203.0.114.1")]
    one, same, other = (clients().of(scope, {}).network for scope in scopes)
    assert one == same != other
    assert len(one) == 16
    assert Clients(IngestSettings.model_construct(), b"k" * 32).of(scopes[0], {}).network != one
