"""Posting to a system's webhook: Standard Webhooks over HTTPS, bounded in time and size.

Nothing that a system answers is believed beyond its outcome. Invariant: no redirect is followed, no proxy of the
machine's environment is used, and no address but the one that the controller's admin stated is ever asked.
"""

import asyncio
import ssl
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

import httpx2
import orjson

from schemas.triggers import TriggerAnswer, read_answer
from services.keys.webhooks import signed_headers
from services.ledger.downstream.resolving import Resolving, Transport

POST_S_MAX: Final = 10.0
ANSWER_BYTES_MAX: Final = 16_384
EVENT_MEDIA_TYPE: Final = "application/cloudevents+json"


class Ended(StrEnum):
    """How an attempt ended; a value of the metric's label."""

    # It has the message; what it did, it says later.
    TAKEN = "taken"
    ANSWERED = "answered"
    # Another status than 2xx.
    TURNED_AWAY = "turned-away"
    # A 2xx with an outcome that is none.
    WRONG_ANSWER = "wrong-answer"
    AWAY = "away"
    # Nothing is left to find the person by, or the system's key does not fit.
    NOT_SEALED = "not-sealed"


class Attempt(NamedTuple):
    """One attempt: how it ended, the HTTP status if there was one, and the answer of an ANSWERED one."""

    ended: Ended
    status: int | None = None
    answer: TriggerAnswer | None = None

    @property
    def is_taken(self) -> bool:
        return self.ended in {Ended.TAKEN, Ended.ANSWERED}


@cache
def _authorities() -> ssl.SSLContext:
    """Read once a process: it takes 25 ms."""
    return httpx2.create_ssl_context(trust_env=False)


class Webhooks:
    """Posts; one per process."""

    def __init__(self, *, inside: bool) -> None:
        """`inside`: whether systems may be at private, loopback and link-local addresses."""
        self._resolving = Resolving(inside=inside)
        self._http = httpx2.AsyncClient(
            timeout=POST_S_MAX,
            transport=Transport(self._resolving, _authorities()),
            trust_env=False,
            follow_redirects=False,
            headers={"user-agent": "sayso"},
        )

    async def post(self, url: str, secrets: Sequence[bytes], message_id: str, sent_at: int, body: bytes) -> Attempt:
        """One attempt, POST_S_MAX seconds at most; `sent_at` in Unix seconds. Raises nothing."""
        headers = signed_headers(secrets, message_id, sent_at, body)
        headers |= {"content-type": EVENT_MEDIA_TYPE, "accept": "application/json", "accept-encoding": "identity"}
        try:
            async with (
                asyncio.timeout(POST_S_MAX),
                self._http.stream("POST", url, content=body, headers=headers) as response,
            ):
                if not response.is_success:
                    return Attempt(Ended.TURNED_AWAY, response.status_code)
                answer = await _read(response)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError, ValueError):
            # ValueError: what a URL can still lead to deep inside; whatever it is, the system was not reached.
            return Attempt(Ended.AWAY)
        return _judge(response.status_code, answer)

    async def stop(self) -> None:
        """Close what is open."""
        await self._http.aclose()
        self._resolving.close()


async def _read(response: httpx2.Response) -> bytes:
    """The body; empty if it is longer than an answer can be."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            return b""
    return bytes(body)


def _judge(status: int, body: bytes) -> Attempt:
    """An outcome answers at once; a 2xx that speaks of none has taken the message."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Attempt(Ended.TAKEN, status)
    if not isinstance(value, dict) or "outcome" not in value:
        return Attempt(Ended.TAKEN, status)
    answer = read_answer(value)
    return Attempt(Ended.WRONG_ANSWER, status) if answer is None else Attempt(Ended.ANSWERED, status, answer)
