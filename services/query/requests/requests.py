"""Requests of data subjects as query works on them: taken in, moved on step by step, shown.

Invariant: query writes nothing. Each step is one sealed event; what is shown stands in rows that the ledger wrote with
its record.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from schemas.errors import InvalidParameter, NotFound, StreamAway
from schemas.record import format_time
from schemas.rights_errors import RefusalNotStated, RequestStepNotPossible
from services.deadlines import Counting, due_on
from services.keys import ControllerKeys, event_mac
from services.postgres import Pool, PooledConnection, controller_transaction
from services.query.asking import RETRY_AFTER_S, Asking, Site
from services.query.auth import Caller, Myself
from services.query.decisions import Decisions
from services.query.downstreams.store import DownstreamStore
from services.query.erasure.dockets import docket_content
from services.query.erasure.store import ErasureStore
from services.query.grants.scope import BY, own_words
from services.query.payloads import read_part, subject_cipher
from services.query.requests.bodies import LetterBody, ListParameters, MineBody, RefuseBody
from services.query.requests.standing import Standing, now_utc, said_of
from services.query.requests.store import RequestStore
from services.query.store import Reader, Row
from services.query.terms.stating import terms_at

# A letter that was found later than this is a slip of the pen.
OLDEST: Final = timedelta(days=3653)
# Whoever opens a page gets a capability: nobody's clocks are started by hundreds with one.
OPEN_MAX: Final = 20
# How long a caller waits until the step is recorded.
WAIT_S: Final = 5
_NOBODY: Final = UUID(int=0)


class Answered(NamedTuple):
    """What is said of a request, and whether the ledger has recorded what was asked for."""

    view: dict[str, Any]
    recorded: bool


Rule = Callable[[Standing], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Requests:
    """Holds the keys that open what the steps say."""

    pool: Pool
    keys: ControllerKeys
    event_id_key: bytes
    asking: Asking
    decisions: Decisions

    async def take_letter(self, caller: Caller, body: LetterBody) -> Answered:
        """Enter a request that came outside of Sayso, and ask for the identity at once if there is doubt.

        Raises NotFound, InvalidParameter for a day that has not come, StreamAway.
        """
        async with controller_transaction(self.pool, caller.controller) as connection:
            counting = Counting.by(await terms_at(connection, caller.controller, now_utc()))
            today = counting.day_of(now_utc())
            if not today - OLDEST <= body.received_on <= today:
                raise InvalidParameter("/received_on")
            subject, who = await self._whose(connection, caller, body)
            place = _place(await ErasureStore(connection, caller.controller).site_of_subject(subject or _NOBODY))
        said = {
            "right": body.asked_for,
            "channel": body.channel,
            "received_on": body.received_on.isoformat(),
            "due_on": due_on(body.received_on, counting).isoformat(),
        }
        if body.receipt is not None:
            said["receipt"] = body.receipt
        context: dict[str, Any] = {BY: caller.key}
        if body.note is not None:
            context["note"] = body.note
        if body.reply_to is not None:
            context["reply_to"] = body.reply_to.model_dump()
        request = await self.asking.ask(caller, place, "request.received", {"request": said}, context, WAIT_S, who=who)
        taken = await self._taken(caller, request)
        doubt = body.doubt
        if doubt is None or not taken.recorded:
            return taken
        return await self.step(
            caller, request, "request.identity", lambda standing: standing.ask_identity(doubt), {"doubt": doubt.doubt}
        )

    async def take_mine(self, me: Myself, body: MineBody) -> Answered:
        """A visitor's own request: the capability has shown who asks.

        Raises StreamAway, and RequestStepNotPossible while OPEN_MAX others of theirs wait for an answer.
        """
        caller = me.caller
        async with controller_transaction(self.pool, caller.controller) as connection:
            counting = Counting.by(await terms_at(connection, caller.controller, now_utc()))
        try:
            subject = await self.decisions.find(caller, me.identifier)
        except NotFound:
            subject = _NOBODY
        async with controller_transaction(self.pool, caller.controller) as connection:
            rows = await RequestStore(connection, caller.controller).requests_of([subject])
            if sum(row["closed_at"] is None for row in rows) >= OPEN_MAX:
                raise RequestStepNotPossible
            place = _place(await ErasureStore(connection, caller.controller).site_of_subject(subject))
        today = counting.day_of(now_utc())
        said = {"right": body.asked_for, "channel": "form", "received_on": today.isoformat()}
        said["due_on"] = due_on(today, counting).isoformat()
        members = {"request": said, "actor": {"entity": "subject", "auth": "capability"}}
        context = {} if body.note is None else {"note": body.note}
        who = {"identifiers": [me.identifier.model_dump()]}
        request = await self.asking.ask(caller, place, "request.received", members, context, WAIT_S, who=who)
        return await self._taken(caller, request)

    async def step(
        self, caller: Caller, request: UUID, event_type: str, rule: Rule, context: Mapping[str, Any] | None = None
    ) -> Answered:
        """One step: 1. look whether the rule allows it; 2. publish it; 3. look whether it was the next.

        Raises NotFound, RequestStepNotPossible, StreamAway.
        """
        standing = await self.standing(caller, request)
        members = rule(standing)
        event = await self.publish(caller, standing, event_type, {"request": members}, context or {})
        name = event_mac(self.event_id_key, caller.controller_name, str(event))
        async with controller_transaction(self.pool, caller.controller) as connection:
            taken = await RequestStore(connection, caller.controller).has_step(request, name)
            fate = None if taken else await ErasureStore(connection, caller.controller).fate(name)
        if fate is not None and fate["passed"]:
            # Recorded, but another step came first.
            raise RequestStepNotPossible
        return Answered(await self.view(caller, request), taken)

    async def publish(
        self,
        caller: Caller,
        standing: Standing,
        event_type: str,
        members: Mapping[str, Any],
        context: Mapping[str, Any],
    ) -> UUID:
        """An event of a request: its person's, or after an erasure nobody's. Raises StreamAway."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            place = _place(await RequestStore(connection, caller.controller).site_of_request(standing.row["site"]))
        who = {} if standing.subject is None else {"subject": str(standing.subject)}
        return await self.asking.ask(caller, place, event_type, members, {**context, BY: caller.key}, WAIT_S, who=who)

    async def refuse(self, caller: Caller, request: UUID, body: RefuseBody) -> Answered:
        """Say no, with the ground, the authority to complain to and the remedy (Art. 12(4)).

        Raises RefusalNotStated while the controller has not stated those, and as `step` does.
        """
        async with controller_transaction(self.pool, caller.controller) as connection:
            terms = await terms_at(connection, caller.controller, now_utc())
        if terms.authority is None or terms.remedy is None:
            raise RefusalNotStated
        named = {"authority": terms.authority.model_dump(exclude_none=True), "remedy": terms.remedy}
        return await self.step(
            caller,
            request,
            "request.refused",
            lambda standing: {**standing.refuse(body.ground), **named},
            {"why": body.why},
        )

    async def standing(self, caller: Caller, request: UUID) -> Standing:
        """Where a request stands now. Raises NotFound."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            row = await RequestStore(connection, caller.controller).request(request)
            if row is None:
                raise NotFound
            standing = await _standing(connection, caller.controller, row, now_utc())
            if row["subject"] is None and row["docket"] is None:
                found = await self._by_receipt(connection, caller, request)
                if found is not None:
                    return Standing({**row, "subject": found}, standing.counting, standing.now)
        return standing

    async def view(self, caller: Caller, request: UUID) -> dict[str, Any]:
        """A request with its steps, and what each says as far as that is still there. Raises NotFound."""
        standing = await self.standing(caller, request)
        async with controller_transaction(self.pool, caller.controller) as connection:
            reader = Reader(connection, caller.controller)
            rows = await RequestStore(connection, caller.controller).steps(request)
            steps = [await self._step(reader, caller, row) for row in rows]
            besides = await self._reply_to(connection, caller, standing) | await _holds(connection, caller, standing)
        return {**standing.describe(), **besides, "steps": steps}

    async def listing(self, caller: Caller, asked: ListParameters) -> list[dict[str, Any]]:
        """Requests without their steps, those that are due first in front."""
        now = now_utc()
        is_open = None if asked.state == "all" else asked.state == "open"
        async with controller_transaction(self.pool, caller.controller) as connection:
            today = Counting.by(await terms_at(connection, caller.controller, now)).day_of(now)
            days = 0 if asked.overdue else asked.due_within
            due_before = None if days is None else today + timedelta(days=days)
            rows = await RequestStore(connection, caller.controller).requests(
                is_open=is_open, due_before=due_before, most=asked.limit
            )
            standings = [await _standing(connection, caller.controller, row, now) for row in rows]
        return [one.describe() for one in standings]

    async def mine(self, me: Myself) -> list[dict[str, Any]]:
        """A visitor's own requests, with their steps and without the names of those who took them."""
        caller = me.caller
        subject = await self.decisions.find(caller, me.identifier)
        async with controller_transaction(self.pool, caller.controller) as connection:
            rows = await RequestStore(connection, caller.controller).requests_of([subject])
        return [as_own(await self.view(caller, UUID(int=row["request"].int))) for row in rows]

    async def _taken(self, caller: Caller, request: UUID) -> Answered:
        try:
            return Answered(await self.view(caller, request), recorded=True)
        except NotFound:
            return Answered({"request": str(request), "state": "accepted"}, recorded=False)

    async def _whose(
        self, connection: PooledConnection, caller: Caller, body: LetterBody
    ) -> tuple[UUID | None, dict[str, Any]]:
        """The subject if it is known, and what `who` says. Raises NotFound for a number that leads nowhere."""
        reader = Reader(connection, caller.controller)
        if body.identifier is not None:
            try:
                subject = await self.decisions.find(caller, body.identifier)
            except NotFound:
                subject = None
            return subject, {"identifiers": [body.identifier.model_dump()]}
        if body.subject is not None:
            subject = UUID(body.subject)
            if await reader.subject(subject) is None:
                raise NotFound
            return subject, {"subject": str(subject)}
        if body.receipt is not None:
            subject = await self._of_receipt(connection, caller, body.receipt)
            if subject is None:
                raise NotFound
            return subject, {"subject": str(subject)}
        return None, {}

    async def _by_receipt(self, connection: PooledConnection, caller: Caller, request: UUID) -> UUID | None:
        """Whose request it is, by the number of the receipt that a site's server posted with it."""
        reader = Reader(connection, caller.controller)
        row = await reader.event(event_mac(self.event_id_key, caller.controller_name, str(request)))
        what = None if row is None else read_part(subject_cipher(self.keys, caller.controller_name, row), row, "what")
        receipt = said_of(what or {}).get("receipt")
        return await self._of_receipt(connection, caller, receipt) if isinstance(receipt, str) else None

    async def _of_receipt(self, connection: PooledConnection, caller: Caller, receipt: str) -> UUID | None:
        name = event_mac(self.event_id_key, caller.controller_name, receipt)
        return await RequestStore(connection, caller.controller).person_of_event(name)

    async def _reply_to(self, connection: PooledConnection, caller: Caller, standing: Standing) -> dict[str, Any]:
        """Where somebody who was erased as they asked is told so, as long as the docket knows."""
        if not standing.is_erased:
            return {}
        store = DownstreamStore(connection, caller.controller)
        content = await docket_content(store, self.keys, caller, standing.row["docket"])
        return {name: content[name] for name in ("reply_to",) if name in content}

    async def _step(self, reader: Reader, caller: Caller, step: Row) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "nth": step["nth"],
            "type": step["type"],
            "at": format_time(step["at"]),
            "log": step["log"],
            "index": step["index"],
        }
        row = await reader.event(step["event"])
        if row is None:
            return shown
        cipher = subject_cipher(self.keys, caller.controller_name, row)
        what = read_part(cipher, row, "what")
        if what is not None:
            shown |= {"event": what["id"], **said_of(what)}
        return shown | (read_part(cipher, row, "context") or {})


