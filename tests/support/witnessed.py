"""A deployment whose ledger asks witnesses, and what the outside sees of it: the checkpoint that query would serve."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from schemas.note import log_key, parse_tree_head
from services.keys import make_secret, signing_key
from services.ledger.service import LedgerService
from services.postgres import named_queries
from tests.support.databases import Database
from tests.support.deployment import Deployment, consent_event
from tests.support.wait import until
from tests.support.witness import WitnessServer

ORIGIN = "log.example/logs/shop"
QUERIES = named_queries(Path(__file__).parents[2] / "services" / "query" / "sql" / "queries.sql")


class WitnessedDeployment(Deployment):
    """Deployment with a policy file; its log's key is made first, so that witnesses can know it from the start."""

    def __init__(self, database: Database, directory: Path) -> None:
        super().__init__(database, directory)
        path = self.keys / "ledger" / "logs" / "shop.key"
        make_secret(path)
        self.vkey = str(log_key(ORIGIN, signing_key(path)))
        self.logs = {ORIGIN: self.vkey}
        self.policy_file = directory / "policy.txt"
        self._published = 0

    @asynccontextmanager
    async def witnessed_ledger(
        self, policy: str, *, hold: bool = False, **changes: Any
    ) -> AsyncIterator[LedgerService]:
        """A ledger under this policy."""
        self.policy_file.write_text(policy)
        async with self.ledger(witness_policy_file=self.policy_file, witness_hold=hold, **changes) as service:
            yield service

    async def post(self, count: int, *, deadline_s: float = 30) -> int:
        """Record `count` more events and wait for their checkpoint; the size of the log."""
        first = self._published
        self._published += count
        await self.publish(self.seal(consent_event(n)) for n in range(first, self._published))
        await self.recorded(self._published, deadline_s=deadline_s)
        return self._published

    async def served(self) -> str | None:
        """The checkpoint that query serves, None before the first is shown."""
        rows = await self.fetch(QUERIES["last_checkpoint"], self.controller, self.log)
        return rows[0]["note"] if rows else None

    async def served_size(self) -> int:
        """Its size; -1 before the first is shown."""
        note = await self.served()
        return -1 if note is None else parse_tree_head(note.rpartition("\n\n")[0] + "\n").size

    async def serves(self, size: int, *, cosigned_by: Iterable[WitnessServer] = (), deadline_s: float = 10) -> str:
        """Wait until the checkpoint of `size` is served with a line of each of these witnesses; the note."""
        names = [f"\n\u2014 {witness.vkey.partition('+')[0]} " for witness in cosigned_by]

        async def there() -> bool:
            note = await self.served()
            return await self.served_size() == size and note is not None and all(name in note for name in names)

        await until(there, deadline_s=deadline_s, what=f"size {size} is served with {len(names)} cosignatures")
        note = await self.served()
        assert note is not None
        return note

    async def cosigned(self, size: int, witness: WitnessServer) -> bool:
        """Whether a cosignature of this witness over this size is stored."""
        name = witness.vkey.partition("+")[0]
        return bool(await self.fetch("SELECT FROM cosignatures WHERE size = $1 AND witness = $2", size, name))


def outcomes(service: LedgerService, witness: WitnessServer) -> set[str]:
    """How exchanges with a witness ended so far."""
    return {
        sample.labels["outcome"]
        for metric in service.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "sayso_ledger_cosignatures_total"
        and sample.labels["witness"] == witness.name
        and sample.value > 0
    }


def gauge(service: LedgerService, name: str, witness: WitnessServer) -> float:
    """The value of a gauge that is kept for each witness."""
    value = service.metrics.registry.get_sample_value(name, {"witness": witness.name})
    assert value is not None
    return value


@asynccontextmanager
async def running(*witnesses: WitnessServer) -> AsyncIterator[None]:
    """Start them, and stop them at the end, also those that were stopped before."""
    try:
        for witness in witnesses:
            await asyncio.to_thread(witness.start)
        yield
    finally:
        for witness in witnesses:
            await asyncio.to_thread(witness.stop)
