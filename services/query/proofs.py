"""The proof of one event: its record, what of it is disclosed, and the way from its leaf to a signed checkpoint.

Invariant: a proof discloses no part beyond the caller's role, and leads to a checkpoint that is published.
"""

from collections.abc import Collection
from uuid import UUID

from schemas.bundle import Bundle
from schemas.errors import NotFound, NotPublishedYet, RoleNotAllowed
from schemas.record import PartName, read_entry
from services.keys import ControllerKeys, event_mac
from services.query.auth import Caller
from services.query.grants.scope import has_record, require_subject, visible_parts
from services.query.log_keys import stated_vkey
from services.query.payloads import disclose, read_part, subject_cipher
from services.query.published import PublishedLogs, last_checkpoint
from services.query.store import Store

RETRY_AFTER_S = 1


class Proofs:
    """Makes proof documents; holds the keys that open records and the cache of tiles."""

    def __init__(self, store: Store, keys: ControllerKeys, event_id_key: bytes, published: PublishedLogs) -> None:
        self._store = store
        self._keys = keys
        self._event_id_key = event_id_key
        self._published = published

    async def bundle(self, caller: Caller, event_id: UUID, wanted: Collection[PartName] | None) -> Bundle:
        """The proof document of an event, disclosing the parts wanted, or all that the role may see.

        Raises RoleNotAllowed, NotFound, NotPublishedYet; ProofError when stored rows contradict each other.
        1. Find the record by the event's dedupe name, if the caller's grant chooses it; 2. take the last checkpoint,
        which must cover it, and a key that signed it; 3. read the path; 4. open the parts; 5. add the notice that the
        entry names.
        """
        if wanted is not None and not set(wanted) <= set(caller.parts):
            raise RoleNotAllowed
        name = event_mac(self._event_id_key, caller.controller_name, str(event_id))
        async with self._store.reading(caller.controller, caller.scope) as reader:
            row = await reader.event(name, looks=caller.role == "dpo")
            if row is None:
                raise NotFound
            require_subject(caller, row["subject"])
            cipher = subject_cipher(self._keys, caller.controller_name, row)
            what = read_part(cipher, row, "what")
            if not has_record(caller, what):
                raise NotFound
            log, index = row["log_number"], row["index"]
            checkpoint = await last_checkpoint(reader, log)
            if checkpoint is None or checkpoint.size <= index:
                raise NotPublishedYet(retry_after_s=RETRY_AFTER_S)
            vkey = await stated_vkey(reader, row, checkpoint.note, checkpoint.size)
            path = await self._published.inclusion(reader, log, index, checkpoint.size)
            shown = visible_parts(caller, what)
            parts = disclose(cipher, row, shown if wanted is None else set(shown) & set(wanted))
            if parts is None:
                raise NotFound
            named = read_entry(row["entry"]).get("notice")
            notice = None if named is None else await reader.notice_content(bytes.fromhex(named))
        return Bundle(
            event=str(event_id),
            origin=row["origin"],
            vkey=vkey,
            index=index,
            entry=row["entry"],
            path=path,
            checkpoint=checkpoint.note,
            disclosed=parts[0],
            digests=parts[1],
            notice=notice,
        )
