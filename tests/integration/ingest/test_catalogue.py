"""The public catalogue: lists, pages, a site's rules and policy; what its controller states, and no other's."""

from typing import Any

import pytest

from schemas.catalogue import services
from schemas.catalogue.merging import own_bytes
from schemas.catalogue.service import LANGUAGES
from schemas.notices import notice_bytes, notice_hash
from tests.integration.ingest.conftest import SITE, Shop
from tests.support.rows import notice_content

pytestmark = pytest.mark.integration

PAGE = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
OWN_MAP: dict[str, Any] = {
    "name": "Our map",
    "uses": [{"use": "map", "title": {"en": "Map"}, "legal_basis": ["consent"]}],
    "cookies": [
        {"name": "map_view", "type": "functional", "use": "map", "duration": "P30D", "purpose": {"en": "View"}}
    ],
}


async def state(shop: Shop, service: str, override: dict[str, Any], controller: str | None = None) -> None:
    """A row as query writes it, for the site's controller or another one, made here."""
    if controller is not None:
        await shop.deployment.fetch(
            "INSERT INTO controllers (name, legal_name, contact) VALUES ($1, $1, $1) ON CONFLICT DO NOTHING", controller
        )
    await shop.deployment.fetch(
        "INSERT INTO catalogue_services (controller, service, content)"
        " SELECT coalesce((SELECT controller FROM controllers WHERE name = $3), s.controller), $1, $2"
        " FROM sites s WHERE s.name = $4",
        service,
        own_bytes(service, override),
        controller,
        SITE,
    )


async def test_the_list_is_public_and_filtered(shop: Shop) -> None:
    answer = await shop.client.get("/v1/catalogue", params={"language": "de"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "public, max-age=300"
    listed = {line["service"]: line for line in answer.json()["services"]}
    assert set(listed) == set(services())
    assert listed["crisp"] == {"service": "crisp", "name": "Crisp", "kind": "Live-Chat", "href": "/v1/catalogue/crisp"}
    only = (await shop.client.get("/v1/catalogue", params={"category": "preferences"})).json()["services"]
    assert {line["service"] for line in only} == {n for n, s in services().items() if s.category == "preferences"}
    wrong = await shop.client.get("/v1/catalogue", params={"category": "nonsense"})
    assert (wrong.status_code, wrong.json()["pointer"]) == (422, "/category")


async def test_a_service_is_json_or_a_page(shop: Shop) -> None:
    answer = await shop.client.get("/v1/catalogue/chatra")
    assert answer.json() == services()["chatra"].model_dump(exclude_none=True)
    assert answer.headers["access-control-allow-origin"] == "*"
    page = await shop.client.get("/v1/catalogue/chatra", headers=PAGE | {"accept-language": "nl, fr;q=0.7, en;q=0.5"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-language"] == "fr"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert page.headers["vary"] == "accept, accept-language"
    assert "Brantio LLC (États-Unis)" in page.text
    asked = await shop.client.get("/v1/catalogue/chatra?language=es", headers=PAGE | {"accept-language": "fr"})
    assert "Brantio LLC (Estados Unidos)" in asked.text


@pytest.mark.parametrize("name", ["unheard-of", "../purposes/saas", "Chatra"])
async def test_what_is_not_there_is_not_there(shop: Shop, name: str) -> None:
    assert (await shop.client.get(f"/v1/catalogue/{name}")).status_code == 404


@pytest.mark.parametrize("route", ["services", "policy"])
async def test_an_unknown_site_has_nothing(shop: Shop, route: str) -> None:
    answer = await shop.client.get(f"/v1/sites/nowhere.example/{route}")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_rules_of_a_site_follow_its_notices_and_its_controller(made_shop: Shop) -> None:
    shop = made_shop
    await state(shop, "chatra", {"domains": ["chat.shop.example"], "stop": {"call": "Chatra.kill"}})
    # Stated by somebody else: neither seen here nor mixed in.
    await state(shop, "chatra", {"domains": ["evil.example"]}, controller="other")
    await state(shop, "map", OWN_MAP)
    async with shop.running():
        answer = await shop.client.get(f"/v1/sites/{SITE}/services")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cache-control"] == "public, max-age=60"
        rules = answer.json()["services"]
        # No notice names the map, nor any other service of the catalogue.
        assert set(rules) == {"chatra"}
        assert rules["chatra"]["domains"] == ["chat.shop.example"]
        assert rules["chatra"]["stop"] == {"call": "Chatra.kill"}
        assert rules["chatra"]["uses"]["chat-proactive"]["cookies"] == [{"name": "Chatra_marked"}]
        policy = await shop.client.get(f"/v1/sites/{SITE}/policy")
        assert "evil.example" not in policy.text


async def test_a_service_of_ones_own_is_enforced_once_a_notice_names_it(made_shop: Shop) -> None:
    shop = made_shop
    await state(shop, "map", OWN_MAP)
    content = notice_content(notice_id="map")
    content["purposes"] = [content["purposes"][0] | {"purpose": "map", "services": ["map"]}]
    raw = notice_bytes(content)
    await shop.deployment.fetch(
        "INSERT INTO notices (controller, notice, site, language, content)"
        " SELECT controller, $1, site, 'fr', $2 FROM sites WHERE name = $3",
        notice_hash(raw),
        raw,
        SITE,
    )
    async with shop.running():
        rules = (await shop.client.get(f"/v1/sites/{SITE}/services")).json()["services"]
        assert set(rules) == {"chatra", "map"}
        assert rules["map"] == {
            "name": "Our map",
            "uses": {"map": {"legal_basis": ["consent"], "cookies": [{"name": "map_view"}], "storage": []}},
            "domains": [],
        }
        policy = await shop.client.get(f"/v1/sites/{SITE}/policy", params={"language": "de", "format": "md"})
        assert "| map\\_view | Cookie, funktional | 30 Tage | View (Englisch) |" in policy.text


@pytest.mark.parametrize("language", [*LANGUAGES, "nl"])
async def test_the_policy_of_a_site_in_three_forms(shop: Shop, language: str) -> None:
    for form, media_type in (("html", "text/html"), ("md", "text/markdown"), ("json", "application/json")):
        answer = await shop.client.get(f"/v1/sites/{SITE}/policy", params={"language": language, "format": form})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["content-language"] == ("en" if language == "nl" else language)
        assert "Chatra_marked" in answer.text.replace("\\_", "_")
    # Of its notices only French ones are there.
    found = answer.json()
    assert found["requested_language"] == language
    assert {one["language"] for one in found["fallbacks"]} == (set() if language == "fr" else {"fr"})


async def test_a_form_that_is_none_is_refused(shop: Shop) -> None:
    answer = await shop.client.get(f"/v1/sites/{SITE}/policy", params={"format": "pdf"})
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/format")
