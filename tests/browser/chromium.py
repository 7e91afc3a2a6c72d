"""verify.html in a real Chromium without a network, opened as a stranger opens it: a file from disk.

One page load judges many files: `judge` hands them to the page's own `saysoVerify`, and brings back what it said.
"""

import base64
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from schemas.verifier import DIRECTORY

PAGE: Final = (DIRECTORY / "verify.html").as_uri()
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Third-party cookies and storage are blocked, as more and more browsers have it.
    "--test-third-party-cookie-phaseout",
    # The sites of the tests are on this machine.
    "--no-proxy-server",
    # So are the stand-ins of third parties, under the names that the catalogue gives them.
    "--host-resolver-rules=MAP *.example 127.0.0.1,MAP *.chatra.io 127.0.0.1,MAP *.chaport.com 127.0.0.1",
)
# Base64 of each file, and the reader's texts -> the steps, or why there are none.
_JUDGE: Final = """
async (cases) => {
  const judged = [];
  for (const [file, given] of cases) {
    try {
      const { steps } = await saysoVerify(decodeBase64(file), given);
      judged.push({ steps: steps.map(({ number, name, outcome, text }) => [number, name, outcome, text]) });
    } catch (error) {
      judged.push({ unusable: error instanceof Unusable, error: String(error) });
    }
  }
  return judged;
}
"""

Step = tuple[int, str, str, str]


@dataclass(frozen=True)
class Given:
    """What the reader has from elsewhere, as he pastes it."""

    vkeys: str = ""
    policy: str = ""
    roots: str = ""
    jwks: str = ""
    origin: str = ""


@dataclass(frozen=True)
class Judged:
    """What the page said of one file: its steps (number, name, outcome, text), or why what was given cannot be used."""

    steps: tuple[Step, ...]
    unusable: str | None = None

    def outcomes(self) -> list[tuple[int, str, str]]:
        return [(number, name, outcome) for number, name, outcome, _ in self.steps]


@contextmanager
def chromium(*secure: str) -> Iterator[Browser]:
    """A browser of this test run's own, headless. Pages of the `secure` origins may do what a page on https may."""
    path = shutil.which("chromium")
    assert path is not None, "no chromium: run .ci/prerequisites test"
    trusted = f"--unsafely-treat-insecure-origin-as-secure={','.join(secure)}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, trusted])
        yield browser
        browser.close()


def open_page(context: BrowserContext) -> Page:
    """verify.html from disk, with the network off; whatever the page complains of fails the test."""
    context.set_offline(offline=True)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints(page).append(str(error)))
    page.on("console", lambda message: complaints(page).append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: complaints(page).append(request.url) if request.url != PAGE else None)
    page.goto(PAGE)
    return page


_COMPLAINTS: dict[int, list[str]] = {}


def complaints(page: Page) -> list[str]:
    """Errors, refused content and requests of the page so far."""
    return _COMPLAINTS.setdefault(id(page), [])


def judge(page: Page, cases: Sequence[tuple[bytes, Given]]) -> list[Judged]:
    """What the page says of each file."""
    sent = [[base64.b64encode(content).decode(), vars(given)] for content, given in cases]
    return [_judged(answer) for answer in page.evaluate(_JUDGE, sent)]


def _judged(answer: dict[str, Any]) -> Judged:
    if "steps" in answer:
        return Judged(tuple((number, name, outcome, text) for number, name, outcome, text in answer["steps"]))
    assert answer["unusable"], answer["error"]
    return Judged((), answer["error"])
