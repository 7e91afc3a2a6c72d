"""What every place of buckets promises (services.ingest.limits.Buckets): in this process, and in a real Redis."""

import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from schemas.errors import ConfigurationError, TooManyRequests
from services.ingest.limits import Buckets, Limits, LocalBuckets, Rule, Rules
from services.ingest.shared_limits import SharedBuckets, read_redis_url
from services.observability import configure_logging
from tests.support.redis import RedisServer
from tests.support.wait import until

pytestmark = pytest.mark.contract

NONE = Rule(0, 1)
# Two seconds to fill.
RULE = Rule(5, 10)
FEW = Rule(1, 2)


@pytest.fixture(scope="module")
async def redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    await server.start()
    yield server
    server.stop()


@pytest.fixture(params=["local", "redis"])
async def buckets(request: pytest.FixtureRequest, redis: RedisServer) -> AsyncIterator[Buckets]:
    if request.param == "local":
        yield LocalBuckets()
        return
    redis.ask("FLUSHALL")
    shared = SharedBuckets(redis.url)
    yield shared
    shared.close()


class TestBuckets:
    """One class over both."""

    async def test_a_burst_passes_and_one_more_does_not(self, buckets: Buckets) -> None:
        bucket = [(b"one", RULE)]
        for _ in range(RULE.burst):
            assert await buckets.take(bucket, 1) == 0.0
        wait_s = await buckets.take(bucket, 1)
        assert 0.0 < wait_s <= 2 * RULE.burst / RULE.per_s
        assert await buckets.take([(b"two", RULE)], 1) == 0.0

    async def test_it_fills_again(self, buckets: Buckets) -> None:
        bucket = [(b"one", Rule(10, 10))]
        assert await buckets.take(bucket, 10) == 0.0
        assert await buckets.take(bucket, 1) > 0.0

        async def passes() -> bool:
            return await buckets.take(bucket, 1) == 0.0

        await until(passes, what="a bucket of ten a second lets one more through", deadline_s=5)

    async def test_a_weight_is_taken_whole_or_not(self, buckets: Buckets) -> None:
        bucket = [(b"one", RULE)]
        assert await buckets.take(bucket, 8) == 0.0
        assert await buckets.take(bucket, 4) > 0.0
        assert await buckets.take(bucket, 1) == 0.0

    async def test_the_fullest_of_several_decides(self, buckets: Buckets) -> None:
        assert await buckets.take([(b"key", FEW), (b"net", RULE)], 2) == 0.0
        assert await buckets.take([(b"key", FEW), (b"net", RULE)], 1) > 0.0
        assert await buckets.take([(b"other", FEW), (b"net", RULE)], 1) == 0.0


async def test_processes_share_what_is_in_redis(redis: RedisServer) -> None:
    redis.ask("FLUSHALL")
    rules = Rules(key=NONE, network=NONE, unconfirmed=Rule(0.1, 3), server=NONE)
    shared = [SharedBuckets(redis.url) for _ in range(2)]
    one, two = (Limits(rules, place) for place in shared)
    for limits in (one, two, one):
        await limits.admit_unconfirmed(b"n" * 16)
    with pytest.raises(TooManyRequests) as refusal:
        await two.admit_unconfirmed(b"n" * 16)
    assert refusal.value.retry_after_s is not None
    assert refusal.value.retry_after_s >= 1
    # What Redis holds ends by itself.
    assert b"sayso-limits" in redis.ask("KEYS", "*")
    for place in shared:
        place.close()


@pytest.fixture
def _logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logging("ingest")
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logs")
async def test_without_redis_each_process_counts_for_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = RedisServer(tmp_path)
    await server.start()
    monkeypatch.setattr("services.ingest.shared_limits.AWAY_S", 0.1)
    shared = SharedBuckets(server.url)
    limits = Limits(Rules(key=NONE, network=NONE, unconfirmed=Rule(0.1, 2), server=NONE), shared)
    await limits.admit_unconfirmed(b"a")
    server.stop()
    # Nobody is refused because Redis is away, and our own buckets go on.
    await limits.admit_unconfirmed(b"a")
    with pytest.raises(TooManyRequests):
        await limits.admit_unconfirmed(b"a")
    began = time.monotonic()
    for number in range(200):
        await limits.admit_unconfirmed(b"b%d" % number)
    assert time.monotonic() - began < 2
    assert "shared rate limits away" in capsys.readouterr().out

    await server.start()

    async def counts() -> bool:
        await shared.take([(b"c", RULE)], 1)
        return b"sayso-limits" in server.ask("KEYS", "*")

    await until(counts, what="Redis is asked again once it is there")
    shared.close()
    server.stop()


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("redis://127.0.0.1:6379/0\n", 0o600, None),
        ("rediss://:secret@redis.example/1", 0o400, None),
        ("redis://127.0.0.1:6379/0", 0o644, "open to others"),
        ("http://redis.example", 0o600, "does not hold an address"),
        (None, 0o600, "cannot read the file"),
    ],
)
def test_the_address_is_a_secret_in_a_file(tmp_path: Path, content: str | None, mode: int, said: str | None) -> None:
    path = tmp_path / "redis-url"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    if said is None:
        assert read_redis_url(path) == (content or "").strip()
        return
    with pytest.raises(ConfigurationError, match=said) as refusal:
        read_redis_url(path)
    assert "redis.example" not in str(refusal.value)
