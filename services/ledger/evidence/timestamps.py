"""RFC 3161 tokens over published checkpoints: at an interval, and at once for a proof that is about to be exported.

Invariant: whatever an authority answers is kept as it came; gen_time is set only if the verifiers agree on it
(timestamp_check.py). An authority that is away is asked again later and stops nothing.
"""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx2

from schemas.timestamp_token import RESPONSE_BYTES_MAX
from services.ledger.evidence.authorities import Authority
from services.ledger.evidence.timestamp_check import check_response, timestamp_request
from services.ledger.metrics import LedgerMetrics
from services.observability import describe, get_logger
from services.postgres import Pool, PooledConnection, named_queries

QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "timestamps.sql")

# How often `work` is to be called, and how often it looks at what was published rather than wished for.
LOOK_S: Final = 0.25
LOOK_AT_HEADS_S: Final = 0.5
ASK_S_MAX: Final = 10.0
BACKOFF_FIRST_S: Final = 0.25
BACKOFF_S_MAX: Final = 60.0
# An authority that failed this often in a row keeps no proof waiting.
FAILING_AFTER: Final = 3
# Answers of one authority about one checkpoint that are kept without one that verifies; then it is not asked again.
ANSWERS_MAX: Final = 3
ASKED_AT_ONCE: Final = 4
NONCE_BYTES: Final = 8

_log = get_logger()

# A row of `unanswered`: controller, log, size, authority, note.
Question = Mapping[str, Any]


@dataclass(slots=True)
class _Asked:
    """One authority at work: how often it failed in a row, since when it may be asked again, tokens on their way."""

    authority: Authority
    failures: int = 0
    not_before: float = 0.0
    under_way: dict[tuple[int, int, int], asyncio.Task[None]] = field(default_factory=dict)

    def ready(self) -> bool:
        """Whether it may be asked now; one that failed is tried with one question first."""
        at_once = 1 if self.failures else ASKED_AT_ONCE
        return time.monotonic() >= self.not_before and len(self.under_way) < at_once

    def failed(self) -> float:
        """Wait longer each time; the seconds to wait."""
        pause: float = min(BACKOFF_S_MAX, BACKOFF_FIRST_S * 2 ** min(self.failures, 10))
        self.failures += 1
        self.not_before = time.monotonic() + pause
        return pause


