"""Who looked at personal data: noted before the answer goes out, and read back by the DPO, a regulator and the person.

Invariant: nothing personal is shown to a human unless the stream holds the record that says so.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from starlette.requests import Request

from schemas.errors import InvalidParameter, NotFound, StreamAway
from schemas.events import parse_time
from schemas.record import format_time, read_entry
from schemas.rights_errors import LookNotRecorded
from services.keys import ControllerKeys, event_mac
from services.postgres import Pool, controller_transaction
from services.query.asking import RETRY_AFTER_S, Asking, Site
from services.query.auth import Caller
from services.query.looks.store import LookStore
from services.query.payloads import read_part, subject_cipher
from services.query.store import Reader, Row

WHY_HEADER: Final = "sayso-why"
WHY_CHARS_MAX: Final = 200
NOT_STATED: Final = "not stated"
# A log's successor also takes what is sealed to the log before it.
PLACE_CACHE_S: Final = 60
# Of one grant's looks alone a page may be nearly empty: it then ends early, with the place to go on from.
READS_A_PAGE: Final = 20


class Page(NamedTuple):
    """Some looks, and the place to go on from, None at the end."""

    looks: list[dict[str, Any]]
    more: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Looks:
    """Writes and reads the access log; holds the keys that open its records."""

    pool: Pool
    keys: ControllerKeys
    event_id_key: bytes
    asking: Asking
    # The place of each controller's access records, and when it was looked up.
    places: dict[int, tuple[float, Site]] = field(default_factory=dict)

    async def note(
        self,
        caller: Caller,
        request: Request,
        *,
        look: str,
        subject: UUID | None = None,
        event: UUID | None = None,
        **members: Any,
    ) -> None:
        """Make a look durable; called when what is to be shown is known, and before any of it is.

        `look` is what was looked at; `subject` or the `event` of whose record says at whom, without either nobody is
        named; `members` that are None are left out. A single answer to a machine or to the person is no look.
        Raises LookNotRecorded, InvalidParameter.
        """
        if caller.role in {"site", "subject"}:
            return
        if event is not None:
            subject = await self._person_of(caller, event)
        said = {"look": look, "event": event, **members}
        await self.record(caller, "access.read", why(caller, request), said, subject=subject)

    async def note_job(self, caller: Caller, request: Request, event_type: str, **members: Any) -> None:
        """One record of a job over many people (access.checked, access.exported), a machine's too; it names nobody.

        Raises LookNotRecorded, InvalidParameter.
        """
        await self.record(caller, event_type, why(caller, request), members)

    async def record(
        self,
        caller: Caller,
        event_type: str,
        stated: str,
        members: Mapping[str, Any],
        *,
        subject: UUID | None = None,
    ) -> None:
        """One record of the access log, durable on return; members that are None are left out.

        Raises LookNotRecorded.
        """
        access: dict[str, Any] = {"role": caller.role, "why": stated}
        if caller.grant is not None:
            access |= {"grant": str(caller.grant.grant), "case": caller.grant.case_reference}
            if caller.grant.confidential_until is not None:
                access["confidential_until"] = format_time(caller.grant.confidential_until)
        access |= {name: _plain(value) for name, value in members.items() if value is not None}
        who: dict[str, Any] = {"viewer": {"role": caller.role, "name": caller.key}}
        if subject is not None:
            who["subject"] = str(subject)
        try:
            place = await self._place(caller)
            await self.asking.ask(caller, place, event_type, {"access": access}, {}, 0, who=who)
        except StreamAway as error:
            raise LookNotRecorded(retry_after_s=error.retry_after_s) from error

    async def at_subject(self, caller: Caller, subject: UUID, after: tuple[int, int], most: int) -> Page:
        """One page of the looks at a subject, as the subject is told: when, at what, in which role, for which case.

        Never by whom; and nothing of a case that is confidential still. Raises NotFound if the subject is not there.
        """
        now = datetime.now(UTC)
        async with controller_transaction(self.pool, caller.controller) as connection:
            key = await Reader(connection, caller.controller).subject(subject)
            if key is None:
                raise NotFound
            rows = await LookStore(connection, caller.controller).looks_at(subject, after, most + 1)
        cipher = subject_cipher(self.keys, caller.controller_name, key)
        told = [_told(read_part(cipher, row, "what") or {}, now) for row in rows[:most]]
        more = (rows[most - 1]["log_number"], rows[most - 1]["index"]) if len(rows) > most else None
        return Page([look for look in told if look is not None], more)

    async def all(self, caller: Caller, after: tuple[int, int], most: int, grant: UUID | None = None) -> Page:
        """One page of the access log: all of it for the DPO, or one grant's; for a regulator that of the own grant."""
        own = None if caller.grant is None else caller.grant.grant
        wanted = {str(one) for one in (grant, own) if one is not None}
        looks: list[dict[str, Any]] = []
        async with controller_transaction(self.pool, caller.controller, subjects=caller.scope) as connection:
            store = LookStore(connection, caller.controller)
            for _ in range(READS_A_PAGE):
                room = most - len(looks)
                rows = await store.access_records(after, room + 1)
                for row in rows[:room]:
                    after = row["log_number"], row["index"]
                    look = self._described(caller, row)
                    if not wanted or wanted == {look.get("access", {}).get("grant")}:
                        looks.append(look)
                if len(looks) == most or len(rows) <= room:
                    break
        return Page(looks, after if len(rows) > room else None)

    def _described(self, caller: Caller, row: Row) -> dict[str, Any]:
        """A record of the access log; of who was erased since, and of what retention cleared, the place is left."""
        entry = read_entry(row["entry"])
        look: dict[str, Any] = {
            "log": row["log"],
            "index": row["index"],
            "class": entry["class"],
            "recorded_at": entry["recorded_at"],
        }
        if row["wrapped_key"] is None:
            return look
        cipher = subject_cipher(self.keys, caller.controller_name, row)
        who, what = read_part(cipher, row, "who"), read_part(cipher, row, "what")
        if what is not None:
            look |= {"event": what["id"], "type": what["type"], "at": what["received_at"]}
            look |= {"access": what["access"]} if "access" in what else {}
        if who is not None and "viewer" in who:
            look["viewer"] = who["viewer"]
        if row["subject"] is not None:
            look["subject"] = str(UUID(int=row["subject"].int))
        if caller.grant is not None and look.get("access", {}).get("role") != caller.role:
            # Which of the controller's people gave or ended a grant, and why, is the controller's own.
            look.pop("viewer", None)
            look["access"] = {name: value for name, value in look.get("access", {}).items() if name != "why"}
        return look

    async def _person_of(self, caller: Caller, event: UUID) -> UUID | None:
        name = event_mac(self.event_id_key, caller.controller_name, str(event))
        async with controller_transaction(self.pool, caller.controller) as connection:
            return await LookStore(connection, caller.controller).person_of_event(name)

    async def _place(self, caller: Caller) -> Site:
        """Raises LookNotRecorded while the controller has no log for access records."""
        now = time.monotonic()
        cached = self.places.get(caller.controller)
        if cached is not None and now - cached[0] < PLACE_CACHE_S:
            return cached[1]
        async with controller_transaction(self.pool, caller.controller) as connection:
            row = await LookStore(connection, caller.controller).access_place()
        if row is None:
            raise LookNotRecorded(retry_after_s=RETRY_AFTER_S)
        place = Site(row["site"], row["log"])
        self.places[caller.controller] = now, place
        return place


def why(caller: Caller, request: Request) -> str:
    """The reason that the caller states in the header Sayso-Why, a regulator's is the case. Raises InvalidParameter."""
    if caller.grant is not None:
        return caller.grant.case_reference
    sent = request.headers.get(WHY_HEADER)
    if sent is None:
        return NOT_STATED
    try:
        # Headers are read as Latin-1 (RFC 9110, 5.5); most clients send UTF-8.
        stated = sent.encode("latin-1").decode()
    except UnicodeDecodeError:
        stated = sent
    if not 1 <= len(stated) <= WHY_CHARS_MAX or not stated.isprintable():
        raise InvalidParameter("/Sayso-Why")
    return stated


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_time(value)
    return str(value) if isinstance(value, UUID) else value


def _told(what: Mapping[str, Any], now: datetime) -> dict[str, Any] | None:
    """A look as its subject is told of it; None for one that must not be told yet."""
    access = what["access"]
    if "confidential_until" in access and now < parse_time(access["confidential_until"]):
        return None
    told = {"at": what["received_at"], "look": access.get("look"), "role": access["role"], "case": access.get("case")}
    return {name: value for name, value in told.items() if value is not None}
