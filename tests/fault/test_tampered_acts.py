"""A database superuser changes what acts left behind, or what an erasure must not leave; fsck names table and place.

One house with one of everything, recorded by a real ledger. Every test ends with the damage undone.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import pytest

from services.ledger.fsck.check import check
from services.ledger.fsck.findings import Report
from services.ledger.rebuild import rebuild
from tests.support.acts import PROJECTED, record_one_of_each
from tests.support.databases import SchemaTemplate, drop_database
from tests.support.deployment import Deployment

pytestmark = pytest.mark.fault

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection
TABLES = (*PROJECTED, "triggers", "erasure_asks", "payloads", "dedupe")
# Whoever was erased, a request of theirs, and one of somebody who is there.
_ERASED = "(SELECT subject FROM spare.erasures)"
_THEIRS = "request = (SELECT request FROM spare.requests WHERE docket IS NOT NULL)"
_OPEN = "request = (SELECT request FROM spare.requests WHERE docket IS NULL)"
_NOBODY = "'00000000-0000-4000-8000-000000000007'::uuid"
_WHOM = f"SELECT 'subject ' || {_ERASED}"
_REQUEST = "SELECT 'request ' || request FROM spare.requests WHERE docket IS NULL"
_STEP_1 = "SELECT 'request ' || request || ', step 1' FROM spare.requests WHERE docket IS NULL"
_ON_ONE = "subject IS NOT NULL"
_HOLD = f"SELECT 'hold ' || hold FROM spare.holds WHERE {_ON_ONE}"
_HELD = "SELECT 'event ' || encode(event, 'hex') FROM spare.held_erasures"
_RESTRICTED = "SELECT 'subject ' || subject FROM spare.restrictions"
_LEFT = "SELECT 'subject ' || subject FROM spare.account_deletions"
_YOUNG = "SELECT 'subject ' || subject FROM spare.ages WHERE NOT is_over"
_ANSWERED = "SELECT 'trigger ' || trigger FROM spare.triggers WHERE answered_at IS NOT NULL"
_X16 = "substr(sha256('x'), 1, 16)"


class Damage(NamedTuple):
    """One change, the table and place that must be named, a piece of what is said; `also`: tables that show it too."""

    statement: str
    table: str
    where: str
    what: str
    also: frozenset[str] = frozenset()


def _copy(table: str, **changes: str) -> str:
    """One more row like the ones there, with these members changed."""
    values = ", ".join(f"'{name}', {value}" for name, value in changes.items())
    return (
        f"INSERT INTO {table} SELECT n.* FROM (SELECT to_jsonb(o) || jsonb_build_object({values}) AS row"
        f" FROM {table} o LIMIT 1) c, jsonb_populate_record(NULL::{table}, c.row) n"
    )


REBUILD = "sayso rebuild projects it anew"
DAMAGES = {
    # A projection is not what its records say.
    "request-moved": Damage(
        f"UPDATE requests SET due_on = due_on + 30 WHERE {_OPEN}",
        "requests",
        _REQUEST,
        f"not what the records say; {REBUILD}",
    ),
    "request-gone": Damage(
        f"DELETE FROM requests WHERE {_OPEN}", "requests", _REQUEST, "has no row", frozenset({"request_steps"})
    ),
    "request-invented": Damage(
        _copy("requests", request=_NOBODY, docket="NULL::bigint"),
        "requests",
        f"SELECT 'request ' || {_NOBODY}",
        "no record says",
    ),
    "request-closed": Damage(
        f"UPDATE requests SET state = 'answered', closed_at = now() WHERE {_OPEN}",
        "requests",
        _REQUEST,
        "not what the records",
    ),
    "step-gone": Damage(f"DELETE FROM request_steps WHERE {_OPEN} AND nth = 1", "request_steps", _STEP_1, "has no row"),
    "step-moved": Damage(
        f"UPDATE request_steps SET at = at - interval '9 days' WHERE {_OPEN} AND nth = 1",
        "request_steps",
        _STEP_1,
        "not what the",
    ),
    "step-elsewhere": Damage(
        f"UPDATE request_steps SET index = index + 1 WHERE {_THEIRS}",
        "request_steps",
        f"SELECT 'request ' || request || ', step 0' FROM spare.requests WHERE {_THEIRS}",
        "not at the place",
    ),
    "step-of-no-request": Damage(
        f"DELETE FROM requests WHERE {_THEIRS}",
        "request_steps",
        f"SELECT 'request ' || request || ', step 0' FROM spare.requests WHERE {_THEIRS}",
        "no such request",
    ),
    "hold-gone": Damage(f"DELETE FROM holds WHERE {_ON_ONE}", "holds", _HOLD, "has no row"),
    "hold-released": Damage(
        f"UPDATE holds SET released_at = now() WHERE {_ON_ONE}", "holds", _HOLD, "not what the records say"
    ),
    "hold-of-everybody-over": Damage(
        "UPDATE holds SET expires_at = now() WHERE subject IS NULL",
        "holds",
        "SELECT 'hold ' || hold FROM spare.holds WHERE subject IS NULL",
        "not what the records say",
    ),
    "hold-by-no-event": Damage(
        _copy("holds", hold=_NOBODY, event=f"'\\x' || encode({_X16}, 'hex')"),
        "holds",
        f"SELECT 'hold ' || {_NOBODY}",
        "no record",
    ),
    "held-erasure-gone": Damage("DELETE FROM held_erasures", "held_erasures", _HELD, "has no row"),
    "restriction-lifted": Damage(
        "UPDATE restrictions SET lifted_at = now()", "restrictions", _RESTRICTED, "not what the records"
    ),
    "restriction-gone": Damage("DELETE FROM restrictions", "restrictions", _RESTRICTED, "has no row"),
    "account-restored": Damage(
        "UPDATE account_deletions SET restored_at = now()", "account_deletions", _LEFT, "not what the records say"
    ),
    "account-gone": Damage("DELETE FROM account_deletions", "account_deletions", _LEFT, "has no row"),
    "age-turned": Damage(
        "UPDATE ages SET is_over = true WHERE NOT is_over", "ages", _YOUNG, "not what the records say"
    ),
    "age-gone": Damage("DELETE FROM ages WHERE NOT is_over", "ages", _YOUNG, "not what the records say"),
    # What an erasure must not leave.
    **{
        f"erased-in-{table}": Damage(_copy(table, subject=_ERASED, **changes), table, _WHOM, "has erased this subject")
        for table, changes in {
            "account_deletions": {},
            "ages": {},
            "holds": {"hold": _NOBODY},
            "requests": {"request": _NOBODY},
            "restrictions": {},
            "triggers": {"trigger": _NOBODY, "cause": "'x'", "docket": "NULL::bigint"},
        }.items()
    },
    **{
        f"nobody-in-{table}": Damage(
            _copy(table, subject=_NOBODY, **changes),
            table,
            f"SELECT 'subject ' || {_NOBODY}",
            "does not exist",
            frozenset({table}),
        )
        for table, changes in {
            "account_deletions": {},
            "ages": {},
            "erasure_asks": {"ask": _NOBODY},
            "holds": {"hold": _NOBODY},
            "requests": {"request": _NOBODY},
            "restrictions": {},
            "triggers": {"trigger": _NOBODY, "cause": "'x'", "docket": "NULL::bigint"},
        }.items()
    },
    "request-of-no-erasure": Damage(
        f"UPDATE requests SET docket = 7 WHERE {_THEIRS}", "requests", "SELECT 'erasure 7'", "no erasure of this number"
    ),
    "trigger-of-no-erasure": Damage(
        "UPDATE triggers SET docket = 7 WHERE docket IS NOT NULL",
        "triggers",
        "SELECT 'erasure 7'",
        "no erasure of this number",
    ),
    # What finds a person goes with the answer, and a docket with the last one.
    "answered-and-sealed": Damage(
        "UPDATE triggers SET sealed = 'x' WHERE answered_at IS NOT NULL",
        "triggers",
        _ANSWERED,
        "found the person by is still there",
    ),
    "open-behind-a-closed-docket": Damage(
        "UPDATE triggers SET answered_at = NULL, outcome = NULL WHERE docket IS NOT NULL",
        "triggers",
        _ANSWERED,
        "docket is closed",
    ),
}


# What is done together, because each is seen somewhere else; one run of fsck each.
ROUNDS = {
    "changed": (
        "request-moved",
        "step-moved",
        "hold-released",
        "restriction-lifted",
        "account-restored",
        "age-turned",
        "answered-and-sealed",
    ),
    "gone": (
        "step-gone",
        "hold-gone",
        "held-erasure-gone",
        "restriction-gone",
        "account-gone",
        "age-gone",
        "open-behind-a-closed-docket",
    ),
    "a-request-gone": ("request-gone",),
    "an-erased-ones-request-gone": ("step-of-no-request",),
    "invented": ("request-invented", "hold-by-no-event", "step-elsewhere"),
    "turned": ("request-closed", "hold-of-everybody-over", "trigger-of-no-erasure"),
    "of-no-erasure": ("request-of-no-erasure",),
    "of-the-erased": tuple(name for name in DAMAGES if name.startswith("erased-in-")),
    "of-nobody": tuple(name for name in DAMAGES if name.startswith("nobody-in-")),
}


class House:
    """The recorded house, a superuser's connection to damage it, and a copy of every row to undo that."""

    def __init__(self, deployment: Deployment, connection: Connection) -> None:
        self.deployment = deployment
        self.sql = connection

    async def prepare(self) -> None:
        await self.sql.execute("SET session_replication_role = replica")
        # So that there is one row to copy.
        await self.sql.execute(
            "INSERT INTO erasure_asks (controller, ask, subject, asked_at)"
            " SELECT controller, gen_random_uuid(), subject, now() FROM account_deletions"
        )
        await self.sql.execute("CREATE SCHEMA spare")
        for table in (*TABLES, "erasures"):
            await self.sql.execute(f"CREATE TABLE spare.{table} AS TABLE public.{table}")

    async def undo(self) -> None:
        async with self.sql.transaction():
            for table in TABLES:
                await self.sql.execute(f"DELETE FROM public.{table}")
                await self.sql.execute(f"INSERT INTO public.{table} SELECT * FROM spare.{table}")

    async def check(self) -> Report:
        return await check(self.deployment.settings(), progress=lambda *_: None)


