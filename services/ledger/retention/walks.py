"""Where a run looks: stretches of logs, standing answers, deleted accounts. What is found is only a candidate.

Invariant: everything that a rule would take at `as_of`, and did not at `since`, stands in one of the walks; what is
passed over for another reason is found by the run that begins the next day, which has no `since`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

from schemas.durations import Duration
from schemas.events import PERMISSIVE, parse_time
from schemas.record import PART_NAMES, PartName, read_entry
from schemas.retention import Ruling
from services.ledger.retention.store import RetentionStore
from services.ledger.store import Row

# What the access log's own period is called where a rule is named.
ACCESS_LOG: Final = "access-log"
_PROTECTIVE: Final = ("denied", "objected")
_EVER: Final = datetime(1, 1, 1, tzinfo=UTC)
# recorded_at is in whole minutes: an event may have come in almost one later.
_MINUTE: Final = timedelta(minutes=1)


class Walk(NamedTuple):
    """One way through some candidates, in the order of the log's indexes or of subject ids.

    log, access: the records of [first, end) that have one of `parts`. answers: subjects whose standing answer to
    `purposes` (None: any) is one of `decisions` and ranks in (after, until]. accounts: whose account was deleted then.
    """

    kind: Literal["log", "access", "answers", "accounts"]
    rule: str
    log: int = 0
    first: int = 0
    end: int = 0
    parts: tuple[PartName, ...] = PART_NAMES
    purposes: Sequence[str] | None = None
    decisions: Sequence[str] = ()
    after: datetime = _EVER
    until: datetime = _EVER


@dataclass(frozen=True, slots=True)
class Span:
    """The time of a run."""

    as_of: datetime
    since: datetime | None


async def walks(
    store: RetentionStore, logs: Sequence[Row], rulings: Sequence[Ruling], access: Duration, span: Span
) -> list[Walk]:
    """The walks of a run, the same whenever they are asked for: only what is older than `as_of` is in them."""
    found: list[Walk] = []
    for ruling in rulings:
        if ruling.then == "keep":
            continue
        if ruling.begins == "received":
            parts = PART_NAMES if ruling.part is None else (ruling.part,)
            for log in (row for row in logs if row["kind"] == "consent"):
                found += await _stretch(store, log, Walk("log", ruling.name, parts=parts), ruling.after, span)
        elif ruling.begins == "account-deleted":
            after, until = _ranks(ruling.after, span)
            found.append(Walk("accounts", ruling.name, after=after, until=until))
        elif ruling.begins == "withdrawn":
            found.append(_answers(ruling, _PROTECTIVE, _ranks(ruling.after, span)))
        elif span.since is None:
            # When a grant runs out its rank does not tell: all are looked at, once a day.
            found.append(_answers(ruling, (*_PROTECTIVE, *sorted(PERMISSIVE)), (_EVER, span.as_of)))
    for log in (row for row in logs if row["kind"] == "access"):
        found += await _stretch(store, log, Walk("access", ACCESS_LOG), access, span)
    return found


def _answers(ruling: Ruling, decisions: Sequence[str], ranks: tuple[datetime, datetime]) -> Walk:
    purposes = None if ruling.purposes is None else sorted(ruling.purposes)
    return Walk("answers", ruling.name, purposes=purposes, decisions=decisions, after=ranks[0], until=ranks[1])


def _ranks(after: Duration, span: Span) -> tuple[datetime, datetime]:
    """Begins that may have come of age: months are taken at their shortest and longest, the engine counts exactly."""
    until = span.as_of - timedelta(days=28 * after.months + after.days)
    if span.since is None:
        return _EVER, until
    return span.since - timedelta(days=31 * after.months + after.days + 1), until


async def _stretch(store: RetentionStore, log: Row, walk: Walk, after: Duration, span: Span) -> list[Walk]:
    """The records of a log that came of age: recorded_at never goes back, so a search by halves finds both ends."""
    end = await _aged(store, log, after, span.as_of)
    first = 0 if span.since is None else await _aged(store, log, after, span.since)
    return [walk._replace(log=log["log"], first=first, end=end)] if first < end else []


async def _aged(store: RetentionStore, log: Row, after: Duration, moment: datetime) -> int:
    """How many records of a log are so old at a moment."""
    low, high = 0, log["size"]
    while low < high:
        middle = (low + high) // 2
        recorded_at = parse_time(read_entry(await store.entry(log["log"], middle))["recorded_at"])
        if after.after(recorded_at + _MINUTE) <= moment:
            low = middle + 1
        else:
            high = middle
    return low