async def _holds(connection: PooledConnection, caller: Caller, standing: Standing) -> dict[str, Any]:
    """The holds that stand before an erasure that is asked for: of the person, of those who go too, of everybody."""
    subject = standing.subject
    if subject is None or standing.row["asked_for"] != "erasure" or standing.row["closed_at"] is not None:
        return {}
    people = [subject, *await Reader(connection, caller.controller).linked_only_to(subject)]
    holds = [
        {
            "hold": str(row["hold"]),
            "ground": row["ground"],
            "until": format_time(row["expires_at"]),
            "confidential": row["is_confidential"],
        }
        for row in await RequestStore(connection, caller.controller).holds_on(people)
    ]
    return {"holds": holds} if holds else {}


def as_own(view: Mapping[str, Any]) -> dict[str, Any]:
    """A request as the person whose it is reads it: no names of others, and no hold that is confidential."""
    own = {**view, "steps": [own_words(step) for step in view["steps"]]}
    holds = [
        {"ground": one["ground"], "until": one["until"]} for one in own.pop("holds", ()) if not one["confidential"]
    ]
    return {**own, "holds": holds} if holds else own


async def _standing(connection: PooledConnection, controller: int, row: Row, now: datetime) -> Standing:
    return Standing(dict(row), Counting.by(await terms_at(connection, controller, row["received_at"])), now)


def _place(row: Row | None) -> Site:
    if row is None:
        # No log of the controller takes records at this moment, so neither would it take this.
        raise StreamAway(retry_after_s=RETRY_AFTER_S)
    return Site(row["site"], row["log"])
