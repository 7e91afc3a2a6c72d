"""Whom an erasure takes along, and whom not: a device that was one person's alone goes, a shared one stays."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from schemas.docket import NONCE_BYTES, place_of_docket
from schemas.record import format_time, read_entry
from services.keys import ControllerKeys
from services.keys.file_provider import FileProvider
from services.ledger.fsck.check import check
from services.ledger.rebuild import rebuild
from services.suppression import Suppression
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.linking import link_event, links
from tests.support.wait import until

pytestmark = pytest.mark.integration


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


async def fits(deployment: Deployment) -> None:
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.clean, report.findings


async def record(deployment: Deployment, *events: dict[str, Any]) -> None:
    size = await deployment.size()
    await deployment.publish(deployment.seal(event) for event in events)
    await deployment.recorded(size + len(events))


async def subject_of(deployment: Deployment, value: str, kind: str = "cookie") -> UUID:
    subject = await deployment.subject_of(value, kind)
    assert subject is not None
    return subject


async def erase(deployment: Deployment, subject: UUID) -> None:
    """Ask for it, and wait until it is applied, stated and signed."""
    await deployment.publish([deployment.seal_erasure(subject)])

    async def gone() -> bool:
        rows = await deployment.fetch("SELECT FROM erasures WHERE subject = $1", subject)
        return bool(rows) and not await deployment.fetch("SELECT FROM log_heads WHERE signed_size <> size")

    await until(gone, what="the erasure is applied")


def account_event(number: int, account: str, **changes: Any) -> dict[str, Any]:
    event = consent_event(number, **changes)
    event["data"]["subject"] = {"identifiers": [{"type": "account", "value": account}]}
    return event


async def docket_identifiers(deployment: Deployment) -> list[set[str]]:
    """What each open docket names, in the order of their numbers."""
    keys = ControllerKeys(deployment.keys / "controllers", FileProvider(deployment.keys / "root.key"))
    found = []
    for row in await deployment.fetch("SELECT * FROM dockets ORDER BY docket"):
        cipher = AESGCM(aes_key_unwrap(keys.wrapping_key("shop", row["key_epoch"]), row["wrapped_key"]))
        place = place_of_docket(deployment.controller, row["docket"])
        content = orjson.loads(cipher.decrypt(row["sealed"][:NONCE_BYTES], row["sealed"][NONCE_BYTES:], place))
        found.append({identifier["value"] for identifier in content["identifiers"]})
    return found


async def test_a_device_that_was_one_persons_alone_is_erased_with_them(deployment: Deployment) -> None:
    async with deployment.ledger():
        await record(
            deployment,
            # From before the sign-in, too: it is shown with her, and goes with her.
            *(consent_event(n, subject="phone") for n in (1, 2)),
            # A device with no record of its own.
            link_event(3, "x", "ann", minute=1),
            link_event(4, "phone", "ann", minute=1),
            link_event(5, "phone", "ann", minute=2, state="ended"),
            # A sign-out that no sign-in came before says nothing about whose it is.
            link_event(6, "phone", "bob", minute=3, state="ended"),
            account_event(7, "ann"),
            account_event(8, "bob"),
        )
        ann, phone, x = [
            await subject_of(deployment, v, k) for v, k in (("ann", "account"), ("phone", "cookie"), ("x", "cookie"))
        ]
        await erase(deployment, ann)
    for value, kind in (("ann", "account"), ("phone", "cookie"), ("x", "cookie")):
        assert await deployment.subject_of(value, kind) is None
    for table in ("subjects", "payloads", "consent_state", "identifiers"):
        assert not await deployment.fetch(f"SELECT FROM {table} WHERE subject = ANY($1)", [ann, phone, x]), table
    # Of the links only Bob's is left, to nobody.
    assert {row[:3] for row in await links(deployment)} == {(6, None, "bob")}
    rows = await deployment.fetch("SELECT number, subject, event FROM erasures ORDER BY number")
    assert [row["subject"] for row in rows] == [*sorted([phone, x]), ann]
    assert len({row["event"] for row in rows}) == 1
    lines = Suppression(deployment.settings().suppression_dir).read()
    assert [line.subject for line in lines] == [*sorted([phone, x]), ann]
    assert [len(line.identifiers) for line in lines] == [1, 1, 1]
    assert len(await deployment.fetch("SELECT FROM tombstones")) == 3
    entries = [read_entry(row["entry"]) for row in await deployment.fetch("SELECT entry FROM records ORDER BY index")]
    # The device without records had nothing to count.
    erased = [entry["erased"] for entry in entries if "erased" in entry]
    assert erased == [{"who": n, "what": n, "context": n} for n in (2, 4)]
    # One person, one docket, with all that downstream systems know them by; the phone of a sign-out is not Bob's.
    assert await docket_identifiers(deployment) == [{"ann", "phone", "x"}]
    await fits(deployment)


async def test_a_shared_tablet_stays_and_nobody_inherits_it(deployment: Deployment) -> None:
    async with deployment.ledger():
        await record(
            deployment,
            consent_event(1, subject="tablet"),
            link_event(2, "tablet", "ann", minute=1),
            link_event(3, "tablet", "ann", minute=2, state="ended"),
            link_event(4, "tablet", "bob", minute=3),
            link_event(5, "x", "bob", minute=3),
            link_event(6, "x", "ann", minute=4),
        )
        tablet, ann, bob, x = [
            await subject_of(deployment, v, k)
            for v, k in (("tablet", "cookie"), ("ann", "account"), ("bob", "account"), ("x", "cookie"))
        ]
        await erase(deployment, ann)
        assert await deployment.subject_of("tablet") == tablet
        assert await deployment.subject_of("x") == x
        assert {row[:3] for row in await links(deployment)} == {(4, "tablet", "bob"), (5, "x", "bob")}
        await fits(deployment)
        # Downstream, too, the tablet is not only hers.
        assert await docket_identifiers(deployment) == [{"ann"}]
        # What she did with it is now in the hands of nobody else: it goes with him no more than it went with her.
        await erase(deployment, bob)
    assert await deployment.subject_of("tablet") == tablet
    # A name that leads to nothing is not kept for its own sake.
    assert await deployment.subject_of("x") is None
    assert await links(deployment) == set()
    assert [row["subject"] for row in await deployment.fetch("SELECT subject FROM erasures ORDER BY number")] == [
        ann,
        x,
        bob,
    ]
    await fits(deployment)


async def test_links_are_not_transitive(deployment: Deployment) -> None:
    """A cookie linked to an e-mail address, and that to an account: the account's erasure reaches the address alone."""
    mail = link_event(2, "x", "ann", minute=1)
    mail["data"]["subject"]["identifiers"][0] = {"type": "email", "value": "ann@shop.example"}
    cookie = link_event(1, "phone", "x", minute=1)
    cookie["data"]["subject"]["identifiers"][1] = {"type": "email", "value": "ann@shop.example"}
    async with deployment.ledger():
        await record(deployment, cookie, mail, consent_event(3, subject="phone"))
        phone = await subject_of(deployment, "phone")
        await erase(deployment, await subject_of(deployment, "ann", "account"))
    assert await deployment.subject_of("ann@shop.example", "email") is None
    assert await deployment.subject_of("phone") == phone
    assert await links(deployment) == set()
    await fits(deployment)


