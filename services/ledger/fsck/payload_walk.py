"""The personal side of one log: parts open at their place, make the commitment, and are known to the dedupe.

A part may be gone only as often as entries of this log say in `erased`: a quiet deletion shows. Nothing that is
decrypted here leaves this module.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

from schemas.canonical import canonical_json
from schemas.errors import ConfigurationError, ProofError
from schemas.events import entry_class, parse_time
from schemas.payload import open_part, place_of
from schemas.ranking import decided_by
from schemas.record import PART_NAMES, PartName, commitment, part_digest, read_entry
from services.keys import ControllerKeys, event_mac
from services.ledger.fsck.findings import Pace, Report
from services.ledger.fsck.growth import CHUNK
from services.ledger.fsck.snapshot import SeenLog, Snapshot
from services.ledger.store import Row
from services.ledger.subjects import unwrap

_SUBJECTS_KEPT_MAX: Final = 10_000


class SubjectCiphers:
    """Ciphers of one controller's subjects; a key that does not unwrap is one finding, however many records it had."""

    def __init__(self, keys: ControllerKeys, controller_name: str, report: Report) -> None:
        """Holds unwrapped keys for as long as the walk lasts, a bounded number of them."""
        self._keys = keys
        self._controller_name = controller_name
        self._report = report
        self._ciphers: dict[UUID, AESGCM | None] = {}

    def add(self, row: Row) -> None:
        """Take in a row of (subject, wrapped_key, key_epoch)."""
        if len(self._ciphers) >= _SUBJECTS_KEPT_MAX:
            self._ciphers.clear()
        self._ciphers[row["subject"]] = self._unwrapped(row)

    def _unwrapped(self, row: Row) -> AESGCM | None:
        try:
            return AESGCM(unwrap(self._keys, self._controller_name, row))
        except InvalidUnwrap:
            what = "the wrapped key was changed, or is of another epoch"
        except ConfigurationError:
            what = "the controller key of its epoch is missing"
        self._report.add("subjects", None, f"subject {row['subject']}", what)
        return None

    async def load(self, snapshot: Snapshot, controller: int, subjects: set[UUID]) -> None:
        """Make sure that those of `subjects` that exist are here."""
        if missing := subjects - self._ciphers.keys():
            for row in await snapshot.subject_keys(controller, missing):
                self.add(row)

    def exists(self, subject: UUID) -> bool:
        """Whether the subject has a row at all."""
        return subject in self._ciphers

    def get(self, subject: UUID) -> AESGCM | None:
        """None if its key cannot be used."""
        return self._ciphers.get(subject)


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
        self._ciphers = SubjectCiphers(keys, log.controller_name, report)
        self._sites: frozenset[str] = frozenset()
        # By part: how many are gone, the first record they are gone from, and how many entries say were erased.
        self._missing: Counter[PartName] = Counter()
        self._first_missing: dict[PartName, int] = {}
        self._erased: Counter[str] = Counter()

    async def run(self, end: int, pace: Pace) -> None:
        """Check the payloads of the records below `end`.

        1. Chunk by chunk: open, commit, look up in the dedupe; 2. rows without a record; 3. missing against erased.
        """
        self._sites = await self._snapshot.sites(self._log.controller)
        for first in range(0, end, CHUNK):
            last = min(first + CHUNK, end)
            await self._chunk(first, last)
            pace.step(f"{self._log.name}: payloads", last, end)
        for index in await self._snapshot.payloads_outside(self._log, end):
            self._add("payloads", index, "the payload has no record")
        for row in await self._snapshot.dedupe_disagrees(self._log):
            what = f"the dedupe names this record {row['names']} times, not once"
            self._add(
                "dedupe", row["index"], "the dedupe names a record that is not there" if row["no_record"] else what
            )
        for name in PART_NAMES:
            missing, erased = self._missing[name], self._erased[name]
            if missing != erased:
                what = f"{missing} parts {name!r} are missing, but entries declare {erased} erased"
                self._add("payloads", self._first_missing.get(name, 0), what)

    async def _chunk(self, first: int, last: int) -> None:
        log = self._log
        payloads = await self._snapshot.payloads(log, first, last)
        await self._ciphers.load(self._snapshot, log.controller, {row["subject"] for row in payloads.values()})
        recorded: list[tuple[bytes, int, dict[str, Any]]] = []
        for row in await self._snapshot.store.entries(log.controller, log.log, first, last):
            index = row["index"]
            payload = payloads.pop(index, None)
            entry = self._read_entry(row["entry"])
            if payload is None:
                for name in PART_NAMES:
                    self._miss(name, index)
            elif (what := self._check_payload(index, payload, entry)) is not None:
                event = event_mac(self._event_id_key, log.controller_name, what["id"])
                recorded.append((event, index, what))
        for index in sorted(payloads):
            self._add("payloads", index, "the payload has no record")
        await self._check_dedupe(recorded)

    def _read_entry(self, entry: bytes) -> dict[str, Any] | None:
        """None if it does not parse, which the walk over the log has reported."""
        try:
            value = read_entry(entry)
            self._erased.update(value.get("erased", {}))
        except (ProofError, TypeError, AttributeError):
            return None
        return value

    def _miss(self, name: PartName, index: int) -> None:
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

    async def _check_dedupe(self, recorded: Sequence[tuple[bytes, int, dict[str, Any]]]) -> None:
        """Each event is known, at this place, not as erased, and received no later than the copy that was recorded.

        What the dedupe keeps of the content cannot be recomputed: the digest it was made of is stored nowhere.
        """
        known = await self._snapshot.dedupe_of(self._log.controller, {event for event, _, _ in recorded})
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
        self._report.add(table, self._log.name, where, what)
