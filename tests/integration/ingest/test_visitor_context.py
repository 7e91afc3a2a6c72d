"""What a record holds of where a visitor was: nothing of address and browser unless the operator says so."""

from typing import Any

import orjson
import pytest

from tests.integration.ingest.conftest import Shop, event_now, visitor_event

pytestmark = pytest.mark.integration

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SEEN = {"user_agent": FIREFOX, "x_forwarded_for": "203.0.113.77", "cf_ipcountry": "FR"}


async def contexts(shop: Shop) -> list[dict[str, Any]]:
    return [orjson.loads(message.body.parts.context) for message in await shop.inbox()]


async def test_nothing_is_kept_by_default(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert (await shop.post(visitor_event(), **SEEN)).status_code == 202
    assert await contexts(shop) == [{}]
    said = capsys.readouterr().out
    assert "203.0.113" not in said
    assert "Firefox" not in said


async def test_what_the_operator_keeps_is_ours_and_not_the_pages(made_shop: Shop) -> None:
    keep = {"address_kept": "truncated", "user_agent_kept": "family", "country_header": "cf-ipcountry"}
    own = {"country": "US", "user_agent_family": "Mosaic", "ip_truncated": "198.51.100.0/24", "device": "mobile"}
    async with made_shop.running(**keep, trusted_proxies="127.0.0.1"):
        assert (await made_shop.post(visitor_event(context=own), **SEEN)).status_code == 202
        # A server says itself what it saw: its own address is not the visitor's.
        assert (await made_shop.post_server(event_now(2, context=own), **SEEN)).status_code == 202
        seen = {"country": "FR", "user_agent_family": "Firefox", "ip_truncated": "203.0.113.0/24", "device": "mobile"}
        assert await contexts(made_shop) == [seen, own]
    await made_shop.deployment.fetch("DELETE FROM inbox")
    async with made_shop.running(**keep):
        assert (await made_shop.post(visitor_event(), **SEEN)).status_code == 202
        assert await contexts(made_shop) == [{"user_agent_family": "Firefox", "ip_truncated": "127.0.0.0/24"}]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("203.0.113.0/24", 202),
        ("203.0.113.0", 202),
        ("2001:db8:1::/48", 202),
        ("203.0.0.0/16", 202),
        ("203.0.113.77", 422),
        ("203.0.113.77/32", 422),
        ("203.0.113.77/24", 422),
        ("2001:db8:1::9", 422),
        ("::ffff:203.0.113.77", 422),
        ("somebody", 422),
    ],
)
async def test_a_whole_address_is_refused(shop: Shop, address: str, status: int) -> None:
    for answer in (
        await shop.post(visitor_event(context={"ip_truncated": address})),
        await shop.post_server(event_now(context={"ip_truncated": address})),
    ):
        assert answer.status_code == status
        if status == 422:
            body = answer.json()
            assert (body["type"], body["pointer"]) == ("/problems/invalid-value", "/data/context/ip_truncated")
            assert address not in answer.text


@pytest.mark.parametrize(
    ("page", "kept"),
    [
        ("/cart", "/cart"),
        ("/cart?email=someone@mail.example", "/cart"),
        ("/cart#token=1", "/cart"),
        ("/cart#a?b", "/cart"),
        ("?x=1", "/"),
    ],
)
async def test_a_page_is_a_path(shop: Shop, page: str, kept: str) -> None:
    assert (await shop.post(visitor_event(context={"page": page}))).status_code == 202
    assert await contexts(shop) == [{"page": kept}]
