"""Playing the demo: people choose, sites post, a DPO asks, a proof is verified and a forged one refused.

Every step is checked; the first thing that is not as it should be ends the demo with a SaysoError that says which.
An event is written to .sayso/demo before it is posted: interrupted anywhere, the next run posts the same bytes again,
and the same id with the same content is recorded once.
"""

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from schemas.canonical import canonical_json
from schemas.errors import ConfigurationError, SaysoError
from schemas.receipts_verify import read_jwks, verify_receipt
from schemas.record import format_time
from schemas.topics import source_of
from schemas.verify import report, verify_file
from services.cli import admin
from services.cli.demo.cast import Act, Cast, load_cast
from services.cli.demo.client import Client, Place, Shown
from services.cli.demo.commands import commands_to_paste
from services.cli.demo.stage import JOURNAL, Stage, find_vkey, set_up, with_vkey
from services.cli.output import table
from services.cli.up.layout import Addresses, Layout
from services.ledger.fsck.check import check

Say = Callable[[str], None]

_LOG_OPENED_S_MAX: Final = 30.0
_POLL_S: Final = 0.1
# How many single-byte changes of the proof are tried, spread over all of it.
_FORGERIES: Final = 64


async def play(layout: Layout, addresses: Addresses, say: Say) -> str:
    """Set up, play, check and print; the commands to go on with. Raises SaysoError."""
    cast = load_cast()
    stage = await set_up(cast, layout, addresses)
    stage = with_vkey(stage, layout, await _wait_for_the_log(addresses.admin_dsn, cast.log))
    notices = sum(len(site.notices) for site in cast.sites)
    say(f"demo       controller {cast.controller.name}, {len(cast.sites)} sites, {notices} notices, log {cast.log}")
    journal = layout.home / JOURNAL
    journal.mkdir(mode=0o700, exist_ok=True)
    async with Client(addresses.ingest_url, addresses.query_url, stage.access_key) as client:
        places = await _post_all(cast, stage, client, journal, say)
        await _check_answers(cast, client, say)
        await _show_history(cast, client, places)
        await _prove(cast, stage, client, journal, say)
        await _receive(cast, stage, client, journal, say)
    await _check_everything(layout, addresses.ledger_dsn, say)
    return commands_to_paste(cast.sites[0].name, stage)


async def _check_everything(layout: Layout, ledger_dsn: str, say: Say) -> None:
    """What `sayso fsck` does."""
    report = await check(layout.ledger_settings(ledger_dsn), progress=lambda _what, _done, _total: None)
    if not report.clean:
        raise SaysoError(f"fsck finds {len(report.findings)} places that do not fit, first: {report.findings[0]}")
    say(f"demo       fsck recomputed {report.records} records from raw rows: everything fits")


async def _wait_for_the_log(admin_dsn: str, log: str) -> str:
    deadline = asyncio.get_running_loop().time() + _LOG_OPENED_S_MAX
    async with admin.connect(admin_dsn) as connection:
        while True:
            vkey = await find_vkey(connection, log)
            if vkey is not None:
                return vkey
            if asyncio.get_running_loop().time() > deadline:
                raise ConfigurationError(f"the ledger has not opened the log {log}: see log/ledger.log")
            await asyncio.sleep(_POLL_S)


async def _post_all(cast: Cast, stage: Stage, client: Client, journal: Path, say: Say) -> dict[str, Place]:
    """Post every event in order and wait until each is recorded; event id -> place."""
    origins = {site.name: site.origin for site in cast.sites}
    places: dict[str, Place] = {}
    earlier = 0
    for act in cast.events:
        path = journal / f"{act.name}.json"
        if path.exists():
            earlier += 1
        else:
            event = _event(cast, act, await client.notice(act.site, act.language))
            _write_durably(path, canonical_json(event))
        body = path.read_bytes()
        if act.by == "browser":
            place = await client.post_as_browser(stage.browser_key(act.site), origins[act.site], body)
        else:
            place = await client.post_as_server(stage.server_key(act.site), body)
        places[_event_id(path)] = place
    if len(set(places.values())) != len(cast.events):
        raise SaysoError("two events were recorded at one place")
    again = f"; {earlier} of them were posted by an earlier run and stayed single" if earlier else ""
    say(f"demo       {len(places)} events accepted and recorded{again}")
    return places


def _event_id(path: Path) -> str:
    event_id: str = orjson.loads(path.read_bytes())["id"]
    return event_id


