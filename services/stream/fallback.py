"""Where ingest publishes when there is a broker: Kafka first, the inbox when Kafka does not acknowledge in time.

A breaker keeps requests from waiting for a broker that is away: open, they go straight to the inbox; after `open_s` one
call probes Kafka while the others still go to the inbox. Both copies of a message may arrive; the dedupe settles it.
"""

import logging
from collections.abc import Sequence
from enum import StrEnum
from time import monotonic
from typing import Final

from schemas.errors import StreamUnavailable
from services.stream.protocol import Copy, Message, Publisher

OPEN_S: Final = 10.0

_log = logging.getLogger(__name__)


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class FallbackPublisher:
    """The Publisher over Kafka and the inbox; raises StreamUnavailable only when neither took the messages.

    `state` and `diverted` (messages put into the inbox since start) are for metrics and health.
    """

    def __init__(self, primary: Publisher, inbox: Publisher, *, open_s: float = OPEN_S) -> None:
        self._primary = primary
        self._inbox = inbox
        self._open_s = open_s
        self._open_until = 0.0
        self.state = BreakerState.CLOSED
        self.diverted = 0

    async def start(self) -> None:
        """Kafka may be away; Postgres may not, because nothing else can be answered without it either."""
        await self._inbox.start()
        try:
            await self._primary.start()
        except StreamUnavailable as error:
            self._open(error)

    async def publish(self, messages: Sequence[Message]) -> list[Copy]:
        if self._admit():
            try:
                copies = await self._primary.publish(messages)
            except StreamUnavailable as error:
                self._open(error)
            except BaseException:
                # A caller that went away says nothing about Kafka: let another one probe.
                if self.state is BreakerState.HALF_OPEN:
                    self.state = BreakerState.OPEN
                raise
            else:
                self._close()
                return copies
        copies = await self._inbox.publish(messages)
        self.diverted += len(messages)
        return copies

    async def stop(self) -> None:
        await self._primary.stop()
        await self._inbox.stop()

    def _admit(self) -> bool:
        """Whether this call may try Kafka; an open breaker admits one probe once its time is over."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN and monotonic() >= self._open_until:
            self.state = BreakerState.HALF_OPEN
            return True
        return False

    def _open(self, error: StreamUnavailable) -> None:
        if self.state is not BreakerState.OPEN:
            _log.warning("publishing to the inbox for %g s: %s", self._open_s, error)
        self.state = BreakerState.OPEN
        self._open_until = monotonic() + self._open_s

    def _close(self) -> None:
        if self.state is not BreakerState.CLOSED:
            _log.info("publishing to Kafka again")
        self.state = BreakerState.CLOSED
