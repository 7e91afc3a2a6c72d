"""What bad input gets: its own problem, nothing of what was posted, and the good events beside it are in the inbox.

MARK stands somewhere in every bad body: in a value, or as the name of a member.
"""

# ruff: noqa: E501 - the table of bad events reads best with one event a line

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from schemas.errors import Problem
from schemas.limits import BATCH_EVENTS_MAX, BODY_BYTES_MAX, EVENT_BYTES_MAX
from tests.integration.ingest.conftest import Shop, event_now

pytestmark = pytest.mark.integration

MARK = "zz-posted-by-somebody-zz"


def changed(**changes: Any) -> bytes:
    return orjson.dumps(event_now(1, subject=MARK, **changes))


def linked_without_proof() -> bytes:
    event = event_now(1, subject=MARK, type="identity.linked")
    event["data"]["subject"]["identifiers"].append({"type": "account", "value": MARK})
    return orjson.dumps(event)


def without(*path: str) -> bytes:
    event = event_now(1, subject=MARK)
    node = event
    for step in path[:-1]:
        node = node[step]
    del node[path[-1]]
    return orjson.dumps(event)


def replaced(old: bytes, new: bytes) -> bytes:
    event = orjson.dumps(event_now(1, subject=MARK))
    assert event.count(old) == 1
    return event.replace(old, new)


def decision(**changes: Any) -> list[dict[str, Any]]:
    return [{"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"} | changes]


def text(value: str) -> dict[str, Any]:
    return {"page": value}


DEEP = b'{"a":' * 40 + b"1" + b"}" * 40
DEEPER = b"[" * 900 + b"]" * 900

