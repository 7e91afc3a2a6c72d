"""The outbox to Kafka: ids and places of recorded events, on sayso.records.v1, at least once.

Invariant: a row leaves the outbox only after the broker acknowledged it; a crash between the two sends it twice.
"""

import asyncio
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.ledger.store import Store
from services.observability import describe, get_logger
from services.postgres import Pool

ROWS_MAX: Final = 100
SEND_S: Final = 5.0
PAUSE_S: Final = 5.0

_log = get_logger()


class Relay:
    """Publishes the outbox; several may run, each takes rows that no other has locked."""

    def __init__(self, pool: Pool, bootstrap: str) -> None:
        """`bootstrap` is host:port[,host:port]."""
        self._pool = pool
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None

    async def publish(self) -> int:
        """Publish some rows; 0 when there is none or the broker is away."""
        try:
            producer = await self._connected()
            async with self._pool.acquire() as connection, connection.transaction():
                store = Store(connection)
                rows = await store.read_outbox(ROWS_MAX)
                async with asyncio.timeout(SEND_S):
                    sent = [await producer.send(r["topic"], r["value"], key=r["key"].encode()) for r in rows]
                    await asyncio.gather(*sent)
                if rows:
                    await store.empty_outbox(rows)
                return len(rows)
        except (KafkaError, TimeoutError) as error:
            _log.warning("The announcement of records waits: broker or topic is away.", **describe(error))
            await self.stop()
            await asyncio.sleep(PAUSE_S)
            return 0

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True)
            try:
                await producer.start()
            except KafkaError:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def stop(self) -> None:
        """Close; the next `publish` connects again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()
