"""Grants as the DPO makes and ends them: a case, whom and what it is about, from when until when.

Invariant: a grant without its record in the access log opens nothing, and one that was revoked opens nothing from the
next request on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from schemas.durations import Duration
from schemas.errors import InvalidParameter, NotFound, StreamAway
from schemas.holds import HOLD_YEARS_MAX, REVIEW_DAYS_MAX
from schemas.record import format_time
from services.keys.access import new_access_key
from services.postgres import Pool, controller_transaction
from services.query.auth import AccessKeys, Caller
from services.query.grants.scope import PROOFS_SHOW
from services.query.grants.store import GrantStore
from services.query.holds.holds import Holds
from services.query.looks.looks import Looks
from services.query.store import Row

_ASKED_TIMES: Final = ("records_from", "records_until", "begins_at", "ends_at", "confidential_until")
_TIMES: Final = (*_ASKED_TIMES, "made_at", "revoked_at")
_YEARS: Final = (1970, 2999)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a grant is to be about; None in a member does not limit it. `begins_at` None is at once.

    `preserve`: the authority orders that what it is about be kept.
    """

    case_reference: str
    authority: str
    subjects: Sequence[UUID] | None
    purposes: Sequence[str] | None
    records_from: datetime | None
    records_until: datetime | None
    begins_at: datetime | None
    ends_at: datetime
    confidential_until: datetime | None
    preserve: bool


class Made(NamedTuple):
    """A grant as it is shown, and the key that opens it: the only time that its secret is seen."""

    shown: dict[str, Any]
    key: str


