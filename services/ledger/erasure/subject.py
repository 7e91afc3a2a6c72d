"""Erasure of a subject: everything that leads to a person goes, every other proof stays (design, section 3, Erasure).

Invariant: the line in the suppression file is durable before anything is deleted, and each log that held parts of the
subject gets an entry that says how many. All of it is one transaction of the caller, who holds the heads of all logs
of the controller; so no record of the subject can be written meanwhile, and none is written after.
"""

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.events import IDENTIFIER_STRENGTH
from schemas.payload import open_part, place_of
from schemas.record import PART_NAMES, PartName, format_time, part_digest
from services.keys import ControllerKeys, identifier_mac
from services.ledger.appending import Appending, LogId
from services.ledger.downstream.triggers import adopt_triggers, make_erasure_triggers
from services.ledger.erasure.dockets import docket_content, open_docket
from services.ledger.erasure.gathering import UNREADABLE, Gathered, Gatherer
from services.ledger.erasure.holding import Held, held
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.suppressing import suppress_objections
from services.ledger.opening import ERASED, Opened, read_ask, read_request
from services.ledger.own_records import own_record
from services.ledger.registry import Log
from services.ledger.rights.holds import forget_holds, standing_hold
from services.ledger.store import Row, Store
from services.suppression import Suppressed, Suppression

_PROOF_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Terms:
    """How long what outlives an erasure lives: tombstones of names, and dockets nobody closes."""

    tombstone: timedelta
    docket: timedelta


@dataclass(frozen=True, slots=True)
class Asked:
    """What an ask adds to what is erased: when it was made, where the answer goes, and whom it takes along."""

    at: str
    reply_to: Mapping[str, Any] | None = None
    # The request that it answers: whoever made it is told, though the docket may not know where.
    request: UUID | None = None
    taken_along: Collection[UUID] = ()

    @property
    def has_somebody_to_tell(self) -> bool:
        return self.request is not None or self.reply_to is not None


@dataclass(frozen=True, slots=True)
class Declaration:
    """A record that states what an erasure deleted of `log`, which it stands in or whose successor it stands in."""

    record: Opened
    number: int
    log: int


def _asked(ask: Opened, taken_along: Collection[UUID]) -> Asked:
    reply_to = orjson.loads(ask.parts.context).get("reply_to")
    return Asked(ask.what["time"], reply_to, read_request(ask.what), taken_along)


def log_of(row: Row) -> Log:
    """A log from a row of `ErasureStore.open_logs`."""
    names = frozenset(row["sites"])
    return Log(row["controller"], row["controller_name"], row["log"], row["name"], row["origin"], names, row["follows"])


async def append_declarations(
    appending: Appending, erasures: ErasureStore, declarations: Sequence[Declaration]
) -> None:
    """Append records of one controller whose heads are locked, and note which entry states which counts."""
    if not declarations:
        return
    ends = {d.record.log.log: appending.heads[d.record.log.controller, d.record.log.log].size for d in declarations}
    await appending.write([d.record for d in declarations])
    for declaration in declarations:
        log = declaration.record.log
        place = log.log, ends[log.log]
        await erasures.declare(log.controller, declaration.number, declaration.log, place)
        ends[log.log] += 1


