"""The arithmetic of deliveries, and what a signature is worth; no clock, no socket."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc import jwe
from joserfc.jwk import ECKey, OKPKey
from standardwebhooks import Webhook

from schemas.triggers import read_answer
from services.keys.jwe import ALGORITHM, ENCRYPTION, is_sealed_to, key_id, public_jwk, seal_to
from services.keys.webhooks import is_signed, signed_headers, webhook_secret, written_secret
from services.ledger.downstream.schedule import ends_at, next_attempt

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NEVER = NOW + timedelta(days=1000)
SECRET = webhook_secret(bytes(32), "crm", 1)


def test_pauses_grow_to_half_a_day_and_stay() -> None:
    pauses = [next_attempt(n, NOW, NEVER, chance=lambda: 0.0) for n in range(1, 10)]
    assert [round((after - NOW).total_seconds()) for after in pauses if after is not None] == [
        5,
        30,
        300,
        1800,
        7200,
        21600,
        43200,
        43200,
        43200,
    ]
    assert next_attempt(1, NOW, NEVER, chance=lambda: 1.0) == NOW + timedelta(seconds=6)


def test_the_last_attempt_is_at_the_end_and_none_comes_after() -> None:
    soon = NOW + timedelta(hours=3)
    assert next_attempt(7, NOW, soon) == soon
    assert next_attempt(8, soon, soon) is None


def test_a_delivery_is_tried_for_three_days_at_least_but_not_past_its_docket() -> None:
    days = {n: NOW + timedelta(days=n) for n in (1, 2, 3, 30, 60)}
    assert ends_at(NOW, None, None) == days[3]
    assert ends_at(NOW, days[1], days[30]) == days[3]
    assert ends_at(NOW, days[60], days[30]) == days[30]
    assert ends_at(NOW, days[1], days[2]) == days[2]


def test_the_library_of_standard_webhooks_takes_our_signatures_and_we_take_its() -> None:
    body, now = b'{"type": "x"}', int(time.time())
    headers = signed_headers([SECRET], "msg-1", now, body)
    assert Webhook(written_secret(SECRET)).verify(body, headers) == {"type": "x"}
    theirs = Webhook(written_secret(SECRET)).sign("msg-1", datetime.fromtimestamp(now, UTC), body.decode())
    assert is_signed(SECRET, headers | {"webhook-signature": f"v1a,AAAA {theirs}"}, body, now)


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": "msg-2"},
        {"webhook-id": ""},
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,****"},
        {"webhook-signature": "v1," + "A" * 43 + "="},
    ],
)
def test_anything_else_is_not_signed(changes: dict[str, str]) -> None:
    headers = signed_headers([SECRET], "msg-1", 1_000_000, b"body")
    assert is_signed(SECRET, headers, b"body", 1_000_000 + 299)
    assert not is_signed(SECRET, headers, b"body", 1_000_000 + 301)
    assert not is_signed(SECRET, headers, b"bodY", 1_000_000)
    assert not is_signed(webhook_secret(bytes(32), "crm", 2), headers, b"body", 1_000_000)
    assert not is_signed(SECRET, headers | changes, b"body", 1_000_000)


def test_every_system_and_number_has_a_secret_of_its_own() -> None:
    made = {webhook_secret(key, system, n) for key in (bytes(32), b"k" * 32) for system in "ab" for n in (1, 2)}
    assert len(made) == 8


@pytest.mark.parametrize(
    "key", [ECKey.generate_key("P-256"), ECKey.generate_key("P-521"), OKPKey.generate_key("X25519")]
)
def test_what_is_sealed_to_a_key_opens_with_it_alone(key: ECKey | OKPKey) -> None:
    jwk = public_jwk(key.as_dict(private=False) | {"use": "enc"})
    assert set(json.loads(jwk)) <= {"kty", "crv", "x", "y"}
    sealed = seal_to(jwk, {"docket": 1})
    assert is_sealed_to(sealed, key_id(jwk))
    assert not is_sealed_to(sealed, key_id(public_jwk(ECKey.generate_key("P-256").as_dict(private=False))))
    opened = jwe.decrypt_compact(sealed, key, algorithms=[ALGORITHM, ENCRYPTION])
    assert json.loads(opened.plaintext or b"") == {"docket": 1}


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43},
        {"kty": "EC", "crv": "secp256k1", "x": "A" * 43, "y": "A" * 43},
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {"kty": "EC", "crv": "P-256", "x": 1, "y": 2},
        {"kty": ["EC"]},
        ECKey.generate_key("P-256").as_dict(private=True),
    ],
)
def test_a_key_that_nothing_can_be_sealed_to_is_refused(stated: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="JWK"):
        public_jwk(stated)


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        ({"outcome": "done"}, True),
        ({"outcome": "done", "reason": "twice over"}, True),
        ({"outcome": "not_feasible", "reason": "the tape is at the bank"}, True),
        ({"outcome": "not_feasible"}, False),
        ({"outcome": "refused", "reason": ""}, False),
        ({"outcome": "refused", "reason": "x" * 501}, False),
        ({"outcome": "overdue"}, False),
        ({"outcome": "done", "who": "eve"}, False),
        ({"outcome": ["done"]}, False),
        ("done", False),
        (None, False),
    ],
)
def test_what_is_an_answer(said: Any, is_one: bool) -> None:
    assert (read_answer(said) is not None) == is_one
