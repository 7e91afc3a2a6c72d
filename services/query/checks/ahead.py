"""A reader that has fetched a whole chunk of subjects with one statement a table, and then answers from memory.

Invariant: it answers every question as the reader that it takes the place of; what it did not fetch, it asks as that
one does, a subject at a time. So an answer to many people is made by the same code as an answer to one.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from services.postgres import named_queries
from services.query.links import Act, Scope
from services.query.store import Reader, Row

if TYPE_CHECKING:
    from services.postgres import PooledConnection

# (row of a subject, row of a decision part) -> the dedupe name of the part's event.
NameOf = Callable[[Row, Row], bytes]

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "checks.sql")


class Ahead(Reader):
    """Reads of some subjects about one purpose, inside one transaction."""

    def __init__(self, connection: "PooledConnection", controller: int, purpose: str, name_of: NameOf) -> None:
        """`name_of` opens a decision part, given the row of its subject, and gives its event's dedupe name."""
        super().__init__(connection, controller)
        self._purpose = purpose
        self._name_of = name_of
        self._asked: frozenset[UUID] = frozenset()
        self._fetched: frozenset[UUID] = frozenset()
        self._in_parts: frozenset[UUID] = frozenset()
        self._people: dict[UUID, Row] = {}
        self._erased: dict[UUID, datetime] = {}
        self._acts: dict[UUID, list[Act]] = defaultdict(list)
        self._states: dict[UUID, list[Row]] = defaultdict(list)
        self._parts: dict[UUID, list[Row]] = defaultdict(list)
        self._received: dict[bytes, datetime] = {}
        self._ages: dict[UUID, list[Row]] = defaultdict(list)
        self._restrictions: dict[UUID, list[Row]] = defaultdict(list)
        # Of notices, matches and scopes, which are the same for most people, by what was asked.
        self._shared: dict[tuple[Any, ...], Any] = {}

    async def fetch(self, subjects: Iterable[UUID], *, whole: bool) -> None:
        """Fetch what `subjects` and those linked to them decided; with `whole` every record, to fold at a moment."""
        asked = list(set(subjects))
        for row in await self._many("link_acts_of", asked):
            act = Act(*row)
            for one in (act.weak, act.strong):
                self._acts[one].append(act)
        linked = {one for acts in self._acts.values() for act in acts for one in (act.weak, act.strong)}
        everybody = list({*asked, *linked})
        self._people = await super().subjects(everybody)
        gone = [one for one in asked if one not in self._people]
        if gone:
            self._erased = {row["subject"]: row["erased_at"] for row in await self._many("erased_ats", gone)}
        if not whole:
            for row in await self._many("states", everybody, self._purpose):
                self._states[row["subject"]].append(row)
        # Of those who are linked to somebody stronger the records count also now.
        weaker = {act.weak for acts in self._acts.values() for act in acts}
        await self._fetch_parts(everybody if whole else [one for one in everybody if one in weaker])
        for row in await self._many("ages_of", asked):
            self._ages[row["subject"]].append(row)
        for row in await self._many("restrictions_of", everybody):
            self._restrictions[row["subject"]].append(row)
        self._fetched = frozenset(everybody)
        self._asked = frozenset(asked)

    async def _fetch_parts(self, subjects: Sequence[UUID]) -> None:
        if not subjects:
            return
        for row in await super().decision_parts(subjects):
            self._parts[row["subject"]].append(row)
        names = [self._name_of(self._people[one], row) for one, rows in self._parts.items() for row in rows]
        self._received = await super().received(names)
        self._in_parts = frozenset(subjects)

    async def suppressed(self, names: Sequence[bytes], at: datetime) -> set[bytes]:
        """Those of these names whose people objected to the purpose by then, and were erased."""
        return {row["identifier"] for row in await self._many("suppressed", names, self._purpose, at)}

    async def subjects_of(self, names: Sequence[bytes]) -> dict[bytes, UUID]:
        """By identifier name the subject that it stands for."""
        return {row["identifier"]: row["subject"] for row in await self._many("subjects_of_identifiers", names)}

    async def _many(self, query: str, *arguments: Any) -> list[Row]:
        return await self.rows(_QUERIES[query], *arguments)

    # --- the questions of Reader ---

    async def subject(self, subject: UUID) -> Row | None:
        return self._people.get(subject) if subject in self._fetched else await super().subject(subject)

    async def subjects(self, subjects: Sequence[UUID]) -> dict[UUID, Row]:
        if not self._fetched.issuperset(subjects):
            return await super().subjects(subjects)
        return {one: self._people[one] for one in subjects if one in self._people}

    async def erased_at(self, subject: UUID) -> datetime | None:
        return self._erased.get(subject) if subject in self._asked else await super().erased_at(subject)

    async def state(self, subject: UUID) -> list[Row]:
        return self._states.get(subject, []) if subject in self._fetched else await super().state(subject)

    async def age(self, subject: UUID, known_at: datetime) -> Row | None:
        if subject not in self._asked:
            return await super().age(subject, known_at)
        # In the order of that statement: the latest first, of one moment what protects a child.
        return next((row for row in self._ages.get(subject, []) if row["stated_at"] <= known_at), None)

    async def link_acts(self, subject: UUID) -> list[Act]:
        return self._acts.get(subject, []) if subject in self._asked else await super().link_acts(subject)

    async def restrictions(self, subjects: Collection[UUID], at: datetime, known_at: datetime) -> frozenset[str]:
        if not self._fetched.issuperset(subjects):
            return await super().restrictions(subjects, at, known_at)
        moment = min(at, known_at)
        return frozenset(
            row["purpose"]
            for one in subjects
            for row in self._restrictions.get(one, ())
            if row["since"] <= moment and (row["lifted_at"] is None or row["lifted_at"] > moment)
        )

    async def has_suppressions(self) -> bool:
        if ("suppressions",) not in self._shared:
            self._shared["suppressions",] = await super().has_suppressions()
        return bool(self._shared["suppressions",])

    async def decision_parts(self, subjects: Sequence[UUID]) -> list[Row]:
        if not self._in_parts.issuperset(subjects):
            return await super().decision_parts(subjects)
        return [row for one in subjects for row in self._parts.get(one, [])]

    async def received(self, events: Sequence[bytes]) -> dict[bytes, Any]:
        known = {event: self._received[event] for event in events if event in self._received}
        missing = [event for event in events if event not in known]
        return {**known, **await super().received(missing)} if missing else known

    async def matches(self, shown: Sequence[bytes]) -> list[Row]:
        key = "matches", frozenset(shown)
        if key not in self._shared:
            self._shared[key] = await super().matches(shown)
        found: list[Row] = self._shared[key]
        return found

    async def notices(self, sites: Sequence[str], notices: Sequence[bytes]) -> list[Row]:
        key = "notices", frozenset(sites), frozenset(notices)
        if key not in self._shared:
            self._shared[key] = await super().notices(sites, notices)
        found: list[Row] = self._shared[key]
        return found

    async def scopes(self, sites: Sequence[str], notices: Sequence[bytes]) -> list[Scope]:
        key = "scopes", frozenset(sites), frozenset(notices)
        if key not in self._shared:
            self._shared[key] = await super().scopes(sites, notices)
        found: list[Scope] = self._shared[key]
        return found