class Eraser:
    """Erases on behalf of one ledger process."""

    def __init__(self, keys: ControllerKeys, event_id_key: bytes, suppression: Suppression, terms: Terms) -> None:
        """`event_id_key` names events in the dedupe."""
        self._keys = keys
        self._event_id_key = event_id_key
        self._gatherer = Gatherer(keys, event_id_key)
        self._suppression = suppression
        self._terms = terms

    async def erase(
        self, erasures: ErasureStore, store: Store, ask: Opened, heads: Collection[LogId]
    ) -> list[Declaration] | Held:
        """Erase the subject that a message asks to erase; return the records that say so, none if there is no subject.

        `heads` are those that the caller has locked: of all logs of the controller that take records.
        1. Lock the subject, and those who are linked to it alone; 2. if one of them is held, nobody is erased;
        3. erase the linked ones first: after a crash between the lines the ask finds its subject still there; 4. gather
        what leads to it; 5. write the line, durably; 6. delete; 7. say so in every log.
        """
        owner = controller, _ = ask.log.controller, ask.log.controller_name
        subject, _ = read_ask(ask.what)
        rows = await self._lock(erasures, store, controller, subject)
        row = rows.pop(subject, None)
        if row is None or row["log"] is not None:
            return []
        now = datetime.now(UTC)
        hold = await standing_hold(erasures.connection, controller, [subject, *rows], now)
        if hold is not None:
            return held(ask, self._event_id_key, hold, now)
        weaker = Gathered()
        for linked, linked_row in rows.items():
            gathered = await self._gatherer.gather(erasures, owner, linked, linked_row, Gathered())
            line = await self._write_line(erasures, ask, linked, gathered)
            # One person, one docket: it is opened under the number of whom was asked for.
            await self._delete(erasures, controller, line, gathered, None)
            weaker.identifiers |= gathered.identifiers
            weaker.weaker_names |= gathered.names
            weaker.objections |= gathered.objections
            weaker.add_services(gathered)
        gathered = await self._gatherer.gather(erasures, owner, subject, row, weaker)
        line = await self._write_line(erasures, ask, subject, gathered)
        await self._delete(erasures, controller, line, gathered, _asked(ask, rows))
        return await self.records(erasures, controller, ask, heads)

    async def _lock(self, erasures: ErasureStore, store: Store, controller: int, subject: UUID) -> dict[UUID, Row]:
        """The rows of a subject, and of those that go with it, in id order like everybody's locks."""
        linked = await erasures.linked_only_to(controller, subject)
        rows = {one: await store.lock_subject(controller, one) for one in sorted([subject, *linked])}
        # Asked again behind the locks: somebody may have been linked to another meanwhile.
        still = {subject, *await erasures.linked_only_to(controller, subject)}
        return {one: row for one, row in rows.items() if row is not None and one in still}

    async def _write_line(self, erasures: ErasureStore, ask: Opened, subject: UUID, gathered: Gathered) -> Suppressed:
        return await asyncio.to_thread(
            self._suppression.append,
            controller=ask.log.controller_name,
            subject=subject,
            identifiers=sorted(gathered.names),
            erased_at=datetime.now(UTC),
            event=ask.event,
            ground=read_ask(ask.what)[1],
            after=await erasures.last_number(),
        )

    async def apply(self, erasures: ErasureStore, store: Store, controller: int, line: Suppressed) -> bool:
        """Apply a line that this database lacks: only delete; the counts are stated by whoever may append.

        False if the subject was not there, so that nothing was deleted but its names were buried.
        """
        subject = line.subject
        if subject is None:
            await erasures.write_erasure(controller, line.number, None, None, line.ground, line.erased_at)
            await self.delete_controller(erasures, controller, line)
            return True
        row = await store.lock_subject(controller, subject)
        gathered = Gathered()
        if row is not None:
            gathered = await self._gatherer.gather(erasures, (controller, line.controller), subject, row, gathered)
        gathered.names |= set(line.identifiers)
        await self._delete(erasures, controller, line, gathered, Asked(format_time(line.erased_at)))
        return row is not None

    async def delete_controller(self, erasures: ErasureStore, controller: int, line: Suppressed) -> None:
        """The personal side of a whole controller, its number written. Its key files go after the commit."""
        await erasures.delete_controller(controller, line.erased_at)
        await erasures.mark_controller(controller, line.erased_at)

    async def records(
        self, erasures: ErasureStore, controller: int, ask: Opened | None, heads: Collection[LogId]
    ) -> list[Declaration]:
        """A record for each log with deleted parts that no entry states yet; the ask's log gets one in any case.

        What a log has to state that is not among `heads`, because it was opened just now, is left for the next time.
        """
        logs = {row["log"]: log_of(row) for row in await erasures.open_logs(controller)}
        now = datetime.now(UTC)
        # The erasure that was asked for; others are older ones that no entry states yet.
        asked = None if ask is None else await erasures.erasure_of_subject(controller, read_ask(ask.what)[0])
        found = []
        for row in await erasures.undeclared(controller):
            log = logs.get(row["heir"])
            if log is None or (controller, log.log) not in heads:
                continue
            stated = {
                "number": row["number"],
                "scope": "controller" if row["subject"] is None else "subject",
                "ground": row["ground"],
            }
            if row["heir"] != row["log"]:
                stated["log"] = row["origin"]
            ours = ask is not None and ask.log.log == row["log"] and row["number"] == asked
            record = self._record(log, stated, [row[name] for name in PART_NAMES], now, ask if ours else None)
            found.append(Declaration(record, row["number"], row["log"]))
        if ask is not None and asked is not None and all(d.record.what["id"] != ask.what["id"] for d in found):
            stated = {"number": asked, "scope": "subject", "ground": read_ask(ask.what)[1]}
            found.append(Declaration(self._record(ask.log, stated, [0, 0, 0], now, ask), asked, ask.log.log))
        return found

    def _record(
        self, log: Log, stated: Mapping[str, Any], counts: Sequence[int], now: datetime, ask: Opened | None
    ) -> Opened:
        erased: dict[str, int] = dict(zip(PART_NAMES, counts, strict=True))
        # The ask itself is not kept: when it was made stands here.
        members = {"erasure": stated if ask is None else {**stated, "asked_at": ask.what["time"]}}
        return own_record(log, self._event_id_key, ERASED, members, now, asked=ask, erased=erased)

    async def _delete(
        self,
        erasures: ErasureStore,
        controller: int,
        line: Suppressed,
        gathered: Gathered,
        asked: Asked | None,
    ) -> None:
        """1. The number; 2. minimal proofs by rule; 3. count; 4. if `asked`, the docket, and triggers to the systems
        that hold something of the person; 5. tombstones; 6. objections; 7. delete.
        """
        owner, subject = (controller, line.controller), line.subject
        assert subject is not None  # a whole controller goes by delete_controller
        await erasures.write_erasure(controller, line.number, line.event, line.subject, line.ground, line.erased_at)
        await self._keep_minimal_proofs(erasures, owner, line, gathered)
        await erasures.count_parts(controller, line.number, subject)
        in_time = line.erased_at + self._terms.docket > datetime.now(UTC)
        if asked is not None and in_time and gathered.cipher is not None:
            steps = [] if asked.request is None else await erasures.request_steps(controller, asked.request)
            history = [*steps, {"step": "asked", "at": asked.at, "ground": line.ground}]
            content = docket_content(sorted(gathered.identifiers), history, asked.reply_to)
            await open_docket(erasures, self._keys, owner, line.number, content, (line.erased_at, self._terms.docket))
            made = await make_erasure_triggers(erasures.connection, (controller, line.number), line.erased_at, gathered)
            await adopt_triggers(erasures.connection, (controller, line.number), [subject, *asked.taken_along])
            if made and not asked.has_somebody_to_tell:
                await erasures.nobody_to_tell(controller, line.number)
        names = sorted(gathered.names)
        await erasures.bury(controller, names, line.erased_at, line.erased_at + self._terms.tombstone)
        await erasures.forget_events(controller, gathered.events)
        if gathered.has_unnamed:
            await erasures.forget_places(controller, subject)
        await suppress_objections(
            erasures.connection, self._keys, owner, gathered.identifiers, gathered.objections, line.erased_at
        )
        await forget_holds(erasures.connection, controller, subject)
        await erasures.delete_subject(controller, subject, names)
        if asked is not None and asked.request is not None:
            await erasures.answer_request(controller, asked.request, line.number)

    async def _keep_minimal_proofs(
        self, erasures: ErasureStore, owner: tuple[int, str], line: Suppressed, gathered: Gathered
    ) -> None:
        """What the controller's written rules keep: the part `what` of records that decide a ruled purpose."""
        controller, name = owner
        cipher = gathered.cipher
        if cipher is None or not gathered.ruled or not gathered.identifiers:
            return
        key = self._keys.create_proof_key(name)
        strongest = max(gathered.identifiers, key=lambda known: (IDENTIFIER_STRENGTH[known[0]], known))
        identifier = identifier_mac(key, *strongest)
        for row, ground, days in gathered.ruled:
            place = place_of(row["origin"], row["index"])
            try:
                salt, part = open_part(cipher, row["nonce"], "what", place, row["what"])
                digests = _digest(cipher, row, "who"), _digest(cipher, row, "context")
            except UNREADABLE:
                # Without the other digests it would prove nothing.
                continue
            nonce = os.urandom(_PROOF_NONCE_BYTES)
            await erasures.keep_minimal_proof(
                (
                    controller,
                    row["log"],
                    row["index"],
                    line.number,
                    identifier,
                    nonce,
                    AESGCM(key).encrypt(nonce, salt + part, place),
                    *digests,
                    ground,
                    line.erased_at + timedelta(days=days),
                )
            )


def _digest(cipher: AESGCM, row: Row, name: PartName) -> bytes:
    """The digest of a part, from the part or from what it left behind."""
    if row[name] is None:
        return bytes(row[f"{name}_digest"])
    return part_digest(name, *open_part(cipher, row["nonce"], name, place_of(row["origin"], row["index"]), row[name]))
