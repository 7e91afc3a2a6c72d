"""Retention over the API: rules with their history, a preview, a run that the ledger does, and what a person reads."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from services.capabilities import Capabilities
from services.keys import read_secret
from tests.integration.query.conftest import serving
from tests.integration.visitors.conftest import query_settings
from tests.support.databases import Database
from tests.support.deployment import BASE_TIME, Deployment
from tests.support.retaining import DAY, Retaining, decided, rule

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "retention.yaml"
NOW = datetime.now(UTC)


@dataclass
class Office:
    """The controller's people, and the days on which things happen."""

    client: httpx2.AsyncClient
    keys: dict[str, str]
    retaining: Retaining

    async def ask(self, role: str, method: str, path: str, status: int = 200, body: Any = None, **headers: str) -> Any:
        bearer = {"authorization": f"Bearer {self.keys[role]}", **headers}
        answer = await self.client.request(method, f"/v1/retention{path}", json=body, headers=bearer)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


@pytest.fixture
async def office(database: Database, tmp_path: Path) -> AsyncIterator[Office]:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    retaining = Retaining(deployment)
    await retaining.stop_ledgers()
    keys = {role: await deployment.add_access_key(role) for role in ("admin", "privacy", "dpo")}
    async with (
        deployment.ledger(),
        serving(query_settings(deployment)) as address,
        httpx2.AsyncClient(base_url=address) as client,
    ):
        yield Office(client, keys, retaining)


async def test_rules_are_stated_changed_and_ended_and_their_history_stays(office: Office) -> None:
    first, second = rule("clear-part", part="context"), rule("clear-part", part="context", after="P60D")
    await office.ask("admin", "PUT", "/rules/logs", 201, first)
    await office.ask("admin", "PUT", "/rules/logs", 200, first)
    await office.ask("admin", "PUT", "/rules/logs", 201, second)
    (stated,) = (await office.ask("dpo", "GET", "/rules"))["rules"]
    assert (stated["rule"], stated["content"], stated["stated_by"][:3]) == ("logs", second, "ak_")
    await office.ask("admin", "DELETE", "/rules/logs", 204)
    await office.ask("admin", "DELETE", "/rules/logs", 404)
    assert (await office.ask("dpo", "GET", "/rules")) == {"rules": []}
    history = (await office.ask("dpo", "GET", "/rules/logs"))["stated"]
    assert [one.get("content") for one in history] == [None, second, first]
    await office.ask("dpo", "GET", "/rules/other", 404)
    for wrong in (
        rule("clear-part", after="P1X"),
        rule("keep", until={"DE": "P10Y"}, ground="17(3)(b)", after=None),
        rule("keep"),
        rule("erase-subject", part="who"),
        rule("trigger-erase"),
        rule("clear-part", purposes=["a"], category="name"),
    ):
        await office.ask("admin", "PUT", "/rules/logs", 422, wrong)


async def test_a_preview_deletes_nothing_and_the_run_deletes_what_it_said(office: Office) -> None:
    await office.ask("dpo", "GET", "/preview", 404)
    await office.ask("admin", "PUT", "/rules/news", 201, rule("clear-part", "withdrawn", "P0D", purposes=["news"]))
    office.retaining.happens(0, "ada", decided("news", "granted"))
    office.retaining.happens(1, "ada", decided("news", "denied"), type="consent.withdrawn")
    await office.retaining.settle()
    previewed = await office.ask("admin", "POST", "/preview", prefer="wait=20")
    assert previewed["parts"] == {"news": {"who": 2, "what": 2, "context": 2}}
    assert len(previewed["sample"]) == 6
    assert {frozenset(one) for one in previewed["sample"]} == {frozenset({"log", "index", "part", "rule"})}
    assert await office.ask("dpo", "GET", "/preview") == previewed
    assert await office.retaining.parts() == ["WHC", "WHC"]
    done = await office.ask("privacy", "POST", "/runs", prefer="wait=20")
    assert (done["state"], done["parts"], done["parts_deleted"]) == ("done", previewed["parts"], 6)
    assert "sample" not in done
    assert await office.ask("dpo", "GET", f"/runs/{done['run']}") == done
    assert done in (await office.ask("dpo", "GET", "/runs"))["runs"]
    assert await office.retaining.parts() == ["", ""]
    subject = await office.retaining.deployment.subject_of("ada")
    # It knows that there was something, and says so.
    bearer = {"authorization": f"Bearer {await office.retaining.deployment.add_access_key('site')}"}
    answer = (await office.client.get(f"/v1/subjects/{subject}/status?purpose=news", headers=bearer)).json()
    assert (answer["valid"], answer["reasons"]) == (False, ["erased"])
    await office.retaining.fits()


