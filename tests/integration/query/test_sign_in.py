"""Sign-in against a real OpenID provider: what ties it to one browser, invitations, sessions, forged requests."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx2
import pytest
from joserfc.jwk import KeySet, RSAKey

from schemas.errors import ConfigurationError
from services.capabilities import Capabilities
from services.keys import read_secret
from services.query.app import create_app
from services.query.sign_in.provider import Attempt, Provider, challenge_of, subject_sha256
from tests.integration.query.conftest import serving, settings_of
from tests.support.openid import OpenIdProvider
from tests.support.rows import Controller, World

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    with OpenIdProvider(tmp_path_factory.mktemp("openid") / "log") as running:
        yield running


@dataclass
class Place:
    """A deployment that people can sign in to."""

    provider: OpenIdProvider
    url: str

    @asynccontextmanager
    async def browser(self) -> AsyncIterator["Browser"]:
        async with httpx2.AsyncClient(base_url=self.url) as client:
            yield Browser(self, client)


@dataclass
class Browser:
    """One person's browser: it keeps cookies, and shows where it is."""

    place: Place
    client: httpx2.AsyncClient

    async def begin(self, **asked: str) -> str:
        """Where the provider is to be visited."""
        response = await self.client.get("/v1/sign-in", params=asked)
        assert response.status_code == 302, response.text
        return str(response.headers["location"])

    async def sign_in(self, name: str, **asked: str) -> httpx2.Response:
        """All of it; the answer to the provider's redirect back."""
        back = await self.place.provider.sign_in(self.client, await self.begin(**asked), name)
        return await self.client.get(back)

    async def session(self) -> dict[str, Any]:
        response = await self.client.get("/v1/session")
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def guarded(self, **changes: str) -> dict[str, str]:
        """The headers that a page of ours sends with what changes something."""
        return {"origin": self.place.url, "x-sayso-csrf": (await self.session())["csrf"], **changes}


@pytest.fixture
async def place(world: World, provider: OpenIdProvider, tmp_path: Path) -> AsyncIterator[Place]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    settings = settings_of(world, **await registered(provider, url, tmp_path))
    async with serving(settings, port=urlsplit(url).port or 0) as address:
        assert address == url
        yield Place(provider, url)


async def registered(provider: OpenIdProvider, url: str, folder: Path) -> dict[str, Any]:
    """The settings of a deployment reached at `url`, which the provider now knows."""
    client = await provider.register(f"{url}/v1/sign-in/callback")
    secret = folder / "client.secret"
    secret.write_text(client.secret + "\n")
    secret.chmod(0o600)
    return {
        "query_public_url": url,
        "oidc_issuer": provider.issuer,
        "oidc_client_id": client.identity,
        "oidc_client_secret_file": secret,
    }


async def invited(place: Place, controller: Controller, role: str, name: str = "Ada") -> tuple[str, str]:
    """A new person's id and the path of the link."""
    headers = {"authorization": f"Bearer {await controller.access_key('admin')}"}
    async with httpx2.AsyncClient(base_url=place.url) as client:
        response = await client.post("/v1/people", json={"name": name, "role": role}, headers=headers)
    assert response.status_code == 201, response.text
    url = urlsplit(response.json()["url"])
    assert f"{url.scheme}://{url.netloc}" == place.url
    return response.json()["person"], dict(parse_qsl(url.query))["invitation"]


def problem(response: httpx2.Response) -> str:
    return str(response.json()["type"]).removeprefix("/problems/")


