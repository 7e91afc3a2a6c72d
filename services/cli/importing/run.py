"""The import itself: windows of lines, posted in batches, each line settled before the next window begins.

Invariant: after a kill, the same command goes on where the last whole window ended; lines of a window that was begun
are sent again under the same ids and recorded once. The report holds each refused line once.
"""

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any, Final

import httpx2
import orjson

from schemas.errors import ConfigurationError
from schemas.limits import BATCH_EVENTS_MAX, BODY_BYTES_MAX
from services.cli.importing.events import Events, NoEvent
from services.cli.importing.lines import Line, file_hash, read_csv, read_ndjson
from services.cli.importing.mapping import Mapping

BATCHES_AT_ONCE: Final = 4
WINDOW_LINES: Final = BATCHES_AT_ONCE * BATCH_EVENTS_MAX
WAIT_S: Final = 30
TIMEOUT_S: Final = 60.0
# Below the limit of a request, for the bytes between the events.
_BATCH_BYTES_MAX: Final = BODY_BYTES_MAX - 64 * 1024
_TRIES: Final = 40
_PAUSE_S: Final = 1.0

Say = Callable[[str], None]


@dataclass
class State:
    """What was done of one file for one site; on disk after every window."""

    file: str
    mapping: str
    lines: int = 0
    report_bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Import:
    """One file, what its lines mean, and where they go."""

    path: Path
    meaning: Mapping
    site: str
    ingest_url: str
    key: str
    report: Path

    @property
    def state_path(self) -> Path:
        return self.report.with_name(self.report.name + ".state")

    def lines(self) -> Iterator[Line]:
        if self.meaning.format == "csv":
            return read_csv(self.path, self.meaning.delimiter)
        return read_ndjson(self.path)


def dry_run(asked: Import, say: Say) -> Counter[str]:
    """Judge every line by the mapping alone and write the report; nothing is sent. Counts what would become of them."""
    events = Events(asked.meaning, asked.site, file_hash(asked.path))
    counts: Counter[str] = Counter()
    with asked.report.open("wb") as report:
        for line in asked.lines():
            try:
                events.event(line)
            except NoEvent as reason:
                counts[str(reason)] += 1
                report.write(_reported(line.number, str(reason)))
                continue
            counts["would-be-sent"] += 1
    say(f"looked at {counts.total()} lines of {asked.path.name}; nothing was sent")
    return counts


async def run(asked: Import, say: Say) -> State:
    """Import the file, or what a run before left of it. Raises ConfigurationError."""
    state = _resumed(asked)
    if state.lines:
        say(f"going on after line {state.lines}")
    events = Events(asked.meaning, asked.site, state.file)
    lines = islice(asked.lines(), state.lines, None)
    started, first = time.monotonic(), state.lines
    headers = {
        "authorization": f"Bearer {asked.key}",
        "prefer": f"wait={WAIT_S}",
        "content-type": "application/x-ndjson",
    }
    async with httpx2.AsyncClient(base_url=asked.ingest_url, headers=headers, timeout=TIMEOUT_S) as client:
        while window := list(islice(lines, WINDOW_LINES)):
            refused = await _settle(client, events, window, state.counts)
            state.lines += len(window)
            _keep(asked, state, refused)
            rate = (state.lines - first) / (time.monotonic() - started)
            say(f"{state.lines} lines, {state.counts['recorded']} recorded, {rate:.0f} lines a second")
    return state


