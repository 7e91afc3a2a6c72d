"""What a visitor reads with a capability, and that nobody reads anybody else's: the subject is the token's alone."""

import time
from typing import Any

import httpx2
import pytest

from schemas.receipts_verify import read_jwks, verify_receipt
from services.capabilities import Capabilities
from services.keys import read_secret
from tests.integration.ingest.conftest import ORIGIN, SITE
from tests.integration.visitors.conftest import DENIAL, Browser, House, identity, person
from tests.support.deployment import fresh_uuid
from tests.support.rows import notice_content
from tests.support.wait import until

pytestmark = pytest.mark.integration

ROUTES = ("choices", "history", "events/01930f5e-7c1e-7b1a-9c55-000000000001/receipt")


def sealed(house: House, kind: Any = "visitor", **changes: Any) -> str:
    """A capability as our own secret would make it."""
    secret = read_secret(house.shop.deployment.keys / "capabilities.key")
    claims = {"site": SITE, "type": "cookie", "value": "v1.nobody", "exp": int(time.time()) + 60, **changes}
    return Capabilities(secret).seal(kind, claims)


async def test_the_first_answer_carries_a_capability_that_shows_the_choices(house: House) -> None:
    browser = await house.browser(context={"page": "/shop", "device": "mobile"})
    answer = await house.mine(browser, "choices")
    assert answer.status_code == 200, answer.text
    (decision,) = answer.json()["decisions"]
    assert (decision["purpose"], decision["valid"]) == ("chat-history", True)
    assert "subject" not in answer.json()
    (record,) = (await house.mine(browser, "history")).json()["records"]
    assert record["parts"]["who"] == {"identifiers": [browser.cookie]}
    assert record["parts"]["context"]["device"] == "mobile"
    assert record["parts"]["what"]["type"] == "consent.given"


async def test_history_in_pages(house: House) -> None:
    browser = await house.browser()
    for _ in range(2):
        await house.act(browser.cookie, type="consent.withdrawn", decisions=[DENIAL], capability=browser.capability)
    types: list[str] = []
    path = "history?limit=2"
    while path:
        page = (await house.mine(browser, path)).json()
        types += [record["parts"]["what"]["type"] for record in page["records"]]
        path = f"history?limit=2&cursor={page['next']}" if page["next"] else ""
    assert types == ["consent.given", "consent.withdrawn", "consent.withdrawn"]
    assert (await house.mine(browser, "history?limit=0")).status_code == 422


async def test_a_receipt_of_ones_own_act_verifies(house: House) -> None:
    browser, other = await house.browser(), await house.browser()
    (record,) = (await house.mine(browser, "history")).json()["records"]
    path = f"events/{record['event']}/receipt"

    async def published() -> bool:
        return (await house.mine(browser, path)).status_code == 200

    await until(published, what="the record is published")
    receipt = await house.mine(browser, path)
    keys = read_jwks((await house.query.get("/.well-known/jwks.json")).content)
    vkey = (await house.query.get("/logs/shop/vkey")).text.strip()
    assert verify_receipt(receipt.text, keys, vkey=vkey)["record_id"] == record["event"]
    as_json = await house.mine(browser, f"{path}?format=kantara", accept="application/json")
    assert as_json.json()["claims"]["version"] == "KI-CR-v1.1.0"
    assert (await house.mine(browser, path, accept="image/png")).status_code == 406
    stranger = await house.mine(other, path)
    assert (stranger.status_code, stranger.json()["type"]) == (404, "/problems/not-found")


async def test_nobody_reads_the_history_of_another(house: House) -> None:
    """Nor does naming a subject, an identifier or a controller in the request change whose it is."""
    mine, theirs = await house.browser(), await house.browser()
    for path in ("choices", "history"):
        own = (await house.mine(mine, path)).json()
        other = await house.mine(theirs, path)
        assert mine.cookie["value"] not in other.text
        # Two events were recorded: each sees one.
        assert [len(answer.get("decisions", answer.get("records"))) for answer in (own, other.json())] == [1, 1]
    subject = (await house.dpo.lookup("cookie", mine.cookie["value"])).json()["subject"]
    for query in (f"subject={subject}", f"type=cookie&value={mine.cookie['value']}"):
        assert mine.cookie["value"] not in (await house.mine(theirs, f"choices?{query}")).text
    # The controller's own routes take no capability.
    answer = await house.query.get(f"/v1/subjects/{subject}/history", headers=mine.bearer)
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/wrong-key")


async def test_a_browser_does_not_read_the_account_it_was_linked_to(house: House) -> None:
    """On a shared tablet the next visitor has the same browser."""
    browser, account = await house.browser(), {"type": "account", "value": person()["value"]}
    (asked,) = notice_content()["purposes"]
    words = notice_content(notice_id="account", purposes=[{**asked, "purpose": "orders", "scope": "account"}])
    shown = {"sha256": await house.publish(words), "language": "fr"}
    granted = {"purpose": "orders", "decision": "granted", "legal_basis": "consent"}
    await house.act_of_server(account, notice=shown, decisions=[granted])
    signed = identity(browser, account)
    linking = {"visitorkey": browser.key, "identity": signed, "decisions": None, "notice": None, "capture": None}
    await house.act(browser.cookie, account, type="identity.linked", **linking)
    # The controller is told what holds for whoever sits there now.
    assert await house.standing(browser.cookie, "orders") == (True, [])
    for path in ("choices", "history"):
        answer = await house.mine(browser, path)
        assert answer.status_code == 200, answer.text
        assert "orders" not in answer.text
        assert account["value"] not in answer.text


