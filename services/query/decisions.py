"""What a person decided, by a subject and those linked to it: the state now from its projection, the state at any
moment folded from the records.

Invariant: at the present moment both ways give the same answers (tests hold them against each other).
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.durations import Duration
from schemas.errors import NotFound
from schemas.events import Identifier
from schemas.ranking import LOWEST, Decided, latest, made_at, settled
from schemas.record import read_entry
from services.keys import ControllerKeys, event_mac, identifier_mac
from services.query.auth import Caller
from services.query.grants.scope import (
    as_told,
    has_answer,
    has_record,
    is_cut_off,
    is_of_sites,
    latest_seen,
    require_subject,
    visible_parts,
)
from services.query.links import Scopes, Span, is_carried, linked_at, of_several, unite
from services.query.payloads import read_part, subject_cipher
from services.query.store import Reader, Row, Store
from services.query.validity import AgeStated, Answer, Judgement, Match, Notice, Notices, judge, under_restriction

# A grant may leave out most of what is read: a page then ends early, with the place to go on from.
READS_A_PAGE: Final = 20
# The present: everything that is recorded, also under a clock that is a moment ahead of ours.
_EVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """`at`: the instant asked about. `known_at`: leave out what was received after it. None means now."""

    at: datetime | None = None
    known_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer with its judgement."""

    answer: Answer
    judgement: Judgement
    # The published notice that its words are, by their hash or by a match.
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Everything a subject decided, as of one moment. `lost`: some record's decision part was deleted.

    `erased_at`: the whole subject was, then. `hidden`: purposes about which the caller's grant lets nothing be said;
    `purposes`: those that it is about, None for all.
    """

    at: datetime
    known_at: datetime
    judged: Sequence[Judged]
    lost: bool
    erased_at: datetime | None = None
    hidden: frozenset[str] = frozenset()
    purposes: frozenset[str] | None = None

    def of(self, purpose: str) -> Judged | None:
        """The answer that speaks for a purpose: the one to consent, if there is one. Raises NotFound beyond a grant."""
        if purpose in self.hidden or (self.purposes is not None and purpose not in self.purposes):
            raise NotFound
        found = [j for j in self.judged if j.answer.decided.purpose == purpose]
        return min(found, key=lambda j: j.answer.decided.legal_basis != "consent", default=None)


@dataclass(frozen=True, slots=True)
class Page:
    """Some records of a subject, and the place to go on from, None at the end; none once it was erased."""

    records: Sequence[dict[str, Any]]
    more: tuple[int, int] | None
    erased_at: datetime | None = None


class Decisions:
    """Answers about subjects; holds the keys that open their records."""

    def __init__(self, store: Store, keys: ControllerKeys, event_id_key: bytes) -> None:
        self._store = store
        self._keys = keys
        self._event_id_key = event_id_key

    async def find(self, caller: Caller, identifier: Identifier) -> UUID:
        """The subject an identifier belongs to. Raises NotFound."""
        async with self._store.reading(caller.controller) as reader:
            # The ledger makes the controller's identifier key with its first subject.
            if not await reader.has_identifiers():
                raise NotFound
            key = self._keys.identifier_key(caller.controller_name)
            subject = await reader.subject_of_identifier(identifier_mac(key, identifier.type, identifier.value))
            if subject is None:
                raise NotFound
            if caller.sites is not None:
                await self._require_sites(reader, caller, subject)
        return subject

    async def _require_sites(self, reader: Reader, caller: Caller, subject: UUID) -> None:
        """Raise NotFound for somebody of whom the sites of the caller's key have no record."""
        row = await reader.subject(subject)
        cipher = None if row is None else subject_cipher(self._keys, caller.controller_name, row)
        if cipher is not None:
            for record in await reader.decision_parts([subject]):
                if is_of_sites(caller, read_part(cipher, record, "what")):
                    return
        raise NotFound

    async def state(self, caller: Caller, subject: UUID, moment: Moment, *, alone: bool = False) -> State:
        """What stands for a subject and those linked to it; for itself if `alone`.

        Raises NotFound when the caller's controller has, and had, no such subject, or the caller's grant has not.
        """
        async with self._store.reading(caller.controller, caller.scope) as reader:
            return await self.state_in(reader, caller, subject, moment, alone=alone)

    async def state_in(
        self, reader: Reader, caller: Caller, subject: UUID, moment: Moment, *, alone: bool = False
    ) -> State:
        """The same in a transaction that is open already. Raises NotFound."""
        require_subject(caller, subject)
        now = datetime.now(UTC)
        at = latest_seen(caller, now if moment.at is None else moment.at)
        known_at = latest_seen(caller, now if moment.known_at is None else moment.known_at)
        if caller.sites is not None:
            await self._require_sites(reader, caller, subject)
        row = await reader.subject(subject)
        if row is None:
            erased_at = await _erased_at(reader, subject)
            return State(at, known_at, [], lost=True, erased_at=erased_at, purposes=caller.purposes)
        is_now = moment.at is None and moment.known_at is None and not is_cut_off(caller)
        whole = None if is_now else (at, known_at)
        own = (await self._own(reader, caller, {subject: row}, whole))[subject]
        others = _NOBODY if alone else await self._linked(reader, caller, subject, whole)
        answers = [*own, *others.weaker, *others.stronger]
        notices = await _notices(reader, answers, at, known_at)
        if len(answers) > len(own):
            scopes = await _scopes(reader, answers, notices, at, known_at)
            answers = unite(own, others.weaker, others.stronger, scopes.is_account)
        age = _age(await reader.age(subject, known_at)) if answers else None
        limits = await reader.restrictions([subject, *others.people], *(whole or (_EVER, _EVER))) if answers else ()
        judged = [
            Judged(
                answer,
                under_restriction(judge(answer, notices, at, age), answer.decided.purpose, limits),
                _standing_notice(notices, answer),
            )
            for answer in answers
            if has_answer(caller, answer)
        ]
        # What was decided at other sites is, to a key for some, as if nobody had asked.
        cut = [] if caller.sites is not None else answers
        hidden = frozenset(one.decided.purpose for one in cut if not has_answer(caller, one))
        lost = row["lost"] or others.lost
        return State(at, known_at, judged, lost, hidden=hidden, purposes=caller.purposes)

    async def history(
        self, caller: Caller, subject: UUID, after: tuple[int, int], most: int, *, alone: bool = False
    ) -> Page:
        """One page of records after a place, with those of whoever was linked to the subject alone, unless `alone`.

        Raises NotFound.
        """
        require_subject(caller, subject)
        async with self._store.reading(caller.controller, caller.scope) as reader:
            row = await reader.subject(subject)
            if row is None:
                return Page([], None, await _erased_at(reader, subject))
            linked = [] if alone else await reader.linked_only_to(subject)
            people = {subject: row, **await reader.subjects(linked)}
            ciphers = self._ciphers(caller, people)
            records: list[dict[str, Any]] = []
            for _ in range(READS_A_PAGE):
                room = most - len(records)
                rows = await reader.history(list(people), after, room + 1)
                for row in rows[:room]:
                    after = row["log_number"], row["index"]
                    record = _record(ciphers[row["subject"]], row, caller, subject)
                    if has_record(caller, record["parts"].get("what")):
                        records.append(record)
                if len(records) == most or len(rows) <= room:
                    break
        return Page(records, after if len(rows) > room else None)

    def _ciphers(self, caller: Caller, people: Mapping[UUID, Row]) -> dict[UUID, AESGCM]:
        return {one: subject_cipher(self._keys, caller.controller_name, row) for one, row in people.items()}

    async def _own(
        self, reader: Reader, caller: Caller, people: Mapping[UUID, Row], whole: tuple[datetime, datetime] | None
    ) -> dict[UUID, list[Answer]]:
        """What each of these subjects decided itself: now, or at (at, known_at)."""
        ciphers = self._ciphers(caller, people)
        if whole is not None:
            return await self._fold(reader, caller, ciphers, whole, {})
        return {one: [_standing(cipher, row) for row in await reader.state(one)] for one, cipher in ciphers.items()}

    async def _linked(
        self, reader: Reader, caller: Caller, subject: UUID, whole: tuple[datetime, datetime] | None
    ) -> "_Others":
        """What linked subjects decided.

        Of a weaker one the projection does not do: what it decided last may be none of this person's.
        """
        moment = (_EVER, _EVER) if whole is None else whole
        linked = linked_at(subject, await reader.link_acts(subject), *moment)
        if not linked.weak and not linked.strong:
            return _NOBODY
        people = await reader.subjects([*linked.weak, *linked.strong])
        weak = {one: row for one, row in people.items() if one in linked.weak}
        strong = {one: row for one, row in people.items() if one in linked.strong}
        weaker = await self._fold(reader, caller, self._ciphers(caller, weak), moment, linked.weak)
        stronger = await self._own(reader, caller, strong, whole)
        return _Others(
            _through(weaker),
            of_several(_through(stronger), len(linked.strong)),
            lost=any(row["lost"] for row in weak.values()),
            people=list(people),
        )

    async def _fold(
        self,
        reader: Reader,
        caller: Caller,
        ciphers: Mapping[UUID, AESGCM],
        moment: tuple[datetime, datetime],
        spans: Mapping[UUID, Sequence[Span]],
    ) -> dict[UUID, list[Answer]]:
        """Fold some subjects at (at, known_at), each by itself; of those in `spans` what was decided in them.

        1. Open every decision part; 2. rank with the earliest received_at; 3. and 4. fold what was known by then.
        """
        records: dict[bytes, tuple[Row, dict[str, Any]]] = {}
        for row in await reader.decision_parts(list(ciphers)):
            what = read_part(ciphers[row["subject"]], row, "what")
            if what is not None:
                records[event_mac(self._event_id_key, caller.controller_name, what["id"])] = row, what
        received = await reader.received(list(records))
        whats: dict[UUID, dict[bytes, tuple[dict[str, Any], datetime]]] = defaultdict(dict)
        for event, received_at in received.items():
            row, what = records[event]
            whats[row["subject"]][event] = what, received_at
        return {
            one: [
                Answer(
                    d, records[d.event][0]["log"], records[d.event][0]["index"], received[d.event], records[d.event][1]
                )
                for d in fold(whats[one], *moment, _carried_in(spans.get(one)))
            ]
            for one in ciphers
        }


