"""A database superuser changes one thing; fsck says which table and where. Every test ends with the damage undone.

The log is recorded once by a real ledger. Damage is done as the superuser with triggers and foreign keys off, which is
what an intruder with the database, but without the keys and the high-water mark, can do.
"""

import random
import re
from collections.abc import AsyncIterator, Collection, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.canonical import canonical_json
from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.merkle import HASH_BYTES, leaf_hash, root_of
from schemas.note import log_key
from schemas.record import read_entry
from services.ledger.fsck.check import check
from services.ledger.fsck.findings import Report
from services.ledger.settings import LedgerSettings
from services.ledger.tree import TreeEdge
from tests.fault.damages import BLOG, DAMAGES, SHOP, Damage
from tests.fault.outside import add_outside
from tests.support.databases import SchemaTemplate, drop_database
from tests.support.sample_log import SampleLog

pytestmark = pytest.mark.fault

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection
TABLES = (
    "deployment",
    "logs",
    "log_keys",
    "cosignatures",
    "timestamps",
    "timestamp_wishes",
    "erasures",
    "erased_parts",
    "tombstones",
    "dockets",
    "minimal_proofs",
    "notices",
    "notice_matches",
    "log_heads",
    "records",
    "tiles",
    "checkpoints",
    "subjects",
    "identifiers",
    "payloads",
    "dedupe",
    "consent_state",
)
OF_A_LOG = {
    "records",
    "tiles",
    "payloads",
    "dedupe",
    "checkpoints",
    "log_heads",
    "logs",
    "log_keys",
    "timestamp_wishes",
}
OF_BLOG = {"cosignatures", "timestamps", "minimal_proofs", "erased_parts"}
ORIGIN = "log.example/logs/shop"


class Damaged:
    """The recorded database, a superuser's connection to damage it, and a copy of every row to undo that."""

    def __init__(self, sample: SampleLog, settings: LedgerSettings, connection: Connection) -> None:
        self.settings = settings
        self.sql = connection

    async def prepare(self) -> None:
        await self.sql.execute("SET session_replication_role = replica")
        # The database refuses a notice that is not what it is named after; an intruder drops the constraint.
        await self.sql.execute("ALTER TABLE notices DROP CONSTRAINT notices_check")
        await self.sql.execute("CREATE SCHEMA spare")
        for table in TABLES:
            await self.sql.execute(f"CREATE TABLE spare.{table} AS TABLE public.{table}")

    async def undo(self, tables: Collection[str] = TABLES) -> None:
        async with self.sql.transaction():
            for table in tables:
                await self.sql.execute(f"DELETE FROM public.{table}")
                await self.sql.execute(
                    f"INSERT INTO public.{table} OVERRIDING SYSTEM VALUE SELECT * FROM spare.{table}"
                )

    async def write_tree(self, leaves: list[bytes]) -> bytes:
        """Make tiles and head fit `leaves`; return the root."""
        appended = TreeEdge.empty().append(leaves)
        for (level, tile), hashes in appended.tiles.items():
            await self.sql.execute(
                f"UPDATE tiles SET hashes = $1 WHERE {SHOP} AND (level, tile) = ($2, $3)", hashes, level, tile
            )
        await self.sql.execute(f"UPDATE log_heads SET root = $1, prev = $2 WHERE {SHOP}", appended.root, leaves[-1])
        return appended.root

    async def check(self) -> Report:
        return await check(self.settings, progress=lambda *_: None)


@pytest.fixture(scope="module")
async def recorded(schema_template: SchemaTemplate, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Damaged]:
    database = schema_template.clone()
    folder = tmp_path_factory.mktemp("tampering")
    sample = SampleLog(database, folder)
    await sample.record()
    settings = await add_outside(sample, folder)
    connection = await sample.deployment.connect()
    damaged = Damaged(sample, sample.deployment.settings(**settings), connection)
    await damaged.prepare()
    yield damaged
    await connection.close()
    drop_database(database)


@pytest.fixture
async def damaged(recorded: Damaged, request: pytest.FixtureRequest) -> AsyncIterator[Damaged]:
    """Undamaged at first, and again for the next test."""
    yield recorded
    call = getattr(request.node, "callspec", None)
    damage = None if call is None else call.params.get("damage")
    # Putting every row back takes longer than finding what is wrong.
    tables = [table for table in TABLES if damage is None or re.search(rf"\b{table}\b", damage.statement)]
    await recorded.undo(tables)


async def test_the_undamaged_log_is_clean(damaged: Damaged) -> None:
    report = await damaged.check()
    assert report.findings == []
    assert (report.logs, report.records) == (2, 607)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
