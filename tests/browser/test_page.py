"""The page as people use it: choosing and dropping files, what it shows, and that no file can do anything to it."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from schemas.archive import read_archive, write_archive
from schemas.canonical import canonical_json
from schemas.checkpoint import parse_checkpoint
from schemas.strict_json import read_json
from schemas.verifier import DIRECTORY, build_page, verifiers
from services.query.bundles.files import Dossier, LogEvidence, Proven, bundle_zip, report_facts
from tests.browser.chromium import Given, complaints, judge, open_page
from tests.support.bundles import FOLDER, MADE_AT, PIN_FILES, golden, keys_document, listed
from tests.support.deployment import consent_event
from tests.support.receipts import RECEIPT_KEY, VKEY, base64url, proven, shown_notice, stated

pytestmark = pytest.mark.browser

ZIP, _ = golden()
EVIL = (
    "<img src=x onerror=\"window.owned=1\"><script>window.owned=1</script><a href='javascript:window.owned=1'>&amp;</a>"
)


def choose(page: Page, name: str, content: bytes) -> str:
    """Have the page verify a file, as a person does; the verdict's text."""
    page.set_input_files("#file", {"name": name, "mimeType": "application/octet-stream", "buffer": content})
    return verdict(page)


def verdict(page: Page) -> str:
    page.locator("#verdict.verified, #verdict.notes, #verdict.failed").wait_for()
    return page.inner_text("#verdict")


# --- the file itself --------------------------------------------------------------------------------------------------


def test_the_file_is_what_the_sources_make() -> None:
    """Run `python -m schemas.verifier.build_page` when this fails."""
    assert (DIRECTORY / "verify.html").read_text(encoding="utf-8") == build_page.build()
    assert verifiers()["verify.html"] == build_page.build().encode()


def test_every_source_is_in_it() -> None:
    assert set(build_page.SCRIPTS) | {"template.html", "style.css"} == {
        path.name for path in build_page.SOURCES.iterdir()
    }


def test_a_source_that_would_end_its_element_is_not_put_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in build_page.SOURCES.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    with (tmp_path / "page.js").open("a") as file:
        file.write("// </script>\n")
    monkeypatch.setattr(build_page, "SOURCES", tmp_path)
    with pytest.raises(ValueError, match="end of its own element"):
        build_page.build()


def test_it_loads_nothing_and_writes_no_markup() -> None:
    text = build_page.build()
    assert not re.search(
        r"https?://|//[a-z0-9-]+\.[a-z]{2,}/|\bimport\b\s*[({'\"]|\bfetch\b|XMLHttpRequest|WebSocket|sendBeacon", text
    )
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\bFunction\(|\.src\b|\.href\b", text
    )
    assert text.count("<script") == text.count("<style") == 1
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1]
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy[1]


def test_its_policy_stops_what_it_would_not_do_itself(browser: Browser) -> None:
    """Were the page to try: no connection, no foreign script, no markup out of text."""
    page = open_page(browser.new_context())
    said = page.evaluate(
        """async () => {
          const stopped = [];
          const script = document.createElement("script");
          try { script.textContent = "owned = 1"; document.body.append(script); } catch { stopped.push("script"); }
          try { document.body.innerHTML = "<p>"; } catch { stopped.push("markup"); }
          try { await fetch("data:text/plain,x"); } catch { stopped.push("connection"); }
          return [stopped, window.owned];
        }"""
    )
    assert said == [["script", "markup", "connection"], None]
    assert any("Content Security Policy" in text for text in complaints(page))
    page.context.close()


# --- choosing, dropping, reading --------------------------------------------------------------------------------------


def test_a_bundle_is_chosen_and_read(shared_page: Page) -> None:
    assert choose(shared_page, "bundle.zip", ZIP).startswith("Verified, with notes")
    steps = shared_page.locator("#steps > li")
    assert steps.count() == 12
    assert [text.splitlines()[0].split()[0] for text in steps.all_inner_texts()].count("Note") == 4
    content = shared_page.inner_text("#content")
    for shown in [
        "v-1",
        "chat-history",
        "granted",
        "Acceptez-vous que nous gardions vos discussions ?",
        "save",
        "2026-11-01T09:00:00Z",
    ]:
        assert shown in content
    assert "as the maker of the bundle states; nobody's signature covers this" in content
    assert "Boutique SARL" in shared_page.inner_text("article.stated")