async def test_an_invited_person_signs_in_acts_and_signs_out(place: Place, world: World, shop: Controller) -> None:
    person, invitation = await invited(place, shop, "privacy")
    async with place.browser() as ada:
        assert problem(await ada.client.get("/v1/session")) == "missing-key"
        response = await ada.sign_in("ada@example.com", invitation=invitation)
        assert (response.status_code, response.headers["location"]) == (303, "/v1/session")
        cookie = response.headers.get_list("set-cookie")[-1]
        assert cookie.startswith("sayso_session=")
        assert {"HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
        session = await ada.session()
        assert session == {
            "controller": "shop",
            "role": "privacy",
            "key": f"person:{person}",
            "name": "Ada",
            "csrf": session["csrf"],
        }
        assert (await ada.client.get("/v1/catalogue")).status_code == 200
        assert problem(await ada.client.get("/v1/keys", headers={"authorization": "Bearer ak_x_y"})) == "wrong-key"
        assert (await ada.client.post("/v1/sign-out", headers=await ada.guarded())).status_code == 204
        assert problem(await ada.client.get("/v1/session")) == "missing-key"
        # Later, without an invitation, and to where she wanted to go.
        response = await ada.sign_in("ada@example.com", controller="shop", to="/v1/catalogue?x=1")
        assert response.headers["location"] == "/v1/catalogue?x=1"
        assert (await ada.session())["key"] == f"person:{person}"
    # Nothing of the provider's name for her is kept.
    stored = await world.execute("SELECT subject_sha256 FROM people WHERE person = $1::text::uuid", person)
    assert stored == subject_sha256(place.provider.issuer, "ada@example.com")
    for table in ("people", "sessions"):
        assert "ada@example" not in await world.execute(f"SELECT string_agg(t::text, ' ') FROM {table} t")


async def test_who_was_signed_out_is_out_with_a_copy_of_the_cookie(place: Place, shop: Controller) -> None:
    _, invitation = await invited(place, shop, "dpo")
    async with place.browser() as ada, place.browser() as thief:
        await ada.sign_in("ada", invitation=invitation)
        thief.client.cookies.set("sayso_session", ada.client.cookies["sayso_session"])
        assert (await thief.session())["role"] == "dpo"
        await ada.client.post("/v1/sign-out", headers=await ada.guarded())
        assert problem(await thief.client.get("/v1/session")) == "session-over"
        thief.client.cookies.set("sayso_session", "made-up")
        assert problem(await thief.client.get("/v1/session")) == "session-over"


async def test_only_people_of_the_controller_come_in(place: Place, world: World, shop: Controller) -> None:
    """A stranger, a person of another controller, and a controller that is not there: one answer."""
    other = await world.controller("other")
    _, invitation = await invited(place, other, "dpo")
    async with place.browser() as eve:
        assert (await eve.sign_in("eve", invitation=invitation)).status_code == 303
        eve.client.cookies.clear()
        answers = [await eve.sign_in(name, controller=where) for name, where in (("eve", "shop"), ("eve", "nowhere"))]
        eve.client.cookies.clear()
        answers.append(await eve.sign_in("mallory", controller="other"))
        assert {(answer.status_code, answer.content) for answer in answers} == {(403, answers[0].content)}
        assert problem(answers[0]) == "not-among-people"
        assert "sayso_session" not in eve.client.cookies
    assert shop.name == "shop"


async def test_an_invitation_is_good_once_and_for_one_identity(place: Place, world: World, shop: Controller) -> None:
    _, first = await invited(place, shop, "privacy")
    _, second = await invited(place, shop, "dpo", "Ada again")
    removed, third = await invited(place, shop, "dpo", "Bob")
    async with place.browser() as ada, place.browser() as bob:
        assert (await ada.sign_in("ada", invitation=first)).status_code == 303
        # The same human cannot be the second person too.
        assert problem(await ada.sign_in("ada", invitation=second)) == "already-among-people"
        assert problem(await bob.sign_in("bob", invitation=first)) == "link-not-valid"
        admin = {"authorization": f"Bearer {await shop.access_key('admin')}"}
        assert (await bob.client.delete(f"/v1/people/{removed}", headers=admin)).status_code == 204
        assert problem(await bob.sign_in("bob", invitation=third)) == "link-not-valid"
        changed = await bob.client.get("/v1/sign-in", params={"invitation": second[:-4] + "AAAA"})
        assert (changed.status_code, problem(changed)) == (404, "link-not-valid")
        assert (await bob.sign_in("bob", invitation=second)).status_code == 303
        assert (await bob.session())["role"] == "dpo"
        people = (await bob.client.get("/v1/people")).json()["people"]
        assert [(p["name"], p["role"], p["has_signed_in"]) for p in people] == [
            ("Ada", "privacy", True),
            ("Ada again", "dpo", True),
        ]


async def test_a_removed_person_is_out_at_once(place: Place, world: World, shop: Controller) -> None:
    person, invitation = await invited(place, shop, "admin")
    other = await world.controller("other")
    async with place.browser() as ada:
        await ada.sign_in("ada", invitation=invitation)
        path = f"/v1/people/{person}"
        strange = {"authorization": f"Bearer {await other.access_key('admin')}"}
        async with httpx2.AsyncClient(base_url=place.url) as client:
            assert problem(await client.delete(path, headers=strange)) == "not-found"
            assert (await ada.session())["role"] == "admin"
            own = {"authorization": f"Bearer {await shop.access_key('admin')}"}
            assert (await client.delete(path, headers=own)).status_code == 204
            assert problem(await client.delete(path, headers=own)) == "not-found"
        assert problem(await ada.client.get("/v1/session")) == "session-over"
        assert problem(await ada.sign_in("ada", controller="shop")) == "not-among-people"


async def test_a_session_ends_when_it_is_not_used_and_after_twelve_hours(
    place: Place, world: World, shop: Controller
) -> None:
    _, invitation = await invited(place, shop, "dpo")
    async with place.browser() as ada:
        await ada.sign_in("ada", invitation=invitation)
        # 30 minutes later it is used: it has an hour again.
        await world.execute("UPDATE sessions SET expires_at = expires_at - interval '30 minutes'")
        await ada.session()
        assert await world.execute("SELECT expires_at > now() + interval '59 minutes' FROM sessions")
        # Eleven and a half hours after it began, an hour is too much.
        await world.execute(
            "UPDATE sessions SET began_at = now() - interval '11.5 hours', expires_at = now() + '5 min'"
        )
        await ada.session()
        assert await world.execute("SELECT expires_at BETWEEN now() + '29 min' AND now() + '31 min' FROM sessions")
        await world.execute("UPDATE sessions SET expires_at = now()")
        assert problem(await ada.client.get("/v1/session")) == "session-over"
        # It is forgotten when the person signs in again.
        await ada.sign_in("ada", controller="shop")
        assert await world.execute("SELECT count(*) FROM sessions") == 1


async def test_a_forged_request_changes_nothing(place: Place, shop: Controller) -> None:
    _, invitation = await invited(place, shop, "admin")
    async with place.browser() as ada:
        await ada.sign_in("ada", invitation=invitation)
        right = await ada.guarded()
        for forged in (
            {"origin": right["origin"]},
            {"x-sayso-csrf": right["x-sayso-csrf"]},
            {**right, "x-sayso-csrf": ""},
            {**right, "x-sayso-csrf": "A" * 43},
            {**right, "origin": "https://evil.example"},
            {**right, "origin": "null"},
        ):
            response = await ada.client.post("/v1/sign-out", headers=forged)
            assert (response.status_code, problem(response)) == (403, "forgery-guard-missing"), forged
            assert (await ada.session())["role"] == "admin"


async def test_a_sign_in_belongs_to_the_browser_that_began_it(place: Place, shop: Controller) -> None:
    """Another's answer, a changed state, a code used twice or stolen, another provider's name: nobody comes in."""
    _, invitation = await invited(place, shop, "dpo")
    async with place.browser() as ada, place.browser() as mallory:
        await ada.sign_in("ada", invitation=invitation)
        ada.client.cookies.delete("sayso_session")
        url = await ada.begin(controller="shop")
        sent = dict(parse_qsl(urlsplit(url).query))
        assert (sent["code_challenge_method"], sent["response_type"], sent["scope"]) == ("S256", "code", "openid")
        back = await place.provider.sign_in(ada.client, url, "ada")
        kept = ada.client.cookies["sayso_sign_in"]
        # A link with Mallory's own code, or Ada's code in Mallory's browser.
        assert problem(await mallory.client.get(back)) == "sign-in-failed"
        await mallory.begin(controller="shop")
        assert problem(await mallory.client.get(back)) == "sign-in-failed"
        for name, value in (("state", "x"), ("iss", "https://evil.example"), ("code", "x")):
            assert problem(await ada.client.get(with_query(back, name, value))) == "sign-in-failed", name
        assert problem(await ada.client.get(with_query(back, "iss", None))) == "sign-in-failed"
        assert problem(await ada.client.get(with_query(back, "code", None))) == "sign-in-failed"
        assert (await ada.client.get(back)).status_code == 303
        ada.client.cookies.set("sayso_sign_in", kept)
        ada.client.cookies.delete("sayso_session")
        assert problem(await ada.client.get(back)) == "sign-in-failed"
        assert "sayso_session" not in ada.client.cookies


async def test_a_code_without_our_verifier_is_worth_nothing(place: Place, shop: Controller) -> None:
    """PKCE: whoever reads the code on its way back cannot redeem it, though state and client are right."""
    _, invitation = await invited(place, shop, "dpo")
    async with place.browser() as ada:
        url = await ada.begin(invitation=invitation)
        swapped = with_query(url, "code_challenge", challenge_of("v" * 43))
        back = await place.provider.sign_in(ada.client, swapped, "ada")
        assert problem(await ada.client.get(back)) == "sign-in-failed"
        # The provider itself insists on a challenge.
        back = await place.provider.sign_in(ada.client, with_query(url, "code_challenge", None), "ada")
        assert "error=invalid_request" in back


async def test_a_replayed_token_of_another_sign_in_is_refused(place: Place, shop: Controller) -> None:
    """The nonce: the provider is asked with another than the browser's cookie holds."""
    _, invitation = await invited(place, shop, "dpo")
    async with place.browser() as ada:
        url = with_query(await ada.begin(invitation=invitation), "nonce", "another")
        back = await place.provider.sign_in(ada.client, url, "ada")
        assert problem(await ada.client.get(back)) == "sign-in-failed"


def with_query(url: str, name: str, value: str | None) -> str:
    """The address with one parameter changed, or left out."""
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), name: value}
    kept = urlencode({key: word for key, word in query.items() if word is not None})
    return urlunsplit(parts._replace(query=kept))


