"""Links in e-mails: double opt-in, withdrawal by one click, and everything that must not work."""

import base64
import re
import time
from typing import Any

import httpx2
import pytest

from schemas.errors import StreamUnavailable
from schemas.events import parse_time
from services.capabilities import Capabilities
from services.ingest.visitors.links import Link, Links
from services.keys import read_secret
from services.stream.inbox import InboxPublisher
from tests.integration.ingest.conftest import BROWSER_KEY, SITE, Shop
from tests.integration.visitors.conftest import BODY, DENIAL, GRANT, PUBLIC_URL, House, person

pytestmark = pytest.mark.integration

ONE_CLICK = b"List-Unsubscribe=One-Click"
# As a mail program sends it (RFC 8058, 8.2).
MULTIPART = (
    b"---FormBoundaryjWmhtjORrn\r\n"
    b'Content-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n---FormBoundaryjWmhtjORrn--\r\n'
)
MULTIPART_TYPE = {"content-type": "multipart/form-data; boundary=-FormBoundaryjWmhtjORrn"}
HTML = {"accept": "text/html,*/*;q=0.8"}
NEWSLETTER = {"purpose": "newsletter", "decision": "granted", "legal_basis": "consent"}
NO_NEWSLETTER = {"purpose": "newsletter", "decision": "denied", "legal_basis": "consent"}

IN_THE_FUTURE = {"kind": "confirm", "decisions": [GRANT], "requested_at": "2099-01-01T00:00:00Z"}


async def confirm(house: House, path: str, **fields: str) -> httpx2.Response:
    return await house.shop.client.post(path, data={"confirm": "yes", **fields}, headers=HTML)


async def click(house: House, path: str) -> httpx2.Response:
    return await house.shop.client.post(path, content=ONE_CLICK, headers=BODY)


def fields_of(page: str) -> dict[str, str]:
    """What the page's button sends."""
    return dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page))