async def test_one_change_is_found_where_it_was_made(damaged: Damaged, damage: Damage) -> None:
    """And nowhere else: what was not changed is not accused."""
    log = "blog" if BLOG in damage.statement or damage.table in OF_BLOG else "shop"
    status = await damaged.sql.execute(damage.statement)
    assert not status.endswith(" 0"), "the statement changed nothing"
    where = await damaged.sql.fetchval(damage.where) if damage.where.startswith("SELECT") else damage.where
    findings = (await damaged.check()).findings
    assert (damage.table, where) in {(finding.table, finding.where) for finding in findings}, findings
    assert {finding.table for finding in findings} <= {damage.table} | damage.also, findings
    if damage.table in OF_A_LOG | OF_BLOG and not where.startswith("erasure"):
        assert log in {f.log for f in findings if (f.table, f.where) == (damage.table, where)}


async def rechain(damaged: Damaged, index: int) -> tuple[int, bytes]:
    """Change entry `index` and rewrite everything behind it that a superuser can; return the new size and root."""
    rows = await damaged.sql.fetch(f"SELECT index, entry FROM records WHERE {SHOP} ORDER BY index")
    entries = [read_entry(row["entry"]) for row in rows]
    entries[index]["commitment"] = "00" * HASH_BYTES
    leaves: list[bytes] = []
    for number, entry in enumerate(entries):
        if number > index:
            entry["prev"] = leaves[-1].hex()
        raw = canonical_json(entry)
        leaves.append(leaf_hash(raw))
        await damaged.sql.execute(f"UPDATE records SET entry = $1 WHERE {SHOP} AND index = $2", raw, number)
    return len(leaves), await damaged.write_tree(leaves)


async def test_a_whole_log_chained_again_does_not_make_the_signed_roots(damaged: Damaged) -> None:
    await rechain(damaged, 300)
    rows = await damaged.sql.fetch(f"SELECT size FROM checkpoints WHERE {SHOP} ORDER BY size")
    last_good = max(row["size"] for row in rows if row["size"] <= 300)
    broken = [f"size {row['size']}" for row in rows if row["size"] > 300]
    findings = (await damaged.check()).findings
    assert {finding.table for finding in findings} == {"payloads", "checkpoints", "high_water"}
    signed = [finding for finding in findings if finding.table == "checkpoints"]
    assert [finding.where for finding in signed] == broken
    assert f"still at size {last_good}" in signed[0].what
    assert [f.where for f in findings if f.table == "high_water"] == ["size 582"]


async def test_an_entry_changed_with_its_tiles_and_the_root_breaks_the_chain_behind_it(damaged: Damaged) -> None:
    """Everything but the entries behind it was made to fit."""
    rows = await damaged.sql.fetch(f"SELECT entry FROM records WHERE {SHOP} ORDER BY index")
    leaves = [leaf_hash(row["entry"]) for row in rows]
    raw = rows[300]["entry"].replace(b'"ref":"', b'"ref":"0')[:-9] + b'","v":1}'
    leaves[300] = leaf_hash(raw)
    await damaged.sql.execute(f"UPDATE records SET entry = $1 WHERE {SHOP} AND index = 300", raw)
    await damaged.write_tree(leaves)
    findings = (await damaged.check()).findings
    assert [f.where for f in findings if f.table == "records"] == ["index 301"]
    assert {f.table for f in findings} == {"records", "checkpoints", "high_water"}


async def test_a_whole_log_signed_again_under_another_key_is_found_outside_the_database(damaged: Damaged) -> None:
    size, root = await rechain(damaged, 300)
    own = Ed25519PrivateKey.generate()
    await damaged.sql.execute("UPDATE logs SET vkey = $1 WHERE name = 'shop'", str(log_key(ORIGIN, own)))
    await damaged.sql.execute(f"UPDATE log_keys SET vkey = $1 WHERE {SHOP}", str(log_key(ORIGIN, own)))
    await damaged.sql.execute(f"DELETE FROM checkpoints WHERE {SHOP} AND size > 0 AND size < {size}")
    for at, made in ((0, TreeEdge.empty().root()), (size, root)):
        note = signed_checkpoint(Checkpoint(ORIGIN, at, made), own)
        await damaged.sql.execute(
            f"UPDATE checkpoints SET root = $1, note = $2 WHERE {SHOP} AND size = $3", made, note, at
        )
    findings = (await damaged.check()).findings
    assert {(f.table, f.where) for f in findings} == {
        ("logs", "vkey"),
        ("log_keys", "number 1"),
        ("high_water", "size 582"),
        ("payloads", "index 300"),
    }


