"""Judging one event: may this caller post it, does the schema take it, does the site know what it names.

Invariant: a denial is never turned away for a clock, a notice or a token; it is marked. No problem made here holds
anything that was posted: pointers are cut at the first name that the schema does not know.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.ages import minimum_age
from schemas.errors import (
    ActTooOld,
    ContradictoryEvent,
    FloatNotAllowed,
    InvalidValue,
    MissingField,
    Problem,
    TypeNotAllowed,
    UnknownField,
    UnknownPurpose,
    UnknownService,
    WrongSource,
    WrongType,
)
from schemas.events import PERMISSIVE, Event, event_json_schema
from schemas.limits import CLOCK_SKEW_S_MAX
from schemas.record import Mark, Reception, Words
from services.http import pointer_of, schema_names
from services.ingest.auth import Caller
from services.ingest.notices import NoticeTokens
from services.ingest.proving import Named, Proving
from services.ingest.reading import Readable
from services.ingest.shapes import Shapes
from services.ingest.signals import read_signals
from services.ingest.sites import Words as SiteWords

LATE_AFTER_S: Final = 24 * 3600
_EVENT_NAMES: Final = schema_names(event_json_schema())
_MEMBER_STEPS: Final = 3  # data, ext, name
_SECONDS: Final = len("2026-11-22T10:00:00")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(NamedTuple):
    """When a request came in, by our clock, and the bounds for the clocks of others, to the second."""

    us: int
    at: datetime
    ahead: str
    late: str

    @classmethod
    def of(cls, now_us: int) -> "Moment":
        return cls(now_us, _EPOCH + timedelta(microseconds=now_us), *_bounds(now_us // 1_000_000))


@lru_cache(maxsize=4)
def _bounds(now_s: int) -> tuple[str, str]:
    ahead, late = (
        (_EPOCH + timedelta(seconds=s)).isoformat()[:_SECONDS] for s in (now_s + CLOCK_SKEW_S_MAX, now_s - LATE_AFTER_S)
    )
    return ahead, late


class Judged(NamedTuple):
    """What ingest adds to an event, and the browser's number that its visitor key has proven."""

    reception: Reception
    visitor: Named | None


class Judging(NamedTuple):
    """What judging needs besides the event and its caller; one per process."""

    tokens: NoticeTokens
    shapes: Shapes
    proving: Proving
    # What a page or an app grants later than this is not taken.
    grant_age_s: int


