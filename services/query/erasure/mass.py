"""Erasures of many people at once: asked for by one person, approved by another, done after a delay (docs/holds.md).

Invariant: whom it is about stands in rows from the beginning, and each row is noted once its ask is durable. A crash in
between asks for some a second time, which erases nobody twice.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import orjson

from schemas.durations import Duration
from schemas.errors import NotFound
from schemas.rights_errors import TooManyErasures
from schemas.terms import MassErasure, read_terms
from services.keys import event_mac
from services.postgres import Pool, PooledConnection, controller_transaction
from services.query.approvals.approvals import ask_for
from services.query.approvals.store import ApprovalStore
from services.query.asking import Asking
from services.query.auth import Caller
from services.query.erasure.store import ErasureStore, place_in
from services.query.parameters import ManyErasuresBody
from services.query.store import Reader

# Subjects asked for in one transaction, which whoever wants to stop the rest waits for.
AT_ONCE: Final = 50


async def count_lone_ask(pool: Pool, controller: int, subject: UUID) -> None:
    """Note that one person alone asks for an erasure. Raises TooManyErasures beyond the number in the terms."""
    async with controller_transaction(pool, controller, readonly=False) as connection:
        store = ApprovalStore(connection, controller)
        if not await store.note_lone_ask(subject, (await _stated(store)).above):
            raise TooManyErasures


@dataclass(frozen=True, slots=True)
class MassErasures:
    """Asks for them, and does what was approved."""

    pool: Pool
    asking: Asking
    event_id_key: bytes

    async def ask(self, caller: Caller, body: ManyErasuresBody) -> UUID:
        """The approval that a second person must give. Raises NotFound for anybody who is not, and was not, there."""
        subjects = sorted(set(body.subjects))
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            store = ApprovalStore(connection, caller.controller)
            if await store.known_subjects(subjects) != len(subjects):
                raise NotFound
            not_before = Duration.parse((await _stated(store)).delay).after(datetime.now(UTC))
            target = {"ground": body.ground, "subjects": len(subjects), "sha256": body.digest()}
            approval, is_new = await ask_for(store, caller, "mass-erasure", target, body.reason, not_before)
            if is_new:
                await store.put_asks(approval, subjects)
        return approval

    async def do(self, caller: Caller, approval: UUID) -> None:
        """Ask for every erasure whose turn has not come, some a transaction; stops when somebody refuses the rest.

        1. Lock the approval: it may have been stopped; 2. take the next; 3. publish their asks: a crash after this asks
        for them again; 4. note them; 5. commit, and go on.
        """
        while True:
            async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
                store = ApprovalStore(connection, caller.controller)
                row = await store.lock(approval)
                if row is None or row["verdict"] != "approved" or row["done_at"] is not None:
                    return
                asks = await store.next_asks(approval, AT_ONCE)
                if not asks:
                    await store.done(approval)
                    return
                ground = orjson.loads(row["target"])["ground"]
                events = [await self._publish(connection, caller, one["subject"], ground) for one in asks]
                await store.note_asks([one["ask"] for one in asks], events)

    async def _publish(self, connection: PooledConnection, caller: Caller, subject: UUID, ground: str) -> bytes | None:
        """The dedupe name of the ask; None if the subject is gone."""
        if await Reader(connection, caller.controller).subject(subject) is None:
            return None
        place = place_in(await ErasureStore(connection, caller.controller).site_of_subject(subject))
        members = {"erasure": {"subject": str(subject), "ground": ground}}
        event_id = await self.asking.ask(caller, place, "subject.erased", members, {}, 0)
        return event_mac(self.event_id_key, caller.controller_name, str(event_id))


async def _stated(store: ApprovalStore) -> MassErasure:
    return read_terms(await store.terms()).mass_erasure