async def test_double_opt_in_from_a_form(house: House) -> None:
    """A page posts an address that nothing proves; the person opens the link; both times are kept."""
    eve = person()
    await house.act(eve)
    assert await house.standing(eve) == (False, ["unconfirmed"])
    made = await house.linked(kind="confirm", identifier=eve, decisions=[GRANT], notice=house.notice)
    assert made["url"].startswith(f"{PUBLIC_URL}/c/cf_")
    page = await house.shop.client.get(made["path"], headers={**HTML, "accept-language": "de, en;q=0.5"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    # In one language, that of the notice's words, whatever the browser wants.
    assert "Confirmez votre choix" in page.text
    assert "Garder vos discussions." in page.text
    # A mail scanner opens every link.
    assert [what["posted_by"] for what in await house.whats(eve)] == ["browser"]

    done = await confirm(house, made["path"], **fields_of(page.text))
    assert done.status_code == 200, done.text
    first, second = await house.whats(eve)
    assert (first["marks"], "marks" in second) == (["unconfirmed"], False)
    assert (second["posted_by"], second["words"], second["id"]) == ("server", "rendered", made["event"])
    assert second["actor"] == {"entity": "subject", "auth": "capability"}
    times = second["double_opt_in"]
    assert parse_time(first["received_at"]) < parse_time(times["requested_at"]) < parse_time(times["confirmed_at"])
    assert await house.standing(eve) == (True, [])


async def test_a_link_is_used_once_however_often_it_is_opened(house: House) -> None:
    eve = person()
    body = {"kind": "confirm", "identifier": eve, "decisions": [NEWSLETTER], "notice": house.notice}
    made = await house.linked(**body, requested_at="2026-10-31T08:00:00Z")
    letters = await house.dead_letters()
    for _ in range(2):
        assert (await confirm(house, made["path"])).status_code == 200
    (what,) = await house.whats(eve)
    assert what["double_opt_in"]["requested_at"] == "2026-10-31T08:00:00Z"
    await house.act_of_server(eve, type="consent.withdrawn", decisions=[NO_NEWSLETTER])
    # Whoever finds the old mail again takes nothing back.
    assert (await confirm(house, made["path"])).status_code == 200
    assert len(await house.whats(eve)) == 2
    assert await house.standing(eve, "newsletter") == (False, ["withdrawn"])
    assert await house.dead_letters() == letters


async def test_one_click_withdraws_every_time(house: House) -> None:
    eve = person()
    await house.act_of_server(eve, decisions=[NEWSLETTER])
    assert await house.standing(eve, "newsletter") == (True, [])
    made = await house.linked(kind="unsubscribe", identifier=eve, decisions=[NO_NEWSLETTER])
    assert made["headers"] == {
        "List-Unsubscribe": f"<{made['url']}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert parse_time(made["expires_at"]).year - time.gmtime().tm_year in {4, 5}
    page = await house.shop.client.get(made["path"], headers={**HTML, "accept-language": "es-MX"})
    assert "Retirar ahora" in page.text
    assert await house.standing(eve, "newsletter") == (True, [])

    # A name in more pieces than the standard library counts to presses nothing, and breaks nothing.
    broken = MULTIPART.replace(b'name="', b"name*" + b"9" * 5000 + b'*="')
    answer = await house.shop.client.post(made["path"], content=broken, headers=MULTIPART_TYPE)
    assert answer.status_code == 422
    assert await house.standing(eve, "newsletter") == (True, [])

    answer = await house.shop.client.post(made["path"], content=MULTIPART, headers=MULTIPART_TYPE)
    assert answer.status_code == 200, answer.text
    assert not {"set-cookie", "location"} & set(answer.headers)
    assert (await house.whats(eve))[-1]["capture"]["mechanism"] == "api"
    assert await house.standing(eve, "newsletter") == (False, ["withdrawn"])
    await house.act_of_server(eve, decisions=[NEWSLETTER])
    assert await house.standing(eve, "newsletter") == (True, [])
    pressed = await house.shop.client.post(made["path"], data=fields_of(page.text), headers=HTML)
    assert pressed.status_code == 200
    assert (await house.whats(eve))[-1]["capture"] == {
        "mechanism": "button",
        "element": "form",
        "action": "withdraw",
        "explicit": True,
    }
    assert await house.standing(eve, "newsletter") == (False, ["withdrawn"])


async def test_an_objection_by_one_click(house: House) -> None:
    eve = person()
    objection = {"purpose": "newsletter", "decision": "objected", "legal_basis": "legitimate_interest"}
    made = await house.linked(kind="unsubscribe", identifier=eve, decisions=[objection])
    assert (await click(house, made["path"])).status_code == 200
    assert [what["type"] for what in await house.whats(eve)] == ["consent.withdrawn"]
    assert await house.standing(eve, "newsletter") == (False, ["other_legal_basis", "objected"])


async def test_nothing_of_the_person_stands_in_the_address(house: House) -> None:
    eve = person()
    made = await house.linked(kind="unsubscribe", identifier=eve, decisions=[NO_NEWSLETTER])
    raw = base64.urlsafe_b64decode(made["token"].removeprefix("us_") + "===")
    assert eve["value"].encode() not in made["url"].encode() + raw
    page = await house.shop.client.get(made["path"], headers=HTML)
    assert eve["value"] not in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


@pytest.mark.parametrize(
    ("changes", "status", "problem", "pointer"),
    [
        ({"decisions": [NEWSLETTER]}, 422, "invalid-parameter", "/decisions"),
        ({"kind": "confirm", "decisions": [DENIAL]}, 422, "invalid-parameter", "/decisions"),
        ({"decisions": []}, 422, "invalid-parameter", "/decisions"),
        ({"decisions": [{**NO_NEWSLETTER, "purpose": "mind-reading"}]}, 422, "unknown-purpose", "/decisions/0/purpose"),
        ({"decisions": [{**DENIAL, "services": ["nobody"]}]}, 422, "unknown-service", "/decisions/0/services"),
        ({"decisions": [{**NO_NEWSLETTER, "legal_basis": "contract"}]}, 422, "invalid-parameter", "/decisions/0"),
        ({"decisions": [NO_NEWSLETTER] * 40}, 422, "invalid-parameter", "/decisions"),
        ({"identifier": {"type": "passport", "value": "x"}}, 422, "invalid-parameter", "/identifier/type"),
        ({"requested_at": "2026-10-31T08:00:00Z"}, 422, "invalid-parameter", "/requested_at"),
        (IN_THE_FUTURE, 422, "invalid-parameter", "/requested_at"),
        ({"life_days": 0}, 422, "invalid-parameter", "/life_days"),
        ({"colour": "red"}, 422, "invalid-parameter", ""),
    ],
)  # fmt: skip
async def test_what_no_link_is_made_for(
    house: House, changes: dict[str, Any], status: int, problem: str, pointer: str
) -> None:
    body = {"kind": "unsubscribe", "identifier": person(), "decisions": [NO_NEWSLETTER], **changes}
    answer = await house.link(**body)
    found = answer.json()
    assert (answer.status_code, found["type"], found.get("pointer")) == (status, f"/problems/{problem}", pointer)


async def test_only_a_server_key_makes_links(house: House) -> None:
    body = {"kind": "unsubscribe", "identifier": person(), "decisions": [NO_NEWSLETTER]}
    for headers, status, problem in (
        ({}, 401, "missing-key"),
        ({"authorization": f"Bearer {BROWSER_KEY}"}, 403, "type-not-allowed"),
        ({"authorization": "Bearer sk_" + "z" * 24 + "_" + "z" * 43}, 401, "wrong-key"),
    ):
        answer = await house.shop.client.post("/v1/links", json=body, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    answer = await house.shop.client.post(f"/v1/links?key={BROWSER_KEY}", json=body)
    assert answer.status_code == 401


async def test_a_link_that_is_not_valid(house: House) -> None:
    """Changed, run out, of the other kind, sealed by somebody else: the same page, and nothing recorded."""
    eve = person()
    made = await house.linked(kind="unsubscribe", identifier=eve, decisions=[NO_NEWSLETTER])
    token = made["token"]
    secret = read_secret(house.shop.deployment.keys / "capabilities.key")
    link = Link("unsubscribe", SITE, eve, [NO_NEWSLETTER], None, None, None)
    old = Links(Capabilities(secret), PUBLIC_URL).make(link, 1, int(time.time()) - 2 * 24 * 3600).token
    foreign = Links(Capabilities(bytes(32)), PUBLIC_URL).make(link, 1, int(time.time())).token
    nowhere = Link("unsubscribe", "gone.example", eve, [NO_NEWSLETTER], None, None, None)
    gone = Links(Capabilities(secret), PUBLIC_URL).make(nowhere, 1, int(time.time())).token
    changed = token[:20] + ("A" if token[20] != "A" else "B") + token[21:]
    for path in (f"/u/{changed}", f"/u/{old}", f"/u/{foreign}", f"/u/{gone}", f"/c/{token}", "/u/us_", "/u/x"):
        for answer in (await house.shop.client.get(path), await click(house, path)):
            assert (answer.status_code, answer.json()["type"]) == (404, "/problems/link-not-valid"), path
    page = await house.shop.client.get(f"/u/{old}", headers={**HTML, "accept-language": "fr"})
    assert page.status_code == 404
    assert "Ce lien n’est pas valable" in page.text
    assert await house.whats(eve) == []


@pytest.mark.parametrize("body", [b"", b"List-Unsubscribe=Two-Clicks", b"confirm=no", b"&" * 100])
async def test_a_post_that_presses_no_button(house: House, body: bytes) -> None:
    eve = person()
    for kind, decision in (("unsubscribe", NO_NEWSLETTER), ("confirm", GRANT)):
        made = await house.linked(kind=kind, identifier=eve, decisions=[decision])
        answer = await house.shop.client.post(made["path"], content=body, headers=BODY)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-parameter")
    assert await house.whats(eve) == []


async def test_a_link_outlives_the_key_it_was_made_with(house: House) -> None:
    eve = person()
    key = await house.shop.deployment.add_server_key()
    body = {"kind": "unsubscribe", "identifier": eve, "decisions": [NO_NEWSLETTER]}
    made = await house.shop.client.post("/v1/links", json=body, headers={"authorization": f"Bearer {key}"})
    name = key.rpartition("_")[0]
    await house.shop.deployment.fetch("UPDATE site_keys SET revoked_at = now() WHERE site_key = $1", name)
    assert (await click(house, made.json()["url"].removeprefix(PUBLIC_URL))).status_code == 200
    assert len(await house.whats(eve)) == 1


async def test_without_a_public_address_there_are_no_links(house: House) -> None:
    async with Shop(house.shop.deployment).running() as shop:
        body = {"kind": "unsubscribe", "identifier": person(), "decisions": [NO_NEWSLETTER]}
        key = await house.shop.deployment.add_server_key()
        answer = await shop.client.post("/v1/links", json=body, headers={"authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/links-not-configured")


async def test_a_link_that_is_pressed_without_end_waits(house: House) -> None:
    made = await house.linked(kind="unsubscribe", identifier=person(), decisions=[NO_NEWSLETTER])
    limit = {"rate_limit_unconfirmed_burst": 2, "rate_limit_unconfirmed_per_s": 0.001}
    async with Shop(house.shop.deployment).running(**limit) as shop:
        answers = [await shop.client.post(made["path"], content=ONE_CLICK, headers=BODY) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        # Another person's link is not theirs to use up.
        other = await house.linked(kind="unsubscribe", identifier=person(), decisions=[NO_NEWSLETTER])
        assert (await shop.client.post(other["path"], content=ONE_CLICK, headers=BODY)).status_code == 200


async def test_the_page_says_it_is_done_only_once_it_is_durable(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    eve = person()
    made = await house.linked(kind="unsubscribe", identifier=eve, decisions=[NO_NEWSLETTER])

    async def away(*_: object) -> None:
        raise StreamUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(InboxPublisher, "publish", away)
        for headers in (BODY, {**BODY, **HTML}):
            answer = await house.shop.client.post(made["path"], content=ONE_CLICK, headers=headers)
            assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
        assert "Nothing was recorded." in answer.text
        assert "Withdrawn" not in answer.text
    assert (await click(house, made["path"])).status_code == 200
    assert len(await house.whats(eve)) == 1


async def test_what_the_intake_refuses_is_not_called_done(house: House) -> None:
    eve = person()
    secret = read_secret(house.shop.deployment.keys / "capabilities.key")
    link = Link("unsubscribe", SITE, eve, [{**NO_NEWSLETTER, "purpose": "mind-reading"}], None, None, None)
    made = Links(Capabilities(secret), PUBLIC_URL).make(link, 1, int(time.time()))
    answer = await click(house, f"/u/{made.token}")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unknown-purpose")
    assert await house.whats(eve) == []


async def test_a_page_that_lay_open_too_long_still_confirms(house: House) -> None:
    """Its notice token says nothing any more, so nothing is said with it; the words are those of a published notice."""
    eve = person()
    made = await house.linked(kind="confirm", identifier=eve, decisions=[GRANT], notice=house.notice)
    assert (await confirm(house, made["path"], notice_token="x" * 5000)).status_code == 200
    (what,) = await house.whats(eve)
    assert ("marks" in what, what["words"]) == (False, "unverified")
    assert await house.standing(eve) == (True, [])
