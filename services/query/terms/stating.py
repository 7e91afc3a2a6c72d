"""Reads and states the terms of one controller. Invariant: nothing stated is ever changed; the latest counts."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from schemas.errors import InvalidParameter
from schemas.record import format_time
from schemas.terms import Terms, read_terms
from services.deadlines import has_holidays
from services.postgres import Pool, PooledConnection, controller_transaction, named_queries
from services.query.auth import Caller

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "terms.sql")


@dataclass(frozen=True, slots=True)
class StatedTerms:
    """One controller at a time, each in one transaction behind its wall."""

    pool: Pool

    async def now(self, caller: Caller) -> dict[str, Any]:
        """What holds now, with every default, and since when (null: nothing was ever stated)."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            row = await connection.fetchrow(_QUERIES["terms_now"], caller.controller)
        terms = read_terms(None if row is None else row["content"])
        stated_at = None if row is None else format_time(row["stated_at"])
        return {"terms": terms.model_dump(mode="json"), "stated_at": stated_at}

    async def state(self, caller: Caller, terms: Terms) -> bool:
        """Whether this is news. Raises InvalidParameter for holidays that nobody here knows."""
        for nth, known in enumerate(terms.holidays):
            if not has_holidays(known.country, known.subdivision):
                raise InvalidParameter(f"/holidays/{nth}")
        content = terms.content()
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            row = await connection.fetchrow(_QUERIES["terms_now"], caller.controller)
            if row is not None and row["content"] == content:
                return False
            await connection.execute(_QUERIES["state_terms"], caller.controller, content, caller.key)
        return True


async def terms_at(connection: PooledConnection, controller: int, moment: datetime) -> Terms:
    """What the controller had stated by `moment`; the defaults before it stated anything."""
    return read_terms(await connection.fetchval(_QUERIES["terms_at"], controller, moment))
