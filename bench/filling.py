"""A database with a long log in it, for what only reads: filler that nobody asks for, and people who are asked about.

The filler has the sizes and the scattered keys of real rows and opens under no key; the people are real, and lie evenly
among it, so that no cache holds them because they came last. Their records have no entries: nobody proves them here.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import asyncpg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from bench.report import Say
from bench.workload import SITE, example_event
from bench.world import BenchDeployment
from schemas.payload import NONCE_BYTES, place_of, seal_part
from schemas.record import PART_NAMES, SALT_BYTES, Reception, parts_of
from services.keys import ControllerKeys, event_mac, identifier_mac, key_epoch
from services.keys.file_provider import FileProvider
from services.postgres import named_queries

ORIGIN: Final = "log.example/logs/shop"
# The filler and the people come in this many turns.
TURNS: Final = 50
STATEMENT_S_MAX: Final = 3600

_FILLER: Final = named_queries(Path(__file__).with_name("filling.sql"))


class Asked(NamedTuple):
    """One of the people who are asked about, and where their record stands."""

    subject: UUID
    place: int


async def fill(deployment: BenchDeployment, records: int, people: int, say: Say) -> list[Asked]:
    """Write `records` records of as many subjects, `people` of them real; those."""
    connection = await asyncpg.connect(deployment.database.dsn(), command_timeout=STATEMENT_S_MAX)
    place = deployment.controller, deployment.log
    asked: list[Asked] = []
    try:
        await connection.execute("SET synchronous_commit = off")
        for turn in range(TURNS):
            first, end = records * turn // TURNS, records * (turn + 1) // TURNS
            real = end - (people * (turn + 1) // TURNS - people * turn // TURNS)
            for table in ("subjects", "identifiers", "records", "payloads", "dedupe", "consent_state"):
                await connection.execute(_FILLER[table], *place, first, real)
            asked += await _write_people(connection, deployment, range(real, end))
            if turn % 10 == 9:
                say(f"filled {end:,} of {records:,} records")
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    return asked


async def _write_people(
    connection: "asyncpg.Connection[asyncpg.Record]", deployment: BenchDeployment, indexes: Iterable[int]
) -> list[Asked]:
    """People with one record each, of the published example event."""
    keys = ControllerKeys(deployment.keys / "controllers", FileProvider(deployment.keys / "root.key"))
    now = datetime.now(UTC)
    epoch = key_epoch(now.timestamp())
    wrapping, naming = keys.create_wrapping_key("shop", epoch), keys.create_identifier_key("shop")
    owner, log = deployment.controller, deployment.log
    rows: dict[str, list[tuple[Any, ...]]] = {
        table: [] for table in ("subjects", "identifiers", "payloads", "dedupe", "consent_state")
    }
    asked = []
    for index in indexes:
        event, subject, key = example_event(), uuid4(), os.urandom(32)
        event |= {"id": str(uuid4()), "time": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        event["data"]["notice"] |= {"sha256": deployment.notice.sha256, "token": deployment.notice.token}
        event["data"]["subject"] = {"identifiers": [{"type": "cookie", "value": f"v-{index}"}]}
        parts, nonce = parts_of(event, Reception(SITE, now, "browser", "rendered", [])), os.urandom(NONCE_BYTES)
        sealed = [
            seal_part(AESGCM(key), nonce, name, place_of(ORIGIN, index), os.urandom(SALT_BYTES) + part)
            for name, part in zip(PART_NAMES, parts, strict=True)
        ]
        name = event_mac(deployment.event_id_key, "shop", event["id"])
        rows["subjects"].append((owner, subject, aes_key_wrap(wrapping, key), epoch))
        rows["identifiers"].append((owner, identifier_mac(naming, "cookie", f"v-{index}"), subject))
        rows["payloads"].append((owner, log, index, subject, nonce, *sealed))
        rows["dedupe"].append((owner, name, log, index, os.urandom(16), now))
        rows["consent_state"] += [
            (owner, subject, d["purpose"], d["legal_basis"], d["decision"], now, name)
            for d in event["data"]["decisions"]
        ]
        asked.append(Asked(subject, index))
    for table, found in rows.items():
        await connection.copy_records_to_table(table, columns=_COLUMNS[table], records=found)
    return asked


_COLUMNS: Final = {
    "subjects": ("controller", "subject", "wrapped_key", "key_epoch"),
    "identifiers": ("controller", "identifier", "subject"),
    "payloads": ("controller", "log", "index", "subject", "nonce", "who", "what", "context"),
    "dedupe": ("controller", "event", "log", "index", "content", "received_at"),
    "consent_state": ("controller", "subject", "purpose", "legal_basis", "decision", "rank", "event"),
}
