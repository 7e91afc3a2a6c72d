"""What is in the log, opened with the controller's keys: the parts of every record, those without a subject too."""

from dataclasses import dataclass
from typing import Any

from services.keys import ControllerKeys
from services.keys.file_provider import FileProvider
from services.query.payloads import read_part, subject_cipher
from tests.support.deployment import Deployment

_RECORDS = (
    "SELECT p.index, l.origin, p.nonce, p.who, p.what, p.context, s.wrapped_key, s.key_epoch, s.log AS stand_in"
    " FROM payloads p JOIN logs l USING (controller, log)"
    " JOIN subjects s ON s.controller = p.controller AND s.subject = p.subject"
    " WHERE p.index >= $1 ORDER BY p.index"
)


@dataclass(frozen=True)
class Record:
    """One record, opened. `identified`: whether it belongs to a subject."""

    index: int
    identified: bool
    who: dict[str, Any]
    what: dict[str, Any]
    context: dict[str, Any]

    @property
    def type(self) -> str:
        """Such as consent.given."""
        return str(self.what["type"])

    @property
    def decisions(self) -> dict[str, str]:
        """Purpose -> decision."""
        return {decision["purpose"]: decision["decision"] for decision in self.what.get("decisions", [])}


async def read_log(deployment: Deployment, since: int) -> list[Record]:
    """The records of the log from index `since` on."""
    keys = ControllerKeys(deployment.keys / "controllers", FileProvider(deployment.keys / "root.key"))
    records = []
    for row in await deployment.fetch(_RECORDS, since):
        cipher = subject_cipher(keys, "shop", row)
        who, what, context = (read_part(cipher, row, name) or {} for name in ("who", "what", "context"))
        records.append(Record(row["index"], row["stand_in"] is None, who, what, context))
    return records
