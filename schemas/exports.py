"""Exports: what is asked for, the columns of a row, and the manifest that stands for all files (docs/exports.md).

Invariant: a row holds all that is needed to check it against its log: the entry, the disclosed parts with their salts,
and the digests of the others.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.canonical import canonical_json
from schemas.durations import DurationText
from schemas.events import Name, Text, Time, parse_time
from schemas.note import encode_base64
from schemas.record import PART_NAMES, PartName

EXPORT_FORMAT: Final = "sayso-export/v1"
EXPORT_TYPE: Final = "sayso-export+jwt"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.jws"
DataFormat = Literal["csv", "ndjson", "parquet", "bundles"]

FILE_RECORDS_MAX: Final = 50_000
FILE_BUNDLES_MAX: Final = 100
SAMPLES_MAX: Final = 16

_SUBJECTS_MAX: Final = 10_000
_NAMES_MAX: Final = 100
_WHY_CHARS_MAX: Final = 200

COLUMNS: Final[tuple[str, ...]] = (
    "log",
    "index",
    "subject",
    "event",
    "type",
    "site",
    "time",
    "received_at",
    "words",
    "notice",
    "decisions",
    "entry",
    *(f"{name}{suffix}" for name in PART_NAMES for suffix in ("", "_salt", "_digest")),
)

# What a spreadsheet takes for the beginning of a formula (also in its full-width form), and the guard itself.
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n", "'")
_GUARD: Final = "'"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OfCase(_Closed):
    """What a regulator's grant covers."""

    case: Annotated[UUID, Field(description="The id of a grant.")]


class OfPeriod(_Closed):
    """Records that were received from `from` on, before `until`."""

    since: Annotated[Time, Field(alias="from")]
    until: Time

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if parse_time(self.since) >= parse_time(self.until):
            raise ValueError("the period ends before it begins")
        return self


class OfSubjects(_Closed):
    """The records of some subjects."""

    subjects: Annotated[list[UUID], Field(min_length=1, max_length=_SUBJECTS_MAX)]


class ExportBody(_Closed):
    """What a data protection officer asks for. `keep` begins when the export is done."""

    of: OfCase | OfPeriod | OfSubjects
    why: Annotated[Text, Field(max_length=_WHY_CHARS_MAX, description="What it is for. Names nobody.")]
    purposes: Annotated[list[Name] | None, Field(min_length=1, max_length=_NAMES_MAX)] = None
    sites: Annotated[list[Name] | None, Field(min_length=1, max_length=_NAMES_MAX)] = None
    parts: Annotated[
        list[PartName], Field(min_length=1, max_length=3, description="Only what `why` needs; `what` if left out.")
    ] = ["what"]
    format: DataFormat
    encrypt_to: Annotated[
        str | None,
        Field(
            pattern=r"^age1[0-9a-z]{58}$", description="An age recipient: all files but the manifest are sealed to it."
        ),
    ] = None
    keep: Annotated[DurationText, Field(description="How long the files stay, at most P92D.")] = "P7D"


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it stands in a file. disclosed: part -> (salt, exact JSON); digests: of the other parts."""

    log: str
    index: int
    subject: str | None
    entry: bytes
    disclosed: Mapping[PartName, tuple[bytes, bytes]]
    digests: Mapping[PartName, bytes]

    def columns(self) -> dict[str, str | int | None]:
        """The row of a table, by the names in COLUMNS; what is not there is None."""
        what = orjson.loads(self.disclosed["what"][1]) if "what" in self.disclosed else {}
        cells: dict[str, str | int | None] = {
            "log": self.log,
            "index": self.index,
            "subject": self.subject,
            "event": what.get("id"),
            **{name: what.get(name) for name in ("type", "site", "time", "received_at", "words")},
            "notice": what.get("notice", {}).get("sha256"),
            "decisions": _decisions(what),
            "entry": self.entry.decode(),
        }
        for name, (salt, part) in self.disclosed.items():
            cells[name], cells[f"{name}_salt"] = part.decode(), encode_base64(salt)
        for name, digest in self.digests.items():
            cells[f"{name}_digest"] = digest.hex()
        return cells

    def ndjson(self) -> bytes:
        """One line of JSON; entry and parts are nested, byte for byte as they are hashed."""
        line = {
            "log": self.log,
            "index": self.index,
            "subject": self.subject,
            "entry": orjson.Fragment(self.entry),
            "parts": {
                name: {"salt": encode_base64(salt), "json": orjson.Fragment(part)}
                for name, (salt, part) in self.disclosed.items()
            },
            "digests": {name: digest.hex() for name, digest in self.digests.items()},
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _decisions(what: Mapping[str, Any]) -> str | None:
    found = [f"{d['purpose']}: {d['decision']} ({d['legal_basis']})" for d in what.get("decisions", ())]
    return "; ".join(found) or None


def guarded(cell: str) -> str:
    """A cell of CSV that no spreadsheet takes for a formula: an apostrophe stands before what begins like one."""
    return _GUARD + cell if cell.lstrip(" ").startswith(_FORMULA) else cell


def unguarded(cell: str) -> str:
    """The value that `guarded` was given."""
    return cell[1:] if cell.startswith(_GUARD) else cell


def sampled(content_sha256: str, records: int) -> list[int]:
    """Which rows of a file the manifest proves: the first, the last, and some that follow from the file's own hash."""
    rows = {0, records - 1} if records else set()
    for number in range(4 * SAMPLES_MAX):
        if len(rows) >= min(SAMPLES_MAX, records):
            break
        drawn = hashlib.sha256(f"{EXPORT_FORMAT}\n{content_sha256}\n{number}".encode()).digest()
        rows.add(int.from_bytes(drawn[:8]) % records)
    return sorted(rows)


