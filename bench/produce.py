"""The limit of row 2: a raw aiokafka producer sending the bytes that ingest sends; acks=all, idempotent.

`python -m bench.produce BOOTSTRAP TOPIC FILE HOW`: `batches` fills create_batch and sends it with send_batch, as ingest
does; `single` calls send for every message, as most programs do. Load, connect, warm up, say ready, wait for a line.
"""

import asyncio
import json
import pickle
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaProducer

from services.stream.kafka_messages import headers_of, key_of
from services.stream.kafka_publisher import BATCH_BYTES_MAX
from services.stream.protocol import Message

Record = tuple[bytes, bytes, list[tuple[str, bytes]]]


def records_of(messages: Sequence[Message]) -> list[Record]:
    """Key, value and headers, as ingest publishes them."""
    return [(key_of(message.log), message.value, headers_of(message)) for message in messages]


async def in_batches(producer: AIOKafkaProducer, topic: str, partition: int, records: Sequence[Record]) -> None:
    acknowledged = []
    batch = producer.create_batch()
    for key, value, headers in records:
        if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
            acknowledged.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers)
    acknowledged.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*acknowledged)


async def one_by_one(producer: AIOKafkaProducer, topic: str, partition: int, records: Sequence[Record]) -> None:
    acknowledged = [
        await producer.send(topic, value, key=key, partition=partition, headers=headers)
        for key, value, headers in records
    ]
    await asyncio.gather(*acknowledged)


async def run(bootstrap: str, topic: str, records: Sequence[Record], how: str) -> float:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES_MAX
    )
    send = in_batches if how == "batches" else one_by_one
    await producer.start()
    try:
        await send(producer, topic, 0, records[:1000])
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        started = time.perf_counter()
        await send(producer, topic, 0, records)
        return time.perf_counter() - started
    finally:
        await producer.stop()


if __name__ == "__main__":
    bootstrap, topic, file, how = sys.argv[1:]
    records: list[Record] = pickle.loads(Path(file).read_bytes())  # noqa: S301 - written by the bench a moment ago
    print(json.dumps({"s": uvloop.run(run(bootstrap, topic, records, how))}), flush=True)
    # Until the parent has read what this process cost: it goes with the process.
    sys.stdin.read()
