"""Whatever is posted to a route of query, by whoever may, is answered; nothing makes the service fail."""

import json
import random
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import pytest

from services.capabilities import Capabilities
from services.keys import read_secret
from services.query.parameters import encode_cursor
from services.stream.waiting import Waiting
from tests.integration.query.roles import EMAIL, MATRIX, SYSTEMS, VISITORS, Ids, ids_of, posted, request_of
from tests.integration.query.test_access import in_process
from tests.support.rows import Controller, World

pytestmark = pytest.mark.integration

ROUNDS: Final = 6
SEED: Final = 1
TEXTS: Final = (
    "", "x", "\x00", "a\x00b", "\ud800", "é", "\u202e", "'; DROP TABLE people; --", "../../etc/passwd", "%", "{}",
    "0", "-1", "1e999", "9" * 400, "NaN", "true", "null", "x" * 300, "=1+1", "\r\nx: y",
    "0001-01-01", "9999-12-31", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z",
    "2026-02-30", "P99Y999M", "P9999D", "P1D", "PT1S", "Europe", "Africa", "posixrules", ".", "x/y", "a" * 64,
    "https://[::1", "https://example.com/\x7f", "http://localhost:0/", "https://a:99999/", "https://xn--/",
    "age1" + "q" * 58, "X25519", "EC", "P-256", "AA", "ZZ", "17(1)(b)", "erasure", "access", "objection",
    "email", "who", "what", "csv", "parquet", "bundles", "chat-history", "2026-11-22", "2026-11-22T00:00:00Z",
)  # fmt: skip
NUMBERS: Final = (0, -1, 1, 2**31, 2**53, 2**63, 2**64, -(2**63), 1.5, 1e308)


def hostile(chance: random.Random) -> Any:
    kind = chance.randrange(8)
    if kind == 0:
        return chance.choice(NUMBERS)
    if kind == 1:
        return chance.choice((None, True, False))
    if kind == 2:
        return [hostile(chance) for _ in range(chance.randrange(3))]
    if kind == 3:
        return {chance.choice(TEXTS): hostile(chance) for _ in range(chance.randrange(3))}
    return chance.choice(TEXTS)


def fitting(schema: dict[str, Any], root: dict[str, Any], chance: random.Random) -> Any:
    """Something of the form that a schema asks for, but for a member in thirty."""
    if chance.randrange(30) == 0:
        return hostile(chance)
    if "$ref" in schema:
        return fitting(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root, chance)
    several = schema.get("anyOf", schema.get("oneOf"))
    if several is not None:
        return fitting(chance.choice(several), root, chance)
    if "const" in schema or "enum" in schema:
        return chance.choice(schema.get("enum", [schema.get("const")]))
    return of_type(schema, root, chance)


def of_type(schema: dict[str, Any], root: dict[str, Any], chance: random.Random) -> Any:
    match schema.get("type"):
        case "object":
            needed = set(schema.get("required", ()))
            members = {
                name: fitting(of, root, chance)
                for name, of in schema.get("properties", {}).items()
                if name in needed or chance.randrange(2)
            }
            return members | ({chance.choice(TEXTS): hostile(chance)} if chance.randrange(40) == 0 else {})
        case "array":
            return [fitting(schema.get("items", {}), root, chance) for _ in range(chance.randrange(3))]
        case "integer":
            return chance.choice((schema.get("minimum", 0), schema.get("maximum", 1), 1, 5))
        case "boolean":
            return chance.random() < 0.5
        case "string":
            return of_format(schema, chance)
    return None if schema.get("type") == "null" else hostile(chance)


def of_format(schema: dict[str, Any], chance: random.Random) -> str:
    if schema.get("format") == "uuid" or "[0-9a-f]{8}-" in schema.get("pattern", ""):
        return str(uuid4())
    if schema.get("format") == "date":
        return chance.choice(("0001-01-01", "9999-12-31", "2026-11-22", "2026-11-20"))
    if "[0-9a-f]{64}" in schema.get("pattern", ""):
        return "ab" * 32
    if "T" in schema.get("pattern", ""):
        return chance.choice(TIMES)
    if schema.get("maxLength") == 16:
        return chance.choice(DURATIONS)
    if schema.get("pattern", "").startswith("^[a-z0-9][a-z0-9._-]*"):
        return chance.choice(("chat-history", "chatra", "a..b", "0", "shop.example"))
    return chance.choice(TEXTS)


