"""The feed of changes: webhook systems that are told of records hear of each within a second of its recording.

A cursor per system and log is the queue: however long a system is away, only a few messages wait for it here.
Invariant: a message holds ids, places, classes and the version of a state, nothing else of anybody; no record is left
out, and after a crash a message may come twice, under the same id.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

from schemas.errors import ConfigurationError, ProofError
from schemas.payload import open_part, place_of
from schemas.record import format_time, read_entry
from schemas.topics import RECORDS_TOPIC
from services.keys import ControllerKeys
from services.ledger.downstream.triggers import put_delivery
from services.ledger.store import Row
from services.ledger.subjects import unwrap
from services.postgres import Pool, PooledConnection, named_queries

# How often `work` is to be called.
LOOK_S: Final = 0.2
RECORDS_A_MESSAGE: Final = 200
# Messages of one system on their way; the records behind them wait in their log.
MESSAGES_MAX: Final = 64

_SQL: Final = named_queries(Path(__file__).parent / "sql" / "feeds.sql")
# The names of messages are made under it, so that the same message has the same id.
_MESSAGES: Final = UUID("6f1c7f5e-2a52-5e0e-9c51-3a3f2d0c7b11")


class Feeds:
    """Tells; several may run, each takes the cursors that no other has locked."""

    def __init__(self, pool: Pool, keys: ControllerKeys) -> None:
        """`pool` has the role sayso_ledger; the keys open what names an event."""
        self._pool = pool
        self._keys = keys

    async def work(self, now: datetime) -> int:
        """Put up to one message for each system and log that is behind; how many."""
        async with self._pool.acquire() as connection:
            await connection.execute(_SQL["end_feeds"])
            await connection.execute(_SQL["begin_feeds"])
            behind = await connection.fetch(_SQL["feeds_behind"], MESSAGES_MAX)
            return sum([await self._feed(connection, feed, now) for feed in behind])

    async def _feed(self, connection: PooledConnection, feed: Row, now: datetime) -> int:
        """1. Lock the cursor; 2. put the message; 3. move the cursor. A crash before the commit leaves nothing."""
        cursor = feed["controller"], feed["system"], feed["log"]
        async with connection.transaction():
            first: int | None = await connection.fetchval(_SQL["lock_feed"], *cursor)
            if first is None:
                return 0
            end = min(feed["size"], first + RECORDS_A_MESSAGE)
            if end <= first:
                return 0
            rows = await connection.fetch(_SQL["fed_records"], feed["controller"], feed["log"], first, end)
            subjects = list({row["subject"] for row in rows if row["subject"] is not None})
            versions = await connection.fetch(_SQL["state_versions"], feed["controller"], subjects)
            message = uuid5(_MESSAGES, f"{feed['system']}\n{feed['origin']}\n{first}\n{end}")
            records = self._records(feed, rows, {row["subject"]: row["version"] for row in versions})
            body = _body(feed, message, now, records)
            await put_delivery(connection, (feed["controller"], feed["system"]), "records", body, now, message)
            await connection.execute(_SQL["move_feed"], *cursor, end)
        return 1

    def _records(self, feed: Row, rows: Sequence[Row], versions: dict[UUID, str]) -> list[dict[str, Any]]:
        told = []
        for row in rows:
            record: dict[str, Any] = {"index": row["index"], "class": read_entry(row["entry"])["class"]}
            event = self._event_id(feed, row)
            if event is not None:
                record["id"] = event
            if row["subject"] is not None:
                record["subject"] = str(UUID(int=row["subject"].int))
                # None stands for a subject of whom nothing stands.
                record["state"] = versions.get(row["subject"])
            told.append(record)
        return told

    def _event_id(self, feed: Row, row: Row) -> str | None:
        """The id as the site knows it; None of a record that was erased meanwhile, or does not open: fsck's to tell."""
        if row["what"] is None or row["wrapped_key"] is None:
            return None
        try:
            cipher = AESGCM(unwrap(self._keys, feed["controller_name"], row))
            _, part = open_part(cipher, row["nonce"], "what", place_of(feed["origin"], row["index"]), row["what"])
        except (ProofError, ConfigurationError, InvalidUnwrap):
            return None
        event: str = orjson.loads(part)["id"]
        return event


def _body(feed: Row, message: UUID, now: datetime, records: Sequence[dict[str, Any]]) -> bytes:
    """A CloudEvent 1.0 in structured JSON."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": str(message),
            "source": f"/logs/{feed['log_name']}",
            "type": RECORDS_TOPIC,
            "time": format_time(now),
            "datacontenttype": "application/json",
            "data": {"log": feed["origin"], "records": records},
        }
    )
