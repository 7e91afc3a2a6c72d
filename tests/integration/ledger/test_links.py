"""Links between subjects in a running ledger: the same rows in any order of arrival, again by rebuild, and what fsck
says of a damaged one.
"""

import asyncio
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.events import parse_time
from services.keys import event_mac
from services.ledger.fsck.check import check
from services.ledger.rebuild import rebuild
from services.stream.protocol import Message
from tests.support.databases import Database, SchemaTemplate, drop_database
from tests.support.deployment import BASE_TIME, Deployment, consent_event
from tests.support.linking import at_minute, link_event, links

pytestmark = pytest.mark.integration


async def fits(deployment: Deployment) -> None:
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings


def story() -> list[tuple[dict[str, Any], int]]:
    """(event, second at which this copy was received): sign-ins and sign-outs of two people at two devices."""
    told = [
        (link_event(1, "tablet", "ann", minute=1), 100),
        (link_event(1, "tablet", "ann", minute=1), 61),
        (link_event(2, "tablet", "ann", minute=5, state="ended"), 301),
        (link_event(3, "tablet", "bob", minute=6), 361),
        (link_event(4, "phone", "ann", minute=2), 150),
        # Its clock is ahead, and the copy that was received first ranks.
        (link_event(5, "phone", "ann", minute=59, state="ended"), 500),
        (link_event(5, "phone", "ann", minute=59, state="ended"), 400),
        (consent_event(6, subject="tablet", time=at_minute(3)), 200),
        (consent_event(7, subject="phone", time=at_minute(3)), 200),
    ]
    both = link_event(8, "tablet", "ann", minute=7)
    both["data"]["subject"]["identifiers"] += [{"type": "email", "value": "ann@shop.example"}]
    return [*told, (both, 430)]


async def rows_after(
    template: SchemaTemplate, directory: Path, order: list[tuple[dict[str, Any], int]], group: int
) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    database = await asyncio.to_thread(template.clone)
    try:
        deployment = Deployment(database, directory, keys=directory.parent / "keys")
        await deployment.create()
        async with deployment.ledger(batch_events_max=group):
            for first in range(0, len(order), group):
                await deployment.publish(
                    deployment.seal(event, received_at=BASE_TIME + timedelta(seconds=seconds))
                    for event, seconds in order[first : first + group]
                )
            await deployment.recorded(8)
            await deployment.drained()
        found = await links(deployment), await deployment.state()
        await fits(deployment)
        return found
    finally:
        await asyncio.to_thread(drop_database, database)


async def test_the_links_are_the_same_in_any_order_of_arrival(schema_template: SchemaTemplate, tmp_path: Path) -> None:
    arrived = story()
    expected = await rows_after(schema_template, tmp_path / "a", arrived, 50)
    rows, _ = expected
    assert {(row[0], row[1], row[3], row[4]) for row in rows} == {
        (1, "tablet", "linked", parse_time(at_minute(1))),
        (2, "tablet", "ended", parse_time(at_minute(5))),
        (3, "tablet", "linked", parse_time(at_minute(6))),
        (4, "phone", "linked", parse_time(at_minute(2))),
        (5, "phone", "ended", BASE_TIME + timedelta(seconds=400)),
        (8, "tablet", "linked", parse_time(at_minute(7))),
        (8, "ann@shop.example", "linked", parse_time(at_minute(7))),
    }
    assert {row[2] for row in rows} == {"ann", "bob"}
    for number, (order, group) in enumerate([(arrived[::-1], 1), (random.Random(5).sample(arrived, len(arrived)), 3)]):
        assert await rows_after(schema_template, tmp_path / f"b{number}", order, group) == expected


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    """The story told, and no ledger running."""
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    await record(deployment, [deployment.seal(event) for event in {e["id"]: e for e, _ in story()}.values()])
    return deployment


async def record(deployment: Deployment, messages: list[Message]) -> None:
    async with deployment.ledger():
        await deployment.recorded(0)
        size = await deployment.size()
        await deployment.publish(messages)
        await deployment.recorded(size + len(messages))


OF_NOBODY = (
    "INSERT INTO links SELECT controller, substr(sha256('x'), 1, 16), 0, gen_random_uuid(), weak, state, now()"
    " FROM links LIMIT 1"
)