# name -> (bad event, status, problem, pointer)
BAD: dict[str, tuple[Callable[[], bytes], int, str, str | None]] = {
    # it cannot be read
    "nonsense": (MARK.encode, 422, "malformed-json", None),
    "nan": (lambda: replaced(b'"specversion":"1.0"', b'"specversion":NaN'), 422, "malformed-json", None),
    "trailing comma": (lambda: replaced(b'"specversion":"1.0",', b'"specversion":"1.0",,'), 422, "malformed-json", None),
    "lone surrogate": (lambda: replaced(b'"1.0"', b'"\\ud800"'), 422, "malformed-json", None),
    "not UTF-8": (lambda: replaced(b'"1.0"', b'"\xff\xfe"'), 422, "not-utf8", None),
    "overlong UTF-8": (lambda: replaced(b'"1.0"', b'"\xc0\xaf"'), 422, "not-utf8", None),
    "duplicate member": (lambda: replaced(b'"type":"cookie"', b'"type":"cookie","type":"cookie"'), 422, "duplicate-key", None),
    "duplicate, escaped": (lambda: replaced(b'"type":"cookie"', b'"type":"email","\\u0074ype":"cookie"'), 422, "duplicate-key", None),
    "duplicate, spaced": (lambda: replaced(b'"type":"cookie"', b'"type" :"email","type" : "cookie"'), 422, "duplicate-key", None),
    "deep": (lambda: replaced(b'"1.0"', DEEP), 422, "too-deep", None),
    "deeper": (lambda: replaced(b'"1.0"', DEEPER), 422, "too-deep", None),
    "control character": (lambda: changed(context=text("a\u0000b")), 422, "control-character", None),
    "C1 control character": (lambda: changed(context=text("a\u0085b")), 422, "control-character", None),
    "control character in a name": (lambda: replaced(b'"capture"', b'"cap\\u0007ture"'), 422, "control-character", None),
    "too large": (lambda: changed(signals={"tcf": "C" * EVENT_BYTES_MAX}), 413, "event-too-large", None),
    # the schema does not take it
    "not an object": (f'"{MARK}"'.encode, 422, "wrong-type", ""),
    "unknown member": (lambda: changed().replace(b'"specversion"', f'"{MARK}":1,"specversion"'.encode()), 422, "unknown-field", ""),
    "unknown member inside": (lambda: replaced(b'"decisions"', f'"{MARK}":1,"decisions"'.encode()), 422, "unknown-field", "/data"),
    "no id": (lambda: without("id"), 422, "missing-field", "/id"),
    "no data": (lambda: without("data"), 422, "missing-field", "/data"),
    "id is a number": (lambda: changed(id=5), 422, "wrong-type", "/id"),
    "list for an object": (lambda: changed(capture=[MARK]), 422, "wrong-type", "/data/capture"),
    "number for a word": (lambda: changed(type=7), 422, "wrong-type", "/type"),
    "null for absent": (lambda: changed(notice=None), 422, "wrong-type", "/data/notice"),
    "null inside": (lambda: changed(context={"page": None}), 422, "wrong-type", "/data/context/page"),
    "truth for text": (lambda: changed(jurisdiction=True), 422, "wrong-type", "/data/jurisdiction"),
    "float": (lambda: changed(ext={"n": 1.5}), 422, "float-not-allowed", "/data/ext"),
    "exponent": (lambda: replaced(b'"capture"', b'"ext":{"n":1e3},"capture"'), 422, "float-not-allowed", "/data/ext"),
    "integer too large": (lambda: changed(ext={"n": 2**53}), 422, "invalid-value", "/data/ext"),
    "integer of 30 digits": (lambda: replaced(b'"capture"', b'"ext":{"n":' + b"9" * 30 + b'},"capture"'), 422, "float-not-allowed", "/data/ext"),
    "member name of ours": (lambda: changed(ext={"_": MARK}), 422, "invalid-value", "/data/ext"),
    "id is no UUID": (lambda: changed(id=MARK), 422, "invalid-value", "/id"),
    "id in capitals": (lambda: changed(id="01930F5E-7C1E-7B1A-9C55-000000000001"), 422, "invalid-value", "/id"),
    "unknown type": (lambda: changed(type=MARK), 422, "invalid-value", "/type"),
    "unknown word": (lambda: changed(decisions=decision(decision=MARK)), 422, "invalid-value", "/data/decisions/0/decision"),
    "time without zone": (lambda: changed(time="2026-11-22T10:00:00"), 422, "invalid-value", "/time"),
    "30 February": (lambda: changed(time="2026-02-30T10:00:00Z"), 422, "invalid-value", "/time"),
    "text too long": (lambda: changed(context=text("x" * 513)), 422, "invalid-value", "/data/context/page"),
    "GPC is no preference": (lambda: changed(signals={"gpc": False}), 422, "invalid-value", "/data/signals/gpc"),
    "GPC as a number": (lambda: changed(signals={"gpc": 1}), 422, "wrong-type", "/data/signals/gpc"),
    "GPC as a float": (lambda: changed(signals={"gpc": 1.0}), 422, "float-not-allowed", "/data/signals/gpc"),
    "a grant in a refusal": (lambda: changed(type="consent.refused"), 422, "contradictory-event", ""),
    "no decision": (lambda: without("data", "decisions"), 422, "contradictory-event", ""),
    "a ground that is not asked": (lambda: changed(decisions=decision(legal_basis="contract")), 422, "contradictory-event", "/data/decisions/0"),
    # the site does not know it
    "another site": (lambda: changed(source="/sites/other.example"), 422, "wrong-source", "/source"),
    "unknown purpose": (lambda: changed(decisions=decision(purpose=MARK)), 422, "unknown-purpose", "/data/decisions/0/purpose"),
    "unknown service": (lambda: changed(decisions=decision(services=[MARK])), 422, "unknown-service", "/data/decisions/0/services"),
    # the caller may not
    "a server's type": (lambda: changed(type="consent.expired", decisions=decision()), 403, "type-not-allowed", "/type"),
    "the service's own type": (lambda: changed(type="subject.erased"), 403, "type-not-allowed", "/type"),
    "a link without proof": (linked_without_proof, 403, "proof-needed", "/data/subject/identifiers"),
}  # fmt: skip
NOT_REPEATED = [MARK, "-somebody-", "30 digits", "9" * 30, "\\u0000", "2026-02-30"]


def assert_silent(said: str) -> None:
    for value in NOT_REPEATED:
        assert value not in said


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_event_alone(shop: Shop, capsys: pytest.CaptureFixture[str], name: str) -> None:
    make, status, problem, pointer = BAD[name]
    answer = await shop.post_raw(make())
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    document = answer.json()
    assert document["type"] == f"/problems/{problem}"
    assert document["status"] == status
    assert document.get("pointer") == pointer
    assert document["title"]
    assert document["detail"]
    assert_silent(answer.text + str(answer.headers) + capsys.readouterr().out)
    assert await shop.inbox() == []


@pytest.mark.parametrize("form", ["lines", "array"])
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_event_among_good_ones(
    shop: Shop, capsys: pytest.CaptureFixture[str], name: str, form: str
) -> None:
    make, status, problem, pointer = BAD[name]
    good = [event_now(2), event_now(3)]
    bodies = [orjson.dumps(good[0]), make(), orjson.dumps(good[1])]
    if form == "lines":
        answer = await shop.post_raw(b"\n".join(bodies), "application/x-ndjson")
    else:
        answer = await shop.post_raw(b"[" + b" , ".join(bodies) + b"]", "application/cloudevents-batch+json")
    assert answer.status_code == 202, answer.text
    first, bad, last = answer.json()["events"]
    assert [first["status"], bad["status"], last["status"]] == ["accepted", "refused", "accepted"]
    assert bad["position"] == 1
    assert (bad["problem"]["type"], bad["problem"]["status"]) == (f"/problems/{problem}", status)
    assert bad["problem"].get("pointer") == pointer
    assert_silent(answer.text + str(answer.headers) + capsys.readouterr().out)
    assert [message.event_id for message in await shop.inbox()] == [event["id"] for event in good]


