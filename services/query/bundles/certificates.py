"""The certificate of an erasure: what was deleted, which single copy is left and until when, signed with the key of
receipts and answers.

Invariant: only an erasure whose every deleted part is declared by a log has one; it holds nothing of the person. What
downstream systems were told and answered stands in it as of its making: final once `all_answered` is true.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from schemas.bundle_check import CERTIFICATE_TYPE
from schemas.errors import NotFound, NotPublishedYet
from schemas.record import format_time
from services.postgres import Pool, controller_transaction
from services.query.auth import Caller
from services.query.erasure.erasures import Erasures
from services.query.erasure.store import ErasureStore
from services.query.proofs import RETRY_AFTER_S
from services.query.receipts import Receipts

FORMAT: Final = "sayso-erasure/v1"
# What an erasure deletes besides the parts that each log counts (docs/operations.md, Erase a person).
DELETED: Final = ("identifiers", "key", "payloads", "state", "dead letters")


class Certificate(NamedTuple):
    """One certificate: the erasure's number, what is certified, and that as a JWS in compact form."""

    number: int
    claims: dict[str, Any]
    jws: str


@dataclass(frozen=True, slots=True)
class Certificates:
    """Makes certificates; the key is the receipts'."""

    pool: Pool
    erasures: Erasures
    receipts: Receipts

    async def of_event(self, caller: Caller, event_id: UUID) -> Certificate:
        """The certificate of the erasure that an event asked for.

        Raises NotFound, also for an ask that led to nothing; NotPublishedYet while the ledger is at it.
        """
        answer = await self.erasures.of_event(caller, event_id)
        state = answer.pop("state")
        if state == "accepted" or (state == "erased" and any(log["declared"] is None for log in answer["logs"])):
            raise NotPublishedYet(retry_after_s=RETRY_AFTER_S)
        if state != "erased":
            raise NotFound
        async with controller_transaction(self.pool, caller.controller) as connection:
            controller = await ErasureStore(connection, caller.controller).owner()
        docket = answer.pop("docket", None)
        claims = {
            "format": FORMAT,
            "issued_at": format_time(datetime.now(UTC)),
            "controller": dict(controller),
            **answer,
            "deleted": list(DELETED),
            # Nothing else of the person is left: the docket is the one copy, and closed it is none.
            "only_copy": docket if docket is not None and docket["state"] == "open" else None,
        }
        if docket is not None and docket["state"] == "closed":
            claims["docket"] = docket
        return Certificate(answer["number"], claims, self.receipts.sign(claims, CERTIFICATE_TYPE))
