"""Objections that outlived an erasure (GDPR Art. 21): looked up by identifiers, so that nobody is approached again who
objected before they were erased.

Invariant: what a person decides after signing up again counts before what is found here.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from services.keys import ControllerKeys, identifier_mac
from services.query.auth import Caller
from services.query.payloads import read_part, subject_cipher
from services.query.store import Reader, Row

# Records that are opened to learn how somebody is known.
PARTS_MAX: Final = 50


class Suppressed(NamedTuple):
    """An objection of somebody who was erased; it is remembered until `until`."""

    purpose: str
    legal_basis: str
    objected_at: datetime
    until: datetime


async def suppressed_of(
    reader: Reader, keys: ControllerKeys, caller: Caller, identifiers: Collection[tuple[str, str]]
) -> list[Suppressed]:
    """The objections remembered of whoever has any of these identifiers (type, value), by purpose and legal basis."""
    # The ledger makes the key with the first objection that is kept, or the first minimal proof.
    if not identifiers or not await reader.has_suppressions():
        return []
    key = keys.proof_key(caller.controller_name)
    names = sorted({identifier_mac(key, *identifier) for identifier in identifiers})
    found: dict[tuple[str, str], Suppressed] = {}
    for row in await reader.suppressed(names):
        one = Suppressed(row["purpose"], row["legal_basis"], row["objected_at"], row["expires_at"])
        known = found.get(one[:2])
        if known is None or known.objected_at < one.objected_at:
            found[one[:2]] = one
    return list(found.values())


async def suppressed_of_subject(
    reader: Reader, keys: ControllerKeys, caller: Caller, subject: UUID, row: Row
) -> list[Suppressed]:
    """The same by the identifiers in a subject's own records; `row` holds its key (wrapped_key, key_epoch)."""
    if not await reader.has_suppressions():
        return []
    cipher = subject_cipher(keys, caller.controller_name, row)
    identifiers: set[tuple[str, str]] = set()
    for part in await reader.identifying_parts(subject, PARTS_MAX):
        for known in (read_part(cipher, part, "who") or {}).get("identifiers", ()):
            identifiers.add((known["type"], known["value"]))
    return await suppressed_of(reader, keys, caller, identifiers)
