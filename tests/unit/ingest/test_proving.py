"""Who may speak for an identifier: each way to prove one, each way to fail, and what a link needs."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from schemas.errors import ProofNeeded
from schemas.event_types import BROWSER_TYPES, SERVER_TYPES
from schemas.visitors import visitor_id
from services.capabilities import Capabilities
from services.ingest.auth import Caller
from services.ingest.proving import Named, Proven, Proving
from services.ingest.reading import Readable
from services.ingest.sites import SiteId
from services.keys import secret_digest

pytestmark = pytest.mark.unit

NOW = 1_795_341_600
KEY, OTHER_KEY = "vk_" + "k" * 43, "vk_" + "o" * 43
NUMBER = visitor_id(KEY)
SECRET = "S" * 43
CAPABILITIES = Capabilities(bytes(range(32)))


def caller(kind: str, site: int = 1, name: str = "shop.example") -> Caller:
    browser = kind == "pk"
    return Caller(
        kind="pk" if browser else "sk",
        site=SiteId(1, site),
        controller_name="shop",
        site_name=name,
        log="shop",
        secret_sha256=None if browser else secret_digest(SECRET),
        origins=frozenset(),
        source=f"/sites/{name}",
        types=BROWSER_TYPES if browser else SERVER_TYPES,
        posted_by="browser" if browser else "server",
    )


SERVER_KEYS = {"sk_shop": caller("sk"), "sk_blog": caller("sk", 2, "blog.example"), "pk_shop": caller("pk")}


async def server_key(name: str) -> Caller | None:
    return SERVER_KEYS.get(name)


PROVING = Proving(CAPABILITIES, server_key)


async def test_the_database_is_asked_only_for_what_can_be_a_key() -> None:
    """The name stands in an identity that anybody can write: it may hold a NUL, or fill the memory of look-ups."""
    asked: list[str] = []

    async def looked_up(name: str) -> Caller | None:
        asked.append(name)
        return SERVER_KEYS.get(name)

    written = ["sk_\x00", "sk_" + "a" * 65, "pk_shop", "sk_a b", "", "sk_shop", "sk_shop"]
    events = [Readable({"identity": identity(key=name)}, b"") for name in written]
    assert list(await Proving(CAPABILITIES, looked_up).signers(events)) == ["sk_shop"]
    assert asked == ["sk_shop"]


def identity(secret: str = SECRET, **changes: Any) -> str:
    """What a site's server signs for a visitor, by the recipe of docs/visitors.md and nothing of ours."""
    payload = {"key": "sk_shop", "site": "shop.example", "visitor": NUMBER, "exp": NOW + 600}
    payload |= {"identifier": {"type": "account", "value": "u-17"}} | changes
    raw = json.dumps(payload).encode()
    mac = hmac.new(hashlib.sha256(secret.encode()).digest(), b"sayso/identity/v1\n" + raw, "sha256").digest()
    return "id_" + ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (raw, mac))


def capability(**changes: Any) -> str:
    claims = {"site": "shop.example", "type": "cookie", "value": NUMBER, "exp": NOW + 60}
    return CAPABILITIES.seal("visitor", claims | changes)


async def prove(
    *named: tuple[str, str], by: str = "pk", event_type: str = "consent.given", state: str | None = None, **proofs: str
) -> Proven:
    data: dict[str, Any] = {"subject": {"identifiers": [{"type": kind, "value": value} for kind, value in named]}}
    if state is not None:
        data["link"] = {"state": state}
    value = {"type": event_type, "data": data, **proofs}
    signers = await PROVING.signers([Readable(value, b"")])
    return PROVING.prove(value, caller(by), signers, NOW)


COOKIE, ACCOUNT = ("cookie", NUMBER), ("account", "u-17")


async def test_a_visitor_key_proves_its_number_and_brings_a_capability() -> None:
    for kind in ("cookie", "installation"):
        proven = await prove((kind, NUMBER), visitorkey=KEY)
        assert proven == (True, Named(kind, NUMBER))
    made = PROVING.grant("shop.example", Named("cookie", NUMBER), NOW)
    assert await prove(COOKIE, capability=made) == (True, None)