class Sample(_Closed):
    """The inclusion path of one row, in the tree of its log's checkpoint; base64 as in a proof document."""

    row: Annotated[int, Field(ge=0)]
    log: str
    index: Annotated[int, Field(ge=0)]
    path: list[str]


class ExportedFile(_Closed):
    """One file. sha256, bytes: as it is delivered; content_sha256: before it was encrypted. bundles: in such a file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
    sha256: str
    bytes: int
    records: int
    content_sha256: str
    bundles: int | None = None
    samples: Sequence[Sample] = ()


class LeftOut(_Closed):
    """What the scope holds and the files do not. Counts.

    erased: records whose parts are gone with their subject, where the scope is not of named subjects; subjects: named
    ones who are not there (any more); incomplete: records whose decision was deleted by itself.
    """

    erased: int = 0
    subjects: int = 0
    incomplete: int = 0


class Timestamp(_Closed):
    """A token over the signed checkpoint (RFC 3161): response and roots in base64, the nonce in hex."""

    authority: str
    time: str
    response: str
    nonce: str
    roots: str


class ExportedLog(_Closed):
    """A log under the one checkpoint that covers everything. signed: the note without cosignatures. keys: as JSON."""

    name: str
    origin: str
    size: int
    root: str
    vkey: str
    note: str
    signed: str
    keys: dict[str, Any]
    timestamps: Sequence[Timestamp]
    lacks: Sequence[str]


class Manifest(_Closed):
    """manifest.json. `scope` is what `of` came to when the export began."""

    format: Literal["sayso-export/v1"]
    export: str
    controller: dict[str, str]
    asked: dict[str, Any]
    scope: dict[str, Any]
    began_at: str
    made_at: str
    records: int
    left_out: LeftOut
    files: Sequence[ExportedFile]
    logs: Sequence[ExportedLog]

    def content(self) -> bytes:
        """The bytes of the file: canonical JSON."""
        return canonical_json(self.model_dump(mode="json", exclude_none=True))


def signed_claims(export: str, manifest: bytes) -> dict[str, Any]:
    """What manifest.jws signs: which export it is, and the hash of its manifest."""
    return {"format": EXPORT_FORMAT, "export": export, "manifest_sha256": hashlib.sha256(manifest).hexdigest()}
