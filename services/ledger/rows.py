"""Rows packed by hand in PostgreSQL's binary COPY format (PostgreSQL manual, COPY, "Binary Format").

One buffer a table and batch, because encoding value by value cost as much as sealing them. Every function gives one
row, without the header and trailer of `copy_buffer`. Ids, names and wrapped keys must have their size: struct cuts.
"""

import struct
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from schemas.payload import NONCE_BYTES
from services.keys import MAC_BYTES, SECRET_BYTES

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER: Final = struct.pack(">h", -1)
# Postgres counts microseconds from here.
_POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_DAY_US: Final = 24 * 3600 * 1_000_000
UUID_BYTES: Final = 16
WRAPPED_KEY_BYTES: Final = SECRET_BYTES + 8

# A row is the count of its columns, then each column's length and bytes; a length of -1 is NULL.
_NULL: Final = -1
_LENGTH: Final = struct.Struct(">i")
_SUBJECT: Final = struct.Struct(f">hiii{UUID_BYTES}si{WRAPPED_KEY_BYTES}sii")
_LOG: Final = struct.Struct(">ii")
_IDENTIFIER: Final = struct.Struct(f">hiii{MAC_BYTES}si{UUID_BYTES}s")
_RECORD: Final = struct.Struct(">hiiiiiqi")
_PAYLOAD: Final = struct.Struct(f">hiiiiiqi{UUID_BYTES}si{NONCE_BYTES}si")
_DEDUPE: Final = struct.Struct(f">hiii{MAC_BYTES}siiiqi{MAC_BYTES}siq")
_STATE: Final = struct.Struct(f">hiii{UUID_BYTES}s")
_TIME: Final = struct.Struct(">iq")


def copy_buffer(rows: Iterable[bytes]) -> bytes:
    """What COPY ... (FORMAT binary) reads: the header, the rows, the trailer."""
    return b"".join((_HEADER, *rows, _TRAILER))


def postgres_us(moment: datetime) -> int:
    """A timestamptz as Postgres stores it: microseconds since 2000-01-01T00:00:00Z."""
    since = moment - _POSTGRES_EPOCH
    return since.days * _DAY_US + since.seconds * 1_000_000 + since.microseconds


def subject_row(controller: int, subject: bytes, wrapped_key: bytes, key_epoch: int, log: int | None) -> bytes:
    """(controller, subject, wrapped_key, key_epoch, log)."""
    row = _SUBJECT.pack(5, 4, controller, 16, subject, WRAPPED_KEY_BYTES, wrapped_key, 4, key_epoch)
    return row + (_LENGTH.pack(_NULL) if log is None else _LOG.pack(4, log))


def identifier_row(controller: int, identifier: bytes, subject: bytes) -> bytes:
    """(controller, identifier, subject)."""
    return _IDENTIFIER.pack(3, 4, controller, 16, identifier, 16, subject)


def record_row(controller: int, log: int, index: int, entry: bytes) -> bytes:
    """(controller, log, index, entry)."""
    return _RECORD.pack(4, 4, controller, 4, log, 8, index, len(entry)) + entry


def payload_row(place: tuple[int, int, int], subject: bytes, nonce: bytes, parts: tuple[bytes, bytes, bytes]) -> bytes:
    """(controller, log, index, subject, nonce, who, what, context); `place` is the first three."""
    controller, log, index = place
    who, what, context = parts
    return b"".join(
        (
            _PAYLOAD.pack(8, 4, controller, 4, log, 8, index, 16, subject, NONCE_BYTES, nonce, len(who)),
            who,
            _LENGTH.pack(len(what)),
            what,
            _LENGTH.pack(len(context)),
            context,
        )
    )


def dedupe_row(place: tuple[int, int, int], event: bytes, content: bytes, received_at: datetime) -> bytes:
    """(controller, event, log, index, content, received_at)."""
    controller, log, index = place
    return _DEDUPE.pack(6, 4, controller, 16, event, 4, log, 8, index, 16, content, 8, postgres_us(received_at))


def state_row(controller: int, subject: bytes, answer: tuple[str, str, str], rank: datetime, event: bytes) -> bytes:
    """(controller, subject, purpose, legal_basis, decision, rank, event); `answer` is the three texts."""
    pieces = [_STATE.pack(7, 4, controller, 16, subject)]
    for text in answer:
        raw = text.encode()
        pieces += (_LENGTH.pack(len(raw)), raw)
    pieces += (_TIME.pack(8, postgres_us(rank)), _LENGTH.pack(len(event)), event)
    return b"".join(pieces)