class _Others(NamedTuple):
    """Answers of linked subjects, and who those are. `lost`: some decision of a weaker one was deleted."""

    weaker: Sequence[Answer]
    stronger: Sequence[Answer]
    lost: bool
    people: Sequence[UUID] = ()


_NOBODY: Final = _Others([], [], lost=False)


def _through(answers: Mapping[UUID, Sequence[Answer]]) -> list[Answer]:
    return [replace(answer, through=one) for one, found in answers.items() for answer in found]


def _carried_in(spans: Sequence[Span] | None) -> Callable[[Decided, datetime], bool]:
    return lambda decided, made: spans is None or is_carried(decided, made, spans)


def fold(
    records: Mapping[bytes, tuple[dict[str, Any], datetime]],
    at: datetime,
    known_at: datetime,
    counts: Callable[[Decided, datetime], bool] = lambda _decided, _made: True,
) -> list[Decided]:
    """What stood at `at`, as known at `known_at`, in the order of the projection.

    `records` has each event's `what` and its earliest received_at, by the event's dedupe name; `counts` says of a
    decision and of when it was made whether it is looked at.
    """
    known = {event: record for event, record in records.items() if record[1] <= known_at}
    decided = []
    for answer in settled(known):
        made = made_at(*known[answer.event])
        # A grant that counts for nothing ranks before everything, and was made later than that.
        if answer.rank <= at and (answer.rank > LOWEST or made <= at) and counts(answer, made):
            decided.append(answer)
    return [answer for _, answer in sorted(latest(decided).items())]