async def test_the_way_back_stays_on_this_host_and_the_controller_is_named_once(place: Place) -> None:
    ways = ["https://evil.example/", "//evil.example", "/\\evil.example", "/a b", "", "x"]
    async with place.browser() as ada:
        for asked, pointer in (
            *[({"controller": "shop", "to": to}, "/to") for to in ways],
            ({}, "/controller"),
            ({"controller": "shop", "invitation": "iv_x"}, "/controller"),
            ({"controller": "No/Such"}, "/controller"),
        ):
            response = await ada.client.get("/v1/sign-in", params=asked)
            assert (response.status_code, response.json()["pointer"]) == (422, pointer), asked


async def test_what_is_sealed_under_the_key_that_ingest_holds_opens_nothing(
    place: Place, world: World, shop: Controller
) -> None:
    links, visitors = (
        Capabilities(read_secret(world.directory / name)) for name in ("query/links.key", "capabilities.key")
    )
    person, _ = await invited(place, shop, "admin")
    invitation = {"controller": "shop", "person": person, "exp": 2**33}
    async with place.browser() as ada:
        for sealing, status in ((visitors, 404), (links, 302)):
            asked = {"invitation": sealing.seal("invite", invitation)}
            assert (await ada.client.get("/v1/sign-in", params=asked)).status_code == status
        # An attempt that is right in everything but its seal.
        back = await place.provider.sign_in(ada.client, await ada.begin(controller="shop"), "ada")
        claims = links.open("sign-in", ada.client.cookies["sayso_sign_in"], 0)
        assert claims is not None
        claims |= {"person": person}
        for sealing, expected in ((visitors, 403), (links, 303)):
            headers = {"cookie": f"sayso_sign_in={sealing.seal('sign-in', claims)}"}
            async with httpx2.AsyncClient(base_url=place.url, headers=headers) as other:
                assert (await other.get(back)).status_code == expected
        assert "\nsayso_query_sign_ins_failed_total 1.0\n" in (await ada.client.get("/metrics")).text


