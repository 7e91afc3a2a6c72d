"""Which records an export holds, and how a stored row becomes one of them.

Invariant: nothing but the parts asked for leaves this module; of the others their digests alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import orjson

from schemas.events import parse_time
from schemas.exports import ExportBody, OfCase, OfPeriod, OfSubjects
from schemas.exports import Row as Exported
from schemas.holds import hides_from_subject
from schemas.record import PART_NAMES, PartName, format_time
from services.keys import ControllerKeys
from services.query.payloads import disclose, open_stored, subject_cipher
from services.query.store import Row

Left = Literal["outside", "incomplete"]
# Before any time that a record can have.
BEGINNING: Final = "0001"


@dataclass(frozen=True, slots=True)
class Scope:
    """What counts. Times as they stand in records; None: no limit."""

    subjects: tuple[UUID, ...] | None
    purposes: frozenset[str] | None
    sites: frozenset[str] | None
    since: str | None
    until: str | None
    parts: tuple[PartName, ...]
    # The grant that a case's export is for: what another authority ordered in confidence is not that case's.
    case: str | None = None

    def json(self) -> dict[str, Any]:
        """As it stands in progress and manifest, without what is not limited."""
        members = {
            "subjects": None if self.subjects is None else [str(subject) for subject in self.subjects],
            "purposes": None if self.purposes is None else sorted(self.purposes),
            "sites": None if self.sites is None else sorted(self.sites),
            "from": self.since,
            "until": self.until,
            "parts": list(self.parts),
            "case": self.case,
        }
        return {name: value for name, value in members.items() if value is not None}

    @classmethod
    def of_json(cls, members: Mapping[str, Any]) -> "Scope":
        subjects, purposes, sites = (members.get(name) for name in ("subjects", "purposes", "sites"))
        return cls(
            subjects=None if subjects is None else tuple(UUID(subject) for subject in subjects),
            purposes=None if purposes is None else frozenset(purposes),
            sites=None if sites is None else frozenset(sites),
            since=members.get("from"),
            until=members.get("until"),
            parts=tuple(name for name in PART_NAMES if name in members["parts"]),
            case=members.get("case"),
        )

    def holds(self, what: Mapping[str, Any]) -> bool:
        """Whether a record with this `what` counts."""
        if self.case is not None and hides_from_subject(what) and what["hold"].get("grant") != self.case:
            return False
        received = what.get("received_at", BEGINNING)
        return (
            (self.since is None or received >= self.since)
            and (self.until is None or received < self.until)
            and (self.sites is None or what.get("site") in self.sites)
            and (self.purposes is None or any(d["purpose"] in self.purposes for d in what.get("decisions", ())))
        )


def scope_of(body: ExportBody, grant: Row | None) -> Scope:
    """The scope of what is asked; `grant` is the row of the grant of a case."""
    subjects: Sequence[UUID] | None = None
    purposes = None if body.purposes is None else frozenset(body.purposes)
    since = until = None
    match body.of:
        case OfSubjects():
            subjects = body.of.subjects
        case OfPeriod():
            since, until = parse_time(body.of.since), parse_time(body.of.until)
        case OfCase() if grant is not None:
            subjects = grant["subjects"]
            since, until = grant["records_from"], grant["records_until"]
            granted = None if grant["purposes"] is None else frozenset(grant["purposes"])
            purposes = purposes if granted is None else granted if purposes is None else granted & purposes
    return Scope(
        subjects=None if subjects is None else tuple(sorted({UUID(int=subject.int) for subject in subjects})),
        purposes=purposes,
        sites=None if body.sites is None else frozenset(body.sites),
        since=None if since is None else format_time(since),
        until=None if until is None else format_time(until),
        parts=tuple(name for name in PART_NAMES if name in body.parts),
        case=str(body.of.case) if isinstance(body.of, OfCase) else None,
    )


class Opening:
    """Opens the rows of one page: the keys of subjects live no longer than it."""

    def __init__(self, keys: ControllerKeys, controller_name: str, scope: Scope) -> None:
        self._keys = keys
        self._controller_name = controller_name
        self._scope = scope
        self._ciphers: dict[bytes, Any] = {}

    def judge(self, row: Row) -> Left | None:
        """Why a row is left out, None if it is not. Raises ProofError, ConfigurationError."""
        stored = open_stored(self._cipher(row), row, "what")
        if stored is None:
            return "incomplete"
        return None if self._scope.holds(orjson.loads(stored[1])) else "outside"

    def open(self, row: Row) -> Exported | Left:
        """The row as it is exported, or why it is not. Raises as `judge` does."""
        left = self.judge(row)
        if left is not None:
            return left
        parts = disclose(self._cipher(row), row, self._scope.parts)
        if parts is None:
            return "incomplete"
        subject = None if row["subject"] is None else str(row["subject"])
        return Exported(row["origin"], row["index"], subject, row["entry"], *parts)

    def _cipher(self, row: Row) -> Any:
        cipher = self._ciphers.get(row["wrapped_key"])
        if cipher is None:
            cipher = self._ciphers[row["wrapped_key"]] = subject_cipher(self._keys, self._controller_name, row)
        return cipher
