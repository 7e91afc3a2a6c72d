"""What a native app does: an installation that proves itself by its key, and a queue that survives being offline.

Python stands for your app's language; README.md beside it has the same few lines in Kotlin and Swift. Standard library
only. One process, one thread: a real app guards the file with its own lock.
"""

import base64
import hashlib
import json
import secrets
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

PARKED_S = 7 * 24 * 3600
TRY_AGAIN = {408, 429}


def visitor_id(key: str) -> str:
    """The identifier that belongs to an installation's key (docs/visitors.md)."""
    digest = hashlib.sha256(b"sayso/visitor/v1\n" + key.encode("ascii")).digest()
    return "v1." + base64.urlsafe_b64encode(digest[:18]).decode()


class ConsentLog:
    """State in one file of the app's private storage: queue, choices, key, capability. No file before the first act."""

    def __init__(self, ingest: str, site: str, app_key: str, file: Path) -> None:
        self._ingest, self._site, self._app_key, self._file = ingest, site, app_key, file
        self._state: dict[str, Any] = {"queue": [], "choices": {}}
        if file.exists():
            self._state = json.loads(file.read_text())

    def notice(self, language: str) -> dict[str, Any]:
        """The words to show; keep the answer in memory and hand it to `record`."""
        url = f"{self._ingest}/v1/notices/{quote(self._site)}?language={quote(language)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def record(self, kind: str, decisions: dict[str, bool], notice: dict[str, Any] | None = None) -> str:
        """Keep an act, then try to send it. `kind`: given, refused, withdrawn or renewed. Returns the event's id.

        The key is made by the first act that grants something; a refusal names nobody.
        """
        if "key" not in self._state and any(decisions.values()):
            self._state["key"] = "vk_" + secrets.token_urlsafe(32)
        data: dict[str, Any] = {
            "decisions": [
                {"purpose": purpose, "decision": "granted" if yes else "denied", "legal_basis": "consent"}
                for purpose, yes in decisions.items()
            ],
            "capture": {"mechanism": "toggle", "element": "modal", "action": "save"},
        }
        event: dict[str, Any] = {
            "specversion": "1.0",
            # The id and the time are of the act, not of the sending: however often it is sent, it is recorded once.
            "id": str(uuid.uuid4()),
            "source": f"/sites/{self._site}",
            "type": f"consent.{kind}",
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "data": data,
        }
        if "key" in self._state:
            event["visitorkey"] = self._state["key"]
            data["subject"] = {"identifiers": [{"type": "installation", "value": visitor_id(self._state["key"])}]}
        if notice is not None:
            data["notice"] = {name: notice[name] for name in ("sha256", "language", "token")}
        self._state["queue"].append({"event": event})
        self._state["choices"] |= decisions
        self._save()
        self.flush()
        return str(event["id"])

    def flush(self) -> bool:
        """Send what waits, at the start of the app and when the network returns; whether nothing waits any more.

        Accepted: gone. Refused for good (4xx): parked for a week, in case it was our mistake. Anything else: it stays.
        """
        waiting = self._state["queue"]
        if not waiting:
            return True
        request = urllib.request.Request(
            f"{self._ingest}/v1/events?key={self._app_key}",
            json.dumps([item["event"] for item in waiting]).encode(),
            # No Origin: an app is no page. With one, ingest would hold it to the site's list.
            {"content-type": "application/cloudevents-batch+json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                results = json.load(answer)["events"]
        except urllib.error.HTTPError as error:
            body = error.read()
            if error.code in TRY_AGAIN or error.code >= 500:
                return False
            refused = json.loads(body)
            results = refused.get("events") or [{"status": "refused", "problem": refused} for _ in waiting]
        except (urllib.error.URLError, TimeoutError):
            return False
        self._state["queue"] = [
            item for item, result in zip(waiting, results, strict=True) if self._stays(item, result)
        ]
        if not self._state["queue"] and not any(self._state["choices"].values()):
            # Nothing is granted any more: nothing on the device tells this installation from another.
            self._state = {"queue": [], "choices": self._state["choices"]}
        self._save()
        return not self._state["queue"]

    def _stays(self, item: dict[str, Any], result: dict[str, Any]) -> bool:
        if result["status"] != "refused":
            self._state["capability"] = result.get("capability", self._state.get("capability"))
            return False
        code = result["problem"]["status"]
        if code in TRY_AGAIN or code >= 500:
            return True
        parked = item.setdefault("parked", time.time())
        return bool(time.time() - parked < PARKED_S)

    @property
    def waiting(self) -> int:
        return len(self._state["queue"])

    @property
    def capability(self) -> str | None:
        """Opens this installation's own choices and history at query, and nobody else's."""
        found: str | None = self._state.get("capability")
        return found

    def _save(self) -> None:
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(self._state))
        temporary.replace(self._file)
