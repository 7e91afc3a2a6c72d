"""From a received message to everything about its record that needs no database: open the seal, check, commit.

Runs ahead of the recording transaction, while the one before it commits. Trust: the broker is not trusted at all; the
publisher is trusted to be the registered process it signed as, not to send sense, so every part is checked here.
"""

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import TypeAdapter, ValidationError

from schemas.canonical import canonical_json
from schemas.errors import SealError
from schemas.event_types import entry_class
from schemas.events import IDENTIFIER_STRENGTH, Identifier, PurposeDecision, parse_time
from schemas.ranking import Decided, corrected_by, decided_by
from schemas.record import SALT_BYTES, Parts, commitment, format_time, part_digest
from schemas.sealing import EpochHeader, SealedBody, open_message
from schemas.topics import DeadLetterReason
from services.keys import ControllerKeys, event_mac, identifier_mac
from services.ledger.links import linked_names
from services.ledger.registry import Log, Registry
from services.ledger.sealing_keys import SealingKeys
from services.stream.protocol import Message, Received

# Let the transaction of the batch before go on after this many events of uninterrupted work. A statement waits for
# about three such turns: with many more events in one, this batch would be open before the costly statements begin.
YIELD_EVERY: Final = 8
EPOCHS_CACHED_MAX: Final = 4096
# The type of message that asks for an erasure, and the grounds it may name (GDPR Art. 17(1)).
ERASED: Final = "subject.erased"
# What the ledger records where a hold stopped one.
HOLD_APPLIED: Final = "hold.applied"
GROUNDS: Final = frozenset(f"17(1)({letter})" for letter in "abcdef")
DECISIONS_REMEMBERED_MAX: Final = 4096

_EPOCH_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
SALTS_BYTES: Final = 3 * SALT_BYTES
_NO_SALTS: Final = b"", b"", b""
# What a body that is no event can raise when it is read.
_SENSELESS: Final = (ValidationError, KeyError, TypeError, AttributeError, ValueError, OverflowError)
# Members that recording and rebuilding look into long after this.
_READ_LATER: Final = (("marks", list), ("supersedes", str), ("posted_by", str), ("age", dict), ("double_opt_in", dict))
_IDENTIFIERS: Final = TypeAdapter(list[Identifier]).validator
_DECISIONS: Final = TypeAdapter(list[PurposeDecision]).validator