@pytest.mark.parametrize(
    ("named", "proofs"),
    [
        ([COOKIE], {}),
        ([("cookie", "v-12")], {"visitorkey": KEY}),
        ([COOKIE], {"visitorkey": OTHER_KEY}),
        ([("email", NUMBER)], {"visitorkey": KEY}),
        ([COOKIE], {"capability": capability(exp=NOW)}),
        ([COOKIE], {"capability": capability(site="blog.example")}),
        ([COOKIE], {"capability": capability(value=visitor_id(OTHER_KEY))}),
        ([COOKIE], {"capability": Capabilities(bytes(32)).seal("visitor", {"site": "shop.example", "exp": NOW + 9})}),
        ([COOKIE], {"capability": "cap_" + CAPABILITIES.seal("confirm", {"site": "x", "exp": NOW + 9})[3:]}),
        ([COOKIE], {"capability": capability()[:-1]}),
        ([("email", "a@b.example")], {"visitorkey": KEY}),
        ([COOKIE, ("email", "a@b.example")], {"visitorkey": KEY}),
        # An identity alone: whoever copied it off another's screen has no visitor key of theirs.
        ([ACCOUNT], {"identity": identity()}),
        ([ACCOUNT], {"identity": identity(), "visitorkey": OTHER_KEY}),
        ([("account", "u-18")], {"identity": identity(), "visitorkey": KEY}),
        ([("email", "u-17")], {"identity": identity(), "visitorkey": KEY}),
        ([ACCOUNT], {"identity": identity(exp=NOW), "visitorkey": KEY}),
        ([ACCOUNT], {"identity": identity(exp=NOW + 9000), "visitorkey": KEY}),
        ([ACCOUNT], {"identity": identity(exp="tomorrow"), "visitorkey": KEY}),
        ([ACCOUNT], {"identity": identity(site="blog.example"), "visitorkey": KEY}),
        ([ACCOUNT], {"identity": identity(key="sk_blog"), "visitorkey": KEY}),
        ([ACCOUNT], {"identity": identity(key="sk_nobody"), "visitorkey": KEY}),
        ([ACCOUNT], {"identity": identity(key=["sk_shop"]), "visitorkey": KEY}),
        ([ACCOUNT], {"identity": identity(visitor=[NUMBER]), "visitorkey": KEY}),
        ([ACCOUNT], {"identity": identity(secret="T" * 43), "visitorkey": KEY}),
        ([ACCOUNT], {"identity": identity(identifier="u-17"), "visitorkey": KEY}),
        ([ACCOUNT], {"identity": "id_bm90aGluZw.bm90aGluZw", "visitorkey": KEY}),
    ],
)
async def test_what_does_not_prove(named: list[tuple[str, str]], proofs: dict[str, str]) -> None:
    assert not (await prove(*named, **proofs)).confirmed


async def test_what_the_site_signed_for_this_visitor_proves() -> None:
    assert (await prove(ACCOUNT, identity=identity(), visitorkey=KEY)).confirmed
    assert (await prove(ACCOUNT, identity=identity(), capability=capability())).confirmed


async def test_a_server_is_believed_but_may_not_attach_a_browser_it_did_not_see() -> None:
    assert (await prove(("email", "a@b.example"), by="sk")).confirmed
    linked = {"by": "sk", "event_type": "identity.linked"}
    for proofs in ({}, {"visitorkey": OTHER_KEY}, {"capability": capability(site="blog.example")}):
        with pytest.raises(ProofNeeded):
            await prove(COOKIE, ACCOUNT, **linked, **proofs)
    with pytest.raises(ProofNeeded):
        await prove(("email", "a@b.example"), ACCOUNT, **linked)
    assert (await prove(COOKIE, ACCOUNT, **linked, capability=capability())).confirmed
    assert (await prove(COOKIE, ACCOUNT, state="ended", **linked)).confirmed


async def test_a_page_links_only_itself_to_whom_the_site_names() -> None:
    linked = {"event_type": "identity.linked"}
    for proofs in (
        {},
        {"visitorkey": KEY},
        {"identity": identity()},
        {"visitorkey": OTHER_KEY, "identity": identity()},
    ):
        with pytest.raises(ProofNeeded):
            await prove(COOKIE, ACCOUNT, **linked, **proofs)
    assert (await prove(COOKIE, ACCOUNT, **linked, visitorkey=KEY, identity=identity())).confirmed
    with pytest.raises(ProofNeeded):
        await prove(COOKIE, ACCOUNT, state="ended", **linked, visitorkey=OTHER_KEY)
    # To end a link takes nothing but being that browser; whose account it was stays unsaid and unproven.
    assert not (await prove(COOKIE, ACCOUNT, state="ended", **linked, visitorkey=KEY)).confirmed


def test_a_token_is_ours_whole_and_in_time() -> None:
    token = capability()
    assert CAPABILITIES.open("visitor", token, NOW) is not None
    for position in range(4, len(token)):
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        assert CAPABILITIES.open("visitor", changed, NOW) is None
    for odd in ("", "cap_", "cap_%%%", "cap_é", "cf_" + token[4:], token + "=", token + "A"):
        assert CAPABILITIES.open("visitor", odd, NOW) is None
    assert NUMBER.encode() not in base64.urlsafe_b64decode(token[4:] + "==")
