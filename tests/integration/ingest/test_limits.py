"""Rate limits over HTTP: who is stopped, what they are told, and that nobody else notices."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message

from schemas.canonical import canonical_json
from schemas.limits import BATCH_EVENTS_MAX
from services.ingest.app import create_app
from tests.integration.ingest.conftest import APP_KEY, BROWSER_KEY, ORIGIN, Shop, event_now, visitor_event
from tests.support.deployment import fresh_uuid

pytestmark = pytest.mark.integration

BURST = BATCH_EVENTS_MAX
SLOW = 0.001


def single() -> dict[str, Any]:
    return visitor_event() | {"id": fresh_uuid()}


def batch(count: int) -> list[dict[str, Any]]:
    return [single() for _ in range(count)]


async def test_a_network_that_sends_too_much_is_told_when_to_come_back(made_shop: Shop) -> None:
    async with made_shop.running(rate_limit_per_s=1, rate_limit_burst=BURST):
        assert (await made_shop.post(batch(BURST - 1))).status_code == 202
        assert (await made_shop.post(single())).status_code == 202
        refused = await made_shop.post(single())
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-requests")
        assert refused.headers["retry-after"] == "1"
        # The page may read it all.
        assert refused.headers["access-control-allow-origin"] == ORIGIN
        assert refused.headers["access-control-expose-headers"] == "retry-after"
        whole = await made_shop.post(batch(100))
        assert (whole.status_code, whole.json()["type"]) == (429, "/problems/too-many-requests")
        # Another key of the network, and the site's server, go on.
        app = await made_shop.client.post(f"/v1/events?key={APP_KEY}", json=single())
        assert app.status_code == 202
        assert (await made_shop.post_server(batch(BURST))).status_code == 202
        metrics = (await made_shop.client.get("/metrics")).text
        assert 'sayso_ingest_problems_total{problem="too-many-requests"} 2.0' in metrics
        assert len(await made_shop.inbox()) == BURST + 1 + BURST


async def test_a_network_is_limited_over_all_its_keys(made_shop: Shop) -> None:
    async with made_shop.running(rate_limit_network_per_s=SLOW, rate_limit_network_burst=BURST):
        app = await made_shop.client.post(f"/v1/events?key={APP_KEY}", json=batch(BURST))
        assert app.status_code == 202
        assert (await made_shop.post(single())).status_code == 429


async def test_unconfirmed_events_have_a_bucket_of_their_own(made_shop: Shop) -> None:
    async with made_shop.running(rate_limit_unconfirmed_per_s=SLOW, rate_limit_unconfirmed_burst=2):
        # Nobody showed that this number is theirs; after two of them the next is refused, and only that one.
        answer = await made_shop.post([event_now(1), event_now(2), single(), event_now(3)])
        assert answer.status_code == 202
        assert [one["status"] for one in answer.json()["events"]] == ["accepted", "accepted", "accepted", "refused"]
        assert answer.json()["events"][3]["problem"]["type"] == "/problems/too-many-requests"
        alone = await made_shop.post(event_now(4))
        assert alone.status_code == 429
        assert int(alone.headers["retry-after"]) >= 1
        # A report of a child is a stranger's word too, also where it names nobody.
        report = await made_shop.client.post("/v1/reports", json={"site": "shop.example", "about": "child"})
        assert (report.status_code, report.json()["type"]) == (429, "/problems/too-many-requests")
        all_of_it = await made_shop.post([event_now(5), event_now(6)])
        assert (all_of_it.status_code, "retry-after" in all_of_it.headers) == (429, True)
        assert all_of_it.headers["access-control-expose-headers"] == "retry-after"
        # A server says whom it knows.
        assert (await made_shop.post_server(event_now(7))).status_code == 202


@pytest.mark.usefixtures("_logs")
async def test_behind_a_trusted_proxy_each_visitor_counts_alone(
    made_shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = {"rate_limit_per_s": SLOW, "rate_limit_burst": BURST}
    async with made_shop.running(**limits, trusted_proxies="127.0.0.0/8"):
        here, there = {"x_forwarded_for": "203.0.113.7"}, {"x_forwarded_for": "198.51.100.7"}
        assert (await made_shop.post(batch(BURST), **here)).status_code == 202
        assert (await made_shop.post(single(), **here)).status_code == 429
        # Its neighbour, and one who puts an address before its own, are the same network.
        assert (await made_shop.post(single(), x_forwarded_for="203.0.113.99")).status_code == 429
        assert (await made_shop.post(single(), x_forwarded_for="198.51.100.7, 203.0.113.7")).status_code == 429
        assert (await made_shop.post(single(), **there)).status_code == 202
    capsys.readouterr()
    async with made_shop.running(**limits):
        assert (await made_shop.post(batch(BURST), **here)).status_code == 202
        for _ in range(3):
            assert (await made_shop.post(single(), **there)).status_code == 429, "nobody is believed who is not trusted"
    # The operator of a proxy that was forgotten learns of it, once.
    said = capsys.readouterr().out
    assert said.count("SAYSO_TRUSTED_PROXIES") == 1
    assert "198.51.100" not in said


@asynccontextmanager
async def in_process(shop: Shop, **settings: Any) -> AsyncIterator[Any]:
    """Ingest without a socket: post(event, address) -> status and headers."""
    app = create_app(shop.settings(**settings))
    async with app._lifespan(FastAPI()) as state:

        async def post(body: bytes, address: str) -> tuple[int, dict[bytes, bytes]]:
            sent: list[Message] = []

            async def receive() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            async def send(message: Message) -> None:
                sent.append(message)

            scope = {
                "type": "http",
                "method": "POST",
                "path": "/v1/events",
                "query_string": f"key={BROWSER_KEY}".encode(),
                "headers": [(b"origin", ORIGIN.encode()), (b"content-type", b"text/plain")],
                "client": (address, 4711),
                "state": state,
            }
            await app(scope, receive, send)
            return sent[0]["status"], dict(sent[0]["headers"])

        yield post


async def test_ten_thousand_requests_from_one_address(made_shop: Shop) -> None:
    per_s = 10
    async with in_process(made_shop, rate_limit_per_s=per_s, rate_limit_burst=BURST) as post:
        began = time.monotonic()
        taken = 0
        for _ in range(100):
            # Each is a new act: nothing but the limit stops it.
            answers = await asyncio.gather(*(post(canonical_json(single()), "203.0.113.7") for _ in range(100)))
            assert {status for status, _ in answers} <= {202, 429}
            assert all(b"retry-after" in headers for status, headers in answers if status == 429)
            taken += sum(status == 202 for status, _ in answers)
        lasted = time.monotonic() - began
        assert BURST <= taken <= BURST + per_s * lasted + 1
        assert len(await made_shop.inbox()) == taken
        # Everybody else is served meanwhile.
        assert (await post(canonical_json(single()), "203.0.114.7"))[0] == 202
        assert (await post(canonical_json(single()), "2001:db8::1"))[0] == 202
