"""The catalogue as one controller states it: our services under its overrides, services of its own, dated steps.

Invariant: nothing is stored that does not make a valid service; nothing stated is ever changed, the latest counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import ValidationError

from schemas.canonical import read_strict
from schemas.catalogue import Service, services
from schemas.catalogue.merging import own_bytes
from schemas.catalogue.steps import StepStanding
from schemas.errors import InvalidParameter
from schemas.record import format_time
from services.http import pointer_of, schema_names
from services.postgres import Pool, controller_transaction
from services.query.auth import Caller
from services.query.catalogue.store import CatalogueStore, Stated, merged


@dataclass(frozen=True, slots=True)
class OwnCatalogue:
    """Reads and writes of one controller, each in one transaction behind its wall."""

    pool: Pool

    async def view(self, caller: Caller) -> dict[str, Any]:
        """Every service as it holds for the controller, and who states it."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            stated = await CatalogueStore(connection, caller.controller).stated()
        holds = sorted(merged(stated).items())
        return {"services": [_described(service, stated.get(name)) for name, service in holds]}

    async def state(self, caller: Caller, service: str, override: Mapping[str, Any]) -> bool:
        """Whether this is news. Raises InvalidParameter with a pointer where it does not make a valid service."""
        try:
            content = own_bytes(service, override)
        except ValidationError as error:
            loc = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
            raise InvalidParameter(pointer_of(loc, schema_names(Service.model_json_schema()))) from None
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            return await CatalogueStore(connection, caller.controller).state(service, content)

    async def steps(self, caller: Caller) -> dict[str, Any]:
        """Where every compliance step of every service used stands."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            found = await CatalogueStore(connection, caller.controller).standings()
        return {"steps": [_standing(one) for one in found]}

    async def record_step(self, caller: Caller, service: str, step: str, done_on: date, note: str | None) -> bool:
        """Whether this is news. Raises NotFound or InvalidParameter."""
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            return await CatalogueStore(connection, caller.controller).record_step(service, step, done_on, note)


def _described(service: Service, stated: Stated | None) -> dict[str, Any]:
    content = service.model_dump(exclude_none=True)
    if stated is None:
        return {"service": service.service, "stated_by": "catalogue", "content": content}
    ours = service.service in services()
    return {
        "service": service.service,
        "stated_by": "override" if ours else "controller",
        **({"overrides": sorted(read_strict(stated.content)[0])} if ours else {}),
        "stated_at": format_time(stated.published_at),
        "content": content,
    }


def _standing(one: StepStanding) -> dict[str, Any]:
    days = {"done_on": one.done_on, "due_on": one.due_on}
    return {
        "service": one.service,
        "step": one.step.step,
        "what": one.step.what,
        "state": one.state,
        **{name: day.isoformat() for name, day in days.items() if day is not None},
        **({} if one.note is None else {"note": one.note}),
    }
