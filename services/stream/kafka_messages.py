"""Messages as Kafka records: CloudEvents 1.0 in binary mode, key = log (schemas.topics).

Only what routing needs travels in clear; everything else is sealed. A record that does not carry exactly this becomes a
dead letter, so nothing here raises on what a stranger wrote.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Protocol

from schemas.topics import (
    HEADER_EPOCH,
    HEADER_ID,
    HEADER_SOURCE,
    HEADER_SPECVERSION,
    HEADER_TYPE,
    SEALED_TYPE,
    SOURCE_PREFIX,
    SPECVERSION,
    source_of,
)
from services.stream.protocol import Copy, Message, Received

_Header = tuple[str, bytes]

_SPECVERSION: Final[_Header] = (HEADER_SPECVERSION, SPECVERSION.encode())
_TYPE: Final[_Header] = (HEADER_TYPE, SEALED_TYPE.encode())
_OURS: Final = frozenset({HEADER_ID, HEADER_SOURCE, HEADER_SPECVERSION, HEADER_TYPE, HEADER_EPOCH})
_EVENT_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Record(Protocol):
    """What aiokafka's ConsumerRecord has and we use."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Iterable[tuple[str, bytes | None]]


@lru_cache(maxsize=4096)
def key_of(log: str) -> bytes:
    """The record key: all records of a log share a partition."""
    return log.encode()


@lru_cache(maxsize=4096)
def _source_header(site: str) -> _Header:
    return HEADER_SOURCE, source_of(site).encode()


def headers_of(message: Message) -> list[_Header]:
    """The clear headers of a sealed message."""
    return [
        (HEADER_ID, message.event_id.encode()),
        _source_header(message.site),
        _SPECVERSION,
        _TYPE,
        (HEADER_EPOCH, message.epoch),
    ]


def received_of(record: Record) -> Received:
    """The record as the ledger gets it. The controller is 0: whoever reads knows logs only by name."""
    copy = Copy(record.topic, record.partition, record.offset)
    message = _message_of(record)
    return Received(copy, message) if message is not None else Received(copy, None, raw=raw_of(record))


def _message_of(record: Record) -> Message | None:
    ours = [header for header in record.headers if header[0] in _OURS]
    headers = dict(ours)
    if len(ours) != len(_OURS) or len(headers) != len(_OURS) or record.key is None or record.value is None:
        return None
    event_id, source, epoch = headers[HEADER_ID], headers[HEADER_SOURCE], headers[HEADER_EPOCH]
    if event_id is None or source is None or epoch is None or _EVENT_ID.fullmatch(event_id) is None:
        return None
    if headers[HEADER_SPECVERSION] != _SPECVERSION[1] or headers[HEADER_TYPE] != _TYPE[1]:
        return None
    try:
        log, source_text = record.key.decode(), source.decode()
    except UnicodeDecodeError:
        return None
    site = source_text.removeprefix(SOURCE_PREFIX)
    # U+0000 is UTF-8, but no text column of Postgres holds it.
    if not log or not site or site == source_text or "\0" in log or "\0" in site:
        return None
    return Message(0, log, event_id.decode(), site, epoch, record.value)


def raw_of(record: Record) -> bytes:
    """All of an unreadable record, for its dead letter: key and headers as lines, an empty line, the value."""
    lines = [b"key: " + (record.key or b"")]
    lines += [name.encode() + b": " + (value or b"") for name, value in record.headers]
    return b"\n".join([*lines, b"", record.value or b""])
