"""What a transport promises (design, section 3). Order holds within one transport only, and nothing depends on it.

Both implementations, kafka and inbox, pass tests/contract/test_stream.py; there is no third.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from services.postgres import PooledConnection

INBOX: Final = "inbox"


class Copy(NamedTuple):
    """Where one copy of a message was put: ("inbox", controller, seq) or (Kafka topic, partition, offset)."""

    transport: str
    partition: int
    seq: int


class Message(NamedTuple):
    """One sealed event. `epoch` is the encoded epoch header; `value` the sealed body (schemas.sealing).

    `controller` is 0 where a source does not know it (Kafka): the reader finds it by `log`.
    """

    controller: int
    log: str
    event_id: str
    site: str
    epoch: bytes
    value: bytes


class Received(NamedTuple):
    """A message as a source read it. Headers that cannot be read leave `message` None and the raw bytes in `raw`."""

    copy: Copy
    message: Message | None
    raw: bytes = b""


class Publisher(Protocol):
    """The sending side, used by ingest and query.

    * `publish` returns only when every message is durable: in Kafka acknowledged by all in-sync replicas, in the inbox
      committed with fsync. The copies come back in the order of the messages.
    * If it raises StreamUnavailable, some of the messages may still become durable later: both copies may arrive, and
      the ledger's dedupe settles it. The caller may publish the same messages elsewhere or again.
    * Concurrent calls are gathered into one batch a partition; each is answered when its own batch is durable.
    """

    async def start(self) -> None:
        """Connect. Raises StreamUnavailable if the transport is away; may be called again."""

    async def publish(self, messages: Sequence[Message]) -> list[Copy]:
        """Make all messages durable. Raises StreamUnavailable."""

    async def stop(self) -> None:
        """Send what is gathered, then close."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one source, read but not yet taken. `claim` takes them inside the recording transaction."""

    received: Sequence[Received]
    # Kafka only: partition -> (offset this batch began at, offset after it).
    spans: dict[int, tuple[int, int]]


class Source(Protocol):
    """The reading side, used by the ledger alone.

    * `read` returns messages in the transport's order, starting where the database says, and may return the same
      messages again after a crash, a rebalance or a lost claim.
    * `claim` runs inside the recording transaction. It takes the batch away from every other reader, atomically with
      what that transaction commits: rolled back, the batch is there again; committed, nobody ever gets it again.
      It returns the messages that are really this reader's. It raises PositionMoved when another ledger was faster.
    * `rewind` goes back to what the database says, after a transaction that did not commit.
    * Neither loses a message whose publisher was told it is durable, whatever is killed meanwhile.
    """

    async def start(self) -> None:
        """Connect. Raises StreamUnavailable if the transport is away."""

    async def read(self, most: int, wait_s: float) -> Batch | None:
        """Up to `most` messages, or None after `wait_s` without any. One read at a time.

        Raises StreamUnavailable (read again later), and PositionInvalid once for each partition that stops until an
        operator decides (read again at once: the other partitions go on).
        """

    async def claim(self, connection: PooledConnection, batch: Batch) -> Sequence[Received]:
        """Take the batch inside the caller's transaction. Raises PositionMoved, PositionInvalid."""

    async def rewind(self) -> None:
        """Forget what was read ahead; the next read starts from the database's positions."""

    async def stop(self) -> None:
        """Close; what was read and not claimed is read again by the next ledger."""