@pytest.mark.parametrize("path", ROUTES)
async def test_a_capability_that_is_not_valid(house: House, path: str) -> None:
    browser = await house.browser()
    changed = browser.capability[:-3] + ("AAA" if not browser.capability.endswith("AAA") else "BBB")
    foreign = Capabilities(bytes(32)).seal("visitor", {"site": SITE, "type": "cookie", "value": "v", "exp": 2**40})
    tokens = {
        "changed": changed,
        "expired": sealed(house, exp=int(time.time()) - 1),
        "of another service": foreign,
        "of a site that is not there": sealed(house, site="gone.example"),
        "of another kind": sealed(house, kind="confirm").replace("cf_", "cap_"),
        "an access key": house.dpo.key,
        "a visitor key": browser.key,
        "next to nothing": "cap_",
    }
    for name, token in tokens.items():
        headers = {"origin": ORIGIN, "authorization": f"Bearer {token}"}
        answer = await house.query.get(f"/v1/me/{path}", headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (401, "/problems/capability-not-valid"), name
        # The page must be able to tell this from a lost network.
        assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert (await house.query.get(f"/v1/me/{path}")).status_code == 401
    assert (await house.query.get(f"/v1/me/{path}?key={browser.capability}")).status_code == 401


async def test_a_browser_that_nothing_is_known_of(house: House) -> None:
    nobody = Browser(capability=sealed(house))
    for path in ROUTES:
        answer = await house.mine(nobody, path)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_an_erased_visitor_is_not_known_any_more(house: House) -> None:
    browser = await house.browser()
    subject = await house.shop.deployment.subject_of(browser.cookie["value"])
    assert subject is not None
    await house.shop.deployment.publish([house.shop.deployment.seal_erasure(subject)])

    async def gone() -> bool:
        return (await house.mine(browser, "choices")).status_code == 404

    await until(gone, what="the visitor is erased")
    assert (await house.mine(browser, "history")).status_code == 404
    # A later act is a new beginning, with nothing of before.
    await house.act(browser.cookie, visitorkey=browser.key, type="consent.withdrawn", decisions=[DENIAL])
    assert len((await house.mine(browser, "history")).json()["records"]) == 1


async def test_pages_of_the_site_may_read_and_others_may_not(house: House) -> None:
    browser = await house.browser()
    asked = {"origin": ORIGIN, "access-control-request-method": "GET"}
    preflight = await house.query.options(
        "/v1/me/choices", headers={**asked, "access-control-request-headers": "authorization"}
    )
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, ORIGIN)
    assert preflight.headers["access-control-allow-headers"] == "authorization, content-type, sayso-identity"
    assert preflight.headers["access-control-allow-methods"] == "GET, POST"
    allowed = await house.mine(browser, "choices")
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "origin" in allowed.headers["vary"]
    assert "access-control-allow-credentials" not in allowed.headers
    for origin in ("https://evil.example", "null", f"{ORIGIN}.evil.example"):
        refused = await house.mine(browser, "choices", origin=origin)
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/origin-not-allowed")
    # An app names no origin; other routes have no CORS.
    without: httpx2.Response = await house.query.get("/v1/me/choices", headers=browser.bearer)
    assert (without.status_code, "access-control-allow-origin" in without.headers) == (200, False)
    other = await house.query.get("/.well-known/jwks.json", headers={"origin": ORIGIN})
    assert "access-control-allow-origin" not in other.headers


async def test_who_has_signed_in_at_the_site_sees_the_account(house: House) -> None:
    """By the site's word about this very visitor, beside the capability; and never by the capability alone."""
    browser, other = await house.browser(), await house.browser()
    account = {"type": "account", "value": fresh_uuid()}
    await house.act_of_server(account, decisions=[DENIAL], type="consent.withdrawn")
    right = identity(browser, account)

    async def kinds(**headers: str) -> list[str]:
        answer = await house.mine(browser, "history", **headers)
        assert answer.status_code == 200, answer.text
        return [record["parts"]["what"]["type"] for record in answer.json()["records"]]

    assert await kinds() == ["consent.given"]
    assert await kinds(**{"sayso-identity": right}) == ["consent.withdrawn"]
    proofs = {"capability": browser.capability, "identity": right}
    await house.act(browser.cookie, account, type="identity.linked", decisions=None, notice=None, **proofs)
    # The browser is linked to this account alone: what it did is the account's to see, and not the other way round.
    assert await kinds() == ["consent.given"]
    assert await kinds(**{"sayso-identity": right}) == ["consent.given", "consent.withdrawn", "identity.linked"]
    choices = (await house.mine(browser, "choices", **{"sayso-identity": right})).json()["decisions"]
    assert {choice["decision"] for choice in choices} == {"denied"}

    for wrong in (
        identity(other, account),
        identity(browser, account, site="other.example"),
        identity(browser, account, exp=int(time.time())),
        identity(browser, account, exp=int(time.time()) + 2 * 3600),
        identity(browser, account, key="sk_nobody"),
        identity(browser, {"type": "shoe-size", "value": "44"}),
        identity(browser, {"value": "44"}),
        right[:-4] + "AAAA",
        right.partition(".")[0],
        "id_",
        "x",
    ):
        answer = await house.mine(browser, "history", **{"sayso-identity": wrong})
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/proof-needed"), wrong
    # The site's word without the browser is nobody's.
    answer = await house.query.get("/v1/me/history", headers={"origin": ORIGIN, "sayso-identity": right})
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/capability-not-valid")
