"""The documented ways into the log beside a banner, each run as documented: tag manager, app, server form, single page.

Google Tag Manager itself cannot be reached from here: what its sandbox offers a template is stood in for, with the
template's own permissions enforced. Everything behind it is real.
"""

import html
import importlib.util
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from playwright.sync_api import expect

from deploy.kafka.node import free_port
from tests.browser.site.service import BROWSER_KEY, SITE, Service
from tests.browser.site.visit import Visit
from tests.support.databases import run_blocking
from tests.support.wait import until
from tests.tidy.repository import ROOT

pytestmark = pytest.mark.browser

TEMPLATE = ROOT / "snippet" / "gtm" / "template.tpl"
EXAMPLES = ROOT / "docs" / "examples"
APP_KEY = "app_" + "m" * 24
PLACEHOLDER = "https://consent.example.com"


# --- Google Tag Manager ----------------------------------------------------------------------------------------------

SANDBOX = """
async ([code, permissions, fields]) => {
  const of = (id) => permissions.find((one) => one.instance.key.publicId === id).instance.param[0].value.listItem;
  const globals = of("access_globals").map(({ mapKey, mapValue }) =>
    Object.fromEntries(mapKey.map(({ string }, place) => [string, mapValue[place].string ?? mapValue[place].boolean])));
  const allowed = (key, way) => {
    if (!globals.some((one) => one.key === key && one[way])) throw new Error(`no permission to ${way} ${key}`);
  };
  const apis = {
    copyFromWindow: (key) => (allowed(key, "read"), window[key]),
    setInWindow: (key, value, override) => {
      allowed(key, "write");
      if (window[key] !== undefined && !override) return false;
      window[key] = value;
      return true;
    },
    injectScript: (url, succeeded, failed) => {
      const fits = of("inject_script").some(({ string }) => url.startsWith(string.replace(/\\*$/, "")));
      if (!fits) throw new Error(`no permission to inject ${url}`);
      const script = document.createElement("script");
      Object.assign(script, { async: true, src: url, onload: succeeded, onerror: failed });
      document.head.append(script);
    },
  };
  const run = () => new Promise((resolve) => {
    const data = { ...fields, gtmOnSuccess: () => resolve("success"), gtmOnFailure: () => resolve("failure") };
    new Function("require", "data", code)((name) => apis[name], data);
  });
  // The tag fires twice, as a careless trigger would have it.
  return [await run(), await run(), document.querySelectorAll("script[src*='sayso.js']").length];
}
"""


def sections(text: str) -> dict[str, str]:
    """The parts of a template file by name."""
    parts = re.split(r"^___([A-Z_]+)___$", text, flags=re.MULTILINE)
    return {name: part.strip() for name, part in zip(parts[1::2], parts[2::2], strict=True)}


def test_the_template_is_whole() -> None:
    found = sections(TEMPLATE.read_text())
    info, fields, permissions = (json.loads(found[name]) for name in ("INFO", "TEMPLATE_PARAMETERS", "WEB_PERMISSIONS"))
    assert (info["type"], info["containerContexts"]) == ("TAG", ["WEB"])
    code = found["SANDBOXED_JS_FOR_WEB_TEMPLATE"]
    assert {field["name"] for field in fields} == set(re.findall(r"\bdata\.(?!gtm)(\w+)", code))
    assert {one["instance"]["key"]["publicId"] for one in permissions} == {"access_globals", "inject_script"}
    # What the sandbox does not have.
    assert not re.search(
        r"\b(new|this|window|document|setTimeout|Promise|async|await)\b", re.sub(r"//.*|'.*?'", "", code)
    )