def test_what_the_reader_pastes_is_used(page: Page) -> None:
    policy, roots, jwks, vkey = ((FOLDER / name).read_text() for name in PIN_FILES)
    assert choose(page, "bundle.zip", ZIP).startswith("Verified, with notes")
    page.click("summary >> nth=0")
    for name, text in {"policy": policy, "roots": roots, "jwks": jwks, "vkeys": vkey}.items():
        page.get_by_role(
            "textbox",
            name=re.compile({"vkeys": "Verifier keys", "policy": "policy", "roots": "Root", "jwks": "receipts"}[name]),
        ).fill(text)
    page.click("#again")
    page.locator("#verdict.verified").wait_for()
    assert page.inner_text("#verdict").startswith("Verified\n")
    page.fill("#vkeys", "no key")
    page.click("#again")
    assert "cannot be read" in verdict(page)
    page.fill("#vkeys", keys_document().decode())
    page.click("#again")
    page.locator("#verdict.verified").wait_for()


def test_a_bundle_that_does_not_verify_shows_nothing_of_itself(shared_page: Page) -> None:
    files = read_archive(ZIP)
    name = next(name for name in files if name.startswith("notices/") and name.endswith(".txt"))
    bad = write_archive(listed({**files, name: files[name].replace(b"Acceptez", b"Adoptez.")}))
    choose(shared_page, "good.zip", ZIP)
    assert choose(shared_page, "bad.zip", bad).startswith("NOT VERIFIED\nStep 9 (notices) failed.")
    assert shared_page.inner_text("#content") == ""
    assert shared_page.locator("#steps > li").count() == 9
    assert shared_page.inner_text("#steps > li.failed").startswith("FAILED")


@pytest.mark.parametrize(
    ("name", "verdict_text"), [("proof.json", "Verified, with notes"), ("proof.tlog-proof", "Verified, with notes")]
)
def test_a_single_proof_is_read_too(shared_page: Page, name: str, verdict_text: str) -> None:
    content = next(content for path, content in read_archive(ZIP).items() if path.endswith(f"/{name}"))
    assert choose(shared_page, name, content).startswith(verdict_text)
    assert "chat-history" in shared_page.inner_text("#content")


def test_a_receipt_is_read_too(page: Page) -> None:
    receipt = next(content for path, content in read_archive(ZIP).items() if path.endswith(".jws"))
    assert "paste the JWK set" in choose(page, "receipt.jws", receipt)
    page.click("summary >> nth=0")
    page.fill("#jwks", (FOLDER / "receipts.jwks").read_text())
    page.click("#again")
    page.locator("#verdict.notes").wait_for()
    assert "as its issuer signed it" in page.inner_text("#content")


