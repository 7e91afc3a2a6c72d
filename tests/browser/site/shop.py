"""A shop with two chats on its pages: the markup a web developer writes, and stand-ins of the two vendors.

The vendors' real scripts cannot be reached from a test; the stand-ins leave behind what the catalogue says of them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

from schemas.catalogue import services
from schemas.catalogue.enforcement import enforcement_rules
from tests.browser.site.visit import Visit

STAND_INS: Final = Path(__file__).parent / "third_parties"
VENDORS: Final = ("chatra.io", "chaport.com")
USES: Final = {
    "chat-session": "legitimate_interest",
    "chat-history": "consent",
    "chat-proactive": "consent",
}


class Shop:
    """One visitor of the shop. `rules`: what ingest serves to the page, but for what the controller states itself."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.rules = enforcement_rules(services(), ["chatra", "chaport"])
        for file in STAND_INS.glob("*.js"):
            visit.service.pages.put(f"/{file.name}", file.read_text(), "text/javascript")
        visit.service.pages.put("/frame.html", "<title>Chat</title><p>Hello from the frame")
        visit.service.pages.put("/dot.gif", b"GIF89a", "image/gif")

    def address(self, host: str, file: str) -> str:
        """A vendor's file, on the port of the page server."""
        return f"{self.visit.service.pages.origin(host)}/{file}"

    def script(self, service: str, use: str, file: str, attributes: str = "") -> str:
        """A marked script of a vendor."""
        source = self.address("cdn.chatra.io" if service == "chatra" else "cdn.chaport.com", file)
        return self.marked("script", service, use, f'type="text/plain" data-src="{source}" {attributes}') + "</script>"

    @staticmethod
    def marked(tag: str, service: str, use: str, attributes: str = "") -> str:
        """The opening tag of a marked element."""
        return f'<{tag} data-sayso-service="{service}" data-sayso-use="{use}" {attributes}>'

    def asked(self) -> list[str]:
        """Files of vendors that were requested, without their addresses."""
        return [url.rpartition("/")[2] for url in self.visit.requests if any(f"{name}:" in url for name in VENDORS)]

    def open(self, body: str, *, path: str = "/", head: str | None = None, page: Page | None = None) -> Page:
        """Serve a page and open it; enforcement is at work once it offers what nobody grants."""
        self.visit.serve(
            body + self.marked("p", "nobody", "nothing", "data-sayso-placeholder") + "</p>", path=path, head=head
        )
        page = self.visit.open(path, page=page)
        self.ready(page)
        return page

    @staticmethod
    def ready(page: Page) -> None:
        page.wait_for_selector("[data-sayso-service=nobody] button", state="attached")


def choose(page: Page, granted: Iterable[str], services: list[str] | None = None) -> None:
    """Every use answered in one act, as a banner's "save" would."""
    decisions: list[dict[str, Any]] = [
        {"purpose": use, "granted": use in set(granted), "legal_basis": basis}
        | ({"services": services} if services else {})
        for use, basis in USES.items()
    ]
    page.evaluate("(decisions) => void sayso.record({ decisions, element: 'banner', action: 'save' })", decisions)


def removal(record_what: dict[str, Any]) -> tuple[set[str], set[str]]:
    """What a withdrawal says it deleted, and what it left."""
    said = record_what.get("removal", {"deleted": [], "left": []})
    return set(said["deleted"]), set(said["left"])
