"""Where the partitions of a topic begin and end, for whoever compares positions with them; reads no message."""

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient

from schemas.errors import StreamUnavailable
from services.stream.kafka_client import CONNECTION_FAILED, close_consumer, cluster_id

_ASK_S_MAX: Final = 15.0


async def topic_offsets(bootstrap: str, topic: str) -> tuple[str, dict[int, tuple[int, int]]]:
    """The cluster's id, and by partition its first offset and the one after its last; empty without the topic.

    Raises StreamUnavailable.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        async with asyncio.timeout(_ASK_S_MAX):
            cluster = await cluster_id(bootstrap)
            parts = [TopicPartition(topic, number) for number in await _partitions(bootstrap, topic)]
            await consumer.start()
            begins = await consumer.beginning_offsets(parts)
            ends = await consumer.end_offsets(parts)
    except CONNECTION_FAILED as error:
        raise StreamUnavailable(f"kafka: cannot ask {bootstrap} for offsets ({type(error).__name__})") from error
    finally:
        await close_consumer(consumer)
    return cluster, {part.partition: (begins[part], ends[part]) for part in parts}


async def _partitions(bootstrap: str, topic: str) -> list[int]:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
        return sorted((await client.fetch_all_metadata()).partitions_for_topic(topic) or ())
    finally:
        await client.close()