def test_the_tag_loads_the_snippet_and_an_act_is_pushed_for_other_tags(visit: Visit) -> None:
    text = TEMPLATE.read_text().replace(PLACEHOLDER, visit.service.ingest_url)
    found = sections(text)
    visit.serve(head="<script>window.dataLayer = [];</script>")
    page = visit.open(loaded=False)
    fields = {
        "endpoint": visit.service.ingest_url,
        "site": SITE,
        "key": BROWSER_KEY,
        "map": [{"banner": "C0002", "purpose": "analytics"}, {"banner": "C0001", "purpose": ""}],
    }
    code = found["SANDBOXED_JS_FOR_WEB_TEMPLATE"]
    done = page.evaluate(SANDBOX, [code, json.loads(found["WEB_PERMISSIONS"]), fields])
    assert done == ["success", "success", 1]
    assert (visit.storage(page)["local"], visit.posts) == ({}, [])
    page.evaluate(
        "() => sayso.adapter('cookieconsent', (api) => api.act({ action: 'accept_all', element: 'banner', choices:"
        " [{ key: 'C0001', granted: true }, { key: 'C0002', granted: true }] }))"
    )
    visit.delivered(page)
    (given,) = visit.events(1)
    assert (given.type, given.decisions) == ("consent.given", {"analytics": "granted"})
    # The trigger of docs/websites.md: custom event sayso_choice, data layer variable sayso.analytics equals granted.
    fires = "() => dataLayer.filter((one) => one.event === 'sayso_choice' && one.sayso.analytics === 'granted').length"
    assert page.evaluate(fires) == 1
    page.evaluate("() => sayso.withdraw()")
    visit.delivered(page)
    assert page.evaluate(fires) == 1
    assert page.evaluate("() => dataLayer.at(-1)") == {"event": "sayso_choice", "sayso": {"analytics": "denied"}}


# --- native apps -----------------------------------------------------------------------------------------------------


