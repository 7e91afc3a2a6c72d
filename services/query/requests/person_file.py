"""A person's file for access and portability (GDPR Art. 15 and 20): every field that erasing the person would clear.

Invariant: each table that an erasure clears stands in SOURCES, with the member of the file that shows it; a test
compares them with the statements that erase. What the person may not be told stays out: a confidential hold, and which
of the controller's people did something.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from schemas.errors import NotFound
from schemas.holds import hides_from_subject, is_of_a_hold
from schemas.record import format_time
from schemas.rights_errors import RequestStepNotPossible
from services.postgres import Pool, PooledConnection, controller_transaction, named_queries
from services.query.auth import Caller
from services.query.decisions import Decisions, Moment
from services.query.grants.scope import own_words
from services.query.looks.looks import Looks
from services.query.requests.requests import Requests, as_own
from services.query.requests.store import RequestStore
from services.query.retention.retained import told
from services.query.status import describe
from services.query.store import Reader, Row

# Table -> the member of the file that shows what it holds of the person.
SOURCES: Final[Mapping[str, str]] = {
    "subjects": "person",
    "identifiers": "identifiers",
    "payloads": "records",
    # When each event was received stands in its record; the rest are keyed digests of it.
    "dedupe": "records",
    "consent_state": "decisions",
    "links": "links",
    "ages": "age",
    "restrictions": "restrictions",
    "holds": "holds",
    "requests": "requests",
    "triggers": "told_to",
    "account_deletions": "account",
    "erasure_asks": "erasures_asked_for",
    "dead_letters": "not_recorded",
}
PAGE: Final = 500
_FIRST: Final = (0, -1)
_FILED: Final = frozenset({"access", "portability"})
_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "person_file.sql")


@dataclass(frozen=True, slots=True)
class PersonFiles:
    """Gathers one person's file, in a few reads."""

    pool: Pool
    requests: Requests
    decisions: Decisions
    looks: Looks

    async def of_request(self, caller: Caller, request: UUID) -> tuple[UUID, dict[str, Any]]:
        """The subject, and the file that answers a request of access or portability.

        Raises NotFound where nobody is known, RequestStepNotPossible for other requests, and while it is in doubt who
        asks.
        """
        standing = await self.requests.standing(caller, request)
        if standing.row["asked_for"] not in _FILED or standing.row["state"] == "identity":
            raise RequestStepNotPossible
        if standing.subject is None:
            raise NotFound
        return standing.subject, await self.of_subject(caller, standing.subject)

    async def of_subject(self, caller: Caller, subject: UUID) -> dict[str, Any]:
        """The file of a subject and of those linked to it alone. Raises NotFound."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            reader = Reader(connection, caller.controller)
            if await reader.subject(subject) is None:
                raise NotFound
            people = [subject, *sorted(await reader.linked_only_to(subject))]
            rows = await RequestStore(connection, caller.controller).requests_of(people)
            kept = await _kept(connection, caller.controller, people)
            kept["retention"] = await told(connection, caller.controller, subject)
        records = await self._records(caller, subject)
        state = await self.decisions.state(caller, subject, Moment())
        views = [await self.requests.view(caller, UUID(int=row["request"].int)) for row in rows]
        return {
            "v": 1,
            "made_at": format_time(datetime.now(UTC)),
            "controller": kept.pop("controller"),
            "person": {"subject": str(subject), "linked": [str(one) for one in people[1:]]},
            "identifiers": {"known": _identifiers(records), "names": kept.pop("names")},
            "decisions": [describe(judged) for judged in state.judged],
            **kept,
            "requests": [as_own(view) for view in views],
            "looked_at": await self._looks(caller, people),
            "records": records,
        }

    async def _records(self, caller: Caller, subject: UUID) -> list[dict[str, Any]]:
        """Every record with all its parts, as far as they are there."""
        found: list[dict[str, Any]] = []
        after: tuple[int, int] | None = _FIRST
        while after is not None:
            page = await self.decisions.history(caller, subject, after, PAGE)
            found += [shown for record in page.records if (shown := _shown(record)) is not None]
            after = page.more
        return found

    async def _looks(self, caller: Caller, people: Sequence[UUID]) -> list[dict[str, Any]]:
        """Who looked, as the person is told: when, at what, in which role."""
        found: list[dict[str, Any]] = []
        for one in people:
            after: tuple[int, int] | None = _FIRST
            while after is not None:
                page = await self.looks.at_subject(caller, one, after, PAGE)
                found += page.looks
                after = page.more
        return found


async def _kept(connection: PooledConnection, controller: int, people: Sequence[UUID]) -> dict[str, Any]:
    """What stands in tables besides the records."""

    async def rows(name: str) -> list[dict[str, Any]]:
        return [_plain(row) for row in await connection.fetch(_QUERIES[name], controller, people)]

    owner = await connection.fetchrow(_QUERIES["owner"], controller)
    return {
        "controller": {} if owner is None else _plain(owner),
        "names": await connection.fetchval(_QUERIES["names_of"], controller, people),
        "links": await rows("linked_of"),
        "age": await rows("ages_of"),
        "restrictions": await rows("restrictions_of"),
        "holds": await rows("holds_of"),
        "recipients": [_plain(row) for row in await connection.fetch(_QUERIES["recipients"], controller)],
        "told_to": await rows("triggers_of"),
        "account": await rows("account_of"),
        "erasures_asked_for": await rows("erasures_asked_of"),
        "not_recorded": await rows("letters_of"),
    }


def _plain(row: Row) -> dict[str, Any]:
    """A row as JSON has it, without what is not there."""
    return {name: _json(value) for name, value in row.items() if value is not None and value != ""}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_time(value)
    return value.isoformat() if isinstance(value, date) else value


def _shown(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """A record as the person may read it; None if not at all."""
    parts: Mapping[str, Any] = record["parts"]
    what = parts.get("what")
    if what is not None and hides_from_subject(what):
        return None
    if what is not None and is_of_a_hold(what):
        parts = {"what": what}
    return {**record, "parts": {name: own_words(part) for name, part in parts.items()}}


def _identifiers(records: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Every identifier that a record names, once; not those of a guardian, who is somebody else."""
    found = {
        (known["type"], known["value"])
        for record in records
        for known in record["parts"].get("who", {}).get("identifiers", ())
    }
    return [{"type": kind, "value": value} for kind, value in sorted(found)]
