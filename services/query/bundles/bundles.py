"""Makes proof bundles: chooses the checkpoint, gathers what outsiders said of it, and sets the report.

Invariant: proof and timestamps are over the same checkpoint, one for each log, and it is a published one.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from schemas.bundle import Bundle
from schemas.errors import NoConsentStated, NotFound, NotPublishedYet, ReceiptIncomplete, RoleNotAllowed
from schemas.manifest import notice_text
from schemas.record import PartName, format_time, read_entry
from schemas.strict_json import read_json, write_json
from services.keys import ControllerKeys, event_mac
from services.postgres import Pool, controller_transaction
from services.query.auth import Caller
from services.query.bundles.certificates import Certificate, Certificates
from services.query.bundles.evidence import log_evidence
from services.query.bundles.files import Dossier, LogEvidence, Proven, bundle_zip, report_facts
from services.query.bundles.report.pdf import report_pdf
from services.query.bundles.store import BundleStore
from services.query.bundles.trust import Trust
from services.query.decisions import Decisions, Moment
from services.query.grants.scope import has_record, is_limited, require_subject, visible_parts
from services.query.parameters import encode_cursor
from services.query.payloads import disclose, read_part, subject_cipher
from services.query.proofs import RETRY_AFTER_S
from services.query.published import PublishedLogs
from services.query.receipts import Receipts
from services.query.status import describe
from services.query.store import Reader, Row

# How long an export waits for the ledger to have a checkpoint timestamped; then it goes without.
STAMP_WAIT_S: Final = 5
STAMP_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Made:
    """A finished bundle."""

    zip: bytes
    pdf: bytes


@dataclass(frozen=True, slots=True)
class Fixed:
    """What an export has settled: the size of each log's one checkpoint, the time it speaks of, the parts it shows."""

    sizes: Mapping[int, int]
    made_at: datetime
    parts: Collection[PartName]
    # None: every purpose.
    purposes: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Records that are proven, with their logs by origin; whose they are."""

    controller: Mapping[str, str]
    proven: Sequence[Proven]
    logs: Mapping[str, LogEvidence]


@dataclass(frozen=True, slots=True)
class Bundles:
    """Makes bundles; holds what opens records and what the operator lets bundles bring along."""

    pool: Pool
    keys: ControllerKeys
    event_id_key: bytes
    published: PublishedLogs
    subjects: Decisions
    certificates: Certificates
    receipts: Receipts
    trust: Trust

    async def event(self, caller: Caller, event_id: UUID, wanted: Collection[PartName] | None) -> Made:
        """The bundle of one event with the parts wanted, or all that the role may see, and the state of its purposes.

        Raises RoleNotAllowed, NotFound, NotPublishedYet; ProofError when stored rows contradict each other.
        """
        if wanted is not None and not set(wanted) <= set(caller.parts):
            raise RoleNotAllowed
        name = event_mac(self.event_id_key, caller.controller_name, str(event_id))
        async with controller_transaction(self.pool, caller.controller, subjects=caller.scope) as connection:
            row = await BundleStore(connection, caller.controller).event(name, looks=caller.role == "dpo")
        if row is None or not has_record(caller, self._what(caller, row)):
            raise NotFound
        require_subject(caller, row["subject"])
        about = {"kind": "event", "event": str(event_id)}
        what = self._what(caller, row) or {}
        purposes = {decision["purpose"] for decision in what.get("decisions", [])}
        state = None if row["subject"] is None else await self._state(caller, row["subject"], purposes)
        return await self._make(caller, about, [row], state, wanted=wanted)

    async def subject(self, caller: Caller, subject: UUID, after: tuple[int, int], most: int) -> Made:
        """The bundle of a page of a subject's published records. Raises as `event` does."""
        require_subject(caller, subject)
        is_complete = after[1] < 0 and not is_limited(caller)
        rows, more = await self._chosen(caller, subject, after, most)
        if not rows:
            raise NotFound
        about = {"kind": "subject", "subject": str(subject), "complete": is_complete and more is None}
        following = None if more is None else encode_cursor(more)
        return await self._make(caller, about, rows, await self._state(caller, subject, None), following)

    async def erasure(self, caller: Caller, event_id: UUID) -> Made:
        """The certificate of an erasure, and the records that declare it. Raises NotFound, NotPublishedYet."""
        certificate = await self.certificates.of_event(caller, event_id)
        async with controller_transaction(self.pool, caller.controller) as connection:
            rows = await BundleStore(connection, caller.controller).declarations(certificate.number)
        about = {"kind": "erasure", "subject": certificate.claims.get("subject")}
        return await self._make(caller, about, rows, None, certificate=certificate)

    async def _chosen(
        self, caller: Caller, subject: UUID, after: tuple[int, int], most: int
    ) -> tuple[list[Row], tuple[int, int] | None]:
        """Up to `most` records after a place that the caller's grant chooses, and the place to go on after."""
        chosen: list[Row] = []
        async with controller_transaction(self.pool, caller.controller, subjects=caller.scope) as connection:
            store = BundleStore(connection, caller.controller)
            while True:
                room = most - len(chosen)
                rows = await store.records(subject, after, room + 1)
                for row in rows[:room]:
                    after = row["log_number"], row["index"]
                    if has_record(caller, self._what(caller, row)):
                        chosen.append(row)
                if len(rows) <= room:
                    return chosen, None
                if len(chosen) == most:
                    return chosen, after

    def _what(self, caller: Caller, row: Row) -> dict[str, Any] | None:
        return read_part(subject_cipher(self.keys, caller.controller_name, row), row, "what")

    async def _state(self, caller: Caller, subject: UUID, purposes: set[str] | None) -> dict[str, Any]:
        """What stands now, of some purposes or of all."""
        state = await self.subjects.state(caller, UUID(int=subject.int), Moment())
        judged = [one for one in state.judged if purposes is None or one.answer.decided.purpose in purposes]
        decisions = [describe(one) for one in judged]
        return {"at": format_time(state.at), "known_at": format_time(state.known_at), "decisions": decisions}

    async def _make(
        self,
        caller: Caller,
        about: Mapping[str, Any],
        rows: Sequence[Row],
        state: Mapping[str, Any] | None,
        following: str | None = None,
        *,
        wanted: Collection[PartName] | None = None,
        certificate: Certificate | None = None,
    ) -> Made:
        """1. One covering checkpoint for each log, timestamped if it can be; 2. proofs and evidence; 3. the files."""
        ends: dict[int, int] = {}
        for row in rows:
            ends[row["log_number"]] = max(row["index"], ends.get(row["log_number"], 0))
        sizes = {log: await self.covering_size(caller, log, index) for log, index in ends.items()}
        evidence = await self._prove(caller, rows, sizes, caller.parts if wanted is None else wanted)
        if not evidence.proven:
            raise NotFound
        dossier = self._dossier(evidence, about, rows, format_time(datetime.now(UTC)), state)
        dossier = replace(dossier, next=following, certificate=certificate)
        return await asyncio.to_thread(_draw, dossier)

    async def chosen(self, caller: Caller, subject: UUID, rows: Sequence[Row], fixed: Fixed) -> tuple[Made, int] | None:
        """The bundle of some records of a subject, for an export, and how many it holds; None if none can be proven.

        What stands is said as of the moment given, so that the same export makes the same bundle again.
        """
        evidence = await self._prove(caller, rows, fixed.sizes, fixed.parts)
        if not evidence.proven:
            return None
        at = await self.subjects.state(caller, subject, Moment(fixed.made_at, fixed.made_at))
        state = {
            "at": format_time(at.at),
            "known_at": format_time(at.known_at),
            "decisions": [
                describe(one)
                for one in at.judged
                if fixed.purposes is None or one.answer.decided.purpose in fixed.purposes
            ],
        }
        about = {"kind": "subject", "subject": str(subject), "complete": False}
        dossier = self._dossier(evidence, about, rows, format_time(fixed.made_at), state)
        return await asyncio.to_thread(_draw, dossier), len(evidence.proven)

    async def _prove(
        self, caller: Caller, rows: Sequence[Row], sizes: Mapping[int, int], shown: Collection[PartName]
    ) -> _Evidence:
        """Each row's proof under the checkpoint of that size of its log, and what outsiders say of it."""
        async with controller_transaction(self.pool, caller.controller, subjects=caller.scope) as connection:
            reader, store = Reader(connection, caller.controller), BundleStore(connection, caller.controller)
            controller = await store.controller()
            logs: dict[str, LogEvidence] = {}
            for row in rows:
                if row["origin"] not in logs:
                    logs[row["origin"]] = await log_evidence(reader, store, self.trust, row, sizes[row["log_number"]])
            proofs = [await self._proof(caller, reader, row, logs[row["origin"]], shown) for row in rows]
        proven = [
            Proven(proof, row["log"], await self._receipt(caller, proof))
            for row, proof in zip(rows, proofs, strict=True)
            if proof is not None
        ]
        return _Evidence(dict(controller), proven, logs)

    def _dossier(
        self,
        evidence: _Evidence,
        about: Mapping[str, Any],
        rows: Sequence[Row],
        made_at: str,
        state: Mapping[str, Any] | None,
    ) -> Dossier:
        proven = evidence.proven
        return Dossier(
            made_at=made_at,
            about=about,
            controller=evidence.controller,
            records=proven,
            logs={origin: evidence.logs[origin] for origin in dict.fromkeys(one.proof.origin for one in proven)},
            state=state,
            left_out=len(rows) - len(proven),
            receipt_keys=write_json(self.receipts.jwks()),
        )

    async def covering_size(self, caller: Caller, log: int, index: int) -> int:
        """The size of the checkpoint to prove under: with a timestamp if one is there, or comes in time.

        Raises NotPublishedYet.
        """
        sizes = await self._sizes(caller, log, index)
        if sizes["stamped"] is None and (sizes["has_authorities"] or self.trust.roots):
            async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
                await BundleStore(connection, caller.controller).wish_timestamp(log, sizes["published"])
            sizes = await self._stamped_in_time(caller, log, index)
        size: int = sizes["published"] if sizes["stamped"] is None else sizes["stamped"]
        return size

    async def _stamped_in_time(self, caller: Caller, log: int, index: int) -> Row:
        """The sizes once one is timestamped, the ledger has given up, or STAMP_WAIT_S are over."""
        deadline = time.monotonic() + STAMP_WAIT_S
        while True:
            sizes = await self._sizes(caller, log, index)
            if sizes["stamped"] is not None or not sizes["wished"] or time.monotonic() >= deadline:
                return sizes
            await asyncio.sleep(STAMP_POLL_S)

    async def _sizes(self, caller: Caller, log: int, index: int) -> Row:
        async with controller_transaction(self.pool, caller.controller) as connection:
            sizes = await BundleStore(connection, caller.controller).covering_sizes(log, index)
        if sizes is None:
            raise NotPublishedYet(retry_after_s=RETRY_AFTER_S)
        return sizes

    async def _proof(
        self, caller: Caller, reader: Reader, row: Row, log: LogEvidence, shown: Collection[PartName]
    ) -> Bundle | None:
        """The proof document of a row; None if its decision part was deleted, which leaves no event to name it by."""
        cipher = subject_cipher(self.keys, caller.controller_name, row)
        what = read_part(cipher, row, "what")
        parts = disclose(cipher, row, set(shown) & set(visible_parts(caller, what)))
        if what is None or parts is None:
            return None
        named = read_entry(row["entry"]).get("notice")
        return Bundle(
            event=what["id"],
            origin=row["origin"],
            vkey=log.vkey,
            index=row["index"],
            entry=row["entry"],
            path=await self.published.inclusion(reader, row["log_number"], row["index"], log.size),
            checkpoint=log.note,
            disclosed=parts[0],
            digests=parts[1],
            notice=None if named is None else await reader.notice_content(bytes.fromhex(named)),
        )

    async def _receipt(self, caller: Caller, proof: Bundle) -> str | None:
        """The receipt of a record, None where it states no consent or the controller's details are not complete."""
        try:
            return (await self.receipts.issue(caller, proof, "iso27560")).jws
        except (NoConsentStated, ReceiptIncomplete, NotFound):
            return None


def _draw(dossier: Dossier) -> Made:
    facts = report_facts(dossier)
    pdf = report_pdf(facts, dict(_notice_texts(dossier.records)))
    return Made(bundle_zip(dossier, facts, pdf), pdf)


def _notice_texts(records: Iterable[Proven]) -> Iterable[tuple[str, str]]:
    for record in records:
        if record.proof.notice is not None:
            yield read_entry(record.proof.entry)["notice"], notice_text(read_json(record.proof.notice)[0])
