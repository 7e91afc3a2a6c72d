"""A TCP proxy whose cable can be cut, stalled and mended; put between a service and Kafka or Postgres."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

CHUNK = 65536


class CableProxy:
    """Forwards 127.0.0.1:`port` to `target` while the cable is whole.

    `_flow` is set unless stalled; each pump waits for it before it moves a chunk on. `_server` is None while cut.
    """

    host = "127.0.0.1"

    def __init__(self, target: tuple[str, int], *, port: int = 0) -> None:
        self.target = target
        self.port = port
        self._server: asyncio.Server | None = None
        self._flow = asyncio.Event()
        self._flow.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._reset()

    async def stall(self) -> None:
        """Let no byte through in either direction; connections stay open and new ones are accepted, in silence."""
        self._flow.clear()

    async def resume(self) -> None:
        """Mend the cable. Stalled connections go on where they were; cut ones stay dead."""
        self._flow.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, self.host, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def __aenter__(self) -> Self:
        await self.resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _reset(self) -> None:
        for writer in self._writers:
            # abort() drops what is buffered: the peer sees a reset, as it would from a dead host's successor.
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        far_writer = None
        try:
            await self._flow.wait()
            far_reader, far_writer = await asyncio.open_connection(*self.target)
            self._writers.add(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            # A dead target or a cut: both ends learn it by the close below.
            pass
        finally:
            for end in (writer, far_writer):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            await self._flow.wait()
            writer.write(chunk)
            await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):
            # RuntimeError is what uvloop says of a transport that a cut has closed meanwhile.
            writer.write_eof()
