"""One whole deployment for a test: database rows, key files, a ledger in this process, sealed events.

The events skip HTTP, not the seal: what the ledger sees is what a registered publisher would have sent.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import SecretStr

from schemas.canonical import canonical_json
from schemas.events import parse_time
from schemas.record import Parts, Reception, format_time, parts_of
from schemas.sealing import Epoch, SealedBody
from services.cli.admin import QUERIES
from services.cli.registry import TYPES_OF, open_access_log, register_publisher
from services.keys import (
    ControllerKeys,
    identifier_mac,
    make_secret,
    sealing_key,
    secret_digest,
    signing_key,
)
from services.keys.file_provider import FileProvider
from services.ledger.service import LedgerService
from services.ledger.settings import LedgerSettings
from services.postgres import create_pool
from services.stream.inbox import InboxPublisher
from services.stream.protocol import Copy, Message
from services.suppression import Suppression
from tests.support.databases import Database
from tests.support.wait import until

BASE_TIME = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)


def consent_event(number: int, *, subject: str | None = None, **changes: Any) -> dict[str, Any]:
    """A valid consent.given with a fixed id for `number`; `changes` replace members of the event or of its data."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"01930f5e-7c1e-7b1a-9c55-{number:012x}",
        "source": "/sites/shop.example",
        "type": "consent.given",
        "time": "2026-11-01T09:00:00Z",
        "data": {
            "subject": {"identifiers": [{"type": "cookie", "value": subject or f"v-{number}"}]},
            "decisions": [
                {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent", "services": ["chatra"]},
                {"purpose": "chat-proactive", "decision": "denied", "legal_basis": "consent", "services": ["chatra"]},
            ],
            "capture": {"mechanism": "button", "element": "banner", "action": "save"},
        },
    }
    for name, value in changes.items():
        (event if name in event or name == "traceparent" else event["data"])[name] = deepcopy(value)
    return event


