"""Figures as a whole ledger counts them: each act once, under names that no stranger chose."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from schemas.notices import notice_bytes, notice_hash
from tests.support.databases import Database
from tests.support.deployment import BASE_TIME, Deployment, consent_event
from tests.support.rows import notice_content

pytestmark = pytest.mark.integration

PURPOSE = "newsletter"
DAY = "2026-11-01"


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    """A deployment whose ledger is not running yet."""
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


def act(number: int, decision: str = "granted", **changes: Any) -> dict[str, Any]:
    """An answer to one purpose."""
    answer = {"purpose": PURPOSE, "decision": decision, "legal_basis": "consent"}
    return consent_event(number, **{"decisions": [answer], **changes})


async def counted(deployment: Deployment) -> dict[tuple[str, ...], int]:
    rows = await deployment.fetch("SELECT day::text, site, purpose, notice, language, act, count FROM figures")
    return {tuple(row)[:-1]: row["count"] for row in rows}


async def publish_notice(deployment: Deployment) -> str:
    content = notice_content(language="pt-BR")
    raw = notice_bytes(content)
    await deployment.fetch(
        "INSERT INTO notices (controller, notice, site, language, content)"
        " SELECT controller, $1, site, 'pt-BR', $2 FROM sites",
        notice_hash(raw),
        raw,
    )
    return notice_hash(raw).hex()


async def test_acts_are_counted_by_day_site_purpose_notice_and_language(deployment: Deployment) -> None:
    notice = await publish_notice(deployment)
    shown = {"sha256": notice, "language": "pt-BR-x-my-name"}
    objection = [{"purpose": PURPOSE, "decision": "objected", "legal_basis": "legitimate_interest"}]
    events = [
        deployment.seal(act(1, notice=shown)),
        deployment.seal(act(2, notice=shown)),
        deployment.seal(act(3, notice=shown), received_at=BASE_TIME + timedelta(days=1)),
        deployment.seal(act(4, "denied", type="consent.refused")),
        deployment.seal(act(5, "denied", type="consent.withdrawn")),
        deployment.seal(act(6, type="consent.withdrawn", decisions=objection)),
        deployment.seal(consent_event(7, type="notice.served", notice=shown)),
    ]
    async with deployment.ledger() as ledger:
        await deployment.publish(events)
        await deployment.recorded(7)
        told = ledger.metrics.registry
    here = ("shop.example", PURPOSE)
    assert await counted(deployment) == {
        (DAY, *here, notice, "pt-BR", "granted"): 2,
        ("2026-11-02", *here, notice, "pt-BR", "granted"): 1,
        (DAY, *here, "", "", "denied"): 1,
        (DAY, *here, "", "", "withdrawn"): 1,
        (DAY, *here, "", "", "objected"): 1,
        (DAY, "shop.example", "", notice, "pt-BR", "shown"): 1,
    }
    assert metrics(told) == {
        "granted": 3,
        "denied": 1,
        "withdrawn": 1,
        "objected": 1,
        "not_objected": 0,
        "shown": 1,
        "told": 0,
    }


def metrics(registry: CollectorRegistry) -> dict[str, float]:
    found = {}
    for family in registry.collect():
        if family.name == "sayso_ledger_acts":
            found = {s.labels["act"]: s.value for s in family.samples if s.name.endswith("_total")}
    return found


async def test_no_act_is_counted_twice(deployment: Deployment) -> None:
    """Copies in one batch, copies later, what waits for its confirmation, and what was done before an erasure."""
    asked = {"requested_at": "2026-11-01T09:00:00Z"}
    async with deployment.ledger():
        await deployment.publish([deployment.seal(act(1)), deployment.seal(act(1))])
        await deployment.publish(
            [deployment.seal(act(2), marks=["unconfirmed"]), deployment.seal(act(3, double_opt_in=asked))]
        )
        await deployment.recorded(3)
        confirmed = asked | {"confirmed_at": "2026-11-01T09:05:00Z"}
        await deployment.publish([deployment.seal(act(1)), deployment.seal(act(4, double_opt_in=confirmed))])
        await deployment.recorded(4)
        subject = await deployment.subject_of("v-1")
        assert subject is not None
        await deployment.publish([deployment.seal_erasure(subject)])
        await deployment.recorded(5)
        await deployment.publish([deployment.seal(act(5, subject="v-1")), deployment.seal(act(6))])
        await deployment.recorded(6)
    assert await counted(deployment) == {(DAY, "shop.example", PURPOSE, "", "", "granted"): 3}


async def test_what_is_nobodys_act_now_is_not_counted(deployment: Deployment) -> None:
    imported = {"mechanism": "import", "file_sha256": "0" * 64, "file_line": 1}
    async with deployment.ledger():
        await deployment.publish(
            [
                deployment.seal(act(1, type="consent.observed")),
                deployment.seal(act(2, "denied", type="consent.expired")),
                deployment.seal(act(3, capture=imported)),
                deployment.seal(act(4)),
            ]
        )
        await deployment.recorded(4)
    assert sum((await counted(deployment)).values()) == 1


async def test_a_stranger_names_no_purpose_and_no_language(deployment: Deployment) -> None:
    """Under words that nobody published a page may write any purpose: it counts, without its names."""
    shown = {"sha256": "ab" * 32, "language": "en-jane-doe"}
    named = [
        {"purpose": purpose, "decision": "granted", "legal_basis": "consent"} for purpose in ("jane.doe", "jane.doe-2")
    ]
    async with deployment.ledger():
        await deployment.publish([deployment.seal(act(1, notice=shown, decisions=named), marks=["notice-unknown"])])
        await deployment.recorded(1)
    assert await counted(deployment) == {(DAY, "shop.example", "", "", "", "granted"): 1}
