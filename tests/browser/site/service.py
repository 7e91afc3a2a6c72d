"""One real deployment for all browser tests: Postgres, ledger, ingest and query as processes, and a server of pages.

Nothing of it is simulated: a page loads the snippet that ingest serves and posts to ingest, and tests read the log.
"""

import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError

from deploy.kafka.node import free_port
from schemas.notices import notice_bytes, notice_hash
from tests.browser.site.log import Record, read_log
from tests.browser.site.pages import Pages
from tests.support.databases import Database, run_blocking
from tests.support.deployment import Deployment
from tests.support.processes import ServiceProcess
from tests.support.rows import notice_content
from tests.support.wait import until

SITE: Final = "shop.example"
# Subdomains of one site, a site that is not allowed to use the key.
HOSTS: Final = (SITE, "www.shop.example", "fr.shop.example")
BROWSER_KEY: Final = "pk_" + "b" * 24
PURPOSES: Final = {
    "chat-session": ("legitimate_interest", ["chatra", "chaport"]),
    "chat-history": ("consent", ["chatra", "chaport"]),
    "chat-proactive": ("consent", ["chatra", "chaport"]),
    "necessary": ("legitimate_interest", []),
    "functional": ("consent", []),
    "preferences": ("consent", []),
    "statistics": ("consent", []),
    "analytics": ("consent", []),
    "advertising": ("consent", []),
    "marketing": ("consent", []),
    "newsletter": ("consent", []),
    **{f"tcf-{number}": ("consent", []) for number in range(1, 12)},
    "tcf-sf-1": ("consent", []),
    "tcf-sf-2": ("consent", []),
}
START_S: Final = 60


class Service:
    """The running processes and what tests ask of them. Every method blocks."""

    def __init__(self, database: Database, directory: Path, pages: Pages) -> None:
        self.deployment = Deployment(database, directory)
        self.pages = pages
        self.notice = ""
        self.ingest_port, self.query_port = free_port(), free_port()
        self.ingest_url = f"http://127.0.0.1:{self.ingest_port}"
        self.query_url = f"http://127.0.0.1:{self.query_port}"

    def create(self) -> None:
        """Rows as an operator's commands would make them."""
        run_blocking(self._create())
        self.notice = self.publish()
        directory, deployment = self.deployment.directory, self.deployment
        # A test reads the log within milliseconds, so nobody waits for checkpoints.
        self.ledger = ServiceProcess("ledger", deployment.ledger_environment(), directory / "ledger.log")
        ingest = deployment.ingest_environment(self.ingest_port, SAYSO_INGEST_PUBLIC_URL=self.ingest_url)
        self.ingest = ServiceProcess("ingest", ingest, directory / "ingest.log")
        self.query = ServiceProcess("query", deployment.query_environment(self.query_port), directory / "query.log")

    async def _create(self) -> None:
        await self.deployment.create()
        await self.deployment.fetch(
            "UPDATE sites SET origins = $1 RETURNING 1", [self.pages.origin(host) for host in HOSTS]
        )
        await self.deployment.fetch(
            "INSERT INTO site_keys (controller, site_key, site, kind)"
            " SELECT controller, $1, site, 'pk' FROM sites RETURNING 1",
            BROWSER_KEY,
        )
        # What Chatra documents and the catalogue's sources do not say: the controller states the call that ends it.
        await self.deployment.fetch(
            "INSERT INTO catalogue_services (controller, service, content, published_at)"
            " SELECT controller, 'chatra', $1, now() FROM sites RETURNING 1",
            b'{"stop":{"call":"Chatra.kill"}}',
        )
        self.server_key = await self.deployment.add_server_key()
        self.access_key = await self.deployment.add_access_key("dpo")

    def publish(self, **changes: Any) -> str:
        """Publish a notice of the site with all PURPOSES; its hash in hex."""
        (purpose,) = notice_content()["purposes"]
        purposes = [
            purpose | {"purpose": name, "legal_basis": basis, "services": services}
            for name, (basis, services) in PURPOSES.items()
        ]
        content = notice_content(**{"language": "en", "purposes": purposes, **changes})
        raw = notice_bytes(content)
        run_blocking(
            self.deployment.fetch(
                "INSERT INTO notices (controller, notice, site, language, content)"
                " SELECT controller, $1, site, $2, $3 FROM sites RETURNING 1",
                notice_hash(raw),
                content["language"],
                raw,
            )
        )
        return notice_hash(raw).hex()

    @contextmanager
    def running(self) -> Iterator["Service"]:
        """Start the three processes; stop each by its own pid."""
        with ExitStack() as stack:
            for process in (self.ledger, self.ingest, self.query):
                stack.callback(process.stop)
                process.start()
            self.ready(self.ingest_url)
            self.ready(self.query_url)
            yield self

    def ready(self, url: str) -> None:
        """Wait until a service says that it is ready."""
        said = {self.ingest_url: self.ingest, self.query_url: self.query}[url]

        def answers() -> bool:
            assert said.alive, said.said()
            try:
                with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as answer:
                    return bool(answer.status == 200)
            except (URLError, TimeoutError, ConnectionError):
                return False

        run_blocking(until(answers, deadline_s=START_S, poll_s=0.1, what=f"{url} is ready"))

    def size(self) -> int:
        """Records of the log so far, once nothing waits in the inbox."""
        run_blocking(self.deployment.drained())
        return run_blocking(self.deployment.size())

    def records(self, since: int) -> list[Record]:
        """What was recorded since the log had `since` records, once nothing waits in the inbox."""
        run_blocking(self.deployment.drained())
        return run_blocking(read_log(self.deployment, since))

    def recorded(self, since: int, count: int, *, deadline_s: float = 10) -> list[Record]:
        """Wait until `count` more are recorded, and insist that it is not more."""

        async def there() -> bool:
            return await self.deployment.size() >= since + count

        run_blocking(until(there, deadline_s=deadline_s, what=f"{count} events are recorded"))
        found = self.records(since)
        assert len(found) == count, [(record.type, record.decisions) for record in found]
        return found
