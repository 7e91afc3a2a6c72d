"""Acts that need two people: what was asked, who decided it and why, and whether it has been done.

Invariant: nobody approves what they asked for themselves; whoever may decide may stop it until it is done, also the one
who asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import orjson

from schemas.canonical import canonical_json
from schemas.errors import NotFound, RoleNotAllowed
from schemas.record import format_time
from schemas.rights_errors import ApprovalDecided, SecondPersonNeeded
from services.postgres import Pool, controller_transaction
from services.query.approvals.store import ApprovalStore, is_one_holder
from services.query.auth import Caller
from services.query.store import Row

Act = Literal["release-hold", "mass-erasure"]
Verdict = Literal["approved", "refused"]
# Whose second signature counts: the DPO oversees holds, and decides no erasure (GDPR Art. 38(6)).
APPROVERS: Final[Mapping[Act, frozenset[str]]] = {
    "release-hold": frozenset({"privacy", "dpo"}),
    "mass-erasure": frozenset({"privacy"}),
}
SHOWN_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Approvals:
    """Asks and decides; what is approved is done elsewhere (doing.py)."""

    pool: Pool

    async def all(self, caller: Caller) -> list[dict[str, Any]]:
        """The newest acts, as far as each is."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            return [described(row) for row in await ApprovalStore(connection, caller.controller).approvals(SHOWN_MAX)]

    async def one(self, caller: Caller, approval: UUID) -> dict[str, Any]:
        """One act; of an erasure of many also how far it is. Raises NotFound."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            store = ApprovalStore(connection, caller.controller)
            row = await store.approval(approval)
            if row is None:
                raise NotFound
            shown = described(row)
            if row["act"] == "mass-erasure":
                shown["progress"] = dict(await store.progress(approval))
            return shown

    async def decide(self, caller: Caller, approval: UUID, verdict: Verdict, because: str | None) -> None:
        """The second person's verdict. The same verdict again does no harm.

        Raises NotFound, RoleNotAllowed, SecondPersonNeeded, and ApprovalDecided for what is done or was refused.
        1. Lock the row: of two people one decides first; 2. see who may; 3. write it down.
        """
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            store = ApprovalStore(connection, caller.controller)
            row = await store.lock(approval)
            if row is None:
                raise NotFound
            if verdict == "approved" and caller.role not in APPROVERS[row["act"]]:
                raise RoleNotAllowed
            if row["verdict"] == verdict:
                return
            if row["done_at"] is not None or row["verdict"] == "refused":
                raise ApprovalDecided
            if verdict == "approved" and await is_one_holder(
                connection, caller.controller, caller.key, row["asked_by"]
            ):
                raise SecondPersonNeeded
            await store.decide(approval, caller.key, verdict, because)


async def ask_for(
    store: ApprovalStore, caller: Caller, act: Act, target: Mapping[str, Any], reason: str, not_before: datetime
) -> tuple[UUID, bool]:
    """Note what the first of two people asks for: (approval, whether it is new); the same asked before waits already.

    `target` names nobody; nothing happens before `not_before`.
    """
    content = canonical_json(target)
    known = await store.asked_already(act, content)
    if known is not None:
        return known, False
    approval = uuid4()
    await store.ask(approval, act, content, caller.key, reason, not_before)
    return approval, True


def described(row: Row) -> dict[str, Any]:
    """An act as the API shows it; members that do not apply are left out."""
    shown: dict[str, Any] = {
        "approval": str(row["approval"]),
        "act": row["act"],
        "about": orjson.loads(row["target"]),
        "state": _state(row),
        "asked_by": row["asked_by"],
        "reason": row["reason"],
        "asked_at": format_time(row["asked_at"]),
        "not_before": format_time(row["not_before"]),
    }
    if row["decided_by"] is not None:
        shown |= {"decided_by": row["decided_by"], "decided_at": format_time(row["decided_at"])}
    if row["decided_because"] is not None:
        shown["because"] = row["decided_because"]
    if row["done_at"] is not None:
        shown["done_at"] = format_time(row["done_at"])
    return shown


def _state(row: Row) -> str:
    if row["done_at"] is not None:
        return "done"
    verdict: str | None = row["verdict"]
    return "asked" if verdict is None else verdict