@dataclass(slots=True)
class Opened:
    """A message that may be recorded. `identifiers` are names, the strongest first, empty without a subject."""

    received: Received
    log: Log
    event: bytes
    content: bytes
    parts: Parts
    entry_class: str
    notice: str | None
    identifiers: list[bytes]
    received_at: datetime
    what: dict[str, Any]
    decided: list[Decided]
    salts: tuple[bytes, bytes, bytes] = _NO_SALTS
    commitment: str = ""
    # Of a record that links: (nth, name) of each identifier that is weaker than its strongest.
    weaker: Sequence[tuple[int, bytes]] = ()
    # The subject that a query process says it is about, where it names no identifier.
    about: UUID | None = None
    # What only the ledger's own records state in their entry.
    erased: Mapping[str, int] | None = None
    follows: Mapping[str, Any] | None = None

    @property
    def identifier(self) -> bytes | None:
        """The name of the strongest identifier."""
        return self.identifiers[0] if self.identifiers else None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A message for the dead letters, with what could be read of it; `acted_at` is the latest that it can be from."""

    received: Received
    reason: DeadLetterReason
    log: Log | None = None
    event: bytes | None = None
    identifiers: Sequence[bytes] = ()
    acted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _EpochKey:
    epoch: bytes
    cipher: AESGCM
    types: frozenset[str]


class Opener:
    """Opens messages; holds the sealing keys and a cache of verified epoch headers."""

    def __init__(
        self, registry: Registry, sealing_keys: SealingKeys, event_id_key: bytes, controller_keys: ControllerKeys
    ) -> None:
        """All keys stay in this process."""
        self._registry = registry
        self._sealing_keys = sealing_keys
        self._event_id_key = event_id_key
        self._controller_keys = controller_keys
        self._epochs: dict[bytes, _EpochKey] = {}
        # Secrets of identifier names by controller, for the batch at hand only: asking ControllerKeys looks at a file.
        self._identifier_keys: dict[str, bytes] = {}
        # Hashes of decisions that the schema took: a site's visitors give few different answers. Free text may stand in
        # them, which must not outlive its batch.
        self._valid_decisions: set[bytes] = set()
        self._generation = 0, 0

    async def look_again(self) -> None:
        """What is known of the logs is old."""
        await self._registry.refresh(missed=True)

    async def open_all(self, received: Sequence[Received]) -> list[Opened | SetAside]:
        """Open a batch, in order; what cannot be recorded comes back as SetAside with its reason."""
        await self._registry.refresh()
        if any(self._misses(item.message) for item in received):
            await self._registry.refresh(missed=True)
        generation = self._registry.generation, self._sealing_keys.generation
        if self._generation != generation:
            # A publisher may have been revoked, or a sealing key destroyed: every header is verified again.
            self._epochs.clear()
            self._generation = generation
        self._identifier_keys.clear()
        outcome: list[Opened | SetAside] = []
        # The salts of all at once: asking the kernel event by event is a twentieth of the work.
        random = os.urandom(SALTS_BYTES * len(received))
        for number, item in enumerate(received):
            if number % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
            at = number * SALTS_BYTES
            outcome.append(self.open(item, random[at : at + SALTS_BYTES]))
        unknown = [o for o in outcome if isinstance(o, Opened) and "notice" in o.what and o.notice is None]
        if unknown:
            # Ingest says of a notice that it cannot find. One that it found was published before the event came, and
            # has to stand in the entry: without it the proof would not hold the words, for good.
            found = any("notice-unknown" not in opened.what.get("marks", ()) for opened in unknown)
            await self._registry.refresh(missed=True, vouched=found)
            for opened in unknown:
                opened.notice = self._known_notice(opened.log, opened.what)
        return outcome

    def _misses(self, message: Message | None) -> bool:
        if message is None:
            return False
        log = self._registry.log(message.log)
        if log is None or message.site not in log.sites:
            return True
        return message.epoch not in self._epochs and self._registry.publisher(message.epoch[1:9]) is None

    def open(self, received: Received, random: bytes) -> Opened | SetAside:
        """Open one message: 1. place it; 2. open the epoch and the seal; 3. check the parts; 4. commit to them.

        `random` is what the three salts are made of, never used again.
        """
        message = received.message
        if message is None:
            return SetAside(received, DeadLetterReason.HEADERS_INVALID)
        log = self._registry.log(message.log)
        if log is None:
            return SetAside(received, DeadLetterReason.LOG_UNKNOWN)
        if self._registry.is_erased(message.log):
            return SetAside(received, DeadLetterReason.CONTROLLER_ERASED)
        event = event_mac(self._event_id_key, log.controller_name, message.event_id)
        if message.site not in log.sites:
            return SetAside(received, DeadLetterReason.SITE_UNKNOWN, log, event)
        try:
            key = self._epoch_key(message.epoch)
            body = open_message(key.cipher, key.epoch, message.log, message.site, message.event_id, message.value)
        except SealError as error:
            return SetAside(received, DeadLetterReason(error.reason), log, event)
        try:
            opened = self._check((received, message, log), event, key, body)
        except SealError as error:
            return self._set_aside((received, log), event, body, DeadLetterReason(error.reason))
        commit(opened, random)
        return opened

    def _set_aside(
        self, placed: tuple[Received, Log], event: bytes, body: SealedBody, reason: DeadLetterReason
    ) -> SetAside:
        """A message that could be opened and may not be recorded: with the names in it, so that it goes with them."""
        received, log = placed
        try:
            names = _identifier_names(self._identifier_key(log), orjson.loads(body.parts.who))
            acted_at = _EPOCH_START + timedelta(microseconds=body.received_at_us)
        except _SENSELESS:
            return SetAside(received, reason, log, event)
        return SetAside(received, reason, log, event, names, acted_at)

    def _identifier_key(self, log: Log) -> bytes:
        key = self._identifier_keys.get(log.controller_name)
        if key is None:
            key = self._controller_keys.create_identifier_key(log.controller_name)
            self._identifier_keys[log.controller_name] = key
        return key

    def _epoch_key(self, header: bytes) -> _EpochKey:
        known = self._epochs.get(header)
        if known is not None:
            return known
        decoded = EpochHeader.decode(header)
        publisher = self._registry.publisher(decoded.publisher)
        if publisher is None:
            raise SealError(DeadLetterReason.PUBLISHER_UNKNOWN)
        private = self._sealing_keys.find(decoded.sealing_key)
        if private is None:
            raise SealError(DeadLetterReason.SEALING_KEY_UNKNOWN)
        key = decoded.open(publisher.public_key, private)
        if len(self._epochs) >= EPOCHS_CACHED_MAX:
            self._epochs.clear()
        opened = self._epochs[header] = _EpochKey(decoded.epoch, AESGCM(key), publisher.types)
        return opened

    def _check(self, placed: tuple[Received, Message, Log], event: bytes, key: _EpochKey, body: SealedBody) -> Opened:
        received, message, log = placed
        parts = body.parts
        try:
            who, what, context = orjson.loads(parts.who), orjson.loads(parts.what), orjson.loads(parts.context)
            if (canonical_json(who), canonical_json(what), canonical_json(context)) != parts:
                raise SealError(DeadLetterReason.PARTS_INVALID)
            if not isinstance(who, dict) or not isinstance(context, dict):
                raise SealError(DeadLetterReason.PARTS_INVALID)
            second, microsecond = divmod(body.received_at_us, 1_000_000)
            received_at, written = _second(second)
            if what["received_at"] != f"{written}.{microsecond:06d}Z":
                raise SealError(DeadLetterReason.PARTS_INVALID)
            if what["id"] != message.event_id or what["site"] != message.site:
                raise SealError(DeadLetterReason.PARTS_INVALID)
            if what["type"] not in key.types:
                raise SealError(DeadLetterReason.TYPE_NOT_ALLOWED)
            parse_time(what["time"])
            for name, kind in _READ_LATER:
                if name in what and not isinstance(what[name], kind):
                    raise SealError(DeadLetterReason.PARTS_INVALID)
            if "decisions" in what:
                self._check_decisions(what["decisions"])
            if what["type"] == ERASED:
                read_ask(what)
                read_request(what)
            corrected_by(what)
            received_at = received_at.replace(microsecond=microsecond)
            return Opened(
                received=received,
                log=log,
                event=event,
                content=body.content,
                parts=parts,
                entry_class=entry_class(what["type"]),
                notice=self._known_notice(log, what),
                identifiers=_identifier_names(self._identifier_key(log), who),
                received_at=received_at,
                what=what,
                decided=decided_by(what, received_at, event),
                weaker=linked_names(self._identifier_key(log), what, who),
                about=_about(who, key.types),
            )
        except _SENSELESS:
            raise SealError(DeadLetterReason.PARTS_INVALID) from None

    def _check_decisions(self, decisions: Any) -> None:
        """Raise ValidationError unless the schema takes them."""
        written = hashlib.sha256(canonical_json(decisions)).digest()
        if written in self._valid_decisions:
            return
        _DECISIONS.validate_python(decisions)
        if len(self._valid_decisions) >= DECISIONS_REMEMBERED_MAX:
            self._valid_decisions.clear()
        self._valid_decisions.add(written)

    def _known_notice(self, log: Log, what: dict[str, Any]) -> str | None:
        """The notice hash for the public entry: only one the controller knows, so no stranger writes into a leaf."""
        if "notice" not in what:
            return None
        shown = bytes.fromhex(what["notice"]["sha256"])
        return shown.hex() if self._registry.knows_notice(log.controller, shown) else None


def read_ask(what: Mapping[str, Any]) -> tuple[UUID, str]:
    """The subject and the ground of a message that asks for an erasure. Raises KeyError, TypeError or ValueError."""
    asked = what["erasure"]
    subject, ground = UUID(asked["subject"]), asked["ground"]
    if ground not in GROUNDS:
        raise ValueError("not a ground of Art. 17(1)")
    return subject, ground


def read_request(what: Mapping[str, Any]) -> UUID | None:
    """The request that an ask for an erasure answers, if it does. Raises KeyError, TypeError or ValueError."""
    return UUID(what["request"]["request"]) if "request" in what else None


def _about(who: Mapping[str, Any], types: frozenset[str]) -> UUID | None:
    """The subject that `who` names by its id. Raises SealError unless its signer may ask for erasures: only a query
    process knows subjects by their ids, and none may speak of one who it says is somebody else.
    """
    if "subject" not in who:
        return None
    if ERASED not in types or "identifiers" in who:
        raise SealError(DeadLetterReason.PARTS_INVALID)
    return UUID(who["subject"])


@lru_cache(maxsize=64)
def _second(second: int) -> tuple[datetime, str]:
    """A whole second since 1970, and as schemas.record.format_time writes it up to the seconds."""
    moment = _EPOCH_START + timedelta(seconds=second)
    return moment, format_time(moment)[:19]


def _identifier_names(secret: bytes, who: dict[str, Any]) -> list[bytes]:
    """Names of the identifiers, the strongest first."""
    if "identifiers" not in who:
        return []
    identifiers = _IDENTIFIERS.validate_python(who["identifiers"])
    if len(identifiers) > 1:
        identifiers.sort(key=lambda identifier: -IDENTIFIER_STRENGTH[identifier.type])
    return [identifier_mac(secret, identifier.type, identifier.value) for identifier in identifiers]


def commit(opened: Opened, random: bytes) -> None:
    """Salt the parts and commit to them; neither depends on the place the record will get. `random` is 96 bytes."""
    salts = random[:SALT_BYTES], random[SALT_BYTES : 2 * SALT_BYTES], random[2 * SALT_BYTES :]
    opened.salts = salts
    opened.commitment = commitment(
        part_digest("who", salts[0], opened.parts.who),
        part_digest("what", salts[1], opened.parts.what),
        part_digest("context", salts[2], opened.parts.context),
    ).hex()
