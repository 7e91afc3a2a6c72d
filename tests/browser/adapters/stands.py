"""The pages of this folder that stand for a platform, or are a small CMP of their own: bundled, and used by hand.

What they say is known here by itself, so that the hash of an event is compared with words that no snippet has read.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

from schemas.captured import captured_hash
from tests.browser.site.log import Record
from tests.browser.site.pages import PACKAGES
from tests.browser.site.service import Service
from tests.browser.site.visit import Visit
from tests.support.rows import notice_content

PAGES: Final = Path(__file__).parent / "pages"
NAMES: Final = ("tcf", "gpp", "gcm", "onetrust", "cookiebot", "usercentrics", "didomi")
BUTTONS: Final = ("Tout accepter", "Tout refuser", "Enregistrer")
NEVER: Final = "2126-01-01T00:00:00Z"
_ATTACHED: Final = """
document.addEventListener("load", ({ target }) => {
  const name = /adapter-([a-z0-9]+)[.]js/.exec(target.src ?? "")?.[1];
  if (name) document.documentElement.dataset[name] = "";
}, true);
"""
_FORGET: Final = "() => Object.keys(localStorage).forEach((name) => localStorage.removeItem(name))"


@cache
def bundles() -> Mapping[str, bytes]:
    """Every page's script with the packages it imports, by name."""
    with tempfile.TemporaryDirectory() as directory:
        entries = [str(PAGES / f"{name}.js") for name in NAMES]
        options = ["--bundle", "--format=iife", "--log-level=error", f"--outdir={directory}"]
        command = [str(PACKAGES / ".bin" / "esbuild"), *entries, *options]
        subprocess.run(command, check=True, env={**os.environ, "NODE_PATH": str(PACKAGES)})
        return {name: (Path(directory) / f"{name}.js").read_bytes() for name in NAMES}


def publish(service: Service, purposes: Iterable[str], basis: str = "consent") -> None:
    """The site has put these purposes into a notice; else an event that brings no words would be refused."""
    (example,) = notice_content()["purposes"]
    content = [example | {"purpose": name, "legal_basis": basis} for name in purposes]
    service.publish(purposes=content, effective_at=NEVER)  # the notices of other tests stay the ones to show


def open_stand(
    visit: Visit, *names: str, query: str = "", adapters: Iterable[str] | None = None, **attributes: Any
) -> Page:
    """A new tab on a page with these stands; `adapters` are waited for (the stands' own unless given)."""
    if not visit.context.pages:
        visit.context.add_init_script(_ATTACHED)
    for name in names:
        visit.service.pages.put(f"/stands/{name}.js", bundles()[name], "text/javascript")
    visit.serve(
        "".join(f'<script src="/stands/{name}.js"></script>' for name in names), head=visit.snippet(**attributes)
    )
    page = visit.open("/" + query)
    attached(page, *(names if adapters is None else adapters))
    return page


def attached(page: Page, *names: str) -> None:
    """These adapters listen."""
    page.wait_for_function(
        "(names) => names.every((name) => name in document.documentElement.dataset)", arg=list(names)
    )


def forget(page: Page) -> None:
    """What Sayso keeps is gone, and the platform's own cookie stays: a visitor from before Sayso."""
    page.evaluate(_FORGET)


def words(text: str, choices: Iterable[str], *more: str) -> dict[str, str]:
    """The `notice` of an event: the French words of a banner made by pages/banner.js, with its later buttons."""
    lines = [text, *choices, *BUTTONS, *more]
    return {"sha256": captured_hash("\n".join(lines), "fr"), "language": "fr"}


def capture(action: str, element: str = "banner") -> dict[str, str]:
    """The `capture` of an event whose words were read."""
    return {"mechanism": "button", "element": element, "action": action, "words": "captured"}


def answers(record: Record, basis: str = "consent") -> dict[str, str]:
    """Purpose -> decision, of one legal basis."""
    return {d["purpose"]: d["decision"] for d in record.what["decisions"] if d["legal_basis"] == basis}
