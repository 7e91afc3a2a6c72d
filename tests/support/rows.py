"""Rows as the ledger leaves them, written straight from the schemas modules: for tests of what only reads.

Everything about a record is the test's to choose, also what a ledger would refuse or only reach after weeks. The tree
comes from the slow oracle, so that a mistake in the ledger's arithmetic and one in the reader's cannot cancel out.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.event_types import entry_class
from schemas.note import log_key
from schemas.notices import notice_bytes, notice_hash
from schemas.parties import details_bytes
from schemas.payload import NONCE_BYTES, place_of, seal_part
from schemas.ranking import Decided, decided_by, latest
from schemas.record import (
    NO_PREVIOUS,
    PART_NAMES,
    SALT_BYTES,
    Mark,
    Parts,
    PostedBy,
    Reception,
    Words,
    commitment,
    entry_bytes,
    part_digest,
    parts_of,
)
from schemas.sealing import EpochHeader, SealedBody, key_id, open_message
from services.cli.admin import QUERIES
from services.cli.registry import register_publisher
from services.keys import ControllerKeys, event_mac, identifier_mac, key_epoch, make_secret, signing_key
from services.keys.access import new_access_key
from services.keys.file_provider import FileProvider
from services.suppression import Suppression
from tests.support import oracle
from tests.support.databases import Database

RECORDED_AT = "2026-11-01T09:02:00Z"


@dataclass
class World:
    """One database and one directory of keys."""

    database: Database
    directory: Path

    def __post_init__(self) -> None:
        make_secret(self.directory / "root.key")
        self.event_id_key = make_secret(self.directory / "event-ids.key")
        make_secret(self.directory / "capabilities.key")
        make_secret(self.directory / "query" / "epochs.key")
        make_secret(self.directory / "query" / "receipts.key")
        make_secret(self.directory / "query" / "links.key")
        Suppression(self.directory / "suppression").create()
        self.keys = ControllerKeys(self.directory / "controllers", FileProvider(self.directory / "root.key"))
        self._sealing: X25519PrivateKey | None = None

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """As the superuser, who is behind no wall."""
        return await asyncpg.connect(self.database.dsn())

    async def execute(self, sql: str, *args: Any) -> Any:
        """Run one statement as the superuser; return its first value."""
        connection = await self.connect()
        try:
            return await connection.fetchval(sql, *args)
        finally:
            await connection.close()

    async def let_query_publish(self) -> X25519PrivateKey:
        """The rows without which nothing can be sealed: query's registration, and a sealing key. The key's other half.

        There is no ledger here: what query publishes stays in the inbox.
        """
        if self._sealing is None:
            self._sealing = X25519PrivateKey.generate()
            public = self._sealing.public_key()
            connection = await self.connect()
            try:
                await register_publisher(
                    connection, signing_key(self.directory / "query" / "epochs.key").public_key(), "query"
                )
                await connection.execute(
                    "INSERT INTO sealing_keys (sealing_key, public_key) VALUES ($1, $2)",
                    key_id(public),
                    public.public_bytes_raw(),
                )
            finally:
                await connection.close()
        return self._sealing

    async def messages(self) -> list[tuple[dict[str, Any], SealedBody, asyncpg.Record]]:
        """What lies in the inbox, opened as the ledger opens it: (what, body, row)."""
        connection = await self.connect()
        try:
            rows = await connection.fetch("SELECT * FROM inbox ORDER BY seq")
        finally:
            await connection.close()
        key = await self.let_query_publish()
        publisher = signing_key(self.directory / "query" / "epochs.key").public_key()
        found = []
        for row in rows:
            header = EpochHeader.decode(row["epoch"])
            cipher = AESGCM(header.open(publisher, key))
            body = open_message(cipher, header.epoch, row["log"], row["site"], str(row["event_id"]), row["value"])
            found.append((orjson.loads(body.parts.what), body, row))
        return found

    async def controller(self, name: str) -> "Controller":
        """A controller with one log and one site of its name, the log opened and signed; and its access log."""
        await self.let_query_publish()
        controller = await self.execute(
            "INSERT INTO controllers (name, legal_name, contact) VALUES ($1, $1, 'dpo@example') RETURNING controller",
            name,
        )
        made = Controller(self, controller, name)
        await made.open_log()
        return made


@dataclass
class Person:
    """A subject and its unwrapped key."""

    subject: UUID
    cipher: AESGCM
    decided: list[Decided] = field(default_factory=list)


@dataclass(frozen=True)
class Recorded:
    """Where an event went."""

    event: str
    index: int
    entry: bytes
    parts: Parts
    salts: tuple[bytes, ...]


class Controller:
    """One controller's rows: log `NAME` with the origin log.example/logs/NAME, site NAME.example."""

    def __init__(self, world: World, controller: int, name: str) -> None:
        self.world = world
        self.controller = controller
        self.name = name
        self.origin = f"log.example/logs/{name}"
        self.site_name = f"{name}.example"
        self.signing_key = Ed25519PrivateKey.generate()
        self.vkey = str(log_key(self.origin, self.signing_key))
        self.entries: list[bytes] = []
        self.log = 0
        self.site = 0
        self._stand_in: Person | None = None

    async def open_log(self) -> None:
        """Insert log, site and head; sign size 0."""
        execute = self.world.execute
        self.log = await execute(
            "INSERT INTO logs (controller, name, origin, vkey) VALUES ($1, $2, $3, $4) RETURNING log",
            self.controller,
            self.name,
            self.origin,
            self.vkey,
        )
        await execute(
            "INSERT INTO log_keys (controller, log, number, vkey, reference) VALUES ($1, $2, 1, $3, $4)",
            self.controller,
            self.log,
            self.vkey,
            f"file:{self.name}.key",
        )
        self.site = await execute(
            "INSERT INTO sites (controller, name, log) VALUES ($1, $2, $3) RETURNING site",
            self.controller,
            self.site_name,
            self.log,
        )
        await execute(
            "INSERT INTO log_heads (controller, log, root, prev) VALUES ($1, $2, $3, $4)",
            self.controller,
            self.log,
            oracle.EMPTY,
            bytes(32),
        )
        await self.publish()
        await execute(
            QUERIES["create_access_log"],
            self.controller,
            f"{self.name}-access",
            f"{self.origin}-access",
            f"{self.name}.access",
        )

    async def access_key(self, role: str, *, grant: UUID | None = None, **columns: Any) -> str:
        """A new bearer key of a role, with other columns if given; an auditor's is of a grant over everything."""
        if role == "auditor" and grant is None:
            grant = await self.grant()
        key = new_access_key()
        await self.world.execute(
            "INSERT INTO access_keys (controller, access_key, role, secret_sha256, grant_id, expires_at, revoked_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            self.controller,
            key.name,
            role,
            key.secret_sha256,
            grant,
            columns.get("expires_at"),
            columns.get("revoked_at"),
        )
        return key.whole

    async def grant(self, **changes: Any) -> UUID:
        """A grant over everything for a year; `changes` replace columns."""
        columns: dict[str, Any] = {
            "grant_id": uuid4(),
            "case_reference": "CNIL-2026-0042",
            "authority": "CNIL",
            "ends_at": datetime.now(UTC) + timedelta(days=365),
            "made_by": "ak_made_in_a_test",
            **changes,
        }
        places = ", ".join(f"${number}" for number in range(2, len(columns) + 2))
        await self.world.execute(
            f"INSERT INTO grants (controller, {', '.join(columns)}) VALUES ($1, {places})",
            self.controller,
            *columns.values(),
        )
        grant: UUID = columns["grant_id"]
        return grant

    async def notice(self, content: Mapping[str, Any], published_at: datetime) -> str:
        """Publish a notice at the site; returns its hash in hex."""
        raw = notice_bytes(content)
        await self.world.execute(
            "INSERT INTO notices (controller, notice, site, language, content, published_at)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            self.controller,
            notice_hash(raw),
            self.site,
            content["language"],
            raw,
            published_at,
        )
        return notice_hash(raw).hex()

    async def describe(self, **changes: Any) -> None:
        """State what receipts say of the controller."""
        await self.world.execute(
            "UPDATE controllers SET details = $2 WHERE controller = $1",
            self.controller,
            details_bytes(controller_details(**changes)),
        )

    async def match(self, shown: str, notice: str, matched_at: datetime) -> None:
        """A DPO ties a hash seen on a page to a notice."""
        await self.world.execute(
            "INSERT INTO notice_matches (controller, shown, notice, matched_at) VALUES ($1, $2, $3, $4)",
            self.controller,
            bytes.fromhex(shown),
            bytes.fromhex(notice),
            matched_at,
        )

    async def person(self, kind: str | None = None, value: str = "", *, stand_in: bool = False) -> Person:
        """A subject with a key of its own, found by one identifier if one is given."""
        epoch = key_epoch(datetime.now(UTC).timestamp())
        key = os.urandom(32)
        wrapped = aes_key_wrap(self.world.keys.create_wrapping_key(self.name, epoch), key)
        subject = uuid4()
        await self.world.execute(
            "INSERT INTO subjects (controller, subject, wrapped_key, key_epoch, log) VALUES ($1, $2, $3, $4, $5)",
            self.controller,
            subject,
            wrapped,
            epoch,
            self.log if stand_in else None,
        )
        if kind is not None:
            secret = self.world.keys.create_identifier_key(self.name)
            await self.world.execute(
                "INSERT INTO identifiers (controller, identifier, subject) VALUES ($1, $2, $3)",
                self.controller,
                identifier_mac(secret, kind, value),
                subject,
            )
        return Person(subject, AESGCM(key))

    async def stand_in(self) -> Person:
        """The log's own subject, for records that are about nobody; made once."""
        if self._stand_in is None:
            self._stand_in = await self.person(stand_in=True)
        return self._stand_in

    async def record(
        self,
        person: Person,
        event: Mapping[str, Any],
        received_at: datetime,
        *,
        words: Words = "unverified",
        marks: Sequence[Mark] = (),
        posted_by: PostedBy = "server",
        notice: str | None = None,
    ) -> Recorded:
        """Append an event at the end of the log; `notice` is the hash that the entry names."""
        about = Reception(self.site_name, received_at, posted_by, words, marks)
        name = event_mac(self.world.event_id_key, self.name, event["id"])
        what = {**event["data"], "type": event["type"], "time": event["time"], "posted_by": posted_by}
        what["marks"] = list(marks)
        person.decided += decided_by(what, received_at, name)
        kind = entry_class(event["type"])
        return await self.append(person, parts_of(event, about), event["id"], kind, received_at, notice=notice)

    async def append(
        self,
        person: Person,
        parts: Parts,
        event: str,
        kind: str,
        received_at: datetime,
        *,
        notice: str | None = None,
        erased: Mapping[str, int] | None = None,
    ) -> Recorded:
        """Append a record of any class, also one that no event of a site makes."""
        salts = tuple(os.urandom(SALT_BYTES) for _ in PART_NAMES)
        digests = [part_digest(n, salt, part) for n, salt, part in zip(PART_NAMES, salts, parts, strict=True)]
        index = len(self.entries)
        entry = self._append(kind, commitment(*digests).hex(), notice, erased)
        nonce, place = os.urandom(NONCE_BYTES), place_of(self.origin, index)
        sealed = [
            seal_part(person.cipher, nonce, name, place, salt + part)
            for name, salt, part in zip(PART_NAMES, salts, parts, strict=True)
        ]
        connection = await self.world.connect()
        try:
            await connection.execute(
                "INSERT INTO records (controller, log, index, entry) VALUES ($1, $2, $3, $4)",
                self.controller,
                self.log,
                index,
                entry,
            )
            await connection.execute(
                "INSERT INTO payloads (controller, log, index, subject, nonce, who, what, context)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                self.controller,
                self.log,
                index,
                person.subject,
                nonce,
                *sealed,
            )
            await connection.execute(
                "INSERT INTO dedupe (controller, event, log, index, content, received_at)"
                " VALUES ($1, $2, $3, $4, $5, $6)",
                self.controller,
                event_mac(self.world.event_id_key, self.name, event),
                self.log,
                index,
                bytes(16),
                received_at,
            )
            await self._project(connection, person)
        finally:
            await connection.close()
        return Recorded(event, index, entry, parts, salts)

    async def _project(self, connection: "asyncpg.Connection[asyncpg.Record]", person: Person) -> None:
        await connection.execute("DELETE FROM consent_state WHERE subject = $1", person.subject)
        await connection.executemany(
            "INSERT INTO consent_state (controller, subject, purpose, legal_basis, decision, rank, event)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            [
                (self.controller, person.subject, d.purpose, d.legal_basis, d.decision, d.rank, d.event)
                for d in latest(person.decided).values()
            ],
        )

    def _append(
        self, kind: str, committed: str, notice: str | None = None, erased: Mapping[str, int] | None = None
    ) -> bytes:
        entry = entry_bytes(
            log=self.origin,
            index=len(self.entries),
            prev=oracle.leaf(self.entries[-1]).hex() if self.entries else NO_PREVIOUS,
            ref=os.urandom(16).hex(),
            entry_class=kind,
            recorded_at=RECORDED_AT,
            commitment=committed,
            notice=notice,
            erased=erased,
        )
        self.entries.append(entry)
        return entry

    async def fill(self, count: int) -> None:
        """Append records that nobody asks about, to make the tree larger."""
        first = len(self.entries)
        rows = [
            (self.controller, self.log, first + n, self._append("consent", os.urandom(32).hex())) for n in range(count)
        ]
        connection = await self.world.connect()
        try:
            await connection.copy_records_to_table(
                "records", columns=("controller", "log", "index", "entry"), records=rows
            )
        finally:
            await connection.close()

    async def publish(self, *, sign: bool = True) -> str | None:
        """Write the tiles of everything appended and sign a checkpoint over it; without `sign` only the tiles."""
        leaves = [oracle.leaf(entry) for entry in self.entries]
        size, root = len(leaves), oracle.mth(leaves)
        connection = await self.world.connect()
        try:
            await connection.executemany(
                "INSERT INTO tiles (controller, log, level, tile, hashes) VALUES ($1, $2, $3, $4, $5)"
                " ON CONFLICT (controller, log, level, tile) DO UPDATE SET hashes = excluded.hashes"
                " WHERE tiles.hashes <> excluded.hashes",
                [
                    (self.controller, self.log, level, n, b"".join(hashes[n * 256 : n * 256 + 256]))
                    for level, hashes in enumerate(_levels(leaves))
                    for n in range(-(-len(hashes) // 256))
                ],
            )
            note = signed_checkpoint(Checkpoint(self.origin, size, root), self.signing_key) if sign else None
            await connection.execute(
                "UPDATE log_heads SET size = $3, root = $4, signed_size = coalesce($5, signed_size),"
                " published_size = coalesce($5, published_size)"
                " WHERE controller = $1 AND log = $2",
                self.controller,
                self.log,
                size,
                root,
                size if sign else None,
            )
            if note is not None:
                await connection.execute(
                    "INSERT INTO checkpoints (controller, log, size, root, note) VALUES ($1, $2, $3, $4, $5)",
                    self.controller,
                    self.log,
                    size,
                    root,
                    note,
                )
        finally:
            await connection.close()
        return note


def _levels(leaves: list[bytes]) -> list[list[bytes]]:
    """Hashes of each level of tiles: a level's hash is the root of 256 of the level below (tlog-tiles)."""
    levels = [leaves]
    while len(levels[-1]) >= 256:
        below = levels[-1]
        levels.append([oracle.mth(below[n * 256 : n * 256 + 256]) for n in range(len(below) // 256)])
    return levels if leaves else []


def controller_details(**changes: Any) -> dict[str, Any]:
    """A description of a controller that leaves no receipt incomplete; `changes` replace members, None removes one."""
    details: dict[str, Any] = {
        "v": 1,
        "party_id": "RCS Lille 000 000 000",
        "name": "Boutique SARL",
        "party_type": "dpv:ForProfitOrganisation",
        "address": {"street": "1 rue du Port", "postal_code": "59000", "locality": "Lille", "country": "FR"},
        "contact": "dpo@shop.example",
        "email": "dpo@shop.example",
        "phone": "+33 3 00 00 00 00",
        "url": "https://shop.example",
        "policy_url": "https://shop.example/privacy",
        "jurisdiction": "FR",
        "authority": {"name": "CNIL", "url": "https://www.cnil.fr"},
        "privacy_rights": ["access", "erasure"],
        "storage_locations": ["Lille, FR"],
        "retention": "until consent is withdrawn",
        "purposes": {
            purpose: {"purpose_type": "dpv:CustomerCare", "personal_data": [{"type": "Messages"}]}
            for purpose in ("chat-history", "chat-proactive")
        },
    }
    return {name: value for name, value in (details | changes).items() if value is not None}


def notice_content(**changes: Any) -> dict[str, Any]:
    """A valid notice in French; `changes` replace members."""
    content: dict[str, Any] = {
        "v": 1,
        "notice_id": "chat",
        "version": "1",
        "language": "fr",
        "title": "Discussion en direct",
        "text": "Acceptez-vous que nous gardions vos discussions ?",
        "controller": {"name": "Boutique SARL", "contact": "dpo@shop.example"},
        "purposes": [
            {
                "purpose": "chat-history",
                "title": "Historique",
                "description": "Garder vos discussions.",
                "legal_basis": "consent",
                "services": ["chatra"],
                "valid_days": 180,
            }
        ],
        "withdrawal": "À tout moment, dans les réglages.",
    }
    return content | changes
