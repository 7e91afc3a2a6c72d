"""Rows as an erasure leaves them, beside tests.support.rows: for tests of what only reads them."""

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.canonical import canonical_json
from schemas.payload import place_of
from schemas.record import Parts, format_time, part_digest
from services.keys import event_mac, identifier_mac
from tests.support.rows import Controller, Person, Recorded

# The ask is another moment than the erasure, and than the record of it.
ASKED_BEFORE = timedelta(seconds=7)


async def leave_erasure(
    shop: Controller,
    person: Person,
    erased_at: datetime,
    *,
    number: int = 1,
    event: str | None = None,
    docket: timedelta | None = timedelta(days=30),
    declared: bool = True,
    subject: UUID | None = None,
) -> str:
    """Delete a person as the ledger does and leave what it leaves; the id of the event that asked for it.

    `docket` None: it was closed at once. Without `declared` no entry says yet how many parts are gone. `subject` is
    the id to remember in place of the person's.
    """
    event = event or str(uuid4())
    world, owner = shop.world, shop.controller
    connection = await world.connect()
    try:
        counts = await connection.fetchrow(
            "SELECT count(who) AS who, count(what) AS what, count(context) AS context FROM payloads WHERE subject = $1",
            person.subject,
        )
        assert counts is not None
        for table in ("payloads", "identifiers", "consent_state", "subjects"):
            await connection.execute(f"DELETE FROM {table} WHERE subject = $1", person.subject)
        await connection.execute(
            "INSERT INTO erasures (controller, number, event, subject, ground, erased_at)"
            " VALUES ($1, $2, $3, $4, '17(1)(b)', $5)",
            owner,
            number,
            event_mac(world.event_id_key, shop.name, event),
            subject or person.subject,
            erased_at,
        )
        await connection.execute(
            "INSERT INTO erased_parts (controller, number, log, who, what, context) VALUES ($1, $2, $3, $4, $5, $6)",
            owner,
            number,
            shop.log,
            *counts,
        )
        is_open = docket is not None
        await connection.execute(
            "INSERT INTO dockets (controller, docket, sealed, wrapped_key, key_epoch, opened_at, limit_at, closed_at,"
            " outcome) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            owner,
            number,
            os.urandom(90) if is_open else None,
            os.urandom(40) if is_open else None,
            1 if is_open else None,
            erased_at,
            erased_at + (docket or timedelta(days=30)),
            None if is_open else erased_at,
            None if is_open else "answered",
        )
    finally:
        await connection.close()
    if declared:
        await declare(shop, number, dict(counts), event, erased_at)
    return event


async def declare(shop: Controller, number: int, counts: dict[str, int], event: str, erased_at: datetime) -> Recorded:
    """Append the entry that says how many parts are gone."""
    time = format_time(erased_at)
    asked_at = format_time(erased_at - ASKED_BEFORE)
    what = {
        "v": 1,
        "id": event,
        "site": shop.site_name,
        "type": "subject.erased",
        "time": time,
        "received_at": time,
        "posted_by": "server",
        "words": "unverified",
        "erasure": {"number": number, "scope": "subject", "ground": "17(1)(b)", "asked_at": asked_at},
    }
    parts = Parts(b"{}", canonical_json(what), b"{}")
    stand_in = await shop.stand_in()
    record = await shop.append(stand_in, parts, event, "erasure", erased_at, erased=counts)
    await shop.world.execute(
        "UPDATE erased_parts SET declared_log = log, declared_index = $2 WHERE number = $1", number, record.index
    )
    return record


async def keep_minimal_proof(
    shop: Controller,
    identifier: tuple[str, str],
    records: Sequence[Recorded],
    keep_until: datetime,
    *,
    number: int = 1,
) -> None:
    """What a written rule keeps of records whose subject was erased."""
    key = shop.world.keys.create_proof_key(shop.name)
    for record in records:
        nonce = os.urandom(12)
        await shop.world.execute(
            "INSERT INTO minimal_proofs (controller, log, index, number, identifier, nonce, what, who_digest,"
            " context_digest, ground, keep_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '17(3)(b)', $10)",
            shop.controller,
            shop.log,
            record.index,
            number,
            identifier_mac(key, *identifier),
            nonce,
            AESGCM(key).encrypt(nonce, record.salts[1] + record.parts.what, place_of(shop.origin, record.index)),
            part_digest("who", record.salts[0], record.parts.who),
            part_digest("context", record.salts[2], record.parts.context),
            keep_until,
        )
