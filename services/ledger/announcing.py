"""Material changes of notices, told: a record in the site's log, and a message to the systems that want to know.

Invariant: a version is announced once, in the transaction of its record. What differs in words alone is no news, and
neither is a notice's first version. Who of the people concerned was told, the site says (notice.told).
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from schemas.canonical import canonical_json
from schemas.notice_making.changes import changes_between
from schemas.notices import NoticeContent
from schemas.record import format_time
from schemas.topics import source_of
from services.keys import ControllerKeys
from services.ledger.appending import Appending, LogClosed, LogNotOpen
from services.ledger.downstream.triggers import put_delivery, systems_told
from services.ledger.erasure.store import ErasureStore
from services.ledger.erasure.subject import log_of
from services.ledger.high_water import HighWater
from services.ledger.own_records import own_record
from services.ledger.store import Row
from services.postgres import Pool, named_queries

ANNOUNCED: Final = "notice.changed"
_SQL: Final = named_queries(Path(__file__).parent / "sql" / "announcing.sql")


class Announcements:
    """Looks for new versions; any ledger of a deployment may, the row of a version decides whose turn it is."""

    def __init__(
        self, pool: Pool, keys: ControllerKeys, event_id_key: bytes, high_water: HighWater, *, announce: bool
    ) -> None:
        """Like a recorder's."""
        self._pool = pool
        self._keys = keys
        self._event_id_key = event_id_key
        self._high_water = high_water
        self._announce = announce
        # Notices are only added: with as many as the last time there is nothing new, and none is read.
        self._seen = -1

    async def make(self) -> int:
        """Announce what is new; how many records that were. Raises LedgerHalted."""
        async with self._pool.acquire() as connection:
            count = await connection.fetchval(_SQL["count_notices"])
            if count == self._seen:
                return 0
            rows = await connection.fetch(_SQL["unannounced_versions"])
        made = 0
        waiting = False
        for row in rows:
            try:
                made += await self._one(row)
            except (LogClosed, LogNotOpen):
                # A successor log is about to begin: the next round finds it.
                waiting = True
        self._seen = -1 if waiting else count
        return made

    async def _one(self, row: Row) -> bool:
        """1. Lock the head; 2. be the first; 3. record; 4. tell the systems. A crash before the commit: nothing."""
        change = change_of(row)
        async with self._pool.acquire() as connection, connection.transaction():
            controller = row["controller"]
            appending = Appending(connection, self._keys, {}, self._high_water.sizes(), announce=self._announce)
            logs = {known["log"]: log_of(known) for known in await ErasureStore(connection).open_logs(controller)}
            if change is not None:
                if row["log"] not in logs:
                    return False
                await appending.lock_heads([logs[row["log"]]])
            names = row["site"], row["notice_id"], row["version"]
            if await connection.fetchval(_SQL["announce_version"], controller, *names) is None or change is None:
                return False
            now = datetime.now(UTC)
            notice = {"sha256": row["notice"].hex(), "language": change.pop("language")}
            members = {"site": row["site_name"], "notice": notice, "change": change}
            record = own_record(logs[row["log"]], self._event_id_key, ANNOUNCED, members, now)
            record.notice = notice["sha256"]
            await appending.write([record])
            event = {
                "specversion": "1.0",
                "id": record.what["id"],
                "source": source_of(row["site_name"]),
                "type": ANNOUNCED,
                "time": format_time(now),
                "datacontenttype": "application/json",
                "data": {"notice": notice, "change": change},
            }
            for system in await systems_told(connection, controller, "notices"):
                await put_delivery(connection, (controller, system["system"]), "notice", canonical_json(event), now)
        return True


def change_of(row: Row) -> dict[str, Any] | None:
    """What a version materially changes, and what that does to the consents before it; None for nothing of the kind."""
    if row["before"] is None:
        return None
    before = NoticeContent.model_validate_json(row["before"])
    after = NoticeContent.model_validate_json(row["content"])
    kinds = changes_between(before, after)
    if not after.asks_again and not set(kinds) - {"words"}:
        return None
    change = {
        "notice_id": after.notice_id,
        "version": after.version,
        "before": before.version,
        "language": after.language,
        "kinds": kinds,
        # What it does to those who agreed to the version before (EDPB 05/2020, 110).
        "consents": "asked_again" if after.asks_again else "stand",
    }
    return change if after.effective_at is None else {**change, "effective_at": after.effective_at}
