"""Statements behind each other: their order, what a failure stops, and that leaving waits for what is on its way."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.ledger.writes import Writes

pytestmark = pytest.mark.unit


class Sent:
    """Remembers what was sent; a statement takes a turn of the loop, as a real one does."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.running = 0

    def statement(self, name: str, error: Exception | None = None) -> Callable[[], Awaitable[None]]:
        async def send() -> None:
            assert self.running == 0, "two statements at once on one connection"
            self.running += 1
            await asyncio.sleep(0)  # a turn, as an answer takes
            self.running -= 1
            self.names.append(name)
            if error is not None:
                raise error

        return send


async def test_statements_run_in_order_while_the_rest_is_made() -> None:
    sent = Sent()
    async with Writes() as writes:
        for name in "abc":
            writes.put(sent.statement(name))
        for _ in range(3):
            await asyncio.sleep(0)  # turns, as making rows takes
        assert sent.names[:1] == ["a"]
    assert sent.names == ["a", "b", "c"]


async def test_after_a_failure_nothing_more_is_sent() -> None:
    sent = Sent()

    async def write() -> None:
        async with Writes() as writes:
            writes.put(sent.statement("a"))
            writes.put(sent.statement("b", ValueError("refused")))
            writes.put(sent.statement("c"))

    with pytest.raises(ValueError, match="refused"):
        await write()
    assert sent.names == ["a", "b"]


async def test_the_callers_own_error_wins_and_waits_for_what_is_on_its_way() -> None:
    sent = Sent()

    async def write() -> None:
        async with Writes() as writes:
            writes.put(sent.statement("a", ValueError("refused")))
            raise KeyError

    with pytest.raises(KeyError):
        await write()
    assert sent.names == ["a"]
    assert sent.running == 0


async def test_nothing_put_in_is_nothing_sent() -> None:
    async with Writes():
        pass
