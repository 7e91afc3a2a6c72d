"""SAYSO_STREAM: "inbox:" or "kafka://HOST:PORT[,HOST:PORT]", and the publisher and sources it stands for."""

import re
from typing import Final

from schemas.errors import ConfigurationError
from schemas.topics import EVENTS_TOPIC
from services.postgres import Pool
from services.stream.fallback import FallbackPublisher
from services.stream.inbox import InboxPublisher, InboxSource
from services.stream.kafka_publisher import KafkaPublisher
from services.stream.kafka_source import LEDGER_GROUP, KafkaSource
from services.stream.protocol import Publisher, Source

INBOX_ADDRESS: Final = "inbox:"
KAFKA_PREFIX: Final = "kafka://"
_HOSTS = re.compile(
    r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}(?:,(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5})*"
)


def kafka_bootstrap(address: str) -> str | None:
    """The bootstrap servers of a stream address, None for the inbox. Raises ConfigurationError."""
    if address == INBOX_ADDRESS:
        return None
    bootstrap = address.removeprefix(KAFKA_PREFIX)
    if bootstrap == address or _HOSTS.fullmatch(bootstrap) is None:
        raise ConfigurationError(
            f'SAYSO_STREAM is neither "{INBOX_ADDRESS}" nor "{KAFKA_PREFIX}HOST:PORT[,HOST:PORT]": correct it'
        )
    return bootstrap


def make_publisher(address: str, *, pool: Pool, topic: str = EVENTS_TOPIC) -> Publisher:
    """What ingest and query publish with; `pool` has the service's role. Raises ConfigurationError."""
    bootstrap = kafka_bootstrap(address)
    inbox = InboxPublisher(pool)
    if bootstrap is None:
        return inbox
    return FallbackPublisher(KafkaPublisher(bootstrap, topic=topic), inbox)


def make_sources(address: str, *, pool: Pool, topic: str = EVENTS_TOPIC, group: str = LEDGER_GROUP) -> list[Source]:
    """All that a ledger reads; the inbox always, because ingest falls back to it. Raises ConfigurationError."""
    bootstrap = kafka_bootstrap(address)
    inbox = InboxSource(pool)
    if bootstrap is None:
        return [inbox]
    return [KafkaSource(bootstrap, topic=topic, group=group, pool=pool), inbox]