async def test_wrecked_links_are_projected_again(deployment: Deployment) -> None:
    before = await links(deployment)
    for wreck in (
        "DELETE FROM links",
        "UPDATE links SET acted_at = acted_at + interval '1s'",
        "UPDATE links SET state = 'ended'",
        OF_NOBODY,
        "UPDATE links SET weak = gen_random_uuid()",
    ):
        await deployment.fetch(wreck)
        assert await links(deployment) != before, wreck
        await rebuild(deployment.settings(), progress=lambda *_: None)
        assert await links(deployment) == before, wreck
        await fits(deployment)


OTHER = (
    "(SELECT subject FROM subjects WHERE log IS NULL AND subject NOT IN (l.weak, l.strong) ORDER BY subject LIMIT 1)"
)
DAMAGES = {
    "gone": "DELETE FROM links l WHERE l.ctid = $1",
    "another state": (
        "UPDATE links l SET state = CASE state WHEN 'linked' THEN 'ended' ELSE 'linked' END WHERE l.ctid = $1"
    ),
    "another time": "UPDATE links l SET acted_at = acted_at - interval '1us' WHERE l.ctid = $1",
    "another weaker one": f"UPDATE links l SET weak = {OTHER} WHERE l.ctid = $1",
    "nobody": "UPDATE links l SET weak = NULL WHERE l.ctid = $1",
    "another stronger one": f"UPDATE links l SET strong = {OTHER} WHERE l.ctid = $1",
    "another event": "UPDATE links l SET event = substr(sha256(event), 1, 16) WHERE l.ctid = $1",
    "another identifier": "UPDATE links l SET nth = nth + 1 WHERE l.ctid = $1",
    "nobody's": "UPDATE links l SET strong = gen_random_uuid() WHERE l.ctid = $1",
}


async def test_fsck_names_the_subject_of_a_damaged_link(deployment: Deployment) -> None:
    await fits(deployment)
    event = event_mac(deployment.event_id_key, "shop", story()[0][0]["id"])
    connection = await deployment.connect()
    try:
        for name, damage in DAMAGES.items():
            row = await connection.fetchrow("SELECT ctid, strong FROM links WHERE event = $1", event)
            assert row is not None
            transaction = connection.transaction()
            await connection.execute("CREATE TEMP TABLE kept AS TABLE links")
            async with transaction:
                assert await connection.execute(damage, row["ctid"]) != "UPDATE 0", name
            findings = (await check(deployment.settings(), progress=lambda *_: None)).findings
            assert {finding.table for finding in findings} == {"links"}, (name, findings)
            assert f"subject {row['strong']}" in {finding.where for finding in findings}, (name, findings)
            await connection.execute("DELETE FROM links")
            await connection.execute("INSERT INTO links SELECT * FROM kept")
            await connection.execute("DROP TABLE kept")
    finally:
        await connection.close()
    await fits(deployment)


async def test_what_links_nobody(deployment: Deployment) -> None:
    """Two identifiers of one strength, and a sign-in that nothing showed to be one."""
    before = await links(deployment)
    equals = link_event(20, "x", "y")
    equals["data"]["subject"]["identifiers"] = [{"type": "cookie", "value": value} for value in "xy"]
    unproven = deployment.seal(link_event(21, "x", "ann"), posted_by="browser", marks=["unconfirmed"])
    await record(deployment, [deployment.seal(equals), unproven])
    assert await links(deployment) == before
    assert await deployment.subject_of("y") is None
    await fits(deployment)


async def test_a_link_that_makes_no_sense_is_set_aside(deployment: Deployment) -> None:
    """Only what has a publisher's signature gets here, and even that is not believed."""
    before = await links(deployment)
    broken: list[Any] = ["linked", {"state": "married"}, {}, None]
    async with deployment.ledger():
        await deployment.publish(
            deployment.seal(link_event(30 + n, "x", "ann", link=link)) for n, link in enumerate(broken)
        )
        await deployment.drained()
    letters = await deployment.fetch("SELECT reason FROM dead_letters")
    assert [row["reason"] for row in letters] == ["parts-invalid"] * len(broken)
    assert await links(deployment) == before
