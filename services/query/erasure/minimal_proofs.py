"""Minimal proofs: what a written rule keeps of an erased person's decisions (GDPR Art. 17(3)), and their release.

Invariant: the decision is opened only once two different keys have asked for it, the first of them with a reason.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.bundle import Bundle
from schemas.errors import InvalidParameter, NotFound, NotPublishedYet, ProofError
from schemas.events import Identifier
from schemas.payload import place_of
from schemas.record import SALT_BYTES, format_time, read_entry
from schemas.rights_errors import SecondPersonNeeded
from services.keys import ControllerKeys, identifier_mac
from services.postgres import Pool, controller_transaction
from services.query.approvals.store import is_one_holder
from services.query.auth import Caller
from services.query.erasure.store import ErasureStore
from services.query.log_keys import stated_vkey
from services.query.proofs import RETRY_AFTER_S
from services.query.published import PublishedLogs, last_checkpoint
from services.query.store import Reader, Row


@dataclass(frozen=True, slots=True)
class MinimalProofs:
    """Finds and releases minimal proofs; holds the keys that open them."""

    pool: Pool
    keys: ControllerKeys
    published: PublishedLogs

    async def search(self, caller: Caller, identifier: Identifier) -> list[dict[str, Any]]:
        """Where the decisions of an erased person stand, and until when; nothing of what was decided.

        Raises NotFound when nothing is kept.
        """
        async with controller_transaction(self.pool, caller.controller) as connection:
            store = ErasureStore(connection, caller.controller)
            # The ledger makes the controller's proof key with the first proof that a rule keeps.
            if not await store.has_minimal_proofs():
                raise NotFound
            key = self.keys.proof_key(caller.controller_name)
            rows = await store.minimal_proofs_of(identifier_mac(key, identifier.type, identifier.value))
        if not rows:
            raise NotFound
        return [_described(row) for row in rows]

    async def release(self, caller: Caller, log: str, index: int, reason: str | None) -> Bundle | None:
        """The proof document that shows the decision alone; None for the first of the two, whose ask is now noted.

        Raises NotFound, InvalidParameter when the first gives no reason, SecondPersonNeeded for whoever is neither of
        the two, NotPublishedYet; ProofError when what was kept does not open. 1. Lock the row: of two requests one
        comes first; 2. the first asks; 3. the second, with another key, releases; 4. both may see the proof, again too.
        """
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            store = ErasureStore(connection, caller.controller)
            row = await store.lock_minimal_proof(log, index)
            if row is None:
                raise NotFound
            asked_by, released_by = row["asked_by"], row["released_by"]
            if asked_by is None:
                if reason is None:
                    raise InvalidParameter("/reason")
                await store.ask_for_release(row["log_number"], index, caller.key, reason)
                return None
            if released_by is None and not await is_one_holder(connection, caller.controller, caller.key, asked_by):
                await store.release(row["log_number"], index, caller.key)
                released_by = caller.key
            if released_by is None or caller.key not in {asked_by, released_by}:
                raise SecondPersonNeeded
            return await self._bundle(Reader(connection, caller.controller), caller, row)

    async def _bundle(self, reader: Reader, caller: Caller, row: Row) -> Bundle:
        """As any proof of the record, with the other two parts as digests."""
        log, index = row["log_number"], row["index"]
        checkpoint = await last_checkpoint(reader, log)
        if checkpoint is None or checkpoint.size <= index:
            raise NotPublishedYet(retry_after_s=RETRY_AFTER_S)
        vkey = await stated_vkey(reader, row, checkpoint.note, checkpoint.size)
        path = await self.published.inclusion(reader, log, index, checkpoint.size)
        salt, what = _open(self.keys.proof_key(caller.controller_name), row)
        named = read_entry(row["entry"]).get("notice")
        return Bundle(
            event=orjson.loads(what)["id"],
            origin=row["origin"],
            vkey=vkey,
            index=index,
            entry=row["entry"],
            path=path,
            checkpoint=checkpoint.note,
            disclosed={"what": (salt, what)},
            digests={"who": row["who_digest"], "context": row["context_digest"]},
            notice=None if named is None else await reader.notice_content(bytes.fromhex(named)),
        )


def _open(key: bytes, row: Row) -> tuple[bytes, bytes]:
    """(salt, JSON) of the decision. Raises ProofError."""
    try:
        kept = AESGCM(key).decrypt(row["nonce"], row["what"], place_of(row["origin"], row["index"]))
    except InvalidTag:
        raise ProofError("a minimal proof does not open: it was changed, moved, or its key is another") from None
    return kept[:SALT_BYTES], kept[SALT_BYTES:]


def _described(row: Row) -> dict[str, Any]:
    """A minimal proof by its place, its ground and end, and how far its release is."""
    state = "kept" if row["asked_by"] is None else "asked" if row["released_by"] is None else "released"
    shown: dict[str, Any] = {
        "log": row["log"],
        "index": row["index"],
        "number": row["number"],
        "ground": row["ground"],
        "until": format_time(row["keep_until"]),
        "state": state,
    }
    if row["asked_by"] is not None:
        shown |= {"asked_by": row["asked_by"], "reason": row["reason"]}
    if row["released_by"] is not None:
        shown |= {"released_by": row["released_by"], "released_at": format_time(row["released_at"])}
    return shown