async def test_the_example_policy_is_kept_and_the_person_can_read_it(office: Office) -> None:
    rules = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    for name, content in rules.items():
        await office.ask("admin", "PUT", f"/rules/{name}", 201, content)
    deployment = office.retaining.deployment
    # Stated before anything happened.
    await deployment.fetch("UPDATE retention_rules SET stated_at = $1", BASE_TIME - DAY)
    await deployment.fetch(
        "INSERT INTO downstreams (controller, system, kind, tells) VALUES ($1, 'crm', 'task', '{triggers}')",
        deployment.controller,
    )
    granted = decided("marketing", "granted"), decided("service", "granted")
    for name, country in (("ada", "FR"), ("bob", "FR"), ("eve", "SE")):
        office.retaining.happens(0, name, *granted, context={"country": country})
    office.retaining.happens(0, "eve", decided("billing", "granted"), context={"country": "SE"})
    office.retaining.happens(2, "ada", decided("marketing", "denied"), type="consent.withdrawn")
    for name in ("bob", "eve"):
        office.retaining.happens(3, name, type="account.deleted")
    await office.retaining.settle()
    mine = await me(office, "eve")
    assert mine["due"] == [{"rule": "account", "from": "2027-02-02T09:00:00.000000Z"}]
    assert mine["account_deleted_at"] == "2026-11-04T09:00:00.000000Z"
    kept = next(one for one in mine["rules"] if one["is_kept_by_law"])
    assert (kept["rule"], kept["ground"], kept["told"]) == ("billing", "17(3)(b)", rules["billing"]["told"])
    assert (await me(office, "ada"))["due"][0]["purpose"] == "marketing"
    # Marketing systems at once; nothing else yet.
    done = await office.retaining.run(NOW + DAY)
    assert (done["parts"], done["told"], done["erased"]) == ({}, {"marketing-systems": 1}, {})
    # After 90 days the circumstances, and the account of bob; eve's invoices are kept with what shows whose they are,
    # and the rest waits until the other systems have found her.
    done = await office.retaining.run(NOW + 95 * DAY)
    assert (done["erased"], done["told"]) == ({"account": 1}, {"account": 1})
    await deployment.fetch("UPDATE triggers SET answered_at = now(), outcome = 'done'")
    done = await office.retaining.run(NOW + 95 * DAY)
    assert done["parts"]["account"] == {"who": 1, "what": 1, "context": 2}
    assert await deployment.subject_of("bob") is None
    await office.retaining.fits()
    # Six years in Sweden, by the rule.
    assert (await office.retaining.run(BASE_TIME + 5 * 366 * DAY))["erased"] == {}
    assert (await office.retaining.run(BASE_TIME + 7 * 366 * DAY))["erased"] == {"account": 1}
    assert await deployment.subject_of("eve") is None
    await office.retaining.fits()


async def me(office: Office, value: str) -> Any:
    """What a visitor's browser reads."""
    key = read_secret(office.retaining.deployment.keys / "capabilities.key")
    claims = {"site": "shop.example", "type": "cookie", "value": value, "exp": int(time.time()) + 60}
    token = Capabilities(key).seal("visitor", claims)
    answer = await office.client.get("/v1/me/retention", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    return answer.json()
