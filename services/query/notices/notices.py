"""Publishing and matching notices, behind the wall of one controller: one is added, and none is ever changed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from schemas.catalogue import doubts
from schemas.errors import NotFound
from schemas.notice_making import Made, NoticeSource, make_notices
from schemas.notices import NoticeContent, notice_hash
from schemas.record import format_time
from services.postgres import Pool, PooledConnection, controller_transaction, named_queries
from services.query.auth import Caller

_SQL: Final = named_queries(Path(__file__).parent.parent / "sql" / "notices.sql")


class Notices:
    """What a DPO does with notices over the API."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def publish(self, caller: Caller, site: str, source: NoticeSource) -> list[dict[str, Any]]:
        """Publish every notice of a source; what each became. Raises NotFound, InvalidValue."""
        async with controller_transaction(self._pool, caller.controller, readonly=False) as connection:
            number = await _site(connection, caller, site)
            rows = await connection.fetch(_SQL["published"], caller.controller, number)
            made = make_notices(source, [NoticeContent.model_validate_json(row["content"]) for row in rows])
            for one in made:
                name = notice_hash(one.content)
                await connection.execute(_SQL["publish"], caller.controller, name, number, one.language, one.content)
        return [_described(one) for one in made]

    async def published(self, caller: Caller, site: str) -> list[dict[str, Any]]:
        """Every notice of a site, oldest first. Raises NotFound."""
        async with controller_transaction(self._pool, caller.controller) as connection:
            number = await _site(connection, caller, site)
            rows = await connection.fetch(_SQL["published"], caller.controller, number)
        listed = []
        for row in rows:
            content = NoticeContent.model_validate_json(row["content"])
            listed.append(
                {
                    "sha256": row["notice"].hex(),
                    "notice_id": content.notice_id,
                    "version": content.version,
                    "language": content.language,
                    "asks_again": content.asks_again,
                    "published_at": format_time(row["published_at"]),
                    **({} if content.effective_at is None else {"effective_at": content.effective_at}),
                }
            )
        return listed

    async def content(self, caller: Caller, site: str, notice: str) -> bytes:
        """The bytes of one notice, which is named in hex. Raises NotFound."""
        async with controller_transaction(self._pool, caller.controller) as connection:
            number = await _site(connection, caller, site)
            content: bytes | None = await connection.fetchval(_SQL["content"], caller.controller, number, notice)
        if content is None:
            raise NotFound
        return content

    async def match(self, caller: Caller, shown: bytes, notice: bytes) -> None:
        """Tie a hash that was seen on a page to a published notice. Raises NotFound if that is not published."""
        async with controller_transaction(self._pool, caller.controller, readonly=False) as connection:
            if not await connection.fetchval(_SQL["is_published"], caller.controller, notice):
                raise NotFound
            await connection.execute(_SQL["match"], caller.controller, shown, notice)


async def _site(connection: PooledConnection, caller: Caller, name: str) -> int:
    number: int | None = await connection.fetchval(_SQL["site"], caller.controller, name)
    if number is None:
        raise NotFound
    return number


def _described(made: Made) -> dict[str, Any]:
    content = NoticeContent.model_validate_json(made.content)
    doubtful: Sequence[str] = doubts(content)
    return {
        "sha256": notice_hash(made.content).hex(),
        "language": made.language,
        "changes": made.changes,
        "asks_again": content.asks_again,
        "untranslated": content.untranslated or [],
        "doubts": doubtful,
    }
