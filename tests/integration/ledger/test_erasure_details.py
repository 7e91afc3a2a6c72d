"""What an erasure writes down, to the letter: the record itself, minimal proofs, tombstones of replays, dockets."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.payload import open_part, place_of
from schemas.record import read_entry
from services.keys import EPOCH_S, ControllerKeys, identifier_mac, key_epoch
from services.keys.file_provider import FileProvider
from services.ledger.acting import acting
from services.ledger.erasure import controller as controller_erasure
from services.ledger.erasure.housekeeping import House, keep_house
from services.ledger.fsck.check import check
from services.ledger.subjects import unwrap
from services.ledger.successor import succeed
from services.suppression import IN_FLIGHT, DatabaseNotReplayed, Suppression
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.wait import until

pytestmark = pytest.mark.integration

RULES = (
    "INSERT INTO minimal_proof_rules (controller, purpose, ground, keep_days)"
    " VALUES ($1, 'chat-history', '17(3)(e)', 100), ($1, 'chat-proactive', '17(3)(b)', 400) RETURNING 1"
)
NOW = datetime.now(UTC)


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


def keys_of(deployment: Deployment) -> ControllerKeys:
    return ControllerKeys(deployment.keys / "controllers", FileProvider(deployment.keys / "root.key"))


def name_of(deployment: Deployment, value: str) -> bytes:
    return identifier_mac(keys_of(deployment).identifier_key("shop"), "cookie", value)


def line(deployment: Deployment, subject: UUID, *, at: datetime, names: tuple[bytes, ...] = ()) -> None:
    """A line whose erasure this database lacks."""
    Suppression(deployment.settings().suppression_dir).append(
        controller="shop", subject=subject, identifiers=names, erased_at=at, event=None, ground="17(1)(a)", after=0
    )


async def erase(deployment: Deployment, value: str) -> str:
    """Erase by a message; the time in it."""
    subject = await deployment.subject_of(value)
    assert subject is not None
    before = await deployment.size()
    asked_at = datetime.now(UTC)
    await deployment.publish([deployment.seal_erasure(subject)])
    await deployment.recorded(before + 1)
    return asked_at.strftime("%Y-%m-%dT%H:%M")


async def record_of_ledger(deployment: Deployment, index: int, log: str = "shop") -> dict[str, Any]:
    """The `what` of a record that the ledger made."""
    (row,) = await deployment.fetch(
        "SELECT p.*, s.wrapped_key, s.key_epoch, l.origin FROM payloads p JOIN subjects s USING (controller, subject)"
        " JOIN logs l ON l.log = p.log WHERE p.index = $1 AND s.log = p.log AND l.name = $2",
        index,
        log,
    )
    cipher = AESGCM(unwrap(keys_of(deployment), "shop", row))
    _, part = open_part(cipher, row["nonce"], "what", place_of(row["origin"], index), row["what"])
    what: dict[str, Any] = orjson.loads(part)
    return what


async def fits(deployment: Deployment) -> None:
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings


async def test_the_record_says_number_ground_and_when_it_was_asked_and_nothing_of_the_person(
    deployment: Deployment,
) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        await deployment.recorded(1)
        minute = await erase(deployment, "gone")
    what = await record_of_ledger(deployment, 1)
    asked_at = what["erasure"].pop("asked_at")
    assert asked_at.startswith(minute[:13])
    assert what["erasure"] == {"number": 1, "scope": "subject", "ground": "17(1)(b)"}
    assert set(what) == {"v", "id", "site", "type", "time", "received_at", "posted_by", "words", "erasure"}


async def test_every_log_states_its_counts_in_the_transaction_that_deletes(deployment: Deployment) -> None:
    connection = await deployment.connect()
    await deployment.add_log(connection, "blog", "blog.example")
    await connection.close()
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        blog = consent_event(2, subject="gone", source="/sites/blog.example")
        await deployment.publish([deployment.seal(blog, log="blog")])
        await deployment.recorded(1)
        await deployment.recorded(1, log="blog")
        await erase(deployment, "gone")
        await deployment.recorded(2, log="blog")
    rows = await deployment.fetch(
        "SELECT e.xmin = p.xmin AS together FROM erasures e JOIN erased_parts p USING (controller, number)"
    )
    assert [row["together"] for row in rows] == [True, True]


async def test_the_log_that_was_asked_answers_even_if_it_held_nothing(deployment: Deployment) -> None:
    connection = await deployment.connect()
    await deployment.add_log(connection, "blog", "blog.example")
    await connection.close()
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        await deployment.recorded(1)
        members = {"erasure": {"subject": str(await deployment.subject_of("gone")), "ground": "17(1)(d)"}}
        ask = deployment.seal_asked("subject.erased", members, log="blog", site="blog.example")
        await deployment.publish([ask])
        await deployment.recorded(1, log="blog")
        await deployment.recorded(2)
    answer, statement = await record_of_ledger(deployment, 0, "blog"), await record_of_ledger(deployment, 1)
    assert (answer["id"], answer["erasure"]["ground"]) == (ask.event_id, "17(1)(d)")
    assert statement["id"] != ask.event_id
    assert "asked_at" not in statement["erasure"]
    rows = await deployment.fetch("SELECT entry FROM records JOIN logs USING (controller, log) ORDER BY name, index")
    assert [read_entry(row["entry"]).get("erased") for row in rows] == [
        {"who": 0, "what": 0, "context": 0},
        None,
        {"who": 1, "what": 1, "context": 1},
    ]
    await fits(deployment)


async def test_a_successor_names_the_log_whose_counts_it_states(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish([deployment.seal(consent_event(1, subject="gone"))])
        await deployment.recorded(1)
    async with acting(deployment.settings(), appends=False) as ledger, ledger.pool.acquire() as connection:
        await succeed(connection, ledger.high_water, "shop", "shop-2", "log.example/logs/shop-2", None)
    async with deployment.ledger():
        await deployment.recorded(1, log="shop-2")
        subject = await deployment.subject_of("gone")
        assert subject is not None
        ask = deployment.seal_erasure(subject)
        await deployment.publish([ask])
        await deployment.recorded(3, log="shop-2")
    what = [await record_of_ledger(deployment, index, "shop-2") for index in (1, 2)]
    assert what[0]["erasure"] == {
        "number": 1,
        "scope": "subject",
        "ground": "17(1)(b)",
        "log": "log.example/logs/shop",
    }
    # The answer to the ask is a record of its own: the log that was asked lost nothing.
    assert what[1]["id"] == ask.event_id
    await fits(deployment)


async def test_of_two_rules_the_longer_is_kept_under_the_strongest_identifier(deployment: Deployment) -> None:
    await deployment.fetch(RULES, deployment.controller)
    event = consent_event(1)
    event["data"]["subject"]["identifiers"] = [
        {"type": "cookie", "value": "v-1"},
        {"type": "account", "value": "acc-1"},
    ]
    async with deployment.ledger():
        await deployment.publish([deployment.seal(event)])
        await deployment.recorded(1)
        subject = await deployment.subject_of("acc-1", "account")
        assert subject is not None
        await deployment.publish([deployment.seal_erasure(subject)])
        await deployment.recorded(2)
    (proof,) = await deployment.fetch(
        "SELECT p.*, e.erased_at FROM minimal_proofs p JOIN erasures e USING (controller, number)"
    )
    assert (proof["ground"], proof["keep_until"] - proof["erased_at"]) == ("17(3)(b)", timedelta(days=400))
    assert proof["identifier"] == identifier_mac(keys_of(deployment).proof_key("shop"), "account", "acc-1")
    await fits(deployment)


async def test_a_line_of_somebody_who_is_not_there_buries_the_names_in_it(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.recorded(0)
    erased_at = NOW - timedelta(minutes=5)
    line(deployment, uuid4(), at=erased_at, names=(name_of(deployment, "gone"),))
    async with deployment.ledger() as ledger:
        # Done and received in the very moment of the erasure: not after it.
        time = erased_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for n, received_at in enumerate((erased_at, erased_at + timedelta(seconds=1))):
            event = consent_event(n, subject="gone", time=time)
            await deployment.publish([deployment.seal(event, received_at=received_at)])
        await until(lambda: ledger.metrics.dropped._value.get() == 2, what="both are dropped")
    assert await deployment.subject_of("gone") is None
    (tombstone,) = await deployment.fetch("SELECT erased_at, expires_at FROM tombstones")
    assert (tombstone["erased_at"], tombstone["expires_at"] - erased_at) == (erased_at, timedelta(days=60))
    assert not await deployment.fetch("SELECT FROM dockets")


async def test_a_tombstone_is_moved_on_and_never_back(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.recorded(0)
    name = name_of(deployment, "gone")
    standing = (NOW - timedelta(days=2), NOW - timedelta(days=4))
    for erased_at in standing:
        line(deployment, uuid4(), at=erased_at, names=(name,))
    async with deployment.ledger():
        await deployment.recorded(0)
    assert [row[0] for row in await deployment.fetch("SELECT erased_at FROM tombstones")] == [standing[0]]
    later = NOW - timedelta(days=1)
    line(deployment, uuid4(), at=later, names=(name,))
    async with deployment.ledger():
        await deployment.recorded(0)
    assert [row[0] for row in await deployment.fetch("SELECT erased_at FROM tombstones")] == [later]


async def test_a_line_is_missed_only_once_its_transaction_cannot_be_on_its_way(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.recorded(0)
    suppression = Suppression(deployment.settings().suppression_dir)
    connection = await deployment.connect()
    try:
        line(deployment, uuid4(), at=datetime.now(UTC) - IN_FLIGHT / 2)
        await suppression.check(connection)
        line(deployment, uuid4(), at=datetime.now(UTC) - 2 * IN_FLIGHT)
        with pytest.raises(DatabaseNotReplayed, match="lacks 1 erasures"):
            await suppression.check(connection)
    finally:
        await connection.close()


async def test_the_key_of_the_present_epoch_stays_however_long_it_wraps_nothing(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.recorded(0)
    epoch = key_epoch(NOW.timestamp()) + 1
    begins = datetime.fromtimestamp(epoch * EPOCH_S, UTC)
    async with acting(deployment.settings()) as ledger:
        ledger.keys.create_wrapping_key("shop", epoch)
        day = timedelta(days=1)
        house = House(ledger.pool, ledger.keys, deployment.event_id_key, ledger.high_water, ledger.suppression, day)
        for days in (1, 4):
            await keep_house(house, begins + days * day)
        assert epoch in ledger.keys.epochs("shop")


async def test_lines_are_kept_as_long_as_a_backup_or_a_key_from_before_them(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.recorded(0)
    # Not the module's: by the time this runs, lines of then would be missed in the database.
    now = datetime.now(UTC)
    for _ in range(2):
        line(deployment, uuid4(), at=now)
    suppression = Suppression(deployment.settings().suppression_dir)
    async with acting(deployment.settings()) as ledger:
        window = timedelta(days=7)
        house = House(ledger.pool, ledger.keys, deployment.event_id_key, ledger.high_water, suppression, window)
        for days, numbers in ((8, [1, 2]), (36, [1, 2]), (38, [2])):
            await keep_house(house, now + timedelta(days=days))
            assert [known.number for known in suppression.read()] == numbers, days


async def test_a_replay_opens_no_docket_whose_time_is_over(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(2))
        await deployment.recorded(2)
    for n, days in ((0, 31), (1, 29)):
        subject = await deployment.subject_of(f"v-{n}")
        assert subject is not None
        line(deployment, subject, at=NOW - timedelta(days=days))
    async with deployment.ledger():
        await deployment.recorded(4)
    assert [row["docket"] for row in await deployment.fetch("SELECT docket FROM dockets")] == [2]
    await fits(deployment)


async def test_an_erased_controller_keeps_no_key_docket_tombstone_or_minimal_proof(deployment: Deployment) -> None:
    await deployment.fetch(RULES, deployment.controller)
    await deployment.add_server_key()
    await deployment.add_access_key("dpo")
    async with deployment.ledger():
        await deployment.publish(deployment.seal(consent_event(n)) for n in range(2))
        await deployment.recorded(2)
        await erase(deployment, "v-1")
    for table in ("dockets", "tombstones", "minimal_proofs"):
        assert await deployment.fetch(f"SELECT FROM {table}"), table
    async with acting(deployment.settings()) as ledger:
        await controller_erasure.erase_controller(
            ledger.pool, ledger.keys, ledger.high_water, ledger.suppression, ledger.eraser, "shop"
        )
    for table in ("tombstones", "minimal_proofs", "payloads", "subjects"):
        assert not await deployment.fetch(f"SELECT FROM {table}"), table
    for table in ("site_keys", "access_keys"):
        assert not await deployment.fetch(f"SELECT FROM {table} WHERE revoked_at IS NULL"), table
    assert not await deployment.fetch("SELECT FROM dockets WHERE sealed IS NOT NULL OR wrapped_key IS NOT NULL")
    async with deployment.ledger():
        await deployment.recorded(4)
    await fits(deployment)
