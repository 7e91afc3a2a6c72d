"""Deadlines against dates computed by hand from a wall calendar, each with its reason, and against a slow reference.

The rule is docs/requests.md: GDPR Art. 12(3), counted by Regulation (EEC, Euratom) No 1182/71, Art. 3.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.durations import Duration
from schemas.terms import Holidays, Terms
from services.deadlines import Counting, due_on, ends_at, has_holidays, law_ends


class Case(NamedTuple):
    """`where`: holidays, as "FR" or "DE-BY"; `closed`: other closed days; `paused`: days; `promise`: a duration."""

    received: str
    due: str
    why: str
    where: str = ""
    closed: str = ""
    extended: bool = False
    paused: int = 0
    promise: str | None = None


MONTH_ENDS: Final = [
    Case("2026-06-10", "2026-07-10", "a Friday of the same number"),
    Case("2026-08-31", "2026-09-30", "September has no 31st: its last day, a Wednesday"),
    Case("2026-10-31", "2026-11-30", "November has no 31st: its last day, a Monday"),
    Case("2026-05-31", "2026-06-30", "June has no 31st: its last day, a Tuesday"),
    Case("2026-03-31", "2026-04-30", "April has no 31st: its last day, a Thursday"),
    Case("2026-11-30", "2026-12-30", "the last day of November leads to the 30th, not to the 31st of December"),
    Case("2025-02-28", "2025-03-28", "the last day of February leads to the 28th of March, not to its end"),
    Case("2025-01-31", "2025-02-28", "February of 28 days ends on a Friday"),
    Case("2025-01-29", "2025-02-28", "nor is there a 29th"),
    Case("2026-12-31", "2027-02-01", "31 January 2027 is a Sunday: Monday"),
    Case("2026-01-31", "2026-03-02", "28 February 2026 is a Saturday: Monday, in another month"),
    Case("2026-01-28", "2026-03-02", "the 28th itself, the same Saturday"),
]
LEAP_YEARS: Final = [
    Case("2024-01-31", "2024-02-29", "a leap year's February ends on the 29th, a Thursday"),
    Case("2024-01-30", "2024-02-29", "there is no 30th either"),
    Case("2024-01-29", "2024-02-29", "the same number, which only a leap year has"),
    Case("2024-01-28", "2024-02-28", "the same number, though the month has one day more"),
    Case("2024-02-29", "2024-03-29", "from the 29th to the 29th, a Friday"),
    Case("2028-01-31", "2028-02-29", "the next leap year, a Tuesday"),
]
WEEKENDS: Final = [
    Case("2026-09-03", "2026-10-05", "3 October is a Saturday: Monday"),
    Case("2026-03-05", "2026-04-06", "5 April is a Sunday: Monday (nobody's holidays are stated)"),
    Case("2026-01-15", "2026-02-16", "15 February is a Sunday: Monday"),
    Case("2026-09-20", "2026-10-20", "it came on a Sunday: the day of receipt does not move, the 20th is a Tuesday"),
    Case("2026-09-04", "2026-10-05", "4 October is a Sunday: the same Monday as for the day before"),
]
HOLIDAYS: Final = [
    Case("2026-03-05", "2026-04-07", "5 April is Easter Sunday, Easter Monday is a holiday: Tuesday", "FR"),
    Case("2026-06-14", "2026-07-15", "14 July, a Tuesday: Wednesday", "FR"),
    Case("2026-04-01", "2026-05-04", "1 May is a Friday, then a weekend: Monday", "FR"),
    Case("2026-04-08", "2026-05-11", "8 May is a Friday and a holiday: Monday", "FR"),
    Case("2026-04-14", "2026-05-15", "14 May 2026 is Ascension Day, Thursday: Friday", "FR"),
    Case("2026-04-25", "2026-05-26", "25 May 2026 is Whit Monday: Tuesday", "FR"),
    Case("2026-12-01", "2027-01-04", "New Year's Day 2027 is a Friday: Monday", "FR"),
    Case("2025-12-25", "2026-01-26", "it came on a holiday, which counts for nothing; 25 January is a Sunday", "FR"),
    Case("2026-03-03", "2026-04-07", "Good Friday, a weekend and Easter Monday: four days on", "DE"),
    Case("2026-03-03", "2026-04-03", "Good Friday is a working day in most of France", "FR"),
    Case("2026-03-03", "2026-04-07", "but not in its department of Moselle", "FR-57"),
    Case("2025-12-06", "2026-01-06", "Epiphany is no holiday of all Germany; a Tuesday", "DE"),
    Case("2025-12-06", "2026-01-07", "but one of Bavaria: Wednesday", "DE-BY"),
    Case("2026-11-24", "2026-12-24", "Christmas Eve is a working day, a Thursday", "DE"),
    Case("2026-11-26", "2026-12-28", "26 December is a Saturday and a holiday, then Sunday: Monday", "DE"),
    Case("2026-12-15", "2027-01-15", "holidays in the middle do not lengthen the period (Art. 3(3)); a Friday", "DE"),
    Case("2026-06-21", "2026-07-22", "21 July, a Tuesday: Wednesday", "BE"),
    Case("2026-03-27", "2026-04-28", "27 April, a Monday: Tuesday", "NL"),
    Case("2026-02-17", "2026-03-18", "17 March, a Tuesday: Wednesday", "IE"),
    Case("2026-10-11", "2026-11-12", "11 November, a Wednesday: Thursday", "PL"),
    Case("2026-11-08", "2026-12-09", "8 December, a Tuesday: Wednesday", "AT"),
    Case("2026-05-02", "2026-06-03", "2 June, a Tuesday: Wednesday", "IT"),
    Case("2026-09-12", "2026-10-13", "12 October, a Monday: Tuesday", "ES"),
    Case("2026-11-28", "2026-12-29", "Boxing Day is a Saturday, its substitute Monday 28 December: Tuesday", "GB-ENG"),
    Case("2026-06-21", "2026-07-22", "a holiday of one of two places where the controller works", "FR BE"),
    Case("2026-06-13", "2026-07-15", "13 July is on the controller's own list, 14 July a holiday", "FR", "2026-07-13"),
    Case("2026-06-12", "2026-07-15", "and from a Sunday through both of them", "FR", "2026-07-13"),
]
EXTENSIONS: Final = [
    Case("2026-01-31", "2026-04-30", "three months from receipt: 30 April; not 28 February and two", extended=True),
    Case("2026-09-03", "2026-12-03", "three months, a Thursday; that 3 October was moved is past", extended=True),
    Case("2025-11-30", "2026-03-02", "28 February 2026 is a Saturday: Monday", extended=True),
    Case("2023-11-30", "2024-02-29", "into a leap February, a Thursday", extended=True),
    Case("2026-08-15", "2026-11-16", "15 November is a Sunday: Monday", extended=True),
    Case("2026-02-01", "2026-05-04", "1 May is a Friday: Monday", "FR", extended=True),
    Case("2026-10-01", "2027-01-04", "over the turn of the year: 1 January is a Friday", "FR", extended=True),
    Case("2026-12-31", "2027-03-31", "a Wednesday of the same number", extended=True),
]
PAUSES: Final = [
    Case("2026-06-10", "2026-07-15", "10 July and five days: a Wednesday", paused=5),
    Case("2026-06-10", "2026-07-15", "10 July and four days is 14 July: Wednesday", "FR", paused=4),
    Case("2026-01-31", "2026-03-02", "28 February and a day is Sunday: Monday, not a day after Monday", paused=1),
    Case("2026-01-31", "2026-03-02", "28 February and two days is that Monday", paused=2),
    Case("2026-01-31", "2026-03-03", "and three days the Tuesday", paused=3),
    Case("2026-12-20", "2027-02-01", "20 January and twelve days: Monday", paused=12),
    Case("2026-01-31", "2026-05-04", "30 April and four days: Monday", extended=True, paused=4),
    Case("2026-01-31", "2026-05-04", "30 April and a day is 1 May, Friday: Monday", "FR", extended=True, paused=1),
]
PROMISES: Final = [
    Case("2026-03-01", "2026-03-31", "30 days end a day before the month does", promise="P30D"),
    Case("2026-02-01", "2026-03-02", "1 March is Sunday, so Monday by law; 30 days end on the 3rd", promise="P30D"),
    Case("2026-07-02", "2026-08-01", "a Saturday: a promise is not moved; by law Monday the 3rd", promise="P30D"),
    Case("2026-11-25", "2026-12-25", "Christmas Day: not moved either; by law Monday the 28th", "DE", promise="P30D"),
    Case("2026-04-15", "2026-05-15", "both on the same Friday", promise="P30D"),
    Case("2024-01-31", "2024-02-29", "30 days end on 1 March, the month sooner", promise="P30D"),
    Case("2026-06-10", "2026-06-24", "two weeks", promise="P2W"),
    Case("2026-01-31", "2026-02-28", "a promised month ends on the Saturday", promise="P1M"),
    Case("2026-06-10", "2026-07-10", "a promise later than the law promises nothing", promise="P45D"),
    Case("2026-03-01", "2026-04-03", "31 March and three days; by law Monday", paused=3, promise="P30D"),
    Case("2026-03-01", "2026-06-01", "extended, three months alone: Monday", extended=True, promise="P30D"),
]
BY_HAND: Final = [*MONTH_ENDS, *LEAP_YEARS, *WEEKENDS, *HOLIDAYS, *EXTENSIONS, *PAUSES, *PROMISES]


def terms_of(case: Case) -> Terms:
    stated = [place.partition("-") for place in case.where.split()]
    return Terms(
        holidays=[Holidays(country=country, subdivision=part or None) for country, _, part in stated],
        closed_days=[date.fromisoformat(day) for day in case.closed.split()],
        promise=case.promise,
    )


@pytest.mark.parametrize("case", BY_HAND, ids=lambda case: f"{case.received}-{case.why}")
def test_a_date_computed_by_hand(case: Case) -> None:
    counting = Counting.by(terms_of(case))
    found = due_on(date.fromisoformat(case.received), counting, is_extended=case.extended, paused_days=case.paused)
    assert found == date.fromisoformat(case.due), case.why


def test_there_are_enough_of_them() -> None:
    assert len({case[:2] + case[3:] for case in BY_HAND}) >= 40


def test_a_day_begins_and_ends_where_the_controller_is() -> None:
    paris = Counting(zone=ZoneInfo("Europe/Paris"))
    assert paris.day_of(datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC)) == date(2026, 12, 31)
    assert paris.day_of(datetime(2026, 12, 31, 23, 0, tzinfo=UTC)) == date(2027, 1, 1)
    # Summer time began on 29 March 2026.
    assert ends_at(date(2026, 3, 28), paris) == datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
    assert ends_at(date(2026, 3, 29), paris) == datetime(2026, 3, 29, 22, 0, tzinfo=UTC)


def test_only_known_places_have_holidays() -> None:
    assert has_holidays("FR", None)
    assert has_holidays("DE", "BY")
    assert not has_holidays("XX", None)
    assert not has_holidays("DE", "ZZ")


@given(
    received=st.dates(date(2023, 1, 1), date(2030, 12, 31)),
    where=st.sampled_from(["", "FR", "DE", "DE-BY", "BE FR"]),
    closed=st.sets(st.integers(0, 130), max_size=20),
    promise=st.none() | st.sampled_from(["P30D", "P1M", "P2W", "P2M", "P1M3D"]),
    is_extended=st.booleans(),
    paused_days=st.integers(0, 60),
)
def test_the_slow_reference_agrees(
    received: date, where: str, closed: set[int], promise: str | None, *, is_extended: bool, paused_days: int
) -> None:
    days = " ".join((received + timedelta(days=n)).isoformat() for n in closed)
    counting = Counting.by(terms_of(Case(str(received), "", "", where, days, promise=promise)))
    options: dict[str, Any] = {"is_extended": is_extended, "paused_days": paused_days}
    assert due_on(received, counting, **options) == slow_due_on(received, counting, **options)
    assert law_ends(received, counting, **options) >= due_on(received, counting, **options)


def slow_due_on(received: date, counting: Counting, *, is_extended: bool, paused_days: int) -> date:
    """Turns the leaves of a calendar one by one, from the day after receipt."""

    def leaves(day: date) -> Iterator[date]:
        while True:
            day += timedelta(days=1)
            yield day

    def after_months(months: int) -> date:
        begun, last = 0, received
        for day in leaves(received):
            begun += day.day == 1
            if begun > months:
                return last
            last = day
            if begun == months and day.day == received.day:
                return day
        raise AssertionError

    law = after_months(3 if is_extended else 1)
    turning = leaves(law)
    for _ in range(paused_days):
        law = next(turning)
    while law.weekday() in {5, 6} or not counting.is_working(law):
        law = next(turning)
    if counting.promise is None or is_extended:
        return law
    months, days = counting.promise
    promised = after_months(months) if months else received
    turning = leaves(promised)
    for _ in range(days + paused_days):
        promised = next(turning)
    return min(law, promised)


def test_durations_of_promises_are_read_as_everywhere() -> None:
    assert Counting.by(Terms(promise="P1M3D")).promise == Duration(1, 3)
