"""One line of an export -> one event, or the reason why there is none: a constant, which holds nothing of the line.

An imported event says so: capture.mechanism is `import`, with the hash of the file and the line. It ranks at the time
that the file states. A contact without an act of its own is no consent; its denials count all the same.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from schemas.record import format_time
from services.cli.importing.lines import Line, cell
from services.cli.importing.mapping import Columns, Items, Lists, Rows, TimeColumn
from services.cli.importing.mapping import Mapping as Meaning

_ENDING: Final = frozenset({"consent.refused", "consent.withdrawn", "consent.expired", "consent.invalidated"})


class NoEvent(Exception):
    """Why a line is not imported: a constant word for the report."""


class Events:
    """Makes the events of one file for one site."""

    def __init__(self, meaning: Meaning, site: str, file_sha256: str) -> None:
        self._meaning = meaning
        self._site = site
        self._file = file_sha256
        self._zone = ZoneInfo(meaning.time.zone)
        self._yes = {word.casefold() for word in meaning.granted}
        self._no = {word.casefold() for word in meaning.denied}

    def event(self, line: Line) -> dict[str, Any]:
        """Raises NoEvent. 1. Who; 2. what was decided; 3. whether they did something, and when; 4. which words."""
        values = line.values
        if values is None:
            raise NoEvent("unreadable-line")
        identifiers = self._identifiers(values)
        decisions = self._decisions(values)
        granted = any(decision["decision"] == "granted" for decision in decisions)
        event_type = self._type(values, granted=granted)
        if event_type in _ENDING and granted:
            raise NoEvent("grant-in-a-refusal")
        data: dict[str, Any] = {
            "subject": {"identifiers": identifiers},
            "decisions": decisions,
            "capture": {"mechanism": "import", "file_sha256": self._file, "file_line": line.number},
        }
        shown = self._notice(values)
        if shown is not None:
            data["notice"] = {"sha256": shown, "language": self._meaning.language}
        return {
            "specversion": "1.0",
            "id": self._id(line, values),
            "source": f"/sites/{self._site}",
            "type": event_type,
            "time": self._time(values),
            "data": data,
        }

    def _identifiers(self, values: Mapping[str, Any]) -> list[dict[str, str]]:
        found = []
        for wanted in self._meaning.identifiers:
            value = cell(values, wanted.column)
            text = "" if value is None else str(value).strip()
            if text:
                found.append({"type": wanted.type, "value": text.casefold() if wanted.type == "email" else text})
        if not found:
            raise NoEvent("nobody-named")
        return found

    def _decisions(self, values: Mapping[str, Any]) -> list[dict[str, str]]:
        basis = self._meaning.legal_basis
        yes, no = ("granted", "denied") if basis == "consent" else ("not_objected", "objected")
        decided: dict[str, str] = {}
        for name, answer in self._answers(values):
            if name in self._meaning.ignore:
                continue
            purpose = self._meaning.purposes.get(name)
            if purpose is None:
                raise NoEvent("purpose-not-mapped")
            said = yes if answer else no
            # Two names for one purpose: the more protective answer.
            decided[purpose] = said if decided.get(purpose, said) == said else no
        if not decided:
            raise NoEvent("nothing-decided")
        return [{"purpose": name, "decision": said, "legal_basis": basis} for name, said in decided.items()]

    def _answers(self, values: Mapping[str, Any]) -> Iterable[tuple[str, bool]]:
        form = self._meaning.decisions
        if isinstance(form, Columns):
            for purpose, column in form.columns.items():
                value = cell(values, column)
                if value is not None and value != "":
                    yield purpose, self._answer(value)
        elif isinstance(form, Rows):
            yield str(cell(values, form.purpose)), self._answer(cell(values, form.decision))
        elif isinstance(form, Lists):
            yield from ((name, True) for name in _names(cell(values, form.granted), form.separator))
            if form.denied is not None:
                yield from ((name, False) for name in _names(cell(values, form.denied), form.separator))
        elif isinstance(form, Items):
            for item in _list(cell(values, form.items)):
                yield str(cell(item, form.name)), self._answer(cell(item, form.decision))
        else:
            yield from ((name, self._answer(value)) for name, value in _object(cell(values, form.object)).items())

    def _answer(self, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        word = str(value).strip().casefold()
        if word in self._yes:
            return True
        if word in self._no:
            return False
        raise NoEvent("answer-not-known")

    def _type(self, values: Mapping[str, Any], *, granted: bool) -> str:
        act = self._meaning.act
        said = "" if act.column is None else str(cell(values, act.column) or "").strip()
        did = act.always or (said != "" and said not in act.none_in)
        if granted and not did:
            raise NoEvent("no-act")
        return act.type_of.get(said, "consent.given" if granted else "consent.refused")

    def _time(self, values: Mapping[str, Any]) -> str:
        stated: TimeColumn = self._meaning.time
        value = cell(values, stated.column)
        try:
            if stated.form in {"seconds", "milliseconds"}:
                per_second = 1 if stated.form == "seconds" else 1000
                moment = datetime.fromtimestamp(int(value) / per_second, UTC)
            elif stated.format is not None:
                moment = datetime.strptime(str(value).strip(), stated.format)  # noqa: DTZ007 - the zone is put in below
            else:
                moment = datetime.fromisoformat(str(value).strip().replace(" UTC", "Z"))
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=self._zone)
            # The first and the last days of the calendar lie outside of it in another zone.
            moment = moment.astimezone(UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            raise NoEvent("time-not-readable") from None
        if moment > datetime.now(UTC):
            raise NoEvent("time-to-come")
        return format_time(moment)

    def _notice(self, values: Mapping[str, Any]) -> str | None:
        if self._meaning.notice is None:
            return None
        return self._meaning.notice.hashes.get(str(cell(values, self._meaning.notice.column)))

    def _id(self, line: Line, values: Mapping[str, Any]) -> str:
        """The same for the same line of the same file, or for the same id of the export (UUID version 8, RFC 9562)."""
        own = None if self._meaning.id is None else cell(values, self._meaning.id)
        name = f"{self._file}\n{line.number}" if own is None or own == "" else f"id\n{own}"
        raw = bytearray(
            hashlib.sha256(f"sayso/import/v1\n{self._site}\n{name}".encode("utf-8", "surrogateescape")).digest()[:16]
        )
        raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _names(value: Any, separator: str) -> list[str]:
    """A list, or a text that holds one."""
    if value is None:
        return []
    if isinstance(value, list):
        return [str(item["id"]) if isinstance(item, dict) and "id" in item else str(item) for item in value]
    return [name.strip() for name in str(value).split(separator) if name.strip()]


def _list(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise NoEvent("list-not-readable")
    return value


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise NoEvent("object-not-readable") from None
    if not isinstance(value, dict):
        raise NoEvent("object-not-readable")
    return value
