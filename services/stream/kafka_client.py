"""What publishing to Kafka and reading it share: which failures mean "away", and what aiokafka leaves to its caller."""

import asyncio
import logging
from collections.abc import Collection
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, ProducerClosed

from schemas.errors import ConfigurationError

CONNECTION_FAILED: Final = (KafkaError, OSError, TimeoutError)
CLOSE_TIMEOUT_S: Final = 10.0
REQUEST_TIMEOUT_MS: Final = 5000

_log = logging.getLogger(__name__)


def require_topic(topic: str, existing: Collection[str]) -> None:
    """Raise ConfigurationError if the cluster lacks the topic; Sayso never creates one by writing to it."""
    if topic not in existing:
        raise ConfigurationError(f"Kafka has no topic {topic}: create it with deploy/kafka/topics.py, then start again")


async def cluster_id(bootstrap: str) -> str:
    """The cluster's own id. Topic ids are not to be had: aiokafka speaks metadata up to version 5."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        return str((await admin.describe_cluster())["cluster_id"])
    finally:
        await admin.close()


async def close_producer(producer: Any) -> None:
    """Close it even while the broker is away."""
    # aiokafka's stop() waits for acknowledgements that may never come and has no public way to give them up. The sender
    # ends first: it would stumble over a batch that was failed while its request is on the way.
    sender, pending = producer._sender, producer._message_accumulator  # noqa: SLF001 - see above
    if sender.sender_task is not None:
        sender.sender_task.cancel()
        await asyncio.wait([sender.sender_task], timeout=CLOSE_TIMEOUT_S)
    for batches in pending._batches.values():  # noqa: SLF001 - see above
        for batch in batches:
            # Nobody waits for it to leave the queue: an error there would only be logged as never retrieved.
            batch.drain_ready()
    pending.fail_all(ProducerClosed())
    await _close("producer", producer)


async def close_consumer(consumer: Any) -> None:
    """Close it even while the broker is away."""
    await _close("consumer", consumer)


async def _close(what: str, client: Any) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await client.stop()
    except CONNECTION_FAILED as error:
        _log.warning("kafka %s closed with %s", what, type(error).__name__)
