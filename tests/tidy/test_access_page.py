"""docs/access.md says of every route who opens it, as the app does; each rule can fail."""

import re

import pytest

from tests.tidy.access_page import BEGIN, PAGE, ingest_routes, query_routes, rendered

pytestmark = pytest.mark.tidy


def test_the_table_is_that_of_the_app() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == rendered(page, query_routes()), "run: python -m tests.tidy.access_page"


def test_a_route_that_opens_to_one_more_shows() -> None:
    page, routes = PAGE.read_text(encoding="utf-8"), query_routes()
    routes["GET /v1/keys"] = [*routes["GET /v1/keys"], "site"]
    assert page != rendered(page, routes)
    with pytest.raises(ValueError, match="marks"):
        rendered(page.replace(BEGIN, ""), routes)


def test_no_role_is_without_a_route_and_admins_see_nobody() -> None:
    routes = query_routes()
    assert {role for opens in routes.values() for role in opens} == {
        "site",
        "privacy",
        "dpo",
        "auditor",
        "admin",
        "subject",
        "system",
        "anybody",
    }
    of_people = [route for route in routes if re.search(r"\{subject\}|\{event\}|lookup|minimal-proofs|/checks", route)]
    assert len(of_people) > 5
    assert [route for route in of_people if "admin" in routes[route]] == []
    # Who advises does not decide (GDPR Art. 38(6)).
    acts = [route for route in routes if route.startswith("POST") and re.search(r"/requests|/erasure|/tasks", route)]
    assert [route for route in acts if "dpo" in routes[route]] == []


def test_every_route_of_ingest_is_named() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Ingest\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([A-Z]+ [^`]+)` \|", section, re.MULTILINE)) == ingest_routes()