def test_a_file_is_dropped(shared_page: Page) -> None:
    untouched = shared_page.evaluate(
        """(content) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([decodeBase64(content)], "bundle.zip"));
          const drop = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
          return document.getElementById("drop").dispatchEvent(drop);
        }""",
        base64.b64encode(ZIP).decode(),
    )
    assert not untouched, "the browser would open the file instead"
    assert verdict(shared_page).startswith("Verified, with notes")


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04", b"eyJ", b"\xff" * 100, b"{" * 100_000], ids=range(6))
def test_nonsense_is_not_verified(shared_page: Page, content: bytes) -> None:
    assert choose(shared_page, "x", content).startswith("NOT VERIFIED")


# --- hostile content --------------------------------------------------------------------------------------------------


def hostile_bundle() -> bytes:
    """A bundle that verifies, with markup in every string that its maker can choose."""
    notice = shown_notice(title=EVIL, text=EVIL, html=EVIL, withdrawal=EVIL, version=EVIL[:16])
    notice["controller"] = {"name": EVIL, "contact": EVIL}
    notice["purposes"] = [{**one, "title": EVIL, "description": EVIL} for one in notice["purposes"]]
    decisions = [{"purpose": EVIL, "decision": EVIL, "legal_basis": EVIL, "services": [EVIL]}]
    capture = {"mechanism": EVIL, "element": EVIL, "action": EVIL, EVIL: EVIL}
    identifiers = [{"type": EVIL, "value": EVIL}]
    told = stated(notice=notice)
    assert told.bundle.notice is not None
    shown = {"sha256": told.notice_sha256, "language": "fr"}
    event = consent_event(
        1, notice=shown, decisions=decisions, capture=capture, identifiers=identifiers, actor={"entity": EVIL}
    )
    event["ext"] = {EVIL: EVIL}
    proof = proven(event, told.bundle.notice, disclosed=("who", "what", "context"))
    text = proof.checkpoint.partition("\n\n")[0] + "\n"
    evidence = LogEvidence(
        name="shop",
        checkpoint=parse_checkpoint(text),
        vkey=VKEY,
        signed=proof.checkpoint,
        cosignatures="",
        keys=keys_document(rotated=False),
        policy=None,
        witnesses=[],
        tokens=[],
        lacks=[],
    )
    public = {"kty": "OKP", "crv": "Ed25519", "x": base64url(RECEIPT_KEY.public_key().public_bytes_raw()), "kid": "x"}
    told_of = Dossier(
        made_at=MADE_AT,
        about={"kind": "event", "event": proof.event},
        controller={"name": EVIL, "legal_name": EVIL, "contact": EVIL},
        records=[Proven(proof, "shop", None)],
        logs={proof.origin: evidence},
        state={"at": EVIL, "decisions": [{"purpose": EVIL, "decision": EVIL, "valid": EVIL, "reasons": [EVIL]}]},
        receipt_keys=canonical_json({"keys": [public]}),
    )
    return bundle_zip(told_of, report_facts(told_of), b"%PDF")


def test_markup_in_a_file_stays_text(browser: Browser) -> None:
    """Without the policy that would stop it, so that it is seen that the page never makes markup of a file's words."""
    page = open_page(browser.new_context(bypass_csp=True))
    assert choose(page, "hostile.zip", hostile_bundle()).startswith("Verified, with notes"), page.inner_text("#steps")
    assert page.evaluate("window.owned") is None
    assert page.locator("#content img, #content script, #content a, #steps img, #steps a").count() == 0
    content = page.locator("#content").text_content() or ""
    assert content.count(EVIL) > 20
    assert complaints(page) == []
    page.context.close()


def test_markup_in_what_fails_stays_text(browser: Browser) -> None:
    page = open_page(browser.new_context(bypass_csp=True))
    choose(page, EVIL, canonical_json({"format": EVIL, EVIL: EVIL}))
    assert page.evaluate("window.owned") is None
    assert page.locator("#result img, #verdict img").count() == 0
    page.context.close()


# --- for everybody ----------------------------------------------------------------------------------------------------


def test_it_can_be_used_by_keyboard_and_by_ear(page: Page) -> None:
    assert page.get_attribute("html", "lang") == "en"
    live = {name: page.get_attribute("#verdict", name) for name in ("role", "aria-live", "aria-atomic")}
    assert live == {"role": "status", "aria-live": "polite", "aria-atomic": "true"}
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        if reached[-1] == "SUMMARY":
            page.keyboard.press("Enter")
    assert reached[:7] == ["file", "SUMMARY", "vkeys", "policy", "roots", "jwks", "again"]
    assert page.evaluate(
        "[...document.querySelectorAll('input, textarea')].every((field) => field.labels.length === 1)"
    )


def test_colours_can_be_told_from_what_is_behind_them() -> None:
    """WCAG 2.1: at least 4.5 to 1 for text on white."""
    named = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{3,6});", (build_page.SOURCES / "style.css").read_text()))
    for name in ("ink", "quiet", "ok", "note", "bad"):
        assert contrast(named[name], "#ffffff") >= 4.5, name
    assert contrast(named["note"], "#fff4d6") >= 4.5


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("width", [320, 1280])
def test_it_fits_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    choose(page, "bundle.zip", ZIP)
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width


# --- browsers that lack something -------------------------------------------------------------------------------------


@pytest.fixture
def crippled(browser: Browser) -> Iterator[Any]:
    """Makes a page with a script run before its own."""
    contexts = []

    def make(script: str) -> Page:
        context = browser.new_context()
        contexts.append(context)
        context.add_init_script(script)
        return open_page(context)

    yield make
    for context in contexts:
        context.close()


def test_without_webcrypto_it_says_so(crippled: Any) -> None:
    page = crippled("Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined });")
    assert "lacks WebCrypto" in verdict(page)
    assert choose(page, "bundle.zip", ZIP).startswith("NOT VERIFIED")


def test_without_ed25519_nothing_is_verified(crippled: Any) -> None:
    page = crippled(
        """const real = SubtleCrypto.prototype.importKey;
        SubtleCrypto.prototype.importKey = function (format, key, algorithm, ...rest) {
          if (algorithm === "Ed25519") return Promise.reject(new DOMException("no", "NotSupportedError"));
          return real.call(this, format, key, algorithm, ...rest);
        };"""
    )
    (judged,) = judge(page, [(ZIP, Given())])
    assert judged.steps[-1][2] == "failed"
    assert "this browser does not know Ed25519" in judged.steps[-1][3]
    assert choose(page, "bundle.zip", ZIP).startswith("NOT VERIFIED")


def test_the_report_is_the_makers_word(shared_page: Page) -> None:
    """What the report says beyond the proofs may be anything: the page shows it, marked, and stumbles over nothing."""
    files = read_archive(ZIP)
    report = read_json(files["report.json"], levels=32)[0]
    odd = [
        {"state": []},
        {"state": {"decisions": [1, None, {"reasons": 1, "purpose": []}]}},
        {"controller": [], "state": None},
    ]
    for number, change in enumerate([*odd, {"controller": {"a": [{"b": None}]}}]):
        content = write_archive(listed({**files, "report.json": canonical_json(report | change)}))
        assert choose(shared_page, f"{number}.zip", content).startswith("Verified, with notes")