async def _settle(
    client: httpx2.AsyncClient, events: Events, window: Iterable[Line], counts: Counter[str]
) -> list[tuple[int, str]]:
    """Every line of a window: recorded, or refused with its reason."""
    refused: list[tuple[int, str]] = []
    waiting: dict[int, bytes] = {}
    for line in window:
        try:
            waiting[line.number] = orjson.dumps(events.event(line))
        except NoEvent as reason:
            refused.append((line.number, str(reason)))
        except orjson.JSONEncodeError:
            refused.append((line.number, "not-utf-8"))
    for _ in range(_TRIES):
        answers = await asyncio.gather(*(_post(client, batch) for batch in _batches(waiting)))
        for number, outcome in (pair for answer in answers for pair in answer):
            if outcome == "accepted":
                continue  # durable, and the ledger has not come to it yet: asked for again under the same id
            del waiting[number]
            if outcome == "recorded":
                counts["recorded"] += 1
            else:
                refused.append((number, outcome))
        if not waiting:
            break
    else:
        raise ConfigurationError(f"{len(waiting)} lines are accepted and not recorded: is the ledger running?")
    counts.update(reason for _, reason in refused)
    return sorted(refused)


def _batches(waiting: dict[int, bytes]) -> Iterator[list[tuple[int, bytes]]]:
    """As many events as a request may hold."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for number, event in waiting.items():
        if len(batch) == BATCH_EVENTS_MAX or size + len(event) > _BATCH_BYTES_MAX:
            yield batch
            batch, size = [], 0
        batch.append((number, event))
        size += len(event) + 1
    if batch:
        yield batch


async def _post(client: httpx2.AsyncClient, batch: list[tuple[int, bytes]]) -> list[tuple[int, str]]:
    """Line numbers with what became of them. Raises ConfigurationError for an answer that no line is to blame for."""
    body = b"\n".join(event for _, event in batch)
    for _ in range(_TRIES):
        try:
            answer = await client.post("/v1/events", content=body)
        except httpx2.TransportError:
            await asyncio.sleep(_PAUSE_S)
            continue
        if answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            await asyncio.sleep(float(answer.headers.get("retry-after", _PAUSE_S)))
            continue
        document = orjson.loads(answer.content)
        if "events" not in document:
            raise ConfigurationError(f"ingest refuses: {document.get('title')}. {document.get('detail')}")
        return [(batch[result["position"]][0], _outcome(result)) for result in document["events"]]
    raise ConfigurationError(f"{client.base_url} does not take events: see its log, then start the same command again")


def _outcome(result: dict[str, Any]) -> str:
    if result["status"] != "refused":
        # What was dropped is from before the erasure of somebody it names.
        return "erased-person" if result["status"] == "dropped" else str(result["status"])
    problem: dict[str, Any] = result["problem"]
    if problem["status"] in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        return "accepted"  # to be sent again
    return str(problem["type"]).rpartition("/")[2]


def _resumed(asked: Import) -> State:
    """The state of a run before over the same file with the same meaning; else a new one and an empty report."""
    digest = file_hash(asked.path)
    meaning = hashlib.sha256(asked.meaning.model_dump_json().encode() + asked.site.encode()).hexdigest()
    if asked.state_path.exists():
        found = orjson.loads(asked.state_path.read_bytes())
        state = State(**{**found, "counts": Counter(found["counts"])})
        if (state.file, state.mapping) != (digest, meaning):
            raise ConfigurationError(
                f"{asked.state_path} is of another file, mapping or site: give another --report, or remove it"
            )
        # A crash between the report and the state leaves lines in the report that will be written again.
        os.truncate(asked.report, state.report_bytes)
        return state
    asked.report.write_bytes(b"")
    return State(digest, meaning)


def _keep(asked: Import, state: State, refused: list[tuple[int, str]]) -> None:
    """1. The report, fsynced; 2. the state that counts it. A crash between the two is repaired by `_resumed`."""
    with asked.report.open("ab") as report:
        report.writelines(_reported(number, reason) for number, reason in refused)
        report.flush()
        os.fsync(report.fileno())
        state.report_bytes = report.tell()
    new = asked.state_path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(orjson.dumps({**vars(state), "counts": dict(state.counts)}))
        file.flush()
        os.fsync(file.fileno())
    new.replace(asked.state_path)


def _reported(number: int, reason: str) -> bytes:
    """A line of the report: where, and why; nothing of what stood there."""
    return orjson.dumps({"line": number, "reason": reason}) + b"\n"
