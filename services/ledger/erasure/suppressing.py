"""What an objector's erasure leaves (GDPR Art. 21): that whoever has this identifier objected, so that nobody
approaches the person again; nothing that says who it is.

Invariant: a name here is made under the controller's proof key, and says nothing to whoever lacks it.
"""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from schemas.durations import Duration
from schemas.terms import read_terms
from services.keys import ControllerKeys, identifier_mac
from services.postgres import Connection, PooledConnection, named_queries

# (purpose, legal basis, since when).
Objection = tuple[str, str, datetime]
_SQL: Final = named_queries(Path(__file__).parents[1] / "sql" / "holds.sql")


async def objections_of(connection: Connection | PooledConnection, controller: int, subject: UUID) -> list[Objection]:
    """What a subject objects to at this moment."""
    rows = await connection.fetch(_SQL["objections"], controller, subject)
    return [(row["purpose"], row["legal_basis"], row["rank"]) for row in rows]


async def suppress_objections(
    connection: Connection | PooledConnection,
    keys: ControllerKeys,
    owner: tuple[int, str],
    identifiers: Collection[tuple[str, str]],
    objections: Collection[Objection],
    erased_at: datetime,
) -> None:
    """Keep objections under the name of each of `identifiers` (type, value), for as long as the controller's terms say.

    `owner` is the controller's id and name; the time counts from the erasure.
    """
    if not identifiers or not objections:
        return
    controller, name = owner
    key = keys.create_proof_key(name)
    names = sorted({identifier_mac(key, *identifier) for identifier in identifiers})
    terms = read_terms(await connection.fetchval(_SQL["stated_terms"], controller))
    expires_at = Duration.parse(terms.suppression).after(erased_at)
    columns = zip(*sorted(objections), strict=True)
    await connection.execute(_SQL["suppress_objections"], controller, names, *columns, expires_at)


async def end_suppressions(connection: Connection | PooledConnection, moment: datetime) -> int:
    """Delete those whose time is over; how many."""
    status = await connection.execute(_SQL["end_suppressions"], moment)
    return int(status.rpartition(" ")[2])