async def test_every_problem_of_an_event_is_tried() -> None:
    """The table above holds every problem that an event can have by itself."""
    whole_body = {"body-too-large", "too-many-events", "empty-batch", "unsupported-media-type"}
    caller = {"missing-key", "wrong-key", "origin-not-allowed", "too-many-requests", "act-too-old"}
    links = {"capability-not-valid", "link-not-valid", "links-not-configured"}
    elsewhere = {
        "role-not-allowed",
        "id-conflict",
        "not-found",
        "invalid-parameter",
        "not-published-yet",
        "size-not-published",
        "no-consent-stated",
        "receipt-incomplete",
        "notice-not-valid",
    }
    away = {"stream-away", "database-away", "keys-away"}
    # Those of schemas.rights_errors are query's.
    all_of_them = {problem.slug for problem in Problem.__subclasses__() if problem.__module__ == "schemas.errors"}
    tried = {problem for _, _, problem, _ in BAD.values()}
    assert tried | whole_body | caller | elsewhere | links | away == all_of_them


# --- the whole body --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "status", "problem"),
    [
        (b"", "application/json", 422, "malformed-json"),
        (b"[]", "application/json", 422, "empty-batch"),
        (b" [ ] ", "application/cloudevents-batch+json", 422, "empty-batch"),
        (b"\n \r\n", "application/x-ndjson", 422, "empty-batch"),
        (b'[{"a":1}', "application/json", 422, "malformed-json"),
        (b'[{"a":1}]]', "application/json", 422, "malformed-json"),
        (b'[{"a":1},"' + MARK.encode(), "application/json", 422, "malformed-json"),
        (b"{}", "application/cloudevents-batch+json", 422, "malformed-json"),
        (b"[1]", "application/cloudevents+json", 422, "wrong-type"),
        (b"{}", "application/xml", 415, "unsupported-media-type"),
        (b"{}", "", 415, "unsupported-media-type"),
        (b"{}", "application/json-seq", 415, "unsupported-media-type"),
        (b"[" + b",".join([b"1"] * (BATCH_EVENTS_MAX + 1)) + b"]", "application/json", 413, "too-many-events"),
        (b"1\n" * (BATCH_EVENTS_MAX + 1), "application/x-ndjson", 413, "too-many-events"),
        (b"[" + b"," * 900_000 + b"]", "application/json", 413, "too-many-events"),
        (b"[" + b'{"' * 400_000 + b"]", "application/json", 422, "malformed-json"),
        (b"[" * 900_000, "application/json", 422, "malformed-json"),
        (b'["' + b'\\"' * 500_000, "application/json", 422, "malformed-json"),
        (b" " * (BODY_BYTES_MAX + 1), "application/json", 413, "body-too-large"),
    ],
)
async def test_a_body_that_is_no_batch(
    shop: Shop, capsys: pytest.CaptureFixture[str], body: bytes, content_type: str, status: int, problem: str
) -> None:
    answer = await shop.post_raw(body, content_type)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert_silent(answer.text + capsys.readouterr().out)
    assert await shop.inbox() == []


async def test_a_compressed_body_is_not_read(shop: Shop) -> None:
    answer = await shop.post_raw(b"x", **{"content-encoding": "gzip"})
    assert answer.json()["type"] == "/problems/unsupported-media-type"


async def test_a_body_without_a_stated_length_is_cut_off_at_the_limit(shop: Shop) -> None:
    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * 65_536

    answer = await shop.post_raw(chunks())
    assert answer.json()["type"] == "/problems/body-too-large"


async def test_a_batch_of_which_nothing_is_taken_is_422(shop: Shop) -> None:
    answer = await shop.post_raw(b"[{},{}]")
    assert answer.status_code == 422
    assert [event["problem"]["type"] for event in answer.json()["events"]] == ["/problems/missing-field"] * 2


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_not_allowed(shop: Shop, method: str) -> None:
    answer = await shop.client.request(method, "/v1/events")
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]


async def test_a_mistake_of_ours_says_nothing_of_the_event(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any, **_options: Any) -> None:
        raise KeyError(MARK)

    monkeypatch.setattr("services.ingest.intake.seal", broken)
    answer = await shop.post_raw(changed())
    assert answer.status_code == 500
    incident = answer.json()["incident"]
    said = capsys.readouterr().out
    assert incident in said
    assert "KeyError" in said
    assert_silent(answer.text + said)