async def test_a_device_that_was_erased_comes_back_as_another(deployment: Deployment) -> None:
    async with deployment.ledger():
        await record(deployment, consent_event(1, subject="phone"), link_event(2, "phone", "ann", minute=1))
        phone = await subject_of(deployment, "phone")
        await erase(deployment, phone)
        assert {row[:3] for row in await links(deployment)} == {(2, None, "ann")}
        await fits(deployment)
        now = format_time(datetime.now(UTC))
        size = await deployment.size()
        again = link_event(4, "phone", "ann", time=now)
        await deployment.publish(
            [
                deployment.seal(consent_event(3, subject="phone", time=now), received_at=datetime.now(UTC)),
                deployment.seal(again, received_at=datetime.now(UTC)),
                # The act from before, received again, and another one.
                deployment.seal(link_event(2, "phone", "ann", minute=1)),
                deployment.seal(link_event(5, "phone", "ann", minute=1)),
            ]
        )
        await deployment.recorded(size + 2)
        await deployment.drained()
        assert await subject_of(deployment, "phone") != phone
        expected = {(2, None, "ann"), (4, "phone", "ann")}
        assert {row[:3] for row in await links(deployment)} == expected
    await rebuild(deployment.settings(), progress=lambda *_: None)
    assert {row[:3] for row in await links(deployment)} == expected
    # Also once nothing but the void link remembers.
    await deployment.fetch("DELETE FROM tombstones")
    await rebuild(deployment.settings(), progress=lambda *_: None)
    assert {row[:3] for row in await links(deployment)} == expected
    await fits(deployment)


async def test_a_crash_between_the_lines_leaves_nobody_behind(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device's line is durable, the person's is not: after the crash the person is asked for again, and goes."""
    real = Suppression.append
    calls = 0

    def fail_second(self: Suppression, **members: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionError("the machine stops here")
        return real(self, **members)

    monkeypatch.setattr(Suppression, "append", fail_second)
    async with deployment.ledger():
        await record(deployment, consent_event(1, subject="phone"), link_event(2, "phone", "ann", minute=1))
        phone, ann = await subject_of(deployment, "phone"), await subject_of(deployment, "ann", "account")
        await erase(deployment, ann)
    assert calls >= 3
    assert [line.subject for line in Suppression(deployment.settings().suppression_dir).read()] == [phone, ann]
    assert await deployment.subject_of("phone") is None
    assert await links(deployment) == set()
    await fits(deployment)
