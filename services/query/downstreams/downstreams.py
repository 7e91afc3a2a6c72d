"""Downstream systems: which there are, how each is told, and the secret that it shares with Sayso.

Invariant: a secret is shown when it is made and never again; it is derived, and stands nowhere.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from schemas.errors import InvalidParameter, NotFound
from schemas.record import format_time
from services.keys import ControllerKeys
from services.keys.jwe import public_jwk
from services.keys.webhooks import webhook_secret, written_secret
from services.postgres import Pool, PooledConnection, controller_transaction
from services.query.auth import Caller
from services.query.catalogue.store import CatalogueStore, merged
from services.query.downstreams.bodies import DeliveriesParameters, DownstreamBody
from services.query.downstreams.store import DownstreamStore
from services.query.store import Row


@dataclass(frozen=True, slots=True)
class Downstreams:
    """Reads and writes of one controller, each in one transaction behind its wall."""

    pool: Pool
    keys: ControllerKeys
    # Whether this deployment has the broker that a system of kind kafka reads.
    has_broker: bool

    async def put(
        self, caller: Caller, system: str, body: DownstreamBody, note: Callable[[], Awaitable[None]]
    ) -> tuple[dict[str, Any], bool]:
        """What stands now, with the secret if the system is new, and whether it is; `note` is called before it stands.

        Raises InvalidParameter, and ConfigurationError while no ledger has made the controller's webhook key.
        """
        if body.kind == "kafka" and not self.has_broker:
            raise InvalidParameter("/kind")
        key = self.keys.webhook_key(caller.controller_name)
        jwk = _jwk(body)
        async with controller_transaction(self.pool, caller.controller) as connection:
            await _know_services(connection, caller, body)
        await note()
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            store = DownstreamStore(connection, caller.controller)
            before = await store.row("downstream", system)
            stated = await store.row(
                "put_downstream",
                system,
                body.kind,
                body.tells,
                body.services,
                body.url,
                jwk,
                body.instructions,
                body.answer_days,
            )
            row = await store.row("downstream", system)
        assert stated is not None  # written just now
        assert row is not None
        answer = _described(row)
        if before is None and body.kind != "task":
            answer["secret"] = written_secret(webhook_secret(key, system, stated["secret_number"]))
        return answer, before is None

    async def list(self, caller: Caller) -> dict[str, Any]:
        """Every system in use."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            rows = await DownstreamStore(connection, caller.controller).rows("downstreams")
        return {"downstreams": [_described(row) for row in rows]}

    async def one(self, caller: Caller, system: str) -> dict[str, Any]:
        """Raises NotFound."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            row = await DownstreamStore(connection, caller.controller).row("downstream", system)
        if row is None:
            raise NotFound
        return _described(row)

    async def remove(self, caller: Caller, system: str) -> None:
        """Nothing more is sent to it. Raises NotFound."""
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            if not await DownstreamStore(connection, caller.controller).execute("remove_downstream", system):
                raise NotFound

    async def replace_secret(self, caller: Caller, system: str) -> dict[str, Any]:
        """A new secret; what is sent is signed with the one before too, what is answered only with the new one.

        Raises NotFound, ConfigurationError.
        """
        key = self.keys.webhook_key(caller.controller_name)
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            store = DownstreamStore(connection, caller.controller)
            row = await store.row("downstream", system)
            if row is None or row["kind"] == "task":
                raise NotFound
            stated = await store.row("next_secret", system)
        assert stated is not None  # written just now
        return {"system": system, "secret": written_secret(webhook_secret(key, system, stated["secret_number"]))}

    async def deliveries(self, caller: Caller, page: DeliveriesParameters) -> dict[str, Any]:
        """A page of messages on their way, or given up; never what is in them."""
        async with controller_transaction(self.pool, caller.controller) as connection:
            store = DownstreamStore(connection, caller.controller)
            rows = await store.rows("deliveries", page.dead, page.after, page.limit + 1)
        shown = [_delivery(row) for row in rows[: page.limit]]
        return {"deliveries": shown, **({"next": shown[-1]["delivery"]} if len(rows) > page.limit else {})}

    async def deliver_again(self, caller: Caller, delivery: UUID) -> None:
        """Try a dead letter once more; one that is on its way already is left alone. Raises NotFound."""
        async with controller_transaction(self.pool, caller.controller, readonly=False) as connection:
            store = DownstreamStore(connection, caller.controller)
            if not await store.execute("deliver_again", delivery):
                waits = await store.row("delivery_waits", delivery)
                if waits is None or not waits[0]:
                    raise NotFound


def _jwk(body: DownstreamBody) -> bytes | None:
    if body.sealed_to is None:
        return None
    try:
        return public_jwk(body.sealed_to)
    except ValueError:
        raise InvalidParameter("/sealed_to") from None


async def _know_services(connection: PooledConnection, caller: Caller, body: DownstreamBody) -> None:
    """A service that is misspelt would never be told of anything. Raises InvalidParameter."""
    if not body.services:
        return
    known = merged(await CatalogueStore(connection, caller.controller).stated())
    for number, service in enumerate(body.services):
        if service not in known:
            raise InvalidParameter(f"/services/{number}")


def _described(row: Row) -> dict[str, Any]:
    stated = {
        "system": row["system"],
        "kind": row["kind"],
        "tells": row["tells"],
        "services": row["services"],
        "url": row["url"],
        "sealed_to": None if row["sealed_to"] is None else orjson.loads(row["sealed_to"]),
        "instructions": row["instructions"],
        "answer_days": row["answer_days"],
        "added_at": format_time(row["added_at"]),
    }
    return {name: value for name, value in stated.items() if value is not None}


def _delivery(row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "delivery": str(row["delivery"]),
        "system": row["system"],
        "kind": row["kind"],
        "made_at": format_time(row["made_at"]),
        "attempts": row["attempts"],
        "state": "waiting" if row["dead_at"] is None else "dead",
    }
    if row["trigger"] is not None:
        shown["trigger"] = str(row["trigger"])
    if row["last_status"] is not None:
        shown["last_status"] = row["last_status"]
    at = ("next_at", row["next_at"]) if row["dead_at"] is None else ("dead_at", row["dead_at"])
    return {**shown, at[0]: format_time(at[1])}
