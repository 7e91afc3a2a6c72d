"""What good events get: durable in the inbox, sealed, with the marks and words that ingest adds."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from schemas.limits import BATCH_EVENTS_MAX
from tests.integration.ingest.conftest import ORIGIN, SITE, Shop, event_now, visitor_event

pytestmark = pytest.mark.integration


def moments_ago(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def what_of(shop: Shop) -> list[dict[str, Any]]:
    return [orjson.loads(message.what) for message in await shop.inbox()]


async def test_one_event_is_accepted_and_sealed(shop: Shop) -> None:
    event = event_now()
    answer = await shop.post(event)
    assert (answer.status_code, answer.json()) == (202, {"id": event["id"], "status": "accepted"})
    (message,) = await shop.inbox()
    assert (message.event_id, message.site, message.log) == (event["id"], SITE, "shop")
    what = orjson.loads(message.what)
    assert (what["type"], what["decisions"], what["posted_by"]) == (
        event["type"],
        event["data"]["decisions"],
        "browser",
    )
    assert b"v-1" in message.body.parts.who


async def test_nothing_of_the_event_is_in_the_clear(shop: Shop) -> None:
    await shop.post(event_now(subject="a-visitor-nobody-else-knows"))
    rows = await shop.deployment.fetch("SELECT i::text AS row, i.value FROM inbox i")
    assert len(rows) == 1
    for secret in ("a-visitor-nobody-else-knows", "chat-history", "consent.given"):
        assert secret not in rows[0]["row"]
        assert secret.encode() not in rows[0]["value"]


@pytest.mark.parametrize(
    "content_type", ["application/cloudevents+json", "application/json; charset=utf-8", "text/plain;charset=UTF-8"]
)
async def test_an_event_is_read_under_each_media_type(shop: Shop, content_type: str) -> None:
    answer = await shop.post(event_now(), content_type=content_type)
    assert answer.status_code == 202
    assert len(await shop.inbox()) == 1


@pytest.mark.parametrize("content_type", ["application/cloudevents-batch+json", "application/json", "text/plain"])
async def test_a_batch_answers_for_each_event_in_order(shop: Shop, content_type: str) -> None:
    events = [event_now(number) for number in range(3)]
    answer = await shop.post(events, content_type=content_type)
    assert answer.status_code == 202
    assert answer.json() == {
        "events": [{"position": n, "id": event["id"], "status": "accepted"} for n, event in enumerate(events)]
    }
    assert [message.event_id for message in await shop.inbox()] == [event["id"] for event in events]


async def test_lines_are_a_batch(shop: Shop) -> None:
    lines = b"\n".join(orjson.dumps(event_now(number)) for number in range(3)) + b"\n\n"
    answer = await shop.post_raw(lines, "application/x-ndjson")
    assert [event["status"] for event in answer.json()["events"]] == ["accepted"] * 3
    assert len(await shop.inbox()) == 3


async def test_the_largest_batch_is_taken(shop: Shop) -> None:
    answer = await shop.post_server([event_now(number) for number in range(BATCH_EVENTS_MAX)])
    assert answer.status_code == 202
    assert len(await shop.inbox()) == BATCH_EVENTS_MAX


async def test_one_bad_event_never_costs_the_others(shop: Shop) -> None:
    bad = event_now(1, decisions=[{"purpose": "chat-history", "decision": "sold", "legal_basis": "consent"}])
    answer = await shop.post([event_now(0), bad, event_now(2)])
    assert answer.status_code == 202
    first, second, third = answer.json()["events"]
    assert (first["status"], third["status"]) == ("accepted", "accepted")
    assert second["status"] == "refused"
    assert second["id"] == bad["id"]
    assert second["problem"]["type"] == "/problems/invalid-value"
    assert second["problem"]["pointer"] == "/data/decisions/0/decision"
    assert "sold" not in answer.text
    assert [message.event_id for message in await shop.inbox()] == [event_now(0)["id"], event_now(2)["id"]]


async def test_the_same_event_twice_is_accepted_twice(shop: Shop) -> None:
    event = event_now()
    assert [(await shop.post(event)).status_code for _ in range(2)] == [202, 202]
    first, second = await shop.inbox()
    assert first.body.content == second.body.content


async def test_tracing_attributes_are_not_content(shop: Shop) -> None:
    event = event_now()
    await shop.post(event)
    await shop.post(event | {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    await shop.post(event | {"dataschema": "/schemas/event.v1.json"})
    first, second, third = (message.body.content for message in await shop.inbox())
    assert first == second
    assert first != third


# --- clocks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "marks"),
    [
        ({"seconds": 1}, None),
        ({"seconds": -280}, None),
        ({"seconds": -320}, ["clock-ahead"]),
        ({"hours": 23}, None),
        ({"hours": 25}, ["late"]),
    ],
)
@pytest.mark.parametrize("kind", ["consent.given", "consent.refused"])
async def test_a_wrong_clock_is_marked_and_never_refused(
    shop: Shop, ago: dict[str, float], marks: list[str] | None, kind: str
) -> None:
    denied = [{"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}]
    answer = await shop.post(visitor_event(time=moments_ago(**ago), type=kind, decisions=denied))
    assert answer.status_code == 202
    assert (await what_of(shop))[0].get("marks") == marks


# --- words ----------------------------------------------------------------------------------------------------


async def served_notice(shop: Shop, language: str = "fr") -> dict[str, Any]:
    answer = await shop.client.get(f"/v1/notices/{SITE}?language={language}")
    assert answer.status_code == 200
    document: dict[str, Any] = orjson.loads(answer.content)
    return document


def shown(sha256: str, **more: str) -> dict[str, str]:
    return {"sha256": sha256, "language": "fr", **more}


async def words_and_marks(shop: Shop, **changes: Any) -> tuple[str, list[str]]:
    answer = await shop.post(visitor_event(**changes))
    assert answer.status_code == 202, answer.text
    what = (await what_of(shop))[-1]
    return what["words"], what.get("marks", [])


async def test_our_notice_with_our_token_is_rendered(shop: Shop) -> None:
    served = await served_notice(shop)
    notice = shown(served["sha256"], token=served["token"])
    assert await words_and_marks(shop, notice=notice) == ("rendered", [])
    context = orjson.loads((await shop.inbox())[0].body.parts.context)
    assert context["notice_token"] == served["token"]


async def test_our_notice_without_a_token_is_unverified(shop: Shop) -> None:
    assert await words_and_marks(shop, notice=shown(shop.notice)) == ("unverified", [])


@pytest.mark.parametrize("spoil", ["flip", "cut", "pad", "words"])
async def test_a_token_that_is_not_ours_is_marked(shop: Shop, spoil: str) -> None:
    served = await served_notice(shop)
    token = served["token"]
    spoiled = {
        "flip": token[:10] + ("A" if token[10] != "A" else "B") + token[11:],
        "cut": token[:-1],
        "pad": token + "==",
        "words": "not a token",
    }[spoil]
    assert await words_and_marks(shop, notice=shown(served["sha256"], token=spoiled)) == (
        "unverified",
        ["token-invalid"],
    )


async def test_a_token_of_another_notice_upgrades_nothing(shop: Shop) -> None:
    token = (await served_notice(shop))["token"]
    other = await shop.publish_notice(version="other")
    assert await words_and_marks(shop, notice=shown(other, token=token)) == ("unverified", ["token-invalid"])


async def test_an_adapter_that_read_a_known_notice_is_captured(shop: Shop) -> None:
    capture = {"mechanism": "button", "words": "captured"}
    assert await words_and_marks(shop, notice=shown(shop.notice), capture=capture) == ("captured", [])


async def test_an_unknown_notice_is_accepted_and_marked_whatever_it_names(shop: Shop) -> None:
    decisions = [{"purpose": "never-published", "decision": "granted", "legal_basis": "consent", "services": ["who"]}]
    notice = shown("ab" * 32)
    capture = {"mechanism": "button", "words": "captured"}
    got = await words_and_marks(shop, notice=notice, capture=capture, decisions=decisions)
    assert got == ("unverified", ["notice-unknown"])


async def test_a_matched_hash_is_matched_and_its_purposes_are_checked(shop: Shop) -> None:
    seen = "cd" * 32
    await shop.deployment.fetch(
        "INSERT INTO notice_matches (controller, shown, notice)"
        " SELECT controller, $1, notice FROM notices LIMIT 1 RETURNING 1",
        bytes.fromhex(seen),
    )
    assert await words_and_marks(shop, notice=shown(seen)) == ("matched", [])
    unknown = [{"purpose": "never-published", "decision": "granted", "legal_basis": "consent"}]
    answer = await shop.post(visitor_event(notice=shown(seen), decisions=unknown))
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unknown-purpose")


# --- one fresh read ---------------------------------------------------------------------------------------------


async def test_what_was_published_a_moment_ago_is_known(shop: Shop) -> None:
    decisions = [{"purpose": "newsletter", "decision": "granted", "legal_basis": "consent"}]
    event = visitor_event(decisions=decisions)
    assert (await shop.post(event)).json()["type"] == "/problems/unknown-purpose"
    new = await shop.publish_notice(purposes=("newsletter",), version="letters")
    assert (await shop.post(event)).status_code == 202
    assert await words_and_marks(shop, notice=shown(new)) == ("unverified", [])


async def test_a_service_of_the_catalogue_needs_no_notice(shop: Shop) -> None:
    decisions = [{"purpose": "chat-history", "decision": "denied", "legal_basis": "consent", "services": ["chaport"]}]
    assert (await shop.post(event_now(decisions=decisions))).status_code == 202


# --- the notice route -------------------------------------------------------------------------------------------


async def test_the_latest_notice_is_served_byte_for_byte(shop: Shop) -> None:
    newest = await shop.publish_notice(version="newest")
    other_language = await shop.publish_notice(version="newest", language="de")
    # Only what is new in the database counts, so this process must look again.
    await shop.post(event_now(notice=shown(newest)))
    answer = await shop.client.get(f"/v1/notices/{SITE}?language=fr-CH", headers={"origin": ORIGIN})
    served = orjson.loads(answer.content)
    assert served["sha256"] == newest
    assert answer.headers["access-control-allow-origin"] == "*"
    rows = await shop.deployment.fetch("SELECT content FROM notices WHERE notice = $1", bytes.fromhex(newest))
    assert b'"content":' + rows[0]["content"] in answer.content
    assert (await served_notice(shop, "de"))["sha256"] == other_language


async def test_a_language_without_a_notice_gets_what_stands_in_and_is_told(shop: Shop) -> None:
    english = await shop.publish_notice(
        notice_id="whole", version="1", language="en", fallback_language="en", languages=["en", "fr"]
    )
    french = await shop.publish_notice(
        notice_id="whole", version="1", language="fr", fallback_language="en", languages=["en", "fr"]
    )
    to_come = await shop.publish_notice(
        notice_id="whole", version="2", language="fr", effective_at="2099-01-01T00:00:00Z"
    )
    await shop.post(event_now(notice=shown(to_come)))
    assert (await served_notice(shop, "fr"))["sha256"] == french
    # An older notice in German would ask for something else.
    for asked in ("it", "de", "xx"):
        served = await served_notice(shop, asked)
        assert (served["sha256"], served["language"], served["requested_language"]) == (english, "en", asked)
    # Of several notices the one that is named; of none of that name, none.
    other = await shop.publish_notice(notice_id="letter", version="1", language="fr")
    await shop.post(event_now(2, notice=shown(other)))
    assert (await served_notice(shop, "fr"))["sha256"] == other
    assert (await served_notice(shop, "fr&notice=whole"))["sha256"] == french
    assert (await shop.client.get(f"/v1/notices/{SITE}?language=fr&notice=nothing")).status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "problem"),
    [
        ("/v1/notices/nobody.example?language=fr", 404, "/problems/not-found"),
        (f"/v1/notices/{SITE}", 422, "/problems/invalid-parameter"),
        (f"/v1/notices/{SITE}?language=_someone_", 422, "/problems/invalid-parameter"),
    ],
)
async def test_no_notice_is_a_problem(shop: Shop, path: str, status: int, problem: str) -> None:
    answer = await shop.client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (status, problem)
    assert ("access-control-allow-origin" in answer.headers) == (status == 404)
    assert "_someone_" not in answer.text


async def test_all_who_ask_at_once_get_the_same_token(shop: Shop) -> None:
    tokens = {(await served_notice(shop))["token"] for _ in range(5)}
    assert len(tokens) <= 2  # two when the ten seconds ran out in between


# --- operations ---------------------------------------------------------------------------------------------------


def value_of(metric: str, text: str) -> float:
    lines = [line for line in text.splitlines() if line.startswith(f"sayso_ingest_{metric}")]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


async def test_health_metrics_and_description(shop: Shop) -> None:
    before = (await shop.client.get("/metrics")).text
    await shop.post([event_now(), {}])
    ready = await shop.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert (await shop.client.get("/health/live")).status_code == 200
    after = (await shop.client.get("/metrics")).text
    for counted in ('events_total{outcome="accepted"}', 'problems_total{problem="missing-field"}'):
        assert value_of(counted, after) == value_of(counted, before) + 1
    description = (await shop.client.get("/openapi.json")).json()
    assert "/v1/events" in description["paths"]
    assert (await shop.client.get("/docs")).headers["content-security-policy"] != "default-src 'none'"