class Deployment:
    """Controller `shop` with the log `shop` (origin log.example/logs/shop) and the site shop.example."""

    def __init__(self, database: Database, directory: Path, *, keys: Path | None = None) -> None:
        self.database = database
        self.directory = directory
        self.controller = 0
        self.log = 0
        # Two deployments with the same keys give the same names to identifiers and events.
        keys = keys or directory / "keys"
        make_secret(keys / "root.key")
        self.event_id_key = make_secret(keys / "event-ids.key")
        make_secret(keys / "capabilities.key")
        make_secret(keys / "ledger" / "sealing.key")
        make_secret(keys / "ingest" / "epochs.key")
        make_secret(keys / "query" / "epochs.key")
        make_secret(keys / "query" / "receipts.key")
        make_secret(keys / "query" / "links.key")
        Suppression(directory / "suppression").create()
        self.keys = keys
        self.publisher = signing_key(keys / "ingest" / "epochs.key")
        self.sealing_public = sealing_key(keys / "ledger" / "sealing.key").public_key()
        self.epoch = Epoch(self.publisher, self.sealing_public, 0)

    async def create(self, *, log: str = "shop", site: str = "shop.example") -> None:
        """Insert the rows an operator's commands would."""
        connection = await self.connect()
        try:
            for service in TYPES_OF:
                await register_publisher(
                    connection, signing_key(self.keys / service / "epochs.key").public_key(), service
                )
            self.controller = await connection.fetchval(
                "INSERT INTO controllers (name, legal_name, contact) VALUES ($1, 'Shop', 'dpo@shop.example')"
                " ON CONFLICT (name) DO UPDATE SET contact = excluded.contact RETURNING controller",
                "shop",
            )
            self.log = await self.add_log(connection, log, site)
        finally:
            await connection.close()

    async def add_log(self, connection: "asyncpg.Connection[asyncpg.Record]", log: str, site: str) -> int:
        """Another log of the controller, with one site."""
        number: int = await connection.fetchval(
            "INSERT INTO logs (controller, name, origin) VALUES ($1, $2, $3) RETURNING log",
            self.controller,
            log,
            f"log.example/logs/{log}",
        )
        await connection.execute(
            "INSERT INTO sites (controller, name, log) VALUES ($1, $2, $3)", self.controller, site, number
        )
        return number

    async def add_access_log(self) -> None:
        """The log of who looked at personal data, made once; without it query shows nobody to a human."""
        connection = await self.connect()
        try:
            if await connection.fetchval(QUERIES["find_access_log"], self.controller) is None:
                await open_access_log(connection, "shop", "log.example")
        finally:
            await connection.close()

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """As the superuser."""
        return await asyncpg.connect(self.database.dsn())

    def settings(self, **changes: Any) -> LedgerSettings:
        """Settings of this deployment's ledger."""
        values: dict[str, Any] = {
            "database_url": SecretStr(self.database.dsn()),
            "root_key_file": self.keys / "root.key",
            "event_id_key_file": self.keys / "event-ids.key",
            "ledger_key_dir": self.keys / "ledger",
            "controller_key_dir": self.keys / "controllers",
            "high_water_dir": self.directory / "high-water",
            "suppression_dir": self.directory / "suppression",
            "checkpoint_interval_ms": 50,
            # The receivers of tests listen on loopback.
            "webhook_inside": True,
        }
        return LedgerSettings(**(values | changes))

    def ledger_environment(self, **changes: str) -> dict[str, str]:
        """The same settings as environment variables, for a ledger in a process of its own."""
        settings = self.settings()
        return {
            "SAYSO_DATABASE_URL": settings.database_url.get_secret_value(),
            "SAYSO_ROOT_KEY_FILE": str(settings.root_key_file),
            "SAYSO_EVENT_ID_KEY_FILE": str(settings.event_id_key_file),
            "SAYSO_LEDGER_KEY_DIR": str(settings.ledger_key_dir),
            "SAYSO_CONTROLLER_KEY_DIR": str(settings.controller_key_dir),
            "SAYSO_HIGH_WATER_DIR": str(settings.high_water_dir),
            "SAYSO_SUPPRESSION_DIR": str(settings.suppression_dir),
            "SAYSO_CHECKPOINT_INTERVAL_MS": str(settings.checkpoint_interval_ms),
            "SAYSO_WEBHOOK_INSIDE": "true",
            **changes,
        }

    async def add_server_key(self, site: str = "shop.example") -> str:
        """A server key (`sk_...`) of the site."""
        name, secret = f"sk_{os.urandom(12).hex()}", os.urandom(24).hex()
        await self.fetch(
            "INSERT INTO site_keys (controller, site_key, site, kind, secret_sha256)"
            " SELECT controller, $2, site, 'sk', $3 FROM sites WHERE name = $1",
            site,
            name,
            secret_digest(secret),
        )
        return f"{name}_{secret}"

    def ingest_environment(self, port: int, **changes: str) -> dict[str, str]:
        """Settings of an ingest process on `port`."""
        make_secret(self.keys / "ingest" / "notices.key")
        return {
            "SAYSO_DATABASE_URL": self.database.dsn(),
            "SAYSO_EVENT_ID_KEY_FILE": str(self.keys / "event-ids.key"),
            "SAYSO_CAPABILITY_KEY_FILE": str(self.keys / "capabilities.key"),
            "SAYSO_EPOCH_KEY_FILE": str(self.keys / "ingest" / "epochs.key"),
            "SAYSO_SUPPRESSION_DIR": str(self.directory / "suppression"),
            "SAYSO_NOTICE_KEY_FILE": str(self.keys / "ingest" / "notices.key"),
            "SAYSO_INGEST_PORT": str(port),
            **changes,
        }

    def query_environment(self, port: int, **changes: str) -> dict[str, str]:
        """Settings of a query process on `port`."""
        return {
            "SAYSO_DATABASE_URL": self.database.dsn(),
            "SAYSO_ROOT_KEY_FILE": str(self.keys / "root.key"),
            "SAYSO_EVENT_ID_KEY_FILE": str(self.keys / "event-ids.key"),
            "SAYSO_CONTROLLER_KEY_DIR": str(self.keys / "controllers"),
            "SAYSO_CAPABILITY_KEY_FILE": str(self.keys / "capabilities.key"),
            "SAYSO_QUERY_EPOCH_KEY_FILE": str(self.keys / "query" / "epochs.key"),
            "SAYSO_RECEIPT_KEY_FILE": str(self.keys / "query" / "receipts.key"),
            "SAYSO_LINK_KEY_FILE": str(self.keys / "query" / "links.key"),
            "SAYSO_SUPPRESSION_DIR": str(self.directory / "suppression"),
            "SAYSO_QUERY_PORT": str(port),
            **changes,
        }

    async def add_access_key(self, role: str) -> str:
        """A query key (`ak_...`) of the controller."""
        await self.add_access_log()
        name, secret = f"ak_{os.urandom(12).hex()}", os.urandom(24).hex()
        await self.fetch(
            "INSERT INTO access_keys (controller, access_key, role, secret_sha256) VALUES ($1, $2, $3, $4)",
            self.controller,
            name,
            role,
            secret_digest(secret),
        )
        return f"{name}_{secret}"

    def seal(
        self, event: Mapping[str, Any], *, log: str = "shop", received_at: datetime | None = None, **reception: Any
    ) -> Message:
        """The message that ingest would publish for `event`; `reception` replaces what ingest says of it."""
        site = event["source"].removeprefix("/sites/")
        received_at = received_at or parse_time(event["time"]) + timedelta(seconds=1)
        about = replace(Reception(site, received_at, "server", "unverified", []), **reception)
        content = {name: value for name, value in event.items() if name not in {"traceparent", "tracestate"}}
        body = SealedBody(
            round(received_at.timestamp() * 1_000_000),
            hashlib.sha256(canonical_json(content)).digest(),
            parts_of(event, about),
        )
        value = self.epoch.seal(log, site, event["id"], body)
        return Message(self.controller, log, event["id"], site, self.epoch.header, value)

    def seal_asked(
        self,
        event_type: str,
        members: Mapping[str, Any],
        *,
        log: str = "shop",
        site: str = "shop.example",
        who: Mapping[str, Any] | None = None,
    ) -> Message:
        """The message that query would publish to ask for something: `members` stand in its `what`."""
        now = datetime.now(UTC)
        time, event_id = format_time(now), fresh_uuid()
        what = {"v": 1, "id": event_id, "site": site, "type": event_type, "time": time, "received_at": time}
        what |= {"posted_by": "server", "words": "unverified", **members}
        parts = Parts(canonical_json({} if who is None else who), canonical_json(what), b"{}")
        epoch = Epoch(signing_key(self.keys / "query" / "epochs.key"), self.sealing_public, 0)
        body = SealedBody(round(now.timestamp() * 1_000_000), hashlib.sha256(parts.what).digest(), parts)
        value = epoch.seal(log, site, event_id, body)
        return Message(self.controller, log, event_id, site, epoch.header, value)

    def seal_erasure(self, subject: UUID, *, ground: str = "17(1)(b)", log: str = "shop") -> Message:
        """The message that asks to erase a subject."""
        return self.seal_asked("subject.erased", {"erasure": {"subject": str(subject), "ground": ground}}, log=log)

    async def subject_of(self, value: str, kind: str = "cookie") -> UUID | None:
        """The subject that an identifier leads to."""
        key = ControllerKeys(self.keys / "controllers", FileProvider(self.keys / "root.key")).identifier_key("shop")
        rows = await self.fetch(
            "SELECT subject FROM identifiers WHERE controller = $1 AND identifier = $2",
            self.controller,
            identifier_mac(key, kind, value),
        )
        return UUID(int=rows[0]["subject"].int) if rows else None

    async def publish(self, messages: Iterable[Message]) -> list[Copy]:
        """Put sealed messages into the inbox."""
        pool = await create_pool(self.database.dsn(), role="sayso_ingest", size=2, application="test-ingest")
        publisher = InboxPublisher(pool)
        try:
            await publisher.start()
            return await publisher.publish(list(messages))
        finally:
            await publisher.stop()
            await pool.close()

    @asynccontextmanager
    async def ledger(self, **changes: Any) -> AsyncIterator[LedgerService]:
        """A running ledger; an error it raises fails the test."""
        service = LedgerService(self.settings(**changes))
        task = asyncio.create_task(service.run())
        try:
            yield service
        finally:
            service.stop()
            await task

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """Look into the database as the superuser."""
        connection = await self.connect()
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    async def size(self, log: str = "shop") -> int:
        """Records of a log."""
        rows = await self.fetch("SELECT h.size FROM log_heads h JOIN logs USING (controller, log) WHERE name = $1", log)
        return int(rows[0]["size"]) if rows else 0

    async def recorded(self, size: int, *, log: str = "shop", deadline_s: float = 30) -> None:
        """Wait until the log has `size` records and a checkpoint over them."""
        sql = "SELECT h.size, h.signed_size FROM log_heads h JOIN logs USING (controller, log) WHERE name = $1"
        # One connection for all looks: each new one is a process of Postgres.
        connection = await self.connect()

        async def there() -> bool:
            row = await connection.fetchrow(sql, log)
            return row is not None and row["size"] >= size and row["signed_size"] == row["size"]

        try:
            await until(there, deadline_s=deadline_s, what=f"log {log} reaches {size} signed records")
        finally:
            await connection.close()

    async def drained(self, *, deadline_s: float = 30) -> None:
        """Wait until the inbox is empty."""
        connection = await self.connect()

        async def empty() -> bool:
            return not await connection.fetch("SELECT FROM inbox LIMIT 1")

        try:
            await until(empty, deadline_s=deadline_s, what="the inbox is drained")
        finally:
            await connection.close()

    async def state(self) -> set[tuple[Any, ...]]:
        """What is true now, without anything that depends on the order of arrival or on random ids."""
        rows = await self.fetch(
            "SELECT i.identifier, s.purpose, s.legal_basis, s.decision, s.rank, s.event"
            " FROM consent_state s JOIN identifiers i USING (controller, subject)"
        )
        return {tuple(row) for row in rows}


def fresh_uuid() -> str:
    """A random version-4 UUID in the schema's spelling."""
    raw = bytearray(os.urandom(16))
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
