"""What a subject decided: the state now from its projection, the state at any moment folded from the records.

Invariant: at the present moment both ways give the same answers (tests hold them against each other).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import NotFound
from schemas.events import Identifier
from schemas.ranking import Decided, decided_by, latest
from schemas.record import format_time, read_entry
from services.keys import ControllerKeys, event_mac, identifier_mac
from services.query.auth import Caller
from services.query.payloads import read_part, subject_cipher
from services.query.store import Reader, Row, Store
from services.query.validity import Answer, Judgement, Match, Notice, Notices, judge


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


@dataclass(frozen=True, slots=True)
class State:
    """Everything a subject decided, as of one moment. `lost`: some record's decision part was deleted.

    `erased_at`: the whole subject was, then.
    """

    at: datetime
    known_at: datetime
    judged: Sequence[Judged]
    lost: bool
    erased_at: datetime | None = None

    def of(self, purpose: str) -> Judged | None:
        """The answer that speaks for a purpose: the one to consent, if there is one."""
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
        return subject

    async def state(self, caller: Caller, subject: UUID, moment: Moment) -> State:
        """Raises NotFound when the caller's controller has, and had, no such subject."""
        now = datetime.now(UTC)
        at = now if moment.at is None else moment.at
        known_at = now if moment.known_at is None else moment.known_at
        async with self._store.reading(caller.controller) as reader:
            row = await reader.subject(subject)
            if row is None:
                return State(at, known_at, [], lost=True, erased_at=await _erased_at(reader, subject))
            cipher, lost = subject_cipher(self._keys, caller.controller_name, row), row["lost"]
            if moment.at is None and moment.known_at is None:
                answers = [_standing(cipher, row) for row in await reader.state(subject)]
            else:
                answers = await self._fold(reader, caller, cipher, subject, at, known_at)
            notices = await _notices(reader, answers, at, known_at)
        return State(at, known_at, [Judged(answer, judge(answer, notices, at)) for answer in answers], lost)

    async def history(self, caller: Caller, subject: UUID, after: tuple[int, int], most: int) -> Page:
        """One page of records after a place. Raises NotFound."""
        async with self._store.reading(caller.controller) as reader:
            row = await reader.subject(subject)
            if row is None:
                return Page([], None, await _erased_at(reader, subject))
            cipher = subject_cipher(self._keys, caller.controller_name, row)
            rows = await reader.history(subject, after, most + 1)
        page = [_record(cipher, row, caller) for row in rows[:most]]
        last = rows[most - 1] if len(rows) > most else None
        return Page(page, None if last is None else (last["log_number"], last["index"]))

    async def _fold(
        self, reader: Reader, caller: Caller, cipher: AESGCM, subject: UUID, at: datetime, known_at: datetime
    ) -> list[Answer]:
        """1. Open every decision part; 2. rank with the earliest received_at; 3. and 4. fold what was known by then."""
        records: dict[bytes, tuple[Row, dict[str, Any]]] = {}
        for row in await reader.decision_parts(subject):
            what = read_part(cipher, row, "what")
            if what is not None:
                records[event_mac(self._event_id_key, caller.controller_name, what["id"])] = row, what
        received = await reader.received(list(records))
        whats = {event: (records[event][1], received_at) for event, received_at in received.items()}
        return [
            Answer(d, records[d.event][0]["log"], records[d.event][0]["index"], received[d.event], records[d.event][1])
            for d in fold(whats, at, known_at)
        ]


def fold(records: Mapping[bytes, tuple[dict[str, Any], datetime]], at: datetime, known_at: datetime) -> list[Decided]:
    """What stood at `at`, as known at `known_at`, in the order of the projection.

    `records` has each event's `what` and its earliest received_at, by the event's dedupe name.
    """
    decided: list[Decided] = []
    for event, (what, received_at) in records.items():
        if received_at <= known_at:
            decided += [d for d in decided_by(what, received_at, event) if d.rank <= at]
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


def _notice(row: Row) -> Notice:
    return Notice(
        notice=row["notice"],
        site=row["site"],
        notice_id=row["notice_id"],
        version=row["version"],
        asks_again=row["asks_again"],
        published_at=row["published_at"],
        valid_days=dict(zip(row["expiring"], row["valid_days"], strict=True)),
    )


def _record(cipher: AESGCM, row: Row, caller: Caller) -> dict[str, Any]:
    entry = read_entry(row["entry"])
    parts = {name: read_part(cipher, row, name) for name in caller.parts}
    what = parts["what"]
    record: dict[str, Any] = {
        "log": row["log"],
        "index": row["index"],
        "class": entry["class"],
        "recorded_at": entry["recorded_at"],
        "state": "published" if row["published"] else "recorded",
        "parts": {name: part for name, part in parts.items() if part is not None},
        "deleted": [name for name, part in parts.items() if part is None],
    }
    if what is not None:
        record["event"] = what["id"]
    return record


def describe(judged: Judged) -> dict[str, Any]:
    """An answer as the API shows it; members that do not apply are left out."""
    answer, judgement = judged.answer, judged.judgement
    decided = answer.decided
    shown: dict[str, Any] = {
        "purpose": decided.purpose,
        "legal_basis": decided.legal_basis,
        "decision": decided.decision,
        "valid": judgement.valid,
        "reasons": judgement.reasons,
        "decided_at": format_time(decided.rank),
        "log": answer.log,
        "index": answer.index,
    }
    if answer.received_at is not None:
        shown["received_at"] = format_time(answer.received_at)
    if judgement.expires_at is not None:
        shown["expires_at"] = format_time(judgement.expires_at)
    what = answer.what
    if what is None:
        return shown
    shown |= {"event": what["id"], "type": what["type"], "time": what["time"], "site": what["site"]}
    shown |= {"posted_by": what["posted_by"], "words": judgement.words, "marks": what.get("marks", [])}
    if "notice" in what:
        shown["notice"] = what["notice"]
    for posted in what["decisions"]:
        mine = posted["purpose"], posted["legal_basis"], posted["decision"]
        if mine == (decided.purpose, decided.legal_basis, decided.decision):
            shown |= {name: posted[name] for name in ("services", "purpose_version") if name in posted}
    return shown