async def test_over_https_cookies_are_bound_to_the_host(world: World, provider: OpenIdProvider, tmp_path: Path) -> None:
    public = "https://answers.shop.example"
    settings = settings_of(world, **await registered(provider, public, tmp_path))
    async with serving(settings) as address, httpx2.AsyncClient(base_url=address) as client:
        response = await client.get("/v1/sign-in", params={"controller": "shop"})
        cookie = response.headers["set-cookie"]
        assert cookie.startswith("__Host-sayso-sign-in=si_")
        assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
        assert f"redirect_uri={urlencode({'': public})[1:]}" in response.headers["location"]


async def test_keys_that_the_provider_has_replaced_are_fetched_again(provider: OpenIdProvider, world: World) -> None:
    """And a token under a key that it never published is refused."""
    client = await provider.register("http://127.0.0.1:1/v1/sign-in/callback")
    before = KeySet([RSAKey.generate_key(2048, {"kid": "first"})])
    attempt = Attempt("s" * 43, "n" * 43, "v" * 43)
    assert world.directory.is_dir()
    async with (
        Provider(provider.issuer, *client, "http://127.0.0.1:1") as ours,
        httpx2.AsyncClient() as browser,
    ):
        back = await provider.sign_in(browser, await ours.begin(attempt), "ada")
        sent = dict(parse_qsl(urlsplit(back).query))
        ours._keys = (time.monotonic() - 61, before)
        identity = await ours.finish(attempt, sent["code"], sent["iss"])
        assert identity == (provider.issuer, subject_sha256(provider.issuer, "ada"))


