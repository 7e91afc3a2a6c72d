"""Stages of fsck done one after the other here, or side by side in processes of their own.

A process gets its settings and stages through a pipe and sends progress, what is to be kept and results back through
it; it ends when the pipe does, so that none outlives a run that is killed.
"""

import asyncio
import multiprocessing
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any

from schemas.errors import ConfigurationError
from services.ledger.fsck.connecting import connect, gone_away
from services.ledger.fsck.findings import Pace, Progress
from services.ledger.fsck.memory import Memory
from services.ledger.fsck.stages import Stage, Stages
from services.ledger.settings import LedgerSettings
from services.postgres import DATABASE_AWAY


async def do_here(
    settings: LedgerSettings, stages: Sequence[Stage], memory: Memory, progress: Progress
) -> dict[Stage, Mapping[str, Any]]:
    """Do the stages on one connection; what is kept of each."""
    connection = await connect(settings)
    try:
        work, pace = Stages(connection, settings), Pace(progress)
        done = {}
        for stage in stages:
            name = str(stage)
            done[stage] = await work.run(stage, memory.of(name), pace, partial(memory.keep, name))
            memory.keep(name, done[stage])
        return done
    except DATABASE_AWAY as error:
        raise gone_away(error) from None
    finally:
        await connection.close()


async def do_side_by_side(
    settings: LedgerSettings, stages: Sequence[Stage], memory: Memory, progress: Progress, jobs: int
) -> dict[Stage, Mapping[str, Any]]:
    """The same in `jobs` processes, each with a connection of its own. Raises what a process raised."""
    waiting = deque(stages)
    done: dict[Stage, Mapping[str, Any]] = {}
    # Not forked: this process has connections and an event loop.
    context = multiprocessing.get_context("spawn")

    async def serve() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_process, args=(settings, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            while waiting:
                stage = waiting.popleft()
                ours.send((stage, memory.of(str(stage))))
                done[stage] = await _followed(ours, str(stage), memory, progress)
        finally:
            # In this order: a thread may still be reading what the process says.
            process.terminate()
            await asyncio.to_thread(process.join)
            ours.close()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(jobs, len(stages))):
                group.create_task(serve())
    except ExceptionGroup as failed:
        # The others were stopped because of the first.
        raise failed.exceptions[0] from None
    return {stage: done[stage] for stage in stages}


async def _followed(pipe: Pipe, name: str, memory: Memory, progress: Progress) -> Mapping[str, Any]:
    """Hand on what a process says of a stage until it is done."""
    while True:
        try:
            kind, said = await asyncio.to_thread(pipe.recv)
        except (EOFError, OSError):
            raise ConfigurationError("a process of this run was ended from outside: start the run again") from None
        if kind == "progress":
            progress(*said)
        elif kind == "failed":
            raise said
        else:
            memory.keep(name, said)
            if kind == "done":
                kept: Mapping[str, Any] = said
                return kept


def _process(settings: LedgerSettings, pipe: Pipe) -> None:
    """The life of one process. Ctrl-C is for the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        asyncio.run(_serve(settings, pipe))
    except (EOFError, BrokenPipeError):
        return
    except ConfigurationError as error:
        pipe.send(("failed", error))
    except DATABASE_AWAY as error:
        pipe.send(("failed", gone_away(error)))


async def _serve(settings: LedgerSettings, pipe: Pipe) -> None:
    connection = await connect(settings)
    try:
        work = Stages(connection, settings)
        pace = Pace(lambda *step: pipe.send(("progress", step)))
        while True:
            stage, kept = pipe.recv()
            result = await work.run(stage, kept, pace, lambda reached: pipe.send(("kept", reached)))
            pipe.send(("done", result))
    finally:
        await connection.close()
