"""One deployment for all tests of this folder: a ledger, a query service, and people with every role; each test uses
subjects of its own.
"""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from schemas.record import format_time
from schemas.terms import Terms
from services.keys import event_mac
from services.query.settings import QuerySettings
from tests.integration.query.conftest import serving
from tests.integration.visitors.conftest import query_settings
from tests.support.databases import SchemaTemplate, drop_database
from tests.support.deployment import Deployment, consent_event, fresh_uuid
from tests.support.wait import until

ROLES = ("privacy", "privacy-2", "dpo", "dpo-2", "site", "admin")
GROUND = {"ground": "17(1)(b)"}


@dataclass
class House:
    """A running deployment; `keys` by the names above."""

    deployment: Deployment
    client: httpx2.AsyncClient
    settings: QuerySettings
    keys: dict[str, str]

    async def ask(self, role: str, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """One request with the key of somebody."""
        headers["authorization"] = f"Bearer {self.keys[role]}"
        return await self.client.request(method, path, json=body, headers=headers)

    async def said(self, role: str, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """The JSON of an answer that must be a success."""
        answer = await self.ask(role, method, path, body, **headers)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def person(self, value: str | None = None, **changes: Any) -> UUID:
        """Somebody new who has just decided something."""
        value = value or f"v-{os.urandom(6).hex()}"
        await self.posted(value, **changes)
        subject = await self.deployment.subject_of(value)
        assert subject is not None
        return subject

    async def posted(self, value: str, *, at: datetime | None = None, **changes: Any) -> None:
        """Record one event of somebody, acted and received `at` (now), and wait for it."""
        at = at or datetime.now(UTC)
        event = consent_event(1, subject=value, time=format_time(at), **changes)
        event["id"] = fresh_uuid()
        await self.deployment.publish([self.deployment.seal(event, received_at=at)])
        await self.deployment.drained()

    async def rows(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        return await self.deployment.fetch(sql, *args)

    async def place(self, role: str = "privacy", **changes: Any) -> dict[str, Any]:
        """A hold that stands."""
        answer = await self.ask(role, "POST", "/v1/holds", hold_body(**changes))
        assert answer.status_code == 201, answer.text
        (placed,) = answer.json()["holds"]
        found: dict[str, Any] = placed
        return found

    async def release(self, hold: str) -> None:
        """By two people."""
        asked = await self.said("dpo", "POST", f"/v1/holds/{hold}/release", {"reason": "the case is closed"})
        decided = await self.said("privacy", "POST", f"/v1/approvals/{asked['approval']}", {"verdict": "approved"})
        assert decided["state"] == "done", decided

    async def erase(self, subject: UUID) -> dict[str, Any]:
        """Ask for an erasure and wait for what becomes of it."""
        return await self.said("privacy", "POST", f"/v1/subjects/{subject}/erasure", GROUND, prefer="wait=20")

    async def state_terms(self, **changes: Any) -> None:
        """The controller's terms from now on."""
        await self.rows(
            "INSERT INTO terms (controller, content, stated_by) VALUES ($1, $2, 'ak_test')",
            self.deployment.controller,
            Terms(**changes).content(),
        )

    def name_of(self, event_id: str) -> bytes:
        """The dedupe name of an event."""
        return event_mac(self.deployment.event_id_key, "shop", event_id)


def hold_body(**changes: Any) -> dict[str, Any]:
    """A hold for a month; `changes` replace members."""
    now = datetime.now(UTC)
    body = {
        "ground": "17(3)(e)",
        "case_reference": "4 O 17/26",
        "reason": "a claim was raised against the shop",
        "review_on": (now + timedelta(days=14)).date().isoformat(),
        "expires_at": format_time(now + timedelta(days=30)),
    }
    return body | {name: str(value) if isinstance(value, UUID) else value for name, value in changes.items()}


@pytest.fixture(scope="session")
async def house(schema_template: SchemaTemplate, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Made once."""
    database = schema_template.clone()
    deployment = Deployment(database, tmp_path_factory.mktemp("holds"))
    await deployment.create()
    keys = {role: await deployment.add_access_key(role.removesuffix("-2")) for role in ROLES}
    settings = query_settings(deployment)
    async with (
        deployment.ledger(),
        serving(settings) as address,
        httpx2.AsyncClient(base_url=address, timeout=30) as client,
    ):
        await until(partial(_opened, deployment), what="the ledger has opened its logs")
        yield House(deployment, client, settings, keys)
    drop_database(database)


async def _opened(deployment: Deployment) -> bool:
    return len(await deployment.fetch("SELECT FROM log_heads")) == 2
