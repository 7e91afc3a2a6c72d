"""What must be known of a subject before anything is done about all of it: an erasure, a trigger to other systems.

Invariant: a damaged part hides nothing of the others, and what could not be read is said, never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

from schemas.errors import ProofError
from schemas.payload import open_part, place_of
from schemas.record import PartName
from services.keys import ControllerKeys, event_mac, identifier_mac
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.suppressing import Objection, objections_of
from services.ledger.links import LINKED
from services.ledger.store import Row
from services.ledger.subjects import unwrap

# What a part that was damaged before can raise when it is opened; its deletion goes on all the same.
UNREADABLE: Final = (ProofError, KeyError, TypeError, ValueError, AttributeError)


@dataclass(slots=True)
class Gathered:
    """What is known of a subject, and of those that go with it. Lives as long as the transaction."""

    names: set[bytes] = field(default_factory=set)
    # Names of weaker identifiers whose subjects go with this one.
    weaker_names: set[bytes] = field(default_factory=set)
    identifiers: set[tuple[str, str]] = field(default_factory=set)
    events: list[bytes] = field(default_factory=list)
    # Whether there is a record whose event could not be learned, because its `what` is gone or damaged.
    has_unnamed: bool = False
    # (row, ground, days) of records of which a rule keeps something.
    ruled: list[tuple[Row, str, int]] = field(default_factory=list)
    cipher: AESGCM | None = None
    objections: set[Objection] = field(default_factory=set)
    # The services that decisions name, and the (notice, purpose) of those that name none.
    services: set[str] = field(default_factory=set)
    unserviced: set[tuple[bytes, str]] = field(default_factory=set)
    # Whether some decision's services cannot be known: then every system may hold something of the person.
    has_unknown_services: bool = False

    def add_services(self, other: "Gathered") -> None:
        """Those of a subject that goes with this one."""
        self.services |= other.services
        self.unserviced |= other.unserviced
        self.has_unknown_services |= other.has_unknown_services or other.has_unnamed


class Gatherer:
    """Reads a subject's records; holds the keys that open them."""

    def __init__(self, keys: ControllerKeys, event_id_key: bytes) -> None:
        """`event_id_key` names events in the dedupe."""
        self._keys = keys
        self._event_id_key = event_id_key

    async def gather(
        self, erasures: ErasureStore, owner: tuple[int, str], subject: UUID, row: Row, gathered: Gathered
    ) -> Gathered:
        """Add what leads to a subject to what is gathered. `owner` is the controller's id and name."""
        controller, name = owner
        gathered.names |= set(await erasures.identifiers_of(controller, subject))
        gathered.objections |= set(await objections_of(erasures.connection, controller, subject))
        gathered.cipher = self._cipher(name, row)
        if gathered.cipher is None:
            gathered.has_unnamed = True
            return gathered
        rules = await erasures.rules(controller)
        async for part in erasures.subject_parts(controller, subject):
            self._read(name, part, rules, gathered)
        return gathered

    def _cipher(self, controller_name: str, row: Row) -> AESGCM | None:
        """The subject's; None if nothing of it can be read any more. Raises ConfigurationError."""
        if row["key_epoch"] not in self._keys.epochs(controller_name):
            # Its epoch's key was destroyed: a dump older than the backup window.
            return None
        try:
            return AESGCM(unwrap(self._keys, controller_name, row))
        except InvalidUnwrap:
            return None

    def _read(self, controller_name: str, part: Row, rules: Mapping[str, tuple[str, int]], gathered: Gathered) -> None:
        """Add one record to what is known of its subject."""
        cipher = gathered.cipher
        assert cipher is not None  # or there is nothing to read
        what: dict[str, Any] = {}
        try:
            if part["what"] is None:
                # Retention takes a record's parts together, and forgets its event with them.
                gathered.has_unnamed |= part["who"] is not None or part["context"] is not None
            else:
                what = _open(cipher, part, "what")
        except UNREADABLE:
            gathered.has_unnamed = True
        try:
            if part["who"] is not None:
                for known in _open(cipher, part, "who").get("identifiers", ()):
                    if what.get("type") != LINKED or self._goes_too(controller_name, known, gathered):
                        gathered.identifiers.add((known["type"], known["value"]))
        except UNREADABLE:
            pass
        if not what:
            return
        try:
            gathered.events.append(event_mac(self._event_id_key, controller_name, what["id"]))
            ruled = [rules[d["purpose"]] for d in what.get("decisions", ()) if d["purpose"] in rules]
            _read_services(what, gathered)
        except UNREADABLE:
            gathered.has_unnamed = True
            return
        if ruled:
            gathered.ruled.append((part, *max(ruled, key=lambda rule: rule[1])))

    def _goes_too(self, controller_name: str, identifier: Mapping[str, str], gathered: Gathered) -> bool:
        """Whether an identifier of a link is of somebody who is meant: that of a shared tablet is others' too."""
        secret = self._keys.identifier_key(controller_name)
        name = identifier_mac(secret, identifier["type"], identifier["value"])
        return name in gathered.names or name in gathered.weaker_names


def _read_services(what: Mapping[str, Any], gathered: Gathered) -> None:
    """Which services a record's decisions were about: named, or those of the purpose in the notice that was shown."""
    for decision in what.get("decisions", ()):
        if decision.get("services"):
            gathered.services.update(decision["services"])
        elif "notice" in what:
            gathered.unserviced.add((bytes.fromhex(what["notice"]["sha256"]), decision["purpose"]))
        else:
            gathered.has_unknown_services = True


def _open(cipher: AESGCM, row: Row, name: PartName) -> dict[str, Any]:
    _, part = open_part(cipher, row["nonce"], name, place_of(row["origin"], row["index"]), row[name])
    value: dict[str, Any] = orjson.loads(part)
    return value
