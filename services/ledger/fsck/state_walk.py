"""What is true now, again: state, identifiers, links and ages of every subject of one controller, from its records.

Invariant: the projection equals schemas.ranking.latest over the subject's records, and an identifier leads to the
subject whose records name it. Nothing that is decrypted here leaves this module.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Final
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import ProofError
from schemas.events import IDENTIFIER_STRENGTH, parse_time
from schemas.payload import open_part, place_of
from schemas.ranking import Decided, corrected_by, decided_by, is_unconfirmed, latest
from schemas.record import PartName
from services.keys import ControllerKeys, event_mac, identifier_mac
from services.ledger.fsck.ciphers import SubjectCiphers
from services.ledger.fsck.findings import Pace, Report
from services.ledger.fsck.links import ToldLinks, compare_links
from services.ledger.fsck.log_walk import Remember
from services.ledger.fsck.snapshot import Snapshot
from services.ledger.links import LINKED, linked_names
from services.ledger.rights.ages import age_said
from services.ledger.store import AgeSaid, Row

SUBJECTS_A_PAGE: Final = 256
# What a part that the walk over the payloads has already reported can raise here.
_UNREADABLE: Final = (ProofError, KeyError, TypeError, ValueError, AttributeError)

StateKey = tuple[str, str]


@dataclass(slots=True)
class Recomputed:
    """One subject as its records have it."""

    # What its records decide, but for the unconfirmed ones, by site and event id: a correction may undo them.
    state: dict[StateKey, Decided] = field(default_factory=dict)
    unconfirmed: dict[tuple[str, str], list[Decided]] = field(default_factory=dict)
    corrected: set[tuple[str, str] | None] = field(default_factory=set)
    identifiers: set[bytes] = field(default_factory=set)
    links: ToldLinks = field(default_factory=ToldLinks)
    ages: set[AgeSaid] = field(default_factory=set)
    # False once a `who` part is gone: an identifier may then have lost what showed whose it is.
    knows_identifiers: bool = True
    # When the earliest of its acts was done or received.
    earliest: datetime | None = None
    # False if a record could not be read. It is a finding of its own; what follows from it is not another one.
    is_readable: bool = True

    def settled(self) -> dict[StateKey, Decided]:
        """What is true now."""
        doubtful = [decided for event, decided in self.unconfirmed.items() if event not in self.corrected]
        return latest([*self.state.values(), *chain.from_iterable(doubtful)])


class StateWalk:
    """Walks the subjects of one controller once, in id order, some at a time."""

    def __init__(
        self, snapshot: Snapshot, owner: tuple[int, str], keys: ControllerKeys, event_id_key: bytes, report: Report
    ) -> None:
        """`owner` is the controller's id and name."""
        self._snapshot = snapshot
        self._controller, self._controller_name = owner
        self._keys = keys
        self._event_id_key = event_id_key
        self._report = report

    async def run(self, pace: Pace, begun: Mapping[str, Any] | None, remember: Remember) -> None:
        """Page by page: recompute, compare; `begun` is what an earlier run remembered of this walk."""
        total = await self._snapshot.count_subjects(self._controller)
        after, done = None, 0
        if begun is not None:
            after, done = UUID(begun["after"]), begun["done"]
            self._report.merge(begun["report"])
        while page := await self._snapshot.subject_page(self._controller, after, SUBJECTS_A_PAGE):
            await self._page(page)
            after = page[-1]["subject"]
            done += len(page)
            if pace.step(f"{self._controller_name}: state", done, total):
                remember({"after": str(after), "done": done, "report": self._report.as_json()})
        for subject in await self._snapshot.stray_state(self._controller):
            self._add("consent_state", subject, "the subject does not exist")
        for subject in await self._snapshot.stray_identifiers(self._controller):
            self._add("identifiers", subject, "the subject does not exist")
        for subject in await self._snapshot.stray_links(self._controller):
            self._add("links", subject, "the subject does not exist")

    async def _page(self, page: list[Row]) -> None:
        ciphers = SubjectCiphers(self._keys, self._controller_name, Report())
        people = []
        for row in page:
            if row["log"] is None:
                people.append(row["subject"])
                ciphers.add(row)
        recomputed = {subject: Recomputed(is_readable=ciphers.get(subject) is not None) for subject in people}
        async for rows in self._snapshot.subject_parts(self._controller, people):
            await self._fold(rows, ciphers, recomputed)
        # A log's stand-in is nobody: it has neither state nor identifiers.
        everyone = [row["subject"] for row in page]
        for subject in everyone:
            recomputed.setdefault(subject, Recomputed())
        await self._compare_state(everyone, recomputed)
        await self._compare_identifiers(everyone, recomputed)
        await self._compare_ages(everyone, recomputed)
        told = {subject: recomputed[subject].links for subject in everyone if recomputed[subject].is_readable}
        await compare_links(self._snapshot, self._controller, told, self._report)
        for subject, erased_at in (await self._snapshot.buried(self._controller, everyone)).items():
            earliest = recomputed[subject].earliest
            if earliest is not None and earliest <= erased_at:
                self._add("tombstones", subject, "an act from before the erasure of its identifier is recorded")

    async def _fold(self, rows: list[Row], ciphers: SubjectCiphers, recomputed: Mapping[UUID, Recomputed]) -> None:
        """Add some records to what is known of their subjects."""
        secret = self._keys.identifier_key(self._controller_name)
        whats: dict[bytes, tuple[UUID, dict[str, Any]]] = {}
        linked: dict[bytes, list[tuple[int, bytes]]] = {}
        for row in rows:
            subject = recomputed[row["subject"]]
            cipher = ciphers.get(row["subject"])
            if cipher is None:
                continue
            try:
                who = _read_who(cipher, row, secret, subject)
                if row["what"] is not None:
                    what = _read(cipher, row, "what")
                    acted_at = min(parse_time(what["time"]), parse_time(what["received_at"]))
                    subject.earliest = min(acted_at, subject.earliest or acted_at)
                    event = event_mac(self._event_id_key, self._controller_name, what["id"])
                    whats[event] = row["subject"], what
                    if who is None and what["type"] == LINKED:
                        subject.links.unread.add(event)
                    elif who is not None:
                        linked[event] = linked_names(secret, what, who)
            except _UNREADABLE:
                subject.is_readable = False
        received_at = {
            event: row["received_at"]
            for event, row in (await self._snapshot.dedupe_of(self._controller, whats)).items()
        }
        answers: dict[UUID, list[Decided]] = defaultdict(list)
        for event, (subject_id, what) in whats.items():
            try:
                decided = decided_by(what, _known(received_at.get(event)), event)
                if is_unconfirmed(what):
                    recomputed[subject_id].unconfirmed[what["site"], what["id"]] = decided
                else:
                    answers[subject_id] += decided
                recomputed[subject_id].corrected.add(corrected_by(what))
                if (said := age_said(event, what, received_at[event])) is not None:
                    recomputed[subject_id].ages.add(said)
                recomputed[subject_id].links.tell(event, linked.get(event, ()), what, received_at[event])
            except _UNREADABLE:
                recomputed[subject_id].is_readable = False
        for subject_id, decided in answers.items():
            state = recomputed[subject_id].state
            recomputed[subject_id].state = latest([*state.values(), *decided])

    async def _compare_state(self, subjects: Collection[UUID], recomputed: Mapping[UUID, Recomputed]) -> None:
        stored: dict[UUID, dict[StateKey, Row]] = defaultdict(dict)
        for row in await self._snapshot.state_of(self._controller, subjects):
            stored[row["subject"]][row["purpose"], row["legal_basis"]] = row
        for subject in subjects:
            if not recomputed[subject].is_readable:
                continue
            state = recomputed[subject].settled()
            for key in sorted(state.keys() | stored[subject].keys()):
                what = _difference(state.get(key), stored[subject].get(key))
                if what is not None:
                    self._add("consent_state", subject, f"{what}; sayso rebuild projects it anew")

    async def _compare_identifiers(self, subjects: Collection[UUID], recomputed: Mapping[UUID, Recomputed]) -> None:
        stored: dict[UUID, set[bytes]] = defaultdict(set)
        for row in await self._snapshot.identifiers_of(self._controller, subjects):
            stored[row["subject"]].add(row["identifier"])
        linked = await self._snapshot.linked_weak(self._controller, subjects)
        for subject in subjects:
            known = recomputed[subject]
            if not known.is_readable:
                continue
            if known.identifiers - stored[subject]:
                self._add("identifiers", subject, "an identifier in its records does not lead to it")
            unknown = stored[subject] - known.identifiers
            if subject in linked and not known.identifiers and len(unknown) == 1:
                # Known by a link alone: that its name leads here is held against the records of the stronger one.
                continue
            if known.knows_identifiers and unknown:
                self._add("identifiers", subject, "an identifier leads to it that stands in none of its records")

    async def _compare_ages(self, subjects: Collection[UUID], recomputed: Mapping[UUID, Recomputed]) -> None:
        stored: dict[UUID, set[AgeSaid]] = defaultdict(set)
        for row in await self._snapshot.ages_of(self._controller, subjects):
            stored[row["subject"]].add(AgeSaid(row["event"], row["is_over"], row["stated_at"]))
        for subject in subjects:
            known = recomputed[subject]
            if known.is_readable and known.ages != stored[subject]:
                what = "the rows are not what the records say of the age; sayso rebuild projects it anew"
                self._add("ages", subject, what)

    def _add(self, table: str, subject: UUID, what: str) -> None:
        self._report.add(table, None, f"subject {subject}", what)


