"""One write an answer: what is written in one turn of the loop goes out together, in order, and before a close."""

import asyncio

import pytest

from services.ingest.whole_answers import _Gathered

pytestmark = pytest.mark.unit


class Wire:
    """A transport that remembers what reached it."""

    def __init__(self) -> None:
        self.seen: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.seen.append(data)

    def close(self) -> None:
        self.seen.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.seen


async def test_what_is_written_in_one_turn_is_one_write() -> None:
    wire = Wire()
    transport = _Gathered(wire)  # type: ignore[arg-type] # as much of a transport as it uses
    transport.write(b"HTTP/1.1 202 Accepted\r\n\r\n")
    transport.write(b"{}")
    assert wire.seen == []
    await asyncio.sleep(0)  # the loop's next turn, no time
    assert wire.seen == [b"HTTP/1.1 202 Accepted\r\n\r\n{}"]
    transport.write(b"a head alone, as of HEAD")
    await asyncio.sleep(0)  # the loop's next turn, no time
    assert wire.seen[1:] == [b"a head alone, as of HEAD"]


async def test_a_close_comes_after_what_was_written() -> None:
    wire = Wire()
    transport = _Gathered(wire)  # type: ignore[arg-type] # as much of a transport as it uses
    transport.write(b"last")
    assert not transport.is_closing()
    transport.close()
    await asyncio.sleep(0)  # the loop's next turn, no time
    assert wire.seen == [b"last", "closed"]
    assert transport.is_closing()
