"""Links between subjects, projected from the records of type identity.linked (design, section 3, Subjects; decision
0012): who is signed in as whom, since when and until when.

Invariant: the rows are the acts that the records tell, one a weaker identifier, whatever order they arrived in; they
never merge subjects. An act whose weaker subject was erased stays void.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.events import IDENTIFIER_STRENGTH
from schemas.payload import open_part, place_of
from schemas.ranking import is_unconfirmed, linked_at
from services.keys import identifier_mac

if TYPE_CHECKING:
    from services.ledger.opening import Opened
    from services.ledger.store import Row, Store
    from services.ledger.subjects import Resolved
    from services.ledger.writes import Writes

LINKED: Final = "identity.linked"
LinkState = Literal["linked", "ended"]


class Act(NamedTuple):
    """One row: by `event` (its dedupe name) the `nth` identifier's subject is linked to `strong`, or no longer."""

    event: bytes
    nth: int
    strong: UUID
    # None once it was erased.
    weak: UUID | None
    state: LinkState
    acted_at: datetime


class LinkRecord(NamedTuple):
    """A record of type identity.linked with its place (log, origin, index, nonce) and earliest received_at."""

    event: bytes
    place: "Row"
    what: Mapping[str, Any]
    received_at: datetime


def link_state(what: Mapping[str, Any]) -> LinkState | None:
    """What a record says of a link; None if it says nothing of any. Raises KeyError, TypeError or ValueError.

    Whoever showed no proof links nobody; ending a link takes nothing from anybody.
    """
    if what["type"] != LINKED:
        return None
    state = what["link"]["state"] if "link" in what else "linked"
    if state == "ended":
        return "ended"
    if state != "linked":
        raise ValueError("not a state of a link")
    return None if is_unconfirmed(what) else "linked"


def linked_names(secret: bytes, what: Mapping[str, Any], who: Mapping[str, Any]) -> list[tuple[int, bytes]]:
    """(nth, name) of the identifiers that a record links to its strongest one: all that are truly weaker.

    `secret` is the controller's for identifier names. Raises as `link_state` does.
    """
    if link_state(what) is None:
        return []
    identifiers = who.get("identifiers", [])
    strength = [IDENTIFIER_STRENGTH[identifier["type"]] for identifier in identifiers]
    return [
        (nth, identifier_mac(secret, identifier["type"], identifier["value"]))
        for nth, identifier in enumerate(identifiers)
        if strength[nth] < max(strength)
    ]


def put_links(
    store: "Store", controller: int, events: Sequence["Opened"], resolved: "Resolved", writes: "Writes"
) -> None:
    """The rows of a batch's new records; their subjects are locked."""
    acts = [
        Act(
            opened.event,
            nth,
            UUID(bytes=resolved.of(opened).subject),
            UUID(bytes=resolved.by_identifier[name].subject),
            link_state(opened.what) or "linked",
            linked_at(opened.what, opened.received_at),
        )
        for opened in events
        for nth, name in opened.weaker
    ]
    if acts:
        writes.put(lambda: store.write_links(controller, acts))


async def project_links(
    store: "Store", controller: int, secret: bytes, subject: UUID, cipher: AESGCM, records: Sequence[LinkRecord]
) -> None:
    """Project the links of one stronger subject anew; its row is locked.

    1. Read whom the records name; 2. leave void what is; 3. lock the weaker ones against erasure; 4. write.
    Raises ProofError if a part does not open.
    """
    named: dict[tuple[bytes, int], bytes] = {}
    unreadable = []
    parts = await store.who_parts(controller, [(r.place["log"], r.place["index"]) for r in records]) if records else {}
    for record in records:
        row = record.place
        sealed = parts[row["log"], row["index"]]
        if sealed is None:
            unreadable.append(record.event)
            continue
        _, part = open_part(cipher, row["nonce"], "who", place_of(row["origin"], row["index"]), sealed)
        named |= {(record.event, nth): name for nth, name in linked_names(secret, record.what, orjson.loads(part))}
    void = await store.void_links(controller, subject)
    led_to = await store.named_subjects(controller, sorted(set(named.values()))) if named else {}
    weaker = [weak for weak, _ in led_to.values()]
    locked = {row["subject"] for row in await store.lock_subjects(controller, weaker)} if weaker else set()
    acts = []
    for record in records:
        state, acted_at = link_state(record.what), linked_at(record.what, record.received_at)
        for event, nth in named:
            if event != record.event or state is None:
                continue
            weak, erased_at = led_to.get(named[event, nth], (None, None))
            is_void = (event, nth) in void or weak not in locked or (erased_at is not None and acted_at <= erased_at)
            acts.append(Act(event, nth, subject, None if is_void else weak, state, acted_at))
    await store.clear_links(controller, subject, unreadable)
    if acts:
        await store.write_links(controller, acts)
