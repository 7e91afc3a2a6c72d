"""Notices over the API: published from a source in all languages, listed, matched, and what a new version does."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.integration.query.conftest import Caller
from tests.support.deployment import consent_event
from tests.support.rows import Controller, World
from tests.unit.schemas.test_notice_making import purpose, source

pytestmark = pytest.mark.integration


async def publish(privacy: Caller, site: str, value: Any) -> httpx2.Response:
    return await privacy.client.post(
        f"/v1/sites/{site}/notices", json=value, headers={"authorization": f"Bearer {privacy.key}"}
    )


def plain(**changes: Any) -> dict[str, Any]:
    """The source without its later day."""
    value = source(**changes)
    del value["effective_at"]
    return value


async def test_a_source_becomes_a_notice_a_language(privacy: Caller, shop: Controller) -> None:
    answer = await publish(privacy, shop.site_name, plain())
    assert answer.status_code == 201
    made = answer.json()["notices"]
    assert [one["language"] for one in made] == ["en", "fr", "de"]
    assert [one["untranslated"] for one in made][:2] == [[], ["/withdrawal"]]
    listed = (await privacy.ask(f"/v1/sites/{shop.site_name}/notices"))["notices"]
    assert {one["sha256"] for one in listed} == {one["sha256"] for one in made}
    for one in made:
        words = await privacy.get(f"/v1/sites/{shop.site_name}/notices/{one['sha256']}")
        assert hashlib.sha256(words.content).hexdigest() == one["sha256"]
        assert words.json()["language"] == one["language"]
    again = await publish(privacy, shop.site_name, plain())
    assert again.json()["notices"] == made
    assert len((await privacy.ask(f"/v1/sites/{shop.site_name}/notices"))["notices"]) == len(made)


async def test_a_site_name_that_postgres_cannot_hold(privacy: Caller, shop: Controller) -> None:
    headers = {"authorization": f"Bearer {privacy.key}"}
    for answer in (
        await publish(privacy, "a%00b", plain()),
        await privacy.client.get("/v1/sites/%00/notices", headers=headers),
    ):
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_a_service_that_joins_asks_again_and_nothing_else_does(privacy: Caller, shop: Controller) -> None:
    notice = (await publish(privacy, shop.site_name, plain())).json()["notices"][0]["sha256"]
    person = await shop.person()
    now = datetime.now(UTC)
    granted = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent", "services": ["chatra"]}
    event = consent_event(1, notice={"sha256": notice, "language": "en"}, decisions=[granted])
    event["time"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    await shop.record(person, event, now, notice=notice)
    path = f"/v1/subjects/{person.subject}/status"
    before = await privacy.ask(path, purpose="chat-history")
    assert (before["valid"], before["reasons"]) == (True, [])
    expires = datetime.fromisoformat(before["expires_at"])
    assert timedelta(days=180) < expires - now < timedelta(days=185)  # six months by the calendar

    wording = plain(version="2", texts={"en": source()["texts"]["en"] | {"text": "In other words."}})
    assert (await publish(privacy, shop.site_name, wording)).json()["notices"][0]["changes"] == ["words"]
    assert (await privacy.ask(path, purpose="chat-history"))["valid"] is True

    joined = plain(version="3", **purpose(services=["chatra", "chaport"]))
    later = joined | {"effective_at": (now + timedelta(days=9)).strftime("%Y-%m-%dT%H:%M:%SZ")}
    answer = (await publish(privacy, shop.site_name, later)).json()["notices"][0]
    assert (answer["changes"], answer["asks_again"]) == (["service", "words"], True)
    # Not yet in force.
    assert (await privacy.ask(path, purpose="chat-history"))["valid"] is True
    at = (now + timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (await privacy.ask(path, purpose="chat-history", at=at))["reasons"] == ["notice_changed"]


async def test_words_seen_on_a_page_are_matched(privacy: Caller, shop: Controller) -> None:
    notice = (await publish(privacy, shop.site_name, plain())).json()["notices"][0]["sha256"]
    seen = "ab" * 32
    headers = {"authorization": f"Bearer {privacy.key}"}
    body = {"shown": seen, "notice": "cd" * 32}
    unknown = await privacy.client.post("/v1/notice-matches", json=body, headers=headers)
    assert unknown.json()["type"] == "/problems/not-found"
    person = await shop.person()
    await shop.record(person, consent_event(1, notice={"sha256": seen, "language": "en"}), datetime.now(UTC))
    path = f"/v1/subjects/{person.subject}/status"
    assert "words_unverified" in (await privacy.ask(path, purpose="chat-history"))["reasons"]
    matched = await privacy.client.post("/v1/notice-matches", json={"shown": seen, "notice": notice}, headers=headers)
    assert matched.status_code == 204
    assert (await privacy.ask(path, purpose="chat-history"))["words"] == "matched"


async def test_no_other_controllers_site_and_no_nonsense(
    privacy: Caller, world: World, shop: Controller, with_role: Any
) -> None:
    stranger = await with_role(await world.controller("other"), "privacy")
    assert (await publish(stranger, shop.site_name, plain())).json()["type"] == "/problems/not-found"
    for value, pointer in ((plain(version=7), "/version"), ([], ""), (plain(secret="v-eve"), "")):
        refused = await publish(privacy, shop.site_name, value)
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/notice-not-valid")
        assert refused.json()["pointer"] == pointer
        assert "eve" not in refused.text
    assert (await privacy.ask(f"/v1/sites/{shop.site_name}/notices"))["notices"] == []
