"""The public bytes of entries: a whole chunk in a few calls while all is well, entry by entry to name what is wrong.

Invariant: what the fast reading accepts, the slow one finds nothing in. Both hold the format of schemas.record.
"""

import re
from datetime import datetime
from typing import Any, Final, get_args

from schemas.errors import ProofError
from schemas.event_types import EntryClass
from schemas.record import ENTRY_BYTES_MAX, PART_NAMES, REF_BYTES, read_entry

CLASSES: Final = frozenset(get_args(EntryClass))

_HEX_DIGITS: Final = b"0123456789abcdef"
_HEX_32: Final = re.compile(r"[0-9a-f]{64}")
_REF: Final = re.compile(rf"[0-9a-f]{{{2 * REF_BYTES}}}")
_MINUTE: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:00Z", re.ASCII)
_PREV: Final = re.compile(rb'"prev":"([0-9a-f]{64})"')


def prev_of(entry: bytes | None) -> bytes | None:
    """The leaf hash that an entry names, also if the rest of it is damaged; None if it cannot be read."""
    match = None if entry is None else _PREV.search(entry)
    return None if match is None else bytes.fromhex(match[1].decode())


def minute_of(text: Any) -> datetime | None:
    """`recorded_at` as a time; None if it is not a whole minute as entries print it."""
    if not isinstance(text, str) or _MINUTE.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


class EntryFormat:
    """What an entry of one log must look like."""

    def __init__(self, origin: str, known_notices: frozenset[str]) -> None:
        """`known_notices`: hashes in hex that the controller has published or matched."""
        self._origin = origin
        self._known_notices = known_notices
        # Canonical JSON has one spelling, so that a match is a parse. A successor's first entry has a member more and
        # takes the slow way. What a dot stands for is looked at in whole columns.
        self._line = re.compile(
            rb'^\{"class":"(?:%b)","commitment":"(.{64})",'
            rb'(?:"erased":\{"context":(?:0|[1-9]\d{0,14}),"what":(?:0|[1-9]\d{0,14}),"who":(?:0|[1-9]\d{0,14})\},)?'
            rb'"index":([^,\n]+),"log":"%b",(?:"notice":"(.{64})",)?'
            rb'"prev":"(.{64})","recorded_at":"(.{20})","ref":"(.{%d})","v":1\}$'
            % ("|".join(sorted(CLASSES)).encode(), re.escape(origin.encode()), 2 * REF_BYTES),
            # A dot that is any byte is skipped over, not looked at; a newline under it is found with its column.
            re.MULTILINE | re.DOTALL,
        )
        # The last minute read, where the next chunk goes on.
        self._minute = ""

    def all_well(self, lines: bytes, count: int, first: int, prevs: bytes) -> bool:
        """Whether the `count` entries in `lines`, `first` and up, are well and name `prevs` (joined).

        `lines` holds count - 1 newlines. False if any entry needs a closer look. 1. Every line matches; 2. indexes
        count up; 3. each names the leaf before it; 4. commitments and refs are hex; 5. notices are known; 6. minutes
        exist and never go back.
        """
        found = self._line.findall(lines)
        if len(found) != count:
            return False
        commitments, indexes, notices, named, minutes, refs = zip(*found, strict=True)
        if b",".join(indexes) != ",".join(map(str, range(first, first + count))).encode():
            return False
        if b"".join(named) != prevs.hex().encode():
            return False
        if b"".join((*commitments, *refs)).translate(None, _HEX_DIGITS):
            return False
        if not {notice.decode("latin-1") for notice in set(notices) if notice} <= self._known_notices:
            return False
        if minutes[0].decode("latin-1") < self._minute or list(minutes) != sorted(minutes):
            return False
        if None in {minute_of(minute.decode("latin-1")) for minute in set(minutes)}:
            return False
        self._minute = minutes[-1].decode()
        return True

    def problems(self, entry: bytes, index: int) -> list[str]:
        """What is wrong with one entry by itself and with its minute after the entry before it."""
        if len(entry) > ENTRY_BYTES_MAX:
            return [f"the entry is longer than {ENTRY_BYTES_MAX} bytes"]
        try:
            value = read_entry(entry)
        except ProofError as error:
            return [str(error)]
        found = [what for is_wrong, what in self._members(value, index) if is_wrong]
        minute = value["recorded_at"]
        if minute_of(minute) is None:
            return [*found, "recorded_at is not a whole minute"]
        if minute < self._minute:
            found.append("recorded_at is before that of the entry before it")
        self._minute = minute
        return found

    def _members(self, value: dict[str, Any], index: int) -> list[tuple[bool, str]]:
        notice = value.get("notice")
        erased = value.get("erased")
        return [
            (value["log"] != self._origin, "the entry names another log"),
            (value["index"] != index or isinstance(value["index"], bool), "the entry names another index"),
            (value["class"] not in CLASSES, "the class is not a known one"),
            (not _is(_HEX_32, value["prev"]), "prev is not a hash in lower-case hex"),
            (not _is(_HEX_32, value["commitment"]), "the commitment is not a hash in lower-case hex"),
            (not _is(_REF, value["ref"]), "ref is not 16 bytes in lower-case hex"),
            ("notice" in value and notice not in self._known_notices, "the notice is neither published nor matched"),
            ("erased" in value and not _counts_parts(erased), "erased does not count the three parts"),
            ("follows" in value and index != 0, "only a log's first entry may follow another log"),
        ]

    @property
    def minute_text(self) -> str:
        """recorded_at of the last entry read as it stands there; empty before the first."""
        return self._minute

    def go_on_after(self, minute_text: str) -> None:
        """The next entry follows one of this minute."""
        self._minute = minute_text

    @property
    def minute(self) -> datetime | None:
        """recorded_at of the last entry read; None before the first."""
        return minute_of(self._minute)


def _is(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _counts_parts(erased: Any) -> bool:
    if not isinstance(erased, dict) or set(erased) != set(PART_NAMES):
        return False
    return all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in erased.values())
