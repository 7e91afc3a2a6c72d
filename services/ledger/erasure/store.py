"""The statements of erasures, on one connection of the role sayso_ledger; the caller owns the transaction."""

from collections.abc import AsyncIterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from schemas.record import format_time
from services.ledger.store import Row
from services.postgres import Connection, PooledConnection, named_queries

# Records of one subject in memory at a time.
PARTS_AT_ONCE: Final = 256
# For what may touch every row of a controller.
LONG_S: Final = 24 * 3600.0
_FOLDER: Final = Path(__file__).parents[1] / "sql"
_SQL: Final = {**named_queries(_FOLDER / "erasure.sql"), **named_queries(_FOLDER / "links.sql")}


class ErasureStore:
    """By name; nothing here decides anything."""

    def __init__(self, connection: Connection | PooledConnection) -> None:
        """`connection` has the role sayso_ledger."""
        self._connection = connection

    @property
    def connection(self) -> Connection | PooledConnection:
        """For what else has to be written in the same transaction."""
        return self._connection

    async def _fetch(self, name: str, *args: Any) -> list[Row]:
        return await self._connection.fetch(_SQL[name], *args)

    async def _execute(self, name: str, *args: Any, timeout: float | None = None) -> int:
        status = await self._connection.execute(_SQL[name], *args, timeout=timeout)
        return int(status.rpartition(" ")[2])

    async def open_logs(self, controller: int) -> list[Row]:
        """controller, controller_name, log, name, origin, sites, follows, follows_size, follows_root, size, followed.

        `followed` is the origin of the log before. In lock order.
        """
        return await self._fetch("open_logs", controller)

    async def tombstones(self, controller: int, identifiers: Sequence[bytes]) -> dict[bytes, datetime]:
        """Of those that were erased: when."""
        rows = await self._fetch("tombstones", controller, identifiers)
        return {row["identifier"]: row["erased_at"] for row in rows}

    async def name_dropped(self, controller: int, events: Sequence[bytes], log: int) -> None:
        """Remember the names of events that came too late."""
        await self._execute("name_dropped", controller, events, log)

    async def last_number(self) -> int:
        """0 before the first erasure."""
        return int((await self._fetch("last_number"))[0]["number"])

    async def erasure_of_subject(self, controller: int, subject: UUID) -> int | None:
        """The number of the erasure it has had."""
        rows = await self._fetch("erasure_of_subject", controller, subject)
        return rows[0]["number"] if rows else None

    def subject_parts(self, controller: int, subject: UUID) -> AsyncIterable[Row]:
        """log, index, origin, nonce, who, what, context, who_digest, context_digest; a few at a time."""
        cursor: AsyncIterable[Row] = self._connection.cursor(
            _SQL["subject_parts"], controller, subject, prefetch=PARTS_AT_ONCE
        )
        return cursor

    async def identifiers_of(self, controller: int, subject: UUID) -> list[bytes]:
        """Names."""
        return [row["identifier"] for row in await self._fetch("identifiers_of", controller, subject)]

    async def linked_only_to(self, controller: int, subject: UUID) -> list[UUID]:
        """Who is erased with a subject, in id order."""
        return [UUID(int=row["subject"].int) for row in await self._fetch("linked_only_to", controller, subject)]

    async def rules(self, controller: int) -> dict[str, tuple[str, int]]:
        """By purpose: (ground, days)."""
        return {row["purpose"]: (row["ground"], row["keep_days"]) for row in await self._fetch("rules", controller)}

    async def write_erasure(
        self, controller: int, number: int, event: bytes | None, subject: UUID | None, ground: str, erased_at: datetime
    ) -> None:
        """The number is applied."""
        await self._execute("write_erasure", controller, number, event, subject, ground, erased_at)

    async def count_parts(self, controller: int, number: int, subject: UUID) -> None:
        """Before they are deleted."""
        await self._execute("count_parts", controller, number, subject)

    async def count_controller(self, controller: int, number: int) -> None:
        """Of every log that still takes records, before they are deleted."""
        await self._execute("count_controller", controller, number, timeout=LONG_S)

    async def keep_minimal_proof(self, row: Sequence[Any]) -> None:
        """controller, log, index, number, identifier, nonce, what, who_digest, context_digest, ground, keep_until."""
        await self._execute("keep_minimal_proof", *row)

    async def open_docket(self, row: Sequence[Any]) -> None:
        """controller, docket, sealed, wrapped_key, key_epoch, opened_at, limit_at."""
        await self._execute("open_docket", *row)

    async def bury(self, controller: int, names: Sequence[bytes], erased_at: datetime, expires_at: datetime) -> None:
        """Tombstones for these names."""
        await self._execute("bury", controller, names, erased_at, expires_at)

    async def forget_events(self, controller: int, events: Sequence[bytes]) -> None:
        """Leave only the names of these events."""
        await self._execute("forget_events", controller, events)

    async def forget_places(self, controller: int, subject: UUID) -> None:
        """The same for every record of a subject, by a walk over the whole table: its payloads must be there."""
        await self._execute("forget_places", controller, subject, timeout=LONG_S)

    async def delete_subject(self, controller: int, subject: UUID, names: Sequence[bytes]) -> None:
        """Dead letters, state, identifiers, payloads, links and the key."""
        await self._execute("delete_subject", controller, subject, names)

    async def request_steps(self, controller: int, request: UUID) -> list[dict[str, str]]:
        """What was done about a request so far: step (the event's type) and at, as a docket keeps it."""
        rows = await self._fetch("request_steps", controller, request)
        return [{"step": row["type"], "at": format_time(row["at"])} for row in rows]

    async def answer_request(self, controller: int, request: UUID, number: int) -> None:
        """This erasure is what was asked for, also where the request's own record names nobody."""
        await self._execute("answer_request", controller, request, number)

    async def undeclared(self, controller: int) -> list[Row]:
        """number, log, origin, heir (the log that has to state them), who, what, context, ground, subject."""
        return await self._fetch("undeclared", controller)

    async def to_declare(self) -> list[int]:
        """Controllers with something that an entry has to state."""
        return [row["controller"] for row in await self._fetch("to_declare")]

    async def declare(self, controller: int, number: int, log: int, place: tuple[int, int]) -> None:
        """`place` is (log, index) of the entry that states the counts."""
        await self._execute("declare", controller, number, log, *place)

    async def nobody_to_tell(self, controller: int, docket: int) -> None:
        """Nobody has to be told of an erasure."""
        await self._execute("nobody_to_tell", controller, docket)

    async def told(self, controller: int, docket: int, moment: datetime) -> None:
        """The person was told; the docket closes if every system has answered too."""
        await self._execute("told", controller, docket, moment)
        await self.close_answered_dockets(controller, [docket], moment)

    async def close_answered_dockets(self, controller: int, dockets: Sequence[int], moment: datetime) -> int:
        """Of these: how many were closed."""
        return await self._execute("close_answered_dockets", controller, dockets, moment)

    async def close_dockets_at_limit(self, moment: datetime) -> int:
        """How many were closed."""
        return await self._execute("close_dockets_at_limit", moment)

    async def expire_tombstones(self, moment: datetime) -> int:
        """How many were due."""
        return await self._execute("expire_tombstones", moment)

    async def controllers_with_due_proofs(self, moment: datetime) -> list[int]:
        """Whose logs have to say what goes."""
        return [row["controller"] for row in await self._fetch("controllers_with_due_proofs", moment)]

    async def end_minimal_proofs(self, controller: int, moment: datetime) -> list[Row]:
        """log, what: counts of those deleted."""
        return await self._fetch("end_minimal_proofs", controller, moment)

    async def controller(self, name: str) -> Row | None:
        """controller, erased_at."""
        rows = await self._fetch("controller", name)
        return rows[0] if rows else None

    async def has_unopened_successor(self, controller: int) -> bool:
        """Whether no ledger has opened a successor log yet."""
        return bool((await self._fetch("has_unopened_successor", controller))[0]["is_there"])

    async def delete_controller(self, controller: int, moment: datetime) -> None:
        """The personal side of all of it."""
        await self._execute("delete_controller", controller, moment, timeout=LONG_S)

    async def mark_controller(self, controller: int, moment: datetime) -> None:
        """Its keys end and its logs are closed."""
        await self._execute("mark_controller", controller, moment)

    async def erased_controllers(self) -> list[str]:
        """Names."""
        return [row["name"] for row in await self._fetch("erased_controllers")]

    async def living_controllers(self) -> list[tuple[int, str]]:
        """(controller, name)."""
        return [(row["controller"], row["name"]) for row in await self._fetch("living_controllers")]

    async def subjects_to_rewrap(
        self, controller: int, epochs: Sequence[int], after: UUID | None, most: int
    ) -> list[Row]:
        """subject, wrapped_key, key_epoch, locked; those of `epochs` behind `after`."""
        return await self._fetch("subjects_to_rewrap", controller, epochs, after, most)

    async def rewrap_subjects(
        self, controller: int, epoch: int, subjects: Sequence[UUID], wrapped_keys: Sequence[bytes]
    ) -> None:
        """The same keys under the key of `epoch`."""
        await self._execute("rewrap_subjects", controller, epoch, subjects, wrapped_keys)

    async def dockets_to_rewrap(self, controller: int, epochs: Sequence[int]) -> list[Row]:
        """docket, wrapped_key, key_epoch, locked; those of `epochs`."""
        return await self._fetch("dockets_to_rewrap", controller, epochs)

    async def rewrap_docket(self, controller: int, epoch: int, docket: int, wrapped_key: bytes) -> None:
        """The same key under the key of `epoch`."""
        await self._execute("rewrap_docket", controller, epoch, docket, wrapped_key)

    async def epochs_in_use(self, controller: int) -> set[int]:
        """Epochs whose key still wraps something."""
        return {row["key_epoch"] for row in await self._fetch("epochs_in_use", controller)}
