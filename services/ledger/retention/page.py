"""One page of a run: some candidates, decided and done in one short transaction (docs/retention.md).

Invariant: what is deleted is stated by an entry of the same transaction, nothing is deleted that is held, and the run's
own row says in it too how far it is: a crash anywhere leaves a page undone, never half done or counted twice.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.record import PART_NAMES, PartName
from schemas.retaining import Begun, Clearing, Fact, Place, Plan, plan
from schemas.retention import Ruling
from services.keys import ControllerKeys, event_mac
from services.ledger.appending import Appending
from services.ledger.downstream.triggers import Cause, make_triggers
from services.ledger.erasure.holding import Held
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.subject import Eraser, append_declarations, log_of
from services.ledger.opening import ERASED
from services.ledger.own_records import own_record
from services.ledger.projection import project
from services.ledger.registry import Log
from services.ledger.retention.facts import UNREADABLE, Reading, by_place, digest, read
from services.ledger.retention.store import RetentionStore
from services.ledger.retention.walks import ACCESS_LOG
from services.ledger.rights.holds import has_standing_hold, standing_hold
from services.ledger.store import Row
from services.ledger.subjects import unwrap
from services.postgres import PooledConnection

# GDPR Art. 5(1)(e): kept no longer than necessary. Of a whole person: consent withdrawn, or no longer needed.
LIMITATION: Final = "5(1)(e)"
_WITHDRAWN: Final = "17(1)(b)"
_NOT_NEEDED: Final = "17(1)(a)"
# Of a preview: as many places as help to see what a rule means.
SAMPLE_MAX: Final = 20


@dataclass(slots=True)
class Done:
    """What a run did, or of a preview would have done."""

    # (rule, part) of parts deleted one by one.
    parts: Counter[tuple[str, str]] = field(default_factory=Counter)
    # By rule: people erased, and triggers to downstream systems.
    erased: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    # Candidates passed over: something held, restricted or asked for; something that cannot be read.
    held: int = 0
    unreadable: int = 0
    # (log, index, part, rule) of some; nobody's name.
    sample: list[tuple[str, int, str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any] | None:
        """None if nothing was done and nothing passed over."""
        if not (self.parts or self.erased or self.told or self.held or self.unreadable):
            return None
        parts: dict[str, dict[str, int]] = defaultdict(dict)
        for (rule, part), count in sorted(self.parts.items()):
            parts[rule][part] = count
        return {
            "parts": parts,
            "erased": dict(self.erased),
            "told": dict(self.told),
            "held": self.held,
            "unreadable": self.unreadable,
            "sample": [dict(zip(("log", "index", "part", "rule"), one, strict=True)) for one in self.sample],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Done":
        """Of `as_json`."""
        parts = Counter({(rule, part): n for rule, found in value["parts"].items() for part, n in found.items()})
        sample = [(one["log"], one["index"], one["part"], one["rule"]) for one in value["sample"]]
        counters = Counter(value["erased"]), Counter(value["told"])
        return cls(parts, *counters, value["held"], value["unreadable"], sample)


@dataclass(frozen=True, slots=True)
class Tools:
    """What acting needs, the same for all runs of a ledger."""

    keys: ControllerKeys
    event_id_key: bytes
    eraser: Eraser


class _Taken(NamedTuple):
    """A part that goes, and the digest that it leaves."""

    clearing: Clearing
    digest: bytes


@dataclass(slots=True)
class _Going:
    """What of the page goes."""

    clear: list[_Taken] = field(default_factory=list)
    # Names of events whose `what` goes, and the people whose state has to be projected anew.
    forgotten: set[bytes] = field(default_factory=set)
    changed: set[UUID] = field(default_factory=set)
    # (subject, rule) of whole people.
    erase: list[tuple[UUID, str]] = field(default_factory=list)


class Page:
    """One transaction of one run; made anew for each."""

    def __init__(
        self,
        connection: PooledConnection,
        tools: Tools,
        reading: Reading,
        rulings: Sequence[Ruling],
        logs: Sequence[Row],
        *,
        appending: Appending | None,
    ) -> None:
        """`appending` has locked the heads of all open logs; None for a preview, which deletes nothing."""
        self._connection = connection
        self._tools = tools
        self._reading = reading
        self._controller, self._name = reading.owner
        self._rulings = rulings
        self._of_nobody = [r for r in rulings if r.begins == "received" and r.then in {"clear-part", "keep"}]
        self._logs = {row["log"]: row for row in logs}
        self._appending = appending
        self._retention = RetentionStore(connection, self._controller)
        self._erasures = ErasureStore(connection)
        self._going = _Going()
        # Open logs by number, in which entries can be appended.
        self.open: Mapping[int, Log] = {}

    async def decide(self, subjects: Sequence[UUID], places: Sequence[Place], as_of: datetime, done: Done) -> None:
        """Plan for these people, and for these records that are nobody's; nothing is deleted yet.

        1. Lock; 2. leave out who is held, restricted, or has asked for something; 3. open and weigh; 4. make triggers:
        while one is open, nothing goes of whom its system has to find.
        """
        people = {row["subject"]: row for row in await self._lock({*subjects}, places)}
        stopped = await self._stopped([one for one, row in people.items() if row["log"] is None], as_of)
        done.held += len(stopped)
        everybody = None in stopped
        rows: dict[UUID, list[Row]] = defaultdict(list)
        for row in await self._retention.subject_rows([one for one in subjects if one in people]):
            rows[row["subject"]].append(row)
        for row in [] if everybody else await self._rows_at(places):
            rows[row["subject"]].append(row)
        for one in sorted(rows):
            if one in stopped or everybody:
                continue
            try:
                await self._weigh(people[one], rows[one], as_of, done)
            except UNREADABLE:
                # fsck names it; the others go on.
                done.unreadable += 1

    async def decide_access(self, places: Sequence[Place], as_of: datetime, done: Done) -> None:
        """The same for records of who looked: all of each goes, whoever it is about, but for those who are held."""
        rows = await self._rows_at(places)
        people = {row["subject"]: row for row in await self._lock(set(), places)}
        stopped = await self._stopped([one for one, row in people.items() if row["log"] is None], as_of)
        done.held += len(stopped)
        for row in rows:
            if row["subject"] in stopped or None in stopped:
                continue
            try:
                cipher = self._cipher(people[row["subject"]])
                event = event_mac(self._tools.event_id_key, self._name, read(cipher, row, "what")["id"])
                place = row["log"], row["index"]
                left = [Clearing(place, part, ACCESS_LOG, event) for part in PART_NAMES if row[part] is not None]
                self._take(_leave(cipher, row, left), done)
            except UNREADABLE:
                done.unreadable += 1

    async def do(self, done: Done, run: UUID, now: datetime) -> int:
        """Do what was decided; how many parts went one by one. A preview must not come here.

        1. Parts, leaving digests; 2. the state of whom it changed; 3. an entry for each log that lost something;
        4. whole people, each as if somebody had asked.
        """
        going, appending = self._going, self._appending
        assert appending is not None  # a preview has none
        by_record: dict[Place, dict[PartName, bytes]] = defaultdict(dict)
        for one in going.clear:
            by_record[one.clearing.place][one.clearing.part] = one.digest
        if by_record:
            await self._retention.clear_parts(sorted(by_record.items()))
        if going.forgotten:
            await self._retention.forget_events(sorted(going.forgotten))
        for subject in sorted(going.changed):
            await project(appending.store, self._tools.keys, self._tools.event_id_key, self._reading.owner, subject)
        await self._state(appending, run, now)
        for subject, rule in going.erase:
            await self._erase(appending, subject, rule, now, done)
        return len(going.clear)

    async def _tell(self, subject: UUID, found: Plan, as_of: datetime, done: Done) -> bool:
        """Make the triggers that are to be; whether some system still needs the person's records to find them by."""
        if self._appending is None:
            done.told.update(telling.rule for telling in found.tell)
            return False
        for telling in found.tell:
            cause = f"event:{telling.cause.hex()}:{telling.rule}"
            asked = Cause(self._controller, cause, telling.action, subject=subject, purpose=telling.purpose)
            if made := await make_triggers(self._connection, asked, as_of):
                done.told[telling.rule] += made
        return await self._retention.has_open_triggers(subject)

    async def _lock(self, subjects: set[UUID], places: Sequence[Place]) -> list[Row]:
        wanted = subjects | {row["subject"] for row in await self._rows_at(places)}
        return await self._retention.people(sorted(wanted), lock=self._appending is not None) if wanted else []

    async def _rows_at(self, places: Sequence[Place]) -> list[Row]:
        if not places:
            return []
        return await self._retention.rows_at(places[0][0], [index for _, index in places])

    async def _stopped(self, subjects: Sequence[UUID], moment: datetime) -> set[UUID | None]:
        """Of whom nothing may go now; None among them: of nobody, because everybody is held."""
        stopped: set[UUID | None] = {*await self._retention.stopped(subjects)} if subjects else set()
        if not await has_standing_hold(self._connection, self._controller, moment):
            return stopped
        if await standing_hold(self._connection, self._controller, [], moment) is not None:
            return {*subjects, None}
        for subject in subjects:
            with_linked = [subject, *await self._erasures.linked_only_to(self._controller, subject)]
            if await standing_hold(self._connection, self._controller, with_linked, moment) is not None:
                stopped.add(subject)
        return stopped

    async def _weigh(self, person: Row, rows: Sequence[Row], as_of: datetime, done: Done) -> None:
        cipher, is_nobodys = self._cipher(person), person["log"] is not None
        facts = await self._reading.facts(cipher, rows, is_nobodys=is_nobodys)
        deleted = None if person["event"] is None else Begun(person["deleted_at"], person["event"])
        if is_nobodys:
            plans = [plan([fact], self._of_nobody, None, as_of) for fact in facts]
        else:
            plans = [plan(facts, self._rulings, deleted, as_of)]
            if plans[0].erase is not None and not await self._goes_whole(person["subject"], facts, deleted, as_of):
                plans = [plan(facts, self._rulings, deleted, as_of, may_erase=False)]
        known = by_place(rows)
        taken: list[_Taken] = []
        for found in plans:
            left: dict[Place, list[Clearing]] = defaultdict(list)
            for clearing in found.clear:
                left[clearing.place].append(clearing)
            taken += [one for place, parts in left.items() for one in _leave(cipher, known[place], parts)]
            if found.erase is not None:
                self._going.erase.append((person["subject"], found.erase))
                if self._appending is None:
                    done.erased[found.erase] += 1
            elif found.tell and await self._tell(person["subject"], found, as_of, done):
                return
        # All of one person or nothing: an answer must not go without those before it.
        self._take(taken, done)
        if not is_nobodys and any(one.clearing.part == "what" for one in taken):
            self._going.changed.add(person["subject"])

    async def _goes_whole(self, subject: UUID, facts: Sequence[Fact], deleted: Begun | None, as_of: datetime) -> bool:
        """Whether those who are erased with a person have no ground to stay either, all taken together."""
        linked = await self._erasures.linked_only_to(self._controller, subject)
        if not linked:
            return True
        if await self._retention.stopped(linked):
            # Somebody restricted their processing, or has asked for something.
            return False
        people = {row["subject"]: row for row in await self._retention.people(linked, lock=False)}
        together = list(facts)
        for one in linked:
            rows = await self._retention.subject_rows([one])
            together += await self._reading.facts(self._cipher(people[one]), rows, is_nobodys=False)
        return plan(together, self._rulings, deleted, as_of).erase is not None

    def _take(self, taken: Sequence["_Taken"], done: Done) -> None:
        for one in taken:
            clearing = one.clearing
            self._going.clear.append(one)
            done.parts[clearing.rule, clearing.part] += 1
            if clearing.part == "what":
                self._going.forgotten.add(clearing.event)
            if self._appending is None and len(done.sample) < SAMPLE_MAX:
                log, index = clearing.place
                done.sample.append((self._logs[log]["name"], index, clearing.part, clearing.rule))

    def _cipher(self, person: Row) -> AESGCM:
        return AESGCM(unwrap(self._tools.keys, self._name, person))

    async def _state(self, appending: Appending, run: UUID, now: datetime) -> None:
        """An entry for each log that lost parts, in it or in the one that took over from it."""
        lost: dict[int, Counter[str]] = defaultdict(Counter)
        rules: dict[int, Counter[str]] = defaultdict(Counter)
        for clearing, _ in self._going.clear:
            lost[clearing.place[0]][clearing.part] += 1
            rules[clearing.place[0]][clearing.rule] += 1
        records = []
        ends = {log: appending.heads[self._controller, log].size for log in self.open}
        declared = []
        for log in sorted(lost, key=lambda one: (self._logs[one]["heir"], one)):
            heir = self._logs[log]["heir"]
            stated: dict[str, Any] = {"scope": "retention", "ground": LIMITATION, "run": str(run)}
            stated["rules"] = dict(rules[log])
            if heir != log:
                stated["log"] = self._logs[log]["origin"]
                declared.append((log, (heir, ends[heir])))
            counts: dict[str, int] = {name: lost[log][name] for name in PART_NAMES}
            records.append(
                own_record(self.open[heir], self._tools.event_id_key, ERASED, {"erasure": stated}, now, erased=counts)
            )
            ends[heir] += 1
        if records:
            await appending.write(records)
        for log, place in declared:
            await self._retention.declare_for(log, [lost[log][name] for name in PART_NAMES], place)

    async def _erase(self, appending: Appending, subject: UUID, rule: str, now: datetime, done: Done) -> None:
        """Everything of one person, as an ask would; what nobody asked for has the id of no message."""
        begins = next(ruling.begins for ruling in self._rulings if ruling.name == rule)
        ground = _WITHDRAWN if begins == "withdrawn" else _NOT_NEEDED
        rows = await self._retention.subject_rows([subject])
        logs = [self._logs[row["log"]]["heir"] for row in rows] or sorted(self.open)
        members = {"erasure": {"subject": str(subject), "ground": ground}}
        ask = own_record(self.open[logs[0]], self._tools.event_id_key, ERASED, members, now)
        declarations = await self._tools.eraser.erase(self._erasures, appending.store, ask, appending.heads)
        if isinstance(declarations, Held):
            # Of somebody linked to them, since we looked.
            done.held += 1
            return
        await append_declarations(appending, self._erasures, declarations)
        if declarations:
            done.erased[rule] += 1


def _leave(cipher: AESGCM, row: Row, clearings: Iterable[Clearing]) -> list[_Taken]:
    """One record's parts with what they leave. Raises ProofError for one that does not open."""
    return [_Taken(one, digest(cipher, row, one.part)) for one in clearings]


async def open_logs(erasures: ErasureStore, controller: int) -> dict[int, Log]:
    """Those that take records, by number, in the order in which heads are locked."""
    return {row["log"]: log_of(row) for row in await erasures.open_logs(controller)}