def judge(
    event: Readable, caller: Caller, site: SiteWords, by: Judging, signers: Mapping[str, Caller], now: Moment
) -> Judged:
    """What ingest adds to the event. Raises the problem that keeps it out.

    1. The schema; 2. what this caller may say, and for whom; 3. the clock; 4. the words; 5. whether the site knows
    what is named. `signers` are the server keys that the event's identity may have been signed with.
    """
    value = event.value
    if not by.shapes.knows(event):
        check_schema(event)
        by.shapes.learn(event)
    _check_caller(value, caller)
    data = value["data"]
    marks: list[Mark] = []
    proven = by.proving.prove(value, caller, signers, now.us // 1_000_000)
    if not proven.confirmed:
        marks.append("unconfirmed")
    # RFC 3339 in UTC sorts as text, down to the second.
    time = value["time"][:_SECONDS]
    if time > now.ahead:
        marks.append("clock-ahead")
    elif time < now.late:
        marks.append("late")
        if caller.kind != "sk":
            _check_age(time, data, now, by.grant_age_s)
    words: Words = "unverified"
    notice = data.get("notice")
    if notice is not None:
        words = _words(notice, data.get("capture"), caller, site, by.tokens, now, marks)
    if "notice-unknown" not in marks and "decisions" in data:
        _check_names(data["decisions"], site)
    context: dict[str, Any] = _places_alone(data["context"]) if "context" in data else {}
    if "signals" in data:
        signals = read_signals(data)
        marks += signals.marks
        if signals.decoded:
            context["decoded"] = signals.decoded
    age = _age_asked_for(data, site) if "age" in data else None
    return Judged(Reception(caller.site_name, now.at, caller.posted_by, words, marks, context, age), proven.visitor)


def _age_asked_for(data: Mapping[str, Any], site: SiteWords) -> int:
    """Which age somebody is over or under: the notice's, or the country's if that is stricter."""
    shown = site.notices.get(data["notice"]["sha256"]) if "notice" in data else None
    country = data["context"].get("country") if "context" in data else None
    return minimum_age(None if shown is None else shown.minimum_age, country)


def check_schema(event: Readable) -> None:
    """Raise the problem that says what is wrong with the event, if the schema does not take it."""
    try:
        Event.model_validate(event.value)
    except ValidationError as error:
        raise _problem_of(_most_telling(error.errors(include_url=False))) from None
    # Python's None would pass for an absent member; absent is the only way to say nothing.
    if b":null" in event.canonical:
        _refuse_null(event.value, ())


def _refuse_null(value: Any, path: tuple[int | str, ...]) -> None:
    """Recursion is bounded: the schema took the value, so it nests no deeper than the schema does."""
    if value is None:
        raise WrongType(pointer_of(path, _EVENT_NAMES))
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        _refuse_null(child, (*path, step))


def _most_telling(details: list[ErrorDetails]) -> ErrorDetails:
    """The first error; of one member that may have several types, one that is about more than the type."""
    first = details[0]
    same = [detail for detail in details if detail["loc"][:_MEMBER_STEPS] == first["loc"][:_MEMBER_STEPS]]
    return next((detail for detail in same if not detail["type"].endswith("_type")), first)


def _problem_of(detail: ErrorDetails) -> Problem:
    """The problem type of a pydantic error; neither its input nor its message is kept."""
    kind, loc = detail["type"], detail["loc"]
    if kind == "extra_forbidden":
        # The last step is the name of the member that nobody knows.
        return UnknownField(pointer_of(loc[:-1], _EVENT_NAMES))
    pointer = pointer_of(loc, _EVENT_NAMES)
    if kind == "missing":
        return MissingField(pointer)
    if isinstance(detail["input"], float):
        return FloatNotAllowed(pointer)
    if kind == "value_error":
        contradiction = str(detail["ctx"]["error"]) == "contradiction"
        return ContradictoryEvent(pointer) if contradiction else InvalidValue(pointer)
    if kind.endswith("_type") or (kind == "literal_error" and not isinstance(detail["input"], str | bool)):
        return WrongType(pointer)
    return InvalidValue(pointer)


def _check_caller(value: dict[str, Any], caller: Caller) -> None:
    if value["source"] != caller.source:
        raise WrongSource("/source")
    if value["type"] not in caller.types:
        raise TypeNotAllowed("/type")


def _check_age(time: str, data: dict[str, Any], now: Moment, grant_age_s: int) -> None:
    """A grant from long ago may be a stolen copy, and asking again costs little; a denial counts whatever its age."""
    if time >= (now.at - timedelta(seconds=grant_age_s)).isoformat()[:_SECONDS]:
        return
    said = {decision["decision"] for decision in data.get("decisions", ())}
    if "granted" in said and said <= PERMISSIVE:
        raise ActTooOld("/time")


def _places_alone(context: dict[str, Any]) -> dict[str, str]:
    """The page without query and fragment, and the referrer's host alone: the rest may hold anything about anybody."""
    cut = {}
    if "page" in context:
        cut["page"] = context["page"].partition("#")[0].partition("?")[0] or "/"
    if "referrer_host" in context:
        address = context["referrer_host"].removeprefix("https://").removeprefix("http://")
        cut["referrer_host"] = re.split(r"[/?#]", address, maxsplit=1)[0].rpartition("@")[2] or "-"
    return {name: value for name, value in cut.items() if value != context[name]}


def _words(
    notice: dict[str, Any],
    capture: dict[str, Any] | None,
    caller: Caller,
    site: SiteWords,
    tokens: NoticeTokens,
    now: Moment,
    marks: list[Mark],
) -> Words:
    """How sure we are of the words shown; adds the marks of an unknown notice and of a token that is not ours."""
    sha256 = notice["sha256"]
    published, matched = sha256 in site.notices, sha256 in site.matched
    if not published and not matched:
        marks.append("notice-unknown")
    token = notice.get("token")
    if token is not None:
        if tokens.is_valid(token, caller.site_name, sha256, now.us // 1_000_000):
            if published:
                return "rendered"
        else:
            marks.append("token-invalid")
    if capture is not None and capture.get("words") == "captured" and (published or matched):
        return "captured"
    return "matched" if matched else "unverified"


def _check_names(decisions: list[dict[str, Any]], site: SiteWords) -> None:
    for number, decision in enumerate(decisions):
        if decision["purpose"] not in site.purposes:
            raise UnknownPurpose(f"/data/decisions/{number}/purpose")
        named = decision.get("services")
        if named and not site.services.issuperset(named):
            raise UnknownService(f"/data/decisions/{number}/services")
