"""What the operator set up, as the ledger needs it: logs by name, sites, publishers, known notice hashes. Cached.

Staleness is bounded by REFRESH_S; a miss refreshes at once, but at most once in MISS_REFRESH_S, so that a stream of
garbage cannot hammer Postgres. What ingest vouches for is looked for without that limit.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from services.ledger.store import Store
from services.postgres import Pool

REFRESH_S: Final = 30.0
MISS_REFRESH_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Log:
    """One log and the sites whose records go to it."""

    controller: int
    controller_name: str
    log: int
    name: str
    origin: str
    sites: frozenset[str]
    # Whether it continues another log: then its first entries say so, before anything else is recorded.
    follows: bool = False


@dataclass(frozen=True, slots=True)
class Publisher:
    """A registered publishing process and the event types it may publish."""

    public_key: Ed25519PublicKey
    types: frozenset[str]


class Registry:
    """One per ledger process; used by its tasks on one event loop, which alone replace the mappings."""

    def __init__(self, pool: Pool) -> None:
        """Empty until the first `refresh`."""
        self._pool = pool
        self._logs: Mapping[str, Log] = {}
        self._successors: Mapping[str, str] = {}
        self._erased: frozenset[str] = frozenset()
        self._publishers: Mapping[bytes, Publisher] = {}
        self._notices: frozenset[tuple[int, bytes]] = frozenset()
        self._read_at = 0.0
        self.generation = 0

    async def refresh(self, *, missed: bool = False, vouched: bool = False) -> None:
        """Read everything again if it is old, or if something was missed and the last look is not just now.

        `vouched`: what was missed is there by the word of one of our own processes, so the last look came too early.
        """
        now = time.monotonic()
        young = 0.0 if vouched else MISS_REFRESH_S if missed else REFRESH_S
        if self.generation and now - self._read_at < young:
            return
        async with self._pool.acquire() as connection:
            store = Store(connection)
            logs, sites = await store.logs(), await store.sites()
            publishers, notices = await store.publishers(), await store.known_notices()
        self._logs = {
            row["name"]: Log(
                row["controller"],
                row["controller_name"],
                row["log"],
                row["name"],
                row["origin"],
                frozenset(s["name"] for s in sites if (s["controller"], s["log"]) == (row["controller"], row["log"])),
                row["follows"],
            )
            for row in logs
        }
        self._successors = {row["name"]: row["successor"] for row in logs if row["successor"] is not None}
        self._erased = frozenset(row["name"] for row in logs if row["is_erased"])
        self._publishers = {
            row["publisher"]: Publisher(Ed25519PublicKey.from_public_bytes(row["public_key"]), frozenset(row["types"]))
            for row in publishers
        }
        self._notices = frozenset((row["controller"], row["notice"]) for row in notices)
        self._read_at = now
        self.generation += 1

    def log(self, name: str) -> Log | None:
        """The log of that name, or the one that took over from it, or None."""
        while name in self._successors:
            name = self._successors[name]
        return self._logs.get(name)

    def is_erased(self, name: str) -> bool:
        """Whether the log's controller was erased: nothing sent to it is kept."""
        return name in self._erased

    def logs(self) -> list[Log]:
        """All logs, in the order in which their heads are locked."""
        return sorted(self._logs.values(), key=lambda log: (log.controller, log.log))

    def publisher(self, key_id: bytes) -> Publisher | None:
        """The registered, unrevoked publisher of that key id, or None."""
        return self._publishers.get(key_id)

    def knows_notice(self, controller: int, notice: bytes) -> bool:
        """Whether the controller has published that hash, or matched it to a published notice."""
        return (controller, notice) in self._notices
