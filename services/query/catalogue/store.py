"""What one controller states of services and has done for them, in the rows of one connection; also for the operator.

The caller owns the transaction, and the wall around the controller. What is written was validated before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from schemas.catalogue import Service
from schemas.catalogue.merging import with_own
from schemas.catalogue.steps import StepStanding, standings, steps_of
from schemas.errors import InvalidParameter, NotFound
from services.postgres import Connection, PooledConnection, named_queries

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "catalogue.sql")
# Somewhere on Earth it is tomorrow already.
_TOMORROW: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Stated:
    """The latest of what the controller states of one service."""

    content: bytes
    published_at: datetime


class CatalogueStore:
    """The catalogue of one controller."""

    def __init__(self, connection: Connection | PooledConnection, controller: int) -> None:
        self._connection = connection
        self._controller = controller

    async def stated(self) -> dict[str, Stated]:
        """Service -> what the controller states of it, sorted by name."""
        rows = await self._connection.fetch(_QUERIES["own_services"], self._controller)
        return {row["service"]: Stated(bytes(row["content"]), row["published_at"]) for row in rows}

    async def state(self, service: str, content: bytes) -> bool:
        """Whether this is news; `content` is of `schemas.catalogue.merging.own_bytes`."""
        return (
            await self._connection.fetchval(_QUERIES["state_service"], self._controller, service, content) is not None
        )

    async def standings(self) -> list[StepStanding]:
        """Where every step stands, for the services that notices name, that are stated, or that have steps."""
        stated = await self.stated()
        rows = await self._connection.fetch(_QUERIES["steps_done"], self._controller)
        done = {(row["service"], row["step"]): (row["done_on"], row["note"]) for row in rows}
        used = {*stated, *await self._named(), *(service for service, _ in done)}
        return standings(merged(stated), used, done, datetime.now(UTC).date())

    async def record_step(self, service: str, step: str, done_on: date, note: str | None) -> bool:
        """Whether this is news. Raises NotFound for a service that is neither known nor used; InvalidParameter for a
        step that the service does not have, or a day in the future.
        """
        if done_on > datetime.now(UTC).date() + _TOMORROW:
            raise InvalidParameter("/done_on")
        known = merged(await self.stated()).get(service)
        if known is None and service not in await self._named():
            raise NotFound
        if step not in {one.step for one in steps_of(known)}:
            raise InvalidParameter("/step")
        values = (self._controller, service, step, done_on, note)
        return await self._connection.fetchval(_QUERIES["record_step"], *values) is not None

    async def _named(self) -> set[str]:
        rows = await self._connection.fetch(_QUERIES["used_services"], self._controller)
        return {row["service"] for row in rows}


def merged(stated: Mapping[str, Stated]) -> Mapping[str, Service]:
    """Our catalogue with what the controller states."""
    return with_own(tuple((service, own.content) for service, own in stated.items()))
