"""A controller's people: invited by its administrator, known by what the OpenID provider calls them, as a hash."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID, uuid4

import asyncpg

from schemas.errors import LinkNotValid, NotFound
from schemas.record import format_time
from schemas.rights_errors import AlreadyAmongPeople, NotAmongPeople, SignInNotConfigured
from services.capabilities import Capabilities
from services.postgres import Pool, controller_transaction, named_queries
from services.query.auth import PERSON_PREFIX, Caller
from services.query.looks.looks import Looks
from services.query.sign_in.provider import Identity

INVITATION_S: Final = 7 * 24 * 3600
SIGN_IN_PATH: Final = "/v1/sign-in"

_SQL: Final = named_queries(Path(__file__).parent.parent / "sql" / "sign_in.sql")

# Regulators come with the key of their grant.
PersonRole = Literal["privacy", "dpo", "admin"]


class Invitation(NamedTuple):
    """What the link says to us: whose person, and which."""

    controller: str
    person: UUID


class Invited(NamedTuple):
    """A new person; the link is shown once, and does nothing from `expires_at` on."""

    person: UUID
    url: str
    expires_at: datetime


class People:
    """Invites, lists, removes, and recognises."""

    def __init__(self, pool: Pool, looks: Looks, sealing: Capabilities, public_url: str | None) -> None:
        self._pool = pool
        self._looks = looks
        self._sealing = sealing
        self._public_url = public_url

    async def invite(self, caller: Caller, name: str, role: PersonRole, why: str) -> Invited:
        """Noted in the access log before it is done. Raises SignInNotConfigured, LookNotRecorded."""
        if self._public_url is None:
            raise SignInNotConfigured
        person = uuid4()
        await self._looks.record(caller, "access.granted", why, {"to": f"{PERSON_PREFIX}{person}", "opens": role})
        async with controller_transaction(self._pool, caller.controller, readonly=False) as connection:
            await connection.execute(_SQL["invite"], caller.controller, person, name, role)
        return invitation(self._sealing, self._public_url, caller.controller_name, person)

    async def listed(self, caller: Caller) -> list[dict[str, Any]]:
        """Everybody who was not removed, in the order of their invitation."""
        async with controller_transaction(self._pool, caller.controller) as connection:
            rows = await connection.fetch(_SQL["people"], caller.controller)
        return [
            {
                "person": str(row["person"]),
                "name": row["name"],
                "role": row["role"],
                "added_at": format_time(row["added_at"]),
                "has_signed_in": row["has_signed_in"],
            }
            for row in rows
        ]

    async def name_of(self, caller: Caller) -> str:
        """What colleagues call the person who asks."""
        person = UUID(caller.key.removeprefix(PERSON_PREFIX))
        async with controller_transaction(self._pool, caller.controller) as connection:
            name: str = await connection.fetchval(_SQL["name_of"], caller.controller, person)
        return name

    async def remove(self, caller: Caller, person: UUID, why: str) -> None:
        """Their sessions and an open invitation end with it, also if that cannot be noted in the access log.

        Raises NotFound, LookNotRecorded.
        """
        async with controller_transaction(self._pool, caller.controller, readonly=False) as connection:
            role: str | None = await connection.fetchval(_SQL["remove"], caller.controller, person)
        if role is None:
            raise NotFound
        await self._looks.record(caller, "access.revoked", why, {"to": f"{PERSON_PREFIX}{person}", "opens": role})

    def read_invitation(self, token: str, now_s: int) -> Invitation:
        """Raises LinkNotValid."""
        claims = self._sealing.open("invite", token, now_s)
        if claims is None:
            raise LinkNotValid
        return Invitation(claims["controller"], UUID(claims["person"]))

    async def recognise(self, controller: str, identity: Identity) -> tuple[int, UUID]:
        """The number of the controller and of its person. Raises NotAmongPeople, also where there is no controller."""
        number = await self._number(controller)
        if number is None:
            raise NotAmongPeople
        async with controller_transaction(self._pool, number) as connection:
            row = await connection.fetchrow(_SQL["person_of"], number, *identity)
        if row is None:
            raise NotAmongPeople
        return number, UUID(int=row["person"].int)

    async def accept(self, invited: Invitation, identity: Identity) -> tuple[int, UUID]:
        """The same for somebody who signs in for the first time. Raises LinkNotValid and AlreadyAmongPeople."""
        number = await self._number(invited.controller)
        if number is None:
            raise LinkNotValid
        try:
            async with controller_transaction(self._pool, number, readonly=False) as connection:
                done = await connection.execute(_SQL["accept"], number, invited.person, *identity)
        except asyncpg.UniqueViolationError:
            raise AlreadyAmongPeople from None
        if done != "UPDATE 1":
            raise LinkNotValid
        return number, invited.person

    async def _number(self, controller: str) -> int | None:
        number: int | None = await self._pool.fetchval(_SQL["find_controller"], controller)
        return number


def invitation(sealing: Capabilities, public_url: str, controller: str, person: UUID) -> Invited:
    """The link for somebody who stands among the people but has no identity yet."""
    expires_s = int(datetime.now(UTC).timestamp()) + INVITATION_S
    token = sealing.seal("invite", {"controller": controller, "person": str(person), "exp": expires_s})
    url = f"{public_url}{SIGN_IN_PATH}?invitation={token}"
    return Invited(person, url, datetime.fromtimestamp(expires_s, UTC))