async def _erased_at(reader: Reader, subject: UUID) -> datetime:
    """When a subject that is not there was erased. Raises NotFound if it was not: there never was one."""
    erased_at = await reader.erased_at(subject)
    if erased_at is None:
        raise NotFound
    return erased_at


def _standing(cipher: AESGCM, row: Row) -> Answer:
    decided = Decided(row["purpose"], row["legal_basis"], row["decision"], row["rank"], row["event"])
    what = read_part(cipher, row, "what") if row["nonce"] is not None else None
    return Answer(decided, row["log"], row["index"], row["received_at"], what)


async def _notices(reader: Reader, answers: Sequence[Answer], at: datetime, known_at: datetime) -> Notices:
    whats = [answer.what for answer in answers if answer.what is not None]
    shown = {bytes.fromhex(what["notice"]["sha256"]) for what in whats if "notice" in what}
    if not shown:
        return Notices([], [], at, known_at)
    matches = [Match(row["shown"], row["notice"], row["matched_at"]) for row in await reader.matches(list(shown))]
    wanted = shown | {match.notice for match in matches}
    rows = await reader.notices(list({what["site"] for what in whats}), list(wanted))
    return Notices([_notice(row) for row in rows], matches, at, known_at)


async def _scopes(
    reader: Reader, answers: Sequence[Answer], notices: Notices, at: datetime, known_at: datetime
) -> Scopes:
    whats = [answer.what for answer in answers if answer.what is not None]
    shown = [(bytes.fromhex(what["notice"]["sha256"]), what["site"]) for what in whats if "notice" in what]
    standing = {found.notice for found in (notices.standing_for(*one) for one in shown) if found is not None}
    found = await reader.scopes(list({what["site"] for what in whats}), list(standing))
    return Scopes(found, notices, at, known_at)


def _standing_notice(notices: Notices, answer: Answer) -> Notice | None:
    what = answer.what
    if what is None or "notice" not in what:
        return None
    return notices.standing_for(bytes.fromhex(what["notice"]["sha256"]), what["site"])


def _age(row: Row | None) -> AgeStated | None:
    return None if row is None else AgeStated(row["is_over"], row["stated_at"])


def _notice(row: Row) -> Notice:
    return Notice(
        notice=row["notice"],
        site=row["site"],
        notice_id=row["notice_id"],
        version=row["version"],
        asks_again=row["asks_again"],
        published_at=row["published_at"],
        in_force_at=row["in_force_at"],
        validity={p: Duration.parse(text) for p, text in zip(row["expiring"], row["validity"], strict=True)},
    )


def _record(cipher: AESGCM, row: Row, caller: Caller, asked: UUID) -> dict[str, Any]:
    entry = read_entry(row["entry"])
    what = read_part(cipher, row, "what")
    shown = visible_parts(caller, what)
    parts = {name: what if name == "what" else read_part(cipher, row, name) for name in shown}
    record: dict[str, Any] = {
        "log": row["log"],
        "index": row["index"],
        "class": entry["class"],
        "recorded_at": entry["recorded_at"],
        "state": "published" if row["published"] else "recorded",
        "parts": {name: as_told(caller, part) for name, part in parts.items() if part is not None},
        "deleted": [name for name, part in parts.items() if part is None],
    }
    if what is not None:
        record["event"] = what["id"]
    if row["subject"] != asked:
        record["through"] = str(row["subject"])
    return record
