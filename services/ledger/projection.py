"""State, links and ages again from the records: decrypt one subject's payloads, rank, fold, write. Used when an earlier
copy of an event turns up, and by `sayso rebuild`. Invariant: the result is what recording in any order would have left.
"""

from uuid import UUID

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.payload import open_part, place_of
from schemas.ranking import corrected_by, latest, settled
from services.keys import ControllerKeys, event_mac
from services.ledger.links import LINKED, LinkRecord, project_links
from services.ledger.rights.ages import age_said
from services.ledger.store import Store
from services.ledger.subjects import unwrap


async def project(
    store: Store, keys: ControllerKeys, event_id_key: bytes, owner: tuple[int, str], subject: UUID
) -> int:
    """Project one subject's state anew inside the caller's transaction; return how many decisions stand.

    `owner` is the controller's id and name. Raises ProofError if a payload does not open.
    """
    controller, controller_name = owner
    row = await store.lock_subject(controller, subject)
    if row is None or row["log"] is not None:
        # Erased, or a log's stand-in, which is nobody and has no state.
        return 0
    cipher = AESGCM(unwrap(keys, controller_name, row))
    events, places = {}, {}
    for payload in await store.subject_payloads(controller, subject):
        place = place_of(payload["origin"], payload["index"])
        _, part = open_part(cipher, payload["nonce"], "what", place, payload["what"])
        what = orjson.loads(part)
        event = event_mac(event_id_key, controller_name, what["id"])
        events[event] = what
        if what["type"] == LINKED:
            places[event] = payload
    corrected = [correction[1] for what in events.values() if (correction := corrected_by(what)) is not None]
    if corrected:
        # The event may come after its correction: whoever records it learns from here that it is undone.
        names = sorted({event_mac(event_id_key, controller_name, event_id) for event_id in corrected})
        await store.remember_corrected(controller, names)
    received_at = await store.received_times(controller, list(events))
    state = latest(settled({event: (events[event], received) for event, received in received_at.items()}))
    await store.clear_ages(controller, subject)
    for event, received in sorted(received_at.items()):
        if (said := age_said(event, events[event], received)) is not None:
            await store.state_age(controller, subject, said)
    await store.clear_state(controller, subject)
    if state:
        await store.write_state(controller, [(subject.bytes, state[key]) for key in sorted(state)])
    links = [
        LinkRecord(event, places[event], events[event], received_at[event]) for event in places.keys() & received_at
    ]
    await project_links(store, controller, keys.identifier_key(controller_name), subject, cipher, links)
    return len(state)
