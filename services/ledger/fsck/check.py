"""The entry point of fsck: the deployment, then stage by stage every log and every controller.

Safe beside a running ledger. Marks outside the database are read before each snapshot and after it, so that a ledger
that signs meanwhile is never mistaken for one that forked.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import ConfigurationError
from services.ledger.fsck.connecting import connect
from services.ledger.fsck.crew import do_here, do_side_by_side
from services.ledger.fsck.deployment_walk import DeploymentWalk
from services.ledger.fsck.findings import Progress, Report
from services.ledger.fsck.memory import Memory
from services.ledger.fsck.stages import OF_A_CONTROLLER, OF_A_LOG, Stage
from services.ledger.high_water import read_high_water
from services.ledger.settings import LedgerSettings
from services.ledger.store import Row, Store


@dataclass(frozen=True, slots=True)
class Run:
    """How a run is done.

    only_log: the name of one log; then what is over all logs of its controller is looked at but for the state.
    jobs: how many processes; 1 does everything in this one. resume: the file that remembers what was finished.
    """

    only_log: str | None = None
    jobs: int = 1
    resume: Path | None = None


async def check(settings: LedgerSettings, run: Run | None = None, *, progress: Progress) -> Report:
    """Recompute everything from raw rows; return what does not fit, and when each stage was checked.

    progress: called with (what, done, total) about once a second.
    Raises ConfigurationError: no such log, keys that cannot be read, a database that is away or not migrated.
    """
    run = run or Run()
    report = Report()
    # 1. What lies beside the database. Marks first: a log that is made meanwhile must not seem to be missing.
    connection = await connect(settings)
    try:
        bound, marks = await asyncio.to_thread(read_high_water, settings.high_water_dir)
        rows = await Store(connection).logs()
        logs = [row for row in rows if run.only_log in (None, row["name"])]
        if run.only_log is not None and not logs:
            raise ConfigurationError("no log has that name: sayso site list shows the logs")
        await DeploymentWalk(connection, settings, report).run(bound, marks.keys(), {row["origin"] for row in rows})
    finally:
        await connection.close()
    # 2. Everything else, stage by stage.
    memory = Memory(run.resume, f"{bound} {run.only_log or 'all logs'}")
    stages = _stages(logs, with_state=run.only_log is None)
    if run.jobs > 1:
        done = await do_side_by_side(settings, stages, memory, progress, run.jobs)
    else:
        done = await do_here(settings, stages, memory, progress)
    # 3. In the order of the stages, whichever was done first.
    for stage, kept in done.items():
        report.merge(kept["report"])
        report.stages.append(_told(stage, kept))
    memory.end()
    return report


def _stages(logs: Sequence[Row], *, with_state: bool) -> list[Stage]:
    found = [
        Stage(kind, row["controller"], row["controller_name"], row["log"], row["name"])
        for row in logs
        for kind in OF_A_LOG
    ]
    owners = sorted({(row["controller"], row["controller_name"]) for row in logs})
    kinds = OF_A_CONTROLLER if with_state else OF_A_CONTROLLER[:1]
    return found + [Stage(kind, controller, name, 0, "") for controller, name in owners for kind in kinds]


def _told(stage: Stage, kept: Any) -> dict[str, Any]:
    return {"stage": str(stage), "checked_at": kept["checked_at"], "resumed": kept["resumed"]}
