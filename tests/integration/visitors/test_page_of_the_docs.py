"""docs/visitors.md tells the truth: its JavaScript acts and reads, its Python signs, against the running services."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from schemas.visitors import visitor_id
from tests.integration.ingest.conftest import BROWSER_KEY, ORIGIN, SECRET, SERVER_KEY, SITE
from tests.integration.visitors.conftest import House, person

pytestmark = pytest.mark.integration

PAGE = Path(__file__).resolve().parents[3] / "docs" / "visitors.md"
# A browser names the origin of the page by itself, and Node does not.
AROUND = """
const {{ INGEST, QUERY, ORIGIN }} = {settings};
const plain = globalThis.fetch;
globalThis.fetch = (url, how) => plain(url, {{ ...how, headers: {{ ...how.headers, origin: ORIGIN }} }});
{acting}
{reading}
console.log(JSON.stringify({{ key, visitor, status: answer.status, choices: await mine.json() }}));
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


async def test_the_javascript(house: House) -> None:
    acting, reading = blocks("js")
    acting = acting.replace("pk_...", BROWSER_KEY).replace("{\n  method", '{\n  headers: { prefer: "wait=20" }, method')
    addresses = {"INGEST": str(house.shop.client.base_url), "QUERY": str(house.query.base_url), "ORIGIN": ORIGIN}
    addresses = {name: address.rstrip("/") for name, address in addresses.items()}
    node = Path(sys.executable).with_name("node")
    program = AROUND.format(settings=json.dumps(addresses), acting=acting, reading=reading)
    process = await asyncio.create_subprocess_exec(
        node, "--input-type=module", "-e", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    said = json.loads(output)
    assert (said["status"], said["visitor"]) == (201, visitor_id(said["key"]))
    assert [decision["purpose"] for decision in said["choices"]["decisions"]] == ["chat-history"]


async def test_the_python(house: House) -> None:
    browser, account = await house.browser(), person()["value"]
    (source,) = blocks("python")
    names: dict[str, object] = {}
    exec(source, names)  # noqa: S102 - the page's own example is what is tested
    sign = names["sign_identity"]
    assert callable(sign)
    identity = sign(f"{SERVER_KEY}_{SECRET}", SITE, browser.cookie["value"], account)
    linking = {"identity": identity, "visitorkey": browser.key, "decisions": None, "notice": None, "capture": None}
    await house.act(browser.cookie, {"type": "account", "value": account}, type="identity.linked", **linking)


async def test_its_links_are_answered_as_it_says(house: House) -> None:
    bodies = re.findall(r"INGEST/v1/links.*?-d '(.*?)'\n", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    answers = [json.loads(block) for block in blocks("json")[1:]]
    for body, shown in zip(bodies, answers, strict=True):
        asked = json.loads(body)
        if "notice" in asked:
            asked["notice"] = house.notice
        made = await house.link(**asked)
        assert made.status_code == 201, made.text
        assert made.json().keys() == shown.keys()
        assert made.json().get("headers", {}).keys() == shown.get("headers", {}).keys()
