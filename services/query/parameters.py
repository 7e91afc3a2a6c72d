"""What callers send to query, as closed models: a misspelt parameter is refused, not silently ignored.

Also the opaque cursor and the choice of a media type by the Accept header.
"""

import base64
import binascii
import hashlib
import struct
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import InvalidParameter
from schemas.events import Identifier, Name, Text, Time, parse_time
from schemas.record import PART_NAMES, PartName
from services.query.decisions import Moment
from services.query.receipts import ReceiptForm

PAGE_MAX: Final = 500
PAGE_DEFAULT: Final = 100
BUNDLE_MAX: Final = 100
ERASURES_MAX: Final = 20_000
_CURSOR: Final = struct.Struct(">iq")
_FIRST_PLACE: Final = (0, -1)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LookupBody(_Closed):
    """An identifier travels in the body only: addresses stand in logs."""

    identifier: Identifier


class ReplyTo(_Closed):
    """Where a person is told that it is done; kept in the docket alone, until that is closed."""

    channel: Literal["email", "phone", "post"]
    address: Text


ErasureGround = Annotated[
    Literal["17(1)(a)", "17(1)(b)", "17(1)(c)", "17(1)(d)", "17(1)(e)", "17(1)(f)"],
    Field(description="The ground of GDPR Art. 17(1) that the erasure rests on."),
]


class ErasureBody(_Closed):
    ground: ErasureGround
    reply_to: ReplyTo | None = None


class ManyErasuresBody(_Closed):
    """Erasures that two people decide on together."""

    subjects: Annotated[list[UUID], Field(min_length=1, max_length=ERASURES_MAX)]
    ground: ErasureGround
    reason: Annotated[Text, Field(description="Why so many at once; names nobody.")]

    def digest(self) -> str:
        """SHA-256 of whom it is about, so that the same ask twice is one."""
        return hashlib.sha256(b"".join(sorted({subject.bytes for subject in self.subjects}))).hexdigest()


class ReleaseBody(_Closed):
    reason: Annotated[
        Text | None, Field(description="Why the proof is needed; the first of the two must say it. Names nobody.")
    ] = None


class MomentParameters(_Closed):
    at: Annotated[Time | None, Field(description="The instant asked about; now if left out. RFC 3339, UTC.")] = None
    known_at: Annotated[
        Time | None, Field(description="Leave out what was received after this instant; now if left out.")
    ] = None

    def moment(self) -> Moment:
        return Moment(_time(self.at), _time(self.known_at))


class StatusParameters(MomentParameters):
    purpose: Annotated[Name, Field(description="The purpose, as the notice names it.")]


class HistoryParameters(_Closed):
    cursor: Annotated[str | None, Field(max_length=64, description="`next` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, description="Records a page at most.")] = PAGE_DEFAULT

    def after(self) -> tuple[int, int]:
        """The place to go on after. Raises InvalidParameter."""
        return _FIRST_PLACE if self.cursor is None else decode_cursor(self.cursor)


class AccessLogParameters(HistoryParameters):
    grant: Annotated[UUID | None, Field(description="Only what was done under this grant.")] = None


class BundleParameters(HistoryParameters):
    # Each record is a page of the report or more, and drawing it takes about 10 ms.
    limit: Annotated[int, Field(ge=1, le=BUNDLE_MAX, description="Records a bundle at most.")] = BUNDLE_MAX


class ProofParameters(_Closed):
    disclose: Annotated[
        str | None,
        Field(
            pattern=r"^(who|what|context)(,(who|what|context)){0,2}$",
            description="Parts to disclose, separated by commas; all that the role may see if left out.",
        ),
    ] = None

    def parts(self) -> frozenset[PartName] | None:
        if self.disclose is None:
            return None
        named = self.disclose.split(",")
        return frozenset(name for name in PART_NAMES if name in named)


class MyReceiptParameters(_Closed):
    form: Annotated[
        ReceiptForm,
        Field(alias="format", description="ISO/IEC TS 27560:2023, or the Kantara receipt of version 1.1."),
    ] = "iso27560"


class ReceiptParameters(ProofParameters, MyReceiptParameters):
    pass


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def encode_cursor(place: tuple[int, int]) -> str:
    """Opaque on purpose: it holds a place, and places may be numbered otherwise one day."""
    return base64.urlsafe_b64encode(_CURSOR.pack(*place)).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[int, int]:
    """Raises InvalidParameter for anything `encode_cursor` did not make."""
    try:
        log, index = _CURSOR.unpack(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, struct.error, ValueError):
        raise InvalidParameter("/cursor") from None
    if encode_cursor((log, index)) != cursor:
        raise InvalidParameter("/cursor")
    return log, index


def preferred(accept: str | None, offered: Sequence[str]) -> str | None:
    """The offered media type that an Accept header (RFC 9110, 12.5.1) wants most, None if it wants none of them.

    The most specific range that fits a type gives its weight; equal weights go to the first offered.
    """
    if accept is None:
        return offered[0]
    weights: dict[str, float] = {}
    for item in accept.split(","):
        media_range, *parameters = (piece.strip().lower() for piece in item.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        weights[media_range] = float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0
    best, best_weight = None, 0.0
    for media_type in offered:
        ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
        weight_of = next((weights[name] for name in ranges if name in weights), 0.0)
        if weight_of > best_weight:
            best, best_weight = media_type, weight_of
    return best