@pytest.fixture(scope="module")
async def recorded(schema_template: SchemaTemplate, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    database = schema_template.clone()
    deployment = Deployment(database, tmp_path_factory.mktemp("acts"))
    await deployment.create()
    await record_one_of_each(deployment)
    connection = await deployment.connect()
    house = House(deployment, connection)
    await house.prepare()
    yield house
    await connection.close()
    drop_database(database)


@pytest.fixture
async def house(recorded: House) -> AsyncIterator[House]:
    """Undamaged at first, and again for the next test."""
    yield recorded
    await recorded.undo()


async def test_a_house_with_one_of_everything_is_clean(house: House) -> None:
    for table in TABLES:
        assert await house.sql.fetchval(f"SELECT count(*) FROM {table}"), table
    assert await house.sql.fetchval("SELECT outcome FROM dockets") == "answered"
    assert (await house.check()).findings == []


@pytest.mark.parametrize("damages", ROUNDS.values(), ids=ROUNDS)
async def test_each_change_is_found_where_it_was_made(house: House, damages: tuple[str, ...]) -> None:
    """And nowhere else."""
    for name in damages:
        status = await house.sql.execute(DAMAGES[name].statement)
        assert not status.endswith(" 0"), f"{name} changed nothing"
    findings = (await house.check()).findings
    for name in damages:
        damage = DAMAGES[name]
        where = await house.sql.fetchval(damage.where)
        assert any((f.table, f.where) == (damage.table, where) and damage.what in f.what for f in findings), (
            name,
            findings,
        )
    tables = {DAMAGES[name].table for name in damages}.union(*(DAMAGES[name].also for name in damages))
    assert {f.table for f in findings} == tables, findings


def test_every_damage_is_done() -> None:
    assert sorted(name for names in ROUNDS.values() for name in names) == sorted(DAMAGES)


async def test_a_record_that_does_not_open_is_one_finding_and_not_what_follows_from_it(house: House) -> None:
    await house.sql.execute("UPDATE payloads SET what = set_byte(what, 0, get_byte(what, 0) # 1)")
    assert {f.table for f in (await house.check()).findings} == {"payloads"}


async def test_after_rebuild_it_is_clean(house: House) -> None:
    for table in PROJECTED:
        kept = {"requests": "docket IS NULL", "request_steps": _OPEN}.get(table, "true")
        await house.sql.execute(f"DELETE FROM {table} WHERE {kept}")
    assert {f.table for f in (await house.check()).findings} == set(PROJECTED)
    await rebuild(house.deployment.settings(), progress=lambda *_: None)
    assert (await house.check()).findings == []