def _event(cast: Cast, act: Act, shown: Shown) -> dict[str, Any]:
    """What the site's banner or server makes of the choice, with the words that were shown."""
    asked = {purpose["purpose"]: purpose for purpose in shown.content["purposes"]}
    data: dict[str, Any] = {
        "decisions": [
            {
                "purpose": purpose,
                "decision": decision,
                "legal_basis": asked[purpose]["legal_basis"],
                "services": asked[purpose]["services"],
            }
            for purpose, decision in act.decisions.items()
        ],
        "notice": {
            "sha256": shown.sha256,
            "language": shown.content["language"],
            "notice_id": shown.content["notice_id"],
            "notice_version": shown.content["version"],
            "token": shown.token,
        },
        "capture": act.capture,
        "actor": {"entity": "subject", "auth": "none" if act.by == "browser" else "session"},
    }
    if act.who is not None:
        data["subject"] = {"identifiers": [cast.identifier(act.who).model_dump()]}
    if act.context is not None:
        data["context"] = act.context
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": source_of(act.site),
        "type": act.type,
        "time": format_time(datetime.now(UTC)),
        "datacontenttype": "application/json",
        **({} if act.who is None else cast.proof(act.who)),
        "data": data,
    }


def _write_durably(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(content)
    temporary.replace(path)


async def _check_answers(cast: Cast, client: Client, say: Say) -> None:
    subjects: dict[str, str] = {}
    for expected in cast.expect:
        if expected.who not in subjects:
            subjects[expected.who] = await client.subject(cast.identifier(expected.who))
        answer = await client.status(subjects[expected.who], expected.purpose)
        if (answer["valid"], answer["reasons"]) != (expected.valid, expected.reasons):
            raise SaysoError(
                f"{expected.who} and {expected.purpose}: expected valid={expected.valid} {expected.reasons}, "
                f"the answer is valid={answer['valid']} {answer['reasons']}"
            )
    if len(set(subjects.values())) != len(subjects):
        raise SaysoError("two people of the demo were taken for one")
    say(f"demo       {len(cast.expect)} answers asked for and as expected")


async def _show_history(cast: Cast, client: Client, places: dict[str, Place]) -> None:
    """One person's history as a table; it must hold every event that was posted for this person."""
    records = await client.history(await client.subject(cast.identifier(cast.shown)))
    shown = {record["event"] for record in records}
    mine = sum(1 for act in cast.events if act.who == cast.shown)
    if len(shown & set(places)) != mine:
        raise SaysoError(f"the history of {cast.shown} does not hold all of the {mine} events that were posted")
    rows = []
    for record in records:
        what = record["parts"]["what"]
        if what["id"] in places and (record["index"] != places[what["id"]].index or what["words"] != "rendered"):
            raise SaysoError(f"the history of {cast.shown} shows a record at another place, or other words")
        for number, decision in enumerate(what.get("decisions", ())):
            first = number == 0
            rows.append(
                (
                    what["time"][:19].replace("T", " ") if first else "",
                    what["site"] if first else "",
                    what["type"] if first else "",
                    decision["purpose"],
                    decision["decision"],
                    decision["legal_basis"],
                    what["notice"]["language"] if first else "",
                    f"{record['index']}" if first else "",
                )
            )
    headings = ("time (UTC)", "site", "event", "purpose", "decision", "legal basis", "notice", "index")
    print(f"\nThe history of {cast.identifier(cast.shown).value}, log {cast.log}:\n")
    print(table(headings, [tuple(cell or " " for cell in row) for row in rows]) + "\n", flush=True)


async def _prove(cast: Cast, stage: Stage, client: Client, journal: Path, say: Say) -> None:
    """Fetch a proof, verify it offline under the pinned key, and see every forged copy refused."""
    raw = await client.proof(_event_id(journal / f"{cast.proved}.json"))
    proof = journal / "proof.json"
    proof.write_bytes(raw)
    steps = verify_file(proof, stage.vkey)
    print(f"The proof of {cast.proved}, verified offline ({proof}):\n\n{report(steps)}", flush=True)
    if any(step.outcome != "ok" for step in steps):
        raise SaysoError("the proof does not verify without remarks")
    granted = raw.find(b"granted")
    if granted < 0:
        raise SaysoError("the proof does not show the decision")
    kept, forged = journal / "forged.json", journal / "forged.tmp"
    positions = [granted, *range(1, len(raw) - 1, max(1, len(raw) // _FORGERIES))]
    for number, position in enumerate(positions):
        forged.write_bytes(raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :])
        steps = verify_file(forged, stage.vkey)
        if steps[-1].outcome != "failed":
            raise SaysoError(f"a proof with byte {position} changed was accepted: {forged}")
        if number == 0:
            forged.replace(kept)
            print(f"The same with one byte of the decision changed ({kept}):\n\n{report(steps[-1:])}", flush=True)
    forged.unlink()
    say(f"demo       the proof verifies; {len(positions)} copies with one byte changed are all refused")


async def _receive(cast: Cast, stage: Stage, client: Client, journal: Path, say: Say) -> None:
    """Fetch a receipt, as the person would keep it, and verify it offline with what is published."""
    receipt = await client.receipt(_event_id(journal / f"{cast.proved}.json"))
    (journal / "receipt.jws").write_text(receipt, encoding="ascii")
    keys = await client.receipt_keys()
    (journal / "receipts.jwks").write_bytes(keys)
    claims = verify_receipt(receipt, read_jwks(keys), vkey=stage.vkey)
    say(
        f"demo       the receipt {claims['receipt_id']} verifies, {claims['schema_version']}: {journal / 'receipt.jws'}"
    )