async def test_a_log_cut_short_in_every_table_is_found_outside_the_database(damaged: Damaged) -> None:
    """The last checkpoint and everything after the one before it are gone, as from an older copy."""
    for statement in (
        f"DELETE FROM records WHERE {SHOP} AND index >= 520",
        f"DELETE FROM payloads WHERE {SHOP} AND index >= 520",
        f"DELETE FROM dedupe WHERE {SHOP} AND index >= 520",
        f"DELETE FROM checkpoints WHERE {SHOP} AND size > 520",
        f"UPDATE tiles SET hashes = substr(hashes, 1, 256) WHERE {SHOP} AND (level, tile) = (0, 2)",
    ):
        await damaged.sql.execute(statement)
    rows = await damaged.sql.fetch(f"SELECT entry FROM records WHERE {SHOP} ORDER BY index")
    leaves = [leaf_hash(row["entry"]) for row in rows]
    await damaged.sql.execute(
        "UPDATE log_heads SET size = 520, root = $1, prev = $2,"
        f" signed_size = (SELECT max(size) FROM checkpoints WHERE {SHOP}),"
        f" published_size = (SELECT max(size) FROM checkpoints WHERE {SHOP}) WHERE {SHOP}",
        root_of(leaves),
        leaves[-1],
    )
    findings = (await damaged.check()).findings
    assert ("high_water", "size 582") in {(f.table, f.where) for f in findings}
    assert {f.table for f in findings} <= {"high_water", "consent_state", "identifiers"}


# (table, column) of everything whose every bit is bound by something; what names a row is in KEYS.
FLIPPED = (
    ("records", "entry"),
    ("tiles", "hashes"),
    ("checkpoints", "note"),
    ("checkpoints", "root"),
    ("payloads", "who"),
    ("payloads", "what"),
    ("payloads", "context"),
    ("payloads", "nonce"),
    ("payloads", "subject"),
    ("subjects", "wrapped_key"),
    ("dedupe", "event"),
    ("notices", "notice"),
    ("notices", "content"),
    ("identifiers", "identifier"),
    ("consent_state", "event"),
    ("consent_state", "rank"),
    ("log_heads", "root"),
    ("log_heads", "prev"),
    ("logs", "vkey"),
    ("log_keys", "vkey"),
    ("log_keys", "statement"),
    ("cosignatures", "line"),
    ("timestamps", "nonce"),
    ("timestamps", "gen_time"),
    ("minimal_proofs", "what"),
    ("minimal_proofs", "who_digest"),
    ("erasures", "event"),
    ("dockets", "sealed"),
)
KEYS = {"records": "index", "payloads": "index", "dedupe": "index", "checkpoints": "size", "subjects": "subject"}


def flipped(value: Any, source: random.Random) -> Any:
    """`value` with one byte, or the least that its type has, changed."""
    if isinstance(value, bytes):
        at = source.randrange(len(value))
        return value[:at] + bytes([value[at] ^ 1 << source.randrange(8)]) + value[at + 1 :]
    if isinstance(value, str):
        at = source.randrange(len(value))
        return value[:at] + source.choice([c for c in "aZ09+/ \n" if c != value[at]]) + value[at + 1 :]
    if isinstance(value, datetime):
        return value + timedelta(microseconds=source.choice([-1, 1]))
    return UUID(int=value.int ^ 1 << source.randrange(128))


def flips(seed: int, count: int) -> Iterator[tuple[str, str, random.Random]]:
    source = random.Random(seed)
    for number in range(count):
        table, column = FLIPPED[(seed + number) % len(FLIPPED)]
        yield table, column, source


@pytest.mark.parametrize("seed", range(10))
async def test_twenty_random_flips_are_found(damaged: Damaged, seed: int) -> None:
    await find_twenty_flips(damaged, seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(10, 50))
async def test_eight_hundred_more_flips_are_found(damaged: Damaged, seed: int) -> None:
    await find_twenty_flips(damaged, seed)


async def find_twenty_flips(damaged: Damaged, seed: int) -> None:
    for table, column, source in flips(seed, count=20):
        # Nothing tells the name of an erased event any more.
        only = "content" if table == "dedupe" else column
        places = await damaged.sql.fetch(f"SELECT ctid FROM {table} WHERE {only} IS NOT NULL ORDER BY ctid")
        row = await damaged.sql.fetchrow(f"SELECT ctid, * FROM {table} WHERE ctid = $1", source.choice(places)["ctid"])
        assert row is not None
        value = flipped(row[column], source)
        place = await damaged.sql.fetchval(
            f"UPDATE {table} SET {column} = $1 WHERE ctid = $2 RETURNING ctid", value, row["ctid"]
        )
        findings = (await damaged.check()).findings
        named = {f.where.partition(",")[0] for f in findings if f.table == table}
        assert named, f"{table}.{column} of {dict(row)} became {value!r}"
        if table in KEYS:
            assert f"{KEYS[table]} {row[KEYS[table]]}" in named, (table, column, dict(row), findings)
        await damaged.sql.execute(f"UPDATE {table} SET {column} = $1 WHERE ctid = $2", row[column], place)
    assert (await damaged.check()).clean
