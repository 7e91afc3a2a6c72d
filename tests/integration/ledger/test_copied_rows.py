"""Rows packed by hand in the COPY format read back from Postgres as what was put in."""

import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from services.ledger import rows
from services.ledger.store import Store
from tests.support.databases import Database
from tests.support.deployment import Deployment

pytestmark = pytest.mark.integration

# Before and after Postgres's epoch, with and without microseconds.
MOMENTS = (
    datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
)
BIG = 2**40 + 7


async def test_every_table_reads_back(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    connection = await deployment.connect()
    subjects = [uuid4() for _ in MOMENTS]
    wrapped = [os.urandom(40) for _ in MOMENTS]
    names = [os.urandom(16) for _ in MOMENTS]
    nonce, parts = os.urandom(11), (b"", b"\x00what", os.urandom(70_000))
    try:
        store = Store(connection)
        await store.copy_subjects(
            [
                rows.subject_row(7, s.bytes, w, 9, n or None)
                for n, (s, w) in enumerate(zip(subjects, wrapped, strict=True))
            ]
        )
        await store.copy_identifiers([rows.identifier_row(7, names[0], subjects[0].bytes)])
        await store.copy_records([rows.record_row(7, 3, BIG, b'{"v":1}'), rows.record_row(7, 3, 0, b"\xff\x00")])
        await store.copy_payloads([rows.payload_row((7, 3, BIG), subjects[1].bytes, nonce, parts)])
        await store.copy_dedupe(
            [rows.dedupe_row((7, 3, BIG), name, b"c" * 16, at) for name, at in zip(names, MOMENTS, strict=True)]
        )
        answer = ("chat-é", "consent", "granted")
        await store.copy_state([rows.state_row(7, subjects[2].bytes, answer, MOMENTS[1], names[2])])
        await store.copy_state([])
        fetched = {
            table: {tuple(row) for row in await connection.fetch(f"SELECT * FROM {table}")}
            for table in ("subjects", "identifiers", "records", "payloads", "dedupe", "consent_state")
        }
    finally:
        await connection.close()
    assert fetched["subjects"] == {(7, subjects[n], wrapped[n], 9, n or None, False) for n in range(3)}
    assert fetched["identifiers"] == {(7, names[0], subjects[0])}
    assert fetched["records"] == {(7, 3, BIG, b'{"v":1}'), (7, 3, 0, b"\xff\x00")}
    assert fetched["payloads"] == {(7, 3, BIG, subjects[1], nonce, *parts, None, None, None)}
    assert fetched["dedupe"] == {(7, name, 3, BIG, b"c" * 16, at) for name, at in zip(names, MOMENTS, strict=True)}
    assert fetched["consent_state"] == {(7, subjects[2], *answer, MOMENTS[1], names[2])}
