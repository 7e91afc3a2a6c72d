"""Material changes of notices: recorded once in the site's log, and told to the systems that want to know."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.notices import notice_bytes, notice_hash
from services.ledger.announcing import change_of
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.rows import notice_content
from tests.support.wait import until

pytestmark = pytest.mark.integration


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    made = Deployment(database, tmp_path)
    await made.create()
    await made.fetch(
        "INSERT INTO downstreams (controller, system, kind, tells, url, sealed_to)"
        " VALUES ($1, 'mailer', 'webhook', '{notices}', 'https://mailer.example/hook', '\\x7b7d'),"
        " ($1, 'crm', 'webhook', '{triggers}', 'https://crm.example/hook', '\\x7b7d')",
        made.controller,
    )
    return made


async def publish(deployment: Deployment, **changes: Any) -> str:
    raw = notice_bytes(notice_content(**changes))
    await deployment.fetch(
        "INSERT INTO notices (controller, notice, site, language, content)"
        " SELECT controller, $1, site, $2, $3 FROM sites WHERE name = 'shop.example'",
        notice_hash(raw),
        notice_content(**changes)["language"],
        raw,
    )
    return notice_hash(raw).hex()


def with_services(*services: str) -> dict[str, Any]:
    (purpose,) = notice_content()["purposes"]
    return {"purposes": [{**purpose, "services": list(services)}]}


async def told(deployment: Deployment) -> list[dict[str, Any]]:
    rows = await deployment.fetch("SELECT system, body FROM deliveries WHERE kind = 'notice' ORDER BY made_at")
    assert {row["system"] for row in rows} <= {"mailer"}
    return [orjson.loads(row["body"]) for row in rows]


async def test_a_material_change_is_recorded_and_told_once(deployment: Deployment) -> None:
    await publish(deployment, version="1")
    async with deployment.ledger():
        await until(lambda: announced(deployment, 1), what="the first version is seen")
        assert await deployment.size() == 0
        await publish(deployment, version="2", title="Other words")
        await until(lambda: announced(deployment, 2), what="other words are seen")
        # Words alone are no news.
        assert await deployment.size() == 0
        effective = {"asks_again": True, "effective_at": "2027-01-01T00:00:00Z"}
        notice = await publish(
            deployment, version="3", title="Other words", **with_services("chatra", "chaport"), **effective
        )
        await deployment.recorded(1)
        (event,) = await told(deployment)
        (row,) = await deployment.fetch("SELECT entry FROM records")
        entry = orjson.loads(row["entry"])
    assert (entry["class"], entry["notice"]) == ("notice", notice)
    assert (event["type"], event["source"]) == ("notice.changed", "/sites/shop.example")
    assert event["data"] == {
        "notice": {"sha256": notice, "language": "fr"},
        "change": {
            "notice_id": "chat",
            "version": "3",
            "before": "2",
            "kinds": ["service"],
            "consents": "asked_again",
            "effective_at": "2027-01-01T00:00:00Z",
        },
    }
    # A ledger that starts anew, and a second one, have nothing to add.
    async with deployment.ledger(), deployment.ledger():
        await publish(deployment, version="4", title="More words", **with_services("chatra", "chaport"))
        await until(lambda: announced(deployment, 4), what="the fourth version is seen")
    assert await deployment.size() == 1
    assert len(await told(deployment)) == 1


async def announced(deployment: Deployment, versions: int) -> bool:
    return len(await deployment.fetch("SELECT FROM announced_versions")) == versions


def test_what_an_older_consent_is_worth() -> None:
    before = notice_bytes(notice_content(version="1"))

    def change(**changes: Any) -> dict[str, Any] | None:
        row: Any = {"before": before, "content": notice_bytes(notice_content(version="2", **changes))}
        return change_of(row)

    assert change() is None
    added = change(**with_services("chatra", "chaport"))
    assert added is not None
    assert (added["kinds"], added["consents"]) == (["service"], "stand")
    # What is asked no more, changes nothing.
    assert change(**with_services()) is None
    # The controller asks again for reasons of its own.
    again = change(asks_again=True)
    assert again is not None
    assert (again["kinds"], again["consents"]) == ([], "asked_again")


async def test_words_that_ingest_found_stand_in_the_entry_however_new_they_are(deployment: Deployment) -> None:
    async with deployment.ledger():
        # Words that nobody published make the ledger look, and not again so soon for a stranger's sake.
        strange = consent_event(1, notice={"sha256": "ab" * 32, "language": "fr"})
        await deployment.publish([deployment.seal(strange, marks=["notice-unknown"])])
        await deployment.recorded(1)
        notice = await publish(deployment)
        await deployment.publish([deployment.seal(consent_event(2, notice={"sha256": notice, "language": "fr"}))])
        await deployment.recorded(2)
    rows = await deployment.fetch("SELECT entry FROM records ORDER BY index")
    assert [orjson.loads(row["entry"]).get("notice") for row in rows] == [None, notice]