async def test_without_a_provider_there_are_keys_alone(client: httpx2.AsyncClient, shop: Controller) -> None:
    response = await client.get("/v1/sign-in", params={"controller": "shop"})
    assert (response.status_code, problem(response)) == (409, "sign-in-not-configured")
    assert problem(await client.get("/v1/sign-in/callback", params={"state": "x", "code": "y"})) == problem(response)
    headers = {"authorization": f"Bearer {await shop.access_key('admin')}"}
    answer = await client.post("/v1/people", json={"name": "Ada", "role": "dpo"}, headers=headers)
    assert problem(answer) == "sign-in-not-configured"


async def test_a_provider_that_is_away_keeps_nobody_else_out(
    world: World, provider: OpenIdProvider, shop: Controller, tmp_path: Path
) -> None:
    settings = settings_of(world, **await registered(provider, "http://127.0.0.1:1", tmp_path))
    for issuer in ("http://127.0.0.1:1", f"{provider.issuer}/"):
        changed = settings.model_copy(update={"oidc_issuer": issuer})
        async with serving(changed) as address, httpx2.AsyncClient(base_url=address) as client:
            response = await client.get("/v1/sign-in", params={"controller": "shop"})
            # The second names itself without the slash: another issuer than we were told of.
            assert (response.status_code, problem(response)) == (503, "sign-in-away")
            headers = {"authorization": f"Bearer {await shop.access_key('dpo')}"}
            assert (await client.get("/v1/session", headers=headers)).json()["role"] == "dpo"


async def test_half_a_provider_is_refused_at_the_start(world: World, provider: OpenIdProvider, tmp_path: Path) -> None:
    whole = await registered(provider, "http://127.0.0.1:1", tmp_path)
    for name in whole:
        with pytest.raises(ConfigurationError, match="SAYSO_OIDC_ISSUER"):
            create_app(settings_of(world, **{**whole, name: None}))
    with pytest.raises(ConfigurationError, match="https"):
        create_app(settings_of(world, **{**whole, "oidc_issuer": "http://login.example"}))
    whole["oidc_client_secret_file"].chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        create_app(settings_of(world, **whole))