class Timestamps:
    """Asks the authorities; of several ledgers on one database, one at a time."""

    def __init__(self, pool: Pool, authorities: Sequence[Authority], interval_s: float, metrics: LedgerMetrics) -> None:
        """`interval_s` is the shortest time between two tokens of one authority for one log, wishes aside."""
        self._pool = pool
        self._asked = {authority.name: _Asked(authority) for authority in authorities}
        self._interval_s = interval_s
        self._metrics = metrics
        self._http = httpx2.AsyncClient(timeout=ASK_S_MAX, trust_env=False)
        # The session that holds the turn; None while another ledger has it. Only `work` and `stop` touch it.
        self._turn: PooledConnection | None = None
        # By controller, log and authority: size of the largest checkpoint with a token, and when the last one came.
        self._last: dict[tuple[int, int, str], tuple[int, float]] = {}
        self._heads_looked_at = 0.0
        metrics.watch_authorities(self._asked, ("obtained", "refused", "away"))

    async def work(self) -> int:
        """One look at what is due: questions are put, nothing is waited for. How many were put."""
        if not self._asked:
            async with self._pool.acquire() as connection:
                # Nobody can fulfil them; a wish without an authority must not keep a proof waiting.
                await connection.execute(QUERIES["settle_wishes"], [], ANSWERS_MAX, [])
            return 0
        self._reap()
        try:
            turn = self._turn or await self._take_turn()
            return 0 if turn is None else await self._ask_due(turn)
        except BaseException:
            # Whatever the session suffered, the next round begins with a new one.
            await self._give_turn_away()
            raise

    async def stop(self) -> None:
        """Drop what is under way and give the turn away."""
        tasks = [task for asked in self._asked.values() for task in asked.under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()
        await self._give_turn_away()

    def _reap(self) -> None:
        """Forget what has ended; what the database said against it is for the caller."""
        for asked in self._asked.values():
            for place in [place for place, task in asked.under_way.items() if task.done()]:
                asked.under_way.pop(place).result()

    async def _take_turn(self) -> PooledConnection | None:
        """The session that holds the turn from now on; None while another ledger's does."""
        connection = await self._pool.acquire()
        try:
            if await connection.fetchval(QUERIES["take_turn"]):
                self._turn = connection
                await connection.execute(QUERIES["end_when_silent"])
                await self._remember(connection)
        finally:
            if self._turn is None:
                await self._pool.release(connection)
        return self._turn

    async def _give_turn_away(self) -> None:
        held, self._turn = self._turn, None
        if held is not None:
            # The lock ends with the session; back in the pool it would live on. It may be gone already.
            with suppress(asyncpg.InterfaceError):
                held.terminate()
            await self._pool.release(held)

    async def _remember(self, connection: PooledConnection) -> None:
        """A restart, or another ledger's turn before ours, must not make tokens come sooner."""
        self._last.clear()
        for row in await connection.fetch(QUERIES["last_tokens"]):
            self._note_token((row["controller"], row["log"], row["size"]), row["authority"], row["age_s"])

    def _note_token(self, place: tuple[int, int, int], authority: str, age_s: float) -> None:
        controller, log, size = place
        before, _ = self._last.get((controller, log, authority), (0, 0.0))
        self._last[controller, log, authority] = max(size, before), time.monotonic() - age_s
        self._metrics.timestamped(authority, self._last[controller, log, authority][1])

    async def _ask_due(self, connection: PooledConnection) -> int:
        """Settle what is fulfilled, then put every due question to every authority that may be asked now."""
        failing = [name for name, asked in self._asked.items() if asked.failures >= FAILING_AFTER]
        await connection.execute(QUERIES["settle_wishes"], list(self._asked), ANSWERS_MAX, failing)
        wished = [(row["controller"], row["log"], row["size"]) for row in await connection.fetch(QUERIES["wishes"])]
        published: list[tuple[int, int, int]] = []
        if time.monotonic() - self._heads_looked_at >= min(LOOK_AT_HEADS_S, self._interval_s):
            self._heads_looked_at = time.monotonic()
            rows = await connection.fetch(QUERIES["published_sizes"])
            published = [(row["controller"], row["log"], row["size"]) for row in rows]
        due = {
            (*place, name): None
            for name, asked in self._asked.items()
            for place in (*wished, *(place for place in published if self._interval_over(place, name)))
            if place not in asked.under_way and asked.ready()
        }
        if not due:
            return 0
        controllers, logs, sizes, names = zip(*due, strict=True)
        put = 0
        for question in await connection.fetch(QUERIES["unanswered"], controllers, logs, sizes, names, ANSWERS_MAX):
            asked = self._asked[question["authority"]]
            if asked.ready():
                place = question["controller"], question["log"], question["size"]
                asked.under_way[place] = asyncio.create_task(self._obtain(asked, place, question["note"].encode()))
                put += 1
        return put

    def _interval_over(self, place: tuple[int, int, int], authority: str) -> bool:
        controller, log, size = place
        last = self._last.get((controller, log, authority))
        return last is None or (size > last[0] and time.monotonic() - last[1] >= self._interval_s)

    async def _obtain(self, asked: _Asked, place: tuple[int, int, int], note: bytes) -> None:
        """One question: (1) ask; (2) verify; (3) keep. A crash before (3) leaves no trace, and it is asked again."""
        authority, nonce = asked.authority, os.urandom(NONCE_BYTES)
        try:
            response = await self._post(authority, timestamp_request(sha256(note).digest(), nonce, authority.policy))
        except Exception as error:  # noqa: BLE001 - whatever a stranger's server leads to, recording and signing go on
            self._metrics.timestamps.labels(authority.name, "away").inc()
            pause = asked.failed()
            _log.warning(
                "A timestamp authority gives no answer; asking again later.",
                authority=authority.name,
                backoff_s=pause,
                **describe(error),
            )
            return
        checked = None
        try:
            checked = await asyncio.to_thread(check_response, response, note, nonce, authority)
        except Exception as error:  # noqa: BLE001 - as above; beside ProofError, a mistake in a library's parser
            pause = asked.failed()
            _log.warning(
                "A timestamp authority's answer does not verify; it is kept as it came.",
                authority=authority.name,
                backoff_s=pause,
                **describe(error),
            )
        said = (None, None) if checked is None else (checked.timestamp.gen_time, checked.verified_by)
        async with self._pool.acquire() as connection:
            await connection.execute(QUERIES["keep_answer"], *place, authority.name, response, nonce, *said)
        self._metrics.timestamps.labels(authority.name, "refused" if checked is None else "obtained").inc()
        if checked is not None:
            asked.failures = 0
            self._note_token(place, authority.name, 0)

    async def _post(self, authority: Authority, request: bytes) -> bytes:
        """The body of a 200, whatever it is, cut at what a response can be long. Raises what httpx2 raises."""
        headers = {
            "Content-Type": "application/timestamp-query",
            "Accept": "application/timestamp-reply",
            "Accept-Encoding": "identity",
        }
        body = bytearray()
        async with (
            asyncio.timeout(ASK_S_MAX),
            self._http.stream("POST", authority.url, content=request, headers=headers) as response,
        ):
            if response.status_code != httpx2.codes.OK:
                raise httpx2.RemoteProtocolError("the authority answered with another status than 200")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > RESPONSE_BYTES_MAX:
                    break
        return bytes(body[: RESPONSE_BYTES_MAX + 1])
