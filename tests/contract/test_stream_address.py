"""SAYSO_STREAM: what each address stands for, and that a wrong one is refused with advice."""

from collections.abc import AsyncIterator

import pytest

from schemas.errors import ConfigurationError
from services.postgres import Pool, create_pool
from services.stream.address import kafka_bootstrap, make_publisher, make_sources
from services.stream.fallback import FallbackPublisher
from services.stream.inbox import InboxPublisher, InboxSource
from services.stream.kafka_source import KafkaSource
from tests.support.databases import Database

pytestmark = pytest.mark.contract


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await create_pool(database.dsn(), role="sayso_ledger", size=1, application="test")
    yield pool
    await pool.close()


@pytest.mark.parametrize(
    ("address", "bootstrap"),
    [
        ("inbox:", None),
        ("kafka://127.0.0.1:9092", "127.0.0.1:9092"),
        ("kafka://kafka-1.example:9092,kafka-2.example:9093", "kafka-1.example:9092,kafka-2.example:9093"),
        ("kafka://[::1]:9092", "[::1]:9092"),
    ],
)
def test_an_address_names_its_brokers(address: str, bootstrap: str | None) -> None:
    assert kafka_bootstrap(address) == bootstrap


@pytest.mark.parametrize(
    "address",
    [
        "",
        "inbox",
        "inbox:x",
        "kafka:",
        "kafka://",
        "kafka://host",
        "kafka://host:",
        "kafka://a:1,",
        "http://a:1",
        "a:1",
    ],
)
def test_a_wrong_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="correct it"):
        kafka_bootstrap(address)


async def test_each_address_makes_its_parts(pool: Pool) -> None:
    assert isinstance(make_publisher("inbox:", pool=pool), InboxPublisher)
    assert isinstance(make_publisher("kafka://127.0.0.1:9", pool=pool), FallbackPublisher)
    assert [type(source) for source in make_sources("inbox:", pool=pool)] == [InboxSource]
    # The inbox is drained in Kafka mode too: it is where ingest goes when the broker is away.
    assert [type(source) for source in make_sources("kafka://127.0.0.1:9", pool=pool)] == [KafkaSource, InboxSource]
