"""Erasures as query sees them: asks for one, says what became of it, closes its docket.

Invariant: query deletes nothing; what it says of an erasure stands in rows that the ledger wrote with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import NotFound
from schemas.record import PART_NAMES, format_time
from services.keys import ControllerKeys, event_mac
from services.postgres import Pool, controller_transaction
from services.query.asking import Asking, is_ours
from services.query.auth import Caller
from services.query.erasure.mass import count_lone_ask
from services.query.erasure.store import ErasureStore, place_in
from services.query.parameters import ErasureBody
from services.query.payloads import read_part, subject_cipher
from services.query.store import Reader, Row

# accepted: on its way. erased: done. held: the law stopped it. nothing: the subject was gone already. set_aside: the
# ledger would not take it.
AskState = Literal["accepted", "erased", "held", "nothing", "set_aside"]


class Answers(NamedTuple):
    """The request that an erasure answers: its docket waits until the person was told, and keeps where."""

    request: UUID
    reply_to: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Erasures:
    """Asks and answers about erasures; holds the keys that open the entries which declare them."""

    pool: Pool
    keys: ControllerKeys
    event_id_key: bytes
    asking: Asking

    async def ask(
        self,
        caller: Caller,
        subject: UUID,
        body: ErasureBody,
        wait_s: int,
        *,
        answers: Answers | None = None,
    ) -> tuple[dict[str, Any], bool]:
        """What stands now, and whether this ask led to it: a subject is erased once, asking again does no harm.

        Raises NotFound, TooManyErasures, StreamAway. 1. Look for the subject; 2. one that was erased has its erasure
        for an answer; 3. count the ask; 4. ask the ledger; 5. look what became of it, if the caller waited.
        """
        async with controller_transaction(self.pool, caller.controller) as connection:
            reader, store = Reader(connection, caller.controller), ErasureStore(connection, caller.controller)
            if await reader.subject(subject) is None:
                erasure = await store.erasure_of_subject(subject)
                if erasure is None:
                    raise NotFound
                return await self._erased(reader, store, caller, erasure), False
            place = place_in(await store.site_of_subject(subject))
        await count_lone_ask(self.pool, caller.controller, subject)
        members: dict[str, Any] = {"erasure": {"subject": str(subject), "ground": body.ground}}
        reply_to: Mapping[str, Any] | None = None if body.reply_to is None else body.reply_to.model_dump()
        if answers is not None:
            members["request"] = {"request": str(answers.request)}
            reply_to = reply_to or answers.reply_to
        context = {} if reply_to is None else {"reply_to": reply_to}
        event_id = await self.asking.ask(caller, place, "subject.erased", members, context, wait_s)
        if wait_s:
            return await self.of_event(caller, event_id), True
        return {"erasure": str(event_id), "state": "accepted"}, True

    async def of_event(self, caller: Caller, event_id: UUID) -> dict[str, Any]:
        """What became of an ask. Raises NotFound for an id that no ask of this controller has."""
        name = event_mac(self.event_id_key, caller.controller_name, str(event_id))
        async with controller_transaction(self.pool, caller.controller) as connection:
            store = ErasureStore(connection, caller.controller)
            erasure = await store.erasure_of_event(name)
            if erasure is not None:
                return await self._erased(Reader(connection, caller.controller), store, caller, erasure)
            if not is_ours(self.event_id_key, caller.controller_name, event_id):
                raise NotFound
            stopped = await store.held_erasure(name)
            if stopped is not None:
                said = await self._asked(Reader(connection, caller.controller), caller, name)
                return {"erasure": str(event_id), **_held(stopped, said)}
            fate = await store.fate(name)
        answer: dict[str, Any] = {"erasure": str(event_id)}
        if fate is not None and fate["reason"] is not None:
            return {**answer, "state": "set_aside", "reason": fate["reason"]}
        return {**answer, "state": "nothing" if fate is not None and fate["passed"] else "accepted"}

    async def docket(self, caller: Caller, number: int) -> dict[str, Any]:
        """What is said of a docket. Raises NotFound."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            return _docket(await _known_docket(ErasureStore(connection, caller.controller), number))

    async def close_docket(self, caller: Caller, number: int, wait_s: int) -> dict[str, Any]:
        """Everybody has answered and the person was told: ask for the docket to be closed; what is said of it then.

        Raises NotFound, StreamAway.
        """
        async with controller_transaction(self.pool, caller.controller) as connection:
            store = ErasureStore(connection, caller.controller)
            row = await _known_docket(store, number)
            if row["closed_at"] is not None:
                return _docket(row)
            place = place_in(await store.site_of_erasure(number))
        members = {"request": {"docket": number}}
        await self.asking.ask(caller, place, "request.answered", members, {}, wait_s)
        return await self.docket(caller, number)

    async def _erased(self, reader: Reader, store: ErasureStore, caller: Caller, erasure: Row) -> dict[str, Any]:
        """Everything there is to say of an erasure; members that do not apply are left out."""
        number = erasure["number"]
        answer: dict[str, Any] = {
            "state": "erased",
            "number": number,
            "ground": erasure["ground"],
            "erased_at": format_time(erasure["erased_at"]),
            "applied_at": format_time(erasure["applied_at"]),
            "logs": [_log(row) for row in await store.erased_logs(number)],
            "minimal_proofs": [
                {"ground": row["ground"], "until": format_time(row["keep_until"]), "proofs": row["proofs"]}
                for row in await store.kept(number)
            ],
        }
        if erasure["subject"] is not None:
            answer["subject"] = str(UUID(int=erasure["subject"].int))
        if erasure["event"] is not None:
            asked = await self._asked(reader, caller, erasure["event"])
            if asked is not None:
                answer |= {"erasure": asked["id"], "asked_at": asked["erasure"]["asked_at"]}
        docket = await store.docket(number)
        if docket is not None:
            answer["docket"] = _docket(docket)
        if systems := await store.told(number):
            # Art. 19: who was told, and what each of them answered.
            answer |= {"told": systems, "all_answered": all("outcome" in system for system in systems)}
        return answer

    async def _asked(self, reader: Reader, caller: Caller, event: bytes) -> dict[str, Any] | None:
        """The decision part of the record that took the ask's id: only its name stands beside the erasure."""
        row = await reader.event(event)
        if row is None:
            return None
        cipher: AESGCM = subject_cipher(self.keys, caller.controller_name, row)
        return read_part(cipher, row, "what")


