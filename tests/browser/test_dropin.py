"""The drop-ins under the published banners, with the lines that docs/ingest.md tells a web developer to write."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.site.log import Record
from tests.browser.site.service import BROWSER_KEY
from tests.browser.site.visit import Visit

pytestmark = pytest.mark.browser

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "ingest.md").read_text(encoding="utf-8")
TEXTS = "{title: 'Cookies', acceptAllBtn: 'All', acceptNecessaryBtn: 'None', showPreferencesBtn: 'Choose'}"
COOKIECONSENT = """
CookieConsent.run({
  hideFromBots: false,
  categories: {necessary: {readOnly: true}, analytics: {}, marketing: {}},
  language: {default: "en", translations: {en: {consentModal: %s, preferencesModal: {
    title: "Choose", savePreferencesBtn: "Save", sections: [{title: "Counting", linkedCategory: "analytics"}]}}}},
  onFirstConsent: logConsent,
  onChange: logConsent,
});
"""
KLARO = """
window.klaroConfig = {
  version: 1, lang: "en", acceptAll: true,
  services: [{name: "analytics", purposes: ["counting"]}, {name: "marketing", purposes: ["ads"]}],
  translations: {en: {purposes: {counting: "Counting", ads: "Ads"}}},
};
"""


def lines(visit: Visit, heading: str, language: str) -> str:
    """What stands under a heading of the docs, for this deployment."""
    section = DOCS.split(f"\n### {heading}\n")[1]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found is not None
    text = found[1].replace("https://INGEST", visit.service.ingest_url).replace("pk_...", BROWSER_KEY)
    return text.replace('src="/klaro.js"', 'src="/npm/klaro/dist/klaro.js"')


def decided(record: Record) -> tuple[str, dict[str, str], Any]:
    return record.type, record.decisions, record.what["capture"].get("action")


def test_cookieconsent_logs_to_the_drop_in(visit: Visit) -> None:
    log_consent = lines(visit, "vanilla-cookieconsent 3", "js").partition("CookieConsent.run")[0]
    head = (
        '<link rel="stylesheet" href="/npm/vanilla-cookieconsent/dist/cookieconsent.css">'
        '<script src="/npm/vanilla-cookieconsent/dist/cookieconsent.umd.js"></script>'
    )
    visit.serve(f"<script>{log_consent}{COOKIECONSENT % TEXTS}</script>", head=head)
    page = visit.open(loaded=False)
    page.click(".cm [data-role=all]")
    (given,) = visit.events(1)
    assert decided(given) == ("consent.given", {"analytics": "granted", "marketing": "granted"}, "accept_all")
    assert given.identified
    assert "marks" not in given.what, "the banner's own id proves whose act it is"
    page = visit.open(page=page, loaded=False)
    page.evaluate("CookieConsent.acceptCategory(['analytics'])")
    page.evaluate("CookieConsent.acceptCategory([])")
    _, some, none = visit.events(3)
    assert decided(some) == ("consent.given", {"analytics": "granted", "marketing": "denied"}, "save")
    assert decided(none) == ("consent.refused", {"analytics": "denied", "marketing": "denied"}, "reject_all")
    assert given.who == some.who == none.who
    consent_id = page.evaluate("CookieConsent.getCookie().consentId")
    assert consent_id not in str([given, some, none])


def test_klaros_api_module_posts_to_the_drop_in(visit: Visit) -> None:
    visit.serve(head=f"<script>{KLARO}</script>" + lines(visit, "Klaro 0.7", "html"))
    page = visit.open(loaded=False)
    page.click(".cm-btn-success >> nth=0")
    (given,) = visit.events(1)
    assert decided(given) == ("consent.given", {"analytics": "granted", "marketing": "granted"}, "accept_all")
    assert not given.identified
    assert given.context["page"] == "/"
    page = visit.open(page=page, loaded=False)
    # What the button "Save" of the preference centre does.
    page.evaluate(
        "{ const m = klaro.getManager(); m.updateConsent('marketing', false); m.saveAndApplyConsents('save'); }"
    )
    _, saved = visit.events(2)
    assert decided(saved) == ("consent.given", {"analytics": "granted", "marketing": "denied"}, "save")
    # The notice that was shown is counted; it is no event.
    assert [post["consent_data"]["type"] for post in visit.posts] == ["show", "accept", "save"]


def test_klaros_watcher_posts_to_the_drop_in(visit: Visit) -> None:
    watcher = lines(visit, "Klaro 0.7", "js")
    names = "const map = {analytics: 'statistics'}, consentId = crypto.randomUUID();"
    # The listener stands where Klaro is there already and has drawn nothing yet.
    script = f"addEventListener('DOMContentLoaded', () => {{ {names} {watcher} }});"
    head = f'<script>{KLARO}</script><script defer src="/npm/klaro/dist/klaro.js"></script><script>{script}</script>'
    visit.serve(head=head)
    page = visit.open(loaded=False)
    page.click(".cn-decline")
    (refused,) = visit.events(1)
    assert decided(refused) == ("consent.refused", {"statistics": "denied", "marketing": "denied"}, "reject_all")
    assert refused.identified
    assert "marks" not in refused.what
