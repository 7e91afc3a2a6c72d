"""The newsletter as the site's own server runs it: a link to confirm, and letters to those alone whose consent stands.

Mails are kept in memory and shown on /outbox; nothing is sent, and nothing of an address is logged or written.
"""

import re
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
import orjson
import yaml

from schemas.notices import notice_hash
from schemas.record import format_time
from services.cli.demo.cast import FOLDER
from services.cli.demo.stage import Stage
from services.cli.notices import read_notice

PURPOSE: Final = "newsletter"
MAILS_MAX: Final = 50
SENDER: Final = "Lumière Nord <lettre@lumiere-nord.example>"
_ADDRESS: Final = re.compile(r"^[^@\s,;<>]{1,64}@[^@\s,;<>]{1,190}$")


class Mail(NamedTuple):
    """One mail that would be sent; `link` is where its button leads."""

    language: str
    headers: dict[str, str]
    lines: list[str]
    label: str
    link: str


@dataclass(frozen=True, slots=True)
class Words:
    """A published notice of the form, with the hash that names it."""

    content: dict[str, Any]
    sha256: str


def is_address(text: str) -> bool:
    """Whether a mail could be sent there; whose it is shows when the link is opened."""
    return _ADDRESS.match(text) is not None


class Letters:
    """Holds the server key and the access key. One per process."""

    def __init__(self, stage: Stage, site: str, http: httpx2.AsyncClient) -> None:
        self._stage = stage
        self._site = site
        self._http = http
        self._texts: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "mails.yaml").read_text(encoding="utf-8"))
        # The language in which each address was signed up, the latest last.
        self._languages: dict[str, str] = {}
        self.mails: deque[Mail] = deque(maxlen=MAILS_MAX)

    @staticmethod
    def notice(language: str) -> dict[str, Any]:
        """What the form says."""
        return _words(language).content

    async def ask_to_confirm(self, address: str, language: str) -> None:
        """Double opt-in (docs/visitors.md): the mail with the one link that makes the consent count."""
        made = await self._link(
            "confirm",
            address,
            "granted",
            notice={"sha256": _words(language).sha256, "language": language},
            requested_at=format_time(datetime.now(UTC)),
        )
        self._languages[address] = language
        self._put("confirm", address, language, made["url"], {})

    async def write(self) -> tuple[int, int]:
        """This month's letter to everybody who signed up here and whose consent stands; how many, and how many not."""
        written = 0
        for address, language in self._languages.items():
            if not await self._may_write_to(address):
                continue
            made = await self._link("unsubscribe", address, "denied")
            self._put("letter", address, language, made["url"], made["headers"])
            written += 1
        return written, len(self._languages) - written

    async def _link(self, kind: str, address: str, decision: str, **members: Any) -> dict[str, Any]:
        body = {
            "kind": kind,
            "identifier": {"type": "email", "value": address},
            "decisions": [{"purpose": PURPOSE, "decision": decision, "legal_basis": "consent"}],
            **members,
        }
        key = self._stage.server_key(self._site)
        answer = await self._http.post(
            f"{self._stage.ingest_url}/v1/links", json=body, headers={"authorization": f"Bearer {key}"}
        )
        answer.raise_for_status()
        made: dict[str, Any] = orjson.loads(answer.content)
        return made

    async def _may_write_to(self, address: str) -> bool:
        headers = {"authorization": f"Bearer {self._stage.access_key}"}
        found = await self._http.post(
            f"{self._stage.query_url}/v1/subjects/lookup",
            json={"identifier": {"type": "email", "value": address}},
            headers=headers,
        )
        if found.status_code == httpx2.codes.NOT_FOUND:
            return False
        subject = orjson.loads(found.raise_for_status().content)["subject"]
        answer = await self._http.get(
            f"{self._stage.query_url}/v1/subjects/{subject}/status", params={"purpose": PURPOSE}, headers=headers
        )
        return bool(orjson.loads(answer.raise_for_status().content)["valid"])

    def _put(self, kind: str, address: str, language: str, link: str, headers: dict[str, str]) -> None:
        texts = self._texts[language][kind]
        head = {"From": SENDER, "To": address, "Subject": texts["subject"], **headers}
        self.mails.appendleft(Mail(language, head, texts["lines"], texts["label"], link))


@cache
def _words(language: str) -> Words:
    content = read_notice(FOLDER / "notices" / f"letter-{language}.yaml")
    return Words(orjson.loads(content), notice_hash(content).hex())