async def _known_docket(store: ErasureStore, number: int) -> Row:
    row = await store.docket(number)
    if row is None:
        raise NotFound
    return row


def _log(row: Row) -> dict[str, Any]:
    """How many parts of a log are gone, and where a log says so (null until one does)."""
    declared = None
    if row["declared_index"] is not None:
        declared = {"log": row["declared_name"], "origin": row["declared_origin"], "index": row["declared_index"]}
    return {
        "log": row["log"],
        "origin": row["origin"],
        **{name: row[name] for name in PART_NAMES},
        "declared": declared,
    }


def _held(row: Row, said: Mapping[str, Any] | None) -> dict[str, Any]:
    """What may be said of a hold to the person: its ground and end, or that there is one. `stands`: still, so that
    asking again would be of no use.
    """
    answer: dict[str, Any] = {"state": "held", "held_at": format_time(row["held_at"]), "stands": row["stands"]}
    if said is None or said["hold"]["confidential"]:
        return {**answer, "by": "law"}
    expires_at = said["hold"]["expires_at"] if row["expires_at"] is None else format_time(row["expires_at"])
    return {**answer, "hold": {"ground": said["hold"]["ground"], "until": expires_at}}


def _docket(row: Row) -> dict[str, Any]:
    answer = {
        "docket": row["docket"],
        "state": "open" if row["closed_at"] is None else "closed",
        "opened_at": format_time(row["opened_at"]),
        "limit_at": format_time(row["limit_at"]),
    }
    if row["closed_at"] is not None:
        answer |= {"closed_at": format_time(row["closed_at"]), "outcome": row["outcome"]}
    return answer
