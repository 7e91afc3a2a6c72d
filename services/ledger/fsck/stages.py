"""The parts that a run of fsck falls into, each over one log or one controller, in a snapshot and a report of its own.

A stage may be done in any process and in any order. It says what its answer rests on, so that a run that goes on takes
over what still holds: a whole stage if its basis is the same, of a log what nothing touches any more.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from schemas.checkpoint import Checkpoint
from schemas.errors import ConfigurationError, KeyProviderAway
from services.keys import ControllerKeys, SigningKeys, open_provider, read_secret
from services.ledger.fsck.acts_walk import ActsWalk, blank_tables
from services.ledger.fsck.controller_walk import ControllerWalk
from services.ledger.fsck.evidence_walk import EvidenceWalk
from services.ledger.fsck.findings import Pace, Report
from services.ledger.fsck.log_keys import LogKeys
from services.ledger.fsck.log_walk import LogWalk, settled_size
from services.ledger.fsck.payload_walk import PayloadWalk
from services.ledger.fsck.signed import SignedStatements
from services.ledger.fsck.snapshot import SeenLog, Snapshot
from services.ledger.fsck.state_walk import StateWalk
from services.ledger.high_water import read_high_water
from services.ledger.settings import LedgerSettings
from services.postgres import Connection

Kind = Literal["log", "payloads", "evidence", "controller", "state", "acts"]
OF_A_LOG: Final[tuple[Kind, ...]] = ("log", "payloads", "evidence")
OF_A_CONTROLLER: Final[tuple[Kind, ...]] = ("controller", "state", "acts")

# Takes what is to be kept of a stage.
Keep = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """One part. `log` is 0 for a stage that is over a whole controller."""

    kind: Kind
    controller: int
    controller_name: str
    log: int
    name: str

    def __str__(self) -> str:
        """Its name in files and reports."""
        return f"{self.kind} of {self.name if self.log else self.controller_name}"


class Stages:
    """Does stages on one connection."""

    def __init__(self, connection: Connection, settings: LedgerSettings) -> None:
        """Raises ConfigurationError for keys that cannot be read."""
        self._connection = connection
        self._settings = settings
        provider = open_provider(settings, settings.ledger_key_dir)
        self._signing = SigningKeys(provider, settings.ledger_key_dir)
        self._keys = ControllerKeys(settings.controller_key_dir, provider)
        self._event_id_key = read_secret(settings.event_id_key_file)

    async def run(self, stage: Stage, kept: Mapping[str, Any] | None, pace: Pace, keep: Keep) -> Mapping[str, Any]:
        """Do one stage; return what is to be kept of it, `done` and with its `report`.

        `kept` is what an earlier run kept; `keep` is called about once a second with what was reached.
        Raises ConfigurationError.
        """
        try:
            return await self._run(stage, _Notes(kept, keep), pace)
        except KeyProviderAway as error:
            raise ConfigurationError(str(error)) from None

    async def _run(self, stage: Stage, notes: "_Notes", pace: Pace) -> Mapping[str, Any]:
        marks = await self._marks()
        # Made before the snapshot, which is read-only.
        tables = blank_tables(self._connection) if stage.kind == "acts" else nullcontext()
        async with tables, Snapshot.of(self._connection) as snapshot:
            if stage.log:
                log = await snapshot.log(stage.controller, stage.log)
                if log is None:
                    return notes.ended()
                walk = {"log": self._log, "payloads": self._payloads, "evidence": self._evidence}[stage.kind]
                await walk(snapshot, log, marks.get(log.origin), pace, notes)
            else:
                owner = stage.controller, stage.controller_name
                over = {"controller": self._controller, "state": self._state, "acts": self._acts}[stage.kind]
                await over(snapshot, owner, pace, notes)
        if stage.kind == "log" and log is not None and log.closed_at is None:
            _check_mark_covers(log, (await self._marks()).get(log.origin), notes.report)
        return notes.ended()

    async def _marks(self) -> dict[str, Checkpoint]:
        _, marks = await asyncio.to_thread(read_high_water, self._settings.high_water_dir)
        return marks

    async def _log(
        self, snapshot: Snapshot, log: SeenLog, mark: Checkpoint | None, pace: Pace, notes: "_Notes"
    ) -> None:
        known = await snapshot.known_notices(log.controller)
        # What is wrong with the keys themselves is a finding of the evidence.
        keys = await LogKeys.read(snapshot, log, self._signing, Report())
        rests_on = [log.origin, [str(key) for key in keys.vkeys], _digest(known)]
        head = [log.size, _hex(log.root), _hex(log.prev), str(log.recorded_at), log.signed_size]
        follows = [log.follows_origin, log.follows_size, _hex(log.follows_root)]
        marked = None if mark is None else [mark.size, mark.root.hex()]
        if notes.take_over([rests_on, head, follows, marked], rests_on):
            return
        signed = SignedStatements(snapshot, log, mark, keys, notes.report)
        begun = notes.begun
        if begun is not None and begun["growth"]["size"] > (log.size or 0):
            begun = None
        end = await LogWalk(snapshot, log, known, notes.report, pace).run(signed, begun, notes.remember)
        notes.report.logs += 1
        notes.report.records += end

    async def _payloads(
        self, snapshot: Snapshot, log: SeenLog, _mark: Checkpoint | None, pace: Pace, notes: "_Notes"
    ) -> None:
        end, _ = await settled_size(snapshot, log)
        rests_on = await snapshot.payload_basis(log.controller)
        if notes.take_over([rests_on, end, _hex(log.root)], rests_on):
            return
        begun = notes.begun
        if begun is not None and begun["size"] > end:
            begun = None
        walk = PayloadWalk(snapshot, log, self._keys, self._event_id_key, notes.report)
        await walk.run(end, pace, begun, notes.remember)

    async def _evidence(
        self, snapshot: Snapshot, log: SeenLog, _mark: Checkpoint | None, pace: Pace, notes: "_Notes"
    ) -> None:
        basis = [log.vkey, await snapshot.evidence_basis(log), log.signed_size, log.published_size]
        if not notes.take_over(basis, None):
            await LogKeys.read(snapshot, log, self._signing, notes.report)
            await EvidenceWalk(snapshot, log, self._settings, notes.report).run(pace)

    async def _controller(self, snapshot: Snapshot, owner: tuple[int, str], _pace: Pace, notes: "_Notes") -> None:
        await ControllerWalk(snapshot, owner, self._keys, notes.report).run()

    async def _state(self, snapshot: Snapshot, owner: tuple[int, str], pace: Pace, notes: "_Notes") -> None:
        basis = [await snapshot.heads_of(owner[0]), await snapshot.payload_basis(owner[0])]
        if not notes.take_over(basis, basis):
            walk = StateWalk(snapshot, owner, self._keys, self._event_id_key, notes.report)
            await walk.run(pace, notes.begun, notes.remember)

    async def _acts(self, _snapshot: Snapshot, owner: tuple[int, str], pace: Pace, notes: "_Notes") -> None:
        await ActsWalk(self._connection, owner, self._keys, self._event_id_key, notes.report).run(pace)


class _Notes:
    """What is kept of one stage while it is done, and what was kept of it before."""

    def __init__(self, kept: Mapping[str, Any] | None, keep: Keep) -> None:
        self._kept = kept
        self._keep = keep
        self._basis: Any = None
        self._rests_on: Any = None
        self._taken: Mapping[str, Any] | None = None
        self.report = Report()
        # What an earlier run has reached and still holds.
        self.begun: Mapping[str, Any] | None = None

    def take_over(self, basis: Any, rests_on: Any) -> bool:
        """Whether the stage was done before against the same `basis`; sets `begun` if at least `rests_on` is the same.

        Both are plain JSON. Without a part that outlives a changed basis `rests_on` is None.
        """
        self._basis, self._rests_on = basis, rests_on
        kept = self._kept
        if kept is None:
            return False
        if kept["done"] and kept["basis"] == basis:
            self._taken = kept
            return True
        if rests_on is not None and kept["rests_on"] == rests_on:
            self.begun = kept["begun"]
        return False

    def remember(self, begun: Mapping[str, Any]) -> None:
        """Keep what was reached."""
        self.begun = begun
        self._keep(self._all(done=False))

    def ended(self) -> Mapping[str, Any]:
        """What is kept of the finished stage."""
        return self._all(done=True) if self._taken is None else {**self._taken, "resumed": True}

    def _all(self, *, done: bool) -> dict[str, Any]:
        return {
            "done": done,
            "basis": self._basis,
            "rests_on": self._rests_on,
            "begun": self.begun,
            "checked_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "report": self.report.as_json() if done else None,
            "resumed": self._kept is not None and self.begun is not None,
        }


def _check_mark_covers(log: SeenLog, mark: Checkpoint | None, report: Report) -> None:
    """`mark` was read after the snapshot: what was signed by then must be under it."""
    signed = log.signed_size
    if signed is not None and (mark is None or mark.size < signed):
        what = "a checkpoint was published without a high-water mark"
        report.add("high_water", log.name, f"size {signed}", what)


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _digest(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
