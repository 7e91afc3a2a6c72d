"""What belongs to one controller and to no log: notices, what erasures have left, tombstones and dockets.

Invariant: of whoever was erased, nothing is there but what an erasure may leave.
"""

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

from schemas.docket import NONCE_BYTES, place_of_docket
from schemas.errors import ConfigurationError, Problem
from schemas.notices import notice_bytes, notice_hash
from services.keys import ControllerKeys
from services.ledger.fsck.findings import Report
from services.ledger.fsck.snapshot import Snapshot
from services.ledger.store import Row
from services.ledger.subjects import unwrap


class ControllerWalk:
    """Looks at one controller once."""

    def __init__(self, snapshot: Snapshot, owner: tuple[int, str], keys: ControllerKeys, report: Report) -> None:
        """`owner` is the controller's id and name."""
        self._snapshot = snapshot
        self._controller, self._controller_name = owner
        self._keys = keys
        self._report = report

    async def run(self) -> None:
        """1. Notices; 2. who was erased is gone; 3. what was left of them."""
        await self._check_notices()
        await self._check_erased()
        await self._check_left()

    async def _check_notices(self) -> None:
        for row in await self._snapshot.notices(self._controller):
            where = f"notice {row['notice'].hex()}, site {row['site']}"
            if notice_hash(row["content"]) != row["notice"]:
                self._add("notices", where, "the name is not the SHA-256 of the content")
            elif not _is_notice(row["content"], row["language"]):
                self._add("notices", where, "the content is not a canonical notice in its language")
        for row in await self._snapshot.notice_matches(self._controller):
            if not row["is_published"]:
                self._add("notice_matches", f"shown {row['shown'].hex()}", "the notice it stands for is not published")

    async def _check_erased(self) -> None:
        for row in await self._snapshot.erased_and_there(self._controller):
            what = f"erasure {row['number']} has erased this subject, and something of it is still there"
            self._add(row["found_in"], f"subject {row['subject']}", what)
        if await self._snapshot.is_erased(self._controller):
            for table in await self._snapshot.rows_of_an_erased_controller(self._controller):
                self._add(table, f"controller {self._controller_name}", "the controller was erased, and this is left")

    async def _check_left(self) -> None:
        for row in await self._snapshot.erasures_without(self._controller):
            self._add(row["found_in"], f"erasure {row['number']}", "there is no erasure of this number")
        for row in await self._snapshot.of_nobody(self._controller):
            self._add(row["found_in"], f"subject {row['subject']}", "the subject does not exist")
        for row in await self._snapshot.triggers_odd(self._controller):
            what = "it is open, and its docket is closed because everybody has answered"
            if row["is_answered"]:
                what = "it is answered, and what its system found the person by is still there"
            self._add("triggers", f"trigger {row['trigger']}", what)
        for name in await self._snapshot.tombstones_odd(self._controller):
            self._add("tombstones", f"identifier {name.hex()}", "it ends before the erasure that it is of")
        for row in await self._snapshot.dockets(self._controller):
            if not self._opens(row):
                self._add(
                    "dockets", f"docket {row['docket']}", "it does not open: it, its key or its number was changed"
                )

    def _opens(self, row: Row) -> bool:
        try:
            cipher = AESGCM(unwrap(self._keys, self._controller_name, row))
            place = place_of_docket(self._controller, row["docket"])
            orjson.loads(cipher.decrypt(row["sealed"][:NONCE_BYTES], row["sealed"][NONCE_BYTES:], place))
        except (ConfigurationError, InvalidUnwrap, InvalidTag, ValueError):
            return False
        return True

    def _add(self, table: str, where: str, what: str) -> None:
        self._report.add(table, None, where, what)


def _is_notice(content: bytes, language: str) -> bool:
    try:
        value = orjson.loads(content)
        return notice_bytes(value) == content and value["language"] == language
    except (orjson.JSONDecodeError, Problem):
        return False
