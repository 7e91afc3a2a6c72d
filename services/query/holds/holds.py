"""Legal holds (GDPR Art. 17(3)) as query sees them: asks for them, says which stand, releases what two agreed on.

Invariant: a hold is answered as placed, reviewed or released only once that is recorded; what is said of it stands in
rows that the ledger wrote with the record.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from schemas.errors import NotFound
from schemas.record import format_time
from schemas.rights_errors import HoldNotStanding
from services.keys import ControllerKeys
from services.postgres import Pool, controller_transaction
from services.query.approvals.approvals import ask_for
from services.query.approvals.store import ApprovalStore
from services.query.asking import Asking, is_ours, new_event_id
from services.query.auth import Caller
from services.query.erasure.store import ErasureStore, place_in
from services.query.holds.bodies import HoldBody, ReleaseHoldBody, ReviewBody
from services.query.holds.store import HoldStore
from services.query.payloads import read_part, subject_cipher
from services.query.store import Reader, Row

# How long a request waits until what it asked for is recorded.
RECORDED_S: Final = 5
SHOWN_MAX: Final = 1000
# Holds of one grant that are waited for together.
AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Holds:
    """Asks and answers about holds; holds the keys that open their records."""

    pool: Pool
    keys: ControllerKeys
    event_id_key: bytes
    asking: Asking

    async def place(self, caller: Caller, body: HoldBody) -> list[dict[str, Any]]:
        """The holds that were asked for, as they stand now: of one person, of each that a grant is about, of everybody.

        Raises NotFound, InvalidParameter, StreamAway.
        """
        body.check(datetime.now(UTC))
        stated = {"ground": body.ground, "case_reference": body.case_reference, **body.members()}
        stated["confidential"] = body.confidential
        if body.grant is None:
            return [await self._place(caller, body.subject, stated, body.reason)]
        async with controller_transaction(self.pool, caller.controller) as connection:
            grant = await HoldStore(connection, caller.controller).grant(body.grant)
        if grant is None:
            raise NotFound
        return await self.preserve(caller, body.grant, grant["subjects"], stated, body.reason)

    async def preserve(
        self,
        caller: Caller,
        grant: UUID,
        subjects: Collection[UUID] | None,
        stated: Mapping[str, Any],
        reason: str,
    ) -> list[dict[str, Any]]:
        """Hold what a grant is about (None: everybody); whom a hold of this grant stands on already gets no second one.

        `stated`: ground, case_reference, review_on, expires_at and confidential, as hold.placed has them. Whoever is
        gone is left out. Raises StreamAway; what was placed before that stands, and the same call goes on.
        """
        async with controller_transaction(self.pool, caller.controller) as connection:
            reader = Reader(connection, caller.controller)
            standing = await HoldStore(connection, caller.controller).held_by_grant(grant)
            there = None if subjects is None else await reader.subjects(list(subjects))
        wanted: Collection[UUID | None] = [None] if there is None else sorted(there)
        members = {**stated, "grant": str(grant)}
        todo = [one for one in wanted if one not in standing]
        placed: list[dict[str, Any]] = []
        for first in range(0, len(todo), AT_ONCE):
            some = todo[first : first + AT_ONCE]
            placing = (self._place(caller, one, members, reason) for one in some)
            for outcome in await asyncio.gather(*placing, return_exceptions=True):
                if isinstance(outcome, dict):
                    placed.append(outcome)
                elif not isinstance(outcome, NotFound):
                    raise outcome
        return placed

    async def _place(
        self, caller: Caller, subject: UUID | None, stated: Mapping[str, Any], reason: str
    ) -> dict[str, Any]:
        """1. Find the log; 2. ask; 3. say what stands there then. Raises NotFound for somebody who is gone."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            store = HoldStore(connection, caller.controller)
            if subject is None:
                place = place_in(await store.site())
            elif await Reader(connection, caller.controller).subject(subject) is None:
                raise NotFound
            else:
                place = place_in(await ErasureStore(connection, caller.controller).site_of_subject(subject))
        hold = new_event_id(self.event_id_key, caller.controller_name)
        members = {"hold": str(hold), **stated} | ({"everybody": True} if subject is None else {})
        who = {} if subject is None else {"subject": str(subject)}
        context = {"reason": reason, "by": caller.key}
        await self.asking.ask(caller, place, "hold.placed", {"hold": members}, context, RECORDED_S, who=who)
        placed = await self.one(caller, hold)
        if placed["state"] == "accepted" and subject is not None:
            async with controller_transaction(self.pool, caller.controller) as connection:
                if await Reader(connection, caller.controller).subject(subject) is None:
                    # An erasure was faster: the record stands, and holds nobody.
                    raise NotFound
        return placed

    async def all(self, caller: Caller, subject: UUID | None, *, ended: bool) -> list[dict[str, Any]]:
        """Holds that stand, or all of them; with `subject`, only what stops the erasure of this one."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            rows = await HoldStore(connection, caller.controller).holds(subject, SHOWN_MAX, ended=ended)
        return [_described(row) for row in rows]

    async def one(self, caller: Caller, hold: UUID) -> dict[str, Any]:
        """One of them with its reason; `accepted` while it is on its way, and holds nothing. Raises NotFound."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            row = await HoldStore(connection, caller.controller).hold(hold)
            if row is None:
                if not is_ours(self.event_id_key, caller.controller_name, hold):
                    raise NotFound
                return {"hold": str(hold), "state": "accepted"}
            record = await Reader(connection, caller.controller).event(row["event"])
            shown = _described(row)
            if record is not None:
                shown |= read_part(subject_cipher(self.keys, caller.controller_name, record), record, "context") or {}
            return shown

    async def review(self, caller: Caller, hold: UUID, body: ReviewBody) -> dict[str, Any]:
        """Somebody looked at it; what stands then. Raises NotFound, HoldNotStanding, InvalidParameter, StreamAway."""
        body.check(datetime.now(UTC))
        await self._say(caller, hold, "hold.reviewed", body.members(), {"reason": body.reason, "by": caller.key})
        return await self.one(caller, hold)

    async def ask_release(self, caller: Caller, hold: UUID, body: ReleaseHoldBody) -> UUID:
        """The approval that a second person must give. Raises NotFound, HoldNotStanding."""
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            await self._standing(HoldStore(connection, caller.controller), hold)
            store = ApprovalStore(connection, caller.controller)
            target = {"hold": str(hold)}
            approval, _ = await ask_for(store, caller, "release-hold", target, body.reason, datetime.now(UTC))
        return approval

    async def do(self, caller: Caller, approval: UUID) -> None:
        """Release the hold that two people agreed on. 1. Lock the approval; 2. ask; 3. note it: a crash before this
        asks again, and the first counts.
        """
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            store = ApprovalStore(connection, caller.controller)
            row = await store.lock(approval)
            if row is None or row["verdict"] != "approved" or row["done_at"] is not None:
                return
            hold = UUID(orjson.loads(row["target"])["hold"])
            by = {"reason": row["reason"], "by": row["asked_by"], "with": row["decided_by"]}
            # It may have expired meanwhile, or gone with its subject.
            with suppress(NotFound, HoldNotStanding):
                await self._say(caller, hold, "hold.released", {"approval": str(approval)}, by)
            await store.done(approval)

    async def told(self, caller: Caller, subject: UUID) -> list[dict[str, Any]]:
        """What the person is told of holds that stand on them: ground and end; nothing of a confidential one."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            rows = await HoldStore(connection, caller.controller).holds(subject, SHOWN_MAX, ended=False)
        return [
            {
                "ground": row["ground"],
                "since": format_time(row["placed_at"]),
                "until": format_time(row["expires_at"]),
                "review_on": row["review_on"].isoformat(),
            }
            for row in rows
            if not row["is_confidential"]
        ]

    async def _say(
        self, caller: Caller, hold: UUID, event_type: str, members: Mapping[str, Any], context: Mapping[str, Any]
    ) -> None:
        """Publish something about a hold that stands, and wait until it is recorded."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            store = HoldStore(connection, caller.controller)
            row = await self._standing(store, hold)
            subject = row["subject"]
            found = await ErasureStore(connection, caller.controller).site_of_subject(subject) if subject else None
            place = place_in(found or await store.site())
        stated = {"hold": str(hold), **members, "confidential": row["is_confidential"]}
        who = {"subject": str(subject)} if subject else {}
        await self.asking.ask(caller, place, event_type, {"hold": stated}, context, RECORDED_S, who=who)

    async def _standing(self, store: HoldStore, hold: UUID) -> Row:
        row = await store.hold(hold)
        if row is None:
            raise NotFound
        if not row["stands"]:
            raise HoldNotStanding
        return row


def _described(row: Row) -> dict[str, Any]:
    """A hold as the API shows it; members that do not apply are left out."""
    state = "standing" if row["stands"] else "expired" if row["released_at"] is None else "released"
    shown: dict[str, Any] = {
        "hold": str(row["hold"]),
        "state": state,
        "ground": row["ground"],
        "case_reference": row["case_reference"],
        "placed_at": format_time(row["placed_at"]),
        "review_on": row["review_on"].isoformat(),
        "expires_at": format_time(row["expires_at"]),
        "confidential": row["is_confidential"],
        "held_erasures": row["held_erasures"],
    }
    if row["stands"]:
        shown["review_overdue"] = row["review_on"] < datetime.now(UTC).date()
    shown |= {"everybody": True} if row["subject"] is None else {"subject": str(row["subject"])}
    for name in ("reviewed_at", "released_at"):
        if row[name] is not None:
            shown[name] = format_time(row[name])
    if row["grant_id"] is not None:
        shown["grant"] = str(row["grant_id"])
    return shown
