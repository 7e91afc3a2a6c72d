"""A record as those who project it see it: where it stands, whose it is, and its three parts."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.postgres import Connection, PooledConnection


@dataclass(frozen=True, slots=True)
class Act:
    """`subject` is None where the record belongs to its log's stand-in: to nobody, or to somebody who was erased."""

    controller: int
    controller_name: str
    log: int
    log_name: str
    index: int
    # The event's dedupe name.
    event: bytes
    subject: UUID | None
    received_at: datetime
    who: Mapping[str, Any]
    what: Mapping[str, Any]
    context: Mapping[str, Any]
    # Projected once more by rebuild: what it led to elsewhere stands already.
    is_again: bool = False


# Runs in the recording transaction, once an event, in the order of places; changes nothing but its own tables, and
# never raises for what an event says: its record stands anyway.
Projector = Callable[["Connection | PooledConnection", Act], Awaitable[None]]