@dataclass(frozen=True, slots=True)
class Grants:
    """Makes, lists and ends grants."""

    pool: Pool
    looks: Looks
    access_keys: AccessKeys
    holds: Holds

    async def make(self, caller: Caller, asked: Asked, why: str) -> Made:
        """A new grant. Raises InvalidParameter, LookNotRecorded.

        1. Check it; 2. take along whose records are shown with the subjects'; 3. note it, durably; 4. make it and its
        key; 5. hold what it is about, if that is ordered. A crash before (4) leaves a record of a grant that opens
        nothing, one before (5) a grant without holds, which POST /v1/holds adds.
        """
        now = datetime.now(UTC)
        begins_at = now if asked.begins_at is None else asked.begins_at
        _check_times(asked, begins_at, now)
        grant = uuid4()
        async with controller_transaction(self.pool, caller.controller) as connection:
            subjects = await _scope(GrantStore(connection, caller.controller), asked.subjects)
        purposes = None if asked.purposes is None else sorted(set(asked.purposes))
        columns = (subjects, purposes, asked.records_from, asked.records_until, begins_at, asked.ends_at)
        limits = {
            "authority": asked.authority,
            # How many, not who: the record stands in nobody's name, and stays when one of them is erased.
            "subjects": None if subjects is None else len(subjects),
            "purposes": purposes,
            **{
                name: getattr(asked, name)
                for name in ("records_from", "records_until", "ends_at", "confidential_until")
            },
        }
        await self._record(caller, "access.granted", why, grant, asked.case_reference, limits)
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            store = GrantStore(connection, caller.controller)
            await store.put_grant(
                grant, asked.case_reference, asked.authority, *columns, asked.confidential_until, caller.key
            )
            made = await self._with_new_key(store, grant)
        if asked.preserve:
            made.shown["holds"] = await self._preserve(caller, grant, subjects, asked, why)
        return made

    async def _preserve(
        self, caller: Caller, grant: UUID, subjects: Sequence[UUID] | None, asked: Asked, why: str
    ) -> list[dict[str, Any]] | None:
        """The holds; None if not all of them could be asked for, which must not keep the key from being shown."""
        now = datetime.now(UTC)
        expires_at = min(asked.ends_at, Duration(12 * HOLD_YEARS_MAX, 0).after(now))
        stated = {
            "ground": "order",
            "case_reference": asked.case_reference,
            "review_on": min(expires_at, now + timedelta(days=REVIEW_DAYS_MAX)).date().isoformat(),
            "expires_at": format_time(expires_at),
            "confidential": asked.confidential_until is not None,
        }
        try:
            return await self.holds.preserve(caller, grant, subjects, stated, why)
        except StreamAway:
            return None

    async def listed(self, caller: Caller) -> list[dict[str, Any]]:
        """Every grant of the controller, the newest first."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            rows = await GrantStore(connection, caller.controller).grants()
        return [_shown(row) for row in rows]

    async def own(self, caller: Caller) -> dict[str, Any]:
        """The grant that a regulator's key opens. Raises NotFound."""
        if caller.grant is None:
            raise NotFound
        async with controller_transaction(self.pool, caller.controller) as connection:
            shown = _shown(await _known(GrantStore(connection, caller.controller), caller.grant.grant))
        # Whose keys there are, and who made it, is the controller's own.
        return {name: value for name, value in shown.items() if name not in {"keys", "made_by"}}

    async def revoke(self, caller: Caller, grant: UUID, why: str) -> dict[str, Any]:
        """End a grant now; asked again, it is noted again and stays as it is. Raises NotFound, LookNotRecorded.

        It is ended even if that cannot be noted: then the caller is told so, and asks again.
        """
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            store = GrantStore(connection, caller.controller)
            await _known(store, grant)
            await store.revoke(grant, caller.key)
            ended = await store.end_keys(grant)
            row = await _known(store, grant)
        self._forget(ended)
        await self._record(caller, "access.revoked", why, grant, row["case_reference"], {})
        return _shown(row)

    async def replace_key(self, caller: Caller, grant: UUID, why: str) -> Made:
        """A new key in place of those before it, which end now. Raises NotFound for a grant that is over."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            row = await _known(GrantStore(connection, caller.controller), grant)
        if _state(row) in {"ended", "revoked"}:
            raise NotFound
        await self._record(caller, "access.granted", why, grant, row["case_reference"], {"replaces": len(row["keys"])})
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            store = GrantStore(connection, caller.controller)
            ended = await store.end_keys(grant)
            made = await self._with_new_key(store, grant)
        self._forget(ended)
        return made

    async def _with_new_key(self, store: GrantStore, grant: UUID) -> Made:
        key = new_access_key()
        await store.put_key(grant, key.name, key.secret_sha256)
        return Made(_shown(await _known(store, grant)), key.whole)

    def _forget(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.access_keys.forget(key)

    async def _record(
        self, caller: Caller, event_type: str, why: str, grant: UUID, case: str, members: Mapping[str, Any]
    ) -> None:
        await self.looks.record(caller, event_type, why, {"grant": grant, "case": case, **members})


def _check_times(asked: Asked, begins_at: datetime, now: datetime) -> None:
    """Raises InvalidParameter for an end that is over or before the beginning, and for a year that no case has."""
    for name in _ASKED_TIMES:
        moment: datetime | None = getattr(asked, name)
        # The driver takes the first and the last moment that Python knows for minus and plus infinity.
        if moment is not None and not _YEARS[0] <= moment.year <= _YEARS[1]:
            raise InvalidParameter(f"/{name}")
    if asked.ends_at <= max(now, begins_at):
        raise InvalidParameter("/ends_at")
    if asked.records_from is not None and asked.records_until is not None and asked.records_until < asked.records_from:
        raise InvalidParameter("/records_until")


async def _scope(store: GrantStore, subjects: Sequence[UUID] | None) -> list[UUID] | None:
    """The subjects, with those whose records are shown with theirs. Raises InvalidParameter if one is not known."""
    if subjects is None:
        return None
    named = set(subjects)
    if await store.known_subjects(list(named)) != named:
        raise InvalidParameter("/subjects")
    return sorted(named | await store.shown_with(list(named)))


async def _known(store: GrantStore, grant: UUID) -> Row:
    row = await store.grant(grant)
    if row is None:
        raise NotFound
    return row


def _state(row: Row) -> str:
    now = datetime.now(UTC)
    if row["revoked_at"] is not None:
        return "revoked"
    if row["ends_at"] <= now:
        return "ended"
    return "in_force" if row["begins_at"] <= now else "not_begun"


def _shown(row: Row) -> dict[str, Any]:
    """A grant as the API shows it; null does not limit it."""
    shown: dict[str, Any] = {
        "grant": str(row["grant_id"]),
        "state": _state(row),
        "case_reference": row["case_reference"],
        "authority": row["authority"],
        "subjects": None if row["subjects"] is None else [str(subject) for subject in row["subjects"]],
        "purposes": row["purposes"],
        "made_by": row["made_by"],
        "keys": row["keys"],
        "proofs_show": PROOFS_SHOW,
    }
    shown |= {name: None if row[name] is None else format_time(row[name]) for name in _TIMES}
    return shown
