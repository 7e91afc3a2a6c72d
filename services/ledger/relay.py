"""The outbox to Kafka: ids and places of recorded events, on sayso.records.v1, at least once.

Invariant: a row leaves the outbox only after the broker acknowledged it; a crash between the two sends it twice.
"""

from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.ledger.store import Store
from services.observability import describe, get_logger
from services.postgres import Pool

ROWS_MAX: Final = 100

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
                for row in rows:
                    await producer.send_and_wait(row["topic"], row["value"], key=row["key"].encode())
                if rows:
                    await store.empty_outbox(rows)
                return len(rows)
        except KafkaError as error:
            _log.warning("The announcement of records waits: the broker is away.", **describe(error))
            await self.stop()
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
