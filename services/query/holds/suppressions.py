"""Objections that outlived an erasure (GDPR Art. 21): looked up by identifiers, so that nobody is approached again who
objected before they were erased.

Invariant: what a person decides after signing up again counts before what is found here.
"""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from schemas.events import Identifier
from services.keys import ControllerKeys, identifier_mac
from services.query.auth import Caller
from services.query.payloads import read_part, subject_cipher
from services.query.store import Reader

# Records that are opened to learn how somebody is known.
PARTS_MAX: Final = 50


class Suppressed(NamedTuple):
    """An objection of somebody who was erased; it is remembered until `until`."""

    legal_basis: str
    objected_at: datetime
    until: datetime


class Suppressions:
    """Looks objections up; holds the keys that open records."""

    def __init__(self, keys: ControllerKeys) -> None:
        self._keys = keys

    def name(self, caller: Caller, identifier: Identifier) -> bytes:
        """Under which an identifier's objection is kept. Raises ConfigurationError before there is any.

        The ledger makes the key with the first objection that is kept, or the first minimal proof.
        """
        return identifier_mac(self._keys.proof_key(caller.controller_name), identifier.type, identifier.value)

    async def of_in(
        self, reader: Reader, caller: Caller, subject: UUID, purpose: str, at: datetime
    ) -> Suppressed | None:
        """The latest objection to a purpose, made before `at`, of who was erased and had an identifier of this subject.

        1. Look whether there is any of anybody; 2. open what names the subject; 3. look for the names.
        """
        row = await reader.subject(subject)
        if row is None or not await reader.has_suppressions():
            return None
        cipher = subject_cipher(self._keys, caller.controller_name, row)
        names: set[bytes] = set()
        for part in await reader.identifying_parts(subject, PARTS_MAX):
            for known in (read_part(cipher, part, "who") or {}).get("identifiers", ()):
                names.add(self.name(caller, Identifier.model_validate(known)))
        rows = await reader.suppressed_objections(sorted(names), purpose, at) if names else []
        found = [Suppressed(row["legal_basis"], row["objected_at"], row["expires_at"]) for row in rows]
        return max(found, key=lambda one: one.objected_at, default=None)