def load(path: Path, name: str) -> ModuleType:
    """A module of the examples, which are no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def consent_app(service: Service) -> ModuleType:
    run_blocking(
        service.deployment.fetch(
            "INSERT INTO site_keys (controller, site_key, site, kind)"
            " SELECT controller, $1, site, 'app' FROM sites WHERE name = $2",
            APP_KEY,
            SITE,
        )
    )
    return load(EXAMPLES / "mobile" / "consent_app.py", "consent_app")


def test_an_app_proves_itself_and_reads_its_own_history(
    service: Service, consent_app: ModuleType, tmp_path: Path
) -> None:
    since = service.size()
    app = consent_app.ConsentLog(service.ingest_url, SITE, APP_KEY, tmp_path / "consent.json")
    event = app.record("given", {"analytics": True, "advertising": False}, app.notice("en"))
    assert app.waiting == 0
    (given,) = service.recorded(since, 1)
    assert given.what["id"] == event
    assert (given.what["words"], given.what.get("marks", [])) == ("rendered", [])
    assert [one["type"] for one in given.who["identifiers"]] == ["installation"]
    request = urllib.request.Request(
        f"{service.query_url}/v1/me/history", headers={"authorization": f"Bearer {app.capability}"}
    )
    with urllib.request.urlopen(request) as answer:
        assert [record["event"] for record in json.load(answer)["records"]] == [event]
    app.record("withdrawn", {"analytics": False})
    # The last grant is gone, and with it what tells this installation from another.
    assert json.loads((tmp_path / "consent.json").read_text()) == {
        "queue": [],
        "choices": {"analytics": False, "advertising": False},
    }
    service.recorded(since, 2)


def test_an_app_that_was_offline_sends_later_and_once(
    service: Service, consent_app: ModuleType, tmp_path: Path
) -> None:
    since = service.size()
    file = tmp_path / "consent.json"
    nobody = f"http://127.0.0.1:{free_port()}"
    offline = consent_app.ConsentLog(nobody, SITE, APP_KEY, file)
    offline.record("given", {"analytics": True})
    offline.record("withdrawn", {"analytics": False})
    assert offline.waiting == 2
    kept = file.read_text()
    online = consent_app.ConsentLog(service.ingest_url, SITE, APP_KEY, file)
    assert online.flush()
    # The app was killed before it wrote down that all was taken: the same is sent again.
    file.write_text(kept)
    again = consent_app.ConsentLog(service.ingest_url, SITE, APP_KEY, file)
    assert again.flush()
    given, withdrawn = service.recorded(since, 2)
    assert (given.type, withdrawn.type) == ("consent.given", "consent.withdrawn")
    assert given.who == withdrawn.who


def test_what_ingest_refuses_for_good_is_parked(service: Service, consent_app: ModuleType, tmp_path: Path) -> None:
    app = consent_app.ConsentLog(service.ingest_url, SITE, APP_KEY, tmp_path / "consent.json")
    app.record("given", {"no-such-purpose": True})
    assert app.waiting == 1
    assert "parked" in json.loads((tmp_path / "consent.json").read_text())["queue"][0]


# --- forms that a server renders -------------------------------------------------------------------------------------


@pytest.fixture
def form(service: Service, tmp_path: Path) -> Iterator[str]:
    """The example as a process of its own; its address."""
    port = free_port()
    environment = {
        **os.environ,
        "SAYSO_INGEST": service.ingest_url,
        "SAYSO_SITE": SITE,
        "SAYSO_SERVER_KEY": service.server_key,
        "PORT": str(port),
    }
    with (tmp_path / "form.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, EXAMPLES / "server-form" / "form.py"], env=environment, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}/"

    def answers() -> bool:
        assert process.poll() is None
        try:
            return bool(get(address))
        except (urllib.error.URLError, ConnectionError):
            return False

    run_blocking(until(answers, deadline_s=20, poll_s=0.1, what="the form is served"))
    yield address
    process.terminate()
    process.wait(10)


def get(address: str, fields: dict[str, str] | None = None) -> str:
    body = None if fields is None else urllib.parse.urlencode(fields).encode()
    with urllib.request.urlopen(address, body, timeout=10) as answer:
        return str(answer.read().decode())


def test_a_form_of_a_server_is_recorded_once_with_the_words_that_were_rendered(service: Service, form: str) -> None:
    since = service.size()
    page = get(form)
    fields = {name: html.unescape(value) for name, value in re.findall(r'name="(id|notice)" value="([^"]*)"', page)}
    for _ in range(2):
        assert "recorded" in get(form, {**fields, "wanted": "yes"})
    (given,) = service.recorded(since, 1)
    assert (given.type, given.decisions) == ("consent.given", {"newsletter": "granted"})
    assert (given.what["words"], given.what["notice"]["sha256"]) == ("rendered", json.loads(fields["notice"])["sha256"])
    assert given.who["identifiers"] == [{"type": "account", "value": "u-17"}]


def test_a_form_that_could_not_be_recorded_says_so(service: Service, form: str) -> None:
    since = service.size()
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(form, {"id": "no-uuid", "notice": "{}", "wanted": "yes"})
    assert refused.value.code == 503
    refused.value.close()
    assert service.records(since) == []


# --- single-page applications ----------------------------------------------------------------------------------------


def test_views_that_change_by_push_state_record_acts_only_and_where_they_happen(visit: Visit) -> None:
    text = (EXAMPLES / "single-page" / "index.html").read_text()
    for placeholder, value in {
        '"INGEST': f'"{visit.service.ingest_url}',
        '"SITE"': SITE,
        '"pk_..."': BROWSER_KEY,
    }.items():
        assert placeholder in text
        text = text.replace(placeholder, value)
    visit.service.pages.put("/bikes", text)
    page = visit.open("/bikes")
    expect(page.locator("#banner")).to_be_visible()
    page.get_by_role("link", name="Repairs").click()
    expect(page.locator("#view")).to_have_text("Repairs while you wait")
    assert visit.posts == []
    page.get_by_role("button", name="Yes, count me").click()
    visit.delivered(page)
    for name in ("My choices", "Bikes", "My choices"):
        page.get_by_role("link", name=name).click()
    expect(page.locator("#view")).to_have_text("Counted: yes")
    page.go_back()
    expect(page.locator("#view")).to_have_text("All bikes")
    (given,) = visit.events(1)
    assert (given.type, given.context["page"], given.what["words"]) == ("consent.given", "/repairs", "rendered")
