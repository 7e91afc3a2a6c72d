"""The personal side of one log: parts open at their place, make the commitment, and are known to the dedupe.

A part may be gone only as often as erasures that an entry states have deleted it (declared.py): a quiet deletion shows.
Nothing that is decrypted here leaves this module.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.canonical import canonical_json
from schemas.errors import ConfigurationError, ProofError
from schemas.event_types import entry_class
from schemas.events import parse_time
from schemas.payload import open_part, place_of
from schemas.ranking import decided_by
from schemas.record import PART_NAMES, SALT_BYTES, PartName, commitment, part_digest, read_entry
from services.keys import ControllerKeys, event_mac
from services.ledger.fsck.ciphers import SubjectCiphers
from services.ledger.fsck.declared import Declared
from services.ledger.fsck.findings import Pace, Report
from services.ledger.fsck.growth import CHUNK
from services.ledger.fsck.log_walk import Remember
from services.ledger.fsck.snapshot import SeenLog, Snapshot
from services.ledger.store import Row


class PayloadWalk:
    """Walks the payloads of one log once, in the order of its records."""

    def __init__(
        self, snapshot: Snapshot, log: SeenLog, keys: ControllerKeys, event_id_key: bytes, report: Report
    ) -> None:
        """`event_id_key` names events in the dedupe."""
        self._snapshot = snapshot
        self._log = log
        self._event_id_key = event_id_key
        self._report = report
        self._keys = keys
        self._ciphers = SubjectCiphers(keys, log.controller_name, report)
        self._sites: frozenset[str] = frozenset()
        self._declared = Declared(log, report)
        # By part: how many are gone, and the first record they are gone from.
        self._missing: Counter[str] = Counter()
        self._first_missing: dict[str, int] = {}

    async def run(self, end: int, pace: Pace, begun: Mapping[str, Any] | None, remember: Remember) -> None:
        """Check the payloads of the records below `end`; `begun` is what an earlier run remembered of this walk.

        1. Chunk by chunk: open, commit, look up in the dedupe; 2. rows without a record, and what the dedupe remembers
        that it may not; 3. missing against erased.
        """
        start = 0 if begun is None else self._go_on(begun)
        self._sites = await self._snapshot.sites(self._log.controller)
        await self._declared.load(self._snapshot, start)
        for first in range(start, end, CHUNK):
            last = min(first + CHUNK, end)
            await self._chunk(first, last)
            is_due = pace.step(f"{self._log.name}: payloads", last, end)
            if is_due and last - first == CHUNK:
                remember(self._remembered(last))
        await self._rows_of_no_record(end)
        for row in await self._snapshot.dedupe_remembers(self._log):
            self._check_memory(row)
        erased = self._declared.ended()
        for name in PART_NAMES:
            if self._missing[name] != erased[name]:
                what = f"{self._missing[name]} parts {name!r} are missing, but {erased[name]} were erased"
                self._add("payloads", self._first_missing.get(name, 0), what)

    def _remembered(self, size: int) -> dict[str, Any]:
        return {
            "size": size,
            "missing": dict(self._missing),
            "first_missing": dict(self._first_missing),
            "stated": self._declared.stated(),
            "report": self._report.as_json(),
        }

    def _go_on(self, begun: Mapping[str, Any]) -> int:
        self._missing.update(begun["missing"])
        self._first_missing.update(begun["first_missing"])
        self._declared.go_on(begun["stated"])
        self._report.merge(begun["report"])
        size: int = begun["size"]
        return size

    async def _rows_of_no_record(self, end: int) -> None:
        for index in await self._snapshot.payloads_outside(self._log, end):
            self._add("payloads", index, "the payload has no record")
        for index in await self._snapshot.minimal_proofs_outside(self._log, end):
            self._add("minimal_proofs", index, "the minimal proof has no record")
        for row in await self._snapshot.dedupe_disagrees(self._log):
            what = f"the dedupe names this record {row['names']} times, not once"
            self._add(
                "dedupe", row["index"], "the dedupe names a record that is not there" if row["no_record"] else what
            )

    def _check_memory(self, row: Row) -> None:
        """One event that the dedupe knows more or less of than it may."""
        if row["index"] is None:
            what = "the event was dropped, but more than its name is kept"
            self._report.add("dedupe", self._log.name, f"event {row['event'].hex()}", what)
        elif row["has_content"] != row["has_time"]:
            self._add("dedupe", row["index"], "content and received_at are not both there or both gone")
        else:
            self._add("dedupe", row["index"], "the payload is gone, but its content and time are still known")

    async def _chunk(self, first: int, last: int) -> None:
        log = self._log
        payloads = await self._snapshot.payloads(log, first, last)
        proofs = await self._snapshot.minimal_proofs(log, first, last)
        await self._ciphers.load(self._snapshot, log.controller, {row["subject"] for row in payloads.values()})
        recorded: list[tuple[bytes, int, dict[str, Any]]] = []
        erased: list[tuple[bytes, int]] = []
        for row in await self._snapshot.entries(log, first, last):
            index = row["index"]
            payload, proof = payloads.pop(index, None), proofs.pop(index, None)
            entry = self._read_entry(row["entry"])
            what = None if payload is None else self._check_payload(index, payload, entry)
            if entry is not None and "erased" in entry:
                self._declared.entry(index, entry["erased"], what)
            if proof is not None and (event := self._check_minimal_proof(index, proof, payload, entry)) is not None:
                erased.append((event, index))
            if payload is None:
                for name in PART_NAMES:
                    if name != "what" or proof is None:
                        self._miss(name, index)
            elif what is not None:
                recorded.append((event_mac(self._event_id_key, log.controller_name, what["id"]), index, what))
        self._declared.chunk_ended(last)
        for index in sorted(payloads):
            self._add("payloads", index, "the payload has no record")
        for index in sorted(proofs):
            self._add("minimal_proofs", index, "the minimal proof has no record")
        await self._check_dedupe(recorded, erased)

    def _check_minimal_proof(
        self, index: int, proof: Row, payload: Row | None, entry: dict[str, Any] | None
    ) -> bytes | None:
        """What a rule has kept of an erased record still makes the commitment in its entry; its event's name."""
        if payload is not None:
            self._add("minimal_proofs", index, "the payload that it was kept of is still there")
        if not proof["has_erasure"]:
            self._add("minimal_proofs", index, "the erasure that it was kept by is not there")
        try:
            cipher = AESGCM(self._keys.proof_key(self._log.controller_name))
            kept = cipher.decrypt(proof["nonce"], proof["what"], place_of(self._log.origin, index))
        except ConfigurationError:
            self._add("minimal_proofs", index, "the controller's proof key is missing")
            return None
        except (InvalidTag, ValueError):
            self._add("minimal_proofs", index, "it does not open: it, its nonce or its place was changed")
            return None
        digest = part_digest("what", kept[:SALT_BYTES], kept[SALT_BYTES:])
        made = commitment(proof["who_digest"], digest, proof["context_digest"])
        if entry is not None and made.hex() != entry["commitment"]:
            self._add("minimal_proofs", index, "the part and the two digests do not make the commitment in the entry")
            return None
        return event_mac(self._event_id_key, self._log.controller_name, orjson.loads(kept[SALT_BYTES:])["id"])

    def _read_entry(self, entry: bytes) -> dict[str, Any] | None:
        """None if it does not parse, which the walk over the log has reported."""
        try:
            return read_entry(entry)
        except ProofError:
            return None

    def _miss(self, name: str, index: int) -> None:
        self._missing[name] += 1
        self._first_missing.setdefault(name, index)

    def _check_payload(self, index: int, payload: Row, entry: dict[str, Any] | None) -> dict[str, Any] | None:
        """Check one payload; return its `what`, None if that is gone or unreadable."""
        parts, digests = self._open(index, payload)
        if entry is not None and len(digests) == len(PART_NAMES):
            made = commitment(digests["who"], digests["what"], digests["context"])
            if made.hex() != entry["commitment"]:
                self._add("payloads", index, "the parts do not make the commitment in the entry")
        values = {name: self._canonical(index, name, part) for name, part in parts.items()}
        what = values.get("what")
        if what is None or entry is None:
            return None
        for problem in self._problems(what, entry):
            self._add("payloads", index, problem, part="what")
        return what if isinstance(what.get("id"), str) else None

    def _open(self, index: int, payload: Row) -> tuple[dict[PartName, bytes], dict[PartName, bytes]]:
        """The parts that are there, and the digest of every part that has one."""
        parts: dict[PartName, bytes] = {}
        digests: dict[PartName, bytes] = {}
        place = place_of(self._log.origin, index)
        cipher = self._ciphers.get(payload["subject"])
        if not self._ciphers.exists(payload["subject"]):
            self._add("payloads", index, "its subject does not exist")
        for name in PART_NAMES:
            sealed, digest = payload[name], payload[f"{name}_digest"]
            if sealed is None:
                self._miss(name, index)
                if digest is None:
                    self._add("payloads", index, "the part was deleted without leaving its digest", part=name)
                else:
                    digests[name] = digest
            elif cipher is not None:
                try:
                    salt, parts[name] = open_part(cipher, payload["nonce"], name, place, sealed)
                except (ProofError, ValueError):
                    self._add(
                        "payloads", index, "the part does not open: it, its nonce or its place was changed", part=name
                    )
                    continue
                digests[name] = part_digest(name, salt, parts[name])
                if digest is not None and digest != digests[name]:
                    self._add("payloads", index, "the stored digest is not that of the part", part=name)
        return parts, digests

    def _canonical(self, index: int, name: PartName, part: bytes) -> dict[str, Any] | None:
        try:
            value = orjson.loads(part)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict) or canonical_json(value) != part:
            self._add("payloads", index, "the part is not a canonical JSON object", part=name)
            return None
        return value

    def _problems(self, what: Mapping[str, Any], entry: Mapping[str, Any]) -> list[str]:
        """What `what` lacks, and where the public entry says otherwise."""
        found = []
        if not isinstance(what.get("id"), str):
            found.append("the part names no event id")
        if what.get("site") not in self._sites:
            found.append("the part names no site of this controller")
        try:
            if entry_class(what["type"]) != entry["class"]:
                found.append("the type is not of the class in the entry")
        except (KeyError, AttributeError):
            found.append("the part names no known type")
        notice = what.get("notice")
        if "notice" in entry and (not isinstance(notice, dict) or notice.get("sha256") != entry["notice"]):
            found.append("the notice in the entry is not the one in the part")
        return found

    async def _check_dedupe(
        self, recorded: Sequence[tuple[bytes, int, dict[str, Any]]], erased: Sequence[tuple[bytes, int]]
    ) -> None:
        """Each event is known, at this place, not as erased, and received no later than the copy that was recorded.

        What the dedupe keeps of the content cannot be recomputed: the digest it was made of is stored nowhere. Of an
        erased record only a minimal proof still tells the event.
        """
        events = {event for event, _, _ in recorded} | {event for event, _ in erased}
        known = await self._snapshot.dedupe_of(self._log.controller, events)
        for event, index in erased:
            row = known.get(event)
            if row is None or (row["log"], row["index"]) != (self._log.log, index):
                self._add("dedupe", index, "the event of the minimal proof is not known to the dedupe at this place")
        for event, index, what in recorded:
            row = known.get(event)
            if row is None:
                self._add("dedupe", index, "the event of this record is not known to the dedupe")
                continue
            if (row["log"], row["index"]) != (self._log.log, index):
                self._add("dedupe", index, "the dedupe points to another place for the event of this record")
            if row["is_erased"] or row["received_at"] is None:
                self._add("dedupe", index, "the dedupe says that this record's subject was erased")
                continue
            try:
                decided_by(what, row["received_at"], event)
                is_later = row["received_at"] > parse_time(what["received_at"])
            except (KeyError, TypeError, ValueError, AttributeError):
                self._add("payloads", index, "times or decisions cannot be read", part="what")
                continue
            if is_later:
                self._add("dedupe", index, "received_at is after the copy that was recorded")

    def _add(self, table: str, index: int, what: str, *, part: PartName | None = None) -> None:
        where = f"index {index}" if part is None else f"index {index}, part {part}"
        self._report.add(table, self._log.name, where, what, index=index)
