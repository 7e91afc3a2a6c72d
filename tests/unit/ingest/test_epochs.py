"""Which key seals: a new epoch after an hour or when it is full, none while the ledger would not take it."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schemas.errors import StreamAway
from schemas.event_types import INGEST_TYPES
from schemas.limits import BATCH_EVENTS_MAX
from schemas.sealing import EPOCH_LIFE_S, EPOCH_MESSAGES_MAX, EpochHeader, key_id
from services.stream import epochs
from services.stream.epochs import Epochs

pytestmark = pytest.mark.unit


class Rows:
    """What the two statements return."""

    def __init__(self) -> None:
        self.types: list[str] | None = sorted(INGEST_TYPES)
        self.sealing_key: bytes | None = new_key()

    async def fetchval(self, statement: str, *_args: Any) -> Any:
        return self.types if "publishers" in statement else self.sealing_key


class Clock:
    def __init__(self) -> None:
        self.ns = 1_795_341_600_000_000_000

    def time_ns(self) -> int:
        return self.ns


def new_key() -> bytes:
    return X25519PrivateKey.generate().public_key().public_bytes_raw()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(epochs, "time", clock)
    return clock


@pytest.fixture
def rows() -> Rows:
    return Rows()


async def begun(rows: Rows) -> Epochs:
    made = Epochs(Ed25519PrivateKey.generate(), INGEST_TYPES)
    await made.refresh(rows)  # type: ignore[arg-type] # the two calls it makes of a pool
    return made


async def test_one_epoch_serves_until_its_hour_is_over(rows: Rows, clock: Clock) -> None:
    made = await begun(rows)
    first = made.current()
    clock.ns += (EPOCH_LIFE_S - 1) * 1_000_000_000
    assert made.current() is first
    clock.ns += 1_000_000_000
    second = made.current()
    assert second is not first
    assert second.id != first.id


async def test_an_epoch_never_seals_more_than_it_may(rows: Rows, clock: Clock) -> None:
    made = await begun(rows)
    first = made.current()
    first.sealed = EPOCH_MESSAGES_MAX - BATCH_EVENTS_MAX
    assert made.current() is first, "a whole batch still fits"
    first.sealed += 1
    assert made.current() is not first


async def test_a_new_sealing_key_begins_a_new_epoch(rows: Rows, clock: Clock) -> None:
    made = await begun(rows)
    first = made.current()
    await made.refresh(rows)  # type: ignore[arg-type] # as above
    assert made.current() is first
    rows.sealing_key = new_key()
    await made.refresh(rows)  # type: ignore[arg-type] # as above
    header = EpochHeader.decode(made.current().header)
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    assert header.sealing_key == key_id(X25519PublicKey.from_public_bytes(rows.sealing_key))


@pytest.mark.parametrize("lost", ["registration", "types", "sealing key"])
async def test_nothing_is_sealed_that_the_ledger_would_set_aside(rows: Rows, clock: Clock, lost: str) -> None:
    made = await begun(rows)
    assert made.missing is None
    made.current()
    match lost:
        case "registration":
            rows.types = None
        case "types":
            rows.types = ["consent.given"]
        case _:
            rows.sealing_key = None
    await made.refresh(rows)  # type: ignore[arg-type] # as above
    assert made.missing is not None
    with pytest.raises(StreamAway):
        made.current()
    rows.types, rows.sealing_key = sorted(INGEST_TYPES), new_key()
    await made.refresh(rows)
    assert made.current()


def test_before_the_first_look_nothing_is_sealed() -> None:
    with pytest.raises(StreamAway):
        Epochs(Ed25519PrivateKey.generate(), INGEST_TYPES).current()
