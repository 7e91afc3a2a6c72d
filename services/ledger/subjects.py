"""Whose record it is: find subjects by identifier name, lock them against erasure, make keys for new ones.

Invariant: no record is written for a subject whose key row is not locked in the same transaction.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from services.keys import SECRET_BYTES, ControllerKeys, key_epoch
from services.ledger.opening import Opened
from services.ledger.registry import Log
from services.ledger.rows import UUID_BYTES, identifier_row, subject_row
from services.ledger.store import Row, Store


class SubjectVanished(Exception):
    """A subject was erased between the look-up and the lock; do the batch again."""


@dataclass(slots=True)
class SubjectKey:
    """One subject's key, unwrapped for this batch. `subject` is the 16 bytes of its id."""

    subject: bytes
    key: bytes
    cipher: AESGCM
    is_new: bool


@dataclass(slots=True)
class Resolved:
    """Subjects of one batch of one controller: by identifier name, and the stand-ins by log."""

    by_identifier: dict[bytes, SubjectKey] = field(default_factory=dict)
    # Those that events name by their ids, and that are still there.
    by_subject: dict[UUID, SubjectKey] = field(default_factory=dict)
    by_log: dict[int, SubjectKey] = field(default_factory=dict)
    # Rows packed for COPY.
    new_subjects: list[bytes] = field(default_factory=list)
    new_identifiers: list[bytes] = field(default_factory=list)

    def of(self, opened: Opened) -> SubjectKey:
        """The subject that an event belongs to."""
        if opened.identifier is not None:
            return self.by_identifier[opened.identifier]
        if opened.about is not None and opened.about in self.by_subject:
            return self.by_subject[opened.about]
        return self.by_log[opened.log.log]

    def is_somebodys(self, opened: Opened) -> bool:
        """Whether an event belongs to a person, not to its log's stand-in."""
        return opened.identifier is not None or opened.about in self.by_subject


def unwrap(keys: ControllerKeys, controller_name: str, row: Row) -> bytes:
    """A subject's key from its row (wrapped_key, key_epoch)."""
    return aes_key_unwrap(keys.wrapping_key(controller_name, row["key_epoch"]), row["wrapped_key"])


async def resolve(store: Store, keys: ControllerKeys, log: Log, events: Sequence[Opened]) -> Resolved:
    """Resolve the subjects of events of one controller (`log` is any log of it).

    1. Look up known identifiers; 2. lock their subjects, and those that events name by id, in id order; 3. make a
    subject and a key for each new one.
    Raises SubjectVanished.
    """
    controller = log.controller
    wanted = {opened.identifier for opened in events if opened.identifier is not None}
    # A link waits for nobody: whoever it names becomes a subject of their own.
    wanted |= {name for opened in events for _, name in opened.weaker}
    rows = await store.known_identifiers(controller, list(wanted)) if wanted else []
    subject_of: dict[bytes, UUID] = {row["identifier"]: row["subject"] for row in rows}
    stand_ins: dict[int, UUID] = {}
    for number in sorted({opened.log.log for opened in events if opened.identifier is None}):
        subject = await store.log_subject(controller, number)
        if subject is not None:
            stand_ins[number] = subject
    about = {opened.about for opened in events if opened.about is not None}
    locked = await _lock(store, keys, log, {*subject_of.values(), *stand_ins.values()}, about)
    # Of somebody erased meanwhile the id leads nowhere any more, and the log's own key takes the place of theirs.
    resolved = Resolved(by_subject={one: locked[one] for one in about & locked.keys()})
    logs_without_subject = {opened.log.log for opened in events if not resolved.is_somebodys(opened)}
    maker = _Maker(keys, log, resolved)
    for identifier in wanted:
        known = subject_of.get(identifier)
        resolved.by_identifier[identifier] = maker.make(identifier, None) if known is None else locked[known]
    for number in logs_without_subject:
        known = stand_ins.get(number)
        resolved.by_log[number] = maker.make(None, number) if known is None else locked[known]
    return resolved


async def _lock(
    store: Store, keys: ControllerKeys, log: Log, subjects: set[UUID], about: set[UUID]
) -> dict[UUID, SubjectKey]:
    """Lock `subjects`, and those of `about` who are there. Raises SubjectVanished."""
    if not subjects and not about:
        return {}
    locked = {}
    wrapping_keys: dict[int, bytes] = {}
    for row in await store.lock_subjects(log.controller, list(subjects | about)):
        epoch = row["key_epoch"]
        if epoch not in wrapping_keys:
            wrapping_keys[epoch] = keys.wrapping_key(log.controller_name, epoch)
        key = aes_key_unwrap(wrapping_keys[epoch], row["wrapped_key"])
        locked[row["subject"]] = SubjectKey(row["subject"].bytes, key, AESGCM(key), is_new=False)
    if not subjects <= locked.keys():
        raise SubjectVanished
    return locked


class _Maker:
    """Makes subjects with fresh keys, wrapped under the controller's key of the current epoch."""

    def __init__(self, keys: ControllerKeys, log: Log, resolved: Resolved) -> None:
        self._controller = log.controller
        self._epoch = key_epoch(time.time())
        self._wrapping_key = keys.create_wrapping_key(log.controller_name, self._epoch)
        self._resolved = resolved

    def make(self, identifier: bytes | None, log: int | None) -> SubjectKey:
        random = os.urandom(SECRET_BYTES + UUID_BYTES)
        key, subject = random[:SECRET_BYTES], random_uuid(random[SECRET_BYTES:])
        wrapped = aes_key_wrap(self._wrapping_key, key)
        self._resolved.new_subjects.append(subject_row(self._controller, subject, wrapped, self._epoch, log))
        if identifier is not None:
            self._resolved.new_identifiers.append(identifier_row(self._controller, identifier, subject))
        return SubjectKey(subject, key, AESGCM(key), is_new=True)


def random_uuid(random: bytes) -> bytes:
    """A version-4 UUID (RFC 9562, section 5.4) of 16 random bytes, as bytes."""
    return b"%b%c%b%c%b" % (random[:6], random[6] & 0x0F | 0x40, random[7:8], random[8] & 0x3F | 0x80, random[9:])