TIMES: Final = (
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-11-22T00:00:00Z", "2027-03-01T00:00:00Z",
    "2099-01-01T00:00:00Z",
)  # fmt: skip
DURATIONS: Final = ("P1D", "P99Y999M999W9999D", "P7D", "P9999D", "P31D")


def asked(
    route: str, described: dict[str, Any], ids: Ids, chance: random.Random
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Requests of a route: the arguments, and headers."""
    method, path_of = route.split()
    operation = described[path_of][method.lower()]
    parameters = operation.get("parameters", [])
    body = operation.get("requestBody", {}).get("content", {})
    for _ in range(ROUNDS):
        request = request_of(route, ids)
        path = path_of
        for parameter in parameters:
            schema, name = parameter.get("schema", {}), parameter["name"]
            if parameter["in"] == "path":
                value = fitting(schema, schema, chance) if chance.randrange(3) == 0 else ids[name]
                path = path.replace("{" + name + "}", escaped(str(value)))
            elif parameter["in"] == "query" and (parameter.get("required") or chance.randrange(3) == 0):
                value = encode_cursor((2**31 - 1, 2**62)) if name == "cursor" and chance.randrange(2) else None
                request["params"] = {**request["params"], name: words(value or fitting(schema, schema, chance))}
        request["url"] = path.format_map(ids)
        request.pop("json", None)
        for media_type, content in body.items():
            schema = content.get("schema", {})
            raw = json.dumps(fitting(schema, schema, chance))
            request["content"] = chance.choice((raw.encode(errors="replace"), raw.encode(), raw.encode()))
            request["headers"] = {"content-type": media_type}
        headers = request.pop("headers", {})
        for name in ("sayso-why", "prefer", "accept", "x-sayso-csrf", "cookie", "range"):
            if chance.randrange(4) == 0:
                headers[name] = chance.choice(HEADERS)
        yield request, headers


def words(value: Any) -> bytes:
    return ("" if value is None else value if isinstance(value, str) else json.dumps(value)).encode(errors="replace")


HEADERS: Final = (
    b"wait=1", b"wait=99999999999999999999", b"wait=\xb2", b"\xff\xfe", b"a;q=1.,*/*;q=\xb2", b"application/json;q=",
    b"application/zip", b"application/pdf", b"application/jose", b"text/plain", b"x" * 300, b"bytes=5-1,", b"=;=;",
    b"sayso_session=\xff; sayso_sign_in=si_AAAA",
)  # fmt: skip


def escaped(text: str) -> str:
    return "".join(
        c if (c.isascii() and c.isalnum()) or c in "._~-" else f"%{b:02X}"
        for c in text
        for b in c.encode(errors="replace")
    )


async def test_nothing_that_is_posted_makes_the_service_fail(
    world: World, shop: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(_self: Waiting, waiters: Any, _wait_s: int) -> list[None]:
        return [None for _ in waiters]

    # Nobody records here what is asked for.
    monkeypatch.setattr(Waiting, "settle", at_once)
    ids = ids_of(shop, *await posted(shop))
    keys = {role: await shop.access_key(role) for role in ("site", "privacy", "dpo", "auditor", "admin")}
    failed: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = []
    async with in_process(world) as client:
        described = (await client.get("/openapi.json")).json()["paths"]
        cap = Capabilities(read_secret(world.directory / "capabilities.key")).seal(
            "visitor", {"site": shop.site_name, "type": "email", "value": EMAIL, "exp": 2**40}
        )
        routes: dict[str, frozenset[str] | None] = {
            **MATRIX,
            **dict.fromkeys(sorted(VISITORS | SYSTEMS), frozenset({"subject"})),
        }
        keys["subject"] = cap
        for nth, (route, roles) in enumerate(routes.items()):
            chance = random.Random(SEED + nth)
            for request, headers in asked(route, described, ids, chance):
                role = chance.choice(sorted(roles or {"dpo"}))
                if not (roles is None and chance.randrange(2)):
                    headers["authorization"] = f"Bearer {keys[role]}"
                response = await client.request(**request, headers=headers)
                if response.status_code == 500:
                    failed.append((route, role, request, headers))
    assert failed == []
