"""The cache between requests and Postgres: how old an answer may be, and how few reads it costs."""

import asyncio
from collections.abc import Iterator

import pytest

from schemas.errors import LedgerAway
from services.ingest import lookups
from services.ingest.lookups import FORCED_INTERVAL_S, FRESH_S, NEW_NAMES_PER_S, READS_MAX, STALE_S, TRUST_S, Lookups

pytestmark = pytest.mark.unit


class Clock:
    """time.monotonic and the pauses that the cache makes, without waiting."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Postgres:
    """What the cache reads from; `away` makes every read fail."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.away = False
        self.reads: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def read(self, name: str) -> str | None:
        self.reads.append(name)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)  # let the other callers come while this read is under way
        self.at_once -= 1
        if self.away:
            raise ConnectionRefusedError
        return self.rows.get(name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(lookups, "time", clock)
    return clock  # type: ignore[return-value] # pytest takes a plain return as well


@pytest.fixture
def postgres() -> Postgres:
    return Postgres()


@pytest.fixture
def cache(postgres: Postgres, clock: Clock) -> Lookups[str, str]:
    return Lookups("names", postgres.read)


async def settled() -> None:
    """Let what runs in the background end."""
    for _ in range(10):
        await asyncio.sleep(0)  # a turn of the loop, no time


async def test_many_callers_cost_one_read(cache: Lookups[str, str], postgres: Postgres) -> None:
    postgres.rows["a"] = "one"
    assert cache.fresh("a") is None
    assert await asyncio.gather(*(cache.find("a") for _ in range(50))) == ["one"] * 50
    assert cache.fresh("a") == "one"
    assert postgres.reads == ["a"]


async def test_what_is_not_there_is_remembered_too(cache: Lookups[str, str], postgres: Postgres) -> None:
    assert [await cache.find("x") for _ in range(5)] == [None] * 5
    assert postgres.reads == ["x"]


async def test_an_answer_is_renewed_in_the_background_and_never_trusted_too_long(
    cache: Lookups[str, str], postgres: Postgres, clock: Clock
) -> None:
    postgres.rows["a"] = "old"
    await cache.find("a")
    postgres.rows["a"] = "new"
    clock.now += FRESH_S + 1
    assert await cache.find("a") == "old"
    await settled()
    assert await cache.find("a") == "new"
    del postgres.rows["a"]
    clock.now += TRUST_S + 1
    # Nobody asked meanwhile: a revoked key must not work once more.
    assert await cache.find("a") is None


async def test_with_postgres_away_what_is_known_goes_on_for_a_while(
    cache: Lookups[str, str], postgres: Postgres, clock: Clock
) -> None:
    postgres.rows["a"] = "one"
    await cache.find("a")
    postgres.away = True
    clock.now += STALE_S - 1
    assert await cache.find("a") == "one"
    reads = len(postgres.reads)
    assert [await cache.find("a") for _ in range(20)] == ["one"] * 20
    assert len(postgres.reads) == reads, "one failed read is enough for a second"
    clock.now += 3
    with pytest.raises(LedgerAway) as away:
        await cache.find("a")
    assert away.value.retry_after_s is not None
    with pytest.raises(LedgerAway):
        await cache.find("never seen")


async def test_guessed_names_are_held_back_and_known_ones_are_not(
    cache: Lookups[str, str], postgres: Postgres, clock: Clock
) -> None:
    postgres.rows["known"] = "one"
    await cache.find("known")
    guesses = await asyncio.gather(*(cache.find(f"guess {n}") for n in range(500)), return_exceptions=True)
    assert sum(isinstance(guess, LedgerAway) for guess in guesses) >= 500 - NEW_NAMES_PER_S
    assert len(postgres.reads) <= NEW_NAMES_PER_S + 1
    assert postgres.most_at_once <= READS_MAX
    assert await cache.find("known") == "one"
    clock.now += 1
    assert await cache.find("another") is None


async def test_forced_reads_are_shared_and_spaced(postgres: Postgres) -> None:
    """On the real clock: the pause between two forced reads of a name is what protects Postgres."""
    cache = Lookups("names", postgres.read)
    postgres.rows["a"] = "old"
    await cache.find("a")
    postgres.rows["a"] = "new"
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert set(await asyncio.gather(*(cache.find_anew("a") for _ in range(50)))) == {"new"}
    assert loop.time() - began >= FORCED_INTERVAL_S * 0.9
    assert len(postgres.reads) <= 3
    postgres.away = True
    with pytest.raises(LedgerAway):
        await cache.find_anew("a")


async def test_an_error_that_is_a_mistake_is_not_taken_for_an_outage(clock: Clock) -> None:
    async def broken(_name: str) -> str | None:
        raise KeyError("a column that is not there")

    cache: Lookups[str, str] = Lookups("names", broken)
    with pytest.raises(KeyError):
        await cache.find("a")


async def test_the_cache_is_bounded(
    cache: Lookups[str, str], postgres: Postgres, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "ENTRIES_MAX", 10)
    for n in range(30):
        await cache.find(f"name {n}")
    assert len(cache._entries) == 10
