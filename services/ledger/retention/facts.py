"""Records as the retention engine takes them: opened, ranked as the state is, with what notices say of their purposes.

Invariant: nothing that is opened here outlives the transaction, and nothing of it leaves the ledger.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

from schemas.durations import Duration
from schemas.errors import ConfigurationError, ProofError
from schemas.events import parse_time
from schemas.payload import open_part, place_of
from schemas.ranking import corrected_by, decided_by, is_unconfirmed, made_at
from schemas.record import PART_NAMES, PartName, part_digest
from schemas.retaining import Fact, Place
from services.keys import event_mac
from services.ledger.store import Row, Store

# What a record that was damaged before can raise when it is opened, or whose subject's key is gone. Fsck names it.
UNREADABLE: Final = (
    ProofError,
    ConfigurationError,
    InvalidUnwrap,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
)
_COUNTRY = re.compile(r"(?P<country>[A-Z]{2})(-|$)")
# A jurisdiction that is no market by itself.
_NOT_A_MARKET: Final = frozenset({"EU"})


@dataclass(frozen=True, slots=True)
class NoticeFacts:
    """What notices say: by hash in hex and purpose how long an answer stands; by kind of data which purposes use it."""

    validity: Mapping[str, Mapping[str, Duration]] = field(default_factory=dict)
    categories: Mapping[str, frozenset[str]] = field(default_factory=dict)


def notice_facts(rows: Iterable[Row]) -> NoticeFacts:
    """From rows of (shown, content)."""
    validity: dict[str, dict[str, Duration]] = {}
    categories: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        stands = validity.setdefault(bytes(row["shown"]).hex(), {})
        for purpose in orjson.loads(row["content"])["purposes"]:
            if "valid_days" in purpose:
                stands[purpose["purpose"]] = Duration(0, purpose["valid_days"])
            elif "valid_for" in purpose:
                stands[purpose["purpose"]] = Duration.parse(purpose["valid_for"])
            for data in purpose.get("personal_data", ()):
                categories[data["type"]].add(purpose["purpose"])
    return NoticeFacts(validity, {name: frozenset(purposes) for name, purposes in categories.items()})


@dataclass(frozen=True, slots=True)
class Reading:
    """Opens records of one controller."""

    store: Store
    event_id_key: bytes
    owner: tuple[int, str]
    notices: NoticeFacts

    async def facts(self, cipher: AESGCM, rows: Sequence[Row], *, is_nobodys: bool) -> list[Fact]:
        """Those records whose `what` is there; what nobody decided ranks nowhere. Raises as open_part and orjson do.

        1. Open; 2. rank with the earliest received_at; 3. leave out what corrections undid.
        """
        opened: dict[bytes, tuple[Row, dict[str, Any]]] = {}
        for row in rows:
            if row["what"] is not None:
                what = read(cipher, row, "what")
                opened[event_mac(self.event_id_key, self.owner[1], what["id"])] = row, what
        received = await self.store.received_times(self.owner[0], list(opened))
        corrected = {corrected_by(what) for _, what in opened.values()}
        found = []
        for event, (row, what) in opened.items():
            received_at = received.get(event) or parse_time(what["received_at"])
            counts = not is_nobodys and not (is_unconfirmed(what) and (what["site"], what["id"]) in corrected)
            decided = decided_by(what, received_at, event) if counts else []
            found.append(
                Fact(
                    place=(row["log"], row["index"]),
                    event=event,
                    type=what["type"],
                    received_at=received_at,
                    parts=frozenset(name for name in PART_NAMES if row[name] is not None),
                    purposes=frozenset(d["purpose"] for d in what.get("decisions", ())),
                    decided=decided,
                    is_unconfirmed=is_unconfirmed(what),
                    # Whether the person is of age: the next record may not say it again.
                    remains="age" in what,
                    expires=self._expires(what, received_at),
                    market=_market(cipher, row, what),
                )
            )
        return found

    def _expires(self, what: Mapping[str, Any], received_at: datetime) -> dict[str, datetime]:
        """By purpose: the earlier of what the event states and what the notice promised, as query counts it."""
        stands = self.notices.validity.get(what.get("notice", {}).get("sha256", ""), {})
        made, found = made_at(what, received_at), {}
        for purpose in {d["purpose"] for d in what.get("decisions", ())}:
            ends = [stands[purpose].after(made)] if purpose in stands else []
            if "valid_until" in what:
                ends.append(parse_time(what["valid_until"]))
            if ends:
                found[purpose] = min(ends)
        return found


def read(cipher: AESGCM, row: Row, name: PartName) -> dict[str, Any]:
    """A part of a row (origin, index, nonce, parts). Raises ProofError, ValueError."""
    _, part = open_part(cipher, row["nonce"], name, place_of(row["origin"], row["index"]), row[name])
    value: dict[str, Any] = orjson.loads(part)
    return value


def digest(cipher: AESGCM, row: Row, name: PartName) -> bytes:
    """What a part leaves behind. Raises ProofError."""
    return part_digest(name, *open_part(cipher, row["nonce"], name, place_of(row["origin"], row["index"]), row[name]))


def _market(cipher: AESGCM, row: Row, what: Mapping[str, Any]) -> str | None:
    """The country whose law the record is under, as far as it still says: the one that it names, or where it was."""
    match = _COUNTRY.match(what.get("jurisdiction", ""))
    if match is not None and match["country"] not in _NOT_A_MARKET:
        return match["country"]
    if row["context"] is None:
        return None
    country: str | None = read(cipher, row, "context").get("country")
    return country


def by_place(rows: Iterable[Row]) -> dict[Place, Row]:
    """Rows by (log, index)."""
    return {(row["log"], row["index"]): row for row in rows}
