"""Access keys as an administrator arranges them.

Invariant: a secret is answered once and stored nowhere; no key is without an end, and none opens what a regulator's
grant opens: those are the DPO's to give.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import asyncpg

from schemas.errors import InvalidParameter, NotFound
from schemas.record import format_time
from services.keys.access import NewKey, new_access_key
from services.postgres import Pool, PooledConnection, controller_transaction, named_queries
from services.query.auth import AccessKeys, Caller
from services.query.looks.looks import Looks

KeyRole = Literal["site", "privacy", "dpo", "admin"]

LIFE: Final = timedelta(days=365)
LIFE_MAX: Final = timedelta(days=2 * 365)

_SQL: Final = named_queries(Path(__file__).parent.parent / "sql" / "keys.sql")


class Asked(NamedTuple):
    """What a key is to open; `expires_at` None is in a year, `sites` None is every site."""

    role: KeyRole
    label: str
    expires_at: datetime | None
    sites: Sequence[str] | None


class Made(NamedTuple):
    """A new key. `secret` is the whole key, as its holder sends it."""

    key: str
    secret: str
    role: str
    expires_at: datetime


class Replaced(NamedTuple):
    """The new key, and when the one before it ends."""

    made: Made
    ends_at: datetime


class MachineKeys:
    """Makes, lists, replaces and revokes."""

    def __init__(self, pool: Pool, access_keys: AccessKeys, looks: Looks) -> None:
        self._pool = pool
        self._access_keys = access_keys
        self._looks = looks

    async def make(self, caller: Caller, asked: Asked, why: str) -> Made:
        """Noted in the access log before it is made: an administrator can make keys that open what it may not see.

        Raises LookNotRecorded; InvalidParameter for an end that is past or too far, and for sites not the controller's.
        """
        now = datetime.now(UTC)
        end = now + LIFE if asked.expires_at is None else asked.expires_at
        if not now < end <= now + LIFE_MAX:
            raise InvalidParameter("/expires_at")
        if asked.sites is not None and asked.role != "site":
            raise InvalidParameter("/sites")
        key = new_access_key()
        async with controller_transaction(self._pool, caller.controller) as connection:
            numbers = None if asked.sites is None else await _numbers(connection, caller, asked.sites)
        await self._note(caller, "access.granted", why, key.name, asked.role)
        row = {"role": asked.role, "label": asked.label, "sites": numbers}
        async with controller_transaction(self._pool, caller.controller, readonly=False) as connection:
            await _add(connection, caller, key, row, end=end, replaces=None)
        return Made(key.name, key.whole, asked.role, end)

    async def listed(self, caller: Caller) -> list[dict[str, Any]]:
        """Every key that is not a regulator's, without secrets, the newest first."""
        async with controller_transaction(self._pool, caller.controller) as connection:
            rows = await connection.fetch(_SQL["keys"], caller.controller)
        return [
            {
                "key": row["access_key"],
                "role": row["role"],
                "label": row["label"],
                "sites": row["sites"],
                "replaces": row["replaces"],
                **{
                    name: None if row[name] is None else format_time(row[name])
                    for name in ("created_at", "expires_at", "revoked_at")
                },
            }
            for row in rows
        ]

    async def replace(self, caller: Caller, access_key: str, overlap: timedelta, why: str) -> Replaced:
        """A new key with what the one before opens, for as long as that was made for. Raises NotFound, LookNotRecorded.

        1. Look at the key; 2. note it, with no connection in hand; 3. look again, under its lock, and do it.
        """
        now = datetime.now(UTC)
        key = new_access_key()
        async with controller_transaction(self._pool, caller.controller, readonly=False) as connection:
            role = (await _in_force(connection, caller, access_key))["role"]
        await self._note(caller, "access.granted", why, key.name, role)
        async with controller_transaction(self._pool, caller.controller, readonly=False) as connection:
            row = await _in_force(connection, caller, access_key)
            end = now + (row["life"] or LIFE)
            await _add(connection, caller, key, row, end=end, replaces=access_key)
            ends_at = await connection.fetchval(_SQL["end_key_at"], caller.controller, access_key, now + overlap)
        self._access_keys.forget(access_key)
        return Replaced(Made(key.name, key.whole, row["role"], end), ends_at)

    async def revoke(self, caller: Caller, access_key: str, why: str) -> None:
        """End a key now, also if that cannot be noted in the access log.

        Raises NotFound if none of this name is in force, LookNotRecorded.
        """
        async with controller_transaction(self._pool, caller.controller, readonly=False) as connection:
            role: str | None = await connection.fetchval(_SQL["revoke_key"], caller.controller, access_key)
        if role is None:
            raise NotFound
        self._access_keys.forget(access_key)
        await self._note(caller, "access.revoked", why, access_key, role)

    async def _note(self, caller: Caller, event_type: str, why: str, access_key: str, opens: str) -> None:
        await self._looks.record(caller, event_type, why, {"to": access_key, "opens": opens})


async def _in_force(connection: PooledConnection, caller: Caller, access_key: str) -> asyncpg.Record:
    row = await connection.fetchrow(_SQL["key_in_force"], caller.controller, access_key)
    if row is None:
        raise NotFound
    return row


async def _numbers(connection: PooledConnection, caller: Caller, sites: Sequence[str]) -> list[int]:
    rows = await connection.fetch(_SQL["numbers_of_sites"], caller.controller, list(sites))
    if len(rows) != len(set(sites)):
        raise InvalidParameter("/sites")
    return [row["site"] for row in rows]


async def _add(
    connection: PooledConnection,
    caller: Caller,
    key: NewKey,
    row: Mapping[str, Any] | asyncpg.Record,
    *,
    end: datetime,
    replaces: str | None,
) -> None:
    """`row`: role, label, sites."""
    columns = (row["role"], key.secret_sha256, row["label"], end, replaces, row["sites"])
    await connection.execute(_SQL["add_key"], caller.controller, key.name, *columns)
