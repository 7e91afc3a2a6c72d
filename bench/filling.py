"""A database with a long log in it, for what only reads: filler that nobody asks for, and people who are asked about.

The filler has the sizes and the scattered keys of real rows and opens under no key; the people are real, and lie evenly
among it, so that no cache holds them because they came last.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
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
from services.ledger.rows import UUID_BYTES
from tests.support.deployment import fresh_uuid

ORIGIN: Final = "log.example/logs/shop"
# The filler and the people come in this many turns.
TURNS: Final = 50

# Rows by the number that stands in them; one record and one subject each, two answers. About 2.3 kB, indexes included.
_FILLER: Final = {
    "subjects": "SELECT $1, md5('s' || n)::uuid, decode(repeat(md5('k' || n), 3), 'hex')::bytea, 1, NULL, false",
    "identifiers": "SELECT $1, decode(md5('i' || n), 'hex'), md5('s' || n)::uuid",
    "records": "SELECT $1, $2, n, decode(repeat(md5('r' || n), 29), 'hex')",
    "payloads": "SELECT $1, $2, n, md5('s' || n)::uuid, substr(decode(md5('n' || n), 'hex'), 1, 11),"
    " decode(repeat(md5('a' || n), 8), 'hex'), decode(repeat(md5('b' || n), 42), 'hex'),"
    " decode(repeat(md5('c' || n), 16), 'hex')",
    "dedupe": "SELECT $1, decode(md5('e' || n), 'hex'), $2, n, decode(md5('c' || n), 'hex'), now()",
    "consent_state": "SELECT $1, md5('s' || n)::uuid, p, 'consent', 'granted', now(), decode(md5('e' || n), 'hex')",
}
_KEY_BYTES: Final = 40


class Asked(NamedTuple):
    """One of the people who are asked about, and where their record stands."""

    subject: UUID
    address: str
    index: int


async def fill(deployment: BenchDeployment, records: int, people: int, say: Say) -> list[Asked]:
    """Write `records` records of as many subjects, `people` of them real; those."""
    connection = await asyncpg.connect(deployment.database.dsn(), command_timeout=3600)
    place = deployment.controller, deployment.log
    keys = ControllerKeys(deployment.keys / "controllers", FileProvider(deployment.keys / "root.key"))
    asked: list[Asked] = []
    try:
        await connection.execute("SET synchronous_commit = off")
        for turn in range(TURNS):
            first, end = records * turn // TURNS, records * (turn + 1) // TURNS
            real = people * (turn + 1) // TURNS - people * turn // TURNS
            await _write_filler(connection, place, first, end - real)
            asked += await _write_people(connection, deployment, keys, range(end - real, end))
            if turn % 10 == 9:  # noqa: PLR2004 - a line now and then
                say(f"filled {end:,} of {records:,} records")
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    return asked


async def _write_filler(
    connection: "asyncpg.Connection[asyncpg.Record]", place: tuple[int, int], first: int, end: int
) -> None:
    for table, select in _FILLER.items():
        sql = f"INSERT INTO {table} {select} FROM generate_series($3::bigint, $4::bigint - 1) n"  # noqa: S608 - ours
        if table == "subjects":
            sql = sql.replace("::bytea", "").replace("decode(repeat(md5('k' || n), 3), 'hex')", _cut(_KEY_BYTES))
        if table == "consent_state":
            sql += " CROSS JOIN unnest(ARRAY['chat-history', 'chat-proactive']) p"
        if "$2" not in sql:
            sql = sql.replace("$3", "$2").replace("$4", "$3")
            await connection.execute(sql, place[0], first, end)
        else:
            await connection.execute(sql, *place, first, end)
