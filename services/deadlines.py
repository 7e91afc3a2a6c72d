"""When a request must be answered (GDPR Art. 12(3)), counted as Regulation (EEC, Euratom) No 1182/71, Art. 3 counts.

Pure. Query states the date with each step, the ledger for a request that a site's server posted. Invariant: nothing
moves the controller's own promise but days on which the clock stood still; the earlier of law and promise counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import holidays

from schemas.durations import Duration
from schemas.terms import Terms

# Art. 12(3): one month; extended, that same period is three ("extended by two further months").
ORDINARY_MONTHS: Final = 1
EXTENDED_MONTHS: Final = 3

_DAY: Final = timedelta(days=1)
_SATURDAY: Final = 5
_UTC: Final = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Counting:
    """How one controller's days are counted: whose holidays (country, subdivision), which other days are closed, the
    promise, and where its days begin.
    """

    holidays: Sequence[tuple[str, str | None]] = ()
    closed_days: frozenset[date] = frozenset()
    promise: Duration | None = None
    zone: ZoneInfo = _UTC

    @classmethod
    def by(cls, terms: Terms) -> "Counting":
        return cls(
            tuple((known.country, known.subdivision) for known in terms.holidays),
            frozenset(terms.closed_days),
            None if terms.promise is None else Duration.parse(terms.promise),
            ZoneInfo(terms.time_zone),
        )

    def day_of(self, moment: datetime) -> date:
        """The day that an instant is part of, where the controller is."""
        return moment.astimezone(self.zone).date()

    def is_working(self, day: date) -> bool:
        """Art. 2(2): every day but public holidays, Sundays and Saturdays."""
        if day.weekday() >= _SATURDAY or day in self.closed_days:
            return False
        return not any(day in _public_holidays(*known, day.year) for known in self.holidays)


@lru_cache(maxsize=256)
def _public_holidays(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))


def has_holidays(country: str, subdivision: str | None) -> bool:
    """Whether the public holidays of that country, or part of it, are known."""
    try:
        holidays.country_holidays(country, subdiv=subdivision)
    except NotImplementedError:
        return False
    return True


def law_ends(received_on: date, counting: Counting, *, is_extended: bool = False, paused_days: int = 0) -> date:
    """The last day of the law's period.

    1. The day of receipt does not count (Art. 3(1)); the period ends on the day of the same number in its last month,
    or on that month's last day if there is none (Art. 3(2)(c)); 2. days on which the clock stood still are added; 3. a
    last day that is no working day gives way to the next one (Art. 3(4)): once, and at the end.
    """
    day = _same_day(received_on, EXTENDED_MONTHS if is_extended else ORDINARY_MONTHS)
    day += paused_days * _DAY
    while not counting.is_working(day):
        day += _DAY
    return day


def promise_ends(received_on: date, promise: Duration, *, paused_days: int = 0) -> date:
    """The last day of the controller's own promise. No weekend and no holiday moves it: it was not promised so."""
    return _same_day(received_on, promise.months) + (promise.days + paused_days) * _DAY


def due_on(received_on: date, counting: Counting, *, is_extended: bool = False, paused_days: int = 0) -> date:
    """The day by whose end the person must have the answer: the earlier of law and promise.

    Extended, the law's longer period counts alone: whoever was told of it in time was told another date.
    """
    ends = law_ends(received_on, counting, is_extended=is_extended, paused_days=paused_days)
    if counting.promise is None or is_extended:
        return ends
    return min(ends, promise_ends(received_on, counting.promise, paused_days=paused_days))


def ends_at(due: date, counting: Counting) -> datetime:
    """The instant at which a day is over where the controller is: "the expiry of the last hour" (Art. 3(2))."""
    return datetime.combine(due + _DAY, time(), counting.zone).astimezone(UTC)


def _same_day(day: date, months: int) -> date:
    return Duration(months, 0).after(datetime.combine(day, time())).date()
