"""A recorded deployment to damage: about 600 events in two logs of one controller, and clones of its database.

Batches, refusals without a subject, withdrawals, duplicates, conflicts, a published notice and several checkpoints.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from schemas.notices import notice_bytes, notice_hash
from services.stream.protocol import Message
from tests.support.databases import Database, create_database
from tests.support.deployment import BASE_TIME, Deployment, consent_event

NOTICE: dict[str, Any] = {
    "v": 1,
    "notice_id": "banner",
    "version": "1",
    "language": "en",
    "title": "Chat",
    "text": "May we keep what you write in the chat?",
    "controller": {"name": "Shop", "contact": "dpo@shop.example"},
    "purposes": [
        {
            "purpose": "chat-history",
            "title": "Keep the chat",
            "description": "So that you can go on later.",
            "legal_basis": "consent",
            "services": ["chatra"],
        }
    ],
    "withdrawal": "In the footer, at any time.",
}
DENIED = [{"purpose": "chat-history", "decision": "denied", "legal_basis": "consent", "services": ["chatra"]}]
# Of the events of a wave, in the log `shop`.
WAVE = 97
WAVES = 6


class SampleLog:
    """The recorded deployment; `clone` gives copies of its database that share its keys and high-water marks."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.deployment = Deployment(database, directory)
        self.content = notice_bytes(NOTICE)
        self.notice = notice_hash(self.content)
        self.size = 0

    async def record(self) -> None:
        """Run a ledger over everything, a wave at a time, each with a checkpoint of its own."""
        deployment = self.deployment
        await deployment.create()
        await self._publish_notice()
        async with deployment.ledger(batch_events_max=40):
            await deployment.recorded(0)
            await deployment.recorded(0, log="blog")
            for wave in range(WAVES):
                await deployment.publish(self._wave(wave))
                self.size += WAVE
                await deployment.recorded(self.size)
            await deployment.publish(self._blog())
            await deployment.recorded(20, log="blog")

    async def _publish_notice(self) -> None:
        connection = await self.deployment.connect()
        try:
            await self.deployment.add_log(connection, "blog", "blog.example")
            await connection.execute(
                "INSERT INTO notices (controller, notice, site, language, content)"
                " SELECT controller, $1, site, 'en', $2 FROM sites WHERE name = 'shop.example'",
                self.notice,
                self.content,
            )
        finally:
            await connection.close()

    def _wave(self, wave: int) -> Iterator[Message]:
        """WAVE new events, and copies that must not be recorded."""
        seal = self.deployment.seal
        for number in range(wave * WAVE, (wave + 1) * WAVE):
            event = consent_event(number)
            if number % 5 == 1:
                event = consent_event(number, subject=f"v-{number % 3}", type="consent.withdrawn", decisions=DENIED)
            elif number % 5 == 2:
                event = consent_event(number, type="consent.refused", decisions=DENIED)
                del event["data"]["subject"]
            elif number % 5 == 3:
                event = consent_event(number, notice={"sha256": self.notice.hex(), "language": "en"})
            yield seal(event, received_at=BASE_TIME + timedelta(seconds=number))
            if number % 10 == 3:
                yield seal(event, received_at=BASE_TIME + timedelta(seconds=number + 60))
            if number % 20 == 4:
                # An earlier copy, in the same batch or a later one.
                yield seal(event, received_at=BASE_TIME)
            if number % 50 == 5:
                yield seal(consent_event(number, jurisdiction="FR"))

    def _blog(self) -> Iterator[Message]:
        """Twenty events of the other log, some of subjects that the first log knows."""
        for number in range(20):
            event = consent_event(
                10_000 + number, subject=f"v-{number}", source="/sites/blog.example", decisions=DENIED
            )
            event["type"] = "consent.withdrawn"
            yield self.deployment.seal(event, log="blog", received_at=BASE_TIME + timedelta(days=1))

    def clone(self) -> Deployment:
        """The same deployment on a copy of its database, which the caller drops."""
        database = self.deployment.database
        copied = create_database(database.server, template=database.name)
        deployment = Deployment(copied, self.deployment.directory)
        deployment.controller, deployment.log = self.deployment.controller, self.deployment.log
        return deployment