def _read_who(cipher: AESGCM, row: Row, secret: bytes, subject: Recomputed) -> dict[str, Any] | None:
    """Add the name of the record's strongest identifier: the one whose subject it belongs to; return the part.

    What query or the ledger records of somebody names them by the subject's id alone.
    """
    if row["who"] is None:
        subject.knows_identifiers = False
        return None
    who = _read(cipher, row, "who")
    if "identifiers" not in who and "subject" in who:
        return who
    identifiers = who["identifiers"]
    strongest = max(identifiers, key=lambda identifier: IDENTIFIER_STRENGTH[identifier["type"]])
    subject.identifiers.add(identifier_mac(secret, strongest["type"], strongest["value"]))
    return who


def _read(cipher: AESGCM, row: Row, name: PartName) -> dict[str, Any]:
    _, part = open_part(cipher, row["nonce"], name, place_of(row["origin"], row["index"]), row[name])
    value: dict[str, Any] = orjson.loads(part)
    return value


def _known(received_at: datetime | None) -> datetime:
    if received_at is None:
        raise KeyError("received_at")
    return received_at


def _difference(decided: Decided | None, row: Row | None) -> str | None:
    if row is None:
        return "a decision in the records has no row"
    if decided is None:
        return "no record decides what the row says"
    if (decided.decision, decided.rank, decided.event) != (row["decision"], row["rank"], row["event"]):
        return "the row is not what the records say"
    return None
